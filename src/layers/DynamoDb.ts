/**
 * Sessions in a table of Amazon DynamoDB, by `@aws-sdk/client-dynamodb` 3.
 *
 * A session is one item, each operation one request: a strongly consistent
 * `GetItem`, or a write under a condition. No write is sent twice: one whose
 * reply is lost fails, and whoever asked finds out.
 *
 * The table has a partition key `id` (a string) and no sort key. DynamoDB
 * removes what has long expired when the table's time to live is on `deleteAt`;
 * `createTable` sees to both.
 *
 * A *global* table with asynchronous replication lets the last writer win: a
 * logout in one region can lose to a write in another. Send all requests of a
 * user to one region.
 *
 * @since 0.1.0
 */
import type { AttributeValue, DynamoDBClient } from "@aws-sdk/client-dynamodb"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { setTimeout as pause } from "node:timers/promises"
import { bounded, boundOf, timeIsUp } from "../internal/bounded.js"
import { randomToken } from "../internal/crypto.js"
import {
  checkReply,
  checkTable,
  type ClientOptions,
  type Driver,
  isWrongTable,
  loadSdk,
  maxBytes,
  nameOf,
  number,
  openClient,
  reasonOf,
  tolerate
} from "../internal/dynamodb/open.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Entry, Stored } from "../SessionStore.js"
import { SessionScan, SessionStore, SessionStoreError, Version } from "../SessionStore.js"

/**
 * Which table holds the sessions, and how long to wait for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /** 3 to 255 letters, digits, `_`, `-` or `.`; `"sessions"` by default. */
  readonly table?: string | undefined
  /**
   * Create the table, billed by request, when it is not there, and set its time
   * to live; false by default. Takes up to a minute, the first time.
   */
  readonly createTable?: boolean | undefined
  /**
   * The longest a request may take, credentials and connection included; 2
   * seconds by default. Then it fails with `Timeout`. A `load` that lost its
   * connection is sent a second time, with as long again. Real time, not the
   * `Clock`.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The client's own options (region, endpoint, credentials, …) and ours. Left
 * out are those that would send a write again.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions, ClientOptions {}

/**
 * Makes the store, with a client that ends with the scope.
 *
 * DynamoDB need not be reachable, unless the table is to be created: requests
 * fail as `Unavailable` until it is. Fails with `SessionConfigError` when there
 * is no region, when an option makes no sense, and when the table is missing,
 * is not one for sessions or cannot be created.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<Context.Context<SessionStore | SessionScan>, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ createTable, table, timeout, ...options }: Options = {}) {
    const driver = yield* loadSdk("effect-session/layers/DynamoDb")
    const client = yield* openClient(driver, options)
    return yield* open(driver, client, { createTable, table, timeout })
  }
)

/**
 * Sessions in DynamoDB, with a client of its own.
 *
 * ```ts
 * import * as SessionStoreDynamoDb from "effect-session/layers/DynamoDb"
 *
 * const Store = SessionStoreDynamoDb.layer({ region: "eu-central-1", table: "sessions" })
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
 * import * as SessionStoreDynamoDb from "effect-session/layers/DynamoDb"
 * import { Config } from "effect"
 *
 * const Store = SessionStoreDynamoDb.layerConfig({
 *   region: Config.string("AWS_REGION"),
 *   table: Config.string("SESSION_TABLE")
 * })
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
 * Sessions over a client of yours, that you destroy. Its options decide
 * whether a write may be sent twice: give it `maxAttempts: 1`.
 *
 * ```ts
 * import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
 * import * as SessionStoreDynamoDb from "effect-session/layers/DynamoDb"
 *
 * const client = new DynamoDBClient({ region: "eu-central-1", maxAttempts: 1 })
 *
 * const Store = SessionStoreDynamoDb.layerClient({ client, table: "sessions" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  { client, ...options }: TableOptions & { readonly client: DynamoDBClient }
): Layer.Layer<SessionStore | SessionScan, SessionConfigError> =>
  Layer.effectContext(
    Effect.flatMap(loadSdk("effect-session/layers/DynamoDb"), (driver) => open(driver, client, options))
  )

const open = Effect.fnUntraced(function*(driver: Driver, client: DynamoDBClient, options: TableOptions) {
  const { createTable = false, table = "sessions" } = options
  const timeout = yield* boundOf(options.timeout ?? "2 seconds")
  yield* checkTable(table)
  if (createTable) yield* create(driver, client, table, timeout)
  const services = storeOf(driver, client, table, timeout)
  const store = Context.get(services, SessionStore)
  // Opens a connection, too, before the first request needs one.
  yield* Effect.catchIf(store.load("-"), ({ cause }) => isWrongTable(cause), ({ cause }) =>
    new SessionConfigError({
      option: "table",
      message: `There is no table ${table} with a partition key "id" (a string) alone: see "createTable".`,
      cause
    })).pipe(Effect.catchTag("SessionStoreError", () => Effect.void))
  return services
})

/** Tables of others are left as they are, other than that their time to live is set. */
const create = (driver: Driver, client: DynamoDBClient, table: string, timeout: number) => {
  const ask = <A>(send: (options: { readonly abortSignal: AbortSignal }) => Promise<A>) =>
    bounded(timeout, (abortSignal) => send({ abortSignal }))
  return Effect.gen(function*() {
    const create = new driver.CreateTableCommand({
      TableName: table,
      AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
      KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
      BillingMode: "PAY_PER_REQUEST"
    })
    yield* ask((options) => client.send(create, options).catch(tolerate("ResourceInUseException")))

    const describe = new driver.DescribeTableCommand({ TableName: table })
    const described = ask((options) => client.send(describe, options).catch(tolerate("ResourceNotFoundException")))
    for (let seconds = 0; (yield* described)?.Table?.TableStatus !== "ACTIVE"; seconds++) {
      if (seconds === 60) return yield* Effect.fail(timeIsUp)
      yield* Effect.promise(() => pause(1000))
    }

    const expire = new driver.UpdateTimeToLiveCommand({
      TableName: table,
      TimeToLiveSpecification: { AttributeName: "deleteAt", Enabled: true }
    })
    // It is set already; an emulator has none.
    const settled = tolerate("ValidationException", "UnknownOperationException")
    yield* ask((options) => client.send(expire, options).catch(settled))
  }).pipe(
    Effect.mapError((cause) =>
      new SessionConfigError({
        option: "createTable",
        message: `The table ${table} could not be created, or its time to live not be set (${nameOf(cause)}).`,
        cause
      })
    )
  )
}

type Operation = Exclude<SessionStoreError["operation"], "sweep">

type Values = Record<string, AttributeValue>

const isLive = "expiresAt > :now"
const isCurrent = `version = :expected AND ${isLive}`

const storeOf = (
  driver: Driver,
  client: DynamoDBClient,
  table: string,
  timeout: number
): Context.Context<SessionStore | SessionScan> => {
  const attempt = <A>(operation: Operation, send: (signal: AbortSignal) => Promise<A>) =>
    Effect.mapError(
      bounded(timeout, send),
      (cause) => new SessionStoreError({ reason: reasonOf(cause), operation, cause })
    )

  /** Whether the condition held. A failed one need not come with the item. */
  const held = (operation: Operation, send: (signal: AbortSignal) => Promise<unknown>) =>
    attempt(operation, (signal) =>
      send(signal).then((reply) => Boolean(checkReply(reply)), (error) => {
        tolerate("ConditionalCheckFailedException")(error)
        return false
      }))

  const put = (
    operation: "insert" | "replace",
    key: string,
    data: Uint8Array,
    expiresAt: number,
    condition: string,
    values: Values = {}
  ): Effect.Effect<Option.Option<Version>, SessionStoreError> => {
    if (data.length > maxBytes) {
      return new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })
    }
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const version = Version(randomToken())
      const command = new driver.PutItemCommand({
        TableName: table,
        Item: { id: { S: key }, data: { B: data }, version: { S: version }, ...deadline(expiresAt, now) },
        ConditionExpression: condition,
        ExpressionAttributeValues: { ...values, ":now": number(now) }
      })
      return Effect.map(
        held(operation, (abortSignal) => client.send(command, { abortSignal })),
        (done) => done ? Option.some(version) : Option.none()
      )
    })
  }

  const store = SessionStore.of({
    load: (key) =>
      attempt(
        "load",
        async (abortSignal) => {
          const command = new driver.GetItemCommand({ TableName: table, Key: { id: { S: key } }, ConsistentRead: true })
          return checkReply(await client.send(command, { abortSignal }))
        }
      ).pipe(
        Effect.retry({ times: 1, while: ({ reason }) => reason === "Unavailable" }),
        Effect.flatMap(({ Item }) =>
          Item === undefined
            ? Effect.succeedNone
            : Effect.asSome(
              Effect.orElseFail(parse(Item), () => new SessionStoreError({ reason: "Corrupt", operation: "load" }))
            )
        ),
        Effect.zipWith(
          Clock.currentTimeMillis,
          (stored, now) => Option.filter(stored, ({ expiresAt }) => expiresAt > now)
        )
      ),

    insert: (key, data, expiresAt) =>
      put("insert", key, data, expiresAt, "attribute_not_exists(id) OR expiresAt <= :now"),

    replace: (key, expected, data, expiresAt) =>
      put("replace", key, data, expiresAt, isCurrent, { ":expected": { S: expected } }),

    touch: (key, { version }, expiresAt) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const moved = deadline(expiresAt, now)
        const command = new driver.UpdateItemCommand({
          TableName: table,
          Key: { id: { S: key } },
          UpdateExpression: "SET expiresAt = :expiresAt, deleteAt = :deleteAt",
          ConditionExpression: isCurrent,
          ExpressionAttributeValues: {
            ":expected": { S: version },
            ":now": number(now),
            ":expiresAt": moved.expiresAt,
            ":deleteAt": moved.deleteAt
          }
        })
        return held("touch", (abortSignal) => client.send(command, { abortSignal }))
      }),

    remove: (key, expected) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const command = new driver.DeleteItemCommand({
          TableName: table,
          Key: { id: { S: key } },
          ConditionExpression: expected === undefined ? isLive : isCurrent,
          ExpressionAttributeValues: {
            ...(expected === undefined ? {} : { ":expected": { S: expected } }),
            ":now": number(now)
          }
        })
        return held("remove", (abortSignal) => client.send(command, { abortSignal }))
      })
  })

  const page = (from: Values | undefined) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const command = new driver.ScanCommand({
        TableName: table,
        ConsistentRead: true,
        Limit: pageSize,
        FilterExpression: isLive,
        ExpressionAttributeValues: { ":now": number(now) },
        ExclusiveStartKey: from
      })
      return attempt("scan", async (abortSignal) => checkReply(await client.send(command, { abortSignal })))
    })

  const scan = SessionScan.of({
    entries: Stream.paginateChunkEffect<Values | undefined, Entry, SessionStoreError, never>(
      undefined,
      (from) =>
        Effect.map(page(from), ({ Items = [], LastEvaluatedKey }) => [
          Chunk.fromIterable(Items.flatMap(entryOf)),
          Option.fromNullable(LastEvaluatedKey)
        ])
    )
  })

  return Context.make(SessionStore, store).pipe(Context.add(SessionScan, scan))
}

/** So many items a request, or 1 MiB. */
const pageSize = 250

/** An item that is none of ours is passed over. */
const entryOf = (item: Values): ReadonlyArray<Entry> => {
  const key = item.id?.S
  return key === undefined
    ? []
    : Option.toArray(Option.map(parse(item), ({ data, expiresAt }) => ({ key, data, expiresAt })))
}

/**
 * `expiresAt` in milliseconds counts. `deleteAt` is for the server's broom: in
 * seconds, by its clock, and a minute late.
 */
const deadline = (expiresAt: number, now: number) => ({
  expiresAt: number(expiresAt),
  deleteAt: number(Math.ceil((Date.now() + expiresAt - now) / 1000) + 60)
})

const parse = (item: Values): Option.Option<Stored> => {
  const data = item.data?.B
  const version = item.version?.S
  const expiresAt = Number(item.expiresAt?.N)
  return data === undefined || version === undefined || Number.isNaN(expiresAt)
    ? Option.none()
    : Option.some({ data, version: Version(version), expiresAt })
}
