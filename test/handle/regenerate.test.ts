import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Faults from "../faults.js"
import {
  cookieOf,
  elsewhere,
  type Handle,
  increment,
  issued,
  keyOf,
  outcome,
  recordOf,
  request,
  rule,
  stored
} from "./world.js"

const login = (handle: Handle) => Effect.zipRight(handle.set("user", "ada"), handle.regenerate)

rule("takes effect with the commit, by one write to the one record", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world, { count: 7 })
    const opened = world.app.open(cookie)
    yield* login(opened.handle)
    expect(cookieOf(opened)).toBe("keep")
    expect((yield* stored(world, cookie)).count).toBe(7)
    yield* opened.finish
    const next = cookieOf(opened)
    expect(yield* stored(world, next)).toEqual({ user: "ada", count: 7, note: "" })
    expect((yield* stored(world, cookie)).user).toBeUndefined()
    expect(next).not.toBe(cookie)
    expect(keyOf(next)).toBe(keyOf(cookie))
    expect(world.faults.calls).toEqual(["load", "replace"])
  }))

rule("ref and createdAt stay; the absolute lifetime restarts", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    yield* TestClock.adjust("10 minutes")
    const opened = world.app.open(cookie)
    const before = { ref: yield* opened.handle.ref, createdAt: yield* opened.handle.createdAt }
    yield* opened.handle.regenerate
    yield* opened.handle.save
    expect({ ref: yield* opened.handle.ref, createdAt: yield* opened.handle.createdAt }).toEqual(before)
    expect(yield* opened.handle.isNew).toBe(false)
    const { record } = Option.getOrThrow(yield* recordOf(world, cookieOf(opened)))
    expect(record.createdAt).toBe(0)
    expect(record.absoluteDeadline).toBe((24 * 60 + 10) * 60_000)
  }))

rule("twice before a commit is once", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const opened = yield* request(world.app, cookie, (handle) => Effect.zipRight(handle.regenerate, handle.regenerate))
    expect(Option.getOrThrow(yield* recordOf(world, cookieOf(opened))).record.retired).toHaveLength(1)
  }))

rule("on a new session there is nothing to do", (world) =>
  Effect.gen(function*() {
    const opened = yield* request(world.app, undefined, (handle) => handle.regenerate)
    expect(cookieOf(opened)).toBe("keep")
    expect(world.faults.calls).toEqual([])
    const written = yield* request(world.app, undefined, (handle) =>
      Effect.zipRight(handle.regenerate, increment(handle)))
    expect(Option.getOrThrow(yield* recordOf(world, cookieOf(written))).record.retired).toEqual([])
  }))

rule("after save, a session made by this request is no longer new", (world) =>
  Effect.gen(function*() {
    const opened = world.app.open()
    yield* increment(opened.handle)
    yield* opened.handle.save
    const first = cookieOf(opened)
    yield* opened.handle.regenerate
    yield* opened.finish
    expect(cookieOf(opened)).not.toBe(first)
    expect(keyOf(cookieOf(opened))).toBe(keyOf(first))
  }))

rule("of two at once one wins, the other is Gone and carries no cookie", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const [one, two] = [world.app.open(cookie), world.app.open(cookie)]
    yield* login(one.handle)
    yield* login(two.handle)
    const outcomes = yield* Effect.all([outcome(one.finish), outcome(two.finish)], { concurrency: 2 })
    expect(outcomes.toSorted()).toEqual(["Gone", "done"])
    const [winner, loser] = outcomes[0] === "done" ? [one, two] : [two, one]
    expect((yield* stored(world, cookieOf(winner))).user).toBe("ada")
    expect(cookieOf(loser)).toBe("keep")
    expect(yield* world.records).toBe(1)
  }))

rule("a login repeated after the first was applied works, without the old data", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world, { count: 7 })
    yield* request(world.app, cookie, login)
    const again = yield* request(world.app, cookie, login)
    expect(yield* stored(world, cookieOf(again))).toEqual({ user: "ada", count: 0, note: "" })
  }))

rule(
  "a slow request from before the login writes nothing into the session of after it",
  (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const slow = world.app.open(cookie)
      yield* slow.handle.set("note", "late")
      const next = yield* elsewhere(world, cookie, login)
      expect(yield* outcome(slow.finish)).toBe("Gone")
      expect(cookieOf(slow)).toBe("keep")
      expect(yield* stored(world, next)).toEqual({ user: "ada", count: 0, note: "" })
      expect(yield* world.records).toBe(1)
    })
)

rule(
  "a request that saw the session as current is Gone whatever it recorded, a regenerate too",
  (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const slow = world.app.open(cookie)
      yield* login(slow.handle)
      yield* elsewhere(world, cookie, (handle) => handle.regenerate)
      expect(yield* outcome(slow.finish)).toBe("Gone")
      expect(yield* world.records).toBe(1)
    })
)

rule("writes beside it are replayed under the new verifier", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const opened = world.app.open(cookie)
    yield* login(opened.handle)
    yield* elsewhere(world, cookie, increment)
    yield* opened.finish
    expect(yield* stored(world, cookieOf(opened))).toEqual({ user: "ada", count: 1, note: "" })
  }))

rule("another user: clear, then regenerate", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world, { user: "bob", count: 7 })
    const opened = yield* request(world.app, cookie, (handle) => Effect.zipRight(handle.clear, login(handle)))
    expect(yield* stored(world, cookieOf(opened))).toEqual({ user: "ada", count: 0, note: "" })
  }))

rule("the last four ids are recognised, an older one is a stranger", (world) =>
  Effect.gen(function*() {
    const cookies = [yield* issued(world)]
    for (let i = 0; i < 5; i++) {
      cookies.push(yield* elsewhere(world, cookies[i]!, (handle) => handle.regenerate))
    }
    const outcomes = yield* Effect.forEach(cookies, (cookie) => outcome(request(world.app, cookie, increment)))
    expect(outcomes).toEqual(["done", "Gone", "Gone", "Gone", "Gone", "done"])
    expect(yield* world.records).toBe(2)
    expect((yield* stored(world, cookies[5]!)).count).toBe(1)
  }))

rule("an ended id is forgotten by the writes after its 30 seconds", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const next = yield* elsewhere(world, cookie, (handle) => handle.regenerate)
    yield* TestClock.adjust("30 seconds")
    yield* elsewhere(world, next, increment)
    expect(Option.getOrThrow(yield* recordOf(world, next)).record.retired).toEqual([])
  }))

rule(
  "a Conflict after a committed regenerate still carries the cookie that was due",
  (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* opened.handle.get("count")
      yield* opened.handle.regenerate
      yield* opened.handle.save
      const next = cookieOf(opened)
      yield* elsewhere(world, next, increment)
      yield* opened.handle.set("count", 9)
      expect(yield* outcome(opened.finish)).toBe("Conflict")
      expect(cookieOf(opened)).toBe(next)
      expect((yield* stored(world, next)).count).toBe(1)
    })
)

rule("an outage during a login leaves the old id as it was", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world, { count: 7 })
    world.faults.script("replace", Faults.refuse("Throttled"))
    const opened = world.app.open(cookie)
    yield* login(opened.handle)
    expect(yield* outcome(opened.finish)).toBe("Throttled")
    expect(cookieOf(opened)).toBe("keep")
    expect((yield* stored(world, cookie)).count).toBe(7)
  }))
