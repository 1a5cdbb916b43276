// Compiles every ```ts block of the README, of docs/ and of the docstrings as a
// file of its own. A block marked ```ts no-check is left out. And looks for
// every test that docs/backends.md names.
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const out = path.join(root, "node_modules/.cache/effect-session-docs")
fs.rmSync(out, { recursive: true, force: true })
fs.mkdirSync(out, { recursive: true })

const filesUnder = (folder) =>
  fs.existsSync(path.join(root, folder))
    ? fs.readdirSync(path.join(root, folder), { recursive: true }).map((file) => path.join(folder, String(file)))
    : []

const sources = [
  "README.md",
  ...filesUnder("docs").filter((file) => file.endsWith(".md")),
  ...filesUnder("src").filter((file) => file.endsWith(".ts"))
]

let count = 0
for (const source of sources) {
  const text = fs.readFileSync(path.join(root, source), "utf8")
  const plain = source.endsWith(".ts") ? text.replace(/^ *\* ?/gm, "") : text
  let block = 0
  for (const [, body] of plain.matchAll(/^```ts\n([\s\S]*?)^```/gm)) {
    const name = `${source.replace(/[^A-Za-z0-9]+/g, "-")}-${++block}.ts`
    fs.writeFileSync(path.join(out, name), `${body}\nexport {}\n`)
    count++
  }
}

fs.writeFileSync(
  path.join(out, "tsconfig.json"),
  JSON.stringify({
    extends: path.join(root, "tsconfig.json"),
    compilerOptions: {
      noUnusedLocals: false,
      noUnusedParameters: false,
      paths: {
        "effect-session": [path.join(root, "src/index.ts")],
        "effect-session/testing": [path.join(root, "src/testing/StoreLaws.ts")],
        "effect-session/*": [path.join(root, "src/*.ts")]
      }
    },
    include: ["*.ts"]
  })
)
const tests = filesUnder("test").filter((file) => file.endsWith(".ts"))
  .map((file) => fs.readFileSync(path.join(root, file), "utf8")).join("\n")
const promises = fs.readFileSync(path.join(root, "docs/backends.md"), "utf8").split("## Where")[1]
const missing = [...promises.matchAll(/^\|[^|]*\|[^|]*\|(.*)\|$/gm)]
  .flatMap(([, names]) => [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name))
  .filter((name) => !tests.includes(name))
for (const name of missing) console.error(`docs/backends.md: there is no test named "${name}"`)
if (missing.length > 0) process.exit(1)

const { status } = spawnSync(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", out], {
  stdio: "inherit"
})
console.log(status === 0 ? `docs: ${count} examples compile` : "docs: an example does not compile")
process.exit(status ?? 1)
