import { describe, expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
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
  type Opened,
  recordOf,
  request,
  rule,
  type World
} from "./world.js"

const minutes = (count: number) => count * 60_000

const expiryOf = (opened: Opened) => {
  const change = Effect.runSync(opened.cookie)
  return change._tag === "Set" ? Option.getOrNull(change.expiresAt) : change._tag
}

const read = (handle: Handle) => handle.value
const remember = (handle: Handle) =>
  handle.setLifetime({ idleTimeout: "7 days", absoluteTimeout: "30 days", persistent: true })

const deadline = (world: World, cookie: string) =>
  Effect.map(recordOf(world, cookie), (found) => Option.getOrThrow(found).expiresAt)

describe("deadlines", () => {
  rule("idle for 30 minutes, the session ends", (world) =>
    Effect.gen(function*() {
      const [used, unused] = [yield* issued(world), yield* issued(world)]
      yield* TestClock.adjust(minutes(30) - 1)
      expect(yield* world.other.open(used).handle.isNew).toBe(false)
      yield* TestClock.adjust(1)
      expect(yield* world.other.open(unused).handle.isNew).toBe(true)
    }))

  rule("each write moves the idle deadline", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("1 minute")
      yield* request(world.app, cookie, increment)
      expect(yield* deadline(world, cookie)).toBe(minutes(31))
    }))

  rule("the absolute deadline is constant under use, and ends the session", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      for (let use = 0; use < 72; use++) {
        yield* TestClock.adjust("20 minutes")
        expect(yield* world.other.open(cookie).handle.isNew).toBe(use === 71)
        yield* request(world.other, cookie, use % 2 === 0 ? read : (handle) => handle.update(({ ...value }) => value))
        if (use < 71) {
          expect(Option.getOrThrow(yield* recordOf(world, cookie)).record.absoluteDeadline).toBe(minutes(24 * 60))
        }
      }
    }))

  rule("the shorter of the two ends it", (world) =>
    Effect.gen(function*() {
      expect(yield* deadline(world, yield* issued(world))).toBe(minutes(5))
    }), { absoluteTimeout: "5 minutes" })

  rule("the absolute deadline holds, whatever deadline the store has", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { expiresAt, ...found } = Option.getOrThrow(yield* recordOf(world, cookie))
      yield* world.store.touch(keyOf(cookie), { ...found, expiresAt }, minutes(60))
      yield* TestClock.adjust(minutes(5))
      expect(yield* world.other.open(cookie).handle.isNew).toBe(true)
    }), { absoluteTimeout: "5 minutes" })

  rule("expiresAt and createdAt say so", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("1 minute")
      const { handle } = world.app.open(cookie)
      const [createdAt, expiresAt] = [yield* handle.createdAt, yield* handle.expiresAt]
      expect(Option.getOrThrow(createdAt).epochMillis).toBe(0)
      expect(Option.getOrThrow(expiresAt).epochMillis).toBe(minutes(30))
    }))
})

describe("touch", () => {
  rule("once per tenth of the idle timeout, and not before", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust(minutes(3) - 1)
      yield* request(world.app, cookie, read)
      expect(world.faults.calls).toEqual(["load"])
      yield* TestClock.adjust(1)
      yield* request(world.app, cookie, read)
      yield* request(world.app, cookie, read)
      expect(world.faults.calls).toEqual(["load", "load", "touch", "load"])
      expect(yield* deadline(world, cookie)).toBe(minutes(33))
    }))

  rule("moves neither data nor version", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const before = Option.getOrThrow(yield* recordOf(world, cookie))
      yield* TestClock.adjust("5 minutes")
      yield* request(world.app, cookie, read)
      const after = Option.getOrThrow(yield* recordOf(world, cookie))
      expect(after).toEqual({ ...before, expiresAt: minutes(35) })
    }))

  rule("only when the request used the session", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("5 minutes")
      yield* world.app.open(cookie).finish
      expect(world.faults.calls).toEqual([])
    }))

  rule("not beyond the absolute deadline, and not for nothing once it is reached", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("20 minutes")
      yield* request(world.app, cookie, read)
      expect(yield* deadline(world, cookie)).toBe(minutes(40))
      yield* TestClock.adjust("15 minutes")
      yield* request(world.app, cookie, read)
      expect(world.faults.calls).toEqual(["load", "touch", "load"])
    }), { absoluteTimeout: "40 minutes" })

  rule("not after a commit, which has moved the deadline already", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("5 minutes")
      yield* request(world.app, cookie, increment)
      expect(world.faults.calls).toEqual(["load", "replace"])
    }))

  rule("of a browser session sets no cookie, of a persistent one its new expiry", (world) =>
    Effect.gen(function*() {
      const browser = yield* issued(world)
      const persistent = yield* issued(world)
      yield* elsewhere(world, persistent, (handle) => handle.setLifetime({ persistent: true }))
      yield* TestClock.adjust("5 minutes")
      expect(cookieOf(yield* request(world.app, browser, read))).toBe("keep")
      const opened = yield* request(world.app, persistent, read)
      expect(cookieOf(opened)).toBe(persistent)
      expect(expiryOf(opened)).toBe(minutes(35))
    }))

  rule("found stale: no cookie is refreshed", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* elsewhere(world, cookie, (handle) => handle.setLifetime({ persistent: true }))
      yield* TestClock.adjust("5 minutes")
      world.faults.script("touch", Faults.after(elsewhere(world, cookie, (handle) => handle.regenerate)))
      const opened = yield* request(world.app, cookie, read)
      expect(cookieOf(opened)).toBe("keep")
      expect(world.faults.calls).toEqual(["load", "touch"])
    }))

  rule("does not undo a remember-me that was written meanwhile", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("5 minutes")
      world.faults.script("touch", Faults.after(elsewhere(world, cookie, remember)))
      yield* request(world.app, cookie, read)
      expect(yield* deadline(world, cookie)).toBe(minutes(7 * 24 * 60 + 5))
    }))

  rule("failed, it is an event, and the response stays", (world) =>
    Effect.gen(function*() {
      const messages: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => messages.push(`${logLevel.label} ${String(message)}`))
      const cookie = yield* issued(world)
      yield* elsewhere(world, cookie, (handle) => handle.setLifetime({ persistent: true }))
      yield* TestClock.adjust("5 minutes")
      world.faults.script("touch", Faults.refuse())
      const opened = yield* request(world.app, cookie, read).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      expect(cookieOf(opened)).toBe("keep")
      expect(messages).toEqual([
        expect.stringMatching(/^WARN Session .*: the store fails: touch is .*may expire early/)
      ])
    }))
})

describe("setLifetime", () => {
  rule("remember me: a persistent cookie that lives as long as the session", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("1 minute")
      const opened = yield* request(world.app, cookie, remember)
      expect(cookieOf(opened)).toBe(cookie)
      expect(expiryOf(opened)).toBe(minutes(7 * 24 * 60 + 1))
      expect(Option.getOrThrow(yield* recordOf(world, cookie))).toMatchObject({
        expiresAt: minutes(7 * 24 * 60 + 1),
        record: {
          idleTimeout: minutes(7 * 24 * 60),
          absoluteDeadline: minutes(30 * 24 * 60 + 1),
          persistent: true
        }
      })
    }))

  rule("is of this session alone, and outlives the request", (world) =>
    Effect.gen(function*() {
      const [remembered, usual] = [yield* issued(world), yield* issued(world)]
      yield* elsewhere(world, remembered, remember)
      yield* TestClock.adjust("3 days")
      expect(yield* world.other.open(usual).handle.isNew).toBe(true)
      yield* request(world.other, remembered, increment)
      expect(yield* deadline(world, remembered)).toBe(minutes(10 * 24 * 60))
    }))

  rule("a regenerate restarts the session's own absolute lifetime, not the default", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* elsewhere(world, cookie, remember)
      yield* TestClock.adjust("3 days")
      const next = yield* elsewhere(world, cookie, (handle) => handle.regenerate)
      const { record } = Option.getOrThrow(yield* recordOf(world, next))
      expect(record).toMatchObject({ absoluteDeadline: minutes(33 * 24 * 60), persistent: true })
    }))

  rule("what is left out stays as it was", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("1 minute")
      yield* elsewhere(world, cookie, (handle) => handle.setLifetime({ idleTimeout: "1 hour" }))
      expect(Option.getOrThrow(yield* recordOf(world, cookie)).record).toMatchObject({
        idleTimeout: minutes(60),
        absoluteDeadline: minutes(24 * 60),
        persistent: false
      })
    }))

  rule("two are one, key by key", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* request(world.app, cookie, (handle) =>
        Effect.zipRight(
          handle.setLifetime({ idleTimeout: "1 hour", persistent: true }),
          handle.setLifetime({ idleTimeout: "2 hours" })
        ))
      expect(Option.getOrThrow(yield* recordOf(world, cookie)).record).toMatchObject({
        idleTimeout: minutes(120),
        persistent: true
      })
    }))

  rule("no longer persistent: the cookie says so, once", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* elsewhere(world, cookie, remember)
      const opened = yield* request(world.app, cookie, (handle) => handle.setLifetime({ persistent: false }))
      expect(expiryOf(opened)).toBe(null)
      expect(cookieOf(yield* request(world.app, cookie, increment))).toBe("keep")
    }))

  rule("survives a replay", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* remember(opened.handle)
      yield* elsewhere(world, cookie, increment)
      yield* opened.finish
      expect(Option.getOrThrow(yield* recordOf(world, cookie)).record.persistent).toBe(true)
      expect(cookieOf(opened)).toBe(cookie)
    }))

  for (const idleTimeout of [0, -1, NaN, Infinity, "4000 days"] as const) {
    rule(`${idleTimeout} is no lifetime`, (world) =>
      Effect.gen(function*() {
        const { handle } = world.app.open()
        const exit = yield* Effect.exit(
          Effect.suspend(() => handle.setLifetime({ idleTimeout: idleTimeout as number }))
        )
        expect(exit._tag).toBe("Failure")
      }))
  }
})

describe("persistent sessions", () => {
  rule("each write sets the cookie, with the new expiry", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("1 minute")
      const opened = yield* request(world.app, cookie, increment)
      expect(cookieOf(opened)).toBe(cookie)
      expect(expiryOf(opened)).toBe(minutes(31))
    }), { persistent: true })

  rule("a write that moves no expiry sets no cookie", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("1 minute")
      expect(cookieOf(yield* request(world.app, cookie, increment))).toBe("keep")
    }), { persistent: true, absoluteTimeout: "20 minutes" })

  rule(
    "a touch that finds the session gone sends no cookie that a save made due (model, 2026-11-24)",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        const opened = world.app.open(cookie)
        yield* TestClock.adjust("1 minute")
        yield* Effect.zipRight(increment(opened.handle), opened.handle.save)
        expect(cookieOf(opened)).toBe(cookie)
        yield* TestClock.adjust("10 minutes")
        yield* elsewhere(world, cookie, (handle) => handle.destroy)
        yield* opened.finish
        expect(world.faults.calls).toEqual(["load", "replace", "touch"])
        expect(cookieOf(opened)).toBe("keep")
      }),
    { persistent: true }
  )
})
