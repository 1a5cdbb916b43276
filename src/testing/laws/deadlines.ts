/**
 * Deadlines, to the millisecond, by the application's clock.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { SessionStore } from "../../SessionStore.js"
import {
  expectAbsent,
  expectLive,
  inMillis,
  insertAt,
  live,
  minute,
  newData,
  replace,
  replaced,
  second
} from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

export const deadlines: ReadonlyArray<Law> = [
  law(
    "a record lives through its last millisecond, for each operation",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const records = yield* Effect.replicateEffect(live(second), 5)
      const [toLoad, toInsert, toReplace, toTouch, toRemove] = records
      yield* TestClock.adjust(second - 1)
      yield* expectLive(toLoad)
      expect(yield* store.insert(toInsert.key, newData(), yield* inMillis(minute))).toEqual(Option.none())
      yield* expectLive(yield* replace(toReplace))
      expect(yield* store.touch(toTouch.key, toTouch, yield* inMillis(minute))).toBe(true)
      expect(yield* store.remove(toRemove.key, toRemove.version)).toBe(true)
    })
  ),

  law(
    "a replace that postpones the deadline keeps the record beyond the old one",
    Effect.gen(function*() {
      const record = yield* replace(yield* live(second))
      yield* TestClock.adjust(second)
      yield* expectLive(record)
    })
  ),

  law(
    "a touch that postpones the deadline keeps the record beyond the old one",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* live(second)
      yield* store.touch(record.key, record, yield* inMillis(2 * second))
      yield* TestClock.adjust(second)
      expect(Option.isSome(yield* store.load(record.key))).toBe(true)
      yield* TestClock.adjust(second)
      yield* expectAbsent(record.key)
    })
  ),

  law(
    "a deadline that has come makes the record absent",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const [toReplace, toTouch] = yield* Effect.replicateEffect(live(), 2)
      const inserted = yield* live(0)
      yield* store.replace(toReplace.key, toReplace.version, newData(), yield* inMillis(0))
      yield* store.touch(toTouch.key, toTouch, yield* inMillis(0))
      yield* expectAbsent(inserted.key)
      yield* expectAbsent(toReplace.key)
      yield* expectAbsent(toTouch.key)
    })
  ),

  law(
    "a deadline that has passed is written like any other, and makes the record absent",
    Effect.gen(function*() {
      const store = yield* SessionStore
      yield* TestClock.adjust(5 * minute)
      for (const ago of [0, second, 3 * minute]) {
        const inserted = yield* live(-ago)
        const moved = yield* replace(yield* live(), -ago)
        const touched = yield* live()
        expect(yield* store.touch(touched.key, touched, yield* inMillis(-ago))).toBe(true)
        for (const { key } of [inserted, moved, touched]) {
          yield* expectAbsent(key)
          yield* expectLive(yield* insertAt(key))
        }
        const { after, before } = yield* replaced
        expect(yield* store.touch(before.key, before, yield* inMillis(-ago))).toBe(false)
        expect(yield* store.replace(before.key, before.version, newData(), yield* inMillis(-ago))).toEqual(
          Option.none()
        )
        yield* expectLive(after)
      }
    })
  ),

  law(
    "a deadline of a year, and one of this century, is kept to the millisecond",
    Effect.gen(function*() {
      const store = yield* SessionStore
      for (const lifetime of [400 * 24 * 60 * minute + 1, 1_795_000_000_123]) {
        yield* expectLive(yield* live(lifetime))
        yield* expectLive(yield* replace(yield* live(), lifetime))
        const touched = yield* live()
        const expiresAt = yield* inMillis(lifetime)
        expect(yield* store.touch(touched.key, touched, expiresAt)).toBe(true)
        expect(Option.getOrThrow(yield* store.load(touched.key)).expiresAt).toBe(expiresAt)
      }
    })
  ),

  law(
    "no time but the Clock's takes a record away",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const records = yield* Effect.forEach([1, 400 * 24 * 60 * minute], (lifetime) =>
        Effect.gen(function*() {
          const touched = yield* live()
          yield* store.touch(touched.key, touched, yield* inMillis(lifetime))
          return [yield* live(lifetime), yield* replace(yield* live(), lifetime), touched]
        }))
      yield* Effect.async<void>((resume) => {
        setTimeout(() => resume(Effect.void), 200)
      })
      for (const { key } of records.flat()) expect(Option.isSome(yield* store.load(key))).toBe(true)
    })
  )
]
