/**
 * Flask-Session's items in DynamoDB: `id`, `val` and `expiration`. Flask makes
 * the table.
 *
 * A write compares the bytes that were read, so that it neither overwrites nor
 * revives what Flask has written or deleted meanwhile. Reads are strongly
 * consistent. Flask-Session 0.8 serves items that have expired, and enables no
 * time to live; this store does not serve them. Enable the time to live on
 * `expiration` yourself.
 *
 * Flask-Session 0.8 computes `expiration` by the zone of its host: on a host
 * that is not in UTC it is off by the zone's hours. This store takes it as it
 * is, and writes the true time. Run Flask with `TZ=UTC`.
 *
 * @since 0.1.0
 */
import type { AttributeValue, DynamoDBClient } from "@aws-sdk/client-dynamodb"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { bounded, boundOf } from "../internal/bounded.js"
import {
  checkReply,
  checkTable,
  type ClientOptions,
  type Driver,
  isWrongTable,
  loadSdk,
  maxBytes,
  number,
  openClient,
  reasonOf,
  tolerate
} from "../internal/dynamodb/open.js"
import { bytesOf, forever, versionOf } from "../internal/flask/bytes.js"
import { SessionConfigError } from "../SessionConfigError.js"
import { type Entry, SessionScan, SessionStore, SessionStoreError, type Stored, type Version } from "../SessionStore.js"

/**
 * Which table holds the sessions, and how long to wait for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /** `SESSION_KEY_PREFIX`, before each id; `"session:"` by default. */
  readonly prefix?: string | undefined
  /** `SESSION_DYNAMODB_TABLE`; `"Sessions"` by default. */
  readonly table?: string | undefined
  /**
   * The longest a request may take, in real time; 2 seconds by default. Then it
   * fails with `Timeout`. A `load` that lost its connection is sent a second time.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The client's options are those of `effect-session/layers/DynamoDb`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions, ClientOptions {}

/**
 * Makes the store, with a client that ends with the scope. DynamoDB need not be
 * reachable: requests fail as `Unavailable` until it is. Fails with
 * `SessionConfigError` when there is no region, when an option makes no sense,
 * and when the table is missing or not Flask-Session's.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<Context.Context<SessionStore | SessionScan>, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ prefix, table, timeout, ...options }: Options = {}) {
    const driver = yield* loadSdk("effect-session/flask/DynamoDb")
    return yield* open(driver, yield* openClient(driver, options), { prefix, table, timeout })
  }
)

/**
 * Flask's sessions in DynamoDB, with a client of its own.
 *
 * ```ts
 * import * as FlaskDynamoDb from "effect-session/flask/DynamoDb"
 *
 * const Store = FlaskDynamoDb.layer({ region: "eu-central-1" })
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
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionScan, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scopedContext(Effect.flatMap(Config.unwrap(options), make))

/**
 * Flask's sessions over a client of yours, that you destroy. Give it
 * `maxAttempts: 1`, so that no write is sent twice.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  { client, ...options }: TableOptions & { readonly client: DynamoDBClient }
): Layer.Layer<SessionStore | SessionScan, SessionConfigError> =>
  Layer.effectContext(
    Effect.flatMap(loadSdk("effect-session/flask/DynamoDb"), (driver) => open(driver, client, options))
  )

const open = Effect.fnUntraced(function*(driver: Driver, client: DynamoDBClient, options: TableOptions) {
  const { prefix = "session:", table = "Sessions" } = options
  const timeout = yield* boundOf(options.timeout ?? "2 seconds")
  yield* checkTable(table)
  const services = contextOf(driver, client, { prefix, table, timeout })
  const store = Context.get(services, SessionStore)
  // Opens a connection, too, before the first request needs one.
  yield* Effect.catchIf(store.load("-"), ({ cause }) => isWrongTable(cause), ({ cause }) =>
    new SessionConfigError({
      option: "table",
      message: `There is no table ${table} with a partition key "id" (a string) alone. Flask makes it when it starts.`,
      cause
    })).pipe(Effect.catchTag("SessionStoreError", () => Effect.void))
  return services
})

type Operation = Exclude<SessionStoreError["operation"], "sweep">

type Values = Record<string, AttributeValue>

interface Settings {
  readonly prefix: string
  readonly table: string
  readonly timeout: number
}

const isLive = "(attribute_not_exists(expiration) OR expiration > :now)"
const isCurrent = `val = :old AND ${isLive}`

const contextOf = (
  driver: Driver,
  client: DynamoDBClient,
  { prefix, table, timeout }: Settings
): Context.Context<SessionStore | SessionScan> => {
  const attempt = <A>(operation: Operation, send: (signal: AbortSignal, now: number) => Promise<A>) =>
    Effect.clockWith((clock) =>
      Effect.mapError(
        bounded(timeout, (signal) => send(signal, clock.unsafeCurrentTimeMillis())),
        (cause) => new SessionStoreError({ reason: reasonOf(cause), operation, cause })
      )
    )

  /** Whether the condition held. A failed one need not come with the item. */
  const held = (operation: Operation, send: (signal: AbortSignal, now: number) => Promise<unknown>) =>
    attempt(operation, (signal, now) =>
      send(signal, now).then((reply) => Boolean(checkReply(reply)), (error) => {
        tolerate("ConditionalCheckFailedException")(error)
        return false
      }))

  const keyOf = (key: string) => ({ id: { S: prefix + key } })

  const update = (
    operation: Operation,
    key: string,
    change: { readonly set: string; readonly values: Values; readonly condition: string }
  ) =>
    held(operation, (abortSignal, now) =>
      client.send(
        new driver.UpdateItemCommand({
          TableName: table,
          Key: keyOf(key),
          UpdateExpression: `SET ${change.set}`,
          ConditionExpression: change.condition,
          ExpressionAttributeValues: { ...change.values, ":now": seconds(now) }
        }),
        { abortSignal }
      ))

  const write = (
    operation: "insert" | "replace",
    key: string,
    data: Uint8Array,
    expiresAt: number,
    condition: string,
    values: Values = {}
  ): Effect.Effect<Option.Option<Version>, SessionStoreError> =>
    data.length > maxBytes
      ? new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })
      : Effect.map(
        update(operation, key, {
          set: "val = :value, expiration = :exp",
          values: { ...values, ":value": { B: data }, ":exp": seconds(expiresAt) },
          condition
        }),
        (done) => done ? Option.some(versionOf(data)) : Option.none()
      )

  const store = SessionStore.of({
    load: (key) =>
      attempt("load", async (abortSignal, now) => {
        const command = new driver.GetItemCommand({ TableName: table, Key: keyOf(key), ConsistentRead: true })
        return { item: checkReply(await client.send(command, { abortSignal })).Item, now }
      }).pipe(
        Effect.retry({ times: 1, while: ({ reason }) => reason === "Unavailable" }),
        Effect.flatMap(({ item, now }) => {
          const stored = item === undefined ? undefined : storedOf(item)
          if (stored === undefined) {
            return item === undefined
              ? Effect.succeedNone
              : new SessionStoreError({ reason: "Corrupt", operation: "load" })
          }
          return stored.expiresAt > now ? Effect.succeedSome(stored) : Effect.succeedNone
        })
      ),

    insert: (key, data, expiresAt) =>
      write("insert", key, data, expiresAt, "attribute_not_exists(id) OR expiration <= :now"),

    replace: (key, expected, data, expiresAt) =>
      write("replace", key, data, expiresAt, isCurrent, { ":old": { B: bytesOf(expected) } }),

    touch: (key, { version }, expiresAt) =>
      update("touch", key, {
        set: "expiration = :exp",
        values: { ":old": { B: bytesOf(version) }, ":exp": seconds(expiresAt) },
        condition: isCurrent
      }),

    remove: (key, expected) =>
      held("remove", (abortSignal, now) =>
        client.send(
          new driver.DeleteItemCommand({
            TableName: table,
            Key: keyOf(key),
            ConditionExpression: `attribute_exists(id) AND ${expected === undefined ? isLive : isCurrent}`,
            ExpressionAttributeValues: {
              ...(expected === undefined ? {} : { ":old": { B: bytesOf(expected) } }),
              ":now": seconds(now)
            }
          }),
          { abortSignal }
        ))
  })

  const page = (from: Values | undefined) =>
    attempt("scan", async (abortSignal, now) => {
      const command = new driver.ScanCommand({
        TableName: table,
        ConsistentRead: true,
        Limit: pageSize,
        FilterExpression: isLive,
        ExpressionAttributeValues: { ":now": seconds(now) },
        ExclusiveStartKey: from
      })
      return checkReply(await client.send(command, { abortSignal }))
    })

  const scan = SessionScan.of({
    entries: Stream.paginateChunkEffect<Values | undefined, Entry, SessionStoreError, never>(
      undefined,
      (from) =>
        Effect.map(page(from), ({ Items = [], LastEvaluatedKey }) => [
          Chunk.fromIterable(Items.flatMap((item) => entryOf(prefix, item))),
          Option.fromNullable(LastEvaluatedKey)
        ])
    )
  })

  return Context.make(SessionStore, store).pipe(Context.add(SessionScan, scan))
}

/** So many items a request, or 1 MiB. */
const pageSize = 250

/** Seconds since the epoch with their milliseconds, which Flask-Session writes, too. */
const seconds = (millis: number) => number(Math.ceil(millis) / 1000)

const storedOf = (item: Values): Stored | undefined => {
  const data = item.val?.B
  const expiration = item.expiration?.N
  const expiresAt = expiration === undefined ? forever : Math.floor(Number(expiration) * 1000)
  return data === undefined || Number.isNaN(expiresAt)
    ? undefined
    : { data, version: versionOf(data), expiresAt }
}

/** An item that is none of Flask's is passed over. */
const entryOf = (prefix: string, item: Values): ReadonlyArray<Entry> => {
  const key = item.id?.S
  const stored = storedOf(item)
  return key?.startsWith(prefix) && stored !== undefined
    ? [{ key: key.slice(prefix.length), data: stored.data, expiresAt: stored.expiresAt }]
    : []
}
