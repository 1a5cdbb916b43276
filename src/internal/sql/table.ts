/**
 * The table of the SQL store: its name, its definition, and its check at the
 * start.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { SessionConfigError } from "../../SessionConfigError.js"
import { sha256Hex } from "../crypto.js"
import type { Dialect, Limits, RunMaintenance, Table, TableName } from "./Dialect.js"
import { timedOut } from "./run.js"

export const misconfigured = (option: string, message: string, cause?: unknown) =>
  Either.left(new SessionConfigError({ option, message, ...(cause === undefined ? {} : { cause }) }))

export const tableOf = (
  dialect: Dialect,
  { schema, table = "sessions" }: { readonly schema?: string | undefined; readonly table?: string | undefined }
): Either.Either<Table, SessionConfigError> => {
  const wrong = !isIdentifier(table) ? "table" : schema !== undefined && !isIdentifier(schema) ? "schema" : undefined
  if (wrong !== undefined) {
    return misconfigured(
      wrong,
      `${wrong} must be a plain identifier: a letter or "_", then up to 62 letters, digits or "_".` +
        (wrong === "table" ? " A schema has an option of its own." : "")
    )
  }
  const name = { schema, table }
  return Either.right({
    ...name,
    quoted: qualified(name).map(dialect.quote).join("."),
    ddl: dialect.ddl(name, derivedName(table, "expires_at_idx"))
  })
}

const isIdentifier = (name: string) => /^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)

export const qualified = ({ schema, table }: TableName) => [...(schema === undefined ? [] : [schema]), table]

/** A name that goes with the table's: no two tables share it, and it fits into 63 bytes. */
export const derivedName = (table: string, suffix: string) => {
  const name = `${table}_${suffix}`
  return name.length <= 63 && name === name.toLowerCase()
    ? name
    : `${table.slice(0, 63 - suffix.length - 10)}_${sha256Hex(Buffer.from(table)).slice(0, 8)}_${suffix}`.toLowerCase()
}

export const printDdl = (table: Table) => table.ddl.map((statement) => `${statement};\n`).join("")

/**
 * Checks the table. If it is missing, creates it by `create`, unless that is
 * undefined. A table that will do costs a query, and no right to create any.
 */
export const prepareTable = Effect.fnUntraced(function*(
  dialect: Dialect,
  table: Table,
  run: RunMaintenance,
  create: Effect.Effect<unknown, unknown> | undefined
): Effect.fn.Return<Limits, SessionConfigError> {
  const inspect = Effect.either(dialect.inspect(run, table))
  const unusable = (what: string, cause?: unknown) =>
    misconfigured("table", `${what} It is defined as:\n\n${printDdl(table)}`, cause)

  let found = yield* inspect
  let created: unknown
  for (let attempt = 0; create && attempt < maxAttempts && isMissing(dialect, found); attempt++) {
    created = Either.merge(yield* Effect.either(create))
    found = yield* inspect
  }
  if (Either.isLeft(found)) {
    if (isMissing(dialect, found)) {
      return yield* create
        ? unusable(`The table ${table.quoted} is missing and could not be created.`, created)
        : unusable(`The table ${table.quoted} is missing.`)
    }
    const reason = found.left === timedOut ? "Timeout" : dialect.reason(found.left)
    return yield* unusable(
      `The table ${table.quoted} cannot be read (${reason}): is the database there, and is this a table of sessions?`,
      found.left
    )
  }
  const limits = found.right
  if (typeof limits === "string") return yield* unusable(`The table ${table.quoted} will not do. ${limits}`)
  return limits
})

const isMissing = (dialect: Dialect, found: Either.Either<unknown, unknown>) =>
  Either.isLeft(found) && dialect.isMissing(found.left)

/** Of several processes that start at once, each may fail once while another one creates. */
const maxAttempts = 5
