/** Compiles definitions that are wrong, and looks at what the compiler says about them. */
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { describe, expect, it } from "vitest"

const fileOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

const definitions = {
  field: "{ theme: Schema.optional(Schema.String), userId: Schema.String }",
  two: "{ userId: Schema.String, cart: Schema.Array(Schema.String) }",
  renamed: "{ userId: Schema.propertySignature(Schema.String).pipe(Schema.fromKey(\"uid\")) }",
  inherited: "{ toString: Schema.optional(Schema.String), constructor: Schema.String }",
  struct: "Schema.Struct({ theme: Schema.optional(Schema.String), userId: Schema.String })",
  union: "Schema.Union(Schema.String, Schema.Number)",
  record: "Schema.Struct({ a: Schema.optional(Schema.String) }, { key: Schema.String, value: Schema.String })",
  service: "{ n: Schema.optional(null as unknown as Schema.Schema<string, string, \"Service\">) }",
  fine: "Schema.Struct({ theme: Schema.optional(Schema.String) })",
  fineFields: "{ toString: Schema.optional(Schema.String) }",
  number: "{ 1: Schema.String }",
  none: "{}"
}

/** What the compiler says about each, with the text that it underlines. */
const diagnose = () => {
  const file = fileOf("messages.virtual.ts")
  const source = [
    "import { Session } from \"effect-session\"",
    "import * as Schema from \"effect/Schema\"",
    ...Object.entries(definitions).map(([name, definition]) =>
      `export const ${name} = Session.Tag<unknown>()("x", ${definition})`
    )
  ].join("\n")
  const { config } = ts.readConfigFile(fileOf("../../tsconfig.json"), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, fileOf("../.."))
  const host = ts.createCompilerHost(options)
  const readFile = host.readFile.bind(host)
  const fileExists = host.fileExists.bind(host)
  const getSourceFile = host.getSourceFile.bind(host)
  host.readFile = (path) => path === file ? source : readFile(path)
  host.fileExists = (path) => path === file || fileExists(path)
  host.getSourceFile = (path, ...rest) =>
    path === file ? ts.createSourceFile(path, source, ts.ScriptTarget.ESNext, true) : getSourceFile(path, ...rest)
  const program = ts.createProgram([file], { ...options, noErrorTruncation: true }, host)
  const found: Record<string, string> = {}
  for (const each of ts.getPreEmitDiagnostics(program, program.getSourceFile(file))) {
    const { line } = ts.getLineAndCharacterOfPosition(each.file!, each.start!)
    const name = Object.keys(definitions)[line - 2]!
    const underlined = source.slice(each.start, each.start! + each.length!)
    found[name] = `${found[name] ?? ""}${underlined}: ${ts.flattenDiagnosticMessageText(each.messageText, "\n")}\n`
  }
  return found
}

describe("the compiler's message", () => {
  const messages = diagnose()

  it("names the field that has no default, at the field", () => {
    expect(messages.field).toMatch(/^userId: /)
    expect(messages.field).toContain("\"userId needs Schema.optional or a default\"")
    expect(messages.field).not.toContain("theme needs")
  })

  it("names each field that has no default", () => {
    expect(messages.two).toContain("\"userId needs Schema.optional or a default\"")
    expect(messages.two).toContain("\"cart needs Schema.optional or a default\"")
  })

  it("names a field by the name that the handler uses", () => {
    expect(messages.renamed).toContain("\"userId needs Schema.optional or a default\"")
  })

  it("names a field whose name is a number", () => {
    expect(messages.number).toContain("\"1 needs Schema.optional or a default\"")
  })

  it("names a field that is called like an inherited one", () => {
    expect(messages.inherited).toContain("\"constructor needs Schema.optional or a default\"")
    expect(messages.inherited).not.toContain("toString needs")
  })

  it("names the field of a Schema.Struct, and both remedies", () => {
    expect(messages.struct).toContain(
      "\"give these fields Schema.optional or a default, or pass { initial: value } as the third argument\": \"userId\""
    )
  })

  it("asks for an initial value of any other schema", () => {
    for (const message of [messages.union, messages.record]) {
      expect(message).toContain("pass { initial: value } as the third argument: only a Schema.Struct can do without")
    }
  })

  it("refuses a schema that needs a service", () => {
    expect(messages.service).toContain("Service")
  })

  it("is silent about definitions that are complete", () => {
    expect(messages.fine).toBeUndefined()
    expect(messages.fineFields).toBeUndefined()
    expect(messages.none).toBeUndefined()
  })
}, 120_000)
