/**
 * What an SQL store stands on: a `SqlClient`, or a driver's own pool.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SessionConfigError } from "../../SessionConfigError.js"
import { createByMigrator, createDirectly } from "./createTable.js"
import { detachedRuntime } from "./effectSql.js"
import { mysql } from "./mysql.js"
import { ignore, mysqlPoolRunner, pgPoolRunner } from "./poolRunner.js"
import type { MySqlPool, PgPool } from "./poolRunner.js"
import { postgres } from "./postgres.js"
import { maintenanceTimeout, makeRun } from "./run.js"
import { mysqlRunner, pgRunner } from "./sqlClientRunner.js"
import { sqlite } from "./sqlite.js"
import { sqliteRun } from "./sqliteRunner.js"
import type { Backend } from "./store.js"
import { misconfigured } from "./table.js"

/** What runs statements on a `SqlClient`. */
export const overClient = Effect.fnUntraced(function*(
  client: SqlClient.SqlClient,
  timeout: number
): Effect.fn.Return<Backend, SessionConfigError> {
  const runtime = yield* detachedRuntime
  const createTable: Backend["createTable"] = (table) => createByMigrator(client, runtime, table, maintenanceTimeout)
  return yield* client.onDialectOrElse({
    pg: () =>
      Effect.succeed<Backend>({
        dialect: postgres,
        run: makeRun(pgRunner(client, runtime), postgres),
        createTable
      }),
    mysql: () =>
      Effect.succeed<Backend>({
        dialect: mysql,
        run: makeRun(mysqlRunner(client, runtime), mysql),
        createTable
      }),
    sqlite: () =>
      Effect.map(sqliteRun(client, runtime, timeout), (run): Backend => ({
        dialect: sqlite,
        run,
        createTable: ({ ddl }, run) => createDirectly(run, ddl)
      })),
    orElse: () => misconfigured("SqlClient", "The SQL store knows PostgreSQL, MySQL, MariaDB and SQLite.")
  })
})

/** What runs statements on a driver's own pool. */
export const overPool = (
  pool: PgPool | MySqlPool | { readonly pool: MySqlPool },
  prepare = true
): Effect.Effect<Backend, SessionConfigError, Scope.Scope> => {
  if ("connect" in pool) {
    // An idle connection that is lost is an event of the pool, and without a listener the end of the process.
    const listen = Effect.acquireRelease(
      Effect.sync(() => pool.on("error", ignore)),
      () => Effect.sync(() => pool.removeListener("error", ignore))
    )
    return Effect.as(listen, {
      dialect: postgres,
      run: makeRun(pgPoolRunner(pool, prepare), postgres),
      // Statements that are sent together are one transaction.
      createTable: ({ ddl }, run) => createDirectly(run, [ddl.join(";\n")])
    })
  }
  const mysqlPool = "pool" in pool ? pool.pool : pool
  if (!("getConnection" in mysqlPool)) {
    return misconfigured("pool", "Give a Pool of pg, mysql2 or mysql2/promise. A single connection is no pool.")
  }
  if (!prepare) return misconfigured("prepare", "mysql2 always prepares. Leave the option out.")
  return Effect.succeed({
    dialect: mysql,
    run: makeRun(mysqlPoolRunner(mysqlPool), mysql),
    createTable: ({ ddl }, run) => createDirectly(run, ddl)
  })
}
