/** The same pool for every library that keeps its sessions in PostgreSQL. */
import pg from "pg"

/** `BENCH_STORE=postgres`, at `DATABASE_URL`; otherwise sessions are in memory. */
export const inPostgres = process.env.BENCH_STORE === "postgres"

export const pgPool = () => new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
