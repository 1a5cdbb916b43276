/**
 * A real Flask app with Flask-Session beside the example app, on one store.
 * The virtual environment is made once, below node_modules/.cache.
 */
import { execFile, execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { startApp } from "../app.js"

const here = fileURLToPath(new URL(".", import.meta.url))
const folder = fileURLToPath(new URL("../../node_modules/.cache/effect-session-flask", import.meta.url))
const python = path.join(folder, "bin/python")

const packages = [
  "flask==3.1.3",
  "flask-session==0.8.0",
  "msgspec==0.22.0",
  "cachelib==0.17.0",
  "redis==8.1.0",
  "pymemcache==4.0.0",
  "pymongo==4.20.1",
  "flask-sqlalchemy==3.1.1",
  "psycopg[binary]==3.3.9",
  "pymysql==1.2.4",
  "boto3==1.44.8",
  "mypy-boto3-dynamodb==1.43.124"
]

const run = promisify(execFile)

const findsPython = () => {
  try {
    const check = "import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 10))"
    execFileSync("python3", ["-c", check], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

const isMade = () => {
  const done = path.join(folder, "done")
  return fs.existsSync(done) && fs.readFileSync(done, "utf8") === packages.join("\n")
}

const make = async () => {
  fs.rmSync(folder, { recursive: true, force: true })
  await run("python3", ["-m", "venv", folder])
  await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...packages])
  fs.writeFileSync(path.join(folder, "done"), packages.join("\n"))
}

/** Makes the virtual environment once, while the other files of tests wait. Returns why there is none. */
const prepare = async (): Promise<string | undefined> => {
  if (isMade()) return undefined
  if (!findsPython()) return "no python3 with venv"
  const lock = `${folder}.lock`
  fs.mkdirSync(path.dirname(folder), { recursive: true })
  for (const start = Date.now(); !isMade(); await sleep(500)) {
    try {
      fs.mkdirSync(lock)
    } catch {
      if (Date.now() - start > 300_000) fs.rmSync(lock, { recursive: true, force: true }) // of a run that was killed
      continue
    }
    try {
      await make()
    } catch {
      return "pip cannot install Flask"
    } finally {
      fs.rmSync(lock, { recursive: true, force: true })
    }
  }
  return undefined
}

/** Why the tests with a real Flask app are skipped. Undefined if they can run. */
export const missing = await prepare()

export interface Process {
  readonly url: string
  readonly output: () => string
  readonly stop: () => Promise<unknown>
}

export type Variables = Readonly<Record<string, string>>

// far from UTC, so that a driver that shifts a deadline by the local zone is seen
const zone = { TZ: "America/New_York" }

export const startFlask = async (variables: Variables): Promise<Process> => {
  const { PATH } = process.env
  const child = spawn(python, [path.join(here, "app.py")], {
    env: { PATH, PYTHONDONTWRITEBYTECODE: "1", ...zone, ...variables }
  })
  let output = ""
  const ended = new Promise((resolve) => child.once("close", resolve))
  process.once("exit", () => child.kill("SIGKILL"))
  const url = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk
      const found = /on (http:\S+)/.exec(output)
      if (found !== null) resolve(found[1]!)
    }
    child.stdout.on("data", read)
    child.stderr.on("data", read)
    void ended.then(() => reject(new Error(`The Flask app did not start:\n${output}`)))
  })
  const stop = () => {
    child.kill("SIGKILL")
    return ended
  }
  return { url, output: () => output, stop }
}

export const startExample = (variables: Variables): Promise<Process> =>
  startApp({ SESSION_FORMAT: "flask", ...zone, ...variables })

/** A browser's cookies for one host: ports do not matter. */
export class Browser {
  readonly cookies = new Map<string, string>()

  get sid(): string | undefined {
    return this.cookies.get("session")
  }

  copy(): Browser {
    const copy = new Browser()
    this.cookies.forEach((value, name) => copy.cookies.set(name, value))
    return copy
  }

  async send(url: string, body?: unknown): Promise<Answer> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ")
    const response = await fetch(url, {
      headers: {
        ...cookie === "" ? {} : { cookie },
        ...body === undefined ? {} : { "content-type": "application/json" }
      },
      ...body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }
    })
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = "", attributes = ""] = /^([^=]+)=([^;]*)(.*)$/.exec(line) ?? []
      const [, maxAge] = /; Max-Age=(-?\d+)/i.exec(attributes) ?? []
      const [, expires] = /; Expires=([^;]+)/i.exec(attributes) ?? []
      const isOver = maxAge === undefined
        ? expires !== undefined && Date.parse(expires) <= Date.now()
        : Number(maxAge) <= 0
      if (isOver) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    const text = await response.text()
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch {
      json = text
    }
    return {
      status: response.status,
      json,
      setCookie: response.headers.getSetCookie(),
      vary: response.headers.get("vary")
    }
  }
}

export interface Answer {
  readonly status: number
  // an answer of one of the test's own apps
  readonly json: any
  readonly setCookie: ReadonlyArray<string>
  readonly vary: string | null
}
