import { describe, expect } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"
import { causeOf } from "../../src/SessionError.js"
import * as Faults from "../faults.js"
import {
  cookieOf,
  elsewhere,
  increment,
  increments,
  issued,
  outcome,
  request,
  rule,
  stored,
  type World
} from "./world.js"

/** Every replace finds that somebody was faster. */
const alwaysBeaten = (world: World, cookie: string) =>
  world.faults.always(
    "replace",
    Faults.after(elsewhere(world, cookie, (handle) => handle.update((value) => ({ ...value, note: `${value.note}.` }))))
  )

describe("the log", () => {
  rule("nothing is read, written or allocated before the first use", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open(yield* issued(world))
      yield* opened.finish
      expect(Effect.runSync(opened.isUsed)).toBe(false)
      expect(world.faults.calls).toEqual([])
    }))

  for (
    const [name, use] of [
      ["isNew", (handle) => handle.isNew],
      ["ref", (handle) => handle.ref],
      ["createdAt", (handle) => handle.createdAt],
      ["expiresAt", (handle) => handle.expiresAt],
      ["value", (handle) => handle.value],
      ["get", (handle) => handle.get("count")],
      ["set", (handle) => handle.set("count", 1)],
      ["update", increment],
      ["clear", (handle) => handle.clear],
      ["setLifetime", (handle) => handle.setLifetime({})],
      ["regenerate", (handle) => handle.regenerate],
      ["save", (handle) => handle.save]
    ] satisfies ReadonlyArray<[string, Parameters<typeof request>[2]]>
  ) {
    rule(`the first use loads: ${name}`, (world) =>
      Effect.gen(function*() {
        const opened = world.app.open(yield* issued(world))
        yield* use(opened.handle)
        expect(Effect.runSync(opened.isUsed)).toBe(true)
        expect(world.faults.calls).toEqual(["load"])
      }))
  }

  rule("a request sees its own writes, and nothing is stored before the commit", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* increment(opened.handle)
      yield* opened.handle.set("note", "mine")
      expect(yield* opened.handle.value).toEqual({ count: 1, note: "mine" })
      expect(yield* stored(world, cookie)).toEqual({ count: 0, note: "" })
      yield* opened.finish
      expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "mine" })
    }))

  rule("an updater that returns its argument records nothing", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* request(world.app, cookie, (handle) => handle.update((value) => value))
      yield* request(world.app, undefined, (handle) => handle.update((value) => value))
      expect(world.faults.calls).toEqual(["load"])
    }))

  rule(
    "an updater that returns its argument on the fresh value writes nothing either",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        const opened = world.app.open(cookie)
        yield* opened.handle.update((value) => value.count === 0 ? { ...value, count: 1 } : value)
        yield* increments(world, cookie, 1)
        yield* opened.finish
        expect(world.faults.calls).toEqual(["load", "replace", "load"])
        expect(yield* opened.handle.get("count")).toBe(1)
      })
  )

  rule("clear sets the initial value; id and lifetimes stay", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { user: "u", count: 3 })
      yield* request(world.other, cookie, (handle) => handle.setLifetime({ idleTimeout: "1 hour" }))
      const opened = yield* request(world.app, cookie, (handle) => handle.clear)
      expect(cookieOf(opened)).toBe("keep")
      expect(yield* stored(world, cookie)).toEqual({ count: 0, note: "" })
      expect(yield* Effect.map(world.app.open(cookie).handle.expiresAt, String)).toContain("01:00:00")
    }))

  rule(
    "clear on a session without a record drops what was recorded, and stores nothing",
    (world) =>
      Effect.gen(function*() {
        yield* request(world.app, undefined, (handle) => Effect.zipRight(increment(handle), handle.clear))
        expect(world.faults.calls).toEqual([])
      })
  )
})

describe("conflicts", () => {
  rule("a stale commit is replayed on the fresh value", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 10 })
      const seen: Array<number> = []
      const opened = world.app.open(cookie)
      yield* opened.handle.update((value) => {
        seen.push(value.count)
        return { ...value, count: value.count * 2 }
      })
      yield* increments(world, cookie, 1)
      yield* opened.finish
      expect(seen).toEqual([10, 11])
      expect(yield* opened.handle.get("count")).toBe(22)
      expect((yield* stored(world, cookie)).count).toBe(22)
    }))

  rule("twenty increments at once are twenty", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.always("replace", Faults.after(Effect.yieldNow()))
      world.faults.always("load", Faults.after(Effect.yieldNow()))
      yield* Effect.replicateEffect(request(world.app, cookie, increment), 20, { concurrency: "unbounded" })
      expect((yield* stored(world, cookie)).count).toBe(20)
    }))

  rule("each retry costs two round trips", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const foreign = Faults.after(increments(world, cookie, 1))
      world.faults.script("replace", foreign, foreign, foreign)
      yield* request(world.app, cookie, increment)
      expect(world.faults.calls).toEqual(["load", ...Array(3).fill(["replace", "load"]).flat(), "replace"])
      expect((yield* stored(world, cookie)).count).toBe(4)
    }))

  rule("after 32 attempts the commit is a Conflict, and nothing of it is stored", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      alwaysBeaten(world, cookie)
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("Conflict")
      expect(world.faults.calls.filter((name) => name === "replace")).toHaveLength(32)
      expect(world.faults.calls.at(-1)).toBe("replace")
      expect(yield* stored(world, cookie)).toEqual({ count: 0, note: ".".repeat(32) })
    }))

  rule("after 5 seconds of Clock the commit is a Conflict", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      alwaysBeaten(world, cookie)
      world.faults.always("load", Faults.after(Effect.sleep("2 seconds")))
      const fiber = yield* Effect.fork(outcome(request(world.app, cookie, increment)))
      yield* Effect.replicateEffect(TestClock.adjust("2 seconds"), 6)
      expect(yield* Fiber.join(fiber)).toBe("Conflict")
      expect(world.faults.calls.filter((name) => name === "replace")).toHaveLength(4)
    }))

  rule(
    "the first retry goes at once, the second waits for up to 2 milliseconds, the third for up to 4",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        const beaten = Faults.after(increments(world, cookie, 1))
        world.faults.script("replace", beaten, beaten, beaten)
        const attempts = Effect.sync(() => world.faults.calls.filter((name) => name === "replace").length)
        const fiber = yield* Effect.fork(Effect.withRandom(request(world.app, cookie, increment), Random.fixed([1])))
        yield* TestClock.adjust(1)
        expect(yield* attempts).toBe(2)
        yield* TestClock.adjust(1)
        expect(yield* attempts).toBe(3)
        yield* TestClock.adjust(3)
        expect(yield* attempts).toBe(3)
        yield* TestClock.adjust(1)
        yield* Fiber.join(fiber)
        expect(yield* attempts).toBe(4)
      })
  )

  rule("past 4 stale answers, commits of one key queue behind each other", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const beaten = Faults.after(increments(world, cookie, 1))
      const held = yield* Deferred.make<void>()
      world.faults.script("replace", beaten, beaten, beaten, beaten, beaten)
      world.faults.script("load", (call) => call, (call) => call, (call) => call, (call) => call, (call) => call)
      world.faults.script("load", Faults.after(Deferred.await(held)))
      const first = yield* Effect.fork(request(world.app, cookie, increment))
      yield* Effect.replicateEffect(Effect.yieldNow(), 200)
      expect(world.faults.calls.filter((name) => name === "load")).toHaveLength(6)

      // a second commit goes stale while the first one has the turn: it waits
      world.faults.script("replace", beaten)
      const second = yield* Effect.fork(request(world.app, cookie, increment))
      yield* Effect.replicateEffect(Effect.yieldNow(), 200)
      expect(world.faults.calls.filter((name) => name === "load")).toHaveLength(7) // its first use
      yield* Deferred.succeed(held, undefined)
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      expect((yield* stored(world, cookie)).count).toBe(8)
    }))

  rule("an updater that throws on replay fails the commit and writes nothing", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      const boom = new Error("no more than one")
      yield* opened.handle.update((value) => {
        if (value.count > 0) throw boom
        return { ...value, count: 1, note: "mine" }
      })
      yield* increments(world, cookie, 1)
      const error = yield* Effect.flip(opened.finish)
      expect(error.reason).toBe("Updater")
      expect(causeOf(error)).toBe(boom)
      expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "" })
    }))

  rule("causeOf tells why inside of a span, too", (world) =>
    Effect.gen(function*() {
      const opened = world.app.open(yield* issued(world))
      yield* opened.handle.set("count", "two" as never)
      const error = yield* Effect.flip(Effect.withSpan(opened.finish, "commit"))
      expect(String(causeOf(error))).toContain("count")
    }))

  rule("a value that does not fit its schema fails the commit and writes nothing", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 1 })
      const opened = world.app.open(cookie)
      yield* opened.handle.set("count", "two" as never)
      expect(yield* outcome(opened.finish)).toBe("Encode")
      expect((yield* stored(world, cookie)).count).toBe(1)
    }))

  rule("a value that is too large fails the commit, and what was stored is intact", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { note: "small" })
      const opened = world.app.open(cookie)
      yield* opened.handle.set("note", "x".repeat(2 ** 20))
      expect(yield* outcome(opened.finish)).toBe("TooLarge")
      expect((yield* stored(world, cookie)).note).toBe("small")
    }))

  for (const reason of ["Throttled", "Rejected", "TooLarge", "Corrupt"] as const) {
    rule(`a write that failed as ${reason} was not done, and is not sent again`, (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.script("replace", Faults.refuse(reason))
        expect(yield* outcome(request(world.app, cookie, increment))).toBe(reason)
        expect(world.faults.calls).toEqual(["load", "replace"])
      }))
  }

  rule(
    "an outage at the first use is an error, not an empty session, and the next use asks again",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world, { count: 7 })
        world.faults.script("load", Faults.refuse())
        const opened = world.app.open(cookie)
        expect(yield* outcome(opened.handle.value)).toBe("Unavailable")
        expect(cookieOf(opened)).toBe("keep")
        expect(yield* opened.handle.get("count")).toBe(7)
      })
  )
})
