/**
 * Opens the pools of a URL. None of their sockets outlives the scope.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PoolOptions as MySqlConfig } from "mysql2"
import { connect, type NetConnectOpts, Socket } from "node:net"
import { bounded } from "../bounded.js"
import type { MySqlPool, PgPool } from "./poolRunner.js"

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

export const openPgPool = (driver: PgDriver, config: PgConfig): Effect.Effect<PgPool, never, Scope.Scope> =>
  openPool(
    (keep) => new driver.Pool({ application_name: "effect-session", ...config, stream: () => keep(new Socket()) }),
    (pool) => pool.end()
  )

/** As much of mysql2 as is used. */
export interface MySqlDriver {
  readonly createPool: (config: MySqlConfig) => MySqlPool & { readonly end: (done: (error: unknown) => void) => void }
}

export const openMySqlPool = (
  driver: MySqlDriver,
  target: NetConnectOpts,
  config: MySqlConfig
): Effect.Effect<MySqlPool, never, Scope.Scope> =>
  openPool(
    (keep) =>
      driver.createPool({ ...config, stream: () => keep(connect({ ...target, keepAlive: true, noDelay: true })) }),
    (pool) => new Promise<unknown>((resolve) => pool.end(resolve))
  )

/** Milliseconds. Drivers end a session and wait for a reply, which a silent server never sends. */
const endTimeout = 1000

const openPool = <Pool>(
  open: (keep: (socket: Socket) => Socket) => Pool,
  end: (pool: Pool) => Promise<unknown>
): Effect.Effect<Pool, never, Scope.Scope> =>
  Effect.suspend(() => {
    const sockets = new Set<Socket>()
    const keep = (socket: Socket) => {
      sockets.add(socket)
      return socket.once("close", () => sockets.delete(socket))
    }
    return Effect.acquireRelease(
      Effect.sync(() => open(keep)),
      (pool) =>
        Effect.andThen(
          Effect.ignore(bounded(endTimeout, () => end(pool))),
          () => sockets.forEach((socket) => socket.destroySoon())
        )
    )
  })
