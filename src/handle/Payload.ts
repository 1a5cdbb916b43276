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

/** Top-level keys of a stored struct that this version of the app does not know. */
export type Extras = Readonly<Record<string, unknown>> | undefined

export interface Payload<A> {
  readonly initial: () => A
  /** The names of a struct's fields; empty for other schemas. */
  readonly keys: ReadonlyArray<PropertyKey>
  /** Fails with a `ParseError`, or with what a transformation threw. */
  readonly decode: (data: unknown) => Either.Either<A, unknown>
  readonly encode: (value: A, extras: Extras) => Either.Either<unknown, unknown>
  readonly extrasOf: (data: unknown) => Extras
  /** Whether the field is stored alike in both values. */
  readonly sameField: (key: PropertyKey, left: A, right: A) => boolean
}

export const make = <A, I>(schema: Schema.Schema<A, I>, initial: () => A): Payload<A> => {
  const { decode, encode: encodeValue } = direct(schema) ?? {
    decode: caught(Schema.decodeUnknownEither(schema)),
    encode: caught(Schema.encodeEither(schema))
  }
  const names = fieldNames(schema.ast)
  const known = new Set(names.map((name) => name.encoded))
  const encodedName = new Map(names.map((name) => [name.decoded, name.encoded]))
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
      const encoded = encodeValue(value)
      return extras === undefined || encoded._tag === "Left"
        ? encoded
        : Either.right({ ...extras, ...encoded.right })
    },
    extrasOf: (data) => names.length === 0 ? undefined : unknownKeys(data, known),
    sameField: (key, left, right) =>
      ownField(left, key) === ownField(right, key) ||
      isDeepStrictEqual(encodedField(left, key), encodedField(right, key))
  }
}

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
const direct = <A, I>({ ast }: Schema.Schema<A, I>) => {
  if (
    ast._tag !== "Transformation" || ast.transformation._tag !== "TypeLiteralTransformation" ||
    ast.from._tag !== "TypeLiteral" || ast.from.indexSignatures.length > 0 || !addsNothing(ast, ast.from)
  ) {
    return undefined
  }
  const fields = Schema.make<Fields, I>(ast.from)
  const decodeFields = Schema.decodeUnknownEither(fields)
  const encodeFields = Schema.encodeEither(fields)
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

const unknownKeys = (data: unknown, known: ReadonlySet<PropertyKey>): Extras => {
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    return undefined
  }
  let extras: Record<string, unknown> | undefined
  for (const key of Object.keys(data)) {
    if (!known.has(key)) {
      extras ??= Object.create(null) as Record<string, unknown>
      extras[key] = ownField(data, key)
    }
  }
  return extras
}

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
