/**
 * The background sweep of the stores that have no TTL of their own.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { SessionSweeper } from "../SessionStore.js"

/**
 * Sweeps again and again, `interval` ± 20 % after the sweep before (and after
 * the start), so that processes started together do not sweep together. A
 * sweep that fails is logged as a warning and tried again at its next turn.
 */
export const sweepForever = (
  sweeper: SessionSweeper["Type"],
  interval: Duration.DurationInput
): Effect.Effect<void> =>
  sweeper.sweep.pipe(
    Effect.catchAllCause((cause) => Effect.logWarning("Sweeping expired sessions failed", cause)),
    Effect.schedule(Schedule.jittered(Schedule.spaced(interval))),
    Effect.asVoid
  )
