/** Compiles `hovers.ts` and compares what an editor would show with what stands there. */
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { expect, it } from "vitest"

const fileOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

it("types are shown under the names that the user wrote", () => {
  const { config } = ts.readConfigFile(fileOf("../../tsconfig.json"), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, fileOf("../.."))
  const program = ts.createProgram([fileOf("hovers.ts")], options)
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(fileOf("hovers.ts"))!
  const flags = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope

  const shown: Array<string> = []
  const written: Array<string> = []
  for (const statement of source.statements) {
    const comment = source.text.slice(statement.pos, statement.getStart()).trim()
    if (ts.isVariableStatement(statement) && comment !== "") {
      const [declaration] = statement.declarationList.declarations
      const { name } = declaration!
      written.push(`${name.getText()} ${comment}`)
      shown.push(`${name.getText()} // ${checker.typeToString(checker.getTypeAtLocation(name), declaration, flags)}`)
    }
  }
  expect(written.length).toBeGreaterThan(10)
  expect(shown).toEqual(written)
}, 120_000)
