/**
 * The example app as its users start it: on the built library, in a process of
 * its own, talked to by HTTP.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath, pathToFileURL } from "node:url"

const main = fileURLToPath(new URL("../examples/app/main.ts", import.meta.url))
const library = fileURLToPath(new URL("../dist/index.js", import.meta.url))
const tsx = pathToFileURL(createRequire(main).resolve("tsx")).href

export interface App {
  readonly url: string
  /** Everything it printed so far. */
  readonly output: () => string
  /** Asks it to end, as Ctrl-C does, and waits until it has. */
  readonly stop: () => Promise<number | null>
}

/** Runs the app until it ends or says where it listens. */
const run = (env: Record<string, string>, cwd: string) => {
  const { PATH } = process.env
  const child = spawn(process.execPath, ["--import", tsx, main], { cwd, env: { PATH, PORT: "0", ...env } })
  let output = ""
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
  const address = new Promise<string | undefined>((resolve) => {
    const read = (chunk: Buffer) => {
      output += chunk
      const found = /http:\/\/localhost:\d+/.exec(output)
      if (found) resolve(found[0])
    }
    child.stdout.on("data", read)
    child.stderr.on("data", read)
    void ended.then(() => resolve(undefined))
  })
  const kill = () => child.kill("SIGKILL")
  process.once("exit", kill)
  void ended.then(() => process.off("exit", kill))
  return { child, ended, address, output: () => output }
}

/** `cwd`: where `file:./…` is; by default nowhere that matters. */
export const startApp = async (env: Record<string, string>, cwd = os.tmpdir()): Promise<App> => {
  if (!fs.existsSync(library)) throw new Error("The library is not built: npm run build")
  const { address, child, ended, output } = run(env, cwd)
  const url = await address
  if (url === undefined) throw new Error(`The example did not start:\n${output()}`)
  return {
    url,
    output,
    stop: () => {
      child.kill("SIGTERM")
      return ended
    }
  }
}

/** What an app says that cannot start. */
export const failToStart = async (env: Record<string, string>) => {
  const { child, ended, output } = run(env, os.tmpdir())
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000)
  const code = await ended
  clearTimeout(timer)
  return { code, output: output() }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The JSON in it; undefined when there is none. */

  readonly body: any
  /** The session cookie that it sets, `""` when it clears it. */
  readonly cookie: string | undefined
}

export interface Call {
  readonly cookie?: string | undefined
  /** Sent as JSON by POST; as it is when it is text. */
  readonly json?: unknown
  /** Sent as a form by POST. */
  readonly form?: Record<string, string>
  readonly method?: string
  readonly headers?: Record<string, string>
}

export const call = async (
  app: App,
  target: string,
  { cookie, form, headers, json, method }: Call = {}
): Promise<Answer> => {
  const body = form ? new URLSearchParams(form) : typeof json === "string" ? json : JSON.stringify(json)
  const response = await fetch(app.url + target, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    headers: {
      ...(json === undefined ? {} : { "content-type": "application/json" }),
      ...(cookie === undefined ? {} : { cookie: `id=${cookie}` }),
      ...headers
    },
    redirect: "manual",
    ...(body === undefined ? {} : { body })
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: /json/.test(response.headers.get("content-type") ?? "") ? JSON.parse(text) : undefined,
    cookie: setCookie(response.headers)
  }
}

const setCookie = (headers: Headers) => {
  const all = headers.getSetCookie()
  if (all.length > 1) throw new Error(`${all.length} cookies at once`)
  return all[0] && /^(?:__Host-)?id=([^;]*)/.exec(all[0])![1]!
}

/** The cookie of a session in which `values` are stored. */
export const newSession = async (app: App, values: Record<string, unknown> = { n: 0 }): Promise<string> => {
  let cookie: string | undefined
  for (const [key, value] of Object.entries(values)) {
    const answer = await call(app, "/api/set", { cookie, json: { key, value } })
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`)
    cookie ??= answer.cookie
  }
  return cookie!
}

/** All values of a session. */
export const valuesOf = async (app: App, cookie: string) => (await call(app, "/api/session", { cookie })).body.value

/** Asks until it is true, for a server to come back; after 15 seconds it gives up. */
export const until = async (isTrue: () => Promise<boolean>) => {
  for (const deadline = Date.now() + 15_000; Date.now() < deadline;) {
    if (await isTrue()) return
    await sleep(100)
  }
  throw new Error("it did not happen within 15 seconds")
}

export const temporaryDirectory = () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-app-"))
  return { directory, remove: () => fs.rmSync(directory, { recursive: true, force: true }) }
}
