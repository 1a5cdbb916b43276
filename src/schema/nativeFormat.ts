/**
 * The native format: ids of two halves, and records that know their
 * lifetimes, their retired ids and their last commits.
 *
 * @internal
 */

import { failure, isInstance } from "../SessionError.js"
import type { Stored } from "../SessionStore.js"
import type { Payload } from "./Payload.js"
import type { PayloadCodec } from "./PayloadCodec.js"
import type { Reading, SessionFormat, Snapshot } from "./SessionFormat.js"
import { type NativeId, nativeIds, type SessionId } from "./SessionId.js"
import * as SessionRecord from "./SessionRecord.js"

export interface Options<A> {
  /** Names the application's session. It is part of every key. */
  readonly scope: string
  readonly payload: Payload<A>
  readonly codec: PayloadCodec
  /** The lifetimes of a new session. */
  readonly lifetime: Required<SessionRecord.Lifetime>
}

export const nativeFormat = <A>({ codec, lifetime, payload, scope }: Options<A>): SessionFormat<A> => {
  const ids = nativeIds(scope)

  const open = (stored: Stored, record: SessionRecord.SessionRecord, bytes: Uint8Array): Snapshot<A> => {
    const data = orThrow("Corrupt", () => codec.decode(bytes))
    const { source, value } = orThrow("Corrupt", () => payload.decode(data))
    return { stored, record, value, source, createdAt: record.createdAt, persistent: record.persistent }
  }

  return {
    parse: ids.parse,
    create: ids.create,
    renew: (id) => ids.renew(nativeId(id)),
    print: (id) => ids.print(nativeId(id)),

    read: (stored, id, now): Reading<A> => {
      const { payload: bytes, record } = SessionRecord.decode(stored.data)
      // A store's word on deadlines is checked. NaN is no deadline either.
      if (!(stored.expiresAt > now && record.absoluteDeadline > now)) {
        return { _tag: "Missing" }
      }
      if (stored.expiresAt > record.absoluteDeadline) {
        throw failure("Corrupt", new Error("the stored deadline is beyond the absolute one"))
      }
      switch (SessionRecord.idStatus(record, nativeId(id).verifierHash, now)) {
        case "current":
          return { _tag: "Current", snapshot: open(stored, record, bytes) }
        case "retired":
          return { _tag: "Retired" }
        case "unknown":
          return { _tag: "Foreign" }
      }
    },

    write: ({ id, now, pending, previous, token }) => {
      const commit: SessionRecord.Commit = {
        now,
        token,
        verifierHash: nativeId(id).verifierHash,
        lifetime: pending.lifetime,
        regenerate: pending.regenerate
      }
      const record = previous === undefined
        ? SessionRecord.create(commit, lifetime)
        : SessionRecord.advance(recordOf(previous), commit)
      const data = orThrow("Encode", () => payload.encode(pending.value, pending.source))
      const encoded = orThrow("Encode", () => codec.encode(data))
      return {
        data: SessionRecord.encode(record, encoded),
        expiresAt: SessionRecord.deadlineAt(record, now),
        record,
        value: pending.value,
        source: payload.sourceOf(data),
        createdAt: record.createdAt,
        persistent: record.persistent
      }
    },

    deadlineAt: (snapshot, now) => SessionRecord.deadlineAt(recordOf(snapshot), now),
    idleTimeout: (snapshot) => recordOf(snapshot).idleTimeout,

    fateOf: (stored, token, base) => {
      const { record } = SessionRecord.decode(stored.data)
      if (SessionRecord.hasToken(record, token)) {
        return "done"
      }
      return SessionRecord.knowsCommitsSince(record, recordOf(base)) ? "not done" : "unknown"
    },

    isAsNewAs: (snapshot, seen) => recordOf(snapshot).seq >= recordOf(seen).seq
  }
}

// The engine gives a format only what the same format has made.
const nativeId = (id: SessionId): NativeId => id as NativeId
const recordOf = (snapshot: Snapshot<unknown>): SessionRecord.SessionRecord =>
  snapshot.record as SessionRecord.SessionRecord

/** Codecs and schemas throw what they like. `TooLarge` and other errors of a session pass through. */
const orThrow = <B>(reason: "Corrupt" | "Encode", body: () => B): B => {
  try {
    return body()
  } catch (cause) {
    throw isInstance(cause) ? cause : failure(reason, cause)
  }
}
