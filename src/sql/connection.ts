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
import { cancelStatement, type PgClient } from "./cancel.js"
import type { Row } from "./dialects.js"
import { sqlError } from "./effect-sql.js"

/** How one driver is spoken to. */
export interface Wire<A> {
  /** Sends the statement; false, and nothing is sent, when the connection is another driver's. */
  readonly send: (connection: Connection, text: string, params: ReadonlyArray<unknown>, done: Done<A>) => boolean
  /** The same by any driver of the dialect. */
  readonly run: (connection: Connection, text: string, params: ReadonlyArray<unknown>) => Effect.Effect<A, SqlError>
  /** Cancels the statement if the driver can, and ends the connection, whatever it waits for. */
  readonly giveUp: (connection: Connection) => Effect.Effect<void>
}

/** `answer` is there when no error is. */
type Done<A> = (error: unknown, answer: A) => void

/**
 * A statement that still waits for a connection is not sent when its fiber is
 * interrupted; one that was sent may still be done, and its connection goes.
 */
export const onConnection = <A>(
  sql: SqlClient.SqlClient,
  statement: Statement.Statement<unknown>,
  wire: Wire<A>
): Effect.Effect<A, SqlError> =>
  Effect.suspend(() => {
    const [text, params] = statement.compile()
    return Effect.scoped(Effect.flatMap(
      // The connection that comes to a fiber that has gone would be lost to the pool.
      Effect.uninterruptible(sql.reserve),
      (connection) =>
        Effect.async<A, SqlError>((resume) => {
          const sent = wire.send(
            connection,
            text,
            params,
            (error, answer) => resume(error ? Effect.fail(sqlError(error)) : Effect.succeed(answer))
          )
          // In a fiber of its own, for drivers do more about an interruption than there is time for.
          if (!sent) Effect.runCallback(wire.run(connection, text, params), { onExit: resume })
          return wire.giveUp(connection)
        })
    ))
  })

// As much as has to be known of the drivers; others of the dialect have nothing of it.

interface PgConnection {
  readonly pg?: PgClient & {
    readonly query: (
      text: string,
      params: ReadonlyArray<unknown>,
      done: Done<{ readonly rows: ReadonlyArray<Row> }>
    ) => void
    readonly end: () => Promise<void>
  }
}

export const postgresWire: Wire<ReadonlyArray<Row>> = {
  send: (connection, text, params, done) => {
    const { pg } = connection as PgConnection
    pg?.query(text, params, (error, result) => done(error, result?.rows))
    return pg !== undefined
  },
  // Rows of unknown columns are what the driver's `any` stands for.
  run: (connection, text, params) => connection.execute(text, params, undefined),
  // The request comes first: a connection pooler forgets the key of a connection that has ended. The pool gets the
  // connection back after it has ended, so that the request cannot hit the statement of another operation.
  giveUp: (connection) => {
    const { pg } = connection as PgConnection
    if (pg === undefined) return Effect.void
    return Effect.zipRight(
      cancelStatement(pg),
      Effect.sync(() => {
        pg.end().catch(() => {})
      })
    )
  }
}

interface MySqlConnection {
  readonly conn?: {
    readonly execute: (
      statement: { readonly sql: string; readonly values: ReadonlyArray<unknown> },
      done: Done<unknown>
    ) => void
    readonly destroy: () => void
  }
}

export const mysqlWire: Wire<unknown> = {
  // Prepared, so that nothing depends on how text is escaped.
  send: (connection, sql, values, done) => {
    const { conn } = connection as MySqlConnection
    conn?.execute({ sql, values }, done)
    return conn !== undefined
  },
  run: (connection, text, params) => connection.executeRaw(text, params),
  giveUp: (connection) => Effect.sync(() => (connection as MySqlConnection).conn?.destroy())
}
