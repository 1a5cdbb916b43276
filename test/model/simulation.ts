/**
 * A network and a store of which the test owns every reply, and the clock.
 * Nothing here waits for real time: what a request asks for is a pending event
 * until the test lets it happen, one way or another.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scheduler from "effect/Scheduler"
import type { SessionStore } from "../../src/SessionStore.js"
import { SessionStoreError, type Stored, Version } from "../../src/SessionStore.js"
import type { Sent } from "./requests.js"
import { Rules } from "./rules.js"

export type Operation = "load" | "insert" | "replace" | "touch" | "remove"

/**
 * How a call goes: done and answered; done without an answer; neither; not
 * answered, and done when its pending "held" happens; refused by the store.
 */
export type How = "deliver" | "loseReply" | "loseRequest" | "hold" | "refuse"

export interface Pending {
  readonly sent: Sent
  readonly event: Operation | "held" | "gate" | "sleep" | "watch"
  readonly happen: (how: How) => void
}

/** One run: the records, what is pending, and the rules that watch. */
export class Simulation {
  now = 1_700_000_000_000
  readonly records = new Map<string, Stored>()
  readonly pending: Array<Pending> = []
  readonly rules = new Rules(this)
  /** What happened, in words, for the one who reads a failure. */
  readonly story: Array<string> = []
  private versions = 0

  /** The live record: what is expired is absent. */
  at(key: string): Stored | undefined {
    const stored = this.records.get(key)
    return stored !== undefined && stored.expiresAt > this.now ? stored : undefined
  }

  happen(pending: Pending, how: How): void {
    this.pending.splice(this.pending.indexOf(pending), 1)
    this.story.push(`${pending.sent.name} ${pending.event}${how === "deliver" ? "" : `: ${how}`}`)
    pending.happen(how)
    drain()
  }

  put(key: string, data: Uint8Array, expiresAt: number): Version {
    const stored = { data, version: Version(`v${++this.versions}`), expiresAt }
    this.change(key, stored)
    return stored.version
  }

  change(key: string, stored: Stored | undefined): void {
    if (stored === undefined) {
      this.records.delete(key)
    } else {
      this.records.set(key, stored)
    }
  }
}

let simulation: Simulation

/** Starts afresh; the app is built once and sees the new one. */
export const begin = (): Simulation => simulation = new Simulation()

// ---------------------------------------------------------------------------
// fibers
// ---------------------------------------------------------------------------

const tasks: Array<() => void> = []

/** Fibers run when the test says so, and to their next event. */
export const scheduler: Scheduler.Scheduler = {
  shouldYield: () => false,
  scheduleTask: (task) => void tasks.push(task)
}

export const drain = (): void => {
  for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
    task()
  }
}

/** Which request a web `Request` is. */
export const sentBySource = new WeakMap<object, Sent>()

export const sentOf = ({ source }: HttpServerRequest.HttpServerRequest): Sent => sentBySource.get(source as Request)! // what a web handler was given

const currentSent = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Sent =>
  sentOf(Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest))

/** Suspends the request until the event happens; `happen` says what it answers. */
const pend = <A, E>(
  event: Pending["event"],
  happen: (sent: Sent, how: How) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.withFiberRuntime<A, E>((fiber) => {
    const sent = currentSent(fiber)
    return Effect.async<A, E>((resume) => {
      const pending: Pending = { sent, event, happen: (how) => resume(happen(sent, how)) }
      simulation.pending.push(pending)
      return Effect.sync(() => {
        const index = simulation.pending.indexOf(pending)
        if (index >= 0) {
          simulation.pending.splice(index, 1)
        }
      })
    })
  })

/** Holds a request between two of its steps. */
export const gate: Effect.Effect<void> = pend("gate", () => Effect.void)

export const clock: Clock.Clock = {
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  unsafeCurrentTimeMillis: () => simulation.now,
  unsafeCurrentTimeNanos: () => BigInt(simulation.now) * 1_000_000n,
  currentTimeMillis: Effect.sync(() => simulation.now),
  currentTimeNanos: Effect.sync(() => BigInt(simulation.now) * 1_000_000n),
  sleep: (duration) =>
    Effect.suspend(() => {
      const end = simulation.now + Duration.toMillis(duration)
      // no pause between attempts is as long as a look at the line
      return pend(Duration.toMillis(duration) < 2500 ? "sleep" : "watch", () => {
        simulation.now = Math.max(simulation.now, Math.ceil(end))
        return Effect.void
      })
    })
}

// ---------------------------------------------------------------------------
// the store
// ---------------------------------------------------------------------------

const call = <A>(operation: Operation, key: string, apply: () => A): Effect.Effect<A, SessionStoreError> =>
  Effect.suspend(() => {
    return pend(operation, (sent, how) => {
      const applied = (): A => simulation.rules.around(sent, operation, key, how, apply)
      simulation.rules.called(sent, operation, how)
      const lost = Effect.fail(
        new SessionStoreError({ reason: how === "refuse" ? "Throttled" : "Timeout", operation })
      )
      switch (how) {
        case "deliver": {
          const answer = applied()
          simulation.rules.replied(sent, operation, key, answer)
          return Effect.succeed(answer)
        }
        case "loseReply":
          applied()
          return lost
        case "hold":
          if (operation !== "load") {
            simulation.pending.push({
              sent,
              event: "held",
              happen: () => {
                simulation.rules.released(key)
                applied()
              }
            })
          }
          return lost
        case "loseRequest":
        case "refuse":
          return lost
      }
    })
  })

export const store: SessionStore["Type"] = {
  load: (key) => call("load", key, () => Option.fromNullable(simulation.at(key))),
  insert: (key, data, expiresAt) =>
    call("insert", key, () => simulation.at(key) ? Option.none() : Option.some(simulation.put(key, data, expiresAt))),
  replace: (key, expected, data, expiresAt) =>
    call("replace", key, () =>
      simulation.at(key)?.version === expected
        ? Option.some(simulation.put(key, data, expiresAt))
        : Option.none()),
  touch: (key, current, expiresAt) =>
    call("touch", key, () => {
      const stored = simulation.at(key)
      if (stored?.version !== current.version) {
        return false
      }
      simulation.change(key, { ...stored, expiresAt })
      return true
    }),
  remove: (key, expected) =>
    call("remove", key, () => {
      const stored = simulation.at(key)
      if (stored === undefined || (expected !== undefined && stored.version !== expected)) {
        return false
      }
      simulation.change(key, undefined)
      return true
    })
}
