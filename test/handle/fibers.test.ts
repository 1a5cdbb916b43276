import { describe, expect } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Faults from "../faults.js"
import { cookieOf, increment, issued, outcome, request, rule, stored } from "./world.js"

/** Everything that can run without outside help has run. */
const settled = Effect.replicateEffect(Effect.yieldNow(), 100)

/** A fault that says when the call arrives, and lets it go on. */
const held = Effect.map(
  Effect.all([Deferred.make<void>(), Deferred.make<void>()]),
  ([arrived, open]) => ({
    fault: Faults.after(Effect.zipRight(Deferred.succeed(arrived, undefined), Deferred.await(open))),
    arrived: Deferred.await(arrived),
    release: Deferred.succeed(open, undefined)
  })
)

describe("two fibers of one request", () => {
  rule("load once", (world) =>
    Effect.gen(function*() {
      const { handle } = world.app.open(yield* issued(world, { count: 7 }))
      world.faults.script("load", Faults.after(settled))
      const counts = yield* Effect.replicateEffect(handle.get("count"), 10, { concurrency: "unbounded" })
      expect(counts).toEqual(Array(10).fill(7))
      expect(world.faults.calls).toEqual(["load"])
    }))

  rule("a waiter takes over from an interrupted loader", (world) =>
    Effect.gen(function*() {
      const { handle } = world.app.open(yield* issued(world, { count: 7 }))
      const load = yield* held
      world.faults.script("load", load.fault)
      const loader = yield* Effect.fork(handle.value)
      yield* load.arrived
      const waiter = yield* Effect.fork(handle.get("count"))
      yield* settled
      yield* Fiber.interrupt(loader)
      expect(yield* Fiber.join(waiter)).toBe(7)
      expect(world.faults.calls).toEqual(["load", "load"])
    }))

  rule("an interrupted waiter leaves the line", (world) =>
    Effect.gen(function*() {
      const { handle } = world.app.open(yield* issued(world, { count: 7 }))
      const load = yield* held
      world.faults.script("load", load.fault)
      const loader = yield* Effect.fork(handle.get("count"))
      yield* load.arrived
      const [one, two] = [yield* Effect.fork(handle.get("count")), yield* Effect.fork(handle.get("count"))]
      yield* settled
      yield* Fiber.interrupt(one) // returns while the loader still waits
      yield* load.release
      expect([yield* Fiber.join(loader), yield* Fiber.join(two)]).toEqual([7, 7])
      expect(world.faults.calls).toEqual(["load"])
    }))

  rule("a failed load fails its fiber; the waiter asks for itself", (world) =>
    Effect.gen(function*() {
      const { handle } = world.app.open(yield* issued(world, { count: 7 }))
      world.faults.script("load", (call, operation) => Effect.zipRight(settled, Faults.refuse()(call, operation)))
      const outcomes = yield* Effect.replicateEffect(outcome(handle.value), 2, { concurrency: 2 })
      expect(outcomes).toEqual(["Unavailable", "done"])
    }))

  rule("record without waiting for a commit that is on its way", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      const write = yield* held
      world.faults.script("replace", write.fault)
      const save = yield* Effect.fork(handle.save)
      yield* write.arrived
      yield* increment(handle)
      expect(yield* handle.get("count")).toBe(2)
      yield* write.release
      yield* Fiber.join(save)
      yield* finish
      expect((yield* stored(world, cookie)).count).toBe(2)
    }))

  rule("record during a reload: what comes after its beginning is kept", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.set("note", "dropped")
      world.faults.script("load", Faults.after(Effect.orDie(increment(handle))))
      yield* handle.reload
      expect(yield* handle.get("count")).toBe(1)
      yield* finish
      expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "" })
    }))

  rule("read during a reload: reading again after it clears what has moved", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.value
      yield* Effect.orDie(request(world.other, cookie, increment))
      world.faults.script("load", Faults.after(Effect.orDie(handle.get("count"))))
      yield* handle.reload
      expect(yield* handle.get("count")).toBe(1)
      yield* handle.set("count", 9)
      yield* finish
      expect((yield* stored(world, cookie)).count).toBe(9)
    }))

  rule("commit one after the other, each entry once", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = world.app.open(cookie)
      world.faults.always("replace", Faults.after(Effect.yieldNow()))
      const countUp = handle.transact((value) => [value.count + 1, { ...value, count: value.count + 1 }])
      const answers = yield* Effect.replicateEffect(countUp, 10, { concurrency: "unbounded" })
      expect(answers).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
      expect((yield* stored(world, cookie)).count).toBe(10)
      expect(world.faults.calls.filter((name) => name === "load")).toHaveLength(1)
    }))

  rule("a write is not interrupted, and what it did is known", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open()
      yield* increment(opened.handle)
      const write = yield* held
      world.faults.script("insert", write.fault)
      const save = yield* Effect.fork(opened.handle.save)
      yield* write.arrived
      const interruption = yield* Effect.fork(Fiber.interrupt(save))
      yield* settled
      yield* write.release
      yield* Fiber.join(interruption)
      expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
      yield* opened.finish
      expect(world.faults.calls).toEqual(["insert"])
    }))

  rule("a destroy is not interrupted half-way", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open(yield* issued(world))
      yield* opened.handle.value
      const write = yield* held
      world.faults.script("remove", write.fault)
      const destroy = yield* Effect.fork(opened.handle.destroy)
      yield* write.arrived
      const interruption = yield* Effect.fork(Fiber.interrupt(destroy))
      yield* settled
      yield* write.release
      yield* Fiber.join(interruption)
      expect(yield* world.records).toBe(0)
      expect(cookieOf(opened)).toBe("clear")
    }))

  rule("a wait between two attempts can be interrupted, and the log stays", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.value
      const load = yield* held
      world.faults.script("replace", Faults.after(Effect.orDie(request(world.other, cookie, increment))))
      world.faults.script("load", load.fault)
      yield* increment(handle)
      const save = yield* Effect.fork(handle.save)
      yield* load.arrived
      expect(Exit.isInterrupted(yield* Fiber.interrupt(save))).toBe(true)
      yield* finish
      expect((yield* stored(world, cookie)).count).toBe(2)
    }))

  rule(
    "what a forked fiber recorded while the request's commit was on its way is committed too",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        const { finish, handle } = world.app.open(cookie)
        yield* increment(handle)
        world.faults.script("replace", Faults.after(Effect.orDie(increment(handle))))
        yield* finish
        expect((yield* stored(world, cookie)).count).toBe(2)
        expect(world.faults.calls).toEqual(["load", "replace", "replace"])
      })
  )
})
