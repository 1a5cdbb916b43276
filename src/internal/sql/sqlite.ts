/**
 * The dialect of SQLite.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import type { SessionStoreErrorReason } from "../../SessionStore.js"
import { codeOf, type Dialect, rowsOf, type Table } from "./Dialect.js"
import { quote, standardInspect, standardStatements } from "./standard.js"
import { returns, template } from "./Statement.js"

const sql = template(() => "?")

/** A copy: not every driver takes a part of a larger buffer. */
const data = (bytes: Uint8Array) => Buffer.from(bytes)

const table = (_: Table) => _.table
const schema = (_: Table) => _.schema ?? null

const columns = returns(sql<Table>`SELECT name, type FROM pragma_table_info(${table}, ${schema})`, rowsOf)

/** Not by EXPLAIN, which libsql does not free. */
const uniqueKeys = returns(
  sql<Table>`SELECT 1 FROM pragma_index_list(${table}, ${schema}) AS list WHERE "unique" AND NOT partial
    AND (SELECT group_concat(name) FROM pragma_index_info(list.name, ${schema})) = 'key'`,
  rowsOf
)

export const sqlite: Dialect = {
  quote,
  ddl: ({ schema, table }, index) => {
    const prefix = schema === undefined ? "" : `"${schema}".`
    return [
      // Or readers would wait for writers. The file remembers it.
      `PRAGMA journal_mode = WAL`,
      [
        `CREATE TABLE IF NOT EXISTS ${prefix}"${table}" (`,
        `  "key" TEXT NOT NULL PRIMARY KEY,`,
        `  data BLOB NOT NULL,`,
        `  version TEXT NOT NULL,`,
        `  expires_at INTEGER NOT NULL`,
        `)`
      ].join("\n"),
      `CREATE INDEX IF NOT EXISTS ${prefix}"${index}" ON "${table}" (expires_at)`
    ]
  },
  inspect: standardInspect(
    sql,
    // SQLite goes by parts of their names.
    {
      key: /^(?!.*INT).*(CHAR|CLOB|TEXT)/i,
      data: /BLOB/i,
      version: /^(?!.*INT).*(CHAR|CLOB|TEXT)/i,
      expires_at: /INT/i
    },
    columns,
    (run, table) => Effect.map(run(uniqueKeys, table), (indexes) => indexes.length > 0)
  ),
  statements: standardStatements(sql, data),
  key: (key) => key,
  data,
  reason: (cause) => reasonOf(codeOf(cause)),
  // SQLite itself waits for a file in use.
  isRolledBack: () => false,
  maxRetries: 0,
  isMissing: (cause) => /no such table|unknown database/i.test(String(cause))
}

/** The code of the error with which a session is refused inside of a transaction. */
export const inTransaction = "SESSION_IN_TRANSACTION"

/** Codes of the errors that report a file in use. */
export const inUse = /^SQLITE_(BUSY|LOCKED)/

const reasonOf = (code: string): SessionStoreErrorReason => {
  if (inUse.test(code)) return "Throttled"
  if (code === "SQLITE_TOOBIG") return "TooLarge"
  if (/^SQLITE_(IOERR|CANTOPEN|INTERRUPT)/.test(code)) return "Unavailable"
  return code.startsWith("SQLITE_") || code === inTransaction ? "Rejected" : "Unavailable"
}
