/**
 * The storage contract: five operations on opaque keys and bytes.
 *
 * A write never creates what is gone, and always returns whether it was done. A
 * store copies the bytes that it takes and the bytes that it returns, because
 * callers may change them. This is a whole store, for one process:
 *
 * ```ts
 * import { SessionStore, type Stored, Version } from "effect-session"
 * import { Clock, Effect, Layer, Option } from "effect"
 *
 * const layerTiny = Layer.sync(SessionStore, () => {
 *   const records = new Map<string, Stored>()
 *   let writes = 0
 *   const live = (key: string) =>
 *     Effect.map(Clock.currentTimeMillis, (now) =>
 *       Option.filter(Option.fromNullable(records.get(key)), (stored) => stored.expiresAt > now).pipe(
 *         Option.map((stored) => ({ ...stored, data: stored.data.slice() }))
 *       ))
 *   const put = (key: string, data: Uint8Array, expiresAt: number) => {
 *     const version = Version(`${Math.random()}/${++writes}`)
 *     records.set(key, { data: data.slice(), version, expiresAt })
 *     return version
 *   }
 *   return SessionStore.of({
 *     load: live,
 *     insert: (key, data, expiresAt) =>
 *       Effect.map(live(key), Option.match({
 *         onNone: () => Option.some(put(key, data, expiresAt)),
 *         onSome: () => Option.none()
 *       })),
 *     replace: (key, expected, data, expiresAt) =>
 *       Effect.map(live(key), Option.flatMap((stored) =>
 *         stored.version === expected ? Option.some(put(key, data, expiresAt)) : Option.none())),
 *     touch: (key, current, expiresAt) =>
 *       Effect.map(live(key), Option.match({
 *         onNone: () => false,
 *         onSome: (stored) =>
 *           stored.version === current.version && records.set(key, { ...stored, expiresAt }) !== undefined
 *       })),
 *     remove: (key, expected) =>
 *       Effect.map(live(key), Option.match({
 *         onNone: () => false,
 *         onSome: (stored) => (expected === undefined || stored.version === expected) && records.delete(key)
 *       }))
 *   })
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Brand from "effect/Brand"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"

/**
 * What a write has to know about the record it replaces. Opaque text, chosen
 * by the store.
 *
 * A version never repeats for a key, across removal and re-insertion too: take
 * 64 random bits or the server's own token, never a counter that starts again.
 *
 * @since 0.1.0
 * @category models
 */
export type Version = string & Brand.Brand<"effect-session/SessionStore/Version">

/**
 * Names a string a `Version`. For authors of stores.
 *
 * @since 0.1.0
 * @category constructors
 */
export const Version = Brand.nominal<Version>()

/**
 * A live record as `load` found it. `expiresAt` is in milliseconds since the
 * epoch, by the application's `Clock`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  readonly data: Uint8Array
  readonly version: Version
  readonly expiresAt: number
}

/**
 * Where sessions are kept.
 *
 * What holds for all five operations:
 *
 * - Each is **atomic and one round trip**.
 * - **Expired is absent.** A record is live while `expiresAt > now`, `now` being
 *   the application's `Clock`, passed into every condition. A server's own TTL
 *   is relative (`expiresAt - now`), rounded up, plus 60 seconds, and only a
 *   broom. A deadline that has passed is written like any other, and the record is
 *   absent at once.
 * - An operation is done when its Effect is run, and as often. A version that the
 *   store never made is stale.
 * - **Unavailable is never "missing".** Whatever keeps a store from knowing is a
 *   `SessionStoreError`, or an outage would log everybody out.
 * - A write that failed as `Unavailable` or `Timeout` may have been applied. A
 *   store re-sends nothing but `load`, the driver's own retries included.
 * - **Each comes to an end**, in a second or two, if need be as `Timeout`: a
 *   request waits for its store as long as the store does.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionStore extends Context.Tag("effect-session/SessionStore")<SessionStore, {
  /**
   * The live record at `key`; none when it is missing or expired. A record
   * that cannot be read (another type, a torn file) is the error `Corrupt`.
   */
  readonly load: (key: string) => Effect.Effect<Option.Option<Stored>, SessionStoreError>

  /**
   * Creates the record. None, and nothing changed, when a live one is there.
   * Succeeds over an expired record.
   */
  readonly insert: (
    key: string,
    data: Uint8Array,
    expiresAt: number
  ) => Effect.Effect<Option.Option<Version>, SessionStoreError>

  /**
   * Replaces data and deadline of the live record that still has version
   * `expected`, and answers the new version. None, and nothing changed, when
   * it is stale: changed, expired or gone (which of them need not be known).
   */
  readonly replace: (
    key: string,
    expected: Version,
    data: Uint8Array,
    expiresAt: number
  ) => Effect.Effect<Option.Option<Version>, SessionStoreError>

  /**
   * Moves the deadline of the live record that still has `current.version`,
   * and nothing else: data and version stay. False, and nothing changed, when
   * it is stale or gone; a touch never creates.
   *
   * A store that keeps the deadline inside the value may rewrite
   * `current.data` under a new version instead (Memcached must).
   */
  readonly touch: (
    key: string,
    current: Stored,
    expiresAt: number
  ) => Effect.Effect<boolean, SessionStoreError>

  /**
   * Removes the live record; with `expected` only while it has that version.
   * False, and nothing changed, when it is stale or nothing live is there.
   */
  readonly remove: (
    key: string,
    expected?: Version
  ) => Effect.Effect<boolean, SessionStoreError>
}>() {}

/**
 * Removes expired records. Only stores without a TTL of their own provide it,
 * beside `SessionStore`.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionSweeper extends Context.Tag("effect-session/SessionSweeper")<SessionSweeper, {
  /**
   * Removes what has expired by now, in batches, each removal conditional on
   * the deadline, and answers how many records went. Harmless when several
   * processes do it at once.
   */
  readonly sweep: Effect.Effect<number, SessionStoreError>
}>() {}

/**
 * Lists what a store holds, for copying and for statistics. Only stores that
 * can do so without blocking their server provide it, beside `SessionStore`.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionScan extends Context.Tag("effect-session/SessionScan")<SessionScan, {
  /**
   * Every live record, read in batches as the stream is pulled. Not a
   * snapshot: a record that is there from the first pull to the last comes at
   * least once, one that comes or goes meanwhile may be in it or not, and the
   * same key may come twice.
   */
  readonly entries: Stream.Stream<Entry, SessionStoreError>
}>() {}

/**
 * A live record as `SessionScan` lists it. `expiresAt` is in milliseconds since
 * the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly key: string
  readonly data: Uint8Array
  readonly expiresAt: number
}

/**
 * Marks a store whose conditional writes hold within one process only. Its
 * Layer provides this beside `SessionStore`, so that what needs several
 * processes can refuse it.
 *
 * @since 0.1.0
 * @category tags
 */
export class SingleProcess extends Context.Tag("effect-session/SingleProcess")<SingleProcess, true>() {}

/**
 * Why a store could not do its work.
 *
 * | reason | meaning | applied? |
 * |---|---|---|
 * | `Unavailable` | refused, reset, no primary, starting up | perhaps |
 * | `Timeout` | no answer in time | perhaps |
 * | `Throttled` | pool or quota exhausted, try later | no |
 * | `Rejected` | out of memory, read-only, disk full, auth, schema | no |
 * | `TooLarge` | over the store's own limit; `limit` and `actual` in bytes | no |
 * | `Corrupt` | what is stored there is not a record of ours | no |
 *
 * @since 0.1.0
 * @category errors
 */
export type SessionStoreErrorReason =
  | "Unavailable"
  | "Timeout"
  | "Throttled"
  | "Rejected"
  | "TooLarge"
  | "Corrupt"

/**
 * A store that could not do its work. `cause` holds the driver's own error,
 * not enumerable, so that neither JSON nor a spread takes it along.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionStoreError extends Data.TaggedError("SessionStoreError")<{
  readonly reason: SessionStoreErrorReason
  readonly operation: "load" | "insert" | "replace" | "touch" | "remove" | "sweep" | "scan"
  readonly limit?: number
  readonly actual?: number
}> {
  constructor(options: {
    readonly reason: SessionStoreErrorReason
    readonly operation: "load" | "insert" | "replace" | "touch" | "remove" | "sweep" | "scan"
    readonly limit?: number
    readonly actual?: number
    readonly cause?: unknown
  }) {
    const { cause, ...fields } = options
    super(fields)
    if (cause !== undefined) {
      Object.defineProperty(this, "cause", { value: cause, enumerable: false })
    }
  }

  override get message(): string {
    const size = this.limit === undefined ? "" : ` (${this.actual} bytes, limit ${this.limit})`
    return `${this.operation}: ${this.reason}${size}`
  }
}
