/**
 * Sessions in Redis (or Valkey), by ioredis 5 or 6. Needs Redis 4 or newer.
 *
 * A session is one hash of three fields, so it works on a cluster. Reading it
 * is one `HGETALL`, each write one script, and nothing is sent twice: a write
 * whose reply is lost fails, and whoever asked finds out.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Redis, RedisOptions } from "ioredis"
import * as crypto from "node:crypto"
import { randomToken } from "../internal/crypto.js"
import { loadDriver } from "../internal/driver.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { SessionStoreErrorReason, Stored } from "../SessionStore.js"
import { SessionStore, SessionStoreError, Version } from "../SessionStore.js"

const driver = await loadDriver("ioredis", "effect-session/layers/Redis", () => import("ioredis"))

/**
 * ioredis' own options (host, port, password, db, tls, sentinels, …) and ours.
 * Left out are those that would re-send a write or let a request wait.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends
  Omit<
    RedisOptions,
    | "autoResendUnfulfilledCommands"
    | "commandTimeout"
    | "connectTimeout"
    | "disconnectTimeout"
    | "enableOfflineQueue"
    | "lazyConnect"
    | "maxRetriesPerRequest"
    | "monitor"
    | "socketTimeout"
  >
{
  /**
   * `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS.
   * What it names wins over `host`, `port` and so on. Default: those.
   */
  readonly url?: string | Redacted.Redacted<string> | undefined
  /** Put before every key; `"session:"` by default. */
  readonly prefix?: string | undefined
  /**
   * How long to wait for an answer, and for a connection; 2 seconds by
   * default. A connection that did not answer in time is replaced, and what
   * waits on it fails within another tenth of a second.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * What the store asks of a client: `Redis` and `Cluster` of ioredis 5 and 6
 * have it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly hgetallBuffer: (key: string) => Promise<Record<string, Buffer>>
  readonly evalsha: (sha: string, keys: number, ...args: Array<string | Buffer>) => Promise<unknown>
  readonly eval: (script: string, keys: number, ...args: Array<string | Buffer>) => Promise<unknown>
}

/**
 * Makes the store, with a connection that ends with the scope.
 *
 * Waits for the connection, but Redis need not be up: requests fail as
 * `Unavailable` (at once) and work again at most half a second after Redis
 * does. Fails with `SessionConfigError` when `url` or `timeout` makes no sense.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<SessionStore["Type"], SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ prefix, timeout = "2 seconds", url, ...options }: Options = {}) {
    const millis = Duration.toMillis(timeout)
    if (!(millis >= 1 && millis < 2 ** 31)) {
      return yield* new SessionConfigError({ option: "timeout", message: "Give 1 millisecond to 24 days." })
    }
    const connection = yield* Effect.acquireRelease(
      Effect.flatMap(parseUrl(url), (url) =>
        Effect.try({
          try: () => connect({ ...options, ...bounds(millis) }, url),
          catch: wrongUrl // a bad percent escape; the driver's message may repeat a part of it
        })),
      ({ redis }) => Effect.promise(() => redis.quit().catch(() => {}).finally(() => redis.disconnect()))
    )
    // The first request should find it ready; if Redis is down, reconnecting goes on by itself.
    yield* Effect.promise(() => connection.redis.connect().catch(() => {}))
    return storeOf(connection.redis, prefix, connection)
  }
)

/**
 * Sessions in Redis, over a connection of its own.
 *
 * ```ts
 * import * as SessionStoreRedis from "effect-session/layers/Redis"
 *
 * const Store = SessionStoreRedis.layer({ url: "redis://localhost" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<SessionStore, SessionConfigError> =>
  Layer.scoped(SessionStore, make(options))

/**
 * `layer` with options from `Config`.
 *
 * ```ts
 * import * as SessionStoreRedis from "effect-session/layers/Redis"
 * import { Config } from "effect"
 *
 * const Store = SessionStoreRedis.layerConfig({ url: Config.redacted("REDIS_URL") })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scoped(SessionStore, Effect.flatMap(Config.unwrap(options), make))

/**
 * Sessions over a client of yours, a `Cluster` for instance, that you close.
 *
 * Its options decide how long a request may wait and whether a write may be
 * sent twice. These are what `layer` uses:
 *
 * ```ts
 * import * as SessionStoreRedis from "effect-session/layers/Redis"
 * import { Cluster } from "ioredis"
 *
 * const client = new Cluster([{ host: "localhost", port: 7000 }], {
 *   retryDelayOnFailover: 0,
 *   redisOptions: { maxRetriesPerRequest: 0, commandTimeout: 2000, connectTimeout: 2000 }
 * })
 * client.on("error", console.error)
 *
 * const Store = SessionStoreRedis.layerClient({ client })
 * ```
 *
 * Reading from replicas (`scaleReads`) shows sessions as they were.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options: {
  readonly client: Client
  readonly prefix?: string | undefined
}): Layer.Layer<SessionStore> => Layer.succeed(SessionStore, storeOf(options.client, options.prefix))

/** What only a connection of our own can do. */
interface Connection {
  readonly redis: Redis
  /** Why it is down, if it is. */
  readonly failure: () => Error | undefined
  /** Replaces a connection that does not answer. */
  readonly reconnect: () => void
}

const parseUrl = (url: Options["url"]): Effect.Effect<string | undefined, SessionConfigError> => {
  const text = Redacted.isRedacted(url) ? Redacted.value(url) : url
  if (text === undefined || (URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol))) {
    return Effect.succeed(text)
  }
  return wrongUrl()
}

const wrongUrl = () =>
  new SessionConfigError({
    option: "url",
    message: "Write it as redis://[user:password@]host[:port][/database], or rediss:// for TLS, percent-encoded."
  })

/** No command waits longer than this, or is sent a second time. */
const bounds = (millis: number) => ({
  autoResendUnfulfilledCommands: false,
  commandTimeout: millis,
  connectTimeout: millis,
  disconnectTimeout: 100,
  enableOfflineQueue: false,
  lazyConnect: true,
  maxRetriesPerRequest: 0
})

const connect = (options: RedisOptions, url: string | undefined): Connection => {
  const defaults: RedisOptions = {
    enableAutoPipelining: true,
    keepAlive: 30_000,
    // After a failover the old primary answers READONLY for as long as one stays connected.
    reconnectOnError: (error) => error.message.includes("READONLY"),
    retryStrategy: (attempt) => Math.min(attempt * 50, 500),
    ...options
  }
  const redis = url === undefined ? new driver.Redis(defaults) : new driver.Redis(url, defaults)
  let failure: Error | undefined
  redis.on("error", (error) => {
    failure = error
  })
  redis.on("ready", () => {
    failure = undefined
  })
  return { redis, failure: () => failure, reconnect: () => redis.disconnect(true) }
}

interface Script {
  readonly lua: string
  readonly sha: string
}

/** ARGV: now, expected version, then for writes deadline, TTL, new version, data. */
const script = (body: string): Script => {
  const lua = `
local version, expiresAt = unpack(redis.call('HMGET', KEYS[1], 'version', 'expiresAt'))
local deadline = tonumber(expiresAt)
if not (version and deadline) and redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('CORRUPT not a session')
end
local live = deadline and deadline > tonumber(ARGV[1])
${body}`
  return { lua, sha: crypto.createHash("sha1").update(lua).digest("hex") }
}

const put = `
redis.call('HSET', KEYS[1], 'expiresAt', ARGV[3], 'version', ARGV[5], 'data', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1`

const insert = script(`if live then return 0 end ${put}`)

const replace = script(`if not live or version ~= ARGV[2] then return 0 end ${put}`)

const touch = script(`
if not live or version ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'expiresAt', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1`)

const remove = script(`
if not live or (ARGV[2] ~= '' and version ~= ARGV[2]) then return 0 end
return redis.call('DEL', KEYS[1])`)

/** Two round trips only when the server has forgotten the script, and has done nothing yet. */
const evaluate = (client: Client, { lua, sha }: Script, key: string, args: ReadonlyArray<string | Buffer>) =>
  client.evalsha(sha, 1, key, ...args).catch((error: Error) => {
    if (!error.message.startsWith("NOSCRIPT")) throw error
    return client.eval(lua, 1, key, ...args)
  })

type Operation = Exclude<SessionStoreError["operation"], "sweep">

const storeOf = (client: Client, prefix = "session:", connection?: Connection): SessionStore["Type"] => {
  const attempt = <A>(operation: Operation, send: () => Promise<A>) =>
    Effect.tryPromise({
      try: send,
      catch: (error) => {
        // A driver rejects with nothing but errors.
        const found = error as Error
        if (reasonOf(found) === "Timeout") connection?.reconnect()
        const cause = isOffline(found) ? connection?.failure() ?? found : found
        return new SessionStoreError({ reason: reasonOf(cause), operation, cause: withoutData(cause) })
      }
    })

  /** Runs a script at the present time, and answers whether it did something. */
  const run = (
    operation: Operation,
    script: Script,
    key: string,
    expected: string,
    expiresAt = 0,
    ...record: ReadonlyArray<string | Buffer>
  ) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const args = [String(now), expected, String(expiresAt), String(ttl(expiresAt, now)), ...record]
      return Effect.map(attempt(operation, () => evaluate(client, script, prefix + key, args)), (reply) => reply === 1)
    })

  const write = (
    operation: "insert" | "replace",
    script: Script,
    key: string,
    expected: string,
    data: Uint8Array,
    expiresAt: number
  ) =>
    Effect.suspend(() => {
      const version = Version(randomToken())
      return Effect.map(
        run(operation, script, key, expected, expiresAt, version, asBuffer(data)),
        (done) => done ? Option.some(version) : Option.none()
      )
    })

  return SessionStore.of({
    load: (key) =>
      Effect.zipWith(
        Effect.flatMap(attempt("load", () => client.hgetallBuffer(prefix + key)), parse),
        Clock.currentTimeMillis,
        (stored, now) => Option.filter(stored, ({ expiresAt }) => expiresAt > now)
      ),
    insert: (key, data, expiresAt) => write("insert", insert, key, "", data, expiresAt),
    replace: (key, expected, data, expiresAt) => write("replace", replace, key, expected, data, expiresAt),
    touch: (key, { version }, expiresAt) => run("touch", touch, key, version, expiresAt),
    remove: (key, expected = Version("")) => run("remove", remove, key, expected)
  })
}

/** The server's broom: never earlier than the deadline, by a clock a minute off. */
const ttl = (expiresAt: number, now: number) => Math.max(1, Math.ceil(expiresAt - now) + 60_000)

/** ioredis would send a plain `Uint8Array` as the text "1,2,3". */
const asBuffer = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

const parse = (
  fields: Partial<Record<string, Buffer>>
): Effect.Effect<Option.Option<Stored>, SessionStoreError> => {
  if (Object.keys(fields).length === 0) return Effect.succeedNone
  const { data, version } = fields
  const expiresAt = Number(fields.expiresAt)
  if (data === undefined || version === undefined || Number.isNaN(expiresAt)) {
    return new SessionStoreError({ reason: "Corrupt", operation: "load" })
  }
  return Effect.succeedSome({ data, version: Version(version.toString()), expiresAt })
}

const isOffline = ({ message }: Error) =>
  message.startsWith("Stream isn't writeable") || message.startsWith("Connection is closed")

/** Before Redis 7 the code of a script's error stands in the middle of the message. */
const reasonOf = ({ message, name }: Error): SessionStoreErrorReason => {
  if (message === "Command timed out") return "Timeout"
  if (name !== "ReplyError") return "Unavailable"
  if (/\b(WRONGTYPE|CORRUPT)\b/.test(message)) return "Corrupt"
  if (/\b(LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN)\b/.test(message)) return "Unavailable"
  return message.includes("max number of clients") ? "Throttled" : "Rejected"
}

/** ioredis hangs a command's arguments on its errors, and the server may quote them. */
const withoutData = (error: Error) => {
  const { message, name } = error
  const code = "code" in error ? { code: error.code } : {}
  return Object.assign(new Error(message.replace(/, with args.*/s, "")), { name, ...code })
}
