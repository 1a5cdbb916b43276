import { describe, expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import {
  cookieOf,
  elsewhere,
  forged,
  increment,
  issued,
  neverIssued,
  outcome,
  recordOf,
  request,
  rule,
  stored,
  type World
} from "./world.js"

/** A session with `count: 7`, and a cookie that has the verdict. */
const presenting = (world: World, verdict: "current" | "ended" | "wrong" | "unknown" | "malformed") =>
  Effect.gen(function*() {
    const first = yield* issued(world, { count: 7 })
    switch (verdict) {
      case "current":
        return { cookie: first, live: first }
      case "ended":
        return { cookie: first, live: yield* elsewhere(world, first, (handle) => handle.regenerate) }
      case "wrong":
        return { cookie: forged(first), live: first }
      case "unknown":
        return { cookie: neverIssued(), live: first }
      case "malformed":
        return { cookie: `${first}=`, live: first }
    }
  })

/** What a store may be asked by a request that has no right to the record. */
const harmless = ["load"]

describe("current", () => {
  rule("read: the value, one load, no cookie", (world) =>
    Effect.gen(function*() {
      const { cookie } = yield* presenting(world, "current")
      const opened = world.app.open(cookie)
      expect(yield* opened.handle.get("count")).toBe(7)
      expect(yield* opened.handle.isNew).toBe(false)
      yield* opened.finish
      expect(world.faults.calls).toEqual(["load"])
      expect(cookieOf(opened)).toBe("keep")
    }))

  rule("write: stored, and the cookie stays", (world) =>
    Effect.gen(function*() {
      const { cookie } = yield* presenting(world, "current")
      expect(cookieOf(yield* request(world.app, cookie, increment))).toBe("keep")
      expect((yield* stored(world, cookie)).count).toBe(8)
    }))

  rule("regenerate: another cookie for the same record", (world) =>
    Effect.gen(function*() {
      const { cookie } = yield* presenting(world, "current")
      const next = cookieOf(yield* request(world.app, cookie, (handle) => handle.regenerate))
      expect((yield* stored(world, next)).count).toBe(7)
      expect(yield* world.records).toBe(1)
    }))

  rule("touch: moves the deadline", (world) =>
    Effect.gen(function*() {
      const { cookie } = yield* presenting(world, "current")
      yield* TestClock.adjust("10 minutes")
      expect(cookieOf(yield* request(world.app, cookie, (handle) => handle.value))).toBe("keep")
      expect(Option.getOrThrow(yield* recordOf(world, cookie)).expiresAt).toBe(40 * 60_000)
    }))

  rule("destroy: the record is gone, the cookie cleared", (world) =>
    Effect.gen(function*() {
      const { cookie } = yield* presenting(world, "current")
      const opened = world.app.open(cookie)
      yield* opened.handle.destroy
      expect(yield* world.records).toBe(0)
      expect(cookieOf(opened)).toBe("clear")
    }))
})

describe("ended", () => {
  rule("read: empty and new, one load, the cookie untouched", (world) =>
    Effect.gen(function*() {
      const { cookie } = yield* presenting(world, "ended")
      const opened = world.app.open(cookie)
      expect(yield* opened.handle.value).toEqual({ count: 0, note: "" })
      expect(yield* opened.handle.isNew).toBe(true)
      expect(yield* opened.handle.ref).toEqual(Option.none())
      expect(yield* opened.handle.createdAt).toEqual(Option.none())
      expect(yield* opened.handle.expiresAt).toEqual(Option.none())
      yield* opened.finish
      expect(cookieOf(opened)).toBe("keep")
      expect(world.faults.calls).toEqual(harmless)
    }))

  for (
    const [name, write] of [
      ["update", increment],
      ["set", (handle) => handle.set("user", "late")],
      ["setLifetime", (handle) => handle.setLifetime({ persistent: true })],
      ["clear", (handle) => handle.clear],
      ["transact", (handle) => handle.transact((value) => [0, { ...value, count: 1 }])]
    ] satisfies ReadonlyArray<[string, Parameters<typeof request>[2]]>
  ) {
    rule(`${name}: dropped, Gone, the cookie untouched`, (world) =>
      Effect.gen(function*() {
        const { cookie, live } = yield* presenting(world, "ended")
        const opened = world.app.open(cookie)
        expect(yield* outcome(Effect.zipRight(write(opened.handle), opened.finish))).toBe("Gone")
        expect(cookieOf(opened)).toBe("keep")
        expect(world.faults.calls).toEqual(harmless)
        expect(yield* stored(world, live)).toEqual({ count: 7, note: "" })
        expect(yield* world.records).toBe(1)
      }))
  }

  rule(
    "regenerate: a new session with nothing of the old one, under its own cookie",
    (world) =>
      Effect.gen(function*() {
        const { cookie, live } = yield* presenting(world, "ended")
        const opened = yield* request(
          world.app,
          cookie,
          (handle) => Effect.zipRight(handle.set("user", "again"), handle.regenerate)
        )
        expect(yield* stored(world, cookieOf(opened))).toEqual({ user: "again", count: 0, note: "" })
        expect(yield* stored(world, live)).toEqual({ count: 7, note: "" })
        expect(yield* world.records).toBe(2)
        expect(world.faults.calls).toEqual(["load", "insert"])
      })
  )

  rule("touch: nothing", (world) =>
    Effect.gen(function*() {
      const { cookie, live } = yield* presenting(world, "ended")
      yield* TestClock.adjust("29 seconds")
      yield* request(world.app, cookie, (handle) => handle.value)
      expect(world.faults.calls).toEqual(harmless)
      expect(Option.getOrThrow(yield* recordOf(world, live)).expiresAt).toBe(30 * 60_000)
    }))

  rule("destroy: Gone, the new id lives, the cookie untouched", (world) =>
    Effect.gen(function*() {
      const { cookie, live } = yield* presenting(world, "ended")
      const opened = world.app.open(cookie)
      expect(yield* outcome(opened.handle.destroy)).toBe("Gone")
      yield* opened.finish
      expect(cookieOf(opened)).toBe("keep")
      expect(world.faults.calls).toEqual(harmless)
      expect((yield* stored(world, live)).count).toBe(7)
    }))

  rule("lasts 30 seconds, and not a millisecond longer", (world) =>
    Effect.gen(function*() {
      const { cookie } = yield* presenting(world, "ended")
      yield* TestClock.adjust(29_999)
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("Gone")
      yield* TestClock.adjust(1)
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("done")
      expect(yield* world.records).toBe(2)
    }))
})

for (const verdict of ["wrong", "unknown", "malformed"] as const) {
  describe(verdict, () => {
    const asked = verdict === "malformed" ? [] : harmless

    rule("read: empty and new, the cookie left alone", (world) =>
      Effect.gen(function*() {
        const { cookie } = yield* presenting(world, verdict)
        const opened = world.app.open(cookie)
        expect(yield* opened.handle.value).toEqual({ count: 0, note: "" })
        expect(yield* opened.handle.isNew).toBe(true)
        expect(yield* opened.handle.ref).toEqual(Option.none())
        yield* opened.finish
        expect(cookieOf(opened)).toBe("keep")
        expect(world.faults.calls).toEqual(asked)
      }))

    rule("write: a new session with a new selector, and its cookie", (world) =>
      Effect.gen(function*() {
        const { cookie, live } = yield* presenting(world, verdict)
        const before = yield* recordOf(world, live)
        const next = cookieOf(yield* request(world.app, cookie, increment))
        expect(next.slice(0, 21)).not.toBe(cookie.slice(0, 21))
        expect((yield* stored(world, next)).count).toBe(1)
        expect(yield* recordOf(world, live)).toEqual(before)
        expect(yield* world.records).toBe(2)
        expect(world.faults.calls).toEqual([...asked, "insert"])
      }))

    rule("regenerate: nothing to do", (world) =>
      Effect.gen(function*() {
        const { cookie } = yield* presenting(world, verdict)
        const opened = yield* request(world.app, cookie, (handle) => handle.regenerate)
        expect(cookieOf(opened)).toBe("keep")
        expect(world.faults.calls).toEqual(asked)
      }))

    rule("touch: nothing", (world) =>
      Effect.gen(function*() {
        const { cookie, live } = yield* presenting(world, verdict)
        const before = yield* recordOf(world, live)
        yield* TestClock.adjust("10 minutes")
        yield* request(world.app, cookie, (handle) => handle.value)
        expect(world.faults.calls).toEqual(asked)
        expect(yield* recordOf(world, live)).toEqual(before)
      }))

    rule("destroy: the store untouched, the cookie cleared", (world) =>
      Effect.gen(function*() {
        const { cookie, live } = yield* presenting(world, verdict)
        const before = yield* recordOf(world, live)
        const opened = yield* request(world.app, cookie, (handle) => handle.destroy)
        expect(cookieOf(opened)).toBe("clear")
        expect(world.faults.calls).toEqual(asked)
        expect(yield* recordOf(world, live)).toEqual(before)
      }))
  })
}

rule("a wrong verifier costs what an unknown id costs, whatever the request does", (world) =>
  Effect.gen(function*() {
    for (
      const handler of [
        (handle) => handle.value,
        increment,
        (handle) => handle.regenerate,
        (handle) => handle.destroy,
        (handle) => handle.reload,
        (handle) => Effect.zipRight(increment(handle), handle.save)
      ] satisfies ReadonlyArray<Parameters<typeof request>[2]>
    ) {
      const costs: Array<unknown> = []
      for (const verdict of ["wrong", "unknown"] as const) {
        const { cookie } = yield* presenting(world, verdict)
        world.faults.calls.length = 0
        yield* request(world.app, cookie, handler)
        costs.push([...world.faults.calls])
      }
      expect(costs[0]).toEqual(costs[1])
    }
  }))

rule(
  "no cookie at all: reading costs nothing, destroying costs nothing and clears nothing",
  (world) =>
    Effect.gen(function*() {
      const opened = yield* request(world.app, undefined, (handle) => Effect.zipRight(handle.value, handle.destroy))
      expect(world.faults.calls).toEqual([])
      expect(cookieOf(opened)).toBe("keep")
    })
)
