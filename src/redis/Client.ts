/**
 * The clients of ioredis: those that we connect, and those that are brought
 * along.
 *
 * @internal
 */
import type * as Ioredis from "ioredis"
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from "ioredis"
import { SessionConfigError } from "../SessionConfigError.js"

/** As much of the module `ioredis` as is used. */
type Driver = Pick<typeof Ioredis, "Redis" | "Cluster">

type Argument = string | Buffer

/** A connection to one server. */
export interface Node {
  readonly status: string
  readonly options: object
  readonly scan: (
    cursor: string,
    match: "MATCH",
    pattern: string,
    count: "COUNT",
    size: number
  ) => Promise<[cursor: string, keys: Array<string>]>
  readonly info: (section: string) => Promise<string>
  readonly pipeline: (commands: Array<Array<unknown>>) => {
    readonly exec: () => Promise<Array<[error: Error | null, result: unknown]> | null>
  }
}

/**
 * What the store asks of a client: `Redis` and `Cluster` of ioredis 5 and 6
 * have it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client extends Node {
  readonly hgetallBuffer: (key: string) => Promise<Record<string, Buffer>>
  readonly evalsha: (sha: string, keys: number, ...args: Array<Argument>) => Promise<unknown>
  readonly eval: (script: string, keys: number, ...args: Array<Argument>) => Promise<unknown>
  readonly select: (database: number) => Promise<unknown>
  readonly on: (event: "close", listener: () => void) => unknown
  readonly once: (event: "ready" | "end", listener: () => void) => unknown
  readonly off: (event: "ready" | "end" | "close", listener: () => void) => unknown
}

/** What a `Cluster` has besides. */
export interface ClusterClient extends Client {
  readonly isCluster: true
  readonly nodes: (role: "all" | "master") => Array<Node>
  readonly cluster: (command: "SLOTS") => Promise<unknown>
  readonly refreshSlotsCache: () => void
}

export const isCluster = (client: Client): client is ClusterClient => "isCluster" in client && client.isCluster === true

/** What only a connection of our own can do. */
export interface Connection {
  readonly client: Client
  /** Settles when it is there, or was tried once. */
  readonly connect: () => Promise<unknown>
  /** Why it is down, if it is. */
  readonly failure: () => Error | undefined
  /** Replaces a connection that does not answer. */
  readonly reconnect: () => void
  /**
   * Whether a connection that was lost is there again, for what has not been
   * sent yet. The first attempt is waited for, at most these milliseconds;
   * when it has failed, nobody waits.
   */
  readonly isBack: (millis: number) => Promise<boolean>
  readonly close: () => Promise<unknown>
}

/** No command waits longer than this, or is sent a second time. */
const bounds = (millis: number) => ({
  autoResendUnfulfilledCommands: false,
  commandTimeout: millis,
  connectTimeout: millis,
  disconnectTimeout: 100,
  enableOfflineQueue: false,
  keyPrefix: "",
  lazyConnect: true,
  maxRetriesPerRequest: 0
})

const retry = (attempt: number) => Math.min(attempt * 50, 500)

/** One server, or the master that sentinels know. */
export const connectRedis = (driver: Driver, options: RedisOptions, millis: number): Connection => {
  const waiting = new Set<(isBack: boolean) => void>()
  const settle = (isBack: boolean) => waiting.forEach((resume) => resume(isBack))
  let isHopeful = false
  const redis = new driver.Redis({
    enableAutoPipelining: true,
    keepAlive: 30_000,
    // After a failover the old primary answers READONLY for as long as one stays connected.
    reconnectOnError: (error) => error.message.includes("READONLY"),
    ...options,
    ...bounds(millis),
    // For the greeting. An operation's time is counted elsewhere: this takes for late what was not read yet.
    commandTimeout: 2 * millis,
    retryStrategy: (attempt) => {
      if (attempt > 1) {
        isHopeful = false
        settle(false)
      }
      return options.retryStrategy ? options.retryStrategy(attempt) : retry(attempt)
    },
    // A sentinel that is frozen would be waited for without end.
    sentinelCommandTimeout: millis
  })
  let isLeaving = false
  const reconnect = () => {
    // In any other state it is reconnecting already, and by sentinels that would be its end.
    if (redis.status !== "ready" || isLeaving) return
    isLeaving = true
    redis.disconnect(true)
  }
  redis.on("ready", () => {
    isLeaving = false
    isHopeful = true
    settle(true)
  })
  redis.on("end", () => settle(false))
  const isBack = (millis: number) =>
    new Promise<boolean>((resolve) => {
      if (!isHopeful) return resolve(false)
      const timer = setTimeout(() => resume(false), millis)
      const resume = (isBack: boolean) => {
        clearTimeout(timer)
        waiting.delete(resume)
        resolve(isBack)
      }
      waiting.add(resume)
    })
  return { ...watched(redis), reconnect, isBack }
}

/** Options of a cluster that would re-send a write, read what is old, or let a request wait. */
export type ClusterSettings = Omit<
  ClusterOptions,
  | "clusterNodeRetryStrategy"
  | "enableOfflineQueue"
  | "keyPrefix"
  | "lazyConnect"
  | "redisOptions"
  | "retryDelayOnClusterDown"
  | "retryDelayOnFailover"
  | "scaleReads"
>

export const connectCluster = (
  driver: Driver,
  nodes: ReadonlyArray<ClusterNode>,
  options: RedisOptions,
  settings: ClusterSettings,
  millis: number
): Connection => {
  const cluster = new driver.Cluster([...nodes], {
    clusterRetryStrategy: retry,
    slotsRefreshTimeout: millis,
    // By address, hardly a certificate would be right.
    ...(options.tls ? { dnsLookup: (host, callback) => callback(null, host) } : {}),
    ...settings,
    lazyConnect: true,
    retryDelayOnClusterDown: 0,
    retryDelayOnFailover: 0,
    scaleReads: "master",
    // Without auto-pipelining: there a MOVED among other replies would be an error.
    redisOptions: { keepAlive: 30_000, ...options, ...bounds(millis), socketTimeout: millis }
  })
  return { ...watched(cluster), reconnect: () => cluster.refreshSlotsCache(), isBack: () => Promise.resolve(false) }
}

const watched = (client: Redis | Cluster): Omit<Connection, "reconnect" | "isBack"> => {
  let failure: Error | undefined
  const failed = (error: Error & { readonly lastNodeError?: Error }) => {
    failure = error.lastNodeError ?? error
  }
  client.on("error", failed)
  client.on("node error", failed)
  client.on("ready", () => {
    failure = undefined
  })
  return {
    client,
    connect: () => client.connect().catch(() => {}),
    failure: () => failure,
    close: () => client.quit().catch(() => {}).finally(() => client.disconnect())
  }
}

/** What is wrong with a client that was brought along, if anything is. */
export const refusal = (client: unknown): SessionConfigError | undefined => {
  if (!isClient(client)) return refuse("client", "This is not a Redis or a Cluster of ioredis.")
  if (client.status === "end") return refuse("client", "This client is closed.")
  const options: ClusterOptions & RedisOptions = client.options
  if (options.keyPrefix || options.redisOptions?.keyPrefix) return refuse("keyPrefix", "Use the Layer's own `prefix`.")
  if (!isCluster(client)) return refusalOfNode(options, "")
  if (options.redisOptions?.db) return refuse("redisOptions.db", "A cluster has no database but 0.")
  if (options.scaleReads !== "master") return refuse("scaleReads", "Replicas show sessions that were logged out.")
  if (options.retryDelayOnFailover !== 0) return refuse("retryDelayOnFailover", "Make it 0: others send a write twice.")
  // Unless this is given, a node's connection is not made anew, and so sends nothing again.
  const resends = typeof options.clusterNodeRetryStrategy === "function"
  return refusalOfNode({ ...options.redisOptions, ...(resends ? {} : { maxRetriesPerRequest: 0 }) }, "redisOptions.")
}

const refusalOfNode = (options: RedisOptions, at: string) => {
  if (!(Number(options.commandTimeout) > 0)) {
    return refuse(`${at}commandTimeout`, "Give it in milliseconds: without, a request may wait for ever.")
  }
  if (options.maxRetriesPerRequest !== 0) {
    return refuse(`${at}maxRetriesPerRequest`, "Make it 0: others send a write twice.")
  }
  if (options.readOnly) return refuse(`${at}readOnly`, "A replica takes no writes.")
  return options.role === "slave" ? refuse(`${at}role`, "A replica takes no writes.") : undefined
}

const refuse = (option: string, message: string) => new SessionConfigError({ option, message })

const isClient = (client: unknown): client is Client =>
  typeof client === "object" && client !== null && !("isPipeline" in client) &&
  ["evalsha", "eval", "hgetallBuffer", "pipeline"].every((method) =>
    method in client && typeof client[method as keyof typeof client] === "function"
  ) && "options" in client && typeof client.options === "object" && client.options !== null

/** How long a client's command may take, in milliseconds. */
export const commandTimeout = ({ options }: Client): number => {
  const given: ClusterOptions & RedisOptions = options
  return Number(given.commandTimeout ?? given.redisOptions?.commandTimeout)
}
