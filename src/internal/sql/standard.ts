/**
 * The statements that PostgreSQL and SQLite share.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import {
  columnProblem,
  type Columns,
  type Dialect,
  type Limits,
  rowsOf,
  type Statements,
  unlimited
} from "./Dialect.js"
import type { Insertion, Lookup, Match, RunMaintenance, Table } from "./Dialect.js"
import { type Reply, returns, type Statement, type template } from "./Statement.js"
import type { Row } from "./values.js"

export type Sql = ReturnType<typeof template>

export const quote = (identifier: string): string => `"${identifier}"`

/** Most rows that one statement of the sweep deletes. */
const batch = 1000

const changed = ({ rows }: Reply) => rows.length > 0

/** `lock` ends the choice of expired rows. */
export const standardStatements = (
  sql: Sql,
  data: Dialect["data"],
  lock = ""
): Dialect["statements"] =>
(table, pageSize): Statements => {
  const key = (_: Lookup) => _.key
  const now = (_: { readonly now: number }) => _.now
  const expected = (_: Match) => _.expected
  const bytes = (_: Insertion) => data(_.data)
  const version = (_: Insertion) => _.version
  const expiresAt = (_: { readonly expiresAt: number }) => _.expiresAt
  const page = `ORDER BY "key" LIMIT ${pageSize}`

  // The deadline twice: a row may have been renewed between choice and lock.
  const sweep = returns(
    sql<{ readonly now: number }>`DELETE FROM ${table} WHERE expires_at <= ${now} AND "key" IN (
      SELECT "key" FROM ${table} WHERE expires_at <= ${now}
      ORDER BY expires_at LIMIT ${String(batch)} ${lock}) RETURNING 1`,
    ({ rows }) => ({ swept: rows.length, more: rows.length === batch })
  )

  return {
    load: returns(
      sql<Lookup>`SELECT data, version, expires_at FROM ${table} WHERE "key" = ${key} AND expires_at > ${now}`,
      rowsOf
    ),
    insert: returns(
      sql<Insertion>`INSERT INTO ${table} AS old ("key", data, version, expires_at)
        VALUES (${key}, ${bytes}, ${version}, ${expiresAt})
        ON CONFLICT ("key") DO UPDATE
        SET data = excluded.data, version = excluded.version, expires_at = excluded.expires_at
        WHERE old.expires_at <= ${now} RETURNING 1`,
      changed
    ),
    replace: returns(
      sql<Insertion & Match>`UPDATE ${table} SET data = ${bytes}, version = ${version}, expires_at = ${expiresAt}
        WHERE "key" = ${key} AND version = ${expected} AND expires_at > ${now} RETURNING 1`,
      changed
    ),
    touch: returns(
      sql<Match & { readonly expiresAt: number }>`UPDATE ${table} SET expires_at = ${expiresAt}
        WHERE "key" = ${key} AND version = ${expected} AND expires_at > ${now} RETURNING 1`,
      changed
    ),
    remove: returns(
      sql<Lookup>`DELETE FROM ${table} WHERE "key" = ${key} AND expires_at > ${now} RETURNING 1`,
      changed
    ),
    removeVersion: returns(
      sql<Match>`DELETE FROM ${table}
        WHERE "key" = ${key} AND version = ${expected} AND expires_at > ${now} RETURNING 1`,
      changed
    ),
    firstPage: returns(
      sql<{ readonly now: number }>`SELECT "key", data, expires_at FROM ${table}
        WHERE expires_at > ${now} AND "key" IS NOT NULL ${page}`,
      rowsOf
    ),
    nextPage: returns(
      sql<{ readonly now: number; readonly after: string | Uint8Array }>`SELECT "key", data, expires_at FROM ${table}
        WHERE expires_at > ${now} AND "key" > ${(_) => _.after} ${page}`,
      rowsOf
    ),
    sweep: (run, now) => run(sweep, { now })
  }
}

/** Reads the table, then the types of its columns, then whether its key is unique. */
export const standardInspect = (
  sql: Sql,
  expected: Columns,
  columns: Statement<Table, ReadonlyArray<Row>>,
  hasKey: (run: RunMaintenance, table: Table) => Effect.Effect<boolean, unknown>
): Dialect["inspect"] =>
  Effect.fnUntraced(function*(run: RunMaintenance, table: Table): Effect.fn.Return<Limits | string, unknown> {
    yield* run(sql`SELECT "key", data, version, expires_at FROM ${table.quoted} WHERE 1 = 0`, undefined)
    const problem = columnProblem(expected, yield* run(columns, table))
    if (problem !== undefined) return problem
    return (yield* hasKey(run, table)) ? unlimited : `"key" has to be the primary key, or unique by itself.`
  })
