/**
 * A session's payload: how the user's value relates to the plain data that is
 * stored.
 *
 * @internal
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { isDeepStrictEqual } from "node:util"
import type { Traits } from "../schema/PayloadCodec.js"
import { failure, type SessionError, SessionTooLarge } from "../SessionError.js"
import { describe, UnknownField } from "./describe.js"
import { schemaProblems } from "./schemaProblems.js"

/** The object that is stored, or `undefined`. This version of the app may not know all that is in it. */
export type Extras = Readonly<Record<string, unknown>> | undefined

export interface Payload<A> {
  readonly initial: () => A
  /** The names of a struct's fields; empty for other schemas. */
  readonly keys: ReadonlyArray<PropertyKey>
  /** Fails with a `ParseError`, or with what a transformation threw. */
  readonly decode: (data: unknown) => Either.Either<A, unknown>
  /**
   * Fields that have not changed stay as they are stored in `extras`, with what
   * this version does not know. Fails with `TooLarge` or `Encode`.
   */
  readonly encode: (value: A, extras: Extras) => Either.Either<unknown, SessionError>
  readonly extrasOf: (data: unknown) => Extras
  /** Whether the field is stored alike in both values. */
  readonly sameField: (key: PropertyKey, left: A, right: A) => boolean
  /** What a session cannot do with the schema, one line for each. */
  readonly problems: () => ReadonlyArray<string>
  /** Where and why a value did not encode or decode, without the value. */
  readonly describe: (cause: unknown) => string
}

export interface Options {
  /** For messages. */
  readonly tag: string
  readonly codec: Traits | undefined
}

export const make = <A, I>(
  schema: Schema.Schema<A, I>,
  initial: () => A,
  options: Options = { tag: "", codec: undefined }
): Payload<A> => {
  const { decode, encode: encodeAny } = withProtoKeys(schema.ast, direct(schema) ?? codecOf(schema))
  const encodeValue = bounded(schema.ast, options.codec?.maxBytes, encodeAny)
  const names = fieldNames(schema.ast)
  const encodedName = new Map(names.map((name) => [name.decoded, name.encoded]))
  const decodedName = new Map(names.map((name) => [name.encoded, name.decoded]))
  const keepStored = keeper(schema)
  // each read of a fold asks for the same few values
  const encodings = new WeakMap<object, Either.Either<I, unknown>>()
  const encodedField = (value: A, key: PropertyKey): unknown => {
    const struct = value as object // only a struct has fields
    const encoded = encodings.get(struct) ?? encodeValue(value)
    encodings.set(struct, encoded)
    return encoded._tag === "Right" ? ownField(encoded.right, encodedName.get(key) ?? key) : encoded
  }
  return {
    initial,
    keys: names.map((name) => name.decoded),
    decode,
    encode: (value, extras) => {
      const unknown = names.length === 0 ? undefined : unknownField(value, encodedName)
      if (unknown !== undefined) {
        return Either.left(failure("Encode", new UnknownField(unknown)))
      }
      const encoded = encodeValue(value)
      if (encoded._tag === "Left") {
        return Either.left(encoded.left instanceof SessionTooLarge ? encoded.left : failure("Encode", encoded.left))
      }
      return Either.right(extras === undefined ? encoded.right : keepStored(extras, encoded.right))
    },
    extrasOf: (data) => isPlainObject(data) ? data : undefined,
    sameField: (key, left, right) =>
      ownField(left, key) === ownField(right, key) ||
      isDeepStrictEqual(encodedField(left, key), encodedField(right, key)),
    problems: () => schemaProblems(schema.ast, decodedName, options.codec),
    describe: (cause) => describe(options.tag, schema.ast, decodedName, cause)
  }
}

const codecOf = <A, I>(schema: Schema.Schema<A, I>): Codec<A, I> => ({
  decode: caught(Schema.decodeUnknownEither(schema)),
  encode: caught(encoderOf(schema, schema.ast))
})

/**
 * Refuses nested fields that no schema knows, where the value itself is what is
 * encoded. Schema's own check doubles the time, so it runs only when a field of
 * the value is missing from what it was encoded to.
 */
const encoderOf = <A, I>(schema: Schema.Schema<A, I>, ast: AST.AST) => {
  const encode = Schema.encodeEither(schema)
  if (!some(ast, isStruct) || some(ast, makesStructs)) {
    return encode
  }
  const encodeStrictly = Schema.encodeEither(schema, { onExcessProperty: "error" })
  return (value: A) => {
    const encoded = encode(value)
    return encoded._tag === "Right" && lacksField(value, encoded.right) ? encodeStrictly(value) : encoded
  }
}

const lacksField = (value: unknown, encoded: unknown): boolean => {
  if (Array.isArray(value)) {
    return Array.isArray(encoded) && value.some((each, i) => lacksField(each, encoded[i]))
  }
  return value !== encoded && isPlainObject(value) && isPlainObject(encoded) &&
    Object.keys(value).some((key) => !Object.hasOwn(encoded, key) || lacksField(value[key], encoded[key]))
}

interface Codec<A, I> {
  readonly decode: (data: unknown) => Either.Either<A, unknown>
  readonly encode: (value: A) => Either.Either<I, unknown>
}

const unknownField = (value: unknown, known: ReadonlyMap<PropertyKey, unknown>): string | undefined =>
  typeof value === "object" && value !== null ? Object.keys(value).find((key) => !known.has(key)) : undefined

// ---------------------------------------------------------------------------
// values that a schema must not be given
// ---------------------------------------------------------------------------

/** Without a codec's own limit: no session is that large, and no circle smaller. */
const defaultMaxNodes = 2 ** 24
const maxDepth = 200

/** Refuses, before the schema walks it, a value that the codec would refuse for its size. */
const bounded = <A, I>(
  ast: AST.AST,
  maxNodes: number = defaultMaxNodes,
  encode: Codec<A, I>["encode"]
): Codec<A, I>["encode"] =>
  !some(ast, isOpenEnded) ? encode : (value) => {
    const left = nodesLeft(value, maxNodes, maxDepth)
    return left < 0
      ? Either.left(new SessionTooLarge({ reason: "TooLarge", limit: maxNodes, actual: maxNodes - left }))
      : encode(value)
  }

/** How many nodes there may still be after a value; negative when there are too many. */
const nodesLeft = (value: unknown, left: number, depth: number): number => {
  if (typeof value !== "object" || value === null || depth === 0 || left <= 0) {
    return left - 1
  }
  let rest = left - 1
  if (Array.isArray(value)) {
    if (value.length > rest) {
      return rest - value.length // a sparse array is longer than its elements are many
    }
    for (let i = 0; i < value.length && rest >= 0; i++) {
      rest = nodesLeft(value[i], rest, depth - 1)
    }
  } else if (isPlainObject(value)) {
    for (const key in value) {
      if (rest < 0) break
      rest = nodesLeft(value[key], rest, depth - 1)
    }
  } else if (value instanceof Map || value instanceof Set) {
    for (const each of value.values()) {
      if (rest < 0) break
      rest = nodesLeft(each, rest, depth - 1)
    }
  }
  return rest
}

/** Schema assigns the keys of a record, so that `__proto__` would be lost. It never sees that one. */
const withProtoKeys = <A, I>(ast: AST.AST, codec: Codec<A, I>): Codec<A, I> =>
  !some(ast, isRecord) ? codec : {
    decode: caught((data) =>
      hasProtoKey(data, maxDepth)
        ? Either.map(codec.decode(renamed(data, escapeKey)), (value) => renamed(value, unescapeKey))
        : codec.decode(data)
    ),
    encode: caught((value) =>
      hasProtoKey(value, maxDepth)
        ? Either.map(codec.encode(renamed(value, escapeKey)), (data) => renamed(data, unescapeKey))
        : codec.encode(value)
    )
  }

const hasProtoKey = (value: unknown, depth: number): boolean => {
  if (typeof value !== "object" || value === null || depth === 0) {
    return false
  }
  if (Array.isArray(value)) {
    return value.some((each) => hasProtoKey(each, depth - 1))
  }
  return isPlainObject(value) &&
    (Object.hasOwn(value, "__proto__") || Object.values(value).some((each) => hasProtoKey(each, depth - 1)))
}

/** A copy of plain data under other keys. */
const renamed = <A>(value: A, rename: (key: string) => string): A => {
  const copy = (each: unknown): unknown => {
    if (Array.isArray(each)) {
      return each.map(copy)
    }
    return isPlainObject(each)
      ? Object.fromEntries(Object.entries(each).map(([key, item]) => [rename(key), copy(item)]))
      : each
  }
  return copy(value) as A // nothing but names has changed
}

const escapeKey = (key: string): string => /^__proto__(?:proto__)*$/.test(key) ? `${key}proto__` : key
const unescapeKey = (key: string): string => /^__proto__(?:proto__)+$/.test(key) ? key.slice(0, -"proto__".length) : key

/** A transformation of the user's may throw. */
const caught =
  <A, B>(f: (input: A) => Either.Either<B, unknown>): (input: A) => Either.Either<B, unknown> => (input) => {
    try {
      return f(input)
    } catch (cause) {
      return Either.left(cause)
    }
  }

/**
 * A value of its own each time: what one request does to it, against all
 * rules, must not reach another. Throws when it does not fit the schema.
 */
export const copies = <A, I>(schema: Schema.Schema<A, I>, value: A): () => A => {
  const encode = Schema.encodeSync(schema)
  const decode = Schema.decodeSync(schema)
  let encoded: { readonly value: I } | undefined
  return () => {
    encoded ??= { value: encode(value) }
    return decode(encoded.value)
  }
}

/**
 * To Schema a struct with defaults is two structs and a transformation between
 * them, and it validates both. Where the second adds nothing to the first,
 * what the first has decoded needs no second look: this does the one and the
 * transformation, in half the time (3.1 µs instead of 6.6 for the cart of
 * three of `bench/`, either way).
 */
const direct = <A, I>({ ast }: Schema.Schema<A, I>): Codec<A, I> | undefined => {
  if (
    ast._tag !== "Transformation" || ast.transformation._tag !== "TypeLiteralTransformation" ||
    ast.from._tag !== "TypeLiteral" || ast.from.indexSignatures.length > 0 || !addsNothing(ast, ast.from)
  ) {
    return undefined
  }
  const fields = Schema.make<Fields, I>(ast.from)
  const decodeFields = Schema.decodeUnknownEither(fields)
  const encodeFields = encoderOf(fields, ast)
  const steps = ast.transformation.propertySignatureTransformations
  const changed = new Set(steps.map(({ from }) => from))
  const plain = ast.from.propertySignatures.map(({ name }) => name).filter((name) => !changed.has(name))

  const carry = (input: Fields): Fields => {
    const output: Fields = {}
    for (const name of plain) {
      if (Object.hasOwn(input, name)) {
        output[name] = input[name]
      }
    }
    return output
  }
  return {
    decode: caught((data: unknown): Either.Either<A, unknown> => {
      const decoded = decodeFields(data)
      if (decoded._tag === "Left") {
        return Either.left(decoded.left)
      }
      const output = carry(decoded.right)
      for (const step of steps) {
        put(output, step.to, step.decode(optional(decoded.right, step.from)))
      }
      return Either.right(output as A) // the fields are decoded, and each step is typed by its signature
    }),
    encode: caught((value: A): Either.Either<I, unknown> => {
      const output = carry(value as Fields) // a struct's value
      for (const step of steps) {
        put(output, step.from, step.encode(optional(value as Fields, step.to)))
      }
      return encodeFields(output)
    })
  }
}

/**
 * Whether each field of the transformation's target is what its source
 * decodes to, or that without `undefined` or `null`, as a default makes it:
 * neither another schema nor another filter; and no annotation changes how it
 * is parsed.
 */
const addsNothing = ({ annotations, to, transformation }: AST.Transformation, from: AST.TypeLiteral): boolean => {
  if (to._tag !== "TypeLiteral" || transformation._tag !== "TypeLiteralTransformation") {
    return false
  }
  const steps = new Map(transformation.propertySignatureTransformations.map((step) => [step.to, step.from]))
  const sources = new Map(from.propertySignatures.map(({ name, type }) => [name, type]))
  return ![annotations, to.annotations].some(changesParsing) && to.propertySignatures.every(({ name, type }) => {
    const source = sources.get(steps.get(name) ?? name)
    return source !== undefined && alternatives(source).some((each) => isDeepStrictEqual(AST.typeAST(each), type))
  })
}

const changesParsing = (annotations: AST.Annotations): boolean =>
  AST.ParseOptionsAnnotationId in annotations || AST.DecodingFallbackAnnotationId in annotations

/** A type, and it without `undefined` and `null`. */
const alternatives = (type: AST.AST): ReadonlyArray<AST.AST> =>
  type._tag === "Union"
    ? [type, AST.Union.make(type.types.filter((each) => !AST.isUndefinedKeyword(each) && !isNull(each)))]
    : [type]

const isNull = (type: AST.AST): boolean => AST.isLiteral(type) && type.literal === null

type Fields = Record<PropertyKey, unknown>

const optional = (input: Fields, name: PropertyKey): Option.Option<unknown> =>
  Object.hasOwn(input, name) ? Option.some(input[name]) : Option.none()

const put = (output: Fields, name: PropertyKey, value: Option.Option<unknown>): void => {
  if (value._tag === "Some") {
    output[name] = value.value
  }
}

/** A field of a value; `undefined` when it is absent, whatever the value inherits. */
export const ownField = (value: unknown, key: PropertyKey): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<PropertyKey, unknown>)[key]
    : undefined

const isPlainObject = (value: unknown): value is Record<string, unknown> => {
  if (typeof value !== "object" || value === null) {
    return false
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

// ---------------------------------------------------------------------------
// what another version of the app has stored
// ---------------------------------------------------------------------------

/**
 * Makes of an encoded value what is stored. Keys that no version of the schema
 * here knows stay, and so does each field that has not changed, as it is stored.
 * The encodings tell whether it has: a value that a handler changed in place is
 * still the same object.
 */
const keeper = <A, I>(schema: Schema.Schema<A, I>) => {
  const shape = shapeOf(schema)
  return (stored: Fields, encoded: unknown): unknown => {
    if (shape === undefined || !isPlainObject(encoded) || !shape.isSameMember(stored, encoded)) {
      return encoded
    }
    const kept: Array<readonly [string, unknown]> = []
    for (const key of Object.keys(stored)) {
      if (!shape.knows(key)) {
        kept.push([key, stored[key]])
        continue
      }
      if (!shape.mayLose(key) || !Object.hasOwn(encoded, key) || isSamePlain(stored[key], encoded[key])) {
        continue
      }
      if (isDeepStrictEqual(shape.recoded(stored, key), encoded[key])) {
        kept.push([key, stored[key]])
      }
    }
    return kept.length === 0 ? encoded : Object.fromEntries([...Object.entries(encoded), ...kept])
  }
}

/** Whether plain data is the same, at a glance: anything unusual is taken for different. */
const isSamePlain = (left: unknown, right: unknown): boolean => {
  if (left === right) {
    return true
  }
  if (Array.isArray(left)) {
    return Array.isArray(right) && left.length === right.length && left.every((each, i) => isSamePlain(each, right[i]))
  }
  if (!isPlainObject(left) || !isPlainObject(right)) {
    return false
  }
  const keys = Object.keys(left)
  return keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && isSamePlain(left[key], right[key]))
}

/** A payload's stored fields, as the schema sees them. */
interface Shape {
  readonly knows: (key: string) => boolean
  /** Whether the schema may drop a part of the field. */
  readonly mayLose: (key: string) => boolean
  /** What is left of a stored field when it is decoded and encoded. */
  readonly recoded: (stored: Fields, key: string) => unknown
  /** Whether both are the same member of a union, as far as literals tell. */
  readonly isSameMember: (stored: Fields, encoded: Fields) => boolean
}

const shapeOf = <A, I>(schema: Schema.Schema<A, I>): Shape | undefined => {
  const source = encodedFrom(schema.ast)
  const structs = source._tag === "Union" ? source.types.map(encodedFrom) : [source]
  if (!structs.every(AST.isTypeLiteral)) {
    return undefined
  }
  const anyKey = structs.some(isRecord)
  const properties = structs.flatMap(({ propertySignatures }) => propertySignatures)
  const known = new Set(properties.map(({ name }) => name))
  const lossy = new Set(properties.filter(({ type }) => some(type, dropsKeys)).map(({ name }) => name))
  const tags = structs.length === 1 ? [] : properties.filter(({ type }) => AST.isLiteral(type)).map(({ name }) => name)
  return {
    knows: (key) => anyKey || known.has(key),
    mayLose: (key) => known.has(key) ? lossy.has(key) : anyKey,
    recoded: structs.length === 1 ? fieldRecoder(structs[0]!) : wholeRecoder(schema),
    isSameMember: (stored, encoded) => tags.every((tag) => ownField(stored, tag) === ownField(encoded, tag))
  }
}

const fieldRecoder = ({ indexSignatures, propertySignatures }: AST.TypeLiteral): Shape["recoded"] => {
  const recoders = new Map<string, (stored: unknown) => unknown>()
  return (stored, key) => {
    const property = propertySignatures.filter(({ name }) => name === key)
    const name = property.length === 0 ? "" : key
    const recode = recoders.get(name) ??
      recoder(Schema.make<Fields>(new AST.TypeLiteral(property, property.length === 0 ? indexSignatures : [])))
    recoders.set(name, recode)
    return ownField(recode({ [key]: stored[key] }), key)
  }
}

const wholeRecoder = <A, I>(schema: Schema.Schema<A, I>): Shape["recoded"] => {
  const recode = recoder(schema)
  return (stored, key) => ownField(recode(stored), key)
}

const recoder = <A, I>(schema: Schema.Schema<A, I>) => {
  const { decode, encode } = withProtoKeys(schema.ast, codecOf(schema))
  return (stored: unknown): unknown => Either.getOrUndefined(Either.flatMap(decode(stored), encode))
}

/** What a schema decodes from first: its fields have their encoded names. */
const encodedFrom = (ast: AST.AST): AST.AST => {
  switch (ast._tag) {
    case "Transformation":
    case "Refinement":
      return encodedFrom(ast.from)
    default:
      return ast
  }
}

// ---------------------------------------------------------------------------
// what a schema is made of
// ---------------------------------------------------------------------------

/** Whether any part of a schema is such. */
const some = (ast: AST.AST, is: (ast: AST.AST) => boolean, visited = new Set<AST.AST>()): boolean => {
  if (visited.has(ast)) {
    return false
  }
  visited.add(ast)
  return is(ast) || partsOf(ast).some((part) => some(part, is, visited))
}

const partsOf = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  switch (ast._tag) {
    case "Declaration":
      return ast.typeParameters
    case "TupleType":
      return [...ast.elements, ...ast.rest].map(({ type }) => type)
    case "TypeLiteral":
      return [...ast.propertySignatures, ...ast.indexSignatures].map(({ type }) => type)
    case "Union":
      return ast.types
    case "Suspend":
      return [ast.f()]
    case "Refinement":
      return [ast.from]
    case "Transformation":
      return [ast.from, ast.to]
    default:
      return []
  }
}

/** Decoding may drop what this part does not know. */
const dropsKeys = (ast: AST.AST): boolean =>
  isStruct(ast) || ast._tag === "Declaration" ||
  (ast._tag === "Transformation" && some(ast.to, isAnything)) ||
  (isRecord(ast) && ast.indexSignatures.some(({ parameter }) => !AST.isStringKeyword(parameter)))

const isAnything = (ast: AST.AST): boolean =>
  AST.isAnyKeyword(ast) || AST.isUnknownKeyword(ast) || AST.isObjectKeyword(ast)

/** Encoding ends in a struct that a transformation has made, with fields of its own besides. */
const makesStructs = (ast: AST.AST): boolean =>
  ast._tag === "Transformation" && ast.transformation._tag !== "TypeLiteralTransformation" && some(ast.from, isStruct)

const isStruct = (ast: AST.AST): boolean => ast._tag === "TypeLiteral" && ast.propertySignatures.length > 0

const isRecord = (ast: AST.AST): ast is AST.TypeLiteral => ast._tag === "TypeLiteral" && ast.indexSignatures.length > 0

/** A value of this part may have more nodes than the schema has. */
const isOpenEnded = (ast: AST.AST): boolean =>
  isRecord(ast) || ast._tag === "Suspend" || (ast._tag === "TupleType" && ast.rest.length > 0)

/** A struct's fields by both names: they differ under `Schema.fromKey`. */
const fieldNames = (ast: AST.AST): ReadonlyArray<{ readonly decoded: PropertyKey; readonly encoded: PropertyKey }> => {
  if (ast._tag === "TypeLiteral" && ast.indexSignatures.length === 0) {
    return ast.propertySignatures.map(({ name }) => ({ decoded: name, encoded: name }))
  }
  if (ast._tag !== "Transformation" || ast.transformation._tag !== "TypeLiteralTransformation") {
    return []
  }
  const renamed = ast.transformation.propertySignatureTransformations
  return fieldNames(ast.to).map(({ decoded }) => ({
    decoded,
    encoded: renamed.find(({ to }) => to === decoded)?.from ?? decoded
  }))
}
