import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { RequestMutex } from "../../src/internal/RequestMutex.js"

const settle = Effect.repeatN(Effect.yieldNow(), 20)

describe("RequestMutex", () => {
  it.effect("runs one body at a time, in the order of arrival", () =>
    Effect.gen(function*() {
      const mutex = new RequestMutex()
      const gate = yield* Deferred.make<void>()
      const order: Array<string> = []
      const body = (name: string) => () =>
        Effect.gen(function*() {
          order.push(`${name} begins`)
          yield* Deferred.await(gate)
          order.push(`${name} ends`)
        })
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(mutex.run(true, body(name))))
      yield* settle
      expect(order).toEqual(["a begins"])
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(fibers, Fiber.join)
      expect(order).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"])
      expect(mutex.isHeld).toBe(false)
    }))

  it.effect("is released by a holder that fails, dies or is interrupted", () =>
    Effect.gen(function*() {
      const mutex = new RequestMutex()
      yield* Effect.exit(mutex.run(true, () => Effect.zipRight(Effect.yieldNow(), Effect.fail("no"))))
      expect(mutex.isHeld).toBe(false)
      yield* Effect.exit(mutex.run(true, () => Effect.zipRight(Effect.yieldNow(), Effect.die("defect"))))
      expect(mutex.isHeld).toBe(false)
      const throwing = (): Effect.Effect<void> => {
        throw new Error("in the body")
      }
      yield* Effect.exit(Effect.suspend(() => mutex.run(true, throwing)))
      expect(mutex.isHeld).toBe(false)
      const fiber = yield* Effect.fork(mutex.run(true, () => Effect.never))
      yield* settle
      expect(mutex.isHeld).toBe(true)
      yield* Fiber.interrupt(fiber)
      expect(mutex.isHeld).toBe(false)
    }))

  it.effect("is not left held when the caller is interrupted at any operation", () =>
    Effect.gen(function*() {
      for (let yields = 0; yields < 8; yields++) {
        const mutex = new RequestMutex()
        const fiber = yield* Effect.fork(mutex.run(true, () => Effect.repeatN(Effect.yieldNow(), 3)))
        yield* Effect.repeatN(Effect.yieldNow(), yields)
        yield* Fiber.interrupt(fiber)
        expect(mutex.isHeld).toBe(false)
      }
    }))

  it.effect("is passed over an interrupted waiter", () =>
    Effect.gen(function*() {
      const mutex = new RequestMutex()
      const gate = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(mutex.run(true, () => Deferred.await(gate)))
      yield* settle
      const waiter = yield* Effect.fork(mutex.run(true, () => Effect.succeed("waiter")))
      const next = yield* Effect.fork(mutex.run(true, () => Effect.succeed("next")))
      yield* settle
      yield* Fiber.interrupt(waiter)
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(next)).toBe("next")
      yield* Fiber.join(holder)
      expect(mutex.isHeld).toBe(false)
    }))

  it.effect("lets the body of an interruptible caller be interrupted, and no other", () =>
    Effect.gen(function*() {
      const mutex = new RequestMutex()
      const interruptible = yield* Effect.fork(mutex.run(true, () => Effect.never))
      yield* settle
      expect(Exit.isInterrupted(yield* Fiber.interrupt(interruptible))).toBe(true)
      let finished = false
      const body = () => Effect.andThen(settle, Effect.sync(() => finished = true))
      const masked = yield* Effect.fork(Effect.uninterruptible(mutex.run(false, body)))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(masked)
      expect(finished).toBe(true)
    }))

  it("ends at once when its body does", () => {
    const mutex = new RequestMutex()
    expect(mutex.run(false, () => Effect.succeed(1))).toEqual(Exit.succeed(1))
    expect(mutex.isHeld).toBe(false)
  })
})
