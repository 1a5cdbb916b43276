/**
 * What ids and records look like. One interface, and the one value `native`;
 * nothing outside this file knows more about either.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { randomBytes, sha256, sha256Hex } from "../internal/crypto.js"
import { failure, type SessionError } from "../SessionError.js"
import type { PayloadCodec } from "./PayloadCodec.js"

/**
 * A session id, taken apart: where the record is (`key`), and the proof of the
 * right to it. It prints as `<redacted>`; only `SessionFormat.print` gives the
 * cookie's value.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionId {
  /** The store's key: 64 lower-case hex characters. */
  readonly key: string
  /** What the record must hold for this id to be the current one. */
  readonly proof: Uint8Array
  /** A name for the session that is safe to show and to log; 22 characters. */
  readonly ref: string
}

/**
 * A record, taken apart. Times are milliseconds since the epoch, lengths
 * milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionRecord {
  readonly createdAt: number
  /** When the session ends, whatever happens. */
  readonly absoluteDeadline: number
  /** The length that the absolute deadline restarts with. */
  readonly absoluteTimeout: number
  readonly idleTimeout: number
  /** Whether the cookie outlives the browser. */
  readonly persistent: boolean
  readonly proof: Uint8Array
  /** The last proofs that `regenerate` retired; recognised until `until`. */
  readonly ended: ReadonlyArray<{ readonly proof: Uint8Array; readonly until: number }>
  /** How many commits there were. */
  readonly seq: number
  /** The tokens of the last commits, the newest first. */
  readonly tokens: ReadonlyArray<Uint8Array>
  /** The payload, as the format's codec encoded it. */
  readonly payload: Uint8Array
}

/**
 * How many retired proofs and how many commit tokens a record remembers.
 *
 * @since 0.1.0
 * @category constants
 */
// guard: a ring of eight tokens
export const ringSizes = { ended: 4, tokens: 8 } as const

/**
 * The longest lifetime of a session, in milliseconds: 10 years.
 *
 * @internal
 */
export const maxTimeout = 10 * 365 * 24 * 60 * 60 * 1000

/**
 * The highest commit count of a record that is read. A thousand commits a
 * second reach it after 34 years, and the next count still fits into a record.
 */
const maxSeq = 2 ** 40

/**
 * What ids and records look like.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionFormat {
  /** Reads a cookie's value; none for anything but the one spelling of an id. No I/O. */
  readonly parse: (cookieValue: string) => Option.Option<SessionId>
  /** A new id. Dies when the system's generator fails: there is no weaker one. */
  readonly make: Effect.Effect<SessionId>
  /** The id that `regenerate` gives: the same record under a new proof. */
  readonly reissue: (id: SessionId) => Effect.Effect<SessionId>
  /** The cookie's value. A secret. */
  readonly print: (id: SessionId) => string
  /** Fails with `Corrupt`, or `Unsupported` for a record of a newer version. */
  readonly decode: (data: Uint8Array) => Either.Either<SessionRecord, SessionError>
  /** `previous` is the record's stored form, when it replaces one. */
  readonly encode: (
    record: SessionRecord,
    previous: Option.Option<Uint8Array>
  ) => Either.Either<Uint8Array, SessionError>
  /** For the payload's bytes inside a record. */
  readonly codec: PayloadCodec
}

/**
 * The native format.
 *
 * An id has two halves: a 16-byte *selector* that names the record for its
 * whole life, and a 24-byte *verifier* that proves the right to it. The cookie
 * is both in base64url, 54 characters in one canonical spelling. The key is
 * SHA-256(tag ‖ 00 ‖ selector), the proof SHA-256(verifier): neither half is
 * ever stored, so a dump of the store opens no session.
 *
 * A record is, big-endian: version (1 byte, `01`), flags (1; bit 0
 * persistent), createdAt, absolute deadline, absolute timeout, idle timeout,
 * seq (6 each), proof (32), ended (1 + 38 each), tokens (1 + 8 each), and the
 * payload.
 *
 * @since 0.1.0
 * @category constructors
 */
export const native = (tag: string, codec: PayloadCodec): SessionFormat => {
  // guard: keys and references are apart
  const hashed = { key: prefixed(tag, 0), ref: prefixed(tag, 1) }
  const idOf = (secret: Buffer): NativeId => new NativeId(secret, hashed)
  return {
    parse: (value) => canonicalId.test(value) ? Option.some(idOf(Buffer.from(value, "base64url"))) : Option.none(),
    make: Effect.sync(() => idOf(randomBytes(selectorSize + verifierSize))),
    reissue: (id) =>
      Effect.sync(() =>
        // guard: a new id has a new verifier
        idOf(Buffer.concat([NativeId.secretOf(id).subarray(0, selectorSize), randomBytes(verifierSize)]))
      ),
    print: (id) => NativeId.secretOf(id).toString("base64url"),
    decode,
    encode: (record) => Either.right(encode(record)),
    codec
  }
}

const selectorSize = 16
const verifierSize = 24

// 40 bytes; the last character holds four bits of padding, zero in the one canonical spelling
// guard: one spelling
const canonicalId = /^[A-Za-z0-9_-]{53}[AQgw]$/

/** SHA-256 input that begins with the tag and a domain byte; the selector is filled in. */
const prefixed = (tag: string, domain: number): Buffer =>
  // guard: hashes begin with the tag
  Buffer.concat([Buffer.from(tag), Buffer.from([domain]), Buffer.alloc(selectorSize)])

/** Fills the selector in. */
const filled = (input: Buffer, secret: Buffer): Buffer => {
  secret.copy(input, input.length - selectorSize, 0, selectorSize)
  return input
}

const proofSize = 32
const tokenSize = 8
const timeSize = 6

class NativeId implements SessionId {
  readonly #secret: Buffer
  readonly #hashed: { readonly ref: Buffer }
  readonly key: string
  readonly proof: Uint8Array

  constructor(secret: Buffer, hashed: { readonly key: Buffer; readonly ref: Buffer }) {
    this.#secret = secret
    this.#hashed = hashed
    this.key = sha256Hex(filled(hashed.key, secret))
    // guard: the store holds hashes
    this.proof = sha256(secret.subarray(selectorSize))
  }

  static secretOf(id: SessionId): Buffer {
    return (id as NativeId).#secret // a format only ever gets its own ids; another throws here
  }

  get ref(): string {
    return sha256(filled(this.#hashed.ref, this.#secret)).toString("base64url").slice(0, 22)
  }

  toString(): string {
    return "<redacted>"
  }
  // guard: an id prints as nothing
  toJSON(): string {
    return "<redacted>"
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "<redacted>"
  }
}

// ---------------------------------------------------------------------------
// record
// ---------------------------------------------------------------------------

const version = 1
const persistentFlag = 1
const headerSize = 2 + 5 * timeSize + proofSize

const encode = (record: SessionRecord): Buffer => {
  const size = headerSize + 1 + record.ended.length * (proofSize + timeSize) + 1 + record.tokens.length * tokenSize +
    record.payload.length
  const out = Buffer.allocUnsafe(size)
  let at = 0
  const bytes = (part: Uint8Array): void => {
    out.set(part, at)
    at += part.length
  }
  const time = (value: number): void => {
    at = out.writeUIntBE(value, at, timeSize)
  }
  at = out.writeUInt8(version, at)
  at = out.writeUInt8(record.persistent ? persistentFlag : 0, at)
  time(record.createdAt)
  time(record.absoluteDeadline)
  time(record.absoluteTimeout)
  time(record.idleTimeout)
  time(record.seq)
  bytes(record.proof)
  at = out.writeUInt8(record.ended.length, at)
  for (const { proof, until } of record.ended) {
    bytes(proof)
    time(until)
  }
  at = out.writeUInt8(record.tokens.length, at)
  record.tokens.forEach(bytes)
  bytes(record.payload)
  return out
}

const isLifetime = (millis: number): boolean => millis >= 1 && millis <= maxTimeout

const decode = (data: Uint8Array): Either.Either<SessionRecord, SessionError> => {
  // text, gzip and other foreign bytes start above the range kept for versions
  // guard: newer versions are told apart
  if (data.length > 0 && data[0]! > version && data[0]! < 0x10) {
    return Either.left(failure("Unsupported"))
  }
  // guard: the header is checked
  if (data.length < headerSize + 2 || data[0] !== version || data[1]! > persistentFlag) {
    return Either.left(failure("Corrupt", new Error("not a record of this format")))
  }
  const input = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  let at = 2
  const bytes = (size: number): Uint8Array => input.subarray(at, at += size)
  const time = (): number => input.readUIntBE((at += timeSize) - timeSize, timeSize)
  const createdAt = time()
  const absoluteDeadline = time()
  const absoluteTimeout = time()
  const idleTimeout = time()
  const seq = time()
  if (!isLifetime(absoluteTimeout) || !isLifetime(idleTimeout) || seq > maxSeq) {
    return Either.left(failure("Corrupt", new Error("a lifetime or the count of commits is out of bounds")))
  }
  const proof = bytes(proofSize)
  const ended: Array<SessionRecord["ended"][number]> = []
  const endedCount = input[at++]!
  // guard: retired proofs are bounded
  if (endedCount > ringSizes.ended || data.length < at + endedCount * (proofSize + timeSize) + 1) {
    return Either.left(failure("Corrupt", new Error("truncated")))
  }
  for (let i = 0; i < endedCount; i++) {
    ended.push({ proof: bytes(proofSize), until: time() })
  }
  const tokens: Array<Uint8Array> = []
  const tokenCount = input[at++]!
  // guard: tokens are bounded
  if (tokenCount > ringSizes.tokens || data.length < at + tokenCount * tokenSize) {
    return Either.left(failure("Corrupt", new Error("truncated")))
  }
  for (let i = 0; i < tokenCount; i++) {
    tokens.push(bytes(tokenSize))
  }
  return Either.right({
    createdAt,
    absoluteDeadline,
    absoluteTimeout,
    idleTimeout,
    persistent: (data[1]! & persistentFlag) !== 0,
    proof,
    ended,
    seq,
    tokens,
    payload: input.subarray(at)
  })
}
