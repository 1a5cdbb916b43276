/**
 * Stored bytes, taken apart; and the formats that do so. The engine works on
 * snapshots and knows no format from inside.
 *
 * @internal
 */
import type { Stored, Version } from "../SessionStore.js"
import type { Source } from "./Payload.js"
import type { SessionId } from "./SessionId.js"
import type { Lifetime } from "./SessionRecord.js"

/** What changes are replayed over: a snapshot, or the initial value. */
export interface Start<A> {
  readonly value: A
  /** The stored object that the value was decoded from. */
  readonly source: Source
}

/** What a request's changes ask for. */
export interface Wanted<A> extends Start<A> {
  readonly lifetime: Lifetime | undefined
  /** Whether the id is renewed. */
  readonly regenerate: boolean
}

/** A live record: what the store holds, and what it means. */
export interface Snapshot<A> extends Start<A> {
  readonly stored: Stored
  /** Milliseconds since the epoch. Undefined in a format that does not keep it. */
  readonly createdAt: number | undefined
  /** Whether the cookie outlives the browser. */
  readonly persistent: boolean
  /** The format's own view of the record. */
  readonly record: unknown
}

/** A snapshot that is not stored yet. */
export interface Unsaved<A> extends Omit<Snapshot<A>, "stored"> {
  readonly data: Uint8Array
  readonly expiresAt: number
}

/** The snapshot of what was stored as `version`. */
export const saved = <A>(unsaved: Unsaved<A>, version: Version): Snapshot<A> => ({
  stored: { data: unsaved.data, version, expiresAt: unsaved.expiresAt },
  record: unsaved.record,
  value: unsaved.value,
  source: unsaved.source,
  createdAt: unsaved.createdAt,
  persistent: unsaved.persistent
})

/**
 * What an id finds in the store.
 *
 * - `Missing`: no live record.
 * - `Retired`: a live record, but `regenerate` replaced the id less than 30 seconds ago.
 * - `Foreign`: a live record that the id does not open.
 * - `Current`: the id opens the record.
 */
export type Reading<A> =
  | { readonly _tag: "Missing" }
  | { readonly _tag: "Retired" }
  | { readonly _tag: "Foreign" }
  | { readonly _tag: "Current"; readonly snapshot: Snapshot<A> }

/** What a commit asks a format to encode. */
export interface Write<A> {
  readonly id: SessionId
  readonly pending: Wanted<A>
  /** The snapshot that the write replaces. Undefined for a new session. */
  readonly previous: Snapshot<A> | undefined
  /** Names the commit, so that it recognizes its own write when a reply was lost. */
  readonly token: Uint8Array
  readonly now: number
}

/** What became of a write whose reply was lost, as far as the stored record shows. */
export type Fate = "done" | "not done" | "unknown"

/**
 * How ids and records look. The functions throw a `SessionError` where they
 * cannot do their work.
 */
export interface SessionFormat<A> {
  /** Reads a cookie's value. Undefined for anything but the one spelling of an id. No I/O. */
  readonly parse: (cookieValue: string) => SessionId | undefined
  /** A new id. Throws when the system's generator fails. */
  readonly create: () => SessionId
  /**
   * A new id for the same key. Undefined in a format whose id is the key:
   * there a new id is a new record, and the old record is removed.
   */
  readonly renew: ((id: SessionId) => SessionId) | undefined
  /** The cookie's value. A secret. */
  readonly print: (id: SessionId) => string
  /** Judges the id before it decodes any payload. Throws `Corrupt` or `Unsupported`. */
  readonly read: (stored: Stored, id: SessionId, now: number) => Reading<A>
  /** Undefined when nothing is left to store: the record is removed. Throws `Encode` or `TooLarge`. */
  readonly write: (write: Write<A>) => Unsaved<A> | undefined
  /** The deadline that a use at `now` gives the record. */
  readonly deadlineAt: (snapshot: Snapshot<A>, now: number) => number
  /** The session's idle timeout in milliseconds. Undefined when reading does not move its deadline. */
  readonly idleTimeout: (snapshot: Snapshot<A>) => number | undefined
  /** What became of the write named `token`, or of the one that was conditional on `base`. Throws like `read`. */
  readonly fateOf: (stored: Stored, token: Uint8Array, base: Snapshot<A>) => Fate
  /** Whether `snapshot` is known to be no older than `seen`. */
  readonly isAsNewAs: (snapshot: Snapshot<A>, seen: Snapshot<A>) => boolean
}
