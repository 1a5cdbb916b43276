// The examples of the docs are compiled without the other files of this folder.
// eslint-disable-next-line @typescript-eslint/triple-slash-reference
/// <reference path="./pg.d.ts" />
/**
 * Opens the pool of a URL, and asks the server for a reply. None of their sockets outlives the scope.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PoolOptions as MySqlConfig } from "mysql2"
import { connect, type NetConnectOpts, Socket } from "node:net"
import { bounded } from "../bounded.js"
import { mysql } from "./mysql.js"
import { ignore, type MySqlPool, mysqlPoolRunner, type PgPool, pgPoolRunner } from "./poolRunner.js"
import { postgres } from "./postgres.js"
import { makeRun, type RunAny } from "./run.js"
import { template } from "./Statement.js"

/** As much of `pg` as is used. */
export interface PgDriver {
  readonly Pool: new(config: PgConfig) => PgPool & { readonly end: () => Promise<void> }
}

/** A pool's options. What the connection string says comes first. */
export interface PgConfig {
  readonly connectionString?: string
  readonly application_name?: string
  readonly host?: string
  readonly port?: number
  readonly user?: string
  readonly database?: string
  readonly ssl?: object
  readonly max?: number
  readonly connectionTimeoutMillis?: number
  readonly stream?: () => Socket
}

/** Fails with the driver's error if the server does not reply within `millis`. */
export const openPgPool = (
  driver: PgDriver,
  millis: number,
  config: PgConfig
): Effect.Effect<PgPool, unknown, Scope.Scope> =>
  openPool(
    (keep) => {
      const pool = new driver.Pool({ application_name: "effect-session", ...config, stream: () => keep(new Socket()) })
      // The store listens only while it is open. Before and after that, a lost idle connection would end the process.
      pool.on("error", ignore)
      return pool
    },
    (pool) => pool.end(),
    (pool) => ping(makeRun(pgPoolRunner(pool, false), postgres), millis)
  )

/** As much of mysql2 as is used. */
export interface MySqlDriver {
  readonly createPool: (config: MySqlConfig) => MySqlPool & { readonly end: (done: (error: unknown) => void) => void }
}

export const openMySqlPool = (
  driver: MySqlDriver,
  millis: number,
  target: NetConnectOpts,
  config: MySqlConfig
): Effect.Effect<MySqlPool, unknown, Scope.Scope> =>
  openPool(
    (keep) =>
      driver.createPool({ ...config, stream: () => keep(connect({ ...target, keepAlive: true, noDelay: true })) }),
    (pool) => new Promise<unknown>((resolve) => pool.end(resolve)),
    (pool) => ping(makeRun(mysqlPoolRunner(pool), mysql), millis)
  )

const ping = (run: RunAny, millis: number) => run(template(() => "")`SELECT 1`, undefined, millis)

/** Milliseconds. Drivers end a session and wait for a reply, which a silent server never sends. */
const endTimeout = 1000

const openPool = <Pool>(
  open: (keep: (socket: Socket) => Socket) => Pool,
  end: (pool: Pool) => Promise<unknown>,
  ping: (pool: Pool) => Effect.Effect<unknown, unknown>
): Effect.Effect<Pool, unknown, Scope.Scope> =>
  Effect.suspend(() => {
    const sockets = new Set<Socket>()
    const keep = (socket: Socket) => {
      sockets.add(socket)
      return socket.once("close", () => sockets.delete(socket))
    }
    const pool = Effect.acquireRelease(
      Effect.sync(() => open(keep)),
      (pool) =>
        Effect.andThen(
          Effect.ignore(bounded(endTimeout, () => end(pool))),
          () => sockets.forEach((socket) => socket.destroySoon())
        )
    )
    return Effect.tap(pool, ping)
  })
