/**
 * Where the time goes: the functions with the most self time.
 *
 *     node profile.mjs                                    # the pipeline, all variants
 *     node profile.mjs pipeline.mjs read-modify-write
 *     node profile.mjs http.mjs effect-session            # the server and the client
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { fixed, setting, table } from "./lib/stats.mjs"

const rows = setting("BENCH_TOP", 30)
const [script = "pipeline.mjs", ...options] = process.argv.slice(2)

/** `file:///…/node_modules/effect/dist/esm/fiber.js` → `effect/dist/esm/fiber.js` */
const place = ({ lineNumber, url }) =>
  url === "" ? "" : `${url.split("node_modules/").pop().split("/").slice(-4).join("/")}:${lineNumber + 1}`

const summary = (file) => {
  const { nodes, samples, timeDeltas } = JSON.parse(fs.readFileSync(file, "utf8"))
  const frames = new Map(nodes.map(({ callFrame, id }) => [id, callFrame]))
  const totals = new Map()
  let busy = 0
  samples.forEach((id, index) => {
    const frame = frames.get(id)
    if (frame.functionName === "(idle)" || frame.functionName === "(program)") {
      return
    }
    const name = `${frame.functionName || "(anonymous)"}\t${place(frame)}`
    totals.set(name, (totals.get(name) ?? 0) + timeDeltas[index])
    busy += timeDeltas[index]
  })
  const scripts = nodes.map(({ callFrame }) => /\/bench\/(\w+\.mjs|servers\/.*)$/.exec(callFrame.url)?.[1])
  const top = [...totals].sort(([, a], [, b]) => b - a).slice(0, rows)
  console.log(`${[...new Set(scripts.filter(Boolean))].join(", ")}: ${fixed(busy / 1000, 0)} ms busy\n`)
  console.log(table(
    ["function", "where", "ms", "%"],
    top.map(([name, micros]) => [...name.split("\t"), fixed(micros / 1000, 0), fixed(100 * micros / busy)])
  ) + "\n")
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-profile-"))
try {
  spawnSync(
    process.execPath,
    ["--cpu-prof", `--cpu-prof-dir=${folder}`, fileURLToPath(new URL(script, import.meta.url)), ...options],
    { stdio: "inherit" }
  )
  for (const file of fs.readdirSync(folder).sort()) {
    summary(path.join(folder, file))
  }
} finally {
  fs.rmSync(folder, { recursive: true })
}
