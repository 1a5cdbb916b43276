/**
 * `SessionSweeper` takes what has expired, and nothing else.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { SessionStore, SessionSweeper } from "../../SessionStore.js"
import {
  expectAbsent,
  expectLive,
  inMillis,
  insertAt,
  live,
  load,
  many,
  minute,
  moments,
  newKey,
  replace,
  second,
  yields
} from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

// The types of `storeLaws` see to it that it is there.
const sweep = Effect.flatMap(Effect.serviceOption(SessionSweeper), (sweeper) => Option.getOrThrow(sweeper).sweep)

/** By a clock that is ahead of everybody else's. */
const ahead = <A, E>(effect: Effect.Effect<A, E>, millis: number) =>
  Effect.clockWith((clock) =>
    Effect.withClock(effect, {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + millis,
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + millis),
      unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos() + BigInt(millis) * 1_000_000n,
      currentTimeNanos: Effect.map(clock.currentTimeNanos, (now) => now + BigInt(millis) * 1_000_000n),
      sleep: (duration) => clock.sleep(duration)
    })
  )

export const sweeps: ReadonlyArray<Law> = [
  law(
    "a sweep removes what has expired, counts it, and leaves what is live",
    Effect.gen(function*() {
      yield* sweep
      const alive = yield* Effect.replicateEffect(live(), 3)
      const dead = yield* Effect.replicateEffect(live(0), 5)
      expect(yield* sweep).toBe(5)
      expect(yield* sweep).toBe(0)
      yield* Effect.forEach(alive, expectLive)
      yield* Effect.forEach(dead, ({ key }) => expectAbsent(key))
    })
  ),

  law(
    "a sweep leaves what was touched, replaced or inserted anew in time",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const touched = yield* live(second)
      const replaced = yield* replace(yield* live(second))
      const inserted = yield* insertAt((yield* live(0)).key)
      expect(yield* store.touch(touched.key, touched, yield* inMillis(minute))).toBe(true)
      yield* TestClock.adjust(second)
      yield* sweep
      expect(Option.isSome(yield* load(touched.key))).toBe(true)
      yield* expectLive(replaced)
      yield* expectLive(inserted)
    })
  ),

  law(
    "a sweep takes no record that is inserted over an expired one meanwhile",
    Effect.gen(function*() {
      for (let round = 0; round < 5; round++) {
        const dead = yield* Effect.replicateEffect(live(0), 10)
        const [, records] = yield* Effect.all([
          Effect.zipRight(yields(round), sweep),
          Effect.forEach(dead, ({ key }, i) => Effect.zipRight(yields(i % 5), insertAt(key)), {
            concurrency: "unbounded"
          })
        ], { concurrency: "unbounded" })
        yield* Effect.forEach(records, expectLive)
      }
    })
  ),

  law(
    "a sweep takes no record that is touched meanwhile by a process whose clock is behind",
    Effect.gen(function*() {
      const store = yield* SessionStore
      for (let round = 0; round < 5; round++) {
        const records = yield* many(10, second)
        const [, touched] = yield* Effect.all([
          Effect.zipRight(yields(round), ahead(sweep, second)),
          Effect.forEach(records, (record, i) =>
            Effect.zipRight(
              yields(i % 5),
              Effect.flatMap(inMillis(minute), (expiresAt) => store.touch(record.key, record, expiresAt))
            ), { concurrency: "unbounded" })
        ], { concurrency: "unbounded" })
        const found = yield* Effect.forEach(records, ({ key }) => load(key))
        expect(found.map(Option.isSome)).toEqual(touched)
      }
    })
  ),

  law(
    "a sweep removes all of 1100 expired records, whoever's clock is asked afterwards",
    Effect.gen(function*() {
      const records = yield* many(1100, second)
      expect(yield* ahead(sweep, second)).toBeGreaterThanOrEqual(1100)
      expect(yield* ahead(sweep, second)).toBe(0)
      yield* Effect.forEach(records.slice(0, 20), ({ key }) => expectAbsent(key))
    })
  ),

  law(
    "of sweeps at once each record is counted by one",
    Effect.gen(function*() {
      yield* sweep
      yield* many(40, 0)
      const counts = yield* Effect.forEach([0, 0, 1, 1], (n) => Effect.zipRight(yields(n), sweep), {
        concurrency: "unbounded"
      })
      expect(counts.reduce((sum, count) => sum + count)).toBe(40)
    })
  ),

  law(
    "a sweep leaves what has a millisecond to live",
    Effect.gen(function*() {
      yield* TestClock.adjust(500)
      const [soon, ...others] = yield* Effect.forEach([1, 499, 999], (lifetime) => live(lifetime))
      yield* sweep
      yield* Effect.forEach([soon!, ...others], expectLive)
      yield* TestClock.adjust(1)
      expect(yield* sweep).toBe(1)
      yield* Effect.forEach(others, expectLive)
    })
  ),

  law(
    "a sweep goes by the present deadline, after a removal and an insert, and after a touch that made it sooner",
    Effect.gen(function*() {
      const store = yield* SessionStore
      yield* sweep
      const { key } = yield* live(second)
      yield* store.remove(key)
      const anew = yield* insertAt(key)
      const touched = yield* live()
      yield* store.touch(touched.key, touched, yield* inMillis(second))
      yield* replace(yield* live(), second)
      yield* TestClock.adjust(second)
      expect(yield* sweep).toBe(2)
      yield* expectLive(anew)
    })
  ),

  law(
    "a sweep that is interrupted leaves the next one able",
    Effect.gen(function*() {
      for (const moment of moments) {
        const records = yield* many(10, second)
        const fiber = yield* Effect.fork(ahead(sweep, second))
        yield* moment
        yield* Fiber.interrupt(fiber)
        yield* ahead(sweep, second)
        yield* Effect.forEach(records, ({ key }) => expectAbsent(key))
      }
    })
  ),

  law(
    "a version never repeats for a key that was swept",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const key = yield* newKey
      const versions: Array<string> = []
      for (let round = 0; round < 4; round++) {
        const record = yield* insertAt(key, second)
        versions.push(record.version, (yield* replace(record, second)).version)
        if (round % 2 === 0) yield* store.remove(key)
        yield* TestClock.adjust(second)
        yield* sweep
      }
      expect(new Set(versions).size).toBe(8)
    })
  )
]
