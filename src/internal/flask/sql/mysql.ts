/**
 * Flask-Session's table on MySQL and MariaDB. Its deadlines are in whole
 * seconds, its collation takes ids for equal that differ in case, and its
 * counter forbids the one-statement insert of the other databases.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import { rowsOf } from "../../sql/Dialect.js"
import { type Reply, returns, template } from "../../sql/Statement.js"
import { textOf } from "../../sql/values.js"
import { asBuffer } from "../bytes.js"
import { batchSize, type FlaskTable, type Lookup, type Match, pageSize, type Statements, type Write } from "./Table.js"

const sql = template(() => "?")

const affected = ({ affectedRows = 0 }: Reply) => affectedRows

const changed = (reply: Reply) => affected(reply) > 0

/** `LAST_INSERT_ID(1)` comes back with the reply if a row matched. The count of rows may leave out what did not change. */
const matched = ({ insertId = 0 }: Reply) => insertId === 1

const isDuplicate = (cause: unknown) =>
  typeof cause === "object" && cause !== null && "errno" in cause && cause.errno === 1062

const sizes: { readonly [type: string]: number } = { tinyblob: 255, blob: 65_535, mediumblob: 16_777_215 }

export const mysqlTable: FlaskTable = {
  inspect: Effect.fnUntraced(function*(run, quoted: string) {
    yield* run(sql`SELECT id, session_id, data, expiry FROM ${quoted} WHERE 1 = 0`, undefined)
    const { rows } = yield* run(sql`SHOW COLUMNS FROM ${quoted}`, undefined)
    const data = rows.find(({ Field }) => textOf(Field) === "data")
    return sizes[textOf(data?.Type)?.toLowerCase() ?? ""] ?? Infinity
  }),
  statements: (table): Statements => {
    const key = (_: Lookup) => _.key
    const now = (_: { readonly now: string }) => _.now
    const data = (_: Write) => asBuffer(_.data)
    const expiry = (_: { readonly expiry: string }) => _.expiry
    const expected = (_: Match) => asBuffer(_.expected)
    const millis = "TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', expiry) * 1000"
    const insert = returns(
      sql<Write>`INSERT INTO ${table} (session_id, data, expiry) VALUES (${key}, ${data}, ${expiry})`,
      changed
    )
    const removeExpired = returns(
      sql<Lookup>`DELETE FROM ${table} WHERE session_id = ${key} AND CAST(session_id AS BINARY) = ${key}
        AND (expiry IS NULL OR expiry <= ${now})`,
      changed
    )
    const load = returns(
      sql<Lookup>`SELECT data, ${millis} AS millis FROM ${table}
        WHERE session_id = ${key} AND CAST(session_id AS BINARY) = ${key} AND expiry > ${now}`,
      rowsOf
    )
    /** What keeps the row out is live, or expired, or has gone meanwhile. */
    const insertLive: Statements["insert"] = (send, write) =>
      Effect.catchIf(
        send(insert, write),
        isDuplicate,
        () =>
          Effect.flatMap(
            Effect.zipRight(send(removeExpired, write), send(load, write)),
            (rows) => rows.length > 0 ? Effect.succeed(false) : insertAgain(send, write)
          )
      )

    /** An id that differs in case is in the way for good, so that the second attempt is the last one. */
    const insertAgain: Statements["insert"] = (send, write) =>
      Effect.catchIf(send(insert, write), isDuplicate, () => Effect.succeed(false))

    return {
      insert: insertLive,
      load,
      replace: returns(
        sql<Write & Match>`UPDATE ${table} SET data = ${data}, expiry = IF(LAST_INSERT_ID(1) = 0, expiry, ${expiry})
          WHERE session_id = ${key} AND CAST(session_id AS BINARY) = ${key}
          AND data = ${expected} AND expiry > ${now}`,
        matched
      ),
      touch: returns(
        sql<Lookup & Match & { readonly expiry: string }>`UPDATE ${table}
          SET expiry = IF(LAST_INSERT_ID(1) = 0, expiry, ${expiry})
          WHERE session_id = ${key} AND CAST(session_id AS BINARY) = ${key}
          AND data = ${expected} AND expiry > ${now}`,
        matched
      ),
      remove: returns(
        sql<Lookup>`DELETE FROM ${table}
          WHERE session_id = ${key} AND CAST(session_id AS BINARY) = ${key} AND expiry > ${now}`,
        changed
      ),
      removeMatching: returns(
        sql<Lookup & Match>`DELETE FROM ${table}
          WHERE session_id = ${key} AND CAST(session_id AS BINARY) = ${key}
          AND data = ${expected} AND expiry > ${now}`,
        changed
      ),
      page: returns(
        sql<{ readonly now: string; readonly after: number }>`SELECT id, session_id, data, ${millis} AS millis
          FROM ${table} WHERE id > ${(_) => _.after} AND expiry > ${now} ORDER BY id LIMIT ${String(pageSize)}`,
        rowsOf
      ),
      sweep: returns(
        sql<{ readonly now: string }>`DELETE FROM ${table} WHERE expiry <= ${now} LIMIT ${String(batchSize)}`,
        affected
      )
    }
  }
}
