/**
 * Sessions in a collection of MongoDB, by the driver `mongodb` 6 or 7.
 *
 * A session is one document, each operation one command on it: a read from the
 * primary, or a conditional write that a majority has. Nothing of a session is
 * a field that a query could reach: its data is one binary value. No write is
 * sent twice: one whose reply is lost fails, and whoever asked finds out.
 *
 * A TTL index on `deleteAt` removes what has long expired; nothing depends on
 * it. A sharded collection needs `_id` as its shard key.
 *
 * Held to the laws against an emulator: replica sets, elections and the TTL
 * index itself are untested here.
 *
 * @since 0.1.0
 */

import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Collection, MongoClient } from "mongodb"
import { bounded, boundOf } from "../internal/bounded.js"
import { randomToken } from "../internal/crypto.js"
import {
  type ClientOptions,
  collectionOf,
  type Connected,
  connectedTo,
  isDuplicate,
  isPositive,
  openClient,
  reasonOf
} from "../internal/mongodb/open.js"
import { sleepUnref } from "../internal/sleep.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Entry, Stored } from "../SessionStore.js"
import { SessionScan, SessionStore, SessionStoreError, Version } from "../SessionStore.js"

/**
 * Which collection holds the sessions, and how long to wait for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface CollectionOptions {
  /** Letters, digits, `_` and `-`; by default the one that the URL names, or else `"test"`. */
  readonly database?: string | undefined
  /** Letters, digits, `_`, `-` and `.`; `"sessions"` by default. */
  readonly collection?: string | undefined
  /**
   * Create the TTL index, when it is not there; true by default. While the
   * server is down this is tried again every 10 seconds in the background.
   */
  readonly createIndex?: boolean | undefined
  /**
   * The longest an operation may take, choice of a server and connection
   * included; 2 seconds by default. Then it fails with `Timeout`. Real time,
   * not the `Clock`.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The driver's own options (auth, tls, maxPoolSize, …) and ours. Left out are
 * those that would re-send a write, let a request wait, or write less safely.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends CollectionOptions, ClientOptions {}

/**
 * Makes the store, with a client that ends with the scope.
 *
 * MongoDB need not be up: requests fail as `Unavailable` until it is. Fails
 * with `SessionConfigError` when an option makes no sense, and when the server
 * refuses to create the index.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<Context.Context<SessionStore | SessionScan>, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ collection, createIndex, database, timeout, ...options }: Options) {
    const client = yield* openClient(options, yield* boundOf(timeout ?? "2 seconds"), "effect-session/layers/MongoDb")
    return yield* open(client, { collection, createIndex, database, timeout })
  }
)

/**
 * Sessions in MongoDB, with a client of its own.
 *
 * ```ts
 * import * as SessionStoreMongoDb from "effect-session/layers/MongoDb"
 *
 * const Store = SessionStoreMongoDb.layer({ url: "mongodb://localhost/app", collection: "sessions" })
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
 * ```ts
 * import * as SessionStoreMongoDb from "effect-session/layers/MongoDb"
 * import { Config } from "effect"
 *
 * const Store = SessionStoreMongoDb.layerConfig({ url: Config.redacted("MONGODB_URL") })
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
 * Sessions over a client of yours, that you close. Its options decide whether
 * a write may be sent twice, and how long it goes on after `timeout`. These are
 * what `layer` uses:
 *
 * ```ts
 * import * as SessionStoreMongoDb from "effect-session/layers/MongoDb"
 * import { MongoClient } from "mongodb"
 *
 * const client = new MongoClient("mongodb://localhost", {
 *   retryWrites: false,
 *   connectTimeoutMS: 2000,
 *   serverSelectionTimeoutMS: 1500,
 *   socketTimeoutMS: 2000,
 *   waitQueueTimeoutMS: 1500
 * })
 *
 * const Store = SessionStoreMongoDb.layerClient({ client, database: "app" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  { client, ...options }: CollectionOptions & { readonly client: MongoClient }
): Layer.Layer<SessionStore | SessionScan, SessionConfigError> => Layer.scopedContext(open(client, options))

/** Milliseconds for what no request waits for. */
const patience = 30_000

/** `expiresAt`, in milliseconds, counts. `deleteAt` is the server's broom. */
interface Session {
  readonly _id: string
  readonly data: Uint8Array
  readonly version: string
  readonly expiresAt: number
  readonly deleteAt: Date
}

const open = Effect.fnUntraced(function*(client: MongoClient, options: CollectionOptions) {
  const { collection: name = "sessions", createIndex = true, database } = options
  const timeout = yield* boundOf(options.timeout ?? "2 seconds")
  const collection = yield* collectionOf<Session>(client, name, database)
  const connected = connectedTo(client)
  if (createIndex) yield* prepareIndex(collection, connected)
  return storeOf(collection, connected, timeout)
})

/** Tries once before the first request; if the server is down, in the background until it is up. */
const prepareIndex = (collection: Collection<Session>, connected: Connected) => {
  const create = bounded(
    patience,
    () => connected(() => collection.createIndex({ deleteAt: 1 }, { expireAfterSeconds: 0 }))
  )
  return Effect.catchAll(create, (cause) => {
    if (reasonOf(cause) !== "Rejected") {
      const retry = Effect.zipRight(sleepUnref(10_000), create).pipe(
        Effect.retry({ while: (cause) => reasonOf(cause) !== "Rejected", schedule: Schedule.forever }),
        Effect.catchAll(() => Effect.logWarning("MongoDB refused to create the TTL index of the sessions")),
        // A Layer may be built in an uninterruptible region; its scope has to close all the same.
        Effect.interruptible,
        Effect.forkScoped
      )
      return Effect.zipRight(
        Effect.logWarning("MongoDB does not answer. Requests that need the session get 503 until it does."),
        retry
      )
    }
    return new SessionConfigError({
      option: "createIndex",
      message: "The server refused to create the TTL index. Have it created by " +
        `db.${collection.collectionName}.createIndex({ deleteAt: 1 }, { expireAfterSeconds: 0 }), ` +
        "and set createIndex to false.",
      cause
    })
  })
}

/**
 * The largest data in bytes: a document may have 16 MiB, names, key and version
 * included.
 */
const maxBytes = 16 * 1024 * 1024 - 2048

type Operation = Exclude<SessionStoreError["operation"], "sweep">

const storeOf = (
  collection: Collection<Session>,
  connected: Connected,
  timeout: number
): Context.Context<SessionStore | SessionScan> => {
  /** Sends a command for the present time. */
  const attempt = <A>(operation: Operation, send: (now: number) => Promise<A>) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.mapError(
        bounded(timeout, () => connected(() => send(now))),
        (cause) => new SessionStoreError({ reason: reasonOf(cause), operation, cause })
      ))

  const put = (
    operation: "insert" | "replace",
    data: Uint8Array,
    expiresAt: number,
    send: (session: Omit<Session, "_id">, now: number) => Promise<boolean>
  ): Effect.Effect<Option.Option<Version>, SessionStoreError> => {
    if (data.length > maxBytes) {
      return new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })
    }
    return Effect.suspend(() => {
      const version = Version(randomToken())
      return Effect.map(
        attempt(operation, (now) => send({ data, version, ...deadline(expiresAt, now) }, now)),
        (done) => done ? Option.some(version) : Option.none()
      )
    })
  }

  const store = SessionStore.of({
    load: (key) =>
      Effect.flatMap(
        attempt("load", (now) => collection.findOne(live(key, now)).then(documentOf)),
        (found) => found === null ? Effect.succeedNone : Effect.asSome(parse(found))
      ),

    // Takes the place of an expired one; beside a live one its key is a duplicate.
    insert: (key, data, expiresAt) =>
      put(
        "insert",
        data,
        expiresAt,
        (session, now) =>
          collection.replaceOne({ _id: { $eq: key }, expiresAt: { $lte: now } }, session, { upsert: true }).then(
            ({ matchedCount, upsertedCount }) => isPositive(matchedCount + upsertedCount),
            (error) => {
              if (!isDuplicate(error)) throw error
              return false
            }
          )
      ),

    replace: (key, expected, data, expiresAt) =>
      put("replace", data, expiresAt, async (session, now) => {
        const { matchedCount } = await collection.replaceOne(current(key, expected, now), session)
        return isPositive(matchedCount)
      }),

    touch: (key, { version }, expiresAt) =>
      attempt("touch", async (now) => {
        const { matchedCount } = await collection.updateOne(current(key, version, now), {
          $set: deadline(expiresAt, now)
        })
        return isPositive(matchedCount)
      }),

    remove: (key, expected) =>
      attempt("remove", async (now) => {
        const { deletedCount } = await collection.deleteOne(
          expected === undefined ? live(key, now) : current(key, expected, now)
        )
        return isPositive(deletedCount)
      })
  })

  // By ranges of keys and not by a cursor, which an election or ten minutes' rest would end.
  const page = (from: { readonly $gte: "" } | { readonly $gt: string }) =>
    attempt(
      "scan",
      (now) => collection.find({ _id: from, expiresAt: { $gt: now } }).sort({ _id: 1 }).limit(pageSize).toArray()
    )

  const scan = SessionScan.of({
    entries: Stream.paginateChunkEffect<Parameters<typeof page>[0], Entry, SessionStoreError, never>(
      { $gte: "" },
      (from) =>
        Effect.map(page(from), (found) => [
          Chunk.fromIterable(found.filter(isOurs).map(({ _id, data, expiresAt }) => ({ key: _id, data, expiresAt }))),
          found.length < pageSize ? Option.none() : Option.some({ $gt: found[pageSize - 1]!._id })
        ])
    )
  })

  return Context.make(SessionStore, store).pipe(Context.add(SessionScan, scan))
}

/** So many documents a command. */
const pageSize = 100

/** By `$eq`, so that even what is no string is a value and never an operator. */
const live = (key: string, now: number) => ({ _id: { $eq: key }, expiresAt: { $gt: now } })

const current = (key: string, version: Version, now: number) => ({ ...live(key, now), version: { $eq: version } })

/** The broom goes by the server's clock, and a minute late. */
const deadline = (expiresAt: number, now: number) => ({
  expiresAt,
  deleteAt: new Date(Math.ceil(Date.now() + expiresAt - now) + 60_000)
})

/** A client that was brought may change its replies. Such a reply says nothing about the session. */
const documentOf = (found: Session | null): Session | null => {
  const isDocument = found === null ||
    typeof found === "object" && "_id" in found && typeof found.expiresAt === "number"
  if (!isDocument) throw new Error("The client did not reply with a document.")
  return found
}

/** Whatever its type says, others may have written it. */
const isOurs = ({ data, version }: Session): boolean => data instanceof Uint8Array && typeof version === "string"

const parse = (session: Session): Effect.Effect<Stored, SessionStoreError> =>
  isOurs(session)
    ? Effect.succeed({ data: session.data, version: Version(session.version), expiresAt: session.expiresAt })
    : new SessionStoreError({ reason: "Corrupt", operation: "load" })
