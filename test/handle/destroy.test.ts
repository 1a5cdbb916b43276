import { describe, expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Faults from "../faults.js"
import {
  cookieOf,
  elsewhere,
  type Handle,
  increment,
  increments,
  issued,
  keyOf,
  outcome,
  request,
  rule,
  stored
} from "./world.js"

describe("destroy", () => {
  rule("when it returns, the record is gone, whatever becomes of the request", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open(yield* issued(world))
      yield* opened.handle.destroy
      expect(yield* world.records).toBe(0)
      Effect.runSync(opened.discard)
      expect(cookieOf(opened)).toBe("clear")
      expect(world.faults.calls).toEqual(["load", "remove"])
    }))

  rule("drops the log, and the handle is new and empty", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 7 })
      const { finish, handle } = world.app.open(cookie)
      expect(yield* handle.isNew).toBe(false)
      yield* increment(handle)
      yield* handle.destroy
      expect(yield* handle.isNew).toBe(true)
      expect(yield* handle.value).toEqual({ count: 0, note: "" })
      expect(yield* handle.ref).toEqual(Option.none())
      yield* finish
      expect(yield* world.records).toBe(0)
    }))

  rule(
    "a later write makes a new session: another selector, one change of the cookie",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world, { user: "ada" })
        const opened = world.app.open(cookie)
        yield* opened.handle.destroy
        yield* opened.handle.set("note", "you are signed out")
        yield* opened.finish
        const next = cookieOf(opened)
        expect(keyOf(next)).not.toBe(keyOf(cookie))
        expect(yield* stored(world, next)).toEqual({ count: 0, note: "you are signed out" })
        expect(yield* world.records).toBe(1)
        expect(world.faults.calls).toEqual(["load", "remove", "insert"])
      })
  )

  rule("of a session that this request made: no cookie is left to set", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open()
      yield* increment(opened.handle)
      yield* opened.handle.save
      yield* opened.handle.destroy
      expect(yield* world.records).toBe(0)
      expect(cookieOf(opened)).toBe("clear")
    }))

  rule("twice is once", (world) =>
    Effect.gen(function*() {
      const opened = yield* request(
        world.app,
        yield* issued(world),
        (handle) => Effect.zipRight(handle.destroy, handle.destroy)
      )
      expect(cookieOf(opened)).toBe("clear")
      expect(world.faults.calls).toEqual(["load", "remove"])
    }))

  rule("found destroyed by another request: done", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* opened.handle.value
      yield* elsewhere(world, cookie, (handle) => handle.destroy)
      yield* opened.handle.destroy
      expect(cookieOf(opened)).toBe("clear")
    }))

  rule("stale: verified and tried again", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const beaten = Faults.after(increments(world, cookie, 1))
      world.faults.script("remove", beaten, beaten)
      yield* request(world.app, cookie, (handle) => handle.destroy)
      expect(world.faults.calls).toEqual(["load", "remove", "load", "remove", "load", "remove"])
      expect(yield* world.records).toBe(0)
    }))

  rule(
    "after 3 stale answers it goes without the condition: a logout does not starve",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.always("remove", Faults.after(increments(world, cookie, 1)))
        yield* request(world.app, cookie, (handle) => handle.destroy)
        expect(world.faults.calls).toEqual(["load", ...Array(4).fill(["remove", "load"]).flat()].slice(0, -1))
        expect(yield* world.records).toBe(0)
      })
  )

  rule("without the condition, what it does not find was gone already", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const beaten = Faults.after(increments(world, cookie, 1))
      const gone = Faults.after(elsewhere(world, cookie, (handle) => handle.destroy))
      world.faults.script("remove", beaten, beaten, beaten, gone)
      const opened = yield* request(world.app, cookie, (handle) => handle.destroy)
      expect(cookieOf(opened)).toBe("clear")
      expect(world.faults.calls.at(-1)).toBe("remove")
    }))

  rule("found ended meanwhile: Gone, and the new id lives", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* opened.handle.value
      const next = yield* elsewhere(world, cookie, (handle) => Effect.zipRight(increment(handle), handle.regenerate))
      expect(yield* outcome(opened.handle.destroy)).toBe("Gone")
      expect(yield* outcome(opened.handle.destroy)).toBe("Gone")
      expect(cookieOf(opened)).toBe("keep")
      expect((yield* stored(world, next)).count).toBe(1)
    }))
})

describe("gone stays gone", () => {
  const ends = {
    "a logout elsewhere": (handle: Handle) => handle.destroy,
    "a regenerate elsewhere": (handle: Handle) => handle.regenerate
  }
  for (const [name, end] of Object.entries(ends)) {
    rule(
      `${name}: a request that recorded writes is Gone, stores nothing, and has no cookie`,
      (world) =>
        Effect.gen(function*() {
          const cookie = yield* issued(world)
          const opened = world.app.open(cookie)
          yield* increment(opened.handle)
          yield* elsewhere(world, cookie, end)
          const before = yield* world.records
          expect(yield* outcome(opened.finish)).toBe("Gone")
          expect(cookieOf(opened)).toBe("keep")
          expect(yield* world.records).toBe(before)
          expect((yield* stored(world, cookie)).count).toBe(0)
        })
    )

    rule(`${name}: a request that only read keeps its response`, (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        yield* TestClock.adjust("10 minutes")
        const opened = world.app.open(cookie)
        yield* opened.handle.value
        yield* elsewhere(world, cookie, end)
        const before = yield* world.records
        yield* opened.finish // its touch is due, and finds nothing to move
        expect(cookieOf(opened)).toBe("keep")
        expect(yield* world.records).toBe(before)
      }))
  }

  rule("an expiry during the request: Gone, and nothing is stored", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open(yield* issued(world))
      yield* increment(opened.handle)
      yield* TestClock.adjust("30 minutes")
      expect(yield* outcome(opened.finish)).toBe("Gone")
      expect(yield* world.records).toBe(0)
    }))

  rule("a cookie that was due is withdrawn", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open(yield* issued(world))
      yield* opened.handle.regenerate
      yield* opened.handle.save
      yield* elsewhere(world, cookieOf(opened), (handle) => handle.destroy)
      yield* increment(opened.handle)
      expect(yield* outcome(opened.finish)).toBe("Gone")
      expect(cookieOf(opened)).toBe("keep")
    }))

  rule("once Gone, always Gone: the request cannot start over", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      yield* elsewhere(world, cookie, (handle) => handle.destroy)
      expect(yield* outcome(handle.save)).toBe("Gone")
      expect(yield* outcome(handle.save)).toBe("Gone")
      yield* handle.regenerate
      expect(yield* outcome(finish)).toBe("Gone")
      expect(yield* world.records).toBe(0)
    }))
})
