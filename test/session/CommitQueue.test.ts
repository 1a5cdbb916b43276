import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import { CommitQueue } from "../../src/internal/session/CommitQueue.js"

const settle = Effect.repeatN(Effect.yieldNow(), 50)

describe("CommitQueue", () => {
  it.effect("admits one commit of a key at a time, in the order of arrival", () =>
    Effect.gen(function*() {
      const queue = new CommitQueue<string>()
      const gate = yield* Deferred.make<void>()
      const order: Array<string> = []
      const commit = (name: string) =>
        queue.run("k", Effect.zipRight(Effect.sync(() => order.push(name)), Deferred.await(gate)))
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(commit(name)))
      yield* settle
      expect(order).toEqual(["a"])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.joinAll(fibers)
      expect(order).toEqual(["a", "b", "c"])
    }))

  it.effect("an unused key keeps nothing, after success, failure, defect and interruption", () =>
    Effect.gen(function*() {
      const queue = new CommitQueue<string>()
      yield* queue.run("k", Effect.sync(() => queue.handOver("k", "record")))
      yield* Effect.exit(queue.run("k", Effect.fail("no")))
      yield* Effect.exit(queue.run("k", Effect.die("defect")))
      const fibers = yield* Effect.replicateEffect(Effect.fork(queue.run("k", Effect.never)), 3)
      yield* settle
      expect([queue.has("k"), queue.has("other")]).toEqual([true, false])
      yield* Fiber.interrupt(fibers[1]!) // a waiter
      yield* Fiber.interrupt(fibers[0]!) // the holder
      yield* Fiber.interrupt(fibers[2]!)
      expect(queue.has("k")).toBe(false)
      expect(queue.handedOver("k")).toBeUndefined()
    }))

  it.effect("a commit hands its record over to the next one of its key", () =>
    Effect.gen(function*() {
      const queue = new CommitQueue<string>()
      const gate = yield* Deferred.make<void>()
      const first = yield* Effect.fork(
        queue.run("k", Effect.zipRight(Deferred.await(gate), Effect.sync(() => queue.handOver("k", "record"))))
      )
      const second = yield* Effect.fork(queue.run("k", Effect.sync(() => queue.handedOver("k"))))
      yield* settle
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(first)
      expect(yield* Fiber.join(second)).toBe("record")
    }))

  it.effect("a holder that takes longer than five seconds no longer keeps the next commit waiting", () =>
    Effect.gen(function*() {
      const queue = new CommitQueue<string>()
      const slow = yield* Effect.fork(queue.run("k", Effect.never))
      queue.handOver("k", "record")
      const next = yield* Effect.fork(queue.run("k", Effect.sync(() => queue.handedOver("k"))))
      yield* settle
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.poll(next)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("4 seconds")
      expect(yield* Fiber.join(next)).toBeUndefined() // the record may be stale by now
      yield* Fiber.interrupt(slow)
      expect(queue.has("k")).toBe(false)
    }))

  it.effect("a waiter that is admitted at the moment of its interruption admits the next one", () =>
    Effect.gen(function*() {
      for (let yields = 0; yields < 12; yields++) {
        const queue = new CommitQueue<string>()
        const gate = yield* Deferred.make<void>()
        const first = yield* Effect.fork(queue.run("k", Deferred.await(gate)))
        const second = yield* Effect.fork(queue.run("k", Effect.yieldNow()))
        const third = yield* Effect.fork(queue.run("k", Effect.succeed("third")))
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.repeatN(Effect.yieldNow(), yields)
        yield* Fiber.interrupt(second)
        yield* Fiber.join(first)
        expect(yield* Fiber.join(third)).toBe("third")
        expect(queue.has("k")).toBe(false)
      }
    }))

  it.effect("a key has one watcher, which ends with the last commit", () =>
    Effect.gen(function*() {
      const queue = new CommitQueue<string>()
      const gate = yield* Deferred.make<void>()
      const alive = yield* Supervisor.track
      const fibers = yield* Effect.replicateEffect(Effect.fork(queue.run("k", Deferred.await(gate))), 5).pipe(
        Effect.supervised(alive)
      )
      yield* settle
      // the watcher, and the fiber by which TestClock warns of a sleep that nobody ends
      expect(yield* alive.value).toHaveLength(5 + 2)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.joinAll(fibers)
      yield* settle
      expect(yield* alive.value).toEqual([])
    }))
})
