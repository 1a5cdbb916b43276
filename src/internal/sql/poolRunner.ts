/**
 * Runs statements on a driver's own pool.
 *
 * @internal
 */
import { type DriverAdapter, mysqlAdapter, type MySqlConnection, pgAdapter, type PgClient } from "./drivers.js"
import type { Done, Prepared, Runner } from "./run.js"

/** The pool of `pg`, as much of it as the store needs. */
export interface PgPool {
  connect(
    callback: (error: Error | undefined, client: PgClient | undefined, release: (error?: boolean) => void) => void
  ): void
  on(event: "error", listener: () => void): unknown
  removeListener(event: "error", listener: () => void): unknown
}

/** The pool of mysql2, as much of it as the store needs. */
export interface MySqlPool {
  getConnection(callback: (error: Error | null, connection: MySqlConnection) => void): void
}

/** A connection out of the pool. If it is not `reusable`, its release ends it. */
interface Lease<Connection> {
  readonly connection: Connection
  readonly release: (reusable: boolean) => void
}

type Acquire<Connection> = (callback: (error: unknown, lease?: Lease<Connection>) => void) => void

const makePoolRunner = <Connection>(
  acquire: Acquire<Connection>,
  { cancel, send }: DriverAdapter<Connection>
): Runner => ({
  start: (statement, params, done) => {
    // Dropped if the statement is abandoned, because a pool without a free connection keeps the callback and all it holds.
    let call: Call | undefined = { statement, params, done }
    let sent: Lease<Connection> | undefined
    acquire((error, lease) => {
      if (lease === undefined) return call?.done(error)
      if (call === undefined) return lease.release(true)
      sent = lease
      send(lease.connection, call.statement, call.params, (error, reply, reusable) => {
        if (call === undefined) return
        sent = undefined
        lease.release(reusable)
        call.done(error, reply)
      })
    })
    return () => {
      call = undefined
      // The pool gets the connection back after the request, which must not hit the statement of another operation. The
      // request comes before the end: a connection pooler forgets the key of a connection that has ended.
      const lease = sent
      if (lease !== undefined) cancel(lease.connection).then(() => lease.release(false))
    }
  }
})

interface Call {
  readonly statement: Prepared
  readonly params: ReadonlyArray<unknown>
  readonly done: Done
}

export const pgPoolRunner = (pool: PgPool, prepare: boolean): Runner =>
  makePoolRunner(
    (callback) =>
      pool.connect((error, client, release) => {
        if (client === undefined) return callback(error ?? new Error("connect returned no client: give a Pool of pg"))
        // A lost connection is also an event, for which the pool listens only while the connection is idle.
        client.on("error", ignore)
        callback(undefined, {
          connection: client,
          release: (reusable) => {
            client.removeListener("error", ignore)
            release(!reusable)
          }
        })
      }),
    pgAdapter(prepare)
  )

export const ignore = (): void => {}

export const mysqlPoolRunner = (pool: MySqlPool): Runner =>
  makePoolRunner(
    (callback) =>
      pool.getConnection((error, connection) =>
        error ? callback(error) : callback(undefined, {
          connection,
          release: (reusable) => reusable ? connection.release() : connection.destroy()
        })
      ),
    mysqlAdapter
  )
