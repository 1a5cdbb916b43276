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
        ? unescaped(unpack(bytes.subarray(1), maxDepth))
        : unpack(bytes, maxDepth)
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
      try {
        const found = new Inspection(codec.isLeaf, maxBytes)
        const problem = inspectValue(found, value, maxDepth)
        if (problem !== undefined) {
          return problem === tooLarge
            ? Either.left(sizeFailure(maxBytes, maxBytes - found.left))
            : Either.left(failure("Encode", new NotPlainData(problem, traits.name)))
        }
        const bytes = codec.encode(value, found)
        // guard: encoding is bounded in size
        return bytes.length > maxBytes
          ? Either.left(sizeFailure(maxBytes, bytes.length))
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

const sizeFailure = (limit: number, actual: number): SessionTooLarge =>
  new SessionTooLarge({ reason: "TooLarge", limit, actual })

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

/** Where a value is no plain data, and what kind of value is there. */
interface Problem {
  readonly path: Array<PropertyKey>
  readonly kind: string
  /** The schema that encodes such a value. */
  readonly remedy: string | undefined
}

/**
 * A value that a codec does not carry: its place and its kind, and never the
 * value. A path may hold keys of records, which are data of the user.
 *
 * @internal
 */
export class NotPlainData extends Error {
  readonly path: ReadonlyArray<PropertyKey>

  constructor(problem: Problem, codec: string) {
    super(
      `${problem.kind}, which ${codec} does not carry; ${problem.remedy ?? "let the schema encode it to plain data"}`
    )
    this.name = "NotPlainData"
    this.path = problem.path
  }
}

const tooLarge: Problem = { path: [], kind: "more than the limit", remedy: undefined }

/** What was found out about a value on the way through it. */
class Inspection {
  illFormedText = false
  toJsonKey = false

  constructor(
    readonly isLeaf: (value: unknown) => boolean,
    /** What is left of the largest size. A node takes a byte or more, so this bounds the work too. */
    public left: number
  ) {}
}

/** The first thing that is not plain data. Visits no more nodes than the size allows. */
const inspectValue = (found: Inspection, value: unknown, depth: number): Problem | undefined => {
  found.left--
  if (found.isLeaf(value)) {
    if (typeof value === "string") {
      inspectText(found, value)
    } else if (value instanceof Uint8Array) {
      found.left -= value.length
    }
    return found.left < 0 ? tooLarge : undefined
  }
  if (typeof value !== "object" || value === null) {
    return problemOf(value)
  }
  // guard: encoding is bounded in depth
  if (depth === 0) {
    return { path: [], kind: "arrays and objects nested too deep (or in a circle)", remedy: undefined }
  }
  if (Array.isArray(value)) {
    return inspectArray(found, value, depth - 1)
  }
  const prototype = Object.getPrototypeOf(value)
  // guard: plain objects only
  if (prototype !== Object.prototype && prototype !== null) {
    return problemOf(value)
  }
  return inspectObject(found, value as Record<string, unknown>, depth - 1)
}

const inspectText = (found: Inspection, text: string): void => {
  found.left -= text.length
  if (!text.isWellFormed()) {
    found.illFormedText = true
  }
}

const inspectArray = (found: Inspection, array: ReadonlyArray<unknown>, depth: number): Problem | undefined => {
  if (array.length > found.left) {
    found.left -= array.length // a sparse array is longer than its elements are many
    return tooLarge
  }
  for (let i = 0; i < array.length; i++) {
    const problem = inspectValue(found, array[i], depth)
    if (problem !== undefined) {
      return at(i, problem)
    }
  }
  return found.left < 0 ? tooLarge : undefined
}

const inspectObject = (found: Inspection, object: Record<string, unknown>, depth: number): Problem | undefined => {
  for (const key of Object.keys(object)) {
    const item = object[key]
    if (item === undefined) {
      found.left-- // JSON has no such property, and it is work all the same
      if (!found.isLeaf(item)) {
        continue
      }
    }
    inspectText(found, key)
    if (key === "toJSON") {
      found.toJsonKey = true // msgpackr calls what it takes for a method
    }
    const problem = item === undefined ? undefined : inspectValue(found, item, depth)
    if (problem !== undefined) {
      return at(key, problem)
    }
  }
  return found.left < 0 ? tooLarge : undefined
}

const at = (key: PropertyKey, problem: Problem): Problem => {
  if (problem !== tooLarge) {
    problem.path.unshift(key)
  }
  return problem
}

const problemOf = (value: unknown): Problem => {
  const name = kindOf(value)
  const kind = value === undefined ? name : `${/^[AEIO]/i.test(name) ? "an" : "a"} ${name}`
  return { path: [], kind, remedy: remedies[name] }
}

/**
 * The name of a value's class or type.
 *
 * @internal
 */
export const kindOf = (value: unknown): string => {
  if (typeof value !== "object" || value === null) {
    return typeof value === "number" ? "number that is not finite" : typeof value
  }
  const { constructor } = Object.getPrototypeOf(value) as { readonly constructor?: unknown }
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "class instance"
}

const remedies: Readonly<Record<string, string>> = {
  Date: "use Schema.Date",
  Map: "use Schema.Map",
  Set: "use Schema.Set",
  URL: "use Schema.URL",
  Uint8Array: "use Schema.Uint8ArrayFromBase64",
  Buffer: "use Schema.Uint8ArrayFromBase64",
  bigint: "use Schema.BigInt",
  undefined: "use null"
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

// ---------------------------------------------------------------------------
// msgpack
// ---------------------------------------------------------------------------

const packer = new Packr({ useRecords: false, variableMapSize: true })
const unpacker = new Unpackr({ useRecords: false, mapsAsObjects: true, copyBuffers: true })

// as objects, msgpackr renames the key `__proto__`; as maps it does not
const mapUnpacker = new Unpackr({ useRecords: false, mapsAsObjects: false, copyBuffers: true })

const unpack = (bytes: Uint8Array, maxDepth: number): unknown => {
  const found = inspect(bytes, maxDepth)
  // guard: __proto__ is data
  return found.hasProtoKey ? toObjects(mapUnpacker.unpack(bytes)) : unpacker.unpack(bytes)
}

const toObjects = (value: unknown): unknown => {
  if (Array.isArray(value)) {
    return value.map(toObjects)
  }
  return value instanceof Map
    ? Object.fromEntries(Array.from(value as Map<string, unknown>, ([key, item]) => [key, toObjects(item)]))
    : value
}

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
