/**
 * Sessions in any `KeyValueStore` of `@effect/platform`.
 *
 * A `KeyValueStore` has no conditional write. Within one process this store
 * makes up for it: operations on one key take turns. Two processes, or two
 * stores made over the same data, would overwrite each other's sessions and
 * bring back what was logged out; the `SingleProcess` that the Layer provides
 * beside the store says so.
 *
 * Nor has it a TTL, nor a list of its keys: expired sessions read as absent and
 * stay until they are overwritten. Nothing can sweep them.
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomToken } from "../internal/crypto.js"
import { KeyedTurns } from "../internal/turns.js"
import type { SessionStoreErrorReason, Stored } from "../SessionStore.js"
import { SessionStore, SessionStoreError, SingleProcess, Version } from "../SessionStore.js"

/**
 * Makes the store. Make one, and share it: what it knows of turns is its own.
 *
 * A write that has begun is not interrupted; waiting for a turn is. A value
 * that is no record, torn by a crash for instance, is `Corrupt`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<
  Context.Context<SessionStore | SingleProcess>,
  never,
  KeyValueStore.KeyValueStore
> = Effect.map(KeyValueStore.KeyValueStore, (values) => {
  const turns = new KeyedTurns()

  /** A turn of `key`: `run` decides on the live record, and nothing comes between. */
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
      (turn) => turns.run(key, turn)
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
})

/**
 * Sessions in the `KeyValueStore`.
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

const has = (live: Option.Option<Stored>, version: Version | undefined): live is Option.Some<Stored> =>
  Option.isSome(live) && (version === undefined || live.value.version === version)

// Text, for every `KeyValueStore` keeps text alike; with bytes some prefix only
// what they write. The dot tells that nothing of the end is missing.

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
