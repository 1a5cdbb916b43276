/**
 * The native record: its bytes, and the pure rules of lifetimes and ids.
 *
 * @internal
 */

import { equalBytes } from "../internal/crypto.js"
import { failure } from "../SessionError.js"

/** A record, taken apart. Times are milliseconds since the epoch, lengths milliseconds. */
export interface SessionRecord {
  readonly createdAt: number
  /** The session ends at this time even when it is used. */
  readonly absoluteDeadline: number
  /** The length that the absolute deadline restarts with. */
  readonly absoluteTimeout: number
  readonly idleTimeout: number
  /** Whether the cookie outlives the browser. */
  readonly persistent: boolean
  /** SHA-256 of the current id's verifier. */
  readonly verifierHash: Uint8Array
  /** Verifiers that `regenerate` replaced lately, the newest first. */
  readonly retired: ReadonlyArray<RetiredVerifier>
  /** The number of commits so far. */
  readonly seq: number
  /** The tokens of the last commits, the newest first, 8 bytes each. */
  readonly tokens: Uint8Array
}

export interface RetiredVerifier {
  readonly verifierHash: Uint8Array
  /** The verifier is recognized until this time. */
  readonly until: number
}

/** The lifetimes of one session, or changes of them. Lengths in milliseconds. */
export interface Lifetime {
  readonly idleTimeout?: number
  readonly absoluteTimeout?: number
  readonly persistent?: boolean
}

/** How many retired verifiers and how many commit tokens a record keeps. */
export const historySizes = { retired: 4, tokens: 8 } as const

/** The size of a commit token in bytes. */
export const tokenSize = 8

/** How long a retired id is recognized, in milliseconds. */
export const retiredFor = 30_000

/** The longest lifetime of a session, in milliseconds: 10 years. */
export const maxTimeout = 10 * 365 * 24 * 60 * 60 * 1000

/**
 * The highest commit count of a record that is read. A thousand commits a
 * second reach it after 34 years, and the next count still fits into a record.
 */
const maxSeq = 2 ** 40

// ---------------------------------------------------------------------------
// rules
// ---------------------------------------------------------------------------

/**
 * - `current`: the id opens the session.
 * - `retired`: a `regenerate` replaced the id less than 30 seconds ago.
 * - `unknown`: neither.
 */
export type IdStatus = "current" | "retired" | "unknown"

/** What an id may do with a record. Verifiers are compared in constant time. */
export const idStatus = (record: SessionRecord, verifierHash: Uint8Array, now: number): IdStatus => {
  if (equalBytes(record.verifierHash, verifierHash)) {
    return "current"
  }
  for (const retired of record.retired) {
    if (retired.until > now && equalBytes(retired.verifierHash, verifierHash)) {
      return "retired"
    }
  }
  return "unknown"
}

/** The deadline after a use at `now`: the idle timeout from now, but never beyond the absolute deadline. */
export const deadlineAt = (record: SessionRecord, now: number): number =>
  Math.min(record.absoluteDeadline, now + record.idleTimeout)

/** Whether one of the last commits had this token. */
export const hasToken = ({ tokens }: SessionRecord, token: Uint8Array): boolean => {
  for (let at = 0; at < tokens.length; at += tokenSize) {
    if (equalBytes(tokens.subarray(at, at + tokenSize), token)) {
      return true
    }
  }
  return false
}

/**
 * Whether every commit since `base` still has its token in `record`. Only then
 * does a missing token mean that a commit was not done.
 */
export const knowsCommitsSince = (record: SessionRecord, base: SessionRecord): boolean =>
  record.seq - base.seq <= historySizes.tokens

/** What a commit makes of a record. */
export interface Commit {
  readonly now: number
  readonly token: Uint8Array
  readonly verifierHash: Uint8Array
  readonly lifetime: Lifetime | undefined
  /** Whether the id is renewed: the absolute lifetime then restarts. */
  readonly regenerate: boolean
}

/** The record of a new session. */
export const create = (commit: Commit, defaults: Required<Lifetime>): SessionRecord => {
  const { absoluteTimeout, idleTimeout, persistent } = { ...defaults, ...commit.lifetime }
  return {
    createdAt: commit.now,
    absoluteDeadline: commit.now + absoluteTimeout,
    absoluteTimeout,
    idleTimeout,
    persistent,
    verifierHash: commit.verifierHash,
    retired: [],
    seq: 1,
    tokens: commit.token
  }
}

/** The record after one more commit. */
export const advance = (previous: SessionRecord, commit: Commit): SessionRecord => {
  const { lifetime, now, regenerate } = commit
  const absoluteTimeout = lifetime?.absoluteTimeout ?? previous.absoluteTimeout
  const restarts = regenerate || lifetime?.absoluteTimeout !== undefined
  return {
    createdAt: previous.createdAt,
    absoluteDeadline: restarts ? now + absoluteTimeout : previous.absoluteDeadline,
    absoluteTimeout,
    idleTimeout: lifetime?.idleTimeout ?? previous.idleTimeout,
    persistent: lifetime?.persistent ?? previous.persistent,
    verifierHash: commit.verifierHash,
    retired: retiredAfter(previous, regenerate, now),
    seq: previous.seq + 1,
    tokens: prepend(commit.token, previous.tokens)
  }
}

const retiredAfter = (
  previous: SessionRecord,
  regenerate: boolean,
  now: number
): ReadonlyArray<RetiredVerifier> => {
  if (previous.retired.length === 0 && !regenerate) {
    return previous.retired
  }
  const recognized = previous.retired.filter(({ until }) => until > now)
  return regenerate
    ? [{ verifierHash: previous.verifierHash, until: now + retiredFor }, ...recognized].slice(0, historySizes.retired)
    : recognized
}

const prepend = (token: Uint8Array, tokens: Uint8Array): Uint8Array => {
  const kept = Math.min(tokens.length, (historySizes.tokens - 1) * tokenSize)
  const all = new Uint8Array(tokenSize + kept)
  all.set(token)
  all.set(kept === tokens.length ? tokens : tokens.subarray(0, kept), tokenSize)
  return all
}

// ---------------------------------------------------------------------------
// bytes
// ---------------------------------------------------------------------------

const version = 1
const persistentFlag = 1
const timeSize = 6
const hashSize = 32
const retiredSize = hashSize + timeSize
const headerSize = 2 + 5 * timeSize + hashSize

/**
 * A record as bytes, big-endian: version (1 byte, `01`), flags (1; bit 0 is
 * persistent), createdAt, absolute deadline, absolute timeout, idle timeout,
 * seq (6 each), verifier hash (32), retired verifiers (1 + 38 each), tokens
 * (1 + 8 each), and the payload.
 */
export const encode = (record: SessionRecord, payload: Uint8Array): Uint8Array => {
  const { retired, tokens } = record
  const out = Buffer.allocUnsafe(
    headerSize + 1 + retired.length * retiredSize + 1 + tokens.length + payload.length
  )
  out[0] = version
  out[1] = record.persistent ? persistentFlag : 0
  let at = 2
  for (
    const time of [
      record.createdAt,
      record.absoluteDeadline,
      record.absoluteTimeout,
      record.idleTimeout,
      record.seq
    ]
  ) {
    at = out.writeUIntBE(time, at, timeSize)
  }
  out.set(record.verifierHash, at)
  at += hashSize
  out[at++] = retired.length
  for (const { until, verifierHash } of retired) {
    out.set(verifierHash, at)
    at = out.writeUIntBE(until, at + hashSize, timeSize)
  }
  out[at++] = tokens.length / tokenSize
  out.set(tokens, at)
  out.set(payload, at + tokens.length)
  return out
}

/** Takes bytes apart. Throws `Unsupported` for a newer version of the format, `Corrupt` for anything else. */
export const decode = (data: Uint8Array): { readonly record: SessionRecord; readonly payload: Uint8Array } => {
  // Text, gzip and other foreign bytes begin above the range that is kept for versions.
  if (data.length > 0 && data[0]! > version && data[0]! < 0x10) {
    throw failure("Unsupported")
  }
  if (data.length < headerSize + 2 || data[0] !== version || data[1]! > persistentFlag) {
    throw corrupt("not a record of this format")
  }
  const input = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const time = (index: number): number => input.readUIntBE(2 + index * timeSize, timeSize)
  if (!isLifetime(time(2)) || !isLifetime(time(3)) || time(4) > maxSeq) {
    throw corrupt("a lifetime or the count of commits is out of bounds")
  }
  let at = headerSize
  const retiredCount = input[at++]!
  if (retiredCount > historySizes.retired || data.length < at + retiredCount * retiredSize + 1) {
    throw corrupt("truncated")
  }
  const retired: Array<RetiredVerifier> = []
  for (let i = 0; i < retiredCount; i++, at += retiredSize) {
    retired.push({
      verifierHash: data.subarray(at, at + hashSize),
      until: input.readUIntBE(at + hashSize, timeSize)
    })
  }
  const tokensEnd = at + 1 + input[at]! * tokenSize
  if (input[at]! > historySizes.tokens || data.length < tokensEnd) {
    throw corrupt("truncated")
  }
  return {
    record: {
      createdAt: time(0),
      absoluteDeadline: time(1),
      absoluteTimeout: time(2),
      idleTimeout: time(3),
      persistent: data[1] === persistentFlag,
      verifierHash: data.subarray(headerSize - hashSize, headerSize),
      retired,
      seq: time(4),
      tokens: data.subarray(at + 1, tokensEnd)
    },
    payload: data.subarray(tokensEnd)
  }
}

const isLifetime = (millis: number): boolean => millis >= 1 && millis <= maxTimeout

const corrupt = (problem: string) => failure("Corrupt", new Error(problem))
