/**
 * A process that uses a store without connections ends by itself: a script, a
 * test, a serverless handler.
 */
import { expect, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll } from "vitest"
import { bundle } from "../bundle.js"

let script = ""
let directory = ""
beforeAll(async () => {
  script = await bundle(fileURLToPath(new URL("idle-script.ts", import.meta.url)))
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "idle-script-"))
})
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

/** Fails by the timeout of the test when the process does not end. */
const run = (...args: ReadonlyArray<string>) =>
  new Promise<string>((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "inherit"] })
    const kill = () => child.kill("SIGKILL")
    const timer = setTimeout(() => {
      kill()
      reject(new Error("the process does not end by itself"))
    }, 15_000)
    let output = ""
    child.stdout.on("data", (text) => output += text)
    child.once("error", reject)
    child.once("close", (code) => {
      clearTimeout(timer)
      resolve(`${code} ${output.trim()}`)
    })
  })

it.each([
  ["memory", () => ["memory:"]],
  ["a directory", () => [`file:${path.join(directory, "files")}`]],
  ["SQLite", () => [`sqlite:${path.join(directory, "sessions.db")}`]],
  ["an observed store", () => ["memory:", "observed"]]
])("a script that disposes of nothing ends by itself: %s", async (_, args) => {
  expect(await run(...args())).toBe("0 Some")
})
