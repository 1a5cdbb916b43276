/**
 * Opens a connection, or takes a client that was brought along.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { ClusterNode, RedisOptions } from "ioredis"
import { bounded, boundOf } from "../internal/bounded.js"
import { loadDriver, rethrow } from "../internal/driver.js"
import { SessionConfigError } from "../SessionConfigError.js"
import { parseAddress } from "./Address.js"
import {
  type Client,
  type ClusterSettings,
  commandTimeout,
  connectCluster,
  connectRedis,
  isCluster,
  refusal
} from "./Client.js"
import { type Connected, isAway, isReply, withoutData } from "./Commands.js"
import { databaseOf, watchDatabase } from "./Database.js"

/**
 * ioredis' own options (host, port, password, db, tls, sentinels and name, …)
 * and ours. Left out are those that would re-send a write or let a request
 * wait. Where Redis is has to be said, by `url`, `host`, `path`, `sentinels` or
 * `cluster`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionOptions extends
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
  /**
   * How long to wait for an answer, and for a connection; 2 seconds by
   * default. A connection that did not answer in time is replaced, and what
   * waits on it fails within another tenth of a second. While one that was lost
   * is made anew, an operation waits for it first, half as long at most.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/** Fails when an option makes no sense, when it is not said where Redis is, and when it refuses the database. */
export const openConnection: (
  options: ConnectionOptions,
  module: string
) => Effect.Effect<Connected, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ clusterOptions = {}, timeout = "2 seconds", url, ...given }: ConnectionOptions, module: string) {
    const millis = yield* boundOf(timeout)
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
    const driver = yield* loadDriver("ioredis", module, () => import("ioredis").catch(rethrow))
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
    if (connection.client.status !== "ready") {
      yield* Effect.logWarning(
        `Redis does not answer at ${placeOf(cluster, options)}. Requests that need the session get 503 until it does.`
      )
    }
    const within = yield* enter(connection.client, millis)
    return { client: connection.client, millis, within, connection }
  }
)

/** Where Redis was looked for, without credentials. */
const placeOf = (
  cluster: ConnectionOptions["cluster"],
  { host, path, port = 6379, sentinels = [] }: RedisOptions
): string => {
  const nodes = (cluster ?? []).map((node) => typeof node === "object" ? `${node.host}:${node.port}` : "a node")
  const named = [...nodes, ...sentinels.map((sentinel) => `${sentinel.host}:${sentinel.port ?? 26379}`)]
  return named.length > 0 ? named.join(", ") : path ?? `${host}:${port}`
}

/** Fails for a client that might wait for ever, send twice or read from a replica. */
export const takeClient: (client: Client) => Effect.Effect<Connected, SessionConfigError, Scope.Scope> = Effect
  .fnUntraced(function*(client: Client) {
    const refused = refusal(client)
    if (refused) return yield* refused
    const millis = commandTimeout(client)
    if (isCluster(client) && isAway(client)) yield* Effect.ignore(bounded(millis, () => untilReady(client)))
    const within = yield* enter(client, millis)
    return { client, millis, within, connection: undefined }
  })

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
const located = (url: ConnectionOptions["url"], given: Located): Effect.Effect<Located, SessionConfigError> => {
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

type Located = Omit<ConnectionOptions, "url" | "clusterOptions" | "timeout">

/** A URL's place is the only one. */
const nowhere: object = { host: undefined, path: undefined, sentinels: undefined, cluster: undefined }

const untilReady = (client: Client) =>
  new Promise<void>((resolve) => {
    client.once("ready", resolve)
    client.once("end", resolve)
  })
