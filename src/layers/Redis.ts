/**
 * Sessions in Redis (or Valkey), by ioredis 5 or 6. Needs Redis 4 or newer.
 *
 * A session is one hash of three fields, so it works on a cluster. Reading it
 * is one `HGETALL`, each write one script, and nothing is sent twice: a write
 * whose reply is lost fails, and whoever asked finds out.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisOf } from "../internal/bounded.js"
import { randomToken } from "../internal/crypto.js"
import type { Client } from "../redis/Client.js"
import {
  asBuffer,
  attempts,
  type Connected,
  evaluate,
  type Operation,
  type Script,
  scriptOf
} from "../redis/Commands.js"
import { type ConnectionOptions, openConnection, takeClient } from "../redis/Open.js"
import type { Hash } from "../redis/Reply.js"
import { countOf, hashOf } from "../redis/Reply.js"
import { scanKeys } from "../redis/Scan.js"
import type { Wait as WaitMillis } from "../redis/Wait.js"
import { barrier, evalAndWait } from "../redis/Wait.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Entry, Stored } from "../SessionStore.js"
import { SessionScan, SessionStore, SessionStoreError, Version } from "../SessionStore.js"

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
 * ioredis' own options (host, port, password, db, tls, sentinels and name, …)
 * and ours. Left out are those that would re-send a write or let a request
 * wait. Where Redis is has to be said, by `url`, `host`, `path`, `sentinels` or
 * `cluster`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends ConnectionOptions {
  /** Put before every key; `"session:"` by default. */
  readonly prefix?: string | undefined
  /** What a failover must not take back. Default: what Redis has not yet replicated may be lost. */
  readonly wait?: Wait | undefined
}

/**
 * Acknowledges a write only when replicas have it, by `WAIT`.
 *
 * A write that too few have in time fails as `Timeout`, and until they have it,
 * so does every operation on that session in this process, for a minute at
 * most. While it waits, its connection answers nobody else: writes that wait come
 * one after the other, and when a replica dies, requests go on as before only if
 * there is one more than `replicas`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Wait {
  /** How many replicas must have it, 1 or more. */
  readonly replicas: number
  /** How long to wait for them; a quarter of the time for an answer by default, and less than it. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Every write, or `remove` alone, so that a logout survives a failover; `"remove"` by default. */
  readonly writes?: "all" | "remove" | undefined
}

/**
 * Makes the store, with a connection that ends with the scope.
 *
 * Waits for the connection, but Redis need not be up: requests fail as
 * `Unavailable` (at once) and work again at most half a second after Redis
 * does. Fails with `SessionConfigError` when `url`, `timeout` or `wait` makes
 * no sense, when it is not said where Redis is, and when it refuses the database;
 * one that is refused later fails each operation as `Rejected`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<Context.Context<SessionStore | SessionScan>, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ prefix, wait, ...options }: Options = {}) {
    const connected = yield* openConnection(options, "effect-session/layers/Redis")
    return contextOf(connected, prefix, yield* waitOf(wait, connected.millis))
  }
)

/**
 * Sessions in Redis, over a connection of its own.
 *
 * ```ts
 * import * as SessionStoreRedis from "effect-session/layers/Redis"
 *
 * const Store = SessionStoreRedis.layer({ url: "redis://localhost" })
 *
 * const InCluster = SessionStoreRedis.layer({
 *   cluster: [{ host: "10.0.0.1", port: 6379 }, { host: "10.0.0.2", port: 6379 }],
 *   password: "secret",
 *   wait: { replicas: 1 }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<SessionStore | SessionScan, SessionConfigError> =>
  Layer.scopedContext(make(options))

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
): Layer.Layer<SessionStore | SessionScan, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scopedContext(Effect.flatMap(Config.unwrap(options), make))

/**
 * Sessions over a client of yours, a `Redis` or a `Cluster`, that you close.
 *
 * Its options decide how long a request may wait and whether a write may be
 * sent twice. These are what `layer` uses, and others that would wait for ever,
 * send twice or read from a replica are a `SessionConfigError`, as is a client
 * that is closed or not of ioredis. A reply that the app's client changes, by a
 * reply transformer or a MULTI without pipeline, fails as `Unavailable`:
 *
 * ```ts
 * import * as SessionStoreRedis from "effect-session/layers/Redis"
 * import { Cluster } from "ioredis"
 *
 * const client = new Cluster([{ host: "localhost", port: 7000 }], {
 *   retryDelayOnFailover: 0,
 *   retryDelayOnClusterDown: 0,
 *   redisOptions: { maxRetriesPerRequest: 0, commandTimeout: 2000, connectTimeout: 2000, socketTimeout: 2000 }
 * })
 * client.on("error", console.error)
 *
 * const Store = SessionStoreRedis.layerClient({ client })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options: {
  readonly client: Client
  readonly prefix?: string | undefined
  readonly wait?: Wait | undefined
}): Layer.Layer<SessionStore | SessionScan, SessionConfigError> =>
  Layer.scopedContext(Effect.gen(function*() {
    const connected = yield* takeClient(options.client)
    return contextOf(connected, options.prefix, yield* waitOf(options.wait, connected.millis))
  }))

const waitOf = (wait: Wait | undefined, millis: number): Effect.Effect<Waiting | undefined, SessionConfigError> => {
  if (wait === undefined) return Effect.succeed(undefined)
  const { replicas, timeout = millis / 4, writes = "remove" } = wait
  const waitMillis = Math.ceil(millisOf(timeout) ?? NaN)
  if (!Number.isSafeInteger(replicas) || replicas < 1) {
    return new SessionConfigError({ option: "wait.replicas", message: "Give the number of replicas, 1 or more." })
  }
  if (!(waitMillis >= 1 && waitMillis < millis)) {
    const message = `Give 1 millisecond or more, and less than the ${millis} of an answer.`
    return new SessionConfigError({ option: "wait.timeout", message })
  }
  return Effect.succeed({ replicas, timeout: waitMillis, writes })
}

interface Waiting extends WaitMillis {
  readonly writes: "all" | "remove"
}

/** ARGV: now, expected version, then for writes deadline, TTL, new version, data. */
const script = (body: string): Script =>
  scriptOf(`
local version, expiresAt = unpack(redis.call('HMGET', KEYS[1], 'version', 'expiresAt'))
local deadline = tonumber(expiresAt)
if not (version and deadline) and redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('CORRUPT not a session')
end
local live = deadline and deadline > tonumber(ARGV[1])
${body}`)

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

const contextOf = (connected: Connected, prefix = "session:", wait: Waiting | undefined) => {
  const { client } = connected
  const attempt = attempts(connected)

  /** Keys of which a write may be there that replicas do not have, for a minute: the core asks within seconds. */
  const doubtful = new Map<string, NodeJS.Timeout>()

  const doubt = (key: string) => {
    clearTimeout(doubtful.get(key))
    doubtful.set(key, setTimeout(() => doubtful.delete(key), 60_000).unref())
  }

  const acknowledged = (operation: Operation, lua: string, key: string, args: ReadonlyArray<string | Buffer>) =>
    attempt(operation, () => evalAndWait(client, wait!, lua, prefix + key, args), Effect.succeed).pipe(
      Effect.onError(() => Effect.sync(() => doubt(key)))
    )

  /** Nobody is told of a write that a failover may still take back. */
  const settled = <A>(operation: Operation, key: string, effect: Effect.Effect<A, SessionStoreError>) =>
    wait === undefined
      ? effect
      : Effect.suspend(() =>
        doubtful.has(key)
          ? acknowledged(operation, barrier, key, []).pipe(
            Effect.tap(() => doubtful.delete(key)),
            Effect.zipRight(effect)
          )
          : effect
      )

  /** Runs a script at the present time, and answers whether it did something. */
  const run = (
    operation: Operation,
    script: Script,
    key: string,
    expected: string,
    expiresAt = 0,
    ...record: ReadonlyArray<string | Buffer>
  ) => {
    const send = atNow((now) => {
      const args = [String(now), expected, String(expiresAt), String(ttl(expiresAt, now)), ...record]
      const waits = wait?.writes === "all" || (wait && operation === "remove")
      return waits
        ? acknowledged(operation, script.lua, key, args)
        : attempt(operation, () => evaluate(client, script, prefix + key, args).then(countOf), Effect.succeed)
    })
    return settled(operation, key, Effect.map(send, (count) => count === 1))
  }

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

  /** None for what has expired by the time of the answer. */
  const find = (operation: "load" | "scan", key: string) =>
    Effect.clockWith((clock) =>
      attempt(
        operation,
        () => client.hgetallBuffer(key).then(hashOf),
        (fields) => parse(operation, fields, clock.unsafeCurrentTimeMillis())
      )
    )

  const store = SessionStore.of({
    load: (key) => settled("load", key, find("load", prefix + key)),
    insert: (key, data, expiresAt) => write("insert", insert, key, "", data, expiresAt),
    replace: (key, expected, data, expiresAt) => write("replace", replace, key, expected, data, expiresAt),
    touch: (key, { version }, expiresAt) => run("touch", touch, key, version, expiresAt),
    // Empty stands for none; a caller's own empty version is nobody's.
    remove: (key, expected) => run("remove", remove, key, expected === undefined ? "" : expected || "none")
  })

  /** None for what is not a session, which is nobody's business here. */
  const entry = (key: string): Effect.Effect<Option.Option<Entry>, SessionStoreError> =>
    find("scan", key).pipe(
      Effect.map(Option.map(({ data, expiresAt }) => ({ key: key.slice(prefix.length), data, expiresAt }))),
      Effect.catchIf(({ reason }) => reason === "Corrupt", () => Effect.succeedNone)
    )

  /** Sent together: ioredis pipelines them. */
  const entriesAt = (keys: ReadonlyArray<string>) =>
    Effect.map(Effect.forEach(keys, entry, { concurrency: "unbounded" }), (entries) => entries.flatMap(Option.toArray))

  const scan = SessionScan.of({
    entries: scanKeys(client, prefix, (send) => attempt("scan", send, Effect.succeed)).pipe(
      Stream.mapEffect(entriesAt),
      Stream.mapConcat((entries) => entries)
    )
  })

  return Context.make(SessionStore, store).pipe(Context.add(SessionScan, scan))
}

/** The server's broom: never earlier than the deadline, by a clock a minute off. */
const ttl = (expiresAt: number, now: number) =>
  Math.min(Math.max(1, Math.ceil(expiresAt - now) + 60_000) || 1, Number.MAX_SAFE_INTEGER)

const atNow = <A, E>(f: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => f(clock.unsafeCurrentTimeMillis()))

/** What `HGETALL` found. */
const parse = (
  operation: Operation,
  fields: Hash,
  now: number
): Effect.Effect<Option.Option<Stored>, SessionStoreError> => {
  if (Object.keys(fields).length === 0) return Effect.succeedNone
  const { data, version } = fields
  const expiresAt = Number(fields.expiresAt)
  if (data === undefined || version === undefined || Number.isNaN(expiresAt)) {
    return new SessionStoreError({ reason: "Corrupt", operation })
  }
  return expiresAt > now
    ? Effect.succeedSome({ data, version: Version(version.toString()), expiresAt })
    : Effect.succeedNone
}
