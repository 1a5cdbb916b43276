/** Vitest's global set-up: brings the servers up, and takes them down. */
import type { TestProject } from "vitest/node"
import { startAll } from "../scripts/servers.mjs"
import type { Urls } from "../scripts/servers.mjs"

declare module "vitest" {
  export interface ProvidedContext {
    readonly urls: Urls
  }
}

export default async (project: TestProject) => {
  const { missing, stop, urls } = await startAll()
  project.provide("urls", urls)
  return async () => {
    await stop()
    for (const { name, reason } of missing) console.warn(`\nSKIPPED without ${name}: ${reason}`)
  }
}
