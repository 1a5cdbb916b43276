// The security bar. `node scripts/security.mjs` writes into docs/security.md
// which tests carry which row of test/security/rows.json.
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const page = path.join(root, "docs/security.md")
const marks = ["<!-- rows: written by scripts/security.mjs -->\n", "<!-- end of rows -->"]

/** Sections of rows: what the row says, and why it is not claimed when it is not. */
export const sections = JSON.parse(fs.readFileSync(path.join(root, "test/security/rows.json"), "utf8"))
export const rows = sections.flatMap((section) => section.rows)

const id = /\b(?:(?:OW|NI|RFC|CH|H)-\d+|ASVS-\d+\.\d+\.\d+|REG-[A-F]\d+|F-[A-Z]+\d+)\b/g
export const idsIn = (text) => text.match(id) ?? []

const filesUnder = (folder, end) =>
  fs.readdirSync(path.join(root, folder), { recursive: true })
    .map((file) => path.join(folder, String(file)))
    .filter((file) => file.endsWith(end))
    .sort()

/** The text of a literal, with … for what only a run knows. */
const textOf = (node) => {
  if (ts.isStringLiteralLike(node)) return node.text
  if (!ts.isTemplateExpression(node)) return ""
  return node.head.text + node.templateSpans.map((span) => `…${span.literal.text}`).join("")
}

/** Whether a text is a test's title: what `it`, or whatever stands for it, is called with, or a row of its table. */
const isTitle = (node) =>
  (ts.isCallExpression(node.parent) && node.parent.arguments[0] === node && node.parent.arguments.length > 1) ||
  textOf(node).search(id) === 0

/** The titles with ids in a source file. */
const titlesIn = (file) => {
  const text = fs.readFileSync(path.join(root, file), "utf8")
  if (idsIn(text).length === 0) return []
  const titles = []
  const visit = (node) => {
    const title = textOf(node)
    if (idsIn(title).length > 0 && isTitle(node)) titles.push({ file, title })
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  return titles
}

export const titles = () => [...filesUnder("test", ".ts"), ...filesUnder("src/testing", ".ts")].flatMap(titlesIn)

/** What is wrong with the table, in words; nothing when all is well. */
export const problems = () => {
  const known = new Map()
  const found = []
  for (const row of rows) {
    if (known.has(row.id)) found.push(`${row.id} stands in the table twice`)
    if (idsIn(row.id).join() !== row.id) found.push(`${row.id} is no id`)
    if (!row.says) found.push(`${row.id} says nothing`)
    if (row.not === "") found.push(`${row.id} is neither claimed nor listed with a reason`)
    known.set(row.id, row)
  }
  const carried = new Set()
  for (const { file, title } of titles()) {
    for (const id of idsIn(title)) {
      carried.add(id)
      if (!known.has(id)) found.push(`${file}: ${id} is not in the table`)
    }
  }
  for (const row of rows) {
    if (row.not === undefined && !carried.has(row.id)) found.push(`${row.id} is claimed, and no test carries it`)
  }
  return found
}

const escaped = (text) => text.replace(/[|<>\\`*_]/g, "\\$&").replace(/\s+/g, " ")

const lineOf = (all) => (row) => {
  const carrying = all.filter(({ title }) => idsIn(title).includes(row.id))
  const files = [...new Set(carrying.map(({ file }) => file))]
  const tests = files.map((file) => {
    const names = carrying.filter((test) => test.file === file).map(({ title }) =>
      escaped(title.replace(id, "").replace(/\s*\([\s,]*\)/, "").replace(/^[\s,:…]+/, "")))
    return `${path.basename(file)}: ${names.join("; ")}`
  }).join("<br>")
  const status = row.not === undefined ? tests : `*not claimed: ${escaped(row.not)}*${tests && `<br>in part: ${tests}`}`
  return `| ${row.id} | ${escaped(row.says)} | ${status} |`
}

/** docs/security.md with the table as it is now. */
export const render = () => {
  const all = titles()
  const table = sections.map(({ name, rows }) =>
    `\n### ${name}\n\n| row | what it asks | tests |\n|---|---|---|\n${rows.map(lineOf(all)).join("\n")}\n`
  ).join("")
  const text = fs.readFileSync(page, "utf8")
  const [start, end] = [text.indexOf(marks[0]) + marks[0].length, text.indexOf(marks[1])]
  return { text, rendered: `${text.slice(0, start)}${table}\n${text.slice(end)}` }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wrong = problems()
  for (const problem of wrong) console.error(problem)
  fs.writeFileSync(page, render().rendered)
  process.exitCode = wrong.length > 0 ? 1 : 0
}
