/**
 * Sessions in any `KeyValueStore` of `@effect/platform`.
 *
 * A `KeyValueStore` has no conditional write. This store replaces it with a
 * mutex for each key, which works within one process. Two processes, or two
 * stores made over the same data, would overwrite each other's sessions and
 * bring back what was logged out. The Layer therefore provides `SingleProcess`
 * beside the store.
 *
 * A `KeyValueStore` has no TTL and no list of its keys. An expired session reads
 * as absent and stays until it is overwritten. Nothing can sweep it.
 *
 * @since 0.1.0
 */

import type { PlatformError } from "@effect/platform/Error"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { boundOf } from "../internal/bounded.js"
import { randomToken } from "../internal/crypto.js"
import { KeyedMutex } from "../internal/KeyedMutex.js"
import type { SessionConfigError } from "../SessionConfigError.js"
import type { SessionStoreErrorReason, Stored } from "../SessionStore.js"
import { SessionStore, SessionStoreError, SingleProcess, Version } from "../SessionStore.js"

const defaultPrefix = "session:"
const defaultTimeout = Duration.seconds(8)

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * What each key begins with, `session:` by default. Entries of the app must
   * not begin with it: whoever can write under it can write a session.
   */
  readonly prefix?: string
  /**
   * How long an operation waits for another one of the same session. Then it
   * fails with `Timeout`. 8 seconds by default.
   */
  readonly timeout?: Duration.DurationInput
}

/**
 * Makes the store with options. Make one store over the same data, and share
 * it: only operations of one store exclude each other.
 *
 * A write that has begun is not interrupted; waiting for another operation is.
 * A value that is no record, torn by a crash for instance, is `Corrupt`. Fails
 * with `SessionConfigError` when `timeout` is no duration.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeWith = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Context.Context<SessionStore | SingleProcess>, SessionConfigError, KeyValueStore.KeyValueStore> {
  const timeout = Duration.millis(yield* boundOf(options.timeout ?? defaultTimeout))
  return over(KeyValueStore.prefix(yield* KeyValueStore.KeyValueStore, options.prefix ?? defaultPrefix), timeout)
})

/**
 * Makes the store with the defaults of its options.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<
  Context.Context<SessionStore | SingleProcess>,
  never,
  KeyValueStore.KeyValueStore
> = Effect.map(
  KeyValueStore.KeyValueStore,
  (values) => over(KeyValueStore.prefix(values, defaultPrefix), defaultTimeout)
)

const over = (values: KeyValueStore.KeyValueStore, timeout: Duration.Duration) => {
  const mutex = new KeyedMutex()

  /** Runs `run` on the live record of `key`. No other operation of this key runs meanwhile. */
  const decide = <A>(
    operation: SessionStoreError["operation"],
    key: string,
    run: (live: Option.Option<Stored>) => Effect.Effect<A, PlatformError>
  ): Effect.Effect<A, SessionStoreError> =>
    Effect.gen(function*() {
      const text = yield* values.get(key)
      const now = yield* Clock.currentTimeMillis
      if (Option.isNone(text)) return yield* run(Option.none())
      const stored = decode(text.value)
      if (stored === undefined) return yield* new SessionStoreError({ reason: "Corrupt", operation })
      return yield* run(stored.expiresAt > now ? Option.some(stored) : Option.none())
    }).pipe(
      Effect.mapError((error) =>
        error._tag === "SessionStoreError"
          ? error
          : new SessionStoreError({ reason: reasonOf(error), operation, cause: error })
      ),
      (effect) =>
        mutex.run(key, effect, {
          timeout,
          onTimeout: () => new SessionStoreError({ reason: "Timeout", operation })
        })
    )

  const put = (key: string, stored: Stored) => Effect.uninterruptible(values.set(key, encode(stored)))

  const putNew = (key: string, data: Uint8Array, expiresAt: number) =>
    Effect.suspend(() => {
      const version = Version(randomToken())
      return Effect.as(put(key, { data, version, expiresAt }), Option.some(version))
    })

  const store = SessionStore.of({
    load: (key) => decide("load", key, Effect.succeed),
    insert: (key, data, expiresAt) =>
      decide("insert", key, (live) => Option.isSome(live) ? Effect.succeedNone : putNew(key, data, expiresAt)),
    replace: (key, expected, data, expiresAt) =>
      decide("replace", key, (live) => has(live, expected) ? putNew(key, data, expiresAt) : Effect.succeedNone),
    touch: (key, { version }, expiresAt) =>
      decide(
        "touch",
        key,
        (live) => has(live, version) ? Effect.as(put(key, { ...live.value, expiresAt }), true) : Effect.succeed(false)
      ),
    remove: (key, expected) =>
      decide("remove", key, (live) =>
        has(live, expected)
          ? Effect.as(Effect.uninterruptible(values.remove(key)), true)
          : Effect.succeed(false))
  })
  return Context.make(SessionStore, store).pipe(Context.add(SingleProcess, true))
}

/**
 * Sessions in the `KeyValueStore`, under keys that begin with `session:`.
 *
 * ```ts
 * import { KeyValueStore } from "@effect/platform"
 * import * as SessionStoreKeyValueStore from "effect-session/layers/KeyValueStore"
 * import { Layer } from "effect"
 *
 * const Store = SessionStoreKeyValueStore.layer.pipe(
 *   Layer.provide(KeyValueStore.layerMemory)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore | SingleProcess, never, KeyValueStore.KeyValueStore> = Layer.effectContext(
  make
)

/**
 * `layer` with options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (
  options: Options
): Layer.Layer<SessionStore | SingleProcess, SessionConfigError, KeyValueStore.KeyValueStore> =>
  Layer.effectContext(makeWith(options))

const has = (live: Option.Option<Stored>, version: Version | undefined): live is Option.Some<Stored> =>
  Option.isSome(live) && (version === undefined || live.value.version === version)

// Text, because every `KeyValueStore` keeps text alike. With bytes, some prefix
// only what they write. The dot shows that nothing of the end is missing.

const encode = ({ data, expiresAt, version }: Stored) => {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return `${expiresAt} ${version} ${bytes.toString("base64")}.`
}

const decode = (text: string): Stored | undefined => {
  const [, deadline, version, data] = /^(\S+) (\S+) ([\w+/=]*)\.$/.exec(text) ?? []
  const expiresAt = Number(deadline)
  if (version === undefined || data === undefined || Number.isNaN(expiresAt)) return undefined
  return { data: Buffer.from(data, "base64"), version: Version(version), expiresAt }
}

const reasonOf = (error: PlatformError): SessionStoreErrorReason => {
  if (error._tag === "BadArgument") return "Rejected"
  switch (error.reason) {
    case "TimedOut":
      return "Timeout"
    case "PermissionDenied":
    case "WriteZero":
      return "Rejected"
    default:
      return "Unavailable"
  }
}
