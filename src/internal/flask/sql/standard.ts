/**
 * Flask-Session's table on PostgreSQL and on SQLite.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import { rowsOf } from "../../sql/Dialect.js"
import { type Reply, returns, template } from "../../sql/Statement.js"
import { asBuffer } from "../bytes.js"
import { batchSize, type FlaskTable, type Lookup, type Match, pageSize, type Statements, type Write } from "./Table.js"

interface Differences {
  readonly placeholder: (index: number) => string
  /** The type of a deadline's placeholder. */
  readonly cast: string
  /** The milliseconds of a deadline. */
  readonly millis: string
}

const changed = ({ rows }: Reply) => rows.length > 0

const tableOf = ({ cast, millis, placeholder }: Differences): FlaskTable => {
  const sql = template(placeholder)
  return {
    inspect: (run, quoted) =>
      Effect.as(run(sql`SELECT id, session_id, data, expiry FROM ${quoted} WHERE 1 = 0`, undefined), Infinity),
    statements: (table): Statements => {
      const key = (_: Lookup) => _.key
      const now = (_: { readonly now: string }) => _.now
      const data = (_: Write) => asBuffer(_.data)
      const expiry = (_: { readonly expiry: string }) => _.expiry
      const expected = (_: Match) => asBuffer(_.expected)
      const insert = returns(
        sql<Write>`INSERT INTO ${table} AS old (session_id, data, expiry) VALUES (${key}, ${data}, ${expiry}${cast})
          ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry
          WHERE old.expiry IS NULL OR old.expiry <= ${now}${cast} RETURNING 1`,
        changed
      )
      return {
        insert: (send, write) => send(insert, write),
        load: returns(
          sql<Lookup>`SELECT data, ${millis} AS millis FROM ${table}
            WHERE session_id = ${key} AND expiry > ${now}${cast}`,
          rowsOf
        ),
        replace: returns(
          sql<Write & Match>`UPDATE ${table} SET data = ${data}, expiry = ${expiry}${cast}
            WHERE session_id = ${key} AND data = ${expected} AND expiry > ${now}${cast} RETURNING 1`,
          changed
        ),
        touch: returns(
          sql<Lookup & Match & { readonly expiry: string }>`UPDATE ${table} SET expiry = ${expiry}${cast}
            WHERE session_id = ${key} AND data = ${expected} AND expiry > ${now}${cast} RETURNING 1`,
          changed
        ),
        remove: returns(
          sql<Lookup>`DELETE FROM ${table} WHERE session_id = ${key} AND expiry > ${now}${cast} RETURNING 1`,
          changed
        ),
        removeMatching: returns(
          sql<Lookup & Match>`DELETE FROM ${table}
            WHERE session_id = ${key} AND data = ${expected} AND expiry > ${now}${cast} RETURNING 1`,
          changed
        ),
        page: returns(
          sql<{ readonly now: string; readonly after: number }>`SELECT id, session_id, data, ${millis} AS millis
            FROM ${table} WHERE id > ${(_) => _.after} AND expiry > ${now}${cast} ORDER BY id LIMIT ${
            String(pageSize)
          }`,
          rowsOf
        ),
        sweep: returns(
          sql<{ readonly now: string }>`DELETE FROM ${table} WHERE expiry <= ${now}${cast} AND id IN (
            SELECT id FROM ${table} WHERE expiry <= ${now}${cast} LIMIT ${String(batchSize)}) RETURNING 1`,
          ({ rows }) => rows.length
        )
      }
    }
  }
}

export const postgresTable = tableOf({
  placeholder: (index) => `$${index}`,
  cast: "::timestamp",
  millis: "floor(extract(epoch FROM expiry) * 1000)::text"
})

/** Its deadlines are text of one length, which compares as time does. */
export const sqliteTable = tableOf({
  placeholder: () => "?",
  cast: "",
  millis: "CAST(strftime('%s', expiry) AS INTEGER) * 1000 + CAST(substr(expiry, 21, 3) AS INTEGER)"
})
