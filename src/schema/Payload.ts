/**
 * A session's payload: how the user's value relates to the plain data that is
 * stored.
 *
 * @internal
 */

import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { failure, SessionTooLarge } from "../SessionError.js"
import { fieldNames } from "./ast.js"
import { describe, UnknownField } from "./describe.js"
import type { Traits } from "./PayloadCodec.js"
import { schemaCodec } from "./schemaCodec.js"
import { schemaProblems } from "./schemaProblems.js"
import { keeper } from "./storedFields.js"
import { equalData, isPlainObject, ownField } from "./values.js"

/** The stored object that a value was decoded from. This version of the app may not know all that is in it. */
export type Source = Readonly<Record<string, unknown>> | undefined

export interface Payload<A> {
  readonly initial: () => A
  /** The names of a struct's fields; empty for other schemas. */
  readonly keys: ReadonlyArray<PropertyKey>
  /** Throws a `ParseError`, or what a transformation threw. */
  readonly decode: (data: unknown) => { readonly value: A; readonly source: Source }
  /**
   * Fields that have not changed stay as they are in `source`, with what this
   * version does not know. Throws `TooLarge` or `Encode`.
   */
  readonly encode: (value: A, source: Source) => unknown
  readonly sourceOf: (data: unknown) => Source
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
  const { decode, encode: encodeValue } = schemaCodec(schema, options.codec?.maxBytes)
  const names = fieldNames(schema.ast)
  const encodedName = new Map(names.map((name) => [name.decoded, name.encoded]))
  const decodedName = new Map(names.map((name) => [name.encoded, name.decoded]))
  const keepStored = keeper(schema)
  // Each guard of a replay asks for the same few values.
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
    decode: (data) => ({ value: Either.getOrThrowWith(decode(data), (cause) => cause), source: sourceOf(data) }),
    encode: (value, source) => {
      const unknown = names.length === 0 ? undefined : unknownField(value, encodedName)
      if (unknown !== undefined) {
        throw failure("Encode", new UnknownField(unknown))
      }
      const encoded = encodeValue(value)
      if (encoded._tag === "Left") {
        throw encoded.left instanceof SessionTooLarge ? encoded.left : failure("Encode", encoded.left)
      }
      return source === undefined ? encoded.right : keepStored(source, encoded.right)
    },
    sourceOf,
    sameField: (key, left, right) =>
      ownField(left, key) === ownField(right, key) || equalData(encodedField(left, key), encodedField(right, key)),
    problems: () => schemaProblems(schema.ast, decodedName, options.codec),
    describe: (cause) => describe(options.tag, schema.ast, decodedName, cause)
  }
}

const sourceOf = (data: unknown): Source => isPlainObject(data) ? data : undefined

const unknownField = (value: unknown, known: ReadonlyMap<PropertyKey, unknown>): string | undefined =>
  typeof value === "object" && value !== null ? Object.keys(value).find((key) => !known.has(key)) : undefined

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
