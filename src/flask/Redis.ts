/**
 * Flask-Session's records in Redis (or Valkey): one string each, at the prefix
 * and the id, with the server's TTL as its only deadline.
 *
 * Each write is one script that compares the bytes that were read, so that it
 * neither overwrites nor revives what Flask has written or deleted meanwhile.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { asBuffer, bytesOf, forever, versionOf } from "../internal/flask/bytes.js"
import type { Client } from "../redis/Client.js"
import { attempts, type Connected, evaluate, type Operation, type Script, scriptOf } from "../redis/Commands.js"
import { type ConnectionOptions, openConnection, takeClient } from "../redis/Open.js"
import { countOf } from "../redis/Reply.js"
import { scanKeys } from "../redis/Scan.js"
import type { SessionConfigError } from "../SessionConfigError.js"
import { type Entry, SessionScan, SessionStore, type SessionStoreError, type Stored } from "../SessionStore.js"

export type {
  /**
   * What the store asks of a client: `Redis` and `Cluster` of ioredis 5 and 6
   * have it.
   *
   * @since 0.1.0
   * @category models
   */
  Client
} from "../redis/Client.js"

/**
 * The options of a connection are those of `effect-session/layers/Redis`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends ConnectionOptions {
  /** `SESSION_KEY_PREFIX`, before each id; `"session:"` by default. */
  readonly prefix?: string | undefined
}

/**
 * Makes the store, with a connection that ends with the scope. Redis need not
 * be up: requests fail as `Unavailable` until it is. Fails with
 * `SessionConfigError` like `effect-session/layers/Redis`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  { prefix, ...options }: Options
): Effect.Effect<Context.Context<SessionStore | SessionScan>, SessionConfigError, Scope.Scope> =>
  Effect.map(
    openConnection(options, "effect-session/flask/Redis"),
    (connected) => contextOf(connected, prefix)
  )

/**
 * Flask's sessions in Redis, over a connection of its own.
 *
 * ```ts
 * import * as FlaskRedis from "effect-session/flask/Redis"
 *
 * const Store = FlaskRedis.layer({ url: "redis://localhost" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SessionStore | SessionScan, SessionConfigError> =>
  Layer.scopedContext(make(options))

/**
 * `layer` with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionScan, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scopedContext(Effect.flatMap(Config.unwrap(options), make))

/**
 * Flask's sessions over a client of yours, that you close. It needs the options
 * that `layerClient` of `effect-session/layers/Redis` asks for.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options: {
  readonly client: Client
  readonly prefix?: string | undefined
}): Layer.Layer<SessionStore | SessionScan, SessionConfigError> =>
  Layer.scopedContext(Effect.map(takeClient(options.client), (connected) => contextOf(connected, options.prefix)))

const insert = scriptOf(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

// A key that is gone is `false` to Lua, which equals no text.

const replace = scriptOf(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

const touch = scriptOf(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)

const remove = scriptOf(`
if ARGV[1] and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)

const contextOf = (connected: Connected, prefix = "session:") => {
  const { client } = connected
  const attempt = attempts(connected)

  const run = (
    operation: Operation,
    script: Script,
    key: string,
    args: (now: number) => ReadonlyArray<string | Buffer>
  ) =>
    Effect.clockWith((clock) =>
      attempt(
        operation,
        () => evaluate(client, script, prefix + key, args(clock.unsafeCurrentTimeMillis())).then(countOf),
        (count) => Effect.succeed(count === 1)
      )
    )

  const written = (data: Uint8Array) => (done: boolean) => done ? Option.some(versionOf(data)) : Option.none()

  /** The value and its TTL, in one round trip. */
  const find = (operation: Operation, key: string): Effect.Effect<Option.Option<Stored>, SessionStoreError> =>
    Effect.clockWith((clock) =>
      attempt(
        operation,
        () => client.pipeline([["getBuffer", key], ["pttl", key]]).exec().then(valueOf),
        (found) => Effect.succeed(storedOf(found, clock.unsafeCurrentTimeMillis()))
      )
    )

  const store = SessionStore.of({
    load: (key) => find("load", prefix + key),
    insert: (key, data, expiresAt) =>
      Effect.map(
        run("insert", insert, key, (now) => [asBuffer(data), ttl(expiresAt, now)]),
        written(data)
      ),
    replace: (key, expected, data, expiresAt) =>
      Effect.map(
        run("replace", replace, key, (now) => [bytesOf(expected), asBuffer(data), ttl(expiresAt, now)]),
        written(data)
      ),
    touch: (key, { version }, expiresAt) => run("touch", touch, key, (now) => [bytesOf(version), ttl(expiresAt, now)]),
    remove: (key, expected) => run("remove", remove, key, () => expected === undefined ? [] : [bytesOf(expected)])
  })

  const entry = (key: string): Effect.Effect<Option.Option<Entry>, SessionStoreError> =>
    find("scan", key).pipe(
      Effect.map(Option.map(({ data, expiresAt }) => ({ key: key.slice(prefix.length), data, expiresAt }))),
      Effect.catchIf(({ reason }) => reason === "Corrupt", () => Effect.succeedNone) // not a string: another program's
    )

  const scan = SessionScan.of({
    entries: scanKeys(client, prefix, (send) => attempt("scan", send, Effect.succeed)).pipe(
      Stream.mapEffect((keys) => Effect.forEach(keys, entry, { concurrency: "unbounded" })),
      Stream.mapConcat((entries) => entries.flatMap(Option.toArray))
    )
  })

  return Context.make(SessionStore, store).pipe(Context.add(SessionScan, scan))
}

interface Found {
  readonly value: Buffer | null
  /** Milliseconds; -1 without a TTL, -2 without a key. */
  readonly ttl: number
}

type Replies = Array<[error: Error | null, reply: unknown]> | null

const valueOf = (replies: Replies): Found => {
  const [[failed, value] = [null, null], [failedToo, ttl] = [null, null]] = replies ?? []
  if (failed ?? failedToo) {
    throw failed ?? failedToo
  }
  if (value !== null && !Buffer.isBuffer(value)) {
    throw new Error("The client changed the reply to GET. Give the sessions a client of their own.")
  }
  return { value, ttl: Number(ttl) }
}

/** Flask-Session takes an empty value for no session. */
const storedOf = ({ ttl, value }: Found, now: number): Option.Option<Stored> =>
  value === null || value.length === 0 || ttl === -2
    ? Option.none()
    : Option.some({ data: value, version: versionOf(value), expiresAt: ttl < 0 ? forever : now + ttl })

/** Whole seconds, as Flask-Session writes them. A deadline that has passed ends the record at once. */
const ttl = (expiresAt: number, now: number): string => {
  const seconds = Math.ceil((expiresAt - now) / 1000)
  return String(seconds > 0 ? seconds * 1000 : 1)
}
