/**
 * Moves the deadlines of sessions whose requests run for long.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import { sleepUnref } from "../sleep.js"

/** A session of a running request. */
export interface Running {
  /**
   * When its deadline has to be moved so that it is alive until `until`, in
   * milliseconds since the epoch. Undefined when it need not be moved.
   */
  readonly keepAliveAt: (until: number) => number | undefined
  /** Moves the deadline. Never fails. */
  readonly keepAlive: Effect.Effect<void>
}

/**
 * One fiber watches all running requests of a manager: a fiber for each would
 * cost more than the rest of a read.
 */
export class KeepAlive {
  /** Each with the time until which it has to be alive. */
  private readonly running = new Map<Running, number>()
  private watcher: { readonly fiber: Fiber.RuntimeFiber<void>; readonly wakesAt: number } | undefined

  constructor(private readonly runtime: Runtime.Runtime<never>) {}

  /** Keeps a session alive until then, for as long as its request runs. */
  add(session: Running, until: number, clock: Clock.Clock): void {
    const keepAliveAt = session.keepAliveAt(until)
    if (keepAliveAt === undefined) {
      return
    }
    this.running.set(session, until)
    if (this.watcher === undefined || keepAliveAt < this.watcher.wakesAt) {
      this.watchUntil(keepAliveAt, clock)
    }
  }

  /** The request of a session has ended. */
  delete(session: Running): void {
    this.running.delete(session)
  }

  private watchUntil(wakesAt: number, clock: Clock.Clock): void {
    this.watcher?.fiber.unsafeInterruptAsFork(this.watcher.fiber.id())
    const wake = Effect.suspend(() => this.wake(clock))
    const watch = Effect.zipRight(sleepUnref(wakesAt - clock.unsafeCurrentTimeMillis()), wake)
    this.watcher = { fiber: Runtime.runFork(this.runtime)(Effect.withClock(watch, clock)), wakesAt }
  }

  /** Moves the deadlines that are due. Sleeps again until the next one is, if a request is still running. */
  private wake(clock: Clock.Clock): Effect.Effect<void> {
    const now = clock.unsafeCurrentTimeMillis()
    const due: Array<Running> = []
    let next = Infinity
    for (const [session, until] of this.running) {
      const at = session.keepAliveAt(until)
      if (at !== undefined && at > now) {
        next = Math.min(next, at)
        continue
      }
      this.running.delete(session) // a touch now lasts until then
      if (at !== undefined) {
        due.push(session)
      }
    }
    this.watcher = undefined
    if (next !== Infinity) {
      this.watchUntil(next, clock)
    }
    return Effect.forEach(due, (session) => session.keepAlive, { concurrency: "unbounded", discard: true })
  }
}
