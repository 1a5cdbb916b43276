/**
 * Two ways to create the table of the SQL store.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Runtime from "effect/Runtime"
import { rethrow } from "../driver.js"
import type { RunMaintenance, Table } from "./Dialect.js"
import { runDetached, SqlClient as SqlClientTag } from "./effectSql.js"
import { template } from "./Statement.js"
import { derivedName, qualified } from "./table.js"

/**
 * By its statements alone. On SQLite also over a `SqlClient`, because `Migrator`
 * needs a transaction: if two processes start one at once, the loser's client of
 * `@effect/sql-libsql` never comes out of it.
 */
export const createDirectly = (run: RunMaintenance, statements: ReadonlyArray<string>): Effect.Effect<void, unknown> =>
  Effect.forEach(statements, (text) => run(sql`${text}`, undefined), { discard: true })

const sql = template(() => "")

/**
 * By `Migrator`, with a log that belongs to this table alone. Only for a table
 * that is missing. Then the log is wrong whatever it says: the table was
 * dropped; or, where no transaction holds both, the process ended in between.
 * So the log starts again, and every migration must bear to be run twice.
 */
export const createByMigrator = (
  client: SqlClient.SqlClient,
  runtime: Runtime.Runtime<never>,
  table: Table,
  millis: number
): Effect.Effect<unknown, unknown> => {
  const sql = client.withoutTransforms()
  const log = qualified({ ...table, table: derivedName(table.table, "migrations") }).join(".")
  const createTable = Effect.forEach(table.ddl, (statement) => sql.unsafe(statement), { discard: true })
  const migrate = Effect.ignore(sql`DELETE FROM ${sql(log)}`).pipe(
    Effect.zipRight(Effect.promise(() => import("@effect/sql/Migrator").catch(rethrow))),
    Effect.flatMap((Migrator) =>
      Migrator.make({})({ loader: Migrator.fromRecord({ "1_create_table": createTable }), table: log })
    ),
    Effect.provideService(SqlClientTag, sql)
  )
  return runDetached(runtime, migrate, millis)
}
