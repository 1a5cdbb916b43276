/**
 * Runs one statement on a connection of the pool. A connection that has not
 * answered in time is given up: in the pool, everybody who got it would wait in
 * vain, until the system notices after a quarter of an hour that nobody is there.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"

/** Ends a connection at once, whatever it waits for. */
export type GiveUp = (sql: SqlClient.SqlClient, connection: Connection) => void

/**
 * A statement that still waits for a connection is not sent when its fiber is
 * interrupted; one that was sent may still be done, and its connection goes.
 */
export const onConnection = <A>(
  sql: SqlClient.SqlClient,
  statement: Statement.Statement<unknown>,
  run: (connection: Connection, text: string, params: ReadonlyArray<unknown>) => Effect.Effect<A, SqlError>,
  giveUp: GiveUp
): Effect.Effect<A, SqlError> =>
  Effect.suspend(() => {
    const [text, params] = statement.compile()
    return Effect.scoped(Effect.flatMap(
      // The connection that comes to a fiber that has gone would be lost to the pool.
      Effect.uninterruptible(sql.reserve),
      (connection) => detached(run(connection, text, params), () => giveUp(sql, connection))
    ))
  })

/** In a fiber of its own, for drivers do more about an interruption than there is time for. */
const detached = <A>(effect: Effect.Effect<A, SqlError>, onInterrupt: () => void): Effect.Effect<A, SqlError> =>
  Effect.async((resume) => {
    Effect.runCallback(effect, { onExit: resume })
    return Effect.sync(onInterrupt)
  })

/** As much as has to be known of the driver's client; other drivers of the dialect may have none. */
interface Held {
  readonly pg?: { readonly processID?: number; readonly end: () => Promise<void> }
  readonly conn?: { readonly destroy: () => void }
}

/** Then its statement is cancelled, which otherwise would go on to wait for its lock. */
export const giveUpPostgres: GiveUp = (sql, connection) => {
  const { pg } = connection as Held
  if (pg === undefined) return
  pg.end().catch(() => {})
  if (pg.processID !== undefined) Effect.runFork(cancel(sql, pg.processID))
}

/** By another connection, which may be as silent, and then goes too. */
const cancel = (sql: SqlClient.SqlClient, processID: number) =>
  Effect.uninterruptible(sql.reserve).pipe(
    Effect.flatMap((connection) =>
      detached(
        connection.executeRaw("SELECT pg_cancel_backend($1)", [processID]),
        () => (connection as Held).pg?.end().catch(() => {})
      )
    ),
    Effect.scoped,
    Effect.timeout("1 second"),
    Effect.ignore
  )

export const giveUpMySql: GiveUp = (_, connection) => (connection as Held).conn?.destroy()
