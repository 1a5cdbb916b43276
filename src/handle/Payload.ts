/**
 * A session's payload: how the user's value relates to the plain data that is
 * stored.
 *
 * @internal
 */
import * as Either from "effect/Either"
import type * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import { isDeepStrictEqual } from "node:util"

/** Top-level keys of a stored struct that this version of the app does not know. */
export type Extras = Readonly<Record<string, unknown>> | undefined

export interface Payload<A> {
  readonly initial: () => A
  /** The names of a struct's fields; empty for other schemas. */
  readonly keys: ReadonlyArray<PropertyKey>
  readonly decode: (data: unknown) => Either.Either<A, ParseResult.ParseError>
  readonly encode: (value: A, extras: Extras) => Either.Either<unknown, ParseResult.ParseError>
  readonly extrasOf: (data: unknown) => Extras
  /** Whether the field is stored alike in both values. */
  readonly sameField: (key: PropertyKey, left: A, right: A) => boolean
}

export const make = <A, I>(schema: Schema.Schema<A, I>, initial: () => A): Payload<A> => {
  const decode = Schema.decodeUnknownEither(schema)
  const encodeValue = Schema.encodeEither(schema)
  const names = fieldNames(schema.ast)
  const known = new Set(names.map((name) => name.encoded))
  const encodedName = new Map(names.map((name) => [name.decoded, name.encoded]))
  const encodedField = (value: A, key: PropertyKey): unknown => {
    const encoded = encodeValue(value)
    return encoded._tag === "Right" ? field(encoded.right, encodedName.get(key) ?? key) : encoded
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
      field(left, key) === field(right, key) ||
      isDeepStrictEqual(encodedField(left, key), encodedField(right, key))
  }
}

const field = (value: unknown, key: PropertyKey): unknown =>
  typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined

const unknownKeys = (data: unknown, known: ReadonlySet<PropertyKey>): Extras => {
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    return undefined
  }
  let extras: Record<string, unknown> | undefined
  for (const key of Object.keys(data)) {
    if (!known.has(key)) {
      extras ??= Object.create(null) as Record<string, unknown>
      extras[key] = field(data, key)
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
