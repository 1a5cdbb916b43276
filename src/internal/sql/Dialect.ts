/**
 * What differs between the databases of the SQL store; nothing else does.
 *
 * A dialect has to give: a column for keys that compares bytes (case and
 * trailing spaces count), one for a mebibyte of data, integers of 53 bits; an
 * insert that takes the place of an expired row, and a touch that reports
 * whether it matched, each in one statement; the number of rows that a write
 * changed; and what its errors mean, above all which prove that nothing was
 * applied.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type { SessionStoreErrorReason } from "../../SessionStore.js"
import type { Run } from "./run.js"
import type { Reply, Statement } from "./Statement.js"
import { type Row, textOf } from "./values.js"

export interface TableName {
  readonly schema: string | undefined
  readonly table: string
}

export interface Table extends TableName {
  readonly quoted: string
  /** The statements that create it; they can be run again. */
  readonly ddl: ReadonlyArray<string>
}

/** What the table can take, in bytes. */
export interface Limits {
  readonly key: number
  readonly data: number
}

export const unlimited: Limits = { key: Infinity, data: Infinity }

export interface Lookup {
  readonly key: string
  readonly now: number
}

export interface Match extends Lookup {
  readonly expected: string
}

export interface Insertion extends Lookup {
  readonly data: Uint8Array
  readonly version: string
  readonly expiresAt: number
}

/** The statements of one table. */
export interface Statements {
  readonly load: Statement<Lookup, ReadonlyArray<Row>>
  /** Inserts, or takes the place of an expired row; false if a live one is there. */
  readonly insert: Statement<Insertion, boolean>
  readonly replace: Statement<Insertion & Match, boolean>
  /** Moves the deadline; true also if it was there already. */
  readonly touch: Statement<Match & { readonly expiresAt: number }, boolean>
  readonly remove: Statement<Lookup, boolean>
  readonly removeVersion: Statement<Match, boolean>
  readonly firstPage: Statement<{ readonly now: number }, ReadonlyArray<Row>>
  readonly nextPage: Statement<{ readonly now: number; readonly after: string | Uint8Array }, ReadonlyArray<Row>>
  /** Deletes a batch of expired rows. */
  readonly sweep: (run: RunMaintenance, now: number) => Effect.Effect<Swept, unknown>
}

export interface Swept {
  readonly swept: number
  /** Others may be left. */
  readonly more: boolean
}

/** Runs a statement that no request waits for. */
export type RunMaintenance = <Input, A>(statement: Statement<Input, A>, input: Input) => ReturnType<Run<Input, A>>

export interface Dialect {
  readonly quote: (identifier: string) => string
  /** Can be run again; `index` is a name that is free. */
  readonly ddl: (name: TableName, index: string) => ReadonlyArray<string>
  /** Checks the columns and the key. Returns what the table can take, or a sentence about what is wrong. */
  readonly inspect: (run: RunMaintenance, table: Table) => Effect.Effect<Limits | string, unknown>
  /** `quoted` is the table's name, `pageSize` the rows of a scan's page. */
  readonly statements: (quoted: string, pageSize: number) => Statements
  /** The key as the database takes it. */
  readonly key: (key: string) => string | Uint8Array
  readonly data: (data: Uint8Array) => Uint8Array
  readonly reason: (cause: unknown) => SessionStoreErrorReason
  /** The statement was certainly not applied, and is worth another attempt: a deadlock. */
  readonly isRolledBack: (cause: unknown) => boolean
  /** Times that such a statement is sent again. */
  readonly maxRetries: number
  /** There is no such table, or no such schema. */
  readonly isMissing: (cause: unknown) => boolean
}

export const rowsOf = ({ rows }: Reply): ReadonlyArray<Row> => rows

/** Patterns of the types that will do. */
export type Columns = Readonly<Record<"key" | "data" | "version" | "expires_at", RegExp>>

/** Which columns will not do, in a sentence. */
export const columnProblem = (
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

/** The SQLSTATE, or the name that the driver or the system gives to an error. */
export const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
