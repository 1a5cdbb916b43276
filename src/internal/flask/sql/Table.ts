/**
 * The table that Flask-Session makes by SQLAlchemy: `id`, `session_id`, `data`
 * and `expiry`, a time in UTC without a zone. What differs between databases is
 * in the files beside this one.
 *
 * Deadlines travel as text, because drivers shift such times by the zone of
 * the machine.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type { RunMaintenance } from "../../sql/Dialect.js"
import type { Statement } from "../../sql/Statement.js"
import type { Row } from "../../sql/values.js"

export interface Lookup {
  /** The prefix and the id. */
  readonly key: string
  /** The time, as the column has it. */
  readonly now: string
}

export interface Write extends Lookup {
  readonly data: Uint8Array
  readonly expiry: string
}

export interface Match {
  readonly expected: Uint8Array
}

/** Rows have `data` and `millis`, the deadline in milliseconds; those of a page `id` and `session_id`, too. */
export interface Statements {
  readonly load: Statement<Lookup, ReadonlyArray<Row>>
  /** Inserts, or takes the place of an expired row. False if a live one is there. */
  readonly insert: (send: Send, write: Write) => Effect.Effect<boolean, unknown>
  readonly replace: Statement<Write & Match, boolean>
  readonly touch: Statement<Lookup & Match & { readonly expiry: string }, boolean>
  readonly remove: Statement<Lookup, boolean>
  readonly removeMatching: Statement<Lookup & Match, boolean>
  readonly page: Statement<{ readonly now: string; readonly after: number }, ReadonlyArray<Row>>
  /** Deletes a batch of expired rows. Returns how many. */
  readonly sweep: Statement<{ readonly now: string }, number>
}

/** Runs a statement within the time of an operation. */
export type Send = <Input, A>(statement: Statement<Input, A>, input: Input) => Effect.Effect<A, unknown>

export interface FlaskTable {
  readonly statements: (quoted: string) => Statements
  /** Fails if the table is missing, or has other columns. Returns the most bytes that `data` takes. */
  readonly inspect: (run: RunMaintenance, quoted: string) => Effect.Effect<number, unknown>
}

/** Rows of a page of the scan, and of a batch of the sweep. */
export const pageSize = 100
export const batchSize = 500

/** `2026-11-27 13:14:15.678000`: as SQLAlchemy writes it to SQLite, and every database reads it. */
export const expiryText = (millis: number): string => {
  const text = new Date(Math.min(millis, latest)).toISOString()
  return `${text.slice(0, 10)} ${text.slice(11, 23)}000`
}

/** The last moment that Python can name. */
const latest = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
