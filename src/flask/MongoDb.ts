/**
 * Flask-Session's documents in MongoDB: `id`, `val` and `expiration`. Flask
 * makes the TTL index.
 *
 * A write compares the bytes that were read, so that it neither overwrites nor
 * revives what Flask has written or deleted meanwhile. Flask serves documents
 * that have expired until the server removes them; this store does not.
 *
 * Flask-Session makes no index on `id`, so that each request reads the whole
 * collection. Create one: `db.sessions.createIndex({ id: 1 }, { unique: true })`.
 *
 * @since 0.1.0
 */

import * as Chunk from "effect/Chunk"
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
import type { Collection, MongoClient, ObjectId } from "mongodb"
import { bounded, boundOf } from "../internal/bounded.js"
import { asBuffer, bytesOf, forever, versionOf } from "../internal/flask/bytes.js"
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
import type { SessionConfigError } from "../SessionConfigError.js"
import { type Entry, SessionScan, SessionStore, SessionStoreError, type Stored, type Version } from "../SessionStore.js"

/**
 * Which collection holds the sessions, and how long to wait for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface CollectionOptions {
  /** `SESSION_KEY_PREFIX`, before each id; `"session:"` by default. */
  readonly prefix?: string | undefined
  /** `SESSION_MONGODB_DB`; by default the one that the URL names, or else `"flask_session"`. */
  readonly database?: string | undefined
  /** `SESSION_MONGODB_COLLECT`; `"sessions"` by default. */
  readonly collection?: string | undefined
  /** The longest an operation may take, in real time; 2 seconds by default. Then it fails with `Timeout`. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The client's options are those of `effect-session/layers/MongoDb`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends CollectionOptions, ClientOptions {}

/**
 * Makes the store, with a client that ends with the scope. MongoDB need not be
 * up: requests fail as `Unavailable` until it is. Fails with
 * `SessionConfigError` when an option makes no sense.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<Context.Context<SessionStore | SessionScan>, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ collection, database, prefix, timeout, ...options }: Options) {
    const millis = yield* boundOf(timeout ?? "2 seconds")
    const client = yield* openClient(options, millis, "effect-session/flask/MongoDb")
    return yield* open(client, { collection, database: database ?? databaseIn(options.url), prefix, timeout })
  }
)

/**
 * Flask's sessions in MongoDB, with a client of its own.
 *
 * ```ts
 * import * as FlaskMongoDb from "effect-session/flask/MongoDb"
 *
 * const Store = FlaskMongoDb.layer({ url: "mongodb://localhost/flask_session" })
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
 * that `layerClient` of `effect-session/layers/MongoDb` shows. The database is
 * `"flask_session"` by default.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  { client, ...options }: CollectionOptions & { readonly client: MongoClient }
): Layer.Layer<SessionStore | SessionScan, SessionConfigError> => Layer.scopedContext(open(client, options))

const databaseIn = (url: Options["url"]): string | undefined =>
  /^[^:]+:\/\/[^/?]+\/([^?]+)/.exec(Redacted.isRedacted(url) ? Redacted.value(url) : url)?.[1]

/** As Flask-Session writes it. Very old sessions may have no deadline. */
interface Document {
  readonly _id: ObjectId
  readonly id: string
  readonly val: Uint8Array
  readonly expiration?: Date | null
}

const open = Effect.fnUntraced(function*(client: MongoClient, options: CollectionOptions) {
  const { collection: name = "sessions", database = "flask_session", prefix = "session:" } = options
  const timeout = yield* boundOf(options.timeout ?? "2 seconds")
  const collection = yield* collectionOf<Document>(client, name, database)
  return contextOf(collection, connectedTo(client), prefix, timeout)
})

type Operation = Exclude<SessionStoreError["operation"], "sweep">

/** A document may have 16 MiB, names, key and deadline included. */
const maxBytes = 16 * 1024 * 1024 - 2048

const contextOf = (
  collection: Collection<Document>,
  connected: Connected,
  prefix: string,
  timeout: number
): Context.Context<SessionStore | SessionScan> => {
  const attempt = <A>(operation: Operation, send: (now: Date) => Promise<A>): Effect.Effect<A, SessionStoreError> =>
    Effect.clockWith((clock) =>
      Effect.mapError(
        bounded(timeout, () => connected(() => send(new Date(clock.unsafeCurrentTimeMillis())))),
        (cause) => new SessionStoreError({ reason: reasonOf(cause), operation, cause })
      )
    )

  const live = (key: string, now: Date) => ({
    id: { $eq: prefix + key },
    $or: [{ expiration: { $gt: now } }, { expiration: null }]
  })

  const current = (key: string, version: Version, now: Date) => ({
    ...live(key, now),
    val: { $eq: bytesOf(version) }
  })

  const write = (
    operation: "insert" | "replace",
    data: Uint8Array,
    send: (now: Date) => Promise<boolean>
  ): Effect.Effect<Option.Option<Version>, SessionStoreError> =>
    data.length > maxBytes
      ? new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })
      : Effect.map(attempt(operation, send), (done) => done ? Option.some(versionOf(data)) : Option.none())

  /** Inserts unless there is a document, live or expired. */
  const insert = (key: string, data: Uint8Array, expiresAt: number): Promise<boolean> =>
    collection.updateOne(
      { id: { $eq: prefix + key } },
      { $setOnInsert: { val: asBuffer(data), expiration: new Date(expiresAt) } },
      { upsert: true }
    ).then(({ upsertedCount }) => isPositive(upsertedCount), (error) => {
      if (!isDuplicate(error)) throw error // of a unique index, if there is one
      return false
    })

  /**
   * Inserts unless there is a live document. Without a unique index two inserts of
   * one id may both be done: ids are random, and inserted once.
   */
  const insertLive = async (key: string, data: Uint8Array, expiresAt: number, now: Date): Promise<boolean> => {
    if (await insert(key, data, expiresAt)) return true
    await collection.deleteMany({ id: { $eq: prefix + key }, expiration: { $lte: now } })
    return await collection.findOne(live(key, now)) === null && insertLive(key, data, expiresAt, now)
  }

  const store = SessionStore.of({
    load: (key) =>
      Effect.flatMap(
        attempt("load", (now) => collection.findOne(live(key, now))),
        (found) => found === null ? Effect.succeedNone : Effect.asSome(storedOf(found))
      ),

    insert: (key, data, expiresAt) => write("insert", data, (now) => insertLive(key, data, expiresAt, now)),

    replace: (key, expected, data, expiresAt) =>
      write("replace", data, async (now) => {
        const set = { id: prefix + key, val: asBuffer(data), expiration: new Date(expiresAt) }
        const { matchedCount } = await collection.updateOne(current(key, expected, now), { $set: set })
        return isPositive(matchedCount)
      }),

    touch: (key, { version }, expiresAt) =>
      attempt("touch", async (now) => {
        const set = { expiration: new Date(expiresAt) }
        const { matchedCount } = await collection.updateOne(current(key, version, now), { $set: set })
        return isPositive(matchedCount)
      }),

    remove: (key, expected) =>
      attempt("remove", async (now) => {
        const filter = expected === undefined ? live(key, now) : current(key, expected, now)
        const { deletedCount } = await collection.deleteMany(filter)
        return isPositive(deletedCount)
      })
  })

  const page = (after: ObjectId | undefined) =>
    attempt("scan", (now) =>
      collection.find({
        ...(after === undefined ? {} : { _id: { $gt: after } }),
        $or: [{ expiration: { $gt: now } }, { expiration: null }]
      }).sort({ _id: 1 }).limit(pageSize).toArray())

  const scan = SessionScan.of({
    entries: Stream.paginateChunkEffect<ObjectId | undefined, Entry, SessionStoreError, never>(
      undefined,
      (after) =>
        Effect.map(page(after), (found) => [
          Chunk.fromIterable(found.flatMap((document) => entryOf(prefix, document))),
          found.length < pageSize ? Option.none() : Option.some(found[pageSize - 1]!._id)
        ])
    )
  })

  return Context.make(SessionStore, store).pipe(Context.add(SessionScan, scan))
}

/** So many documents a command. */
const pageSize = 100

const deadlineOf = ({ expiration }: Document): number => expiration?.getTime() ?? forever

/** Another program may have written something else there, whatever its type says. */
const isRecord = ({ expiration, val }: Document): boolean =>
  val instanceof Uint8Array && (expiration === null || expiration === undefined || expiration instanceof Date)

const storedOf = (found: Document): Effect.Effect<Stored, SessionStoreError> =>
  isRecord(found)
    ? Effect.succeed({ data: found.val, version: versionOf(found.val), expiresAt: deadlineOf(found) })
    : new SessionStoreError({ reason: "Corrupt", operation: "load" })

const entryOf = (prefix: string, found: Document): ReadonlyArray<Entry> =>
  isRecord(found) && found.id.startsWith(prefix)
    ? [{ key: found.id.slice(prefix.length), data: found.val, expiresAt: deadlineOf(found) }]
    : []
