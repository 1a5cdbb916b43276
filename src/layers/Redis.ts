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
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ClusterNode, RedisOptions } from "ioredis"
import * as crypto from "node:crypto"
import { bounded, boundOf, millisOf, timeIsUp } from "../internal/bounded.js"
import { randomToken } from "../internal/crypto.js"
import { loadDriver, rethrow } from "../internal/driver.js"
import { parseAddress } from "../redis/Address.js"
import type { Client, ClusterSettings, Connection } from "../redis/Client.js"
import { commandTimeout, connectCluster, connectRedis, isCluster, refusal } from "../redis/Client.js"
import type { Within } from "../redis/Database.js"
import { databaseOf, watchDatabase } from "../redis/Database.js"
import type { Hash } from "../redis/Reply.js"
import { countOf, hashOf } from "../redis/Reply.js"
import { scanKeys } from "../redis/Scan.js"
import type { Wait as WaitMillis } from "../redis/Wait.js"
import { barrier, evalAndWait, tooFewReplicas } from "../redis/Wait.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Entry, SessionStoreErrorReason, Stored } from "../SessionStore.js"
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
export interface Options extends
  Omit<
    RedisOptions,
    | "autoResendUnfulfilledCommands"
    | "commandTimeout"
    | "connectTimeout"
    | "disconnectTimeout"
    | "enableOfflineQueue"
    | "keyPrefix"
    | "lazyConnect"
    | "maxRetriesPerRequest"
    | "monitor"
    | "readOnly"
    | "role"
    | "sentinelCommandTimeout"
    | "socketTimeout"
  >
{
  /**
   * - `redis://[user:password@]host[:port][/database]`
   * - `redis+cluster://[user:password@]host:port,host:port`
   * - `redis+sentinel://[user:password@]host:port,host:port/master-name[/database]`
   *
   * or the same with `rediss` for TLS. Its query may hold `db`, `family`,
   * `username`, `password`, `sentinelUsername`, `sentinelPassword` and
   * `tls=true`. What it names wins over the other options. Default: those.
   */
  readonly url?: string | Redacted.Redacted<string> | undefined
  /** Some nodes of a cluster, which name the others. Default: no cluster. */
  readonly cluster?: ReadonlyArray<ClusterNode> | undefined
  /** How a cluster is found and followed: `natMap`, `dnsLookup`, …, as ioredis has them. */
  readonly clusterOptions?: ClusterSettings | undefined
  /** Put before every key; `"session:"` by default. */
  readonly prefix?: string | undefined
  /**
   * How long to wait for an answer, and for a connection; 2 seconds by
   * default. A connection that did not answer in time is replaced, and what
   * waits on it fails within another tenth of a second. While one that was lost
   * is made anew, an operation waits for it first, half as long at most.
   */
  readonly timeout?: Duration.DurationInput | undefined
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
  function*({ clusterOptions = {}, prefix, timeout = "2 seconds", url, wait, ...given }: Options = {}) {
    const millis = yield* boundOf(timeout)
    const waitMillis = yield* waitOf(wait, millis)
    const { cluster, ...options } = yield* located(url, given)
    if (!cluster?.length && !options.sentinels?.length && !options.host && !options.path) {
      return yield* new SessionConfigError({
        option: "url",
        message: "Say where Redis is: by url, host, path, sentinels or cluster."
      })
    }
    if (cluster?.length && options.db) {
      return yield* new SessionConfigError({ option: "db", message: "A cluster has no database but 0." })
    }
    const driver = yield* loadDriver("ioredis", "effect-session/layers/Redis", () => import("ioredis").catch(rethrow))
    const connection = yield* Effect.acquireRelease(
      Effect.try({
        try: () =>
          cluster?.length
            ? connectCluster(driver, cluster, options, clusterOptions, millis)
            : connectRedis(driver, options, millis),
        catch: (cause) =>
          new SessionConfigError({ option: "options", message: "ioredis refuses these options.", cause })
      }),
      ({ close }) => Effect.promise(close)
    )
    // The first request should find it ready; if Redis is down, reconnecting goes on by itself.
    yield* Effect.ignore(bounded(millis, connection.connect))
    const within = yield* enter(connection.client, millis)
    return contextOf(connection.client, { prefix, millis, wait: waitMillis, within }, connection)
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
    const { client, prefix, wait } = options
    const refused = refusal(client)
    if (refused) return yield* refused
    const millis = commandTimeout(client)
    const waitMillis = yield* waitOf(wait, millis)
    if (isCluster(client) && isAway(client)) yield* Effect.ignore(bounded(millis, () => untilReady(client)))
    const within = yield* enter(client, millis)
    return contextOf(client, { prefix, millis, wait: waitMillis, within })
  }))

/** Undefined: every connection begins in its database. */
const enter = Effect.fnUntraced(function*(client: Client, millis: number) {
  const database = isCluster(client) ? 0 : databaseOf(client)
  if (database === 0) return undefined
  const { within } = yield* Effect.acquireRelease(
    Effect.sync(() => watchDatabase(client, database)),
    ({ stop }) => Effect.sync(stop)
  )
  // While the server cannot be reached, that is the requests' matter.
  return yield* bounded(millis, () => within(async () => within)).pipe(
    Effect.catchAll((error) => {
      if (client.status !== "ready" || !isReply(error)) return Effect.succeed(within)
      const cause = withoutData(error)
      return new SessionConfigError({ option: "db", message: `Database ${database}: ${cause.message}.`, cause })
    })
  )
})

/** The options, with what the URL says in the place of theirs. */
const located = (url: Options["url"], given: Located): Effect.Effect<Located, SessionConfigError> => {
  const text = Redacted.isRedacted(url) ? Redacted.value(url) : url
  if (text === undefined) return Effect.succeed(given)
  return Effect.map(parseAddress(text), ({ secure, ...address }) => {
    const tls = given.tls ?? {}
    return {
      ...given,
      ...nowhere,
      ...address,
      ...(secure ? { tls, sentinelTLS: tls, enableTLSForSentinelMode: true } : {})
    }
  })
}

type Located = Omit<Options, "url" | "clusterOptions" | "prefix" | "timeout" | "wait">

/** A URL's place is the only one. */
const nowhere: object = { host: undefined, path: undefined, sentinels: undefined, cluster: undefined }

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

const untilReady = (client: Client) =>
  new Promise<void>((resolve) => {
    client.once("ready", resolve)
    client.once("end", resolve)
  })

/** A cluster that is not there would keep a command until it is. */
const isAway = ({ status }: Client) => status !== "ready" && status !== "wait"

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

interface Settings {
  readonly prefix: string | undefined
  /** How long a command may take. */
  readonly millis: number
  readonly wait: Waiting | undefined
  readonly within: Within | undefined
}

const contextOf = (client: Client, settings: Settings, connection?: Connection) => {
  const { prefix = "session:", wait } = settings
  const attempt = attempts(client, settings, connection)

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

/** How a command is sent, its reply read, and what its failure means. */
const attempts = (client: Client, { millis, within = asIs }: Settings, connection: Connection | undefined) => {
  const failed = (operation: Operation) => (error: unknown) => {
    // A driver rejects with nothing but errors.
    const found = error as Error
    if (reasonOf(found) === "Timeout" && found !== tooFewReplicas) connection?.reconnect()
    const cause = isOffline(found) ? connection?.failure() ?? found : found
    return new SessionStoreError({ reason: reasonOf(cause), operation, cause: withoutData(cause) })
  }
  if (!isCluster(client)) {
    // What has not left goes when the connection is back; so far that is a matter of an error only.
    const sendLater = async <A>(error: Error, send: () => Promise<A>) => {
      if (!isUnsent(error) || !(await connection?.isBack(millis / 2))) throw error
      return within(send)
    }
    return <A, B>(operation: Operation, send: () => Promise<A>, read: Read<A, B>) =>
      Effect.async<B, SessionStoreError>((resume) => {
        let isOver = false
        const end = (answer: Effect.Effect<B, SessionStoreError>) => {
          isOver = true
          clearTimeout(timer)
          resume(answer)
        }
        const done = (reply: A) => end(read(reply))
        const fail = (error: unknown) => isOver || end(Effect.fail(failed(operation)(error)))
        // A process that was busy for long reads first what has arrived meanwhile.
        const timer = connection && setTimeout(() => setImmediate(fail, timeIsUp), millis)
        within(send).then(done, (error) => sendLater(error, send).then(done, fail))
      })
  }
  return <A, B>(operation: Operation, send: () => Promise<A>, read: Read<A, B>) =>
    Effect.suspend(() => isAway(client) ? Effect.fail(away) : bounded(millis, async () => send())).pipe(
      Effect.mapError(failed(operation)),
      Effect.flatMap(read)
    )
}

type Read<A, B> = (reply: A) => Effect.Effect<B, SessionStoreError>

const asIs: Within = (send) => send()

const away = new Error("Connection is closed to every node of the cluster.")

/** The server's broom: never earlier than the deadline, by a clock a minute off. */
const ttl = (expiresAt: number, now: number) =>
  Math.min(Math.max(1, Math.ceil(expiresAt - now) + 60_000) || 1, Number.MAX_SAFE_INTEGER)

/** ioredis would send a plain `Uint8Array` as the text "1,2,3". */
const asBuffer = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

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

/** There was no connection: nothing has left. */
const isUnsent = ({ message }: Error) => message.startsWith("Stream isn't writeable")

const isOffline = ({ message }: Error) => /^(Stream isn't writeable|Connection is closed|None of startup)/.test(message)

/** What the server said, and no failure of the connection. */
const isReply = (error: unknown): error is Error => error instanceof Error && error.name === "ReplyError"

/** Before Redis 7 the code of a script's error stands in the middle of the message. */
const reasonOf = (error: Error): SessionStoreErrorReason => {
  const { message } = error
  if (error === timeIsUp || error === tooFewReplicas || message === "Command timed out") return "Timeout"
  if (!isReply(error)) return "Unavailable"
  if (/\b(WRONGTYPE|CORRUPT)\b/.test(message)) return "Corrupt"
  if (/\b(LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|MOVED|ASK)\b/.test(message)) return "Unavailable"
  return message.includes("max number of clients") ? "Throttled" : "Rejected"
}

/** ioredis hangs a command's arguments on its errors, and the server may quote them. */
const withoutData = (error: Error) => {
  const { message, name } = error
  const code = "code" in error ? { code: error.code } : {}
  return Object.assign(new Error(message.replace(/, with args.*/s, "")), { name, ...code })
}
