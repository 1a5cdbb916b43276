/**
 * A schema as two functions, with what Schema itself does not do: a bound on
 * the work, exact keys, and the fast path of `structCodec`.
 *
 * @internal
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import { tooLarge } from "../SessionError.js"
import { isOpenEnded, isRecord, makesStructs, some } from "./ast.js"
import { failed, structCodec } from "./structCodec.js"
import { isPlainObject } from "./values.js"

/** Both directions fail with a `ParseError`, or with what a transformation threw. */
export interface SchemaCodec<A, I> {
  readonly decode: (data: unknown) => Either.Either<A, unknown>
  readonly encode: (value: A) => Either.Either<I, unknown>
}

/** `maxNodes` bounds what is encoded. A larger value fails with a `SessionTooLarge` before the schema walks it. */
export const schemaCodec = <A, I>(schema: Schema.Schema<A, I>, maxNodes?: number): SchemaCodec<A, I> => {
  const { decode, encode } = codecOf(schema)
  return { decode, encode: bounded(schema.ast, maxNodes, encode) }
}

/** Closures first, and Schema for whatever they cannot judge. */
export const codecOf = <A, I>(schema: Schema.Schema<A, I>): SchemaCodec<A, I> => {
  const options = encodeOptions(schema.ast)
  const fast = structCodec(schema, options)
  const slow = withProtoKeys(schema.ast, {
    decode: caught(Schema.decodeUnknownEither(schema)),
    encode: caught(Schema.encodeEither(schema, options))
  })
  return {
    decode: caught((data: unknown): Either.Either<A, unknown> => {
      const value = fast.decode(data)
      return value === failed ? slow.decode(data) : Either.right(value as A) // the closure has judged every part
    }),
    encode: caught((value: A): Either.Either<I, unknown> => {
      const data = fast.encode(value)
      return data === failed ? slow.encode(value) : Either.right(data as I) // the same
    })
  }
}

/** Nested fields that no schema knows are refused, where the value itself is what is encoded. */
const encodeOptions = (ast: AST.AST): AST.ParseOptions => some(ast, makesStructs) ? {} : { onExcessProperty: "error" }

/** Without a codec's own limit: no session is that large, and no circle smaller. */
const defaultMaxNodes = 2 ** 24
const maxDepth = 200

/** Refuses, before the schema walks it, a value that the codec would refuse for its size. */
const bounded = <A, I>(
  ast: AST.AST,
  maxNodes: number = defaultMaxNodes,
  encode: SchemaCodec<A, I>["encode"]
): SchemaCodec<A, I>["encode"] =>
  !some(ast, isOpenEnded) ? encode : (value) => {
    const left = nodesLeft(value, maxNodes, maxDepth)
    return left < 0
      ? Either.left(tooLarge(maxNodes, maxNodes - left))
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
const withProtoKeys = <A, I>(ast: AST.AST, codec: SchemaCodec<A, I>): SchemaCodec<A, I> =>
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
