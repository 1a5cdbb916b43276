/**
 * Sessions in memcached, by a client of our own. Needs the meta protocol of
 * memcached 1.6; tested with 1.6.18.
 *
 * Memcached forgets: when it is full, and when it is started anew. Who cannot
 * have that takes another store. A server without tokens (`-C`), or without
 * evictions (`-M`: when it is full, it would remove the session that it cannot
 * replace), is refused: each operation fails as `Rejected`.
 *
 * Every operation is one round trip, on the one server that a session lives
 * on, with two exceptions: an insert where something is already, and a removal
 * without a version. Nothing is sent twice.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Memcached from "../memcached/Client.js"
import { type ConnectionOptions, openClient, type Operation, storeError } from "../memcached/Open.js"
import type { MemcachedError } from "../memcached/Protocol.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Stored } from "../SessionStore.js"
import { SessionStore, SessionStoreError, Version } from "../SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends ConnectionOptions {
  /** Put before every key: up to 186 printable ASCII characters; `"session:"` by default. */
  readonly prefix?: string | undefined
}

/**
 * The most that memcached's default of 1 MiB an item leaves for a session's
 * data, in bytes. More fails as `TooLarge` without being sent; a server that was
 * started with another size (`-I`) takes as much more, or less.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxBytes = 1024 * 1024 - 1012

/**
 * Makes the store, with a connection to each server that ends with the scope.
 *
 * Waits for the connections, but the servers need not be up: requests fail as
 * `Unavailable` (at once) and work again at most half a second after the server
 * does. Fails with `SessionConfigError` when an option makes no sense.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<SessionStore["Type"], SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ prefix = "session:", ...options }: Options) {
    if (!Memcached.isKey(prefix + "0".repeat(64))) {
      return yield* new SessionConfigError({
        option: "prefix",
        message: "Give at most 186 printable ASCII characters, no space among them."
      })
    }
    return storeOf(yield* openClient(options), prefix)
  }
)

/**
 * Sessions in memcached.
 *
 * ```ts
 * import * as SessionStoreMemcached from "effect-session/layers/Memcached"
 *
 * const Store = SessionStoreMemcached.layer({ servers: ["cache-1", "cache-2"] })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SessionStore, SessionConfigError> =>
  Layer.scoped(SessionStore, make(options))

/**
 * `layer` with options from `Config`.
 *
 * ```ts
 * import * as SessionStoreMemcached from "effect-session/layers/Memcached"
 * import { Config } from "effect"
 *
 * const Store = SessionStoreMemcached.layerConfig({ servers: Config.string("MEMCACHED_SERVERS") })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scoped(SessionStore, Effect.flatMap(Config.unwrap(options), make))

const storeOf = (client: Memcached.Client, prefix: string): SessionStore["Type"] => {
  const attempt = <A>(operation: Operation, command: Effect.Effect<A, MemcachedError>, actual = 0) =>
    Effect.mapError(command, (cause) => storeError(operation, cause, actual, header))

  /** What is there, live or expired. */
  const find = (operation: Operation, key: string) =>
    Effect.flatMap(
      attempt(operation, client.get(prefix + key)),
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: ({ token, value }) => {
          const stored = decode(value, token)
          return stored === undefined
            ? new SessionStoreError({ reason: "Corrupt", operation })
            : Effect.succeedSome(stored)
        }
      })
    )

  const write = (
    operation: Operation,
    data: Uint8Array,
    expiresAt: number,
    send: (value: Uint8Array, ttl: number) => Effect.Effect<Option.Option<string>, MemcachedError>
  ) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.map(
        attempt(operation, send(encode(data, expiresAt), ttl(expiresAt, now)), data.length),
        Option.map((token) => versionOf(token, expiresAt))
      ))

  const replace = (operation: Operation, key: string, expected: Version, data: Uint8Array, expiresAt: number) =>
    ifLive(
      expected,
      Option.none(),
      (token) => write(operation, data, expiresAt, (value, ttl) => client.replace(prefix + key, token, value, ttl))
    )

  const insert: SessionStore["Type"]["insert"] = (key, data, expiresAt) =>
    Effect.flatMap(
      write("insert", data, expiresAt, (value, ttl) => client.add(prefix + key, value, ttl)),
      (version) => Option.isSome(version) ? Effect.succeed(version) : insertOverExpired(key, data, expiresAt)
    )

  const insertOverExpired: SessionStore["Type"]["insert"] = (key, data, expiresAt) =>
    Effect.gen(function*() {
      const found = yield* find("insert", key)
      // The server has dropped it meanwhile, or another has taken its place.
      if (Option.isNone(found)) return yield* insert(key, data, expiresAt)
      if (found.value.expiresAt > (yield* Clock.currentTimeMillis)) return Option.none()
      const [, token] = parseVersion(found.value.version)
      const version = yield* write("insert", data, expiresAt, (value, ttl) =>
        client.replace(prefix + key, token, value, ttl))
      return Option.isSome(version) ? version : yield* insert(key, data, expiresAt)
    })

  const load = (operation: Operation, key: string) =>
    Effect.zipWith(
      find(operation, key),
      Clock.currentTimeMillis,
      (stored, now) => Option.filter(stored, ({ expiresAt }) => expiresAt > now)
    )

  return SessionStore.of({
    load: (key) => load("load", key),
    insert,
    replace: (key, expected, data, expiresAt) => replace("replace", key, expected, data, expiresAt),
    touch: (key, { data, version }, expiresAt) =>
      Effect.map(replace("touch", key, version, data, expiresAt), Option.isSome),
    remove: (key, expected) =>
      expected === undefined
        ? Effect.flatMap(
          load("remove", key),
          Option.match({
            onNone: () => Effect.succeed(false),
            onSome: () => attempt("remove", client.remove(prefix + key))
          })
        )
        : ifLive(expected, false, (token) => attempt("remove", client.remove(prefix + key, token)))
  })
}

// The deadline is part of the version: a write under a version of the past is
// stale, and need not ask the server.

const versionOf = (token: string, expiresAt: number) => Version(`${expiresAt}/${token}`)

const parseVersion = (version: Version): [expiresAt: number, token: string] => {
  const [expiresAt = "", token = ""] = version.split("/")
  return [Number(expiresAt), token]
}

const ifLive = <A, E>(version: Version, otherwise: A, then: (token: string) => Effect.Effect<A, E>) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const [expiresAt, token] = parseVersion(version)
    return expiresAt > now ? then(token) : Effect.succeed(otherwise)
  })

// A value: a mark, by which others' values are told, the deadline, the data.

const mark = Buffer.from("\0es1", "latin1")
const header = mark.length + 8

const encode = (data: Uint8Array, expiresAt: number) => {
  const value = Buffer.allocUnsafe(header + data.length)
  mark.copy(value)
  value.writeDoubleBE(expiresAt, mark.length)
  value.set(data, header)
  return value
}

const decode = (value: Buffer, token: string): Stored | undefined => {
  if (value.length < header || !value.subarray(0, mark.length).equals(mark)) return undefined
  const expiresAt = value.readDoubleBE(mark.length)
  return { data: value.subarray(header), version: versionOf(token, expiresAt), expiresAt }
}

/** The server's broom, in seconds: never earlier than the deadline, by a clock a minute off. */
const ttl = (expiresAt: number, now: number) => Math.max(0, Math.ceil((expiresAt - now) / 1000)) + 60
