/**
 * Flask-Session's records in the table that it makes by SQLAlchemy, on
 * PostgreSQL, MySQL, MariaDB and SQLite. Flask makes the table when it starts.
 *
 * ```ts
 * import * as FlaskSql from "effect-session/flask/Sql"
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 *
 * const Store = FlaskSql.layer().pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * A write compares the data that was read, so that it neither overwrites nor
 * revives what Flask has written or deleted meanwhile. Operations run outside of
 * the handler's transactions, as those of `effect-session/layers/Sql` do.
 *
 * MySQL's BLOB ends at 64 KiB: a larger session fails as `TooLarge`. Change the
 * column to MEDIUMBLOB for both apps. Deadlines there are whole seconds.
 *
 * @since 0.1.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { boundOf } from "../internal/bounded.js"
import { mysqlTable } from "../internal/flask/sql/mysql.js"
import { postgresTable, sqliteTable } from "../internal/flask/sql/standard.js"
import { makeStore } from "../internal/flask/sql/store.js"
import { overClient, overPool } from "../internal/sql/backends.js"
import { SqlClient as SqlClientTag } from "../internal/sql/effectSql.js"
import { mysql } from "../internal/sql/mysql.js"
import type { MySqlPool, PgPool } from "../internal/sql/poolRunner.js"
import { postgres } from "../internal/sql/postgres.js"
import type { Backend } from "../internal/sql/store.js"
import { tableOf } from "../internal/sql/table.js"
import type { SessionConfigError } from "../SessionConfigError.js"
import type { SessionScan, SessionStore, SessionSweeper } from "../SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** `SESSION_KEY_PREFIX`, before each id; `"session:"` by default. */
  readonly prefix?: string | undefined
  /** `SESSION_SQLALCHEMY_TABLE`, a plain identifier; `"sessions"` by default. */
  readonly table?: string | undefined
  /** `SESSION_SQLALCHEMY_SCHEMA`; by default the first of the connection's search path. */
  readonly schema?: string | undefined
  /** The longest an operation may take, in real time; 2 seconds by default. Then it fails with `Timeout`. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * How often expired rows are deleted, 1 millisecond to 24 days. Without it,
   * which is the default, they are left to `flask session_cleanup`. The table has
   * no index on `expiry`: each sweep reads all of it.
   */
  readonly sweepInterval?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface PoolOptions extends Options {
  /** A pool of `pg`, `mysql2` or `mysql2/promise`, which stays open when the store closes. */
  readonly pool: PgPool | MySqlPool | { readonly pool: MySqlPool }
  /** Keep the statements prepared on each connection of PostgreSQL; true by default. See `effect-session/layers/Sql`. */
  readonly prepare?: boolean | undefined
}

type Services = SessionStore | SessionScan | SessionSweeper

/**
 * Makes the store over the `SqlClient` in the context. Fails with
 * `SessionConfigError` when an option is wrong, and when the table is missing or
 * not Flask-Session's.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<Context.Context<Services>, SessionConfigError, SqlClient.SqlClient | Scope.Scope> = Effect
  .fnUntraced(function*(options: Options = {}) {
    const client = yield* SqlClientTag
    return yield* over(yield* overClient(client, yield* boundOf(options.timeout ?? "2 seconds")), options)
  })

/**
 * The store over the `SqlClient` of the context.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Services, SessionConfigError, SqlClient.SqlClient> =>
  Layer.scopedContext(make(options))

/**
 * `layer` with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Services, SessionConfigError | ConfigError.ConfigError, SqlClient.SqlClient> =>
  Layer.scopedContext(Effect.flatMap(Config.unwrap(options), make))

/**
 * The store over a driver's own pool, which is faster than a `SqlClient`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPool = (options: PoolOptions): Layer.Layer<Services, SessionConfigError> =>
  Layer.scopedContext(
    Effect.flatMap(overPool(options.pool, options.prepare), (backend) => over(backend, options))
  )

const over = Effect.fnUntraced(function*(backend: Backend, options: Options) {
  const { dialect } = backend
  const { quoted } = yield* tableOf(dialect, options)
  const table = dialect === postgres ? postgresTable : dialect === mysql ? mysqlTable : sqliteTable
  return yield* makeStore(backend, table, {
    quoted,
    prefix: options.prefix ?? "session:",
    timeout: yield* boundOf(options.timeout ?? "2 seconds"),
    sweepInterval: options.sweepInterval === undefined ? undefined : yield* boundOf(options.sweepInterval)
  })
})
