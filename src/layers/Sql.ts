/**
 * Sessions in a table of an SQL database, over any `SqlClient` of
 * `@effect/sql`. PostgreSQL so far.
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
 * **Outside of transactions.** A session operation never joins a transaction
 * of the handler: it runs on another connection, and what it wrote stays when
 * the transaction rolls back. So a handler that uses its session inside
 * `sql.withTransaction` holds two connections of the pool for a moment.
 *
 * **A server that does not answer** costs a request at most `timeout`, pool
 * and connection included. What was still waiting for a connection is not sent;
 * what was sent is cancelled, as well as the driver can: it sends the cancel
 * over the same pool, and after a freeze of seconds a late one may hit another
 * statement. The pool belongs to the application. Give `PgClient` a
 * `connectTimeout` of a second or two, which keeps its queue short, and the
 * server a `statement_timeout` (in the URL: `?statement_timeout=5000`).
 *
 * @since 0.1.0
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { randomToken } from "../internal/crypto.js"
import { sweepForever } from "../internal/sweep.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { SessionStoreErrorReason, Stored } from "../SessionStore.js"
import { SessionStore, SessionStoreError, SessionSweeper, Version } from "../SessionStore.js"

/**
 * Which table holds the sessions.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /** A plain identifier, "sessions" by default; its case is kept. */
  readonly table?: string | undefined
  /** The schema of the table; by default the first of the connection's search path. */
  readonly schema?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions {
  /**
   * Create the table and its index when the table is not there; true by
   * default. When false, a missing table fails the Layer with the statements
   * to run. A table that is there needs no right to create any.
   */
  readonly createTable?: boolean | undefined
  /**
   * The longest an operation may take, 2 seconds by default; then it fails with
   * `Timeout`. Real time, not the `Clock`.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /** How often expired records are removed, 10 minutes by default, jittered. */
  readonly sweepInterval?: Duration.DurationInput | undefined
}

/**
 * The databases that this store knows.
 *
 * @since 0.1.0
 * @category models
 */
export type DialectName = "pg"

/**
 * Makes the store over the `SqlClient` in the context, checks or creates its
 * table, and sweeps it in the background until the scope closes.
 *
 * Fails with `SessionConfigError` when an option is wrong, when the database is
 * one that this store does not know, and when the table is missing, cannot be
 * created or is not a table of ours.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<
  Context.Context<SessionStore | SessionSweeper>,
  SessionConfigError,
  SqlClient.SqlClient | Scope.Scope
> {
  const timeout = yield* positive("timeout", options.timeout ?? "2 seconds")
  const sweepInterval = yield* positive("sweepInterval", options.sweepInterval ?? "10 minutes")
  const client = yield* SqlClient.SqlClient
  const dialect = yield* client.onDialectOrElse({
    pg: () => Either.right(dialects.pg),
    orElse: () =>
      misconfigured("SqlClient", "The SQL store knows PostgreSQL only: provide the SqlClient of @effect/sql-pg.")
  })
  const name = yield* tableName(dialect, options)
  const runBounded = yield* makeRunBounded
  const sql = client.withoutTransforms()
  const table = sql.literal(name)
  const key = sql.literal(dialect.quote("key"))

  /** At most `limit` milliseconds, repeats included. */
  const send = <A>(
    operation: SessionStoreError["operation"],
    statement: Effect.Effect<A, SqlError>,
    limit = timeout
  ): Effect.Effect<A, SessionStoreError> =>
    Effect.catchAll(runBounded(repeatUndone(dialect, statement), limit), (error) =>
      Effect.fail(
        error === "timeout"
          ? new SessionStoreError({ reason: "Timeout", operation })
          : new SessionStoreError({ reason: dialect.reason(error), operation, cause: error.cause })
      ))

  const change = (operation: SessionStoreError["operation"], statement: (now: number) => Statement.Fragment) =>
    atNow((now) => Effect.map(send(operation, dialect.changed(sql, statement(now))), (rows) => rows > 0))

  const put = (operation: "insert" | "replace", statement: (version: Version, now: number) => Statement.Fragment) =>
    Effect.suspend(() => {
      const version = Version(randomToken())
      return Effect.map(
        change(operation, (now) => statement(version, now)),
        (done) => done ? Option.some(version) : Option.none()
      )
    })

  const store = SessionStore.of({
    load: (id) =>
      atNow((now) =>
        send("load", sql`SELECT data, version, expires_at FROM ${table} WHERE ${key} = ${id} AND expires_at > ${now}`)
      ).pipe(Effect.flatMap((rows) => rows.length === 0 ? Effect.succeedNone : Effect.asSome(toStored(rows[0])))),

    insert: (id, data, expiresAt) =>
      put(
        "insert",
        (version, now) => dialect.insert(sql, table, { id, data, version, expiresAt: Math.ceil(expiresAt) }, now)
      ),

    replace: (id, expected, data, expiresAt) =>
      put(
        "replace",
        (version, now) =>
          sql`UPDATE ${table} SET data = ${data}, version = ${version}, expires_at = ${Math.ceil(expiresAt)}
          WHERE ${key} = ${id} AND version = ${expected} AND expires_at > ${now}`
      ),

    touch: (id, current, expiresAt) =>
      change("touch", (now) =>
        sql`UPDATE ${table} SET expires_at = ${Math.ceil(expiresAt)}
          WHERE ${key} = ${id} AND version = ${current.version} AND expires_at > ${now}`),

    remove: (id, expected) =>
      change("remove", (now) =>
        expected === undefined
          ? sql`DELETE FROM ${table} WHERE ${key} = ${id} AND expires_at > ${now}`
          : sql`DELETE FROM ${table} WHERE ${key} = ${id} AND version = ${expected} AND expires_at > ${now}`)
  })

  const sweep: Effect.Effect<number, SessionStoreError> = atNow((now) =>
    send("sweep", dialect.changed(sql, dialect.sweep(sql, table, now, sweepBatch)), patience)
  ).pipe(
    Effect.flatMap((swept) => swept < sweepBatch ? Effect.succeed(swept) : Effect.map(sweep, (more) => swept + more))
  )

  yield* prepareTable(options, sql, dialect, name, (effect) => runBounded(effect, patience))
  const sweeper = SessionSweeper.of({ sweep })
  yield* Effect.forkScoped(sweepForever(sweeper, sweepInterval))
  return Context.make(SessionStore, store).pipe(Context.add(SessionSweeper, sweeper))
})

/**
 * The store as a Layer; see `make` for what fails it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Options
): Layer.Layer<SessionStore | SessionSweeper, SessionConfigError, SqlClient.SqlClient> =>
  Layer.scopedContext(make(options))

/**
 * `layer` with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionSweeper, SessionConfigError | ConfigError.ConfigError, SqlClient.SqlClient> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))

/**
 * The statements that create the table and its index, for those who create
 * tables by migration and set `createTable: false`. Left when a name is not a
 * plain identifier.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ddl = (dialect: DialectName, options: TableOptions = {}): Either.Either<string, SessionConfigError> =>
  Either.map(tableName(dialects[dialect], options), (name) => printDdl(dialects[dialect], name))

const sweepBatch = 1000

/** Milliseconds for what no request waits for: creating the table, a batch of the sweep. */
const patience = 30_000

/** Times that a statement is sent again which the server has rolled back. */
const repeats = 5

// What differs between databases, and nothing else does.

interface Row {
  readonly id: string
  readonly data: Uint8Array
  readonly version: Version
  readonly expiresAt: number
}

interface Dialect {
  readonly quote: (identifier: string) => string
  readonly ddl: (table: string) => ReadonlyArray<string>
  /** Inserts, or takes the place of an expired record. */
  readonly insert: (sql: SqlClient.SqlClient, table: Statement.Fragment, row: Row, now: number) => Statement.Fragment
  /** Deletes up to `limit` expired records. */
  readonly sweep: (
    sql: SqlClient.SqlClient,
    table: Statement.Fragment,
    now: number,
    limit: number
  ) => Statement.Fragment
  /** Runs a write and answers how many rows it changed. */
  readonly changed: (sql: SqlClient.SqlClient, statement: Statement.Fragment) => Effect.Effect<number, SqlError>
  readonly reason: (error: SqlError) => SessionStoreErrorReason
  /** Rolled back by the server for the sake of another transaction: certainly not applied. */
  readonly isUndone: (error: SqlError) => boolean
  /** There is no such table, or no such schema. */
  readonly isMissing: (error: SqlError) => boolean
}

const dialects: Record<DialectName, Dialect> = {
  pg: {
    quote: (identifier) => `"${identifier}"`,
    // The index without a name: PostgreSQL finds a free one within its 63 bytes.
    ddl: (table) => [
      [
        `CREATE TABLE ${table} (`,
        `  "key" text COLLATE "C" PRIMARY KEY,`,
        `  data bytea NOT NULL,`,
        `  version text COLLATE "C" NOT NULL,`,
        `  expires_at bigint NOT NULL`,
        `)`
      ].join("\n"),
      `CREATE INDEX ON ${table} (expires_at)`
    ],
    insert: (sql, table, { data, expiresAt, id, version }, now) =>
      sql`INSERT INTO ${table} AS old ("key", data, version, expires_at)
        VALUES (${id}, ${data}, ${version}, ${expiresAt})
        ON CONFLICT ("key") DO UPDATE
        SET data = excluded.data, version = excluded.version, expires_at = excluded.expires_at
        WHERE old.expires_at <= ${now}`,
    // The deadline twice: a record may have been renewed between choice and lock.
    sweep: (sql, table, now, limit) =>
      sql`DELETE FROM ${table} WHERE expires_at <= ${now} AND "key" IN (
        SELECT "key" FROM ${table} WHERE expires_at <= ${now}
        ORDER BY expires_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)`,
    changed: (sql, statement) => Effect.map(sql`${statement} RETURNING 1`, (rows) => rows.length),
    reason: (error) => postgresReason(codeOf(error), String(error.cause)),
    isUndone: (error) => undone.test(codeOf(error)),
    isMissing: (error) => /^(42P01|3F000)$/.test(codeOf(error))
  }
}

/** Serialization failure, deadlock. */
const undone = /^40(001|P01)$/

/**
 * By SQLSTATE, by the system's code, and where the driver gives neither, by its
 * text. What the server itself refused has not been applied.
 */
const postgresReason = (code: string, text: string): SessionStoreErrorReason => {
  if (code === "" || code.startsWith("E")) {
    if (/timeout exceeded when trying to connect/.test(text)) return "Throttled" // the pool is exhausted
    return code === "ETIMEDOUT" || /timeout/i.test(text) ? "Timeout" : "Unavailable"
  }
  if (code === "57014" || code === "55P03") return "Timeout" // statement_timeout, lock_timeout
  if (code === "53300") return "Throttled" // too many connections
  if (undone.test(code)) return "Throttled" // rolled back, every time
  return /^(08|57|40)/.test(code) ? "Unavailable" : "Rejected"
}

const codeOf = (error: SqlError): string => {
  const cause = error.cause
  return typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
}

// Configuration.

const misconfigured = (option: string, message: string, cause?: unknown) =>
  Either.left(new SessionConfigError({ option, message, ...(cause === undefined ? {} : { cause }) }))

/** Milliseconds that a timer can count. */
const positive = (option: string, input: Duration.DurationInput): Either.Either<number, SessionConfigError> => {
  const millis = Option.map(Duration.decodeUnknown(input), Duration.toMillis)
  return Option.isSome(millis) && millis.value >= 1 && millis.value < 2 ** 31
    ? Either.right(millis.value)
    : misconfigured(option, `${option} must be a duration from 1 millisecond to 24 days, like "2 seconds".`)
}

const tableName = (
  dialect: Dialect,
  { schema, table = "sessions" }: TableOptions
): Either.Either<string, SessionConfigError> => {
  const wrong = !isIdentifier(table) ? "table" : schema !== undefined && !isIdentifier(schema) ? "schema" : undefined
  return wrong === undefined
    ? Either.right([...(schema === undefined ? [] : [schema]), table].map(dialect.quote).join("."))
    : misconfigured(
      wrong,
      `${wrong} must be a plain identifier: a letter or "_", then up to 62 letters, digits or "_".` +
        (wrong === "table" ? " A schema has an option of its own." : "")
    )
}

const isIdentifier = (name: string) => /^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)

const printDdl = (dialect: Dialect, name: string) => dialect.ddl(name).map((statement) => `${statement};\n`).join("")

/**
 * Asks the table for its columns, and creates it when it is missing. Whoever
 * else creates it at this moment makes our own attempt fail; so what counts is
 * whether it is there afterwards.
 */
const prepareTable = Effect.fnUntraced(function*(
  options: Options,
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  name: string,
  run: <A>(effect: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError | "timeout">
) {
  const look = Effect.either(run(sql.unsafe(
    `SELECT ${dialect.quote("key")}, data, version, expires_at FROM ${name} WHERE 1 = 0`
  )))
  const unusable = (what: string, cause?: unknown) =>
    misconfigured("table", `${what} It is defined as:\n\n${printDdl(dialect, name)}`, cause)
  const create = sql.withTransaction(Effect.forEach(dialect.ddl(name), (statement) => sql.unsafe(statement)))

  const found = yield* look
  if (Either.isRight(found)) return
  const missing = found.left !== "timeout" && dialect.isMissing(found.left)
  if (!missing) {
    const reason = found.left === "timeout" ? "Timeout" : dialect.reason(found.left)
    return yield* unusable(
      `The table ${name} cannot be read (${reason}): is the database there, and is this a table of sessions?`,
      found.left
    )
  }
  if (options.createTable === false) return yield* unusable(`The table ${name} is missing.`)
  const created = yield* Effect.either(run(create))
  if (Either.isRight(yield* look)) return
  return yield* unusable(`The table ${name} is missing and could not be created.`, Either.merge(created))
})

// Running statements.

/** In whole milliseconds, as deadlines are: a `TestClock` has fractions, a bigint has none. */
const atNow = <A, E>(f: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => f(Math.floor(clock.unsafeCurrentTimeMillis())))

/**
 * Runs an effect in a fiber of its own and waits for it, but no longer than
 * `limit` milliseconds. Much cheaper than `Effect.timeout`, and nobody waits for
 * the driver to cancel on a server that is frozen. The fiber knows neither the
 * handler's transaction nor its span. A caller that is interrupted leaves at
 * once and the statement goes on: a cancel costs a connection and a statement.
 */
const makeRunBounded = Effect.runtime<never>().pipe(
  Effect.interruptible,
  Effect.withTracerEnabled(false),
  Effect.mapInputContext((context: Context.Context<never>) => Context.omit(SqlClient.TransactionConnection)(context)),
  Effect.map((runtime) => {
    const run = Runtime.runCallback(runtime)
    return <A>(effect: Effect.Effect<A, SqlError>, limit: number) =>
      Effect.async<A, SqlError | "timeout">((resume) => {
        const timer = setTimeout(() => {
          resume(Effect.fail("timeout"))
          cancel()
        }, limit)
        const cancel = run(effect, {
          onExit: (exit) => {
            clearTimeout(timer)
            resume(exit)
          }
        })
      })
  })
)

/**
 * A serialization failure or deadlock is the one error after which a write may
 * be sent again: the server has rolled it back. Under an isolation level above
 * READ COMMITTED the loser of a race gets it, and must be told "stale" instead.
 */
const repeatUndone = <A>(
  dialect: Dialect,
  statement: Effect.Effect<A, SqlError>,
  left = repeats
): Effect.Effect<A, SqlError> =>
  Effect.catchAll(
    statement,
    (error) => left > 0 && dialect.isUndone(error) ? repeatUndone(dialect, statement, left - 1) : Effect.fail(error)
  )

/** Drivers differ in how they hand out blobs and integers. */
const toStored = (row: Record<string, unknown>): Effect.Effect<Stored, SessionStoreError> => {
  const { data, version } = row
  const expiresAt = Number(row.expires_at)
  return (data instanceof Uint8Array || data instanceof ArrayBuffer) && typeof version === "string" &&
      Number.isFinite(expiresAt)
    // A copy: a Buffer is a view of a pool that others share.
    ? Effect.succeed({ data: new Uint8Array(data), version: Version(version), expiresAt })
    : Effect.fail(new SessionStoreError({ reason: "Corrupt", operation: "load" }))
}
