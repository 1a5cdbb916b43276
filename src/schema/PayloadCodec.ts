/**
 * How an encoded payload becomes bytes: msgpack (the default) or JSON. Data
 * only, bounded in size and depth, both ways.
 *
 * @since 0.1.0
 */

import { Packr } from "msgpackr"
import { tooLarge as sizeError } from "../SessionError.js"
import { decodeMsgpack } from "./decodeMsgpack.js"
import { Inspection, inspectValue, NotPlainData, tooLarge } from "./plainData.js"

/**
 * Turns plain data into bytes and back.
 *
 * `encode` throws a `SessionTooLarge`, or any other error for what is not plain
 * data; the session then fails with `Encode`. `decode` throws for bytes that
 * are no value, and never returns part of one; the session fails with
 * `Corrupt`.
 *
 * @since 0.1.0
 * @category models
 */
export interface PayloadCodec {
  readonly encode: (value: unknown) => Uint8Array
  readonly decode: (bytes: Uint8Array) => unknown
  /** What the codec carries. Without it, schemas are not checked against the codec. */
  readonly traits?: Traits
}

/**
 * What a codec carries, known before any value is encoded.
 *
 * - `name`: as messages call it.
 * - `maxBytes`: largest payload in bytes. A value of more nodes is not encoded.
 * - `bigints`, `bytes`: whether 64-bit `bigint`s and `Uint8Array`s are carried.
 *
 * @since 0.1.0
 * @category models
 */
export interface Traits {
  readonly name: string
  readonly maxBytes: number
  readonly bigints: boolean
  readonly bytes: boolean
}

/**
 * Bounds of a codec.
 *
 * - `maxBytes`: largest payload in bytes; 1 MiB by default.
 * - `maxDepth`: deepest nesting of arrays and objects; 64 by default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly maxBytes?: number
  readonly maxDepth?: number
}

/**
 * MessagePack. Carries JSON's values, and besides them `undefined`, `NaN`, the
 * infinities, 64-bit `bigint`s and `Uint8Array`s. Dates, maps, sets and class
 * instances are for the Schema to encode.
 *
 * Every string is kept exactly. UTF-8 cannot carry half of a surrogate pair, so
 * a payload with one begins with the byte `c1`, which MessagePack never uses.
 * Each string of such a payload is a JSON literal.
 *
 * @since 0.1.0
 * @category constructors
 */
export const msgpack = (options?: Options): PayloadCodec =>
  make(options, { name: "msgpack", bigints: true, bytes: true }, {
    isLeaf: isMsgpackLeaf,
    encode: (value, found) =>
      found.illFormedText
        ? Buffer.concat([escapedMark, packer.pack(toMaps(value, JSON.stringify))])
        : packer.pack(found.toJsonKey ? toMaps(value, (text) => text) : value),
    decode: (bytes, maxDepth) =>
      bytes[0] === escapedMark[0]
        ? unescaped(decodeMsgpack(bytes.subarray(1), maxDepth))
        : decodeMsgpack(bytes, maxDepth)
  })

/**
 * JSON in UTF-8. Numbers must be finite; `undefined` properties are dropped,
 * and `undefined` elsewhere is refused.
 *
 * @since 0.1.0
 * @category constructors
 */
export const json = (options?: Options): PayloadCodec =>
  make(options, { name: "json", bigints: false, bytes: false }, {
    isLeaf: isJsonLeaf,
    encode: (value) => Buffer.from(JSON.stringify(value), "utf8"),
    decode: (bytes, maxDepth) => {
      const value: unknown = JSON.parse(utf8.decode(bytes))
      const problem = inspectValue(new Inspection(isJsonLeaf, Infinity), value, maxDepth)
      if (problem !== undefined) {
        throw new Error(`${problem.kind} is no JSON data`)
      }
      return value
    }
  })

const make = (options: Options | undefined, traits: Omit<Traits, "maxBytes">, codec: {
  readonly isLeaf: (value: unknown) => boolean
  readonly encode: (value: unknown, found: Inspection) => Uint8Array
  readonly decode: (bytes: Uint8Array, maxDepth: number) => unknown
}): PayloadCodec => {
  const maxBytes = options?.maxBytes ?? 1024 * 1024
  const maxDepth = options?.maxDepth ?? 64
  return {
    traits: { ...traits, maxBytes },
    encode: (value) => {
      const found = new Inspection(codec.isLeaf, maxBytes)
      const problem = inspectValue(found, value, maxDepth)
      if (problem !== undefined) {
        throw problem === tooLarge
          ? sizeError(maxBytes, maxBytes - found.left)
          : new NotPlainData(problem, traits.name)
      }
      const bytes = codec.encode(value, found)
      if (bytes.length > maxBytes) {
        throw sizeError(maxBytes, bytes.length)
      }
      return bytes
    },
    decode: (bytes) => {
      if (bytes.length > maxBytes) {
        throw new Error(`${bytes.length} bytes, the limit is ${maxBytes}`)
      }
      return codec.decode(bytes, maxDepth)
    }
  }
}

const isJsonLeaf = (value: unknown): boolean => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true
    case "number":
      return Number.isFinite(value)
    default:
      return value === null
  }
}

const isMsgpackLeaf = (value: unknown): boolean => {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
    case "undefined":
      return true
    case "bigint":
      return BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value
    default:
      return value === null || value instanceof Uint8Array
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

// ---------------------------------------------------------------------------
// msgpack
// ---------------------------------------------------------------------------

const packer = new Packr({ useRecords: false, variableMapSize: true })
/** Plain data with maps for objects, whose keys are only data to msgpackr; each string is passed through `f`. */
const toMaps = (value: unknown, f: (text: string) => string): unknown => {
  if (typeof value === "string") {
    return f(value)
  }
  if (Array.isArray(value)) {
    return Array.from(value, (item) => toMaps(item, f)) // holes too
  }
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array)
    ? new Map(Object.entries(value).map(([key, item]) => [f(key), toMaps(item, f)]))
    : value
}

/** The first byte of a payload whose strings are JSON literals. */
const escapedMark = Uint8Array.of(0xc1)

const unescaped = (value: unknown): unknown => {
  if (typeof value === "string") {
    return literal(value)
  }
  if (Array.isArray(value)) {
    return value.map(unescaped)
  }
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array)
    ? Object.fromEntries(Object.entries(value).map(([key, item]) => [literal(key), unescaped(item)]))
    : value
}

const literal = (source: string): string => {
  const text: unknown = JSON.parse(source)
  if (typeof text !== "string") {
    throw new Error("not the literal of a string")
  }
  return text
}
