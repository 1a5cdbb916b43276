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

/** A running request and the time until which its session has to be alive. */
export interface Registration {
  readonly session: Running
  readonly until: number
  index: number
}

/**
 * One fiber watches all running requests of a manager: a fiber for each would
 * cost more than the rest of a read.
 */
export class KeepAlive {
  /** In no order. A `Map` would cost a request four times as much. */
  private readonly running: Array<Registration> = []
  private watcher: { readonly fiber: Fiber.RuntimeFiber<void>; readonly wakesAt: number } | undefined

  constructor(private readonly runtime: Runtime.Runtime<never>) {}

  /** Keeps a session alive until then, for as long as its request runs. Returns what `delete` takes. */
  add(session: Running, until: number, clock: Clock.Clock): Registration | undefined {
    const keepAliveAt = session.keepAliveAt(until)
    if (keepAliveAt === undefined) {
      return undefined
    }
    const registration = { session, until, index: this.running.length }
    this.running.push(registration)
    if (this.watcher === undefined || keepAliveAt < this.watcher.wakesAt) {
      this.watchUntil(keepAliveAt, clock)
    }
    return registration
  }

  /** The request has ended. */
  delete(registration: Registration): void {
    if (this.running[registration.index] !== registration) {
      return // deleted already
    }
    const last = this.running.pop()!
    if (last !== registration) {
      this.running[registration.index] = last
      last.index = registration.index
    }
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
    for (const registration of this.running.slice()) {
      const at = registration.session.keepAliveAt(registration.until)
      if (at !== undefined && at > now) {
        next = Math.min(next, at)
        continue
      }
      this.delete(registration) // a touch now lasts until then
      if (at !== undefined) {
        due.push(registration.session)
      }
    }
    this.watcher = undefined
    if (next !== Infinity) {
      this.watchUntil(next, clock)
    }
    return Effect.forEach(due, (session) => session.keepAlive, { concurrency: "unbounded", discard: true })
  }
}
