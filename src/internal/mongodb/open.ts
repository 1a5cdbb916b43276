/**
 * Opens a client of MongoDB and a collection, and gives failures their reasons.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Collection, Document, MongoClient, MongoClientOptions, MongoServerError } from "mongodb"
import { SessionConfigError } from "../../SessionConfigError.js"
import type { SessionStoreErrorReason } from "../../SessionStore.js"
import { bounded, timeIsUp } from "../bounded.js"
import { loadDriver, rethrow } from "../driver.js"

/**
 * The driver's own options (auth, tls, maxPoolSize, …) and the URL. Left out are
 * those that would re-send a write, let a request wait, or write less safely.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions extends
  Omit<
    MongoClientOptions,
    | "connectTimeoutMS"
    | "journal"
    | "readConcern"
    | "readConcernLevel"
    | "readPreference"
    | "readPreferenceTags"
    | "retryWrites"
    | "serverSelectionTimeoutMS"
    | "socketTimeoutMS"
    | "timeoutMS"
    | "w"
    | "waitQueueTimeoutMS"
    | "writeConcern"
    | "wtimeoutMS"
  >
{
  /**
   * `mongodb://[user:password@]host[:port][,…][/database][?options]`, or
   * `mongodb+srv://…`. Where both say something, ours counts: not its
   * `retryWrites`, `w` or timeouts.
   */
  readonly url: string | Redacted.Redacted<string>
}

/** A client that ends with the scope. The server need not be up. */
export const openClient: (
  options: ClientOptions,
  millis: number,
  module: string
) => Effect.Effect<MongoClient, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ url, ...options }: ClientOptions, millis: number, module: string) {
    const driver = yield* loadDriver("mongodb", module, () => import("mongodb").catch(rethrow))
    return yield* Effect.acquireRelease(
      Effect.try({
        try: () =>
          new driver.MongoClient((Redacted.isRedacted(url) ? Redacted.value(url) : url).trim(), {
            ...options,
            ...bounds(millis)
          }),
        // Not the driver's own error: it may quote the URL.
        catch: () =>
          new SessionConfigError({
            option: "url",
            message: "Write it as mongodb://[user:password@]host[:port][,…][/database][?options], " +
              "and give no options that the driver does not know."
          })
      }),
      (client) => Effect.ignore(bounded(closing, () => client.close(true)))
    )
  }
)

/** Milliseconds. A server that is frozen must not hold up the end. */
const closing = 200

/**
 * The driver's own bounds. Waiting for a server or for the pool ends before the
 * timeout, so that the error says which it was.
 */
const bounds = (millis: number) => ({
  connectTimeoutMS: millis,
  retryWrites: false,
  serverSelectionTimeoutMS: Math.ceil(millis * 0.75),
  socketTimeoutMS: millis,
  waitQueueTimeoutMS: Math.ceil(millis * 0.75)
})

/** Fails for a name that is none. Commands read from the primary, and writes wait for a majority. */
export const collectionOf = Effect.fnUntraced(function*<A extends Document>(
  client: MongoClient,
  name: string,
  database: string | undefined
): Effect.fn.Return<Collection<A>, SessionConfigError> {
  if (database !== undefined && !/^[\w-]{1,63}$/.test(database)) {
    return yield* new SessionConfigError({
      option: "database",
      message: `Give 1 to 63 letters, digits, "_" or "-".`
    })
  }
  if (!/^(?!system\.)[A-Za-z_][\w-]*(\.[\w-]+)*$/.test(name) || name.length > 120) {
    return yield* new SessionConfigError({
      option: "collection",
      message: `Give up to 120 letters, digits, "_", "-" or ".", beginning with a letter or "_" and not with "system.".`
    })
  }
  return client.db(database).collection<A>(name, {
    fieldsAsRaw: {},
    promoteBuffers: true,
    promoteLongs: true,
    promoteValues: true,
    raw: false,
    useBigInt64: false,
    readPreference: "primary",
    writeConcern: { w: "majority" }
  })
})

export type Connected = <A>(command: () => Promise<A>) => Promise<A>

/**
 * Connects before the first command. By itself the driver would do so once:
 * when that fails, every later command does.
 */
export const connectedTo = (client: MongoClient): Connected => {
  let isConnected = false
  return async (command) => {
    if (!isConnected) {
      await client.connect()
      isConnected = true
    }
    return command()
  }
}

export const isPositive = (count: number): boolean => {
  if (!Number.isInteger(count)) throw new Error("The client did not reply with a count.")
  return count > 0
}

/** Errors are known by name, because a client that was brought may be of another copy of the driver. */
const isServerError = (error: unknown): error is MongoServerError =>
  nameOf(error) === "MongoServerError" || nameOf(error) === "MongoWriteConcernError"

/**
 * The server is not, or no longer, the one to ask: shutting down, not primary,
 * stepping down, cut off from its own peers.
 */
const elsewhere = new Set([6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])

export const reasonOf = (error: unknown): SessionStoreErrorReason => {
  if (error === timeIsUp || nameOf(error) === "MongoNetworkTimeoutError") return "Timeout"
  if (nameOf(error) === "MongoWaitQueueTimeoutError") return "Throttled"
  // Written, but perhaps not by a majority; or it never reached a server.
  if (nameOf(error) === "MongoWriteConcernError" || !isServerError(error)) return "Unavailable"
  if (error.code === 50) return "Timeout"
  if (error.code === 112) return "Throttled"
  return elsewhere.has(Number(error.code)) ? "Unavailable" : "Rejected"
}

const nameOf = (error: unknown) => error instanceof Error ? error.name : ""

export const isDuplicate = (error: unknown) => isServerError(error) && error.code === 11000
