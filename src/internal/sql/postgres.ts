/**
 * The dialect of PostgreSQL.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import type { SessionStoreErrorReason } from "../../SessionStore.js"
import { codeOf, type Dialect, rowsOf, type Table } from "./Dialect.js"
import { quote, standardInspect, standardStatements } from "./standard.js"
import { returns, template } from "./Statement.js"

const sql = template((index) => `$${index}`)

const data = (bytes: Uint8Array) => bytes

const columns = returns(
  sql<Table>`SELECT attname AS name, format_type(atttypid, atttypmod) AS type
    FROM pg_attribute WHERE attrelid = ${(_) => _.quoted}::regclass AND attnum > 0`,
  rowsOf
)

export const postgres: Dialect = {
  quote,
  ddl: ({ schema, table }, index) => {
    const name = [...(schema === undefined ? [] : [schema]), table].map(quote).join(".")
    return [
      [
        `CREATE TABLE IF NOT EXISTS ${name} (`,
        `  "key" text COLLATE "C" PRIMARY KEY,`,
        `  data bytea NOT NULL,`,
        `  version text COLLATE "C" NOT NULL,`,
        `  expires_at bigint NOT NULL`,
        `)`
      ].join("\n"),
      `CREATE INDEX IF NOT EXISTS "${index}" ON ${name} (expires_at)`
    ]
  },
  inspect: standardInspect(
    sql,
    {
      key: /^(text|character varying)$/,
      data: /^bytea$/,
      version: /^(text|character varying)$/,
      expires_at: /^bigint$/
    },
    columns,
    // An insert is planned and not done. Whatever else makes the plan fail, each write will report.
    (run, { quoted }) =>
      Effect.match(
        run(sql`EXPLAIN INSERT INTO ${quoted} ("key") VALUES ('') ON CONFLICT ("key") DO NOTHING`, undefined),
        { onFailure: (cause) => codeOf(cause) !== "42P10", onSuccess: () => true }
      )
  ),
  statements: standardStatements(sql, data, "FOR UPDATE SKIP LOCKED"),
  key: (key) => key,
  data,
  reason: (cause) => reasonOf(codeOf(cause), String(cause)),
  isRolledBack: (cause) => rolledBack.test(codeOf(cause)),
  maxRetries: 5,
  isMissing: (cause) => /^(42P01|3F000)$/.test(codeOf(cause))
}

/** Serialization failure, deadlock. */
const rolledBack = /^40(001|P01)$/

/**
 * By SQLSTATE, by the system's code, and where the driver gives neither, by its
 * text. What the server itself refused has not been applied.
 */
const reasonOf = (code: string, text: string): SessionStoreErrorReason => {
  if (code === "" || code.startsWith("E")) {
    if (/timeout exceeded when trying to connect/.test(text)) return "Throttled" // the pool is exhausted
    return code === "ETIMEDOUT" || /timeout/i.test(text) ? "Timeout" : "Unavailable"
  }
  if (code === "57014" || code === "55P03") return "Timeout" // statement_timeout, lock_timeout
  if (code === "53300") return "Throttled" // too many connections
  if (rolledBack.test(code)) return "Throttled" // rolled back, every time
  return /^(08|57|40)/.test(code) ? "Unavailable" : "Rejected"
}
