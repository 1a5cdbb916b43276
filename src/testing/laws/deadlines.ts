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
import { expectAbsent, expectLive, inMillis, live, minute, newData, replace, second } from "./given.js"
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
  )
]
