/**
 * Sessions in a table of an SQL database: PostgreSQL, MySQL, MariaDB or SQLite.
 * `layer` uses any `SqlClient` of `@effect/sql`. `layerPool` uses a driver's own
 * pool, which is faster.
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
 * | database | client of `layer` | pool of `layerPool` |
 * |---|---|---|
 * | PostgreSQL | `PgClient.layer({ url })` of `@effect/sql-pg` | `new Pool({ connectionString })` of `pg` |
 * | MySQL, MariaDB (InnoDB) | `MysqlClient.layer({ url })` of `@effect/sql-mysql2` | `createPool({ uri })` of `mysql2` |
 * | SQLite | `LibsqlClient.layer({ url: "file:sessions.db" })` of `@effect/sql-libsql`, `SqliteClient.layer({ filename })` of `@effect/sql-sqlite-node` | |
 *
 * Another client works if it speaks one of these dialects: `pg` and `sqlite`
 * need `RETURNING` and `ON CONFLICT`, `mysql` the replies of mysql2
 * (`affectedRows`, `insertId`). `src/internal/sql/Dialect.ts` lists what a new
 * dialect has to give.
 *
 * **Outside of transactions.** A session operation never joins a transaction
 * of the handler. It runs on another connection, and its write stays when the
 * transaction rolls back. So a handler that uses its session inside a
 * transaction holds two connections of the pool for a moment. SQLite clients
 * have one connection: there the operation fails at once as `Rejected`. Use the
 * session before or after the transaction, or give the store a client and a file
 * of its own.
 *
 * **A server that does not reply** costs a request at most `timeout`, pool and
 * connection included. A statement that still waits for a connection is not sent.
 * One that was sent may still be applied, and its connection is ended, because a
 * connection that was cut off would never reply again. On PostgreSQL the statement
 * is cancelled by the protocol's CancelRequest, also through PgBouncer. The
 * request may take a second, during which the pool misses that connection. A
 * driver cannot cancel if it does not expose `processID` and `secretKey`
 * (`pg-native`), or if its `stream` is no socket of Node. Then the statement runs
 * to its end, as it does on MySQL.
 *
 * The client or pool belongs to the application. Limit the time that it waits for
 * a connection to a second or two: `connectTimeout` of `PgClient` and mysql2,
 * `connectionTimeoutMillis` of `pg`. Give the server a `statement_timeout` (in the
 * URL: `?statement_timeout=5000`) or `max_statement_time`.
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
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { overClient, overPool } from "../internal/sql/backends.js"
import type { Dialect } from "../internal/sql/Dialect.js"
import { SqlClient as SqlClientTag } from "../internal/sql/effectSql.js"
import { mysql } from "../internal/sql/mysql.js"
import type { MySqlPool, PgPool } from "../internal/sql/poolRunner.js"
import { postgres } from "../internal/sql/postgres.js"
import { sqlite } from "../internal/sql/sqlite.js"
import { makeStore, type Settings } from "../internal/sql/store.js"
import { misconfigured, printDdl, tableOf } from "../internal/sql/table.js"
import type { SessionConfigError } from "../SessionConfigError.js"
import type { SessionScan, SessionStore, SessionSweeper } from "../SessionStore.js"

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
export type DialectName = "pg" | "mysql" | "sqlite"

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
  const settings = yield* settingsOf(options)
  const client = yield* SqlClientTag
  const backend = yield* overClient(client, settings.timeout)
  const table = yield* tableOf(backend.dialect, options)
  return yield* makeStore(backend, table, settings)
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
 * A pool of `pg`, as much of it as the store uses: `new pg.Pool({ … })`.
 *
 * @since 0.1.0
 * @category models
 */
export type { PgPool } from "../internal/sql/poolRunner.js"

/**
 * A pool of mysql2, as much of it as the store uses: `createPool({ … })` of
 * `mysql2`.
 *
 * @since 0.1.0
 * @category models
 */
export type { MySqlPool } from "../internal/sql/poolRunner.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface PoolOptions extends Options {
  /**
   * The driver's pool, of `pg`, `mysql2` or `mysql2/promise`. It stays open when
   * the store closes.
   */
  readonly pool: PgPool | MySqlPool | { readonly pool: MySqlPool }
  /**
   * Keep the statements prepared on each connection of PostgreSQL; true by
   * default. Set it to false behind a pooler that gives each transaction another
   * connection and does not track prepared statements: PgBouncer before 1.21, or
   * with `max_prepared_statements = 0`. With true the store is correct there,
   * but slow. mysql2 always prepares: there `false` fails the Layer.
   */
  readonly prepare?: boolean | undefined
}

/**
 * Makes the store over a driver's own pool, which is faster than a `SqlClient`
 * over the same driver. The application may use the pool too. A session
 * operation takes a connection for one statement, and gives it back.
 *
 * The table is created by its statements, without `Migrator` and its log. The
 * errors are those of `make`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makePool = Effect.fnUntraced(function*(
  options: PoolOptions
): Effect.fn.Return<
  Context.Context<SessionStore | SessionSweeper | SessionScan>,
  SessionConfigError,
  Scope.Scope
> {
  const settings = yield* settingsOf(options)
  const backend = yield* overPool(options.pool, options.prepare)
  const table = yield* tableOf(backend.dialect, options)
  return yield* makeStore(backend, table, settings)
})

/**
 * The store over a driver's own pool, as a Layer; see `makePool`.
 *
 * ```ts
 * import * as SessionStoreSql from "effect-session/layers/Sql"
 * import { createPool } from "mysql2"
 *
 * const pool = createPool({ uri: "mysql://localhost/app", connectTimeout: 2000 })
 *
 * const Store = SessionStoreSql.layerPool({ pool, table: "sessions" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPool = (
  options: PoolOptions
): Layer.Layer<SessionStore | SessionSweeper | SessionScan, SessionConfigError> =>
  Layer.scopedContext(makePool(options))

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

const dialects: Record<DialectName, Dialect> = { pg: postgres, mysql, sqlite }

const settingsOf = (options: Options): Either.Either<Settings, SessionConfigError> =>
  Either.all({
    timeout: millisOf("timeout", options.timeout ?? "2 seconds"),
    sweepInterval: millisOf("sweepInterval", options.sweepInterval ?? "10 minutes"),
    createTable: Either.right(options.createTable ?? true)
  })

/** Milliseconds that a timer can count. */
const millisOf = (option: string, input: Duration.DurationInput): Either.Either<number, SessionConfigError> => {
  const millis = Option.map(Duration.decodeUnknown(input), Duration.toMillis)
  return Option.isSome(millis) && millis.value >= 1 && millis.value < 2 ** 31
    ? Either.right(millis.value)
    : misconfigured(option, `${option} must be a duration from 1 millisecond to 24 days, like "2 seconds".`)
}
