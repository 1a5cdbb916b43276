/**
 * How the connections of `pg` and of mysql2 are used. The interfaces name as
 * much of the drivers as the store needs.
 *
 * @internal
 */
import { cancelStatement, type PgAddress } from "./cancelRequest.js"
import type { Done, Prepared } from "./run.js"
import type { Row } from "./values.js"

export interface DriverAdapter<Connection> {
  readonly send: (connection: Connection, statement: Prepared, params: ReadonlyArray<unknown>, done: Done) => void
  /** Cancels the statement if the driver can, and then ends the connection, whatever it waits for. */
  readonly abandon: (connection: Connection, ended: () => void) => void
}

/** A client of `pg`. */
export interface PgClient extends PgAddress {
  readonly query: (
    query: { readonly text: string; readonly values: ReadonlyArray<unknown>; readonly name?: string },
    done: (error: unknown, result: { readonly rows: ReadonlyArray<Row> }) => void
  ) => void
  readonly end: () => Promise<void>
}

export const pgAdapter: DriverAdapter<PgClient> = {
  send: (client, { text }, values, done) => client.query({ text, values }, done),
  // The request comes first: a connection pooler forgets the key of a connection that has ended. The pool gets the
  // connection back after it has ended, so that the request cannot hit the statement of another operation.
  abandon: (client, ended) => {
    cancelStatement(client).then(() => {
      client.end().catch(() => {})
      ended()
    })
  }
}

/** A connection of mysql2. */
export interface MySqlConnection {
  readonly execute: (
    statement: { readonly sql: string; readonly values: ReadonlyArray<unknown> },
    done: (error: unknown, result: unknown) => void
  ) => void
  readonly destroy: () => void
}

export const mysqlAdapter: DriverAdapter<MySqlConnection> = {
  // Prepared, so that nothing depends on how text is escaped.
  send: (connection, { text }, values, done) =>
    connection.execute({ sql: text, values }, (error, result) => done(error, error ? undefined : mysqlReply(result))),
  abandon: (connection, ended) => {
    connection.destroy()
    ended()
  }
}

/** mysql2 returns an array of rows, or the counts of a write. */
export const mysqlReply = (result: unknown) => {
  if (Array.isArray(result)) return { rows: result as ReadonlyArray<Row> } // the driver's `any` ends here
  const { affectedRows, insertId } = result as { readonly affectedRows: unknown; readonly insertId: unknown }
  return { rows: [], affectedRows: Number(affectedRows), insertId: Number(insertId) }
}
