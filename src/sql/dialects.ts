/**
 * What differs between the databases of the SQL store; nothing else does.
 *
 * A dialect has to give: a column for keys that compares bytes (case and
 * trailing spaces count), one for a mebibyte of data, integers of 53 bits; an
 * insert that takes the place of an expired row, and a touch that says whether
 * it matched, each in one statement; the number of rows that a write changed;
 * and what its errors mean, above all which say that nothing was applied.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import type { SessionStoreErrorReason } from "../SessionStore.js"
import { mysqlWire, onConnection, postgresWire } from "./connection.js"
import { executeSqlite, inUse, waitFor } from "./libsql.js"

export type DialectName = "pg" | "mysql" | "sqlite"

export interface TableName {
  readonly schema: string | undefined
  readonly table: string
}

export interface Table extends TableName {
  readonly quoted: string
  /** The statements that create it; they can be run again. */
  readonly ddl: ReadonlyArray<string>
}

export type Row = Readonly<Record<string, unknown>>

/** A record to be inserted. */
export interface NewRow {
  readonly key: string
  readonly data: Uint8Array
  readonly version: string
  readonly expiresAt: number
}

/** What the table can take, in bytes. */
export interface Limits {
  readonly key: number
  readonly data: number
}

export interface Dialect {
  readonly quote: (identifier: string) => string
  /** The words that begin an UPDATE. */
  readonly update: string
  /** Can be run again; `index` is a name that is free. */
  readonly ddl: (name: TableName, index: string) => ReadonlyArray<string>
  /** Looks at the columns and the key. Answers what the table can take, or says in a sentence why it will not do. */
  readonly inspect: (sql: SqlClient.SqlClient, table: Table) => Effect.Effect<Limits | string, SqlError>
  /** The dialect for this client, set up; `timeout` is what an operation may take, in milliseconds. */
  readonly setUp: (sql: SqlClient.SqlClient, timeout: number) => Effect.Effect<Dialect>
  readonly key: (key: string) => string | Uint8Array
  readonly data: (data: Uint8Array) => Uint8Array
  readonly rows: (
    sql: SqlClient.SqlClient,
    statement: Statement.Statement<Row>
  ) => Effect.Effect<ReadonlyArray<Row>, SqlError>
  /** Runs a write and answers how many rows it changed. */
  readonly changed: (sql: SqlClient.SqlClient, statement: Statement.Statement<Row>) => Effect.Effect<number, SqlError>
  /** Inserts, or takes the place of an expired row; false when a live one is there. */
  readonly insert: (
    sql: SqlClient.SqlClient,
    table: Statement.Fragment,
    row: NewRow,
    now: number
  ) => Effect.Effect<boolean, SqlError>
  /** Moves the deadline of what `where` selects; true also when it was there already. */
  readonly touch: (
    sql: SqlClient.SqlClient,
    table: Statement.Fragment,
    where: Statement.Fragment,
    expiresAt: number
  ) => Effect.Effect<boolean, SqlError>
  /** Deletes a batch of expired rows; `more` when others may be left. */
  readonly sweep: (
    sql: SqlClient.SqlClient,
    table: Statement.Fragment,
    now: number
  ) => Effect.Effect<{ readonly swept: number; readonly more: boolean }, SqlError>
  readonly reason: (error: SqlError) => SessionStoreErrorReason
  /** Certainly not applied, and worth another attempt: a deadlock. */
  readonly isUndone: (error: SqlError) => boolean
  /** Times that such a statement is sent again. */
  readonly repeats: number
  /** There is no such table, or no such schema. */
  readonly isMissing: (error: SqlError) => boolean
  /** A client has one connection, which a transaction keeps from everybody else. */
  readonly oneConnection: boolean
}

/** Most rows that one statement of the sweep deletes. */
const batch = 1000

const unlimited: Limits = { key: Infinity, data: Infinity }

/** Patterns of the types that will do. */
type Columns = Readonly<Record<"key" | "data" | "version" | "expires_at", RegExp>>

/** Which columns will not do, in a sentence. */
const mistakeOf = (
  expected: Columns,
  columns: ReadonlyArray<Row>,
  name = "name",
  type = "type"
): string | undefined => {
  const types = new Map(columns.map((column) => [textOf(column[name]), textOf(column[type])]))
  const wrong = Object.entries(expected).filter(([name, pattern]) => !pattern.test(types.get(name) ?? ""))
  return wrong.length === 0
    ? undefined
    : `Columns that are missing or of another type: ${wrong.map(([name]) => name).join(", ")}.`
}

const codeOf = (error: SqlError): string => {
  const cause = error.cause
  return typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
}

// What PostgreSQL and SQLite have in common.

const standard = {
  quote: (identifier: string) => `"${identifier}"`,
  update: "UPDATE",
  key: (key) => key
} satisfies Partial<Dialect>

/** How one of them runs a statement, and what it makes of bytes. */
type Driver = Pick<Dialect, "rows" | "data">

const returning = ({ rows }: Driver): Dialect["changed"] => (sql, statement) =>
  Effect.map(rows(sql, sql`${statement} RETURNING 1`), (rows) => rows.length)

const inspect = (
  { rows }: Driver,
  expected: Columns,
  columns: (sql: SqlClient.SqlClient, table: Table) => Statement.Statement<Row>,
  hasKey: (sql: SqlClient.SqlClient, table: Table) => Effect.Effect<boolean, SqlError>
): Dialect["inspect"] =>
(sql, table) =>
  Effect.gen(function*() {
    yield* rows(sql, sql`SELECT "key", data, version, expires_at FROM ${sql.literal(table.quoted)} WHERE 1 = 0`)
    const mistake = mistakeOf(expected, yield* rows(sql, columns(sql, table)))
    if (mistake !== undefined) return mistake
    return (yield* hasKey(sql, table)) ? unlimited : `"key" has to be the primary key, or unique by itself.`
  })

const insertOrTakeOver = (driver: Driver): Dialect["insert"] => (sql, table, row, now) =>
  Effect.map(
    returning(driver)(
      sql,
      sql`INSERT INTO ${table} AS old ("key", data, version, expires_at)
        VALUES (${row.key}, ${driver.data(row.data)}, ${row.version}, ${row.expiresAt})
        ON CONFLICT ("key") DO UPDATE
        SET data = excluded.data, version = excluded.version, expires_at = excluded.expires_at
        WHERE old.expires_at <= ${now}`
    ),
    (rows) => rows > 0
  )

const touch = (driver: Driver): Dialect["touch"] => (sql, table, where, expiresAt) =>
  Effect.map(
    returning(driver)(sql, sql`UPDATE ${table} SET expires_at = ${expiresAt} ${where}`),
    (rows) => rows > 0
  )

/** The deadline twice: a row may have been renewed between choice and lock. */
const sweepBy = (driver: Driver, lock: string): Dialect["sweep"] => (sql, table, now) =>
  Effect.map(
    returning(driver)(
      sql,
      sql`DELETE FROM ${table} WHERE expires_at <= ${now} AND "key" IN (
      SELECT "key" FROM ${table} WHERE expires_at <= ${now}
      ORDER BY expires_at LIMIT ${sql.literal(String(batch))} ${sql.literal(lock)})`
    ),
    (swept) => ({ swept, more: swept === batch })
  )

// PostgreSQL.

const postgres: Driver = {
  rows: (sql, statement) => onConnection(sql, statement, postgresWire),
  data: (data) => data
}

const pg: Dialect = {
  ...standard,
  setUp: () => Effect.succeed(pg),
  inspect: inspect(
    postgres,
    {
      key: /^(text|character varying)$/,
      data: /^bytea$/,
      version: /^(text|character varying)$/,
      expires_at: /^bigint$/
    },
    (sql, { quoted }) =>
      sql`SELECT attname AS name, format_type(atttypid, atttypmod) AS type
      FROM pg_attribute WHERE attrelid = ${quoted}::regclass AND attnum > 0`,
    // An insert is planned and not done. What else it fails of, each write will say.
    (sql, { quoted }) =>
      Effect.match(
        postgres.rows(
          sql,
          sql`EXPLAIN INSERT INTO ${sql.literal(quoted)} ("key") VALUES ('') ON CONFLICT ("key") DO NOTHING`
        ),
        { onFailure: (error) => codeOf(error) !== "42P10", onSuccess: () => true }
      )
  ),
  ...postgres,
  changed: returning(postgres),
  ddl: ({ schema, table }, index) => {
    const name = [...(schema === undefined ? [] : [schema]), table].map(standard.quote).join(".")
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
  insert: insertOrTakeOver(postgres),
  touch: touch(postgres),
  sweep: sweepBy(postgres, "FOR UPDATE SKIP LOCKED"),
  reason: (error) => postgresReason(codeOf(error), String(error.cause)),
  isUndone: (error) => undone.test(codeOf(error)),
  repeats: 5,
  isMissing: (error) => /^(42P01|3F000)$/.test(codeOf(error)),
  oneConnection: false
}

/** Serialization failure, deadlock. */
const undone = /^40(001|P01)$/

/**
 * By SQLSTATE, by the system's code, and where the driver gives neither, by its
 * text. What the server itself refused has not been applied.
 */
const postgresReason = (code: string, text: string): SessionStoreErrorReason => {
  if (code === "" || code.startsWith("E")) {
    if (/timeout exceeded when trying to connect/.test(text)) return "Throttled" // the pool is exhausted
    return code === "ETIMEDOUT" || /timeout/i.test(text) ? "Timeout" : "Unavailable"
  }
  if (code === "57014" || code === "55P03") return "Timeout" // statement_timeout, lock_timeout
  if (code === "53300") return "Throttled" // too many connections
  if (undone.test(code)) return "Throttled" // rolled back, every time
  return /^(08|57|40)/.test(code) ? "Unavailable" : "Rejected"
}

// MySQL and MariaDB.

/** The answer to a statement that gives no rows, as mysql2 has it. */
interface ResultHeader {
  readonly affectedRows: number
  readonly insertId: number | string | bigint
}

// The driver's own types end here.
const header = (sql: SqlClient.SqlClient, statement: Statement.Statement<Row>) =>
  Effect.map(onConnection(sql, statement, mysqlWire), (result) => result as ResultHeader)

const mysqlRows: Dialect["rows"] = (sql, statement) =>
  Effect.map(onConnection(sql, statement, mysqlWire), (result) => result as ReadonlyArray<Row>)

const mysqlChanged: Dialect["changed"] = (sql, statement) =>
  Effect.map(header(sql, statement), ({ affectedRows }) => affectedRows)

/** Deletes by primary key are one statement of constant shape; MariaDB turns 1000 keys and more into a join. */
const mysqlBatch = 500

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

/** Other columns would cut a value, or take two keys for one. */
const mysqlColumns: Columns = {
  key: /^varbinary\(255\)$/,
  data: /^longblob$/,
  version: /^varbinary\(32\)$/,
  expires_at: /^bigint(\(\d+\))?$/
}

/** A counter would answer in place of `LAST_INSERT_ID(x)`; a generated column ignores what is written to it. */
const isFilledByServer = ({ Extra, Field }: Row): boolean =>
  /auto_increment/i.test(textOf(Extra) ?? "") ||
  Object.hasOwn(mysqlColumns, textOf(Field) ?? "") && /virtual|stored|persistent/i.test(textOf(Extra) ?? "")

/** A view of the same bytes: mysql2 takes any other array for JSON. */
const buffer = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

const mysql: Dialect = {
  quote: (identifier) => `\`${identifier}\``,
  update: strict("UPDATE"),
  ddl: ({ schema, table }, index) => [
    [
      `CREATE TABLE IF NOT EXISTS ${
        [...(schema === undefined ? [] : [schema]), table].map((part) => `\`${part}\``).join(".")
      } (`,
      `  \`key\` varbinary(255) PRIMARY KEY,`,
      `  data longblob NOT NULL,`,
      `  version varbinary(32) NOT NULL,`,
      `  expires_at bigint NOT NULL,`,
      `  INDEX \`${index}\` (expires_at)`,
      `) ENGINE = InnoDB`
    ].join("\n")
  ],
  inspect: (sql, { quoted }) =>
    Effect.gen(function*() {
      const columns = yield* mysqlRows(sql, sql`SHOW COLUMNS FROM ${sql.literal(quoted)}`)
      const mistake = mistakeOf(mysqlColumns, columns, "Field", "Type")
      if (mistake !== undefined) return mistake
      const unique = (yield* mysqlRows(sql, sql`SHOW INDEX FROM ${sql.literal(quoted)}`))
        .filter(({ Non_unique }) => Number(Non_unique) === 0)
      const primary = unique.filter(({ Key_name }) => textOf(Key_name) === "PRIMARY")
      if (primary.map(({ Column_name }) => textOf(Column_name)).join() !== "key") {
        return "The primary key has to be `key`, and nothing else."
      }
      if (primary[0]!.Sub_part !== null) return "The primary key has to be the whole of `key`, not a prefix."
      // ON DUPLICATE KEY UPDATE would write to the row of another key.
      if (unique.length > 1) return "No index but the primary key may be unique."
      const filled = columns.filter(isFilledByServer).map(({ Field }) => textOf(Field))
      if (filled.length > 0) return `Columns that the server fills: ${filled.join(", ")}.`
      const [server] = yield* mysqlRows(sql, sql`SELECT @@max_allowed_packet AS packet, @@autocommit AS autocommit`)
      if (Number(server?.autocommit) !== 1) {
        return "On this server autocommit is off: nothing that is written would stay."
      }
      // The rest of the packet is a few hundred bytes. Over it the server would close the connection.
      return { key: 255, data: Number(server?.packet) - 1024 }
    }),
  setUp: () => Effect.succeed(mysql),
  key: (key) => Buffer.from(key),
  data: buffer,
  rows: mysqlRows,
  changed: mysqlChanged,
  // LAST_INSERT_ID(x) is x, and comes back with the answer: a deadline when there was a live row, else 0. The
  // count of rows will not do: whether it counts what did not change depends on how the client connects.
  insert: (sql, table, { data, expiresAt, key, version }, now) =>
    Effect.map(
      header(
        sql,
        // In this order: an assignment sees the ones before it.
        sql`${sql.literal(strict("INSERT"))} INTO ${table} (\`key\`, data, version, expires_at)
        VALUES (${Buffer.from(key)}, ${buffer(data)}, ${version}, ${expiresAt})
        ON DUPLICATE KEY UPDATE
        data = IF(expires_at <= ${now}, VALUES(data), data),
        version = IF(expires_at <= ${now}, VALUES(version), version),
        expires_at = IF(expires_at <= ${now}, VALUES(expires_at), LAST_INSERT_ID(expires_at))`
      ),
      ({ insertId }) => Number(insertId) === 0
    ),
  touch: (sql, table, where, expiresAt) =>
    Effect.map(
      header(
        sql,
        sql`${
          sql.literal(strict("UPDATE"))
        } ${table} SET expires_at = IF(LAST_INSERT_ID(expires_at) = 0, expires_at, ${expiresAt}) ${where}`
      ),
      ({ insertId }) => Number(insertId) !== 0
    ),
  // Chosen without a lock and deleted by primary key, in the order in which all other writes lock too. A DELETE by
  // deadline would lock the index first, gaps and the next live row included; one that reads the whole of a small
  // table, all of it.
  sweep: (sql, table, now) =>
    Effect.gen(function*() {
      const keys = yield* mysqlRows(
        sql,
        sql`SELECT \`key\` FROM ${table} WHERE expires_at <= ${now}
        ORDER BY expires_at LIMIT ${sql.literal(String(mysqlBatch))}`
      )
      if (keys.length === 0) return { swept: 0, more: false }
      const filled = Array.from({ length: mysqlBatch }, (_, i) => keys[Math.min(i, keys.length - 1)]!.key)
      const swept = yield* mysqlChanged(
        sql,
        sql`DELETE FROM old USING ${table} AS old FORCE INDEX (PRIMARY)
        WHERE \`key\` IN ${sql.in(filled)} AND expires_at <= ${now}`
      )
      return { swept, more: keys.length === mysqlBatch }
    }),
  reason: (error) => mysqlReason(numberOf(error), codeOf(error)),
  // Deadlock; "record has changed since last read".
  isUndone: (error) => [1213, 1020].includes(numberOf(error)),
  repeats: 10,
  isMissing: (error) => [1146, 1049].includes(numberOf(error)),
  oneConnection: false
}

/** The server's number; the system's are negative. */
const numberOf = (error: SqlError): number => {
  const cause = error.cause
  return typeof cause === "object" && cause !== null && "errno" in cause ? Number(cause.errno) : 0
}

/** What the server refused has not been applied; a lock that was waited for in vain is among it. */
const mysqlReason = (number: number, code: string): SessionStoreErrorReason => {
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

// SQLite.

/** `wait` is in milliseconds: how long a statement waits for a file in use. */
const sqliteDriver = (wait: number): Driver => ({
  rows: (sql, statement) => executeSqlite(sql, statement, wait),
  // A copy: not every driver takes a part of a larger buffer.
  data: (data) => Buffer.from(data)
})

const sqliteBy = (driver: Driver): Dialect => ({
  ...standard,
  ...driver,
  changed: returning(driver),
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
  inspect: inspect(
    driver,
    // SQLite goes by parts of their names.
    {
      key: /^(?!.*INT).*(CHAR|CLOB|TEXT)/i,
      data: /BLOB/i,
      version: /^(?!.*INT).*(CHAR|CLOB|TEXT)/i,
      expires_at: /INT/i
    },
    (sql, { schema = null, table }) => sql`SELECT name, type FROM pragma_table_info(${table}, ${schema})`,
    // Not by EXPLAIN, which libsql does not free.
    (sql, { schema = null, table }) =>
      Effect.map(
        driver.rows(
          sql,
          sql`SELECT 1 FROM pragma_index_list(${table}, ${schema}) AS list WHERE "unique" AND NOT partial
          AND (SELECT group_concat(name) FROM pragma_index_info(list.name, ${schema})) = 'key'`
        ),
        (indexes) => indexes.length > 0
      )
  ),
  // To a driver that keeps its connection the time is told once.
  setUp: (sql, timeout) =>
    Effect.gen(function*() {
      yield* Effect.ignore(checkpointOften(sql))
      const chosen = yield* Effect.orElseSucceed(pragma(sql, "busy_timeout"), () => 0)
      const wait = [0, longestWait].includes(chosen) ? Math.min(Math.ceil(timeout), longestWait) : chosen
      yield* Effect.ignore(sql.unsafe(waitFor(wait)))
      return sqliteBy(sqliteDriver(wait))
    }),
  insert: insertOrTakeOver(driver),
  touch: touch(driver),
  sweep: sweepBy(driver, ""),
  reason: (error) => sqliteReason(codeOf(error)),
  // SQLite itself waits for a file in use.
  isUndone: () => false,
  repeats: 0,
  isMissing: (error) => /no such table|unknown database/i.test(String(error.cause)),
  oneConnection: true
})

/** Milliseconds, during which the process stands still; what better-sqlite3 has by default. */
const longestWait = 5000

const sqlite = sqliteBy(sqliteDriver(longestWait))

/**
 * Where sessions are many, each page of the log belongs to another page of the
 * file, and whoever fills the log waits for all of them: at a million sessions
 * and 1000 pages, as by default, the slowest hundredth of the writes took
 * 27 ms; with 100 it is 12 (`bench/million.mjs`). What was chosen stays.
 */
const checkpointOften = (sql: SqlClient.SqlClient): Effect.Effect<unknown, SqlError> =>
  Effect.flatMap(
    pragma(sql, "wal_autocheckpoint"),
    (pages) => pages === 1000 ? sql.unsafe("PRAGMA wal_autocheckpoint = 100") : Effect.void
  )

const pragma = (sql: SqlClient.SqlClient, name: string): Effect.Effect<number, SqlError> =>
  Effect.map(sql.unsafe<Row>(`PRAGMA ${name}`), ([row]) => Number(Object.values(row ?? {})[0]))

const sqliteReason = (code: string): SessionStoreErrorReason => {
  if (inUse.test(code)) return "Throttled"
  if (code === "SQLITE_TOOBIG") return "TooLarge"
  if (/^SQLITE_(IOERR|CANTOPEN|INTERRUPT)/.test(code)) return "Unavailable"
  return code.startsWith("SQLITE_") || code === inTransaction ? "Rejected" : "Unavailable"
}

/** The code of the error with which a session is refused inside of a transaction. */
export const inTransaction = "SESSION_IN_TRANSACTION"

export const dialects: Record<DialectName, Dialect> = { pg, mysql, sqlite }

// What comes back: drivers differ in how they hand out blobs, integers and text.

/** The bytes, in an array of their own: a Buffer is a view of a pool that others share. */
export const bytesOf = (value: unknown): Uint8Array | undefined =>
  value instanceof Uint8Array || value instanceof ArrayBuffer ? new Uint8Array(value) : undefined

export const textOf = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  const bytes = bytesOf(value)
  return bytes === undefined ? undefined : Buffer.from(bytes).toString()
}

export const integerOf = (value: unknown): number | undefined => {
  const number = typeof value === "number" || typeof value === "bigint" || typeof value === "string"
    ? Number(value)
    : NaN
  return Number.isSafeInteger(number) ? number : undefined
}
