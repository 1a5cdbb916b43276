/**
 * The table of the SQL store: its name, its definition, and how it comes to be.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { isTagged } from "effect/Predicate"
import { sha256Hex } from "../internal/crypto.js"
import { rethrow } from "../internal/driver.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Dialect, Limits, Table, TableName } from "./dialects.js"
import { SqlClient as SqlClientTag, sqlError } from "./effect-sql.js"

export const misconfigured = (option: string, message: string, cause?: unknown) =>
  Either.left(new SessionConfigError({ option, message, ...(cause === undefined ? {} : { cause }) }))

export const tableOf = (
  dialect: Dialect,
  { schema, table = "sessions" }: { readonly schema?: string | undefined; readonly table?: string | undefined }
): Either.Either<Table, SessionConfigError> => {
  const wrong = !isIdentifier(table) ? "table" : schema !== undefined && !isIdentifier(schema) ? "schema" : undefined
  if (wrong !== undefined) {
    return misconfigured(
      wrong,
      `${wrong} must be a plain identifier: a letter or "_", then up to 62 letters, digits or "_".` +
        (wrong === "table" ? " A schema has an option of its own." : "")
    )
  }
  const name = { schema, table }
  return Either.right({
    ...name,
    quoted: qualified(name).map(dialect.quote).join("."),
    ddl: dialect.ddl(name, derived(table, "expires_at_idx"))
  })
}

const isIdentifier = (name: string) => /^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)

const qualified = ({ schema, table }: TableName) => [...(schema === undefined ? [] : [schema]), table]

/** A name that goes with the table's: no two tables share it, and it fits into 63 bytes. */
const derived = (table: string, suffix: string) => {
  const name = `${table}_${suffix}`
  return name.length <= 63 && name === name.toLowerCase()
    ? name
    : `${table.slice(0, 63 - suffix.length - 10)}_${sha256Hex(Buffer.from(table)).slice(0, 8)}_${suffix}`.toLowerCase()
}

export const printDdl = (table: Table) => table.ddl.map((statement) => `${statement};\n`).join("")

/**
 * Looks at the table, and creates it when it is missing and `create` is set. A
 * table that will do costs a query, and no right to create any.
 */
export const prepareTable = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  table: Table,
  create: boolean,
  run: <A>(effect: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError | "timeout">
): Effect.fn.Return<Limits, SessionConfigError> {
  const look = Effect.either(run(dialect.inspect(sql, table)))
  const unusable = (what: string, cause?: unknown) =>
    misconfigured("table", `${what} It is defined as:\n\n${printDdl(table)}`, cause)

  let found = yield* look
  let created: unknown
  for (let attempt = 0; create && attempt < attempts && isMissing(dialect, found); attempt++) {
    created = Either.merge(
      yield* Effect.either(run(dialect.oneConnection ? createAlone(sql, dialect, table) : migrate(sql, table)))
    )
    found = yield* look
  }
  if (Either.isLeft(found)) {
    if (isMissing(dialect, found)) {
      return yield* create
        ? unusable(`The table ${table.quoted} is missing and could not be created.`, created)
        : unusable(`The table ${table.quoted} is missing.`)
    }
    const reason = found.left === "timeout" ? "Timeout" : dialect.reason(found.left)
    return yield* unusable(
      `The table ${table.quoted} cannot be read (${reason}): is the database there, and is this a table of sessions?`,
      found.left
    )
  }
  const limits = found.right
  if (typeof limits === "string") return yield* unusable(`The table ${table.quoted} will not do. ${limits}`)
  return limits
})

const isMissing = (dialect: Dialect, found: Either.Either<unknown, SqlError | "timeout">) =>
  Either.isLeft(found) && found.left !== "timeout" && dialect.isMissing(found.left)

/** Of several processes that start at once, each may fail once while another one creates. */
const attempts = 5

/**
 * By `Migrator`, with a log that belongs to this table alone. Only for a table
 * that is missing: then whatever the log says is not so (the table was dropped;
 * or, where no transaction holds both, the process ended in between), and it
 * starts again. Hence every migration must bear to be run twice.
 */
const migrate = (sql: SqlClient.SqlClient, table: Table): Effect.Effect<unknown, SqlError> => {
  const log = qualified({ ...table, table: derived(table.table, "migrations") }).join(".")
  const createTable = Effect.forEach(table.ddl, (statement) => sql.unsafe(statement), { discard: true })
  return Effect.ignore(sql`DELETE FROM ${sql(log)}`).pipe(
    Effect.zipRight(Effect.promise(() => import("@effect/sql/Migrator").catch(rethrow))),
    Effect.flatMap((Migrator) =>
      Migrator.make({})({ loader: Migrator.fromRecord({ "1_create_table": createTable }), table: log })
    ),
    Effect.provideService(SqlClientTag, sql),
    // It dies of a migration that fails.
    Effect.catchAllDefect(Effect.fail),
    Effect.mapError((cause) => isTagged(cause, "SqlError") ? cause as SqlError : sqlError(cause))
  )
}

/**
 * Without `Migrator`, which needs a transaction: where two processes start one
 * at once, the loser's client of @effect/sql-libsql never comes out of it.
 */
const createAlone = (sql: SqlClient.SqlClient, dialect: Dialect, table: Table): Effect.Effect<unknown, SqlError> =>
  Effect.forEach(table.ddl, (statement) => dialect.rows(sql, sql.unsafe(statement)), { discard: true })
