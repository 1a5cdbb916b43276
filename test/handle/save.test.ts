import { describe, expect } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Faults from "../faults.js"
import { cookieOf, elsewhere, increment, increments, issued, outcome, rule, stored } from "./world.js"

describe("save", () => {
  rule("commits the log so far", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      yield* handle.save
      expect((yield* stored(world, cookie)).count).toBe(1)
      yield* finish
      expect(world.faults.calls).toEqual(["load", "replace"])
    }))

  rule("nothing recorded: no store access", (world) =>
    Effect.gen(function*() {
      const { handle } = world.app.open(yield* issued(world))
      yield* handle.value
      yield* handle.save
      yield* world.app.open().handle.save
      expect(world.faults.calls).toEqual(["load"])
    }))

  rule(
    "whose request gives up later sends no id that a login elsewhere has ended (model, 2026-11-24)",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        const opened = world.app.open(cookie)
        yield* opened.handle.setLifetime({ persistent: true })
        yield* opened.handle.save
        expect(cookieOf(opened)).toBe(cookie)
        const login = elsewhere(world, cookie, (handle) => handle.regenerate)
        world.faults.script("replace", Faults.after(Effect.zipRight(login, TestClock.adjust("6 seconds"))))
        yield* increment(opened.handle)
        expect(yield* outcome(opened.finish)).toBe("Conflict")
        expect(cookieOf(opened)).toBe("keep")
      })
  )

  for (const kind of ["replace", "insert"] as const) {
    rule(`what is recorded during the ${kind} stays pending, and is applied once`, (world) =>
      Effect.gen(function*() {
        const opened = world.app.open(kind === "replace" ? yield* issued(world) : undefined)
        const { finish, handle } = opened
        yield* increment(handle)
        world.faults.script(kind, Faults.after(Effect.orDie(increment(handle))))
        yield* handle.save
        expect(yield* handle.get("count")).toBe(2)
        yield* finish
        expect(yield* handle.get("count")).toBe(2)
      }))

    rule(`what is recorded during the ${kind} is not stored by it`, (world) =>
      Effect.gen(function*() {
        const issuedCookie = yield* issued(world)
        const opened = world.app.open(kind === "replace" ? issuedCookie : undefined)
        const { handle } = opened
        yield* increment(handle)
        world.faults.script(kind, Faults.after(Effect.orDie(increment(handle))))
        yield* handle.save
        Effect.runSync(opened.discard)
        expect(yield* handle.get("count")).toBe(1)
        expect((yield* stored(world, kind === "replace" ? issuedCookie : cookieOf(opened))).count).toBe(1)
      }))
  }

  rule("on failure the log stays, and the next commit stores it", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      world.faults.script("replace", Faults.refuse("Throttled"))
      expect(yield* outcome(handle.save)).toBe("Throttled")
      expect(yield* handle.get("count")).toBe(1)
      yield* finish
      expect((yield* stored(world, cookie)).count).toBe(1)
    }))

  rule("after a failure on a replay, nothing that others wrote is lost", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.set("note", "mine")
      world.faults.script("replace", Faults.after(increments(world, cookie, 3)), Faults.refuse("Throttled"))
      expect(yield* outcome(handle.save)).toBe("Throttled")
      yield* finish
      expect(yield* stored(world, cookie)).toEqual({ count: 3, note: "mine" })
    }))

  rule("interrupted between two attempts, it takes nothing of others with it", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.set("note", "mine")
      const third = yield* Deferred.make<void>()
      world.faults.script(
        "replace",
        Faults.after(increments(world, cookie, 1)),
        Faults.after(increments(world, cookie, 1))
      )
      world.faults.script(
        "load",
        (call) => call,
        Faults.after(Effect.zipRight(Deferred.succeed(third, undefined), Effect.never))
      )
      const fiber = yield* Effect.fork(handle.save)
      yield* Deferred.await(third)
      yield* Fiber.interrupt(fiber)
      yield* finish
      expect((yield* stored(world, cookie)).note).toBe("mine")
      expect((yield* stored(world, cookie)).count).toBe(2)
    }))

  rule("of a new session: its cookie is due, whatever becomes of the request", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open()
      yield* increment(opened.handle)
      yield* opened.handle.save
      Effect.runSync(opened.discard)
      expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
    }))

  rule("the failed commit of the whole request is not taken up by a later change", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.set("note", "answered with 503")
      world.faults.script("replace", Faults.refuse("Throttled"))
      expect(yield* outcome(finish)).toBe("Throttled")
      yield* increment(handle)
      expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "" })
    }))

  rule("the failed commit of the whole request forgets no read", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.get("count")
      yield* handle.set("note", "answered with 503")
      world.faults.script("replace", Faults.refuse("Throttled"))
      yield* outcome(finish)
      yield* increments(world, cookie, 1)
      expect(yield* outcome(handle.set("count", 9))).toBe("Conflict")
    }))
})

describe("reload", () => {
  rule("drops what is pending and loads again", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* handle.set("note", "dropped")
      yield* increments(world, cookie, 1)
      yield* handle.reload
      expect(yield* handle.value).toEqual({ count: 1, note: "" })
      yield* finish
      expect(world.faults.calls).toEqual(["load", "load"])
    }))

  rule("found gone: empty, and later writes are Gone", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 7 })
      const opened = world.app.open(cookie)
      const { finish, handle } = opened
      yield* handle.value
      yield* elsewhere(world, cookie, (handle) => handle.destroy)
      yield* handle.reload
      expect(yield* handle.value).toEqual({ count: 0, note: "" })
      expect(yield* handle.ref).toEqual(Option.none())
      yield* increment(handle)
      expect(yield* outcome(finish)).toBe("Gone")
      expect(cookieOf(opened)).toBe("keep")
      expect(yield* world.records).toBe(0)
    }))

  rule("found ended: empty, and later writes are Gone, a regenerate too", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 7 })
      const { finish, handle } = world.app.open(cookie)
      yield* handle.value
      yield* elsewhere(world, cookie, (handle) => handle.regenerate)
      yield* handle.reload
      expect(yield* handle.value).toEqual({ count: 0, note: "" })
      yield* handle.regenerate
      expect(yield* outcome(finish)).toBe("Gone")
      expect(yield* world.records).toBe(1)
    }))

  rule("catch, reload, answer: the commit at the end has nothing to do", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      yield* elsewhere(world, cookie, (handle) => handle.destroy)
      expect(yield* outcome(handle.save)).toBe("Gone")
      yield* handle.reload
      expect(yield* outcome(finish)).toBe("done")
    }))

  rule("as the first use it is one load", (world) =>
    Effect.gen(function*() {
      yield* world.app.open(yield* issued(world)).handle.reload
      expect(world.faults.calls).toEqual(["load"])
    }))
})
