/**
 * The values that the SQL store needs of `@effect/sql`. Only types are imported
 * statically, because a bundle of `layers/Url` must not need the package when no
 * URL of an SQL database is used.
 *
 * @internal
 */
import type * as Sql from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"

/** The same service as `SqlClient` of `@effect/sql`: a tag is known by its key. */
export const SqlClient = Context.GenericTag<Sql.SqlClient>("@effect/sql/SqlClient")

/** By which a fiber is known to be in a transaction; `@effect/sql-libsql` has a tag of its own. */
export const transactionTags = [
  Context.GenericTag<Sql.TransactionConnection>("@effect/sql/SqlClient/TransactionConnection"),
  Context.GenericTag<Sql.TransactionConnection>("@effect/sql-libsql/LibsqlClient/LibsqlTransaction")
] as const

class DriverError extends Data.TaggedError("SqlError")<{ readonly cause: unknown }> {}

/** An error of a driver, as `@effect/sql` has them. Its type identifier is not known here, and nobody asks for it. */
export const sqlError = (cause: unknown): SqlError => new DriverError({ cause }) as unknown as SqlError
