/**
 * Runs the statements of the SQL store: bounded, outside of transactions,
 * repeated when the database says that nothing was done.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import type { Dialect } from "./dialects.js"
import { inTransaction } from "./dialects.js"
import { sqlError, transactionTags } from "./effect-sql.js"

/**
 * Runs an effect in a fiber of its own and waits for it, but no longer than
 * `limit` milliseconds of real time, repeats included.
 */
export type Run = <A>(effect: Effect.Effect<A, SqlError>, limit: number) => Effect.Effect<A, SqlError | "timeout">

/** How this client's statements are run. */
export const makeRun = (client: SqlClient.SqlClient, dialect: Dialect): Effect.Effect<Run> =>
  Effect.map(outside, (runtime) => {
    const bounded = makeBounded(runtime)
    const run: Run = (effect, limit) => bounded(repeatUndone(dialect, effect), limit)
    return dialect.oneConnection ? refuseInTransaction(runtime, client, run) : run
  })

/** Knows neither the transaction nor the span of whoever builds the store or uses it. */
const outside = Effect.runtime<never>().pipe(
  Effect.interruptible,
  Effect.withTracerEnabled(false),
  Effect.mapInputContext((context: Context.Context<never>) => Context.omit(...transactionTags)(context))
)

/**
 * Much cheaper than `Effect.timeout`, and nobody waits for the driver to cancel
 * on a server that is frozen. A caller that is interrupted leaves at once and
 * the statement goes on: a cancel costs a connection and a statement.
 */
const makeBounded = (runtime: Runtime.Runtime<never>): Run => {
  const run = Runtime.runCallback(runtime)
  return <A>(effect: Effect.Effect<A, SqlError>, limit: number) =>
    Effect.async<A, SqlError | "timeout">((resume) => {
      const end = () => {
        resume(Effect.fail("timeout"))
        cancel()
      }
      // A process that was busy for long reads first what has arrived meanwhile.
      const timer = setTimeout(() => setImmediate(end), limit)
      const cancel = run(effect, {
        onExit: (exit) => {
          clearTimeout(timer)
          resume(exit)
        }
      })
    })
}

/**
 * Where a client has one connection, a session used inside of a transaction
 * would wait for the transaction, which waits for it. So who is in a transaction
 * waits for no connection: when it is taken, and be it by somebody else, the
 * answer is an error at once. (Whose transaction it is cannot be seen; one on
 * another client leaves ours free.)
 */
const refuseInTransaction = (runtime: Runtime.Runtime<never>, client: SqlClient.SqlClient, run: Run): Run => {
  const isTaken = () => Exit.isFailure(Runtime.runSyncExit(runtime)(Effect.scoped(client.reserve)))
  return (effect, limit) =>
    Effect.contextWithEffect((context: Context.Context<never>) =>
      transactionTags.some((tag) => context.unsafeMap.has(tag.key)) && isTaken()
        ? Effect.fail(sqlError(new InTransaction()))
        : run(effect, limit)
    )
}

class InTransaction extends Error {
  readonly code = inTransaction
  constructor() {
    super(
      "On SQLite a session cannot be used inside of a transaction of the same client, which has only one connection. " +
        "Use the session before or after it, or give the store a client and a file of its own."
    )
  }
}

/**
 * The only errors after which a write may be sent again. Under an isolation
 * level above READ COMMITTED the loser of a race gets one, and must be told
 * "stale" instead. The pauses grow, up to 50 ms of real time.
 */
const repeatUndone = <A>(
  dialect: Dialect,
  statement: Effect.Effect<A, SqlError>,
  attempt = 0
): Effect.Effect<A, SqlError> =>
  Effect.catchAll(
    statement,
    (error) =>
      attempt < dialect.repeats && dialect.isUndone(error)
        ? Effect.zipRight(
          pause(Math.random() * Math.min(2 ** attempt - 1, 50)),
          repeatUndone(dialect, statement, attempt + 1)
        )
        : Effect.fail(error)
  )

/** Milliseconds of real time. */
export const pause = (millis: number): Effect.Effect<void> =>
  Effect.async((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })
