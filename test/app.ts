/** The example app in processes of its own, talked to by HTTP. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import { createRequire } from "node:module"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { StoreSpec } from "./app-main.js"
import { bundle } from "./bundle.js"

const main = fileURLToPath(new URL("../examples/app/main.ts", import.meta.url))
const library = fileURLToPath(new URL("../dist/index.js", import.meta.url))

const bundles = new Map<string, Promise<string>>()

/** Bundled once for each file of tests. */
const bundled = (entry: string) => {
  const found = bundles.get(entry) ?? bundle(fileURLToPath(new URL(entry, import.meta.url)))
  bundles.set(entry, found)
  return found
}

export interface App {
  readonly url: string
  /** Everything it printed so far. */
  readonly output: () => string
  /** Asks it to end, as Ctrl-C does, and waits until it has. */
  readonly stop: () => Promise<number | null>
  /** Ends it at once, whatever it is at. */
  readonly kill: () => Promise<number | null>
}

/** Runs a program until it ends or has said so many times where it listens. */
const run = (args: ReadonlyArray<string>, env: Record<string, string>, cwd: string, servers = 1) => {
  const { PATH } = process.env
  const child = spawn(process.execPath, args, { cwd, env: { PATH, PORT: "0", ...env } })
  let output = ""
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
  const addresses = new Promise<ReadonlyArray<string> | undefined>((resolve) => {
    const read = (chunk: Buffer) => {
      output += chunk
      const found = output.match(/(\d+ )?on http:\/\/localhost:\d+\n/g) ?? []
      if (found.length < servers) return
      resolve(found.sort((a, b) => parseInt(a) - parseInt(b)).map((line) => /http:\S+/.exec(line)![0]))
    }
    child.stdout.on("data", read)
    child.stderr.on("data", read)
    void ended.then(() => resolve(undefined))
  })
  const kill = () => child.kill("SIGKILL")
  process.once("exit", kill)
  void ended.then(() => process.off("exit", kill))
  return { child, ended, addresses, output: () => output }
}

const start = async (...options: Parameters<typeof run>): Promise<ReadonlyArray<App>> => {
  const { addresses, child, ended, output } = run(...options)
  const urls = await addresses
  if (urls === undefined) throw new Error(`The example did not start:\n${output()}`)
  const end = (signal: "SIGTERM" | "SIGKILL") => () => {
    child.kill(signal)
    return ended
  }
  return urls.map((url) => ({ url, output, stop: end("SIGTERM"), kill: end("SIGKILL") }))
}

/** `cwd`: where `file:./…` is; by default nowhere that matters. */
export const startApp = async (env: Record<string, string>, cwd = os.tmpdir()): Promise<App> => {
  const [app] = await start([await bundled("../examples/app/main.ts")], env, cwd)
  return app!
}

/** A program that `bundle` made. It prints its address like the example app. */
export const startBundle = async (file: string, env: Record<string, string>): Promise<App> => {
  const [app] = await start([file], env, os.tmpdir())
  return app!
}

/** As its users start it: from the source, on the built library. */
export const startAppFromSource = async (env: Record<string, string>, cwd: string): Promise<App> => {
  if (!fs.existsSync(library)) throw new Error("The library is not built: npm run build")
  const tsx = pathToFileURL(createRequire(main).resolve("tsx")).href
  const [app] = await start(["--import", tsx, main], env, cwd)
  return app!
}

/** One process that serves the app over each of these stores. */
export const startStores = async (stores: ReadonlyArray<StoreSpec>): Promise<ReadonlyArray<App>> =>
  start([await bundled("./app-main.ts"), JSON.stringify(stores)], {}, os.tmpdir(), stores.length)

/** What an app says that cannot start. */
export const failToStart = async (env: Record<string, string>) => {
  const { child, ended, output } = run([await bundled("../examples/app/main.ts")], env, os.tmpdir())
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
  /** Milliseconds after which it goes away without an answer. */
  readonly patience?: number
}

// Not `fetch`, which costs several times as much: thousands of these run on a few cores.
// A connection for each: one that the app closes just then would look like a failure.
const agent = new http.Agent({ keepAlive: false })

export const call = (
  app: App,
  target: string,
  { cookie, form, headers, json, method, patience = 0 }: Call = {}
): Promise<Answer> => {
  const body = form ? String(new URLSearchParams(form)) : typeof json === "string" ? json : JSON.stringify(json)
  const contentType = form ? "application/x-www-form-urlencoded;charset=UTF-8" : "application/json"
  return new Promise((resolve, reject) => {
    const request = http.request(app.url + target, {
      agent,
      method: method ?? (body === undefined ? "GET" : "POST"),
      headers: {
        ...(body === undefined ? {} : { "content-type": contentType, "content-length": Buffer.byteLength(body) }),
        ...(cookie === undefined ? {} : { cookie: `id=${cookie}; tea-id=${cookie}` }),
        ...headers
      }
    }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk) => chunks.push(chunk))
      response.on("error", reject)
      response.on("end", () => resolve(answer(response, Buffer.concat(chunks).toString())))
    })
    request.on("error", reject)
    request.setTimeout(patience, () => request.destroy())
    request.end(body)
  })
}

const answer = ({ rawHeaders, statusCode }: http.IncomingMessage, text: string): Answer => {
  const headers = new Headers()
  for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!)
  return {
    status: statusCode!,
    headers,
    text,
    body: /json/.test(headers.get("content-type") ?? "") ? JSON.parse(text) : undefined,
    cookie: setCookie(headers)
  }
}

const setCookie = (headers: Headers) => {
  const all = headers.getSetCookie()
  if (all.length > 1) throw new Error(`${all.length} cookies at once`)
  return all[0] && /^(?:__Host-|tea-)?id=([^;]*)/.exec(all[0])![1]!
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
