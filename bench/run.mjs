/**
 * Everything, and whether the targets are met. `BENCH_ROUNDS` and
 * `BENCH_REQUESTS` make it shorter.
 */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

/** Runs one script, shows what it prints but for the last line, and answers that. */
const run = (script) =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url))], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text) => output += text)
    child.on("close", (code) => {
      if (code !== 0) {
        return reject(new Error(`${script} ended with ${code}`))
      }
      const lines = output.trimEnd().split("\n")
      const last = lines.pop()
      console.log(lines.join("\n") + "\n")
      resolve(JSON.parse(last))
    })
  })

const { pipeline } = await run("pipeline.mjs")
const { http } = await run("http.mjs")

const ours = http.find(({ name }) => name === "effect-session")
const verdicts = [
  ...pipeline
    .filter(({ target }) => target !== undefined)
    .map(({ name, ratio, target }) => [`${name} at most ${target} times bare`, ratio <= target]),
  ...http
    .filter((result) => result !== ours)
    .map(({ difference, name }) => [`read-modify-write below ${name}`, ours.difference < difference])
]
for (const [target, met] of verdicts) {
  console.log(`${met ? "met   " : "MISSED"}  ${target}`)
}
console.log(JSON.stringify({ node: process.version, pipeline, http, met: verdicts.every(([, met]) => met) }))
process.exitCode = verdicts.every(([, met]) => met) ? 0 : 1
