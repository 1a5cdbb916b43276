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

const nameOf = (frame) => `${frame.functionName || "(anonymous)"}\t${place(frame)}`
const isWork = ({ functionName }) => functionName !== "(idle)" && functionName !== "(program)"
const add = (totals, name, micros) => totals.set(name, (totals.get(name) ?? 0) + micros)

/** Per function: the time in it, and the time in it and all that it called. */
const summary = (file) => {
  const { nodes, samples, timeDeltas } = JSON.parse(fs.readFileSync(file, "utf8"))
  const selfOf = new Map()
  samples.forEach((id, index) => add(selfOf, id, timeDeltas[index]))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const self = new Map()
  const total = new Map()
  const walk = (node, above) => {
    const name = nameOf(node.callFrame)
    const own = isWork(node.callFrame) ? selfOf.get(node.id) ?? 0 : 0
    const recursive = above.has(name)
    above.add(name)
    const all = (node.children ?? []).reduce((sum, id) => sum + walk(byId.get(id), above), own)
    if (!recursive) {
      above.delete(name)
      add(total, name, all)
    }
    add(self, name, own)
    return all
  }
  const busy = walk(nodes[0], new Set())
  const print = (totals) =>
    console.log(table(
      ["function", "where", "total ms", "self ms", "self %"],
      [...totals].sort(([, a], [, b]) => b - a).slice(0, rows).map(([name]) => [
        ...name.split("\t"),
        ...[total.get(name) / 1000, self.get(name) / 1000, 100 * self.get(name) / busy].map((each) => fixed(each))
      ])
    ) + "\n")

  const scripts = nodes.map(({ callFrame }) => /\/bench\/(\w+\.mjs|servers\/.*)$/.exec(callFrame.url)?.[1])
  console.log(`${[...new Set(scripts.filter(Boolean))].join(", ")}: ${fixed(busy / 1000, 0)} ms busy, by self time\n`)
  print(self)
  console.log("This library, by total time\n")
  print(new Map([...total].filter(([name]) => /\bdist\/(?!esm|cjs)/.test(name))))
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
