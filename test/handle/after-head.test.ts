import { describe, expect } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Faults from "../faults.js"
import { cookieOf, elsewhere, increment, increments, issued, outcome, request, rule, stored } from "./world.js"

describe("after the response head", () => {
  rule("each change is written through", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = yield* request(world.app, cookie, (handle) => handle.value)
      yield* increment(handle)
      expect((yield* stored(world, cookie)).count).toBe(1)
      yield* handle.set("note", "second")
      expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "second" })
      yield* handle.clear
      expect(yield* stored(world, cookie)).toEqual({ count: 0, note: "" })
      expect(world.faults.calls).toEqual(["load", "replace", "replace", "replace"])
    }))

  rule("a stale change is replayed on the fresh value", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = yield* request(world.app, cookie, (handle) => handle.value)
      yield* increments(world, cookie, 3)
      yield* increment(handle)
      expect(yield* handle.get("count")).toBe(4)
      expect((yield* stored(world, cookie)).count).toBe(4)
    }))

  rule("the first use may come then, too", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* finish
      yield* increment(handle)
      expect((yield* stored(world, cookie)).count).toBe(1)
    }))

  rule("creating fails with HeadersSent, and nothing is stored", (world) =>
    Effect.gen(function*() {
      const { finish, handle } = world.app.open()
      yield* finish
      expect(yield* outcome(increment(handle))).toBe("HeadersSent")
      expect(yield* outcome(handle.transact((value) => [0, { ...value, count: 1 }]))).toBe("HeadersSent")
      expect(yield* handle.get("count")).toBe(0)
      expect(world.faults.calls).toEqual([])
    }))

  rule("regenerating fails with HeadersSent, and the id stays", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 7 })
      const { handle } = yield* request(world.app, cookie, (handle) => handle.value)
      expect(yield* outcome(handle.regenerate)).toBe("HeadersSent")
      yield* increment(handle)
      expect((yield* stored(world, cookie)).count).toBe(8)
    }))

  rule("destroying still works, and then there is nothing to write to", (world) =>
    Effect.gen(function*() {
      const { handle } = yield* request(world.app, yield* issued(world), (handle) => handle.value)
      yield* handle.destroy
      expect(yield* world.records).toBe(0)
      expect(yield* outcome(increment(handle))).toBe("HeadersSent")
    }))

  rule("a change that could not be stored is not kept for later", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = yield* request(world.app, cookie, (handle) => handle.value)
      world.faults.script("replace", Faults.refuse("Throttled"))
      expect(yield* outcome(handle.set("note", "lost"))).toBe("Throttled")
      expect(yield* handle.get("note")).toBe("")
      yield* increment(handle)
      expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "" })
    }))

  rule("of two changes at once each learns its own outcome", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = yield* request(world.app, cookie, (handle) => handle.value)
      const blocked = yield* Deferred.make<void>()
      world.faults.script("replace", Faults.after(Deferred.await(blocked)), Faults.refuse("Throttled"))
      const fibers = yield* Effect.replicateEffect(Effect.fork(outcome(increment(handle))), 3)
      yield* Effect.replicateEffect(Effect.yieldNow(), 50)
      yield* Deferred.succeed(blocked, undefined)
      expect(yield* Fiber.join(Fiber.all(fibers))).toEqual(["done", "Throttled", "done"])
      expect((yield* stored(world, cookie)).count).toBe(2)
    }))

  rule("a change interrupted while it waits is not made later by another", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = yield* request(world.app, cookie, (handle) => handle.value)
      const blocked = yield* Deferred.make<void>()
      world.faults.script("replace", Faults.after(Deferred.await(blocked)))
      const first = yield* Effect.fork(increment(handle))
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(handle.set("note", "interrupted"))
      yield* Effect.replicateEffect(Effect.yieldNow(), 50)
      yield* Fiber.interrupt(second)
      yield* Deferred.succeed(blocked, undefined)
      yield* Fiber.join(first)
      yield* increment(handle)
      expect(yield* stored(world, cookie)).toEqual({ count: 2, note: "" })
    }))

  rule("guards hold as before, and after a Conflict too", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = yield* request(world.app, cookie, (handle) => handle.get("count"))
      yield* increments(world, cookie, 1)
      expect(yield* outcome(handle.set("count", 9))).toBe("Conflict")
      expect(yield* outcome(handle.set("count", 9))).toBe("Conflict")
      expect((yield* stored(world, cookie)).count).toBe(1)
    }))

  rule("a session that ended meanwhile is Gone, for good", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = yield* request(world.app, cookie, (handle) => handle.value)
      yield* elsewhere(world, cookie, (handle) => handle.destroy)
      expect(yield* outcome(increment(handle))).toBe("Gone")
      expect(yield* outcome(increment(handle))).toBe("Gone")
      expect(yield* world.records).toBe(0)
    }))
})

describe("the end of a request", () => {
  rule("finish does its work once", (world) =>
    Effect.gen(function*() {
      const opened = yield* request(world.app, yield* issued(world), increment)
      yield* opened.finish
      expect(world.faults.calls).toEqual(["load", "replace"])
    }))

  rule("discard forgets what was recorded", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* increment(opened.handle)
      yield* opened.handle.regenerate
      Effect.runSync(opened.discard)
      yield* opened.finish
      expect(cookieOf(opened)).toBe("keep")
      expect((yield* stored(world, cookie)).count).toBe(0)
      expect(world.faults.calls).toEqual(["load"])
    }))

  rule("discard keeps what save and regenerate did, and its cookie", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open(yield* issued(world))
      yield* increment(opened.handle)
      yield* opened.handle.regenerate
      yield* opened.handle.save
      yield* increment(opened.handle)
      Effect.runSync(opened.discard)
      expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
    }))
})
