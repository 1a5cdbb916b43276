import * as fs from "node:fs"
const { nodes, samples, timeDeltas } = JSON.parse(fs.readFileSync(process.argv[2], "utf8"))
const by = new Map(nodes.map((n) => [n.id, n]))
const self = new Map(); samples.forEach((id, i) => self.set(id, (self.get(id) ?? 0) + timeDeltas[i]))
const parent = new Map(); for (const n of nodes) for (const c of n.children ?? []) parent.set(c, n.id)
const place = ({ url, lineNumber }) => `${url.split("node_modules/").pop().split("/").slice(-4).join("/")}:${lineNumber + 1}`
const s = new Map(), t = new Map()
let total = 0
for (const [id, us] of self) {
  const f = by.get(id).callFrame
  if (f.functionName === "(idle)" || f.functionName === "(program)") continue
  total += us
  const n = `${f.functionName || "(anon)"} ${place(f)}`
  s.set(n, (s.get(n) ?? 0) + us)
  const seen = new Set()
  for (let i = id; i !== undefined; i = parent.get(i)) { const g = by.get(i).callFrame; const m = `${g.functionName || "(anon)"} ${place(g)}`; if (!seen.has(m)) { seen.add(m); t.set(m, (t.get(m) ?? 0) + us) } }
}
const top = (m, n) => [...m].sort((a, b) => b[1] - a[1]).slice(0, n).map(([k, v]) => `${(v / total * 100).toFixed(1).padStart(5)} % ${k}`).join("\n")
console.log(`busy ${(total/1000).toFixed(0)} ms\nSELF\n${top(s, Number(process.argv[3] ?? 30))}\nTOTAL\n${top(t, Number(process.argv[4] ?? 40))}`)
