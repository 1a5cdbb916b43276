/**
 * A fast path for plain schemas: structs, arrays, records and unions of
 * primitives compile to closures. A closure judges nothing that it cannot
 * judge: `failed` means "ask Schema", so that errors and unusual schemas are
 * Schema's own. This file can be deleted whole; `Payload` then asks Schema
 * every time.
 *
 * @internal
 */

import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { isDeepStrictEqual } from "node:util"

/** What a closure returns for input that it cannot convert. */
export const failed: unique symbol = Symbol("failed")

/** Converts a value, or returns `failed`. */
export type Convert = (input: unknown) => unknown

interface Direction {
  readonly decodes: boolean
  readonly options: AST.ParseOptions
}

/** The schema's two directions as closures. `encodeOptions` are those that Schema encodes with. */
export const structCodec = (
  { ast }: Schema.Schema.AnyNoContext,
  encodeOptions: AST.ParseOptions
): { readonly decode: Convert; readonly encode: Convert } => ({
  decode: compile(ast, { decodes: true, options: {} }),
  encode: compile(ast, { decodes: false, options: encodeOptions })
})

const compile = (ast: AST.AST, direction: Direction): Convert =>
  (changesParsing(ast.annotations) ? undefined : compileKnown(ast, direction)) ?? viaSchema(ast, direction)

/** A closure for the kinds of schema that it is worth it for. */
const compileKnown = (ast: AST.AST, direction: Direction): Convert | undefined => {
  switch (ast._tag) {
    case "StringKeyword":
    case "NumberKeyword":
    case "BooleanKeyword":
      return ofType(ast._tag.slice(0, -"Keyword".length).toLowerCase())
    case "UndefinedKeyword":
      return exactly(undefined)
    case "Literal":
      return exactly(ast.literal)
    case "UnknownKeyword":
    case "AnyKeyword":
      return (input) => input
    case "TupleType":
      return array(ast, direction)
    case "TypeLiteral":
      return ast.indexSignatures.length === 0 ? struct(ast, direction) : record(ast, direction)
    case "Union":
      return union(ast, direction)
    case "Refinement":
      return refinement(ast, direction)
    case "Transformation":
      return structWithDefaults(ast, direction)
    default:
      return undefined
  }
}

const viaSchema = (ast: AST.AST, direction: Direction): Convert => {
  const schema = Schema.make<unknown, unknown>(ast)
  const convert = direction.decodes
    ? ParseResult.decodeUnknownEither(schema, direction.options)
    : ParseResult.encodeUnknownEither(schema, direction.options)
  return (input) => {
    const result = convert(input)
    return result._tag === "Right" ? result.right : failed
  }
}

const changesParsing = (annotations: AST.Annotations): boolean =>
  AST.ParseOptionsAnnotationId in annotations || AST.DecodingFallbackAnnotationId in annotations

// ---------------------------------------------------------------------------
// kinds of schema
// ---------------------------------------------------------------------------

const ofType = (type: string): Convert => (input) => typeof input === type ? input : failed

const exactly = (value: unknown): Convert => (input) => input === value ? input : failed

const array = (ast: AST.TupleType, direction: Direction): Convert | undefined => {
  if (ast.elements.length > 0 || ast.rest.length !== 1) {
    return undefined
  }
  const convert = compile(ast.rest[0]!.type, direction)
  return (input) => {
    if (!Array.isArray(input)) {
      return failed
    }
    const output: Array<unknown> = []
    for (let i = 0; i < input.length; i++) {
      const item = convert(input[i])
      if (item === failed) {
        return failed
      }
      output.push(item)
    }
    return output
  }
}

type Fields = Record<PropertyKey, unknown>

const isObject = (input: unknown): input is Fields =>
  typeof input === "object" && input !== null && !Array.isArray(input)

/** Whether a plain object has no such property by inheritance: reading it then needs no look at who owns it. */
const isOrdinary = (name: PropertyKey): name is string => typeof name === "string" && !(name in Object.prototype)

const struct = (ast: AST.TypeLiteral, direction: Direction): Convert | undefined => {
  const signatures = ast.propertySignatures
  if (signatures.length === 0 || !signatures.every(({ name }) => isOrdinary(name))) {
    return undefined
  }
  const names = signatures.map(({ name }) => name as string)
  const isOptional = signatures.map((signature) => signature.isOptional)
  const converts = signatures.map(({ type }) => compile(type, direction))
  const refusesUnknown = direction.options.onExcessProperty === "error"
  return (input) => {
    if (!isObject(input)) {
      return failed
    }
    const output: Fields = {}
    let present = 0
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      const value = input[name]
      if (value === undefined && !Object.hasOwn(input, name)) {
        if (isOptional[i]!) {
          continue
        }
        return failed
      }
      const converted = converts[i]!(value)
      if (converted === failed) {
        return failed
      }
      output[name] = converted
      present++
    }
    return refusesUnknown && Object.keys(input).length > present ? failed : output
  }
}

const record = (ast: AST.TypeLiteral, direction: Direction): Convert | undefined => {
  const [signature] = ast.indexSignatures
  if (
    ast.propertySignatures.length > 0 || ast.indexSignatures.length !== 1 ||
    !AST.isStringKeyword(signature!.parameter) ||
    changesParsing(signature!.parameter.annotations)
  ) {
    return undefined
  }
  const convert = compile(signature!.type, direction)
  return (input) => {
    if (!isObject(input)) {
      return failed
    }
    const output: Fields = {}
    for (const name of Object.keys(input)) {
      const value = isOrdinary(name) ? convert(input[name]) : failed
      if (value === failed) {
        return failed
      }
      output[name] = value
    }
    return output
  }
}

/** Primitives and at most one struct or array: no value fits two of them in different ways. */
const union = (ast: AST.Union, direction: Direction): Convert | undefined => {
  const others = ast.types.filter((type) => !isPrimitive(type))
  if (others.length > 1 || !others.every((type) => type._tag === "TypeLiteral" || type._tag === "TupleType")) {
    return undefined
  }
  const converts = ast.types.map((type) => compile(type, direction))
  return (input) => {
    for (const convert of converts) {
      const value = convert(input)
      if (value !== failed) {
        return value
      }
    }
    return failed
  }
}

const isPrimitive = (ast: AST.AST): boolean =>
  ["StringKeyword", "NumberKeyword", "BooleanKeyword", "UndefinedKeyword", "Literal"].includes(ast._tag) &&
  !changesParsing(ast.annotations)

/** A filter over something that is stored as it is. */
const refinement = (ast: AST.Refinement, direction: Direction): Convert | undefined => {
  if (!isPrimitive(ast.from)) {
    return undefined
  }
  const convert = compile(ast.from, direction)
  return (input) => {
    const value = convert(input)
    return value !== failed && Option.isNone(ast.filter(value, direction.options, ast)) ? value : failed
  }
}

/**
 * To Schema a struct with defaults is two structs and a transformation between
 * them, and it validates both. Where the second adds nothing to the first,
 * what the first has decoded needs no second validation.
 */
const structWithDefaults = (ast: AST.Transformation, direction: Direction): Convert | undefined => {
  if (
    ast.transformation._tag !== "TypeLiteralTransformation" || ast.from._tag !== "TypeLiteral" ||
    ast.from.indexSignatures.length > 0 || changesParsing(ast.from.annotations) || !addsNothing(ast, ast.from)
  ) {
    return undefined
  }
  const steps = ast.transformation.propertySignatureTransformations
  const names = ast.from.propertySignatures.map(({ name }) => name)
  if (![...names, ...steps.map(({ to }) => to)].every(isOrdinary)) {
    return undefined
  }
  const fields = struct(ast.from, direction)
  const changed = new Set(steps.map(({ from }) => from))
  const unchanged = names.filter((name) => !changed.has(name))
  if (fields === undefined) {
    return undefined
  }
  return direction.decodes
    ? (input) => {
      const decoded = fields(input)
      return decoded === failed ? failed : stepped(decoded as Fields, unchanged, steps, direction)
    }
    : (input) => isObject(input) ? fields(stepped(input, unchanged, steps, direction)) : failed
}

const stepped = (
  input: Fields,
  unchanged: ReadonlyArray<PropertyKey>,
  steps: ReadonlyArray<AST.PropertySignatureTransformation>,
  direction: Direction
): Fields => {
  const output: Fields = {}
  for (const name of unchanged) {
    const value = input[name]
    if (value !== undefined || Object.hasOwn(input, name)) {
      output[name] = value
    }
  }
  for (const step of steps) {
    const value = direction.decodes
      ? step.decode(optional(input, step.from))
      : step.encode(optional(input, step.to))
    if (value._tag === "Some") {
      output[direction.decodes ? step.to : step.from] = value.value
    }
  }
  return output
}

const optional = (input: Fields, name: PropertyKey): Option.Option<unknown> =>
  Object.hasOwn(input, name) ? Option.some(input[name]) : Option.none()

/**
 * Whether each field of the transformation's target is what its source
 * decodes to, or that without `undefined` or `null`, as a default makes it:
 * neither another schema nor another filter, and no annotation that changes
 * parsing.
 */
const addsNothing = ({ to, transformation }: AST.Transformation, from: AST.TypeLiteral): boolean => {
  if (
    to._tag !== "TypeLiteral" || transformation._tag !== "TypeLiteralTransformation" || changesParsing(to.annotations)
  ) {
    return false
  }
  const steps = new Map(transformation.propertySignatureTransformations.map((step) => [step.to, step.from]))
  const sources = new Map(from.propertySignatures.map(({ name, type }) => [name, type]))
  return to.propertySignatures.every(({ name, type }) => {
    const source = sources.get(steps.get(name) ?? name)
    return source !== undefined && withoutEmpty(source).some((each) => isDeepStrictEqual(AST.typeAST(each), type))
  })
}

/** A type, and the type without `undefined` and `null`. */
const withoutEmpty = (type: AST.AST): ReadonlyArray<AST.AST> =>
  type._tag === "Union"
    ? [type, AST.Union.make(type.types.filter((each) => !AST.isUndefinedKeyword(each) && !isNull(each)))]
    : [type]

const isNull = (type: AST.AST): boolean => AST.isLiteral(type) && type.literal === null
