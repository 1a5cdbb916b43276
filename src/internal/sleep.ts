/**
 * A sleep that does not keep the process alive.
 *
 * @internal
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

const liveClock = Context.get(DefaultServices.liveServices, Clock.Clock)

// the longest delay of a timer in JavaScript; a longer one would fire at once
const maxDelay = 2 ** 31 - 1

/** Sleeps by the `Clock`. With the live clock the timer does not keep the process alive. */
export const sleepUnref = (millis: number): Effect.Effect<void> =>
  Effect.clockWith((clock) =>
    clock === liveClock
      ? Effect.async<void>((resume) => {
        const timer = setTimeout(() => resume(Effect.void), Math.min(millis, maxDelay))
        timer.unref()
        return Effect.sync(() => clearTimeout(timer))
      })
      : clock.sleep(Duration.millis(millis))
  )
