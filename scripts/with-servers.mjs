#!/usr/bin/env node
/** Runs a command with REDIS_URL, DATABASE_URL, … set: `node scripts/with-servers.mjs CMD…`. */
import { spawn } from "node:child_process"
import { environment, startAll } from "./servers.mjs"

const [command, ...args] = process.argv.slice(2)
if (command === undefined) {
  console.error("usage: node scripts/with-servers.mjs CMD…")
  process.exit(2)
}

const { missing, stop, urls } = await startAll()
for (const { name, reason } of missing) console.error(`without ${name}: ${reason}`)

const child = spawn(command, args, { env: { ...process.env, ...environment(urls) }, stdio: "inherit" })
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal))
const code = await new Promise((resolve) => {
  child.once("error", (error) => {
    console.error(error.message)
    resolve(127)
  })
  child.once("exit", (code) => resolve(code ?? 1))
})
await stop()
process.exit(code)
