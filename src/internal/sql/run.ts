/**
 * Runs the statements of the SQL store within a time limit, and again when the
 * database reports that it rolled a statement back.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { startTimeout } from "../timeouts.js"
import type { Dialect } from "./Dialect.js"
import type { Reply, Statement } from "./Statement.js"

/**
 * What runs one statement: a `SqlClient`, or a driver's own pool. The statement
 * never joins a transaction of the caller.
 */
export interface Runner {
  /**
   * Sends the statement and calls `done` once. The returned function abandons
   * it: a statement that still waits for a connection is not sent, and the
   * connection of one that was sent is ended, because it may never reply.
   */
  readonly start: (statement: Prepared, params: ReadonlyArray<unknown>, done: Done) => () => void
}

/** What a runner has to know of a statement. */
export type Prepared = Pick<Statement<never, unknown>, "text" | "name">

/** Without an error there is a reply. */
export type Done = (error: unknown, reply?: Reply) => void

/** Milliseconds for what no request waits for: creating the table, a batch of the sweep, a page of the scan. */
export const maintenanceTimeout = 30_000

/** The statement got no reply in time. A symbol, because Effect wraps an error object that fails inside of a span. */
export const timedOut = Symbol("no reply in time")

/**
 * Runs a statement. Fails with the driver's error, or with `timedOut` after
 * `millis` of real time, retries included.
 */
export type Run<Input = never, A = unknown> = (
  statement: Statement<Input, A>,
  input: Input,
  millis: number
) => Effect.Effect<A, unknown>

/** The same for the statements of all types. */
export type RunAny = <Input, A>(...args: Parameters<Run<Input, A>>) => ReturnType<Run<Input, A>>

/**
 * A caller that is interrupted leaves at once, and the statement goes on until
 * its time is up: a cancel costs a connection and a statement.
 */
export const makeRun = (
  { start }: Runner,
  { isRolledBack, maxRetries }: Pick<Dialect, "isRolledBack" | "maxRetries">
): RunAny =>
(statement, input, millis) =>
  Effect.async((resume) => {
    const params = statement.params(input)
    let abandon = () => {}
    let ended = false

    const attempt = (retries: number) => {
      let replied = false
      const abandonAttempt = start(statement, params, (error, reply) => {
        replied = true
        if (ended) return
        if (error && retries < maxRetries && isRolledBack(error)) return retryAfter(retries)
        ended = true
        cancelTimeout()
        resume(error ? Effect.fail(error) : Effect.succeed(statement.result(reply!)))
      })
      // The runner may call back before it returns.
      if (!replied) abandon = abandonAttempt
    }

    // Under an isolation level above READ COMMITTED the loser of a race is rolled back, and must be told "stale"
    // instead. The pauses grow, up to 50 ms.
    const retryAfter = (retries: number) => {
      const pause = setTimeout(attempt, Math.random() * Math.min(2 ** retries - 1, 50), retries + 1)
      abandon = () => clearTimeout(pause)
    }

    const cancelTimeout = startTimeout(millis, () => {
      ended = true
      abandon()
      resume(Effect.fail(timedOut))
    })
    attempt(0)
  })
