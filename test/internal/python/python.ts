/** A Python process with msgspec, in a virtual environment under node_modules/.cache. */
import { execFile, execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const run = promisify(execFile)

const requirement = "msgspec==0.22.0"

const cache = fileURLToPath(new URL("../../../node_modules/.cache", import.meta.url))
const environment = path.join(cache, `python-${requirement}`)
const executable = path.join(environment, "bin", "python")

const hasPython = (): boolean => {
  try {
    execFileSync("python3", ["-c", "import venv, ensurepip"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

/** Whether the tests can run. In CI a missing Python is a failure, not a reason to skip. */
export const canStartPython = process.env.CI !== undefined || hasPython()

const makeEnvironment = async (): Promise<void> => {
  if (fs.existsSync(executable)) return
  const building = `${environment}.${process.pid}`
  await run("python3", ["-m", "venv", building])
  await run(path.join(building, "bin", "python"), ["-m", "pip", "install", "-q", requirement])
  try {
    fs.renameSync(building, environment)
  } catch (error) {
    fs.rmSync(building, { recursive: true })
    // another test file was faster
    if (!fs.existsSync(executable)) throw error
  }
}

export interface Python {
  readonly ask: <A>(question: "encode" | "decode" | "dump" | "load", items: ReadonlyArray<unknown>) => Promise<Array<A>>
  readonly stop: () => void
}

export const startPython = async (): Promise<Python> => {
  await makeEnvironment()
  const script = fileURLToPath(new URL("oracle.py", import.meta.url))
  const child = spawn(executable, [script], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    ask: async (question, items) => {
      child.stdin.write(`${JSON.stringify({ ask: question, items })}\n`)
      const { done, value } = await lines.next()
      if (done === true) throw new Error("the Python process has ended")
      return JSON.parse(value)
    },
    stop: () => child.stdin.end()
  }
}
