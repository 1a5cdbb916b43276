/**
 * Flask-Session's records in memcached: one item each, at the prefix and the
 * id, with the server's own expiry as its only deadline. Needs the meta protocol
 * of memcached 1.6.
 *
 * A write names the server's token of the item that was read, so that it
 * neither overwrites nor revives what Flask has written or deleted meanwhile.
 * A refresh writes the same bytes again, under the same condition.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { forever } from "../internal/flask/bytes.js"
import { idLengths } from "../internal/flask/ids.js"
import { type Client, isKey, type Item } from "../memcached/Client.js"
import { type ConnectionOptions, openClient, type Operation, storeError } from "../memcached/Open.js"
import type { MemcachedError } from "../memcached/Protocol.js"
import { SessionConfigError } from "../SessionConfigError.js"
import { SessionStore, type Stored, Version } from "../SessionStore.js"

/**
 * The options of a connection are those of `effect-session/layers/Memcached`.
 * Give several servers only if Flask's client picks the same one of them for a
 * key; no two clients are known to.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends ConnectionOptions {
  /** `SESSION_KEY_PREFIX`, before each id: printable ASCII characters; `"session:"` by default. */
  readonly prefix?: string | undefined
}

/**
 * Makes the store, with a connection that ends with the scope. The server need
 * not be up: requests fail as `Unavailable` until it is. Fails with
 * `SessionConfigError` when an option makes no sense.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<SessionStore["Type"], SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ prefix = "session:", ...options }: Options) {
    if (!isKey(prefix + longestId)) {
      return yield* new SessionConfigError({
        option: "prefix",
        message: "Give at most 122 printable ASCII characters, no space among them."
      })
    }
    return storeOf(yield* openClient(options), prefix)
  }
)

const longestId = "0".repeat(idLengths.max * 4 / 3)

/**
 * Flask's sessions in memcached.
 *
 * ```ts
 * import * as FlaskMemcached from "effect-session/flask/Memcached"
 *
 * const Store = FlaskMemcached.layer({ servers: "localhost" })
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
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scoped(SessionStore, Effect.flatMap(Config.unwrap(options), make))

const storeOf = (client: Client, prefix: string): SessionStore["Type"] => {
  const attempt = <A>(operation: Operation, command: Effect.Effect<A, MemcachedError>, actual = 0) =>
    Effect.mapError(command, (cause) => storeError(operation, cause, actual, 0))

  const write = (
    operation: Operation,
    data: Uint8Array,
    expiresAt: number,
    send: (ttl: number) => Effect.Effect<Option.Option<string>, MemcachedError>
  ) =>
    Effect.clockWith((clock) =>
      Effect.map(
        attempt(operation, send(ttl(expiresAt, clock.unsafeCurrentTimeMillis())), data.length),
        Option.map(Version)
      )
    )

  const replace = (operation: Operation, key: string, expected: Version, data: Uint8Array, expiresAt: number) =>
    write(operation, data, expiresAt, (ttl) => client.replace(prefix + key, expected, data, ttl))

  return SessionStore.of({
    load: (key) =>
      Effect.clockWith((clock) =>
        Effect.map(
          attempt("load", client.get(prefix + key)),
          Option.flatMap((item) => storedOf(item, clock.unsafeCurrentTimeMillis()))
        )
      ),
    insert: (key, data, expiresAt) => write("insert", data, expiresAt, (ttl) => client.add(prefix + key, data, ttl)),
    replace: (key, expected, data, expiresAt) => replace("replace", key, expected, data, expiresAt),
    touch: (key, { data, version }, expiresAt) =>
      Effect.map(replace("touch", key, version, data, expiresAt), Option.isSome),
    remove: (key, expected) => attempt("remove", client.remove(prefix + key, expected))
  })
}

/** Flask-Session takes an empty value for no session. */
const storedOf = ({ token, ttl, value }: Item, now: number): Option.Option<Stored> =>
  value.length === 0
    ? Option.none()
    : Option.some({
      data: value,
      version: Version(token),
      expiresAt: ttl === undefined ? forever : now + ttl * 1000
    })

/** Whole seconds, as Flask-Session writes them. Memcached takes -1 for an end that has passed. */
const ttl = (expiresAt: number, now: number): number => {
  const seconds = Math.ceil((expiresAt - now) / 1000)
  return seconds > 0 ? seconds : -1
}
