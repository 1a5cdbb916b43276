/** The drivers' own pools, beside the `SqlClient` that most tests use to look at the table. */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createPool, type PoolOptions } from "mysql2"
import pg from "pg"
import { openMySqlPool, openPgPool, type PgConfig, type PgDriver } from "../../src/internal/sql/openPool.js"
import * as Sql from "../../src/layers/Sql.js"
import type { SessionConfigError } from "../../src/SessionConfigError.js"
import type { SessionScan, SessionStore, SessionSweeper } from "../../src/SessionStore.js"

export class Pool extends Context.Tag("test/Pool")<Pool, Sql.PgPool | Sql.MySqlPool>() {}

export const layerPg = (config: PgConfig): Layer.Layer<Pool> =>
  // the types of `pg` are not installed
  Layer.scoped(Pool, Effect.orDie(openPgPool(pg as PgDriver, 5000, config)))

export const layerMySql = (url: string, config: PoolOptions = {}): Layer.Layer<Pool> =>
  Layer.scoped(
    Pool,
    Effect.suspend(() => {
      const { hostname, port } = new URL(url)
      return openMySqlPool({ createPool }, 5000, { host: hostname, port: Number(port) }, { uri: url, ...config })
    }).pipe(Effect.orDie)
  )

type Stores = SessionStore | SessionSweeper | SessionScan

/** The two ways to run the store's statements. */
export const runners: Readonly<
  Record<
    "SqlClient" | "pool",
    (options: Sql.Options) => Layer.Layer<Stores, SessionConfigError, SqlClient.SqlClient | Pool>
  >
> = {
  SqlClient: Sql.layer,
  pool: (options) => Layer.unwrapEffect(Effect.map(Pool, (pool) => Sql.layerPool({ ...options, pool })))
}

export type Runner = (typeof runners)["pool"]
