/**
 * What a schema does that a session cannot: fields whose encoded side is no
 * plain data, and transformations that are not synchronous.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { SyncScheduler } from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { type FieldNames, pathOf } from "./describe.js"
import type { Traits } from "./PayloadCodec.js"

/** One line for each problem, with the path of its field. */
export const schemaProblems = (
  ast: AST.AST,
  names: FieldNames,
  traits: Traits | undefined
): ReadonlyArray<string> => {
  const problems = new Set<string>()
  const report = (path: Path, problem: string): void => {
    problems.add(`${path.length === 0 ? "the schema" : `"${pathOf(path, names)}"`} ${problem}`)
  }
  checkEncoded(ast, [], traits, report, new Set())
  checkSynchronous(ast, [], report, new Set())
  return Array.from(problems)
}

type Path = ReadonlyArray<string>
type Report = (path: Path, problem: string) => void

// ---------------------------------------------------------------------------
// the encoded side
// ---------------------------------------------------------------------------

const checkEncoded = (
  ast: AST.AST,
  path: Path,
  traits: Traits | undefined,
  report: Report,
  visited: Set<AST.AST>
): void => {
  const check = (type: AST.AST, ...segments: Path) =>
    checkEncoded(type, [...path, ...segments], traits, report, visited)
  switch (ast._tag) {
    case "Declaration": {
      const name = nameOf(ast)
      const isBytes = takesBytes(ast)
      if (!isBytes || traits?.bytes === false) {
        report(
          path,
          `is stored as ${name}, which is no plain data${isBytes ? ` to ${traits?.name}` : ""}; ${remedyOf(name)}`
        )
      }
      return
    }
    case "UniqueSymbol":
    case "SymbolKeyword":
      return report(path, "is stored as a symbol, which is no plain data; use Schema.Symbol")
    case "BigIntKeyword":
      return traits?.bigints === false
        ? report(path, `is stored as a bigint, which is no plain data to ${traits.name}; use Schema.BigInt`)
        : undefined
    case "Literal":
      return typeof ast.literal === "bigint" && traits?.bigints === false
        ? report(path, `is stored as a bigint, which is no plain data to ${traits.name}; use Schema.BigInt`)
        : undefined
    case "TupleType":
      ast.elements.forEach(({ type }, i) => check(type, `${i}`))
      return ast.rest.forEach(({ type }) => check(type, "*"))
    case "TypeLiteral":
      for (const { name, type } of ast.propertySignatures) {
        if (typeof name === "symbol" || name === "__proto__") {
          report([...path, String(name)], "has a name that cannot be stored; use another, or Schema.fromKey")
        }
        check(type, String(name))
      }
      for (const { parameter, type } of ast.indexSignatures) {
        if (parameter._tag === "SymbolKeyword") {
          report(path, "has symbols for keys, which cannot be stored")
        }
        check(type, "*")
      }
      return
    case "Union":
      return ast.types.forEach((type) => check(type))
    case "Suspend": // a schema may contain itself
      return visited.has(ast) ? undefined : check(visited.add(ast) && ast.f())
    case "Refinement":
    case "Transformation":
      return check(ast.from)
    default:
      return
  }
}

/** A brand takes the identifier away, so the type itself is asked. */
const takesBytes = (ast: AST.Declaration): boolean => Schema.is(Schema.make(ast))(new Uint8Array(0))
const takesDates = (ast: AST.Declaration): boolean => Schema.is(Schema.make(ast))(new Date(0))

const nameOf = (ast: AST.Declaration): string =>
  Option.getOrElse(
    Option.orElse(AST.getIdentifierAnnotation(ast), () => AST.getTitleAnnotation(ast)),
    () =>
      takesDates(ast)
        ? "DateFromSelf"
        : Option.getOrElse(AST.getDescriptionAnnotation(ast), () => "a declared class")
  )

/** `Schema.DateFromSelf` is the inner side of `Schema.Date`, and so are others. */
const remedyOf = (name: string): string => {
  const known = /^(?:Valid)?(\w+)FromSelf$/.exec(name)?.[1] ?? /^((?:Readonly)?(?:Map|Set))</.exec(name)?.[1]
  return known === undefined
    ? "use a schema that encodes it, like Schema.Date or a Schema.Class"
    : known === "Uint8Array"
    ? "use Schema.Uint8ArrayFromBase64"
    : `use Schema.${known}`
}

// ---------------------------------------------------------------------------
// synchronous transformations
// ---------------------------------------------------------------------------

const checkSynchronous = (ast: AST.AST, path: Path, report: Report, visited: Set<AST.AST>): void => {
  const check = (type: AST.AST, ...segments: Path) => checkSynchronous(type, [...path, ...segments], report, visited)
  switch (ast._tag) {
    case "Declaration":
      return ast.typeParameters.forEach((type) => check(type))
    case "TupleType":
      ast.elements.forEach(({ type }, i) => check(type, `${i}`))
      return ast.rest.forEach(({ type }) => check(type, "*"))
    case "TypeLiteral":
      ast.propertySignatures.forEach(({ name, type }) => check(type, String(name)))
      return ast.indexSignatures.forEach(({ type }) => check(type, "*"))
    case "Union":
      return ast.types.forEach((type) => check(type))
    case "Suspend":
      return visited.has(ast) ? undefined : check(visited.add(ast) && ast.f())
    case "Refinement":
      return check(ast.from)
    case "Transformation":
      if (ast.transformation._tag === "FinalTransformation") {
        checkTransformation(ast, ast.transformation, path, report)
      }
      check(ast.from)
      return check(ast.to)
    default:
      return
  }
}

/**
 * Whether a transformation waits can only be seen when it runs, so it runs on a
 * few samples. One that waits for other values alone fails when they come.
 */
const checkTransformation = (
  ast: AST.Transformation,
  transformation: AST.FinalTransformation,
  path: Path,
  report: Report
): void => {
  const from = AST.typeAST(ast.from)
  const to = AST.encodedAST(ast.to)
  for (const text of ["", "0"]) {
    const sources = { decode: sample(from, text, 0), encode: sample(to, text, 0) }
    for (const step of ["decode", "encode"] as const) {
      const source = sources[step]
      if (source !== none && waits(() => transformation[step](source, {}, ast, source))) {
        report(path, `${step}s asynchronously; a session's fields have to decode and encode synchronously`)
      }
    }
  }
}

const waits = (run: () => Effect.Effect<unknown, unknown, unknown>): boolean => {
  try {
    const result = run()
    if (Either.isEither(result)) {
      return false
    }
    const scheduler = new SyncScheduler()
    const fiber = Effect.runFork(result as Effect.Effect<unknown, unknown>, { scheduler })
    scheduler.flush()
    if (fiber.unsafePoll() !== null) {
      return false
    }
    fiber.unsafeInterruptAsFork(fiber.id())
    return true
  } catch {
    return false // it does not take the sample
  }
}

const none = Symbol("no sample")

/** A value of a type, roughly: filters are not looked at. */
const sample = (ast: AST.AST, text: string, depth: number): unknown => {
  switch (ast._tag) {
    case "StringKeyword":
    case "TemplateLiteral":
    case "AnyKeyword":
    case "UnknownKeyword":
      return text
    case "NumberKeyword":
      return text.length
    case "BooleanKeyword":
      return text !== ""
    case "BigIntKeyword":
      return BigInt(text.length)
    case "UndefinedKeyword":
    case "VoidKeyword":
      return undefined
    case "ObjectKeyword":
      return {}
    case "Literal":
      return ast.literal
    case "Enums":
      return ast.enums[0]?.[1]
    case "Refinement":
      return sample(ast.from, text, depth)
    case "Suspend":
      return depth > 8 ? none : sample(ast.f(), text, depth + 1)
    case "Union":
      return ast.types.map((type) => sample(type, text, depth + 1)).find((each) => each !== none) ?? none
    case "TupleType":
      return [
        ...ast.elements.filter(({ isOptional }) => !isOptional),
        ...(text === "" ? [] : ast.rest.slice(0, 1))
      ].map(({ type }) => sample(type, text, depth + 1))
    case "TypeLiteral":
      return Object.fromEntries(
        ast.propertySignatures
          .filter(({ isOptional }) => !isOptional || text !== "")
          .map(({ name, type }) => [name, sample(type, text, depth + 1)])
      )
    case "Declaration":
      return takesDates(ast) ? new Date(0) : none
    default:
      return none
  }
}
