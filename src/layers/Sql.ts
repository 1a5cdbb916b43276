/**
 * Sessions in a table of an SQL database, over any `SqlClient` of
 * `@effect/sql`: PostgreSQL, MySQL, MariaDB and SQLite.
 *
 * ```ts
 * import * as SessionStoreSql from "effect-session/layers/Sql"
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 *
 * const Store = SessionStoreSql.layer().pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * | database | client |
 * |---|---|
 * | PostgreSQL | `PgClient.layer({ url })` of `@effect/sql-pg` |
 * | MySQL, MariaDB (InnoDB) | `MysqlClient.layer({ url })` of `@effect/sql-mysql2` |
 * | SQLite | `LibsqlClient.layer({ url: "file:sessions.db" })` of `@effect/sql-libsql`, `SqliteClient.layer({ filename })` of `@effect/sql-sqlite-node` |
 *
 * Another client works when it speaks one of these dialects: `pg` and `sqlite`
 * need `RETURNING` and `ON CONFLICT`, `mysql` the answers of mysql2
 * (`affectedRows`, `insertId`). `src/sql/dialects.ts` says what a new dialect
 * has to give.
 *
 * **Outside of transactions.** A session operation never joins a transaction
 * of the handler: it runs on another connection, and what it wrote stays when
 * the transaction rolls back. So a handler that uses its session inside
 * `sql.withTransaction` holds two connections of the pool for a moment. SQLite
 * clients have one connection: there the operation fails at once as `Rejected`.
 * Use the session before or after the transaction, or give the store a client
 * and a file of its own.
 *
 * **A server that does not answer** costs a request at most `timeout`, pool
 * and connection included. What was still waiting for a connection is not sent;
 * what was sent may still be applied, and its connection is ended: one that was
 * cut off would never answer anybody. On PostgreSQL the statement is cancelled by
 * the protocol's CancelRequest, which works through PgBouncer as well; it may take
 * a second, during which the pool misses that connection. A driver that does not
 * expose `processID` and `secretKey` (`pg-native`), or whose `stream` is no socket
 * of Node, cannot cancel: the statement runs to its end, as it does on MySQL. The
 * pool belongs to the application:
 * give `PgClient` a `connectTimeout` of a second or two, which keeps its queue
 * short, and the server a `statement_timeout` (in the URL:
 * `?statement_timeout=5000`) or `max_statement_time`.
 *
 * **MySQL and MariaDB.** Each write is in strict mode, whatever mode the
 * connection has. If a column is narrowed while the application runs, a write
 * that does not fit fails and changes nothing. MySQL before 8.0.3 does not know
 * the hint: set `STRICT_ALL_TABLES` there yourself. At the start a table is
 * refused if its primary key is a prefix of `key`, if another index is unique,
 * if a column is `AUTO_INCREMENT`, or if one of the four is generated.
 *
 * **SQLite** takes one writer at a time. Another process's write is waited for
 * as long as `timeout` says, at most 5 seconds (or as long as the driver has been
 * told), and the whole process stands still meanwhile; then the operation fails
 * as `Throttled`. So keep transactions on that file short. libsql commits nothing
 * more on a connection that met a file in use: the store has it opened anew, or
 * fails as `Unavailable`, and never acknowledges what was not committed. The
 * table is created together with `journal_mode = WAL`, so that readers do not
 * wait; set it on a file of your own. libsql forgets a `:memory:` database at
 * each transaction: use a file.
 *
 * @since 0.1.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomToken } from "../internal/crypto.js"
import { sweepForever } from "../internal/sweep.js"
import type { SessionConfigError } from "../SessionConfigError.js"
import type { Entry, Stored } from "../SessionStore.js"
import { SessionScan, SessionStore, SessionStoreError, SessionSweeper, Version } from "../SessionStore.js"
import type { Dialect, Row } from "../sql/dialects.js"
import { bytesOf, type DialectName, dialects, integerOf, textOf } from "../sql/dialects.js"
import { SqlClient as SqlClientTag } from "../sql/effect-sql.js"
import { makeRun, pause } from "../sql/run.js"
import { misconfigured, prepareTable, printDdl, tableOf } from "../sql/table.js"

/**
 * Which table holds the sessions.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /** A plain identifier, "sessions" by default; its case is kept. */
  readonly table?: string | undefined
  /**
   * The schema of the table; by default the first of the connection's search
   * path. With MySQL another database, with SQLite an attached one.
   */
  readonly schema?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions {
  /**
   * Create the table and its index when the table is not there; true by
   * default. It is done by `Migrator`, whose log is another table
   * (`sessions_migrations`), except on SQLite. When false, a missing table fails the Layer with
   * the statements to run. A table that is there needs no right to create any.
   */
  readonly createTable?: boolean | undefined
  /**
   * The longest an operation may take, 2 seconds by default; then it fails with
   * `Timeout`. Real time, not the `Clock`. On SQLite also how long a file in use
   * is waited for.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /** How often expired records are removed, 10 minutes by default, jittered. */
  readonly sweepInterval?: Duration.DurationInput | undefined
}

/**
 * The databases that this store knows; MariaDB is `mysql`.
 *
 * @since 0.1.0
 * @category models
 */
export type { DialectName } from "../sql/dialects.js"

/**
 * Makes the store over the `SqlClient` in the context, checks or creates its
 * table, and sweeps it in the background until the scope closes.
 *
 * Fails with `SessionConfigError` when an option is wrong, when the database is
 * one that this store does not know or commits nothing by itself, and when the
 * table is missing, cannot be created or is not as `ddl` defines it, as far as
 * its columns and its key go.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<
  Context.Context<SessionStore | SessionSweeper | SessionScan>,
  SessionConfigError,
  SqlClient.SqlClient | Scope.Scope
> {
  const timeout = yield* positive("timeout", options.timeout ?? "2 seconds")
  const sweepInterval = yield* positive("sweepInterval", options.sweepInterval ?? "10 minutes")
  const client = yield* SqlClientTag
  const known = yield* client.onDialectOrElse({
    pg: () => Either.right(dialects.pg),
    mysql: () => Either.right(dialects.mysql),
    sqlite: () => Either.right(dialects.sqlite),
    orElse: () => misconfigured("SqlClient", "The SQL store knows PostgreSQL, MySQL, MariaDB and SQLite.")
  })
  const name = yield* tableOf(known, options)
  const run = yield* makeRun(client, known)
  const sql = client.withoutTransforms()
  const dialect = yield* Effect.orElseSucceed(run(known.setUp(sql, timeout), patience), () => known)
  const limits = yield* prepareTable(
    sql,
    dialect,
    name,
    options.createTable ?? true,
    (effect) => run(effect, patience)
  )
  const table = sql.literal(name.quoted)
  const key = sql.literal(dialect.quote("key"))
  const update = sql.literal(dialect.update)

  /** At most `limit` milliseconds, repeats included. */
  const send = <A>(
    operation: SessionStoreError["operation"],
    statement: Effect.Effect<A, SqlError>,
    limit = timeout
  ): Effect.Effect<A, SessionStoreError> =>
    Effect.catchAll(run(statement, limit), (error) =>
      Effect.fail(
        error === "timeout"
          ? new SessionStoreError({ reason: "Timeout", operation })
          : new SessionStoreError({ reason: dialect.reason(error), operation, cause: error.cause })
      ))

  const live = (id: string, now: number, expected?: Version) =>
    expected === undefined
      ? sql`WHERE ${key} = ${dialect.key(id)} AND expires_at > ${now}`
      : sql`WHERE ${key} = ${dialect.key(id)} AND version = ${expected} AND expires_at > ${now}`

  const changed = (statement: Statement.Statement<Row>) =>
    Effect.map(dialect.changed(sql, statement), (rows) => rows > 0)

  /** A new version, when the statement says that it was stored. */
  const put = (
    operation: "insert" | "replace",
    id: string,
    data: Uint8Array,
    statement: (version: Version, now: number) => Effect.Effect<boolean, SqlError>
  ) =>
    atNow((now) => {
      const [limit, actual] = data.length > limits.data
        ? [limits.data, data.length]
        : [limits.key, Buffer.byteLength(id)]
      if (actual > limit) return Effect.fail(new SessionStoreError({ reason: "TooLarge", operation, limit, actual }))
      const version = Version(randomToken())
      return Effect.map(
        send(operation, statement(version, now)),
        (done) => done ? Option.some(version) : Option.none()
      )
    })

  const store = SessionStore.of({
    load: (id) =>
      atNow((now) =>
        send("load", dialect.rows(sql, sql`SELECT data, version, expires_at FROM ${table} ${live(id, now)}`))
      ).pipe(Effect.flatMap((rows) => rows.length === 0 ? Effect.succeedNone : Effect.asSome(toStored(rows[0]!)))),

    insert: (id, data, expiresAt) =>
      put(
        "insert",
        id,
        data,
        (version, now) => dialect.insert(sql, table, { key: id, data, version, expiresAt: Math.ceil(expiresAt) }, now)
      ),

    replace: (id, expected, data, expiresAt) =>
      put("replace", id, data, (version, now) =>
        changed(
          sql`${update} ${table} SET data = ${dialect.data(data)}, version = ${version},
          expires_at = ${Math.ceil(expiresAt)} ${live(id, now, expected)}`
        )),

    touch: (id, current, expiresAt) =>
      atNow((now) => send("touch", dialect.touch(sql, table, live(id, now, current.version), Math.ceil(expiresAt)))),

    remove: (id, expected) =>
      atNow((now) => send("remove", changed(sql`DELETE FROM ${table} ${live(id, now, expected)}`)))
  })

  /** Rests between batches for twice as long as one took: requests come first. */
  const sweep: Effect.Effect<number, SessionStoreError> = atNow((now) => {
    const started = performance.now()
    const rest = Effect.suspend(() => pause(2 * (performance.now() - started)))
    return Effect.flatMap(
      send("sweep", dialect.sweep(sql, table, now), patience),
      ({ more, swept }) =>
        more
          ? Effect.map(Effect.zipRight(rest, sweep), (others) => swept + others)
          : Effect.succeed(swept)
    )
  })

  /** The page of live rows after a key, as the database has it. */
  const page = (after: string | Uint8Array | undefined) =>
    atNow((now) =>
      send(
        "scan",
        dialect.rows(
          sql,
          sql`SELECT ${key}, data, expires_at FROM ${table} WHERE expires_at > ${now} AND ${key} ${
            after === undefined ? sql.literal("IS NOT NULL") : sql`> ${after}`
          } ORDER BY ${key} LIMIT ${sql.literal(String(pageSize))}`
        ),
        patience
      )
    ).pipe(
      Effect.map((rows) =>
        [
          Chunk.filterMap(Chunk.unsafeFromArray(rows), (row) => toEntry(dialect, row)),
          Option.map(Option.fromNullable(rows[pageSize - 1]), (last) => rawKey(dialect, last))
        ] as const
      )
    )

  const sweeper = SessionSweeper.of({ sweep })
  yield* Effect.forkScoped(sweepForever(sweeper, sweepInterval))
  return Context.make(SessionStore, store).pipe(
    Context.add(SessionSweeper, sweeper),
    Context.add(SessionScan, { entries: Stream.paginateChunkEffect(undefined, page) })
  )
})

/**
 * The store as a Layer; see `make` for what fails it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Options
): Layer.Layer<SessionStore | SessionSweeper | SessionScan, SessionConfigError, SqlClient.SqlClient> =>
  Layer.scopedContext(make(options))

/**
 * `layer` with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<
  SessionStore | SessionSweeper | SessionScan,
  SessionConfigError | ConfigError.ConfigError,
  SqlClient.SqlClient
> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))

/**
 * The statements that create the table and its index, for those who create
 * tables by migration and set `createTable: false`. Left when a name is not a
 * plain identifier.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ddl = (dialect: DialectName, options: TableOptions = {}): Either.Either<string, SessionConfigError> =>
  Either.map(tableOf(dialects[dialect], options), printDdl)

/** Milliseconds for what no request waits for: creating the table, a batch of the sweep, a page of the scan. */
const patience = 30_000

/** Records of a scan that are in memory at a time. */
const pageSize = 100

/** Milliseconds that a timer can count. */
const positive = (option: string, input: Duration.DurationInput): Either.Either<number, SessionConfigError> => {
  const millis = Option.map(Duration.decodeUnknown(input), Duration.toMillis)
  return Option.isSome(millis) && millis.value >= 1 && millis.value < 2 ** 31
    ? Either.right(millis.value)
    : misconfigured(option, `${option} must be a duration from 1 millisecond to 24 days, like "2 seconds".`)
}

/** In whole milliseconds, as deadlines are: a `TestClock` has fractions, a bigint has none. */
const atNow = <A, E>(f: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => f(Math.floor(clock.unsafeCurrentTimeMillis())))

const toStored = (row: Row): Effect.Effect<Stored, SessionStoreError> => {
  const [data, version, expiresAt] = [bytesOf(row.data), textOf(row.version), integerOf(row.expires_at)]
  return data !== undefined && version !== undefined && expiresAt !== undefined
    ? Effect.succeed({ data, version: Version(version), expiresAt })
    : Effect.fail(new SessionStoreError({ reason: "Corrupt", operation: "load" }))
}

/** Of a row of ours: with a key that a store can be asked for. */
const toEntry = (dialect: Dialect, row: Row): Option.Option<Entry> => {
  const [key, data, expiresAt] = [textOf(row.key), bytesOf(row.data), integerOf(row.expires_at)]
  return key !== undefined && data !== undefined && expiresAt !== undefined &&
      isEqual(dialect.key(key), rawKey(dialect, row))
    ? Option.some({ key, data, expiresAt })
    : Option.none()
}

/** Text, or bytes that the database can be given back. */
const rawKey = (dialect: Dialect, { key }: Row) =>
  typeof key === "string" ? key : dialect.data(bytesOf(key) ?? new Uint8Array(0))

const isEqual = (a: string | Uint8Array, b: string | Uint8Array) =>
  typeof a === "string" || typeof b === "string" ? a === b : Buffer.compare(a, b) === 0
