/**
 * The dialect of MySQL and MariaDB.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import type { SessionStoreErrorReason } from "../../SessionStore.js"
import { codeOf, columnProblem, type Columns, type Dialect, type Limits, rowsOf } from "./Dialect.js"
import type { Insertion, Lookup, Match, RunMaintenance, Statements, Swept, Table } from "./Dialect.js"
import { type Reply, returns, template } from "./Statement.js"
import { type Row, textOf } from "./values.js"

const sql = template(() => "?")

const quote = (identifier: string) => `\`${identifier}\``

/** A view of the same bytes: mysql2 takes any other array for JSON. */
const buffer = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

/**
 * A statement in strict mode, whatever mode the connection has: a column that
 * was narrowed since the start then fails the write instead of cutting the
 * value. The mode holds for this statement alone, because the connection
 * belongs to the application. MariaDB reads the first comment and MySQL 8 the
 * second one.
 */
const strict = (verb: "INSERT" | "UPDATE") =>
  `/*M! SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR */ ` +
  `${verb} /*+ SET_VAR(sql_mode = 'STRICT_ALL_TABLES') */`

/**
 * Most rows that one statement of the sweep deletes. While 150,000 rows were
 * swept, the slowest hundredth of the requests took 55 ms with 500, and 10 to
 * 16 ms with 100 (5 to 14 without a sweep; `bench/sweep.mjs`).
 */
const batch = 100

const affectedRows = ({ affectedRows = 0 }: Reply) => affectedRows

const insertId = ({ insertId = 0 }: Reply) => insertId

const statements = (table: string, pageSize: number): Statements => {
  const key = (_: Lookup) => Buffer.from(_.key)
  const now = (_: { readonly now: number }) => _.now
  const expected = (_: Match) => _.expected
  const data = (_: Insertion) => buffer(_.data)
  const version = (_: Insertion) => _.version
  const expiresAt = (_: { readonly expiresAt: number }) => _.expiresAt
  const page = `ORDER BY \`key\` LIMIT ${pageSize}`

  return {
    load: returns(
      sql<Lookup>`SELECT data, version, expires_at FROM ${table} WHERE \`key\` = ${key} AND expires_at > ${now}`,
      rowsOf
    ),
    // LAST_INSERT_ID(x) is x, and comes back with the reply: a deadline if there was a live row, else 0. The count
    // of rows will not do: whether it counts what did not change depends on how the client connects.
    insert: returns(
      // In this order: an assignment sees the ones before it.
      sql<Insertion>`${strict("INSERT")} INTO ${table} (\`key\`, data, version, expires_at)
        VALUES (${key}, ${data}, ${version}, ${expiresAt})
        ON DUPLICATE KEY UPDATE
        data = IF(expires_at <= ${now}, VALUES(data), data),
        version = IF(expires_at <= ${now}, VALUES(version), version),
        expires_at = IF(expires_at <= ${now}, VALUES(expires_at), LAST_INSERT_ID(expires_at))`,
      (reply) => insertId(reply) === 0
    ),
    replace: returns(
      sql<Insertion & Match>`${strict("UPDATE")} ${table}
        SET data = ${data}, version = ${version}, expires_at = ${expiresAt}
        WHERE \`key\` = ${key} AND version = ${expected} AND expires_at > ${now}`,
      (reply) => affectedRows(reply) > 0
    ),
    touch: returns(
      sql<Match & { readonly expiresAt: number }>`${strict("UPDATE")} ${table}
        SET expires_at = IF(LAST_INSERT_ID(expires_at) = 0, expires_at, ${expiresAt})
        WHERE \`key\` = ${key} AND version = ${expected} AND expires_at > ${now}`,
      (reply) => insertId(reply) !== 0
    ),
    remove: returns(
      sql<Lookup>`DELETE FROM ${table} WHERE \`key\` = ${key} AND expires_at > ${now}`,
      (reply) => affectedRows(reply) > 0
    ),
    removeVersion: returns(
      sql<Match>`DELETE FROM ${table} WHERE \`key\` = ${key} AND version = ${expected} AND expires_at > ${now}`,
      (reply) => affectedRows(reply) > 0
    ),
    firstPage: returns(
      sql<{ readonly now: number }>`SELECT \`key\`, data, expires_at FROM ${table}
        WHERE expires_at > ${now} AND \`key\` IS NOT NULL ${page}`,
      rowsOf
    ),
    nextPage: returns(
      sql<{ readonly now: number; readonly after: string | Uint8Array }>`SELECT \`key\`, data, expires_at FROM ${table}
        WHERE expires_at > ${now} AND \`key\` > ${(_) => _.after} ${page}`,
      rowsOf
    ),
    sweep: sweepOf(table)
  }
}

/**
 * Chosen without a lock and deleted by primary key, in the order in which all
 * other writes lock too. A DELETE by deadline would lock the index first, gaps
 * and the next live row included; one that reads the whole of a small table,
 * all of it.
 */
const sweepOf = (table: string): Statements["sweep"] => {
  const choose = returns(
    sql<number>`SELECT \`key\` FROM ${table} WHERE expires_at <= ${(now) => now}
      ORDER BY expires_at LIMIT ${String(batch)}`,
    ({ rows }) => rows.map(({ key }) => key)
  )
  const marks = Array.from({ length: batch }, () => "?").join(",")
  // The text is fixed, so fewer keys are filled up with the last one.
  const remove = {
    ...returns(
      sql`DELETE FROM old USING ${table} AS old FORCE INDEX (PRIMARY)
      WHERE \`key\` IN (${marks}) AND expires_at <= ?`,
      affectedRows
    ),
    params: ({ keys, now }: { readonly keys: ReadonlyArray<unknown>; readonly now: number }) => [
      ...Array.from({ length: batch }, (_, i) => keys[Math.min(i, keys.length - 1)]),
      now
    ]
  }
  return Effect.fnUntraced(function*(run: RunMaintenance, now: number): Effect.fn.Return<Swept, unknown> {
    const keys = yield* run(choose, now)
    if (keys.length === 0) return { swept: 0, more: false }
    return { swept: yield* run(remove, { keys, now }), more: keys.length === batch }
  })
}

/** Other columns would cut a value, or take two keys for one. */
const columnTypes: Columns = {
  key: /^varbinary\(255\)$/,
  data: /^longblob$/,
  version: /^varbinary\(32\)$/,
  expires_at: /^bigint(\(\d+\))?$/
}

/** A counter would be returned in place of `LAST_INSERT_ID(x)`; a generated column ignores what is written to it. */
const isFilledByServer = ({ Extra, Field }: Row): boolean =>
  /auto_increment/i.test(textOf(Extra) ?? "") ||
  Object.hasOwn(columnTypes, textOf(Field) ?? "") && /virtual|stored|persistent/i.test(textOf(Extra) ?? "")

const inspect = Effect.fnUntraced(function*(
  run: RunMaintenance,
  { quoted }: Table
): Effect.fn.Return<Limits | string, unknown> {
  const { rows: columns } = yield* run(sql`SHOW COLUMNS FROM ${quoted}`, undefined)
  const problem = columnProblem(columnTypes, columns, "Field", "Type")
  if (problem !== undefined) return problem
  const { rows: indexes } = yield* run(sql`SHOW INDEX FROM ${quoted}`, undefined)
  const unique = indexes.filter(({ Non_unique }) => Number(Non_unique) === 0)
  const primary = unique.filter(({ Key_name }) => textOf(Key_name) === "PRIMARY")
  if (primary.map(({ Column_name }) => textOf(Column_name)).join() !== "key") {
    return "The primary key has to be `key`, and nothing else."
  }
  if (primary[0]!.Sub_part !== null) return "The primary key has to be the whole of `key`, not a prefix."
  // ON DUPLICATE KEY UPDATE would write to the row of another key.
  if (unique.length > 1) return "No index but the primary key may be unique."
  const filled = columns.filter(isFilledByServer).map(({ Field }) => textOf(Field))
  if (filled.length > 0) return `Columns that the server fills: ${filled.join(", ")}.`
  const { rows: [server] } = yield* run(
    sql`SELECT @@max_allowed_packet AS packet, @@autocommit AS autocommit`,
    undefined
  )
  if (Number(server?.autocommit) !== 1) {
    return "On this server autocommit is off: nothing that is written would stay."
  }
  // The rest of the packet is a few hundred bytes. Over it the server would close the connection.
  return { key: 255, data: Number(server?.packet) - 1024 }
})

export const mysql: Dialect = {
  quote,
  ddl: ({ schema, table }, index) => [
    [
      `CREATE TABLE IF NOT EXISTS ${[...(schema === undefined ? [] : [schema]), table].map(quote).join(".")} (`,
      `  \`key\` varbinary(255) PRIMARY KEY,`,
      `  data longblob NOT NULL,`,
      `  version varbinary(32) NOT NULL,`,
      `  expires_at bigint NOT NULL,`,
      `  INDEX \`${index}\` (expires_at)`,
      `) ENGINE = InnoDB`
    ].join("\n")
  ],
  inspect,
  statements,
  key: (key) => Buffer.from(key),
  data: buffer,
  reason: (cause) => reasonOf(numberOf(cause), codeOf(cause)),
  // Deadlock; "record has changed since last read".
  isRolledBack: (cause) => [1213, 1020].includes(numberOf(cause)),
  maxRetries: 10,
  isMissing: (cause) => [1146, 1049].includes(numberOf(cause))
}

/** The server's number; the system's are negative. */
const numberOf = (cause: unknown): number =>
  typeof cause === "object" && cause !== null && "errno" in cause ? Number(cause.errno) : 0

/** What the server refused has not been applied; a lock that was waited for in vain is among it. */
const reasonOf = (number: number, code: string): SessionStoreErrorReason => {
  switch (number) {
    case 1153: // packet too large
    case 1406: // too long for its column
      return "TooLarge"
    case 1969: // max_statement_time
    case 3024: // max_execution_time
      return "Timeout"
    case 1040: // too many connections
    case 1203: // … of this user
    case 1226: // … of a quota
    case 1205: // lock wait timeout
    case 1213: // deadlock, every time
    case 1020:
      return "Throttled"
    case 1047: // a node of a cluster that is not ready
    case 1053: // shutting down
    case 1317: // killed
    case 1927:
      return "Unavailable"
  }
  if (number >= 1152 && number <= 1161) return "Unavailable" // the connection
  if (number >= 1000 && !(number >= 2000 && number < 3000)) return "Rejected" // 2000 and up are the client's
  return code === "ETIMEDOUT" ? "Timeout" : "Unavailable"
}
