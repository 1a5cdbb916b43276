/**
 * A bound on the wait for a driver, for drivers that have none of their own
 * over everything: pool, name resolution, credentials, connection, answer.
 *
 * @internal
 */

import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { SessionConfigError } from "../SessionConfigError.js"
import { startTimeout } from "./timeouts.js"

/** What `bounded` fails with when the time is up. */
export const timeIsUp = new Error("no answer in time")

/**
 * Waits for a driver's promise, but no longer than `millis` of real time (not
 * of the `Clock`); then fails with `timeIsUp` and aborts the signal. A caller
 * that is interrupted leaves at once, and the request goes on.
 */
export const bounded = <A>(
  millis: number,
  send: (signal: AbortSignal) => Promise<A>
): Effect.Effect<A, unknown> =>
  Effect.async((resume) => {
    const controller = new AbortController()
    const end = () => {
      resume(asItIs(timeIsUp))
      controller.abort()
    }
    const cancelTimeout = startTimeout(millis, end)
    send(controller.signal)
      .then((value) => resume(Effect.succeed(value)), (error) => resume(asItIs(error)))
      .finally(cancelTimeout)
  })

/** Fails with this very object. Inside of a span `Effect.fail` wraps it, and no comparison would find it again. */
const asItIs = (error: unknown): Effect.Effect<never, unknown> => Effect.failCause(Cause.fail(error))

/** The milliseconds of an option; undefined when it is no duration, as text from a configuration may be. */
export const millisOf = (input: Duration.DurationInput): number | undefined =>
  Option.getOrUndefined(Option.map(Duration.decodeUnknown(input), Duration.toMillis))

/** The option `timeout` in milliseconds that a timer can count. */
export const boundOf = (timeout: Duration.DurationInput): Effect.Effect<number, SessionConfigError> => {
  const millis = millisOf(timeout)
  return millis !== undefined && millis >= 1 && millis < 2 ** 31
    ? Effect.succeed(millis)
    : new SessionConfigError({
      option: "timeout",
      message: "Give 1 millisecond to 24 days, as a number of milliseconds or like \"2 seconds\"."
    })
}
