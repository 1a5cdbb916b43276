/**
 * The background sweep of the stores that have no TTL of their own.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { SessionSweeper } from "../SessionStore.js"
import { sleepUnref } from "./sleep.js"

/**
 * Sweeps again and again, `interval` ± 20 % after the start and after each
 * sweep, so that processes started together do not sweep together. A sweep that
 * fails is logged as a warning and tried again after the next interval.
 *
 * Interruptible even when a Layer is built in an uninterruptible region, as
 * `Effect.provide` builds it. Otherwise its scope would never close.
 */
export const sweepForever = (
  sweeper: SessionSweeper["Type"],
  interval: Duration.DurationInput
): Effect.Effect<void> => {
  const millis = Duration.toMillis(interval)
  const rest = Effect.flatMap(Random.nextRange(0.8 * millis, 1.2 * millis), sleepUnref)
  const sweep = Effect.catchAllCause(
    sweeper.sweep,
    (cause) => Effect.logWarning("Sweeping expired sessions failed", cause)
  )
  return Effect.interruptible(Effect.forever(Effect.zipRight(rest, sweep)))
}
