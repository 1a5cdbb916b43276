/**
 * How the connections of `pg` and of mysql2 are used. The interfaces name as
 * much of the drivers as the store needs.
 *
 * @internal
 */
import { cancelStatement, type PgAddress } from "./cancelRequest.js"
import { codeOf } from "./Dialect.js"
import type { Prepared } from "./run.js"
import type { Reply } from "./Statement.js"
import type { Row } from "./values.js"

export interface DriverAdapter<Connection> {
  readonly send: (connection: Connection, statement: Prepared, params: ReadonlyArray<unknown>, done: Sent) => void
  /** Cancels the statement that the connection runs, if the driver can. */
  readonly cancel: (connection: Connection) => Promise<void>
  /** Ends the connection, whatever it waits for. */
  readonly end: (connection: Connection) => void
}

/** Without an error there is a reply. A connection that is not `reusable` has to be ended. */
export type Sent = (error: unknown, reply: Reply | undefined, reusable: boolean) => void

/** A client of `pg`. */
export interface PgClient extends PgAddress {
  query(query: PgQuery, done: (error: unknown, result: { readonly rows: ReadonlyArray<Row> }) => void): void
  end(): Promise<void>
  on(event: "error", listener: () => void): unknown
  removeListener(event: "error", listener: () => void): unknown
}

interface PgQuery {
  readonly text: string
  readonly values: ReadonlyArray<unknown>
  /** Kept prepared on the connection under this name. */
  readonly name?: string
}

/** Without `prepare` the server forgets each statement. */
export const pgAdapter = (prepare: boolean): DriverAdapter<PgClient> => ({
  send: (client, { name, text }, values, done) => {
    // Several statements in one text cannot be prepared. They have no parameters.
    const isNamed = prepare && values.length > 0
    client.query(isNamed ? { name, text, values } : { text, values }, (error, result) => {
      if (!error) return done(undefined, result, true)
      if (!isNamed || !isPlanLost(error)) return done(error, undefined, !isConnectionLost(error))
      // Nothing was applied. The driver would use the name again, so the connection is ended after this.
      client.query({ text, values }, (error, result) => done(error, result, false))
    })
  },
  cancel: cancelStatement,
  end: (client) => {
    client.end().catch(() => {})
  }
})

/**
 * The server does not know the name (26000), or has it already (42P05): a pooler
 * gave the connection another backend, or the application discarded the
 * statements. Or a column changed its type (0A000).
 */
const isPlanLost = (error: unknown) =>
  /^(26000|42P05)$/.test(codeOf(error)) || codeOf(error) === "0A000" && /cached plan/.test(String(error))

/** An error of the system, a server that shuts down, or one that has become a read-only replica. */
const isConnectionLost = (error: unknown) => /^($|E|08|57P|25006)/.test(codeOf(error))

/** A connection of mysql2. */
export interface MySqlConnection {
  readonly config?: { readonly rowsAsArray?: unknown; readonly nestTables?: unknown; readonly typeCast?: unknown }
  execute(text: string, values: Array<MySqlValue>, done: Executed): void
  execute(statement: PlainRows & { readonly sql: string; readonly values: Array<MySqlValue> }, done: Executed): void
  release(): void
  destroy(): void
}

type MySqlValue = string | number | Uint8Array | null

type Executed = (error: unknown, result: unknown) => void

interface PlainRows {
  readonly rowsAsArray: boolean
  readonly nestTables: boolean
  readonly typeCast: (field: unknown, next: () => unknown) => unknown
}

/** Rows of objects, with the driver's own values. */
const plainRows: PlainRows = { rowsAsArray: false, nestTables: false, typeCast: (_, next) => next() }

const readsPlainRows = ({ config }: MySqlConnection) =>
  config !== undefined && !config.rowsAsArray && !config.nestTables && typeof config.typeCast !== "function"

export const mysqlAdapter: DriverAdapter<MySqlConnection> = {
  // Prepared, so that nothing depends on how text is escaped.
  send: (connection, { text: sql }, params, done) => {
    const values = params as Array<MySqlValue> // as the dialect makes them; the driver only reads them
    const executed: Executed = (error, result) =>
      error ? done(error, undefined, !isUnusable(error)) : done(undefined, mysqlReply(result), true)
    // Options cost 15 % of a statement.
    if (readsPlainRows(connection)) connection.execute(sql, values, executed)
    else connection.execute({ ...plainRows, sql, values }, executed)
  },
  // The protocol has no request for it: KILL is a statement with an id that a proxy may have made up.
  cancel: () => Promise.resolve(),
  end: (connection) => connection.destroy()
}

/** The connection is lost, or the server has become a read-only replica. */
const isUnusable = (error: unknown) =>
  typeof error === "object" && error !== null &&
  ("fatal" in error && error.fatal === true ||
    "errno" in error && [1290, 1792, 1836].includes(Number(error.errno)))

/** mysql2 returns an array of rows, or the counts of a write. */
export const mysqlReply = (result: unknown): Reply => {
  if (Array.isArray(result)) return { rows: result as ReadonlyArray<Row> } // the driver's `any` ends here
  const { affectedRows, insertId } = result as { readonly affectedRows: unknown; readonly insertId: unknown }
  return { rows: [], affectedRows: Number(affectedRows), insertId: Number(insertId) }
}
