/**
 * How an encoded payload becomes bytes: msgpack (the default) or JSON. Data
 * only, bounded in size and depth, both ways.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { Packr, Unpackr } from "msgpackr"
import { isUtf8 } from "node:buffer"
import { failure, type SessionError, SessionTooLarge } from "../SessionError.js"

/**
 * Turns plain data into bytes and back.
 *
 * `encode` fails with `TooLarge`, or `Encode` for what is not plain data.
 * `decode` fails with `Corrupt`, and never returns part of a value.
 *
 * @since 0.1.0
 * @category models
 */
export interface PayloadCodec {
  readonly encode: (value: unknown) => Either.Either<Uint8Array, SessionError>
  readonly decode: (bytes: Uint8Array) => Either.Either<unknown, SessionError>
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
 * instances are for the Schema to encode. An object with the two keys
 * `constructor` and `toJSON` is refused, for msgpackr would call the latter.
 *
 * Strings must be well-formed Unicode, for msgpack strings are UTF-8.
 *
 * @since 0.1.0
 * @category constructors
 */
export const msgpack = (options?: Options): PayloadCodec =>
  make(options, {
    isLeaf: isMsgpackLeaf,
    encode: (value) => packer.pack(value),
    decode: (bytes, maxDepth) => {
      const found = inspect(bytes, maxDepth)
      // guard: __proto__ is data
      return found.hasProtoKey ? toObjects(mapUnpacker.unpack(bytes)) : unpacker.unpack(bytes)
    }
  })

/**
 * JSON in UTF-8. Numbers must be finite; `undefined` properties are dropped,
 * and `undefined` elsewhere is refused.
 *
 * @since 0.1.0
 * @category constructors
 */
export const json = (options?: Options): PayloadCodec =>
  make(options, {
    isLeaf: isJsonLeaf,
    encode: (value) => Buffer.from(JSON.stringify(value), "utf8"),
    decode: (bytes, maxDepth) => {
      const value: unknown = JSON.parse(utf8.decode(bytes))
      check(value, isJsonLeaf, maxDepth)
      return value
    }
  })

const make = (options: Options | undefined, codec: {
  readonly isLeaf: (value: unknown) => boolean
  readonly encode: (value: unknown) => Uint8Array
  readonly decode: (bytes: Uint8Array, maxDepth: number) => unknown
}): PayloadCodec => {
  const maxBytes = options?.maxBytes ?? 1024 * 1024
  const maxDepth = options?.maxDepth ?? 64
  return {
    encode: (value) => {
      try {
        check(value, codec.isLeaf, maxDepth)
        const bytes = codec.encode(value)
        // guard: encoding is bounded in size
        return bytes.length > maxBytes
          ? Either.left(new SessionTooLarge({ reason: "TooLarge", limit: maxBytes, actual: bytes.length }))
          : Either.right(bytes)
      } catch (cause) {
        return Either.left(failure("Encode", cause))
      }
    },
    decode: (bytes) => {
      try {
        // guard: decoding is bounded in size
        return bytes.length > maxBytes
          ? Either.left(failure("Corrupt", new Error(`${bytes.length} bytes, the limit is ${maxBytes}`)))
          : Either.right(codec.decode(bytes, maxDepth))
      } catch (cause) {
        return Either.left(failure("Corrupt", cause))
      }
    }
  }
}

// ---------------------------------------------------------------------------
// plain data
// ---------------------------------------------------------------------------

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
      return value.isWellFormed()
    case "number":
    case "boolean":
    case "undefined":
    case "bigint": // out of range throws in msgpackr
      return true
    default:
      return value === null || value instanceof Uint8Array
  }
}

/** Throws on the first thing that is not plain data; its place is in the message, its value is not. */
const check = (value: unknown, isLeaf: (value: unknown) => boolean, depth: number): void => {
  if (isLeaf(value)) {
    return
  }
  if (typeof value !== "object" || value === null) {
    throw new Error(`a ${typeof value} of this kind is not plain data`)
  }
  // guard: encoding is bounded in depth
  if (depth === 0) {
    throw new Error("nested too deep (or in a circle)")
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      check(value[i], isLeaf, depth - 1)
    }
    return
  }
  const prototype = Object.getPrototypeOf(value)
  // guard: plain objects only
  if (prototype !== Object.prototype && prototype !== null) {
    throw new Error(`a ${prototype.constructor?.name} is not plain data: let the schema encode it`)
  }
  for (const key of Object.keys(value)) {
    if (!isLeaf(key)) {
      throw new Error("a key is not well-formed Unicode")
    }
    const item = (value as Record<string, unknown>)[key]
    if (item !== undefined) {
      check(item, isLeaf, depth - 1)
    }
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

// ---------------------------------------------------------------------------
// msgpack
// ---------------------------------------------------------------------------

const packer = new Packr({ useRecords: false, variableMapSize: true })
const unpacker = new Unpackr({ useRecords: false, mapsAsObjects: true, copyBuffers: true })

// as objects, msgpackr renames the key `__proto__`; as maps it does not
const mapUnpacker = new Unpackr({ useRecords: false, mapsAsObjects: false, copyBuffers: true })

const toObjects = (value: unknown): unknown => {
  if (Array.isArray(value)) {
    return value.map(toObjects)
  }
  return value instanceof Map
    ? Object.fromEntries(Array.from(value as Map<string, unknown>, ([key, item]) => [key, toObjects(item)]))
    : value
}

const protoKey = Buffer.from("__proto__")

/**
 * Walks msgpack bytes without building anything. msgpackr allocates by declared
 * lengths and revives extensions (RegExp, Error, Set), so what reaches it has
 * been walked first: complete, no deeper than allowed, text in UTF-8, text keys,
 * and of the extensions nothing but `undefined`.
 */
const inspect = (bytes: Uint8Array, maxDepth: number): { readonly hasProtoKey: boolean } => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  let hasProtoKey = false

  const skip = (length: number): void => {
    at += length
    if (at > bytes.length) {
      throw new Error("truncated")
    }
  }
  const length = (size: 1 | 2 | 4): number => {
    const start = at
    skip(size)
    return size === 1 ? view.getUint8(start) : size === 2 ? view.getUint16(start) : view.getUint32(start)
  }
  const text = (size: number): void => {
    skip(size)
    for (let i = at - size; i < at; i++) {
      if (bytes[i]! > 0x7f) { // a loop over ASCII is cheaper than a call
        // guard: text is UTF-8
        if (isUtf8(bytes.subarray(i, at))) {
          return
        }
        throw new Error("text is not UTF-8")
      }
    }
  }
  const array = (count: number, depth: number): void => {
    for (let i = 0; i < count; i++) {
      item(depth)
    }
  }
  const map = (count: number, depth: number): void => {
    for (let i = 0; i < count; i++) {
      key()
      item(depth)
    }
  }
  const key = (): void => {
    const type = view.getUint8(at++)
    const size = type >= 0xa0 && type <= 0xbf
      ? type & 0x1f
      : type === 0xd9
      ? length(1)
      : type === 0xda
      ? length(2)
      : type === 0xdb
      ? length(4)
      : -1
    // guard: keys are text
    if (size < 0) {
      throw new Error("a key is not text")
    }
    text(size)
    hasProtoKey ||= size === protoKey.length && protoKey.equals(bytes.subarray(at - size, at))
  }
  const item = (depth: number): void => {
    // guard: decoding is bounded in depth
    if (depth < 0) {
      throw new Error("nested too deep")
    }
    const type = view.getUint8(at++) // throws at the end of the input
    if (type <= 0x7f || type >= 0xe0) return
    if (type <= 0x8f) return map(type & 0x0f, depth - 1)
    if (type <= 0x9f) return array(type & 0x0f, depth - 1)
    if (type <= 0xbf) return text(type & 0x1f)
    switch (type) {
      case 0xc0: // nil
      case 0xc2: // false
      case 0xc3: // true
        return
      case 0xc4: // bin 8
        return skip(length(1))
      case 0xc5:
        return skip(length(2))
      case 0xc6:
        return skip(length(4))
      case 0xd9: // str 8
        return text(length(1))
      case 0xda:
        return text(length(2))
      case 0xdb:
        return text(length(4))
      case 0xca: // float 32
      case 0xce: // uint 32
      case 0xd2: // int 32
        return skip(4)
      case 0xcb: // float 64
      case 0xcf: // uint 64
      case 0xd3: // int 64
        return skip(8)
      case 0xcc:
      case 0xd0:
        return skip(1)
      case 0xcd:
      case 0xd1:
        return skip(2)
      case 0xd4: // fixext 1: msgpackr's `undefined` is type 0, byte 0
        // guard: no extensions
        if (length(2) !== 0) {
          throw new Error("an extension")
        }
        return
      case 0xdc:
        return array(length(2), depth - 1)
      case 0xdd:
        return array(length(4), depth - 1)
      case 0xde:
        return map(length(2), depth - 1)
      case 0xdf:
        return map(length(4), depth - 1)
      default: // never used (c1), or an extension
        // guard: unknown types are refused
        throw new Error("not data")
    }
  }

  item(maxDepth)
  if (at !== bytes.length) {
    throw new Error("trailing bytes")
  }
  return { hasProtoKey }
}
