/**
 * Flask-Session's format: the id is the key, the record is the session's dict,
 * and nothing else is kept. One lifetime, which is configured, holds for all
 * sessions.
 *
 * @internal
 */
import type { Reading, SessionFormat, Snapshot, Unsaved } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import { failure, isInstance, tooLarge } from "../../SessionError.js"
import { defaultLimits } from "../python/limits.js"
import { PythonCodecError } from "../python/PythonCodecError.js"
import { type Contents, isPermanent, withoutPermanent, withPermanent } from "./contents.js"
import type { FlaskId, FlaskIds } from "./ids.js"
import { emptyRecord, type Encoding, type FlaskRecord, readRecord, writeRecord, writtenRecord } from "./record.js"

export interface Options<A> {
  readonly ids: FlaskIds
  readonly contents: Contents<A>
  readonly encoding: Encoding
  /** In milliseconds. */
  readonly lifetime: number
  /** Whether a new session gets `_permanent`. */
  readonly permanent: boolean
  readonly refreshEachRequest: boolean
}

const missing: Reading<never> = { _tag: "Missing" }

export const flaskFormat = <A>(options: Options<A>): SessionFormat<A> => {
  const { contents, encoding, ids, lifetime, permanent, refreshEachRequest } = options
  return {
    parse: ids.parse,
    create: ids.create,
    renew: undefined,
    print: (id) => ids.print(flaskId(id)),

    read: (stored, _, now): Reading<A> => {
      const record = stored.expiresAt > now ? orThrow("Corrupt", () => readRecord(stored.data, encoding)) : undefined
      if (record === undefined) {
        return missing
      }
      const decoded = orThrow("Corrupt", () => contents.decode(withoutPermanent(record.dict)))
      const snapshot = { stored, record, ...decoded, createdAt: undefined, persistent: isPermanent(record.dict) }
      return { _tag: "Current", snapshot }
    },

    write: ({ now, pending, previous }): Unsaved<A> | undefined => {
      if (pending.lifetime?.idleTimeout !== undefined || pending.lifetime?.absoluteTimeout !== undefined) {
        throw failure(
          "Encode",
          new Error("Flask-Session has one lifetime for all sessions. Set `lifetime` of its Layer.")
        )
      }
      const before = previous === undefined ? emptyRecord : recordOf(previous)
      const previousOwn = withoutPermanent(before.dict)
      const next = orThrow("Encode", () => contents.encode(pending.value, pending.source, previousOwn))
      if (withoutPermanent(next.dict).entries.length === 0) {
        return undefined
      }
      const isNew = previous === undefined
      const wanted = pending.lifetime?.persistent ?? (isNew && permanent ? true : undefined)
      const dict = withPermanent(next.dict, before.dict, wanted)
      const data = orThrow("Encode", () => writeRecord(dict, before, encoding))
      return {
        data,
        expiresAt: now + lifetime,
        record: writtenRecord(dict, data, encoding),
        value: pending.value,
        source: next.source,
        createdAt: undefined,
        persistent: isPermanent(dict)
      }
    },

    // Without a refresh a use leaves the deadline where it is.
    deadlineAt: (snapshot, now) => refreshEachRequest ? now + lifetime : snapshot.stored.expiresAt,
    idleTimeout: () => refreshEachRequest ? lifetime : undefined,

    // The record names no commit. The same bytes as before are the same state.
    fateOf: (stored, _, base) => stored.version === base.stored.version ? "not done" : "unknown",
    isAsNewAs: (snapshot, seen) => snapshot.stored.version === seen.stored.version
  }
}

// The engine gives a format only what the same format has made.
const flaskId = (id: SessionId): FlaskId => id as FlaskId
const recordOf = (snapshot: Snapshot<unknown>): FlaskRecord => snapshot.record as FlaskRecord

const orThrow = <B>(reason: "Corrupt" | "Encode", body: () => B): B => {
  try {
    return body()
  } catch (cause) {
    if (cause instanceof PythonCodecError && cause.reason === "TooLarge" && reason === "Encode") {
      throw tooLarge(defaultLimits.maxBytes, defaultLimits.maxBytes + 1)
    }
    throw isInstance(cause) ? cause : failure(reason, cause)
  }
}
