/**
 * Runs statements over any `SqlClient` of `@effect/sql`. A connection that has
 * not replied in time is abandoned: in the pool, each later operation would
 * wait in vain, until the system notices after a quarter of an hour that the
 * server is gone.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import {
  type DriverAdapter,
  mysqlAdapter,
  type MySqlConnection,
  mysqlReply,
  pgAdapter,
  type PgClient
} from "./drivers.js"
import { driverError } from "./effectSql.js"
import type { Done, Prepared, Runner } from "./run.js"
import type { Reply } from "./Statement.js"

/** How the driver's connection is found, and how the connections of other drivers run a statement. */
interface Driver<DriverConnection> extends DriverAdapter<DriverConnection> {
  readonly inside: (connection: Connection) => DriverConnection | undefined
  readonly run: (
    connection: Connection,
    text: string,
    params: ReadonlyArray<unknown>
  ) => Effect.Effect<Reply, unknown>
}

const pg: Driver<PgClient> = {
  ...pgAdapter(false),
  // a property that the type of `@effect/sql` does not have
  inside: (connection) => (connection as { readonly pg?: PgClient }).pg,
  run: (connection, text, params) => Effect.map(connection.execute(text, params, undefined), (rows) => ({ rows }))
}

const mysql: Driver<MySqlConnection> = {
  ...mysqlAdapter,
  inside: (connection) => (connection as { readonly conn?: MySqlConnection }).conn,
  run: (connection, text, params) => Effect.map(connection.executeRaw(text, params), mysqlReply)
}

const sendOn = <DriverConnection>(
  driver: Driver<DriverConnection>,
  connection: Connection,
  statement: Prepared,
  params: ReadonlyArray<unknown>
): Effect.Effect<Reply, unknown> => {
  const inside = driver.inside(connection)
  // Disconnected, because drivers do more about an interruption than there is time for.
  if (inside === undefined) return Effect.disconnect(driver.run(connection, statement.text, params))
  return Effect.async((resume) => {
    driver.send(
      inside,
      statement,
      params,
      (error, reply) => resume(error ? Effect.fail(error) : Effect.succeed(reply!))
    )
    // The request comes first: a connection pooler forgets the key of a connection that has ended. The client gets the
    // connection back after it has ended, so that the request cannot hit the statement of another operation.
    return Effect.andThen(Effect.promise(() => driver.cancel(inside)), () => driver.end(inside))
  })
}

/** Runs a statement on a connection of the client, in a fiber of its own. */
export const makeRunner = (
  client: SqlClient.SqlClient,
  runtime: Runtime.Runtime<never>,
  send: (connection: Connection, statement: Prepared, params: ReadonlyArray<unknown>) => Effect.Effect<Reply, unknown>
): Runner => {
  const fork = Runtime.runCallback(runtime)
  // The connection that comes to an interrupted fiber would be lost to the pool.
  const reserve = Effect.uninterruptible(client.reserve)
  return {
    start: (statement, params, done) =>
      fork(Effect.scoped(Effect.flatMap(reserve, (connection) => send(connection, statement, params))), {
        onExit: (exit) => replyTo(done, exit)
      })
  }
}

const replyTo = (done: Done, exit: Exit.Exit<Reply, unknown>) =>
  Exit.match(exit, { onFailure: (cause) => done(driverError(cause)), onSuccess: (reply) => done(undefined, reply) })

export const pgRunner = (client: SqlClient.SqlClient, runtime: Runtime.Runtime<never>): Runner =>
  makeRunner(client, runtime, (...args) => sendOn(pg, ...args))

export const mysqlRunner = (client: SqlClient.SqlClient, runtime: Runtime.Runtime<never>): Runner =>
  makeRunner(client, runtime, (...args) => sendOn(mysql, ...args))
