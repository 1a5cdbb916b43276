/**
 * Runs statements on SQLite, over any `SqlClient`. Its clients have one
 * connection.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { isInTransaction, runDetached } from "./effectSql.js"
import { busyTimeout, executeLibsql, type Libsql, libsqlOf } from "./libsql.js"
import { maintenanceTimeout, makeRun, type RunAny, type Runner } from "./run.js"
import { makeRunner } from "./sqlClientRunner.js"
import { inTransaction, sqlite } from "./sqlite.js"
import type { Row } from "./values.js"

/** What runs the statements; `timeout` is what an operation may take, in milliseconds. */
export const sqliteRun = (
  client: SqlClient.SqlClient,
  runtime: Runtime.Runtime<never>,
  timeout: number
): Effect.Effect<RunAny> => {
  const refuse = refuseInTransaction(client, runtime)
  const setUpOnce = runDetached(runtime, setUp(client.withoutTransforms(), timeout), maintenanceTimeout)
  return Effect.map(
    Effect.orElseSucceed(Effect.zipRight(refuse, setUpOnce), (): Connected => ({ wait: longestWait })),
    ({ libsql, wait }) => {
      const runner = sqliteRunner(client, runtime, wait)
      const run = makeRun(libsql === undefined ? runner : readDirectly(runner, libsql, wait), sqlite)
      return (...args) => Effect.zipRight(refuse, run(...args))
    }
  )
}

const sqliteRunner = (client: SqlClient.SqlClient, runtime: Runtime.Runtime<never>, wait: number): Runner =>
  makeRunner(client, runtime, (connection, { text }, params) => {
    const libsql = libsqlOf(connection)
    return libsql === undefined
      ? Effect.map(connection.execute(text, params, undefined), (rows) => ({ rows }))
      : Effect.tryPromise({
        try: () => executeLibsql(libsql, { sql: text, args: params }, wait),
        catch: (cause) => cause
      })
  })

/**
 * Reads without waiting for a transaction of the application, which saves half
 * of a load's time. libsql reads on another connection meanwhile, and in WAL mode
 * a reader waits for no writer.
 */
const readDirectly = (runner: Runner, libsql: Libsql, wait: number): Runner => {
  let isWal: boolean | undefined
  const readMode = async () => {
    isWal = false
    const { rows: [row] } = await libsql.execute({ sql: "PRAGMA journal_mode", args: [] })
    isWal = row?.journal_mode === "wal"
  }
  return {
    start: (statement, params, done) => {
      if (!isWal || !statement.text.startsWith("SELECT")) {
        return runner.start(statement, params, (error, reply) => {
          // The table is there now, and with it the mode.
          if (isWal === undefined && reply !== undefined) readMode().catch(() => {})
          done(error, reply)
        })
      }
      executeLibsql(libsql, { sql: statement.text, args: params }, wait).then((reply) => done(undefined, reply), done)
      return () => {}
    }
  }
}

/** Milliseconds, during which the process stands still; what better-sqlite3 has by default. */
const longestWait = 5000

interface Connected {
  /** How long a statement waits for a file in use, in milliseconds. */
  readonly wait: number
  readonly libsql?: Libsql | undefined
}

const setUp = (sql: SqlClient.SqlClient, timeout: number): Effect.Effect<Connected, SqlError> =>
  Effect.gen(function*() {
    yield* Effect.ignore(checkpointOften(sql))
    const chosen = yield* Effect.orElseSucceed(pragma(sql, "busy_timeout"), () => 0)
    const wait = [0, longestWait].includes(chosen) ? Math.min(Math.ceil(timeout), longestWait) : chosen
    yield* Effect.ignore(sql.unsafe(busyTimeout(wait)))
    return { wait, libsql: libsqlOf(yield* sql.reserve) }
  }).pipe(Effect.scoped)

/**
 * Where sessions are many, each page of the log belongs to another page of the
 * file, and the write that fills the log waits for all of them: at a million
 * sessions and 1000 pages, as by default, the slowest hundredth of the writes
 * took 27 ms; with 100 it is 12 (`bench/million.mjs`). Another number was chosen
 * by the application, and stays.
 */
const checkpointOften = (sql: SqlClient.SqlClient): Effect.Effect<unknown, SqlError> =>
  Effect.flatMap(
    pragma(sql, "wal_autocheckpoint"),
    (pages) => pages === 1000 ? sql.unsafe("PRAGMA wal_autocheckpoint = 100") : Effect.void
  )

const pragma = (sql: SqlClient.SqlClient, name: string): Effect.Effect<number, SqlError> =>
  Effect.map(sql.unsafe<Row>(`PRAGMA ${name}`), ([row]) => Number(Object.values(row ?? {})[0]))

/**
 * A session used inside of a transaction would wait for the transaction, which
 * waits for the session. So a fiber in a transaction never waits for the
 * connection: if it is taken, by whatever fiber, the statement fails at once.
 * (Whose transaction it is cannot be seen; one on another client leaves ours
 * free.)
 */
const refuseInTransaction = (
  client: SqlClient.SqlClient,
  runtime: Runtime.Runtime<never>
): Effect.Effect<void, unknown> => {
  const isTaken = () => Exit.isFailure(Runtime.runSyncExit(runtime)(Effect.scoped(client.reserve)))
  return Effect.contextWithEffect((context: Context.Context<never>) =>
    isInTransaction(context) && isTaken() ? Effect.fail(new InTransaction()) : Effect.void
  )
}

class InTransaction extends Error {
  readonly code = inTransaction
  constructor() {
    super(
      "On SQLite a session cannot be used inside of a transaction of the same client, which has only one connection. " +
        "Use the session before or after it, or give the store a client and a file of its own."
    )
  }
}
