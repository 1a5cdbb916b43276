/**
 * The values that the SQL store needs of `@effect/sql`. Only types are imported
 * statically, because a bundle of `layers/Url` must not need the package when no
 * URL of an SQL database is used.
 *
 * @internal
 */
import type * as Sql from "@effect/sql/SqlClient"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { isTagged } from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import { startTimeout } from "../timeouts.js"
import { timedOut } from "./run.js"

/** The same service as `SqlClient` of `@effect/sql`: a tag is known by its key. */
export const SqlClient = Context.GenericTag<Sql.SqlClient>("@effect/sql/SqlClient")

/** A fiber in a transaction has one of these; `@effect/sql-libsql` has a tag of its own. */
const transactionTags = [
  Context.GenericTag<Sql.TransactionConnection>("@effect/sql/SqlClient/TransactionConnection"),
  Context.GenericTag<Sql.TransactionConnection>("@effect/sql-libsql/LibsqlClient/LibsqlTransaction")
] as const

export const isInTransaction = (context: Context.Context<never>): boolean =>
  transactionTags.some((tag) => context.unsafeMap.has(tag.key))

/** A runtime without the transaction and the span of the caller. */
export const detachedRuntime = Effect.runtime<never>().pipe(
  Effect.interruptible,
  Effect.withTracerEnabled(false),
  Effect.mapInputContext((context: Context.Context<never>) => Context.omit(...transactionTags)(context))
)

/**
 * Runs an effect in a fiber of its own, for at most `millis` of real time. Fails
 * with the driver's error, or with `timedOut`.
 */
export const runDetached = <A>(
  runtime: Runtime.Runtime<never>,
  effect: Effect.Effect<A, unknown>,
  millis: number
): Effect.Effect<A, unknown> =>
  Effect.async((resume) => {
    const cancelTimeout = startTimeout(millis, () => {
      resume(Effect.fail(timedOut))
      cancel()
    })
    const cancel = Runtime.runCallback(runtime)(effect, {
      onExit: (exit) => {
        cancelTimeout()
        resume(Exit.mapErrorCause(exit, (cause) => Cause.fail(driverError(cause))))
      }
    })
  })

/** The error of the driver, without the wrapper of `@effect/sql`. */
export const driverError = (cause: Cause.Cause<unknown>): unknown => {
  const error = Cause.squash(cause)
  return isTagged(error, "SqlError") && "cause" in error ? error.cause : error
}
