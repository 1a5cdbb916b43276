/** Clocks, crowds and sizes: the rows of faults that need no server. */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import { Session, SessionStore } from "effect-session"
import * as Memory from "effect-session/layers/Memory"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { AppSession, type Handler } from "../http/app.js"
import { makeWorld } from "./world.js"

const minutes = (count: number) => count * 60_000

/** The test's clock, so many milliseconds ahead. */
const ahead = (by: () => number) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.clockWith((clock) => {
    const now = () => clock.unsafeCurrentTimeMillis() + by()
    const shifted: Clock.Clock = Object.assign(Object.create(clock), {
      unsafeCurrentTimeMillis: now,
      currentTimeMillis: Effect.sync(now)
    })
    return Effect.withClock(effect, shifted)
  })

describe("clocks", () => {
  it.scoped("F-CK1: of nodes five minutes apart: alive within that, and never longer than that past the end", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const [a, early, late] = [
        yield* node(),
        yield* ahead(() => minutes(5))(node()),
        yield* ahead(() => -minutes(5))(node())
      ]
      const cookie = yield* issue()
      for (let at = 20; at < 24 * 60 - 5; at += 20) {
        yield* TestClock.setTime(minutes(at))
        for (const send of [a, early, late]) {
          expect((yield* send("/write", cookie)).status).toBe(200)
        }
      }
      yield* TestClock.setTime(minutes(24 * 60) - 1)
      expect((yield* a("/is-new", cookie)).body).toBe("false")
      yield* TestClock.setTime(minutes(24 * 60 + 5) - 1)
      expect((yield* late("/is-new", cookie)).body).toBe("false")
      yield* TestClock.setTime(minutes(24 * 60 + 5))
      for (const send of [late, a, early]) {
        expect((yield* send("/is-new", cookie)).body).toBe("true")
      }
    }))

  it.scoped("F-CK1: one that jumps back an hour makes no session last, and no deadline lies in its past", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      let jump = 0
      const send = yield* ahead(() => jump)(node())
      yield* TestClock.setTime(minutes(120))
      const cookie = yield* issue({ n: 1 })
      const deadlines: Array<readonly [now: number, expiresAt: number]> = []
      const { replace } = probe.store
      Object.assign(probe.store, {
        replace: (...args: Parameters<typeof replace>) =>
          Effect.zipRight(
            Effect.clockWith((clock) => Effect.sync(() => deadlines.push([clock.unsafeCurrentTimeMillis(), args[3]]))),
            replace(...args)
          )
      })
      jump = -minutes(60)
      expect((yield* send("/write", cookie)).status).toBe(200)
      expect((yield* send("/regenerate", cookie)).status).toBe(200)
      expect(deadlines).toEqual([[minutes(60), minutes(90)], [minutes(60), minutes(90)]])
    }))

  it.scoped("F-CK3: 2038 and 2106 are years like any other", () =>
    Effect.gen(function*() {
      for (const second of [2 ** 31, 2 ** 32]) {
        const { node } = yield* makeWorld
        const send = yield* node({}, { persistent: true })
        yield* TestClock.setTime(second * 1000 - minutes(10))
        const { cookie, headers } = yield* send("/write")
        const expires = Date.parse(/Expires=([^;]+)/.exec(headers.getSetCookie()[0]!)![1]!)
        expect(expires).toBe(second * 1000 + minutes(20))
        yield* TestClock.adjust("29 minutes")
        expect((yield* send("/read", cookie)).body).toBe("1")
        yield* TestClock.adjust("30 minutes")
        expect((yield* send("/read", cookie)).body).toBe("0")
      }
    }))
})

describe("crowds", () => {
  it.scoped("F-CC3: of a thousand first requests at once each has a session of its own", () =>
    Effect.gen(function*() {
      const { count, node } = yield* makeWorld
      const send = yield* node()
      const answers = yield* Effect.all(Array.from({ length: 1000 }, () => send("/write")), {
        concurrency: "unbounded"
      })
      expect(new Set(answers.map(({ cookie }) => cookie)).size).toBe(1000)
      expect(yield* count).toBe(1000)
      expect((yield* send("/read", answers[500]!.cookie)).body).toBe("1")
    }))

  it.scoped("F-CC4: readers beside a writer write nothing, and hold it up by nothing", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue()
      const paths = Array.from({ length: 300 }, (_, i) => i % 100 === 50 ? "/write" : "/read")
      const answers = yield* Effect.forEach(paths, (path) => send(path, cookie), { concurrency: "unbounded" })
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
      const replaces = probe.operations.filter((operation) => operation === "replace").length
      expect(replaces).toBeLessThanOrEqual(6) // three, and what they lose to each other
      expect(new Set(probe.operations)).toEqual(new Set(["insert", "load", "replace"]))
      expect((yield* send("/read", cookie)).body).toBe("3")
    }))
})

describe("sizes", () => {
  it.scoped("F-P1: a payload over the limit is 413 before the store is asked, and the old one is intact", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const grow = (size: number): Handler =>
        Effect.gen(function*() {
          const session = yield* AppSession
          yield* session.set("user", "x".repeat(size))
          return HttpServerResponse.text("grown")
        })
      const send = yield* node({ fits: grow(2 ** 20 - 100), huge: grow(2 ** 20), vast: grow(2 ** 24) })
      const cookie = yield* issue({ n: 1 })
      expect((yield* send("/fits", cookie)).status).toBe(200)
      const before = yield* probe.records
      probe.operations.length = 0
      for (const path of ["/huge", "/vast"]) {
        for (const sent of [cookie, undefined]) {
          const answer = yield* send(path, sent)
          expect([answer.status, JSON.parse(answer.body).reason, answer.cookie]).toEqual([413, "TooLarge", undefined])
        }
      }
      expect(probe.operations).toEqual(["load", "load"])
      expect(yield* probe.records).toEqual(before)
    }))

  it.effect("F-MM1: the memory store keeps to its capacity, whoever comes", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const key = (i: number) => String(i).padStart(64, "0")
      for (let i = 0; i < 5000; i++) {
        yield* store.insert(key(i), new Uint8Array(10), minutes(1))
      }
      const found = yield* Effect.forEach(Array.from({ length: 5000 }, (_, i) => key(i)), store.load)
      expect(found.filter(Option.isSome)).toHaveLength(500)
    }).pipe(Effect.provide(Memory.layer({ capacity: 500 }))))
})

describe("releases", () => {
  class Old extends Session.Tag<Old>()("security/Release", {
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    legacy: Schema.optional(Schema.String)
  }) {}
  class New extends Session.Tag<New>()("security/Release", {
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    added: Schema.optional(Schema.String)
  }) {}
  class Changed extends Session.Tag<Changed>()("security/Release", {
    count: Schema.optional(Schema.Struct({ total: Schema.Number }))
  }) {}

  it.scoped("F-P3: one that adds and drops fields keeps the other's; one that changes a type loses no record", () =>
    Effect.gen(function*() {
      const store = Layer.succeedContext(yield* Layer.build(Memory.layer()))
      const old = Context.get(yield* Layer.build(Layer.provide(Old.layer(), store)), Old.Manager)
      const next = Context.get(yield* Layer.build(Layer.provide(New.layer(), store)), New.Manager)
      const changed = Context.get(yield* Layer.build(Layer.provide(Changed.layer(), store)), Changed.Manager)
      const cookie = Redacted.value(yield* old.issue({ count: 1, legacy: "kept" }))

      const newer = next.open(cookie)
      yield* newer.handle.update((value) => ({ count: value.count + 1, added: "new" }))
      yield* newer.finish
      expect(yield* old.open(cookie).handle.value).toEqual({ count: 2, legacy: "kept" })

      const other = changed.open(cookie)
      expect(yield* other.handle.isNew).toBe(true)
      yield* other.handle.set("count", { total: 9 })
      yield* other.finish
      expect(yield* old.open(cookie).handle.value).toEqual({ count: 2, legacy: "kept" })
    }))
})
