import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { KeyedMutex } from "../../src/internal/KeyedMutex.js"

const settle = Effect.repeatN(Effect.yieldNow(), 20)
const options = { timeout: Duration.seconds(5), onTimeout: () => "timeout" as const }
const keysOf = (mutex: KeyedMutex): number => (mutex as unknown as { held: Map<string, unknown> }).held.size

describe("KeyedMutex", () => {
  it.effect("runs one effect of a key at a time, in the order of arrival, and other keys beside it", () =>
    Effect.gen(function*() {
      const mutex = new KeyedMutex()
      const gate = yield* Deferred.make<void>()
      const order: Array<string> = []
      const run = (key: string, name: string) =>
        Effect.fork(mutex.run(
          key,
          Effect.sync(() => order.push(`${name} begins`)).pipe(
            Effect.zipRight(Deferred.await(gate)),
            Effect.zipRight(Effect.sync(() => order.push(`${name} ends`)))
          ),
          options
        ))
      const fibers = [yield* run("k", "a"), yield* run("k", "b"), yield* run("other", "c"), yield* run("k", "d")]
      yield* settle
      expect(order).toEqual(["a begins", "c begins"])
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(fibers, Fiber.join)
      expect(order.filter((line) => !line.startsWith("c"))).toEqual([
        "a begins",
        "a ends",
        "b begins",
        "b ends",
        "d begins",
        "d ends"
      ])
      expect(keysOf(mutex)).toBe(0)
    }))

  it.effect("a holder that takes ten minutes is not skipped, and each waiter fails after its timeout", () =>
    Effect.gen(function*() {
      const mutex = new KeyedMutex()
      const holder = yield* Effect.fork(mutex.run("k", Effect.sleep("10 minutes"), options))
      const waiter = yield* Effect.fork(Effect.exit(mutex.run("k", Effect.die("ran beside the holder"), options)))
      yield* settle
      yield* TestClock.adjust("6 seconds")
      expect(yield* Fiber.join(waiter)).toEqual(Exit.fail("timeout"))
      yield* TestClock.adjust("10 minutes")
      expect(yield* Fiber.join(holder)).toBeUndefined()
      expect(keysOf(mutex)).toBe(0)
    }))

  it.effect("is released by a holder that fails, dies or is interrupted", () =>
    Effect.gen(function*() {
      const mutex = new KeyedMutex()
      yield* Effect.exit(mutex.run("k", Effect.fail("no"), options))
      yield* Effect.exit(mutex.run("k", Effect.die("defect"), options))
      const fiber = yield* Effect.fork(mutex.run("k", Effect.never, options))
      yield* settle
      yield* Fiber.interrupt(fiber)
      expect(yield* mutex.run("k", Effect.succeed(1), options)).toBe(1)
      expect(keysOf(mutex)).toBe(0)
    }))

  it.effect("a waiter that is interrupted at any operation leaves the queue", () =>
    Effect.gen(function*() {
      for (let yields = 0; yields < 12; yields++) {
        const mutex = new KeyedMutex()
        const gate = yield* Deferred.make<void>()
        const holder = yield* Effect.fork(mutex.run("k", Deferred.await(gate), options))
        const waiter = yield* Effect.fork(mutex.run("k", Effect.yieldNow(), options))
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.repeatN(Effect.yieldNow(), yields)
        yield* Fiber.interrupt(waiter)
        yield* Fiber.join(holder)
        expect(keysOf(mutex)).toBe(0)
      }
    }))
})
