/**
 * Who wins when many write at once.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { randomBytes } from "node:crypto"
import type { SessionStoreError, Version } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import { plans, unexplained } from "../histories.js"
import {
  expectAbsent,
  expectLive,
  expired,
  hex,
  inMillis,
  insertAt,
  live,
  load,
  many,
  minute,
  newData,
  newKey,
  removed,
  second,
  shown,
  yields
} from "./given.js"
import { late } from "./late.js"
import type { Given, Law, Store } from "./Law.js"
import { law } from "./Law.js"

const contenders = 50

/** Plans that are run however long they take. */
const few = 5

/** All at once, in turn on one store and the next. */
const race = <A>({ stores }: Given, run: (store: Store) => Effect.Effect<A, SessionStoreError>) =>
  Effect.flatMap(stores, (stores) =>
    Effect.forEach(
      Array.from({ length: contenders }, (_, i) => stores[i % stores.length]!),
      run,
      { concurrency: "unbounded" }
    ))

const expectOneWinner = (
  given: Given,
  key: string,
  write: (store: Store, data: Uint8Array) => Effect.Effect<Option.Option<Version>, SessionStoreError>
) =>
  Effect.gen(function*() {
    const versions = yield* race(given, (store) => {
      const data = newData()
      return Effect.map(write(store, data), Option.map((version) => ({ version, data: hex(data) })))
    })
    const winners = versions.flatMap(Option.toArray)
    expect(winners.length).toBe(1)
    const { data, version } = shown(Option.getOrThrow(yield* load(key)))
    expect({ data, version }).toEqual(winners[0])
  })

const counterData = (count: number): Uint8Array => Buffer.from(`${count} ${randomBytes(8).toString("hex")}`)

const counterOf = (data: Uint8Array): number => parseInt(Buffer.from(data).toString(), 10)

/** Random plans; a failure names its seed and its shortest plan. */
const serial = (given: Given, stores: ReadonlyArray<Store>, runs: number) =>
  Effect.gen(function*() {
    const runtime = yield* Effect.runtime<SessionStore | Scope.Scope>()
    const { seed } = given.capabilities
    const property = FastCheck.asyncProperty(
      FastCheck.constantFrom(live(), removed, live(0)),
      FastCheck.constantFrom(live(), removed, live(0)),
      plans,
      (first, second, plan) =>
        Effect.gen(function*() {
          const records = [yield* first, yield* second] as const
          expect(yield* unexplained(stores, records, plan, given.capabilities)).toEqual([])
        }).pipe(Effect.scoped, Runtime.runPromise(runtime))
    )
    const assert = (parameters: FastCheck.Parameters<unknown>) =>
      Effect.tryPromise({
        try: () => FastCheck.assert(property, { ...parameters, ...(seed === undefined ? {} : { seed }) }),
        catch: (error) => error
      })
    // A store that is far away has run a few of them, too.
    yield* assert({ numRuns: few })
    const started = performance.now()
    yield* Effect.catchIf(
      assert({ numRuns: runs, interruptAfterTimeLimit: 10 * runs }),
      (error) => performance.now() - started >= 10 * runs && /interrupted after 0 tests/i.test(String(error)),
      () => Effect.void
    )
  })

/** Of a few writes that come within a few steps of each other. */
const expectWinners = (round: number) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const { key } = yield* removed
    const record = yield* live()
    const expiresAt = yield* inMillis(minute)
    const together = <A>(writes: ReadonlyArray<Effect.Effect<A, SessionStoreError>>) =>
      Effect.forEach(writes, (write, i) => Effect.zipRight(yields((round * (i + 1)) % 3), write), {
        concurrency: "unbounded"
      })
    const insert = Effect.suspend(() => Effect.map(store.insert(key, newData(), expiresAt), Option.isSome))
    const remove = store.remove(record.key, record.version)
    const replace = Effect.suspend(() =>
      Effect.map(store.replace(record.key, record.version, newData(), expiresAt), Option.isSome)
    )
    expect((yield* together([insert, insert, insert])).filter(Boolean).length).toBe(1)
    expect((yield* together([remove, replace, remove, replace])).filter(Boolean).length).toBe(1)
  }).pipe(Effect.scoped)

export const races: ReadonlyArray<Law> = [
  law("of 50 inserts at once exactly one wins", (given) =>
    Effect.gen(function*() {
      const key = yield* newKey
      const expiresAt = yield* inMillis(minute)
      yield* expectOneWinner(given, key, (store, data) => store.insert(key, data, expiresAt))
    })),

  law("of 50 inserts at once over an expired record exactly one wins", (given) =>
    Effect.gen(function*() {
      const { key } = yield* expired
      const expiresAt = yield* inMillis(minute)
      yield* expectOneWinner(given, key, (store, data) => store.insert(key, data, expiresAt))
    })),

  law("of 50 replaces at once under one version exactly one wins", (given) =>
    Effect.gen(function*() {
      const { expiresAt, key, version } = yield* live()
      yield* expectOneWinner(given, key, (store, data) => store.replace(key, version, data, expiresAt))
    })),

  law("of 50 removes at once exactly one wins, under a version and without", (given) =>
    Effect.gen(function*() {
      const one = yield* live()
      const other = yield* live()
      const conditional = yield* race(given, (store) => store.remove(one.key, one.version))
      const unconditional = yield* race(given, (store) => store.remove(other.key))
      expect(conditional.filter(Boolean).length).toBe(1)
      expect(unconditional.filter(Boolean).length).toBe(1)
    })),

  law("50 increments at once, each tried until it succeeds, add 50", (given) =>
    Effect.gen(function*() {
      const { expiresAt, key } = yield* insertAt(yield* newKey, minute, counterData(0))
      yield* race(given, (store) =>
        Effect.gen(function*() {
          const { data, version } = Option.getOrThrow(yield* store.load(key))
          return yield* store.replace(key, version, counterData(counterOf(data) + 1), expiresAt)
        }).pipe(Effect.repeat({ until: Option.isSome })))
      expect(counterOf(Option.getOrThrow(yield* load(key)).data)).toBe(contenders)
    })),

  law(
    "a removed record is brought back by no replace and no touch that ran beside the removal",
    (given) =>
      Effect.gen(function*() {
        for (let round = 0; round < 5; round++) {
          const record = yield* live()
          const { key, version } = record
          const expiresAt = record.expiresAt + second
          let turn = 0
          yield* race(given, (store) =>
            Effect.suspend((): Effect.Effect<unknown, SessionStoreError> => {
              turn++
              if (turn === 5 * round + 1) return store.remove(key)
              return round % 2 === 0 || turn % 2 === 0
                ? store.touch(key, record, expiresAt)
                : store.replace(key, version, newData(), expiresAt)
            }))
          yield* expectAbsent(key)
        }
      })
  ),

  law("what was loaded before hides no later touch, one's own nor another's", (given) =>
    Effect.gen(function*() {
      const stores = [yield* SessionStore, ...yield* given.stores]
      const { expiresAt, key } = yield* live(second)
      const deadlines = Effect.forEach(stores, (store) =>
        Effect.map(store.load(key), Option.map((found) => found.expiresAt)))
      expect(yield* deadlines).toEqual(stores.map(() =>
        Option.some(expiresAt)
      ))
      for (const [i, store] of stores.entries()) {
        const later = expiresAt + minute + i
        expect(yield* store.touch(key, Option.getOrThrow(yield* store.load(key)), later)).toBe(true)
        expect(yield* deadlines).toEqual(stores.map(() => Option.some(later)))
      }
      yield* TestClock.adjust(second)
      expect((yield* deadlines).every(Option.isSome)).toBe(true)
    })),

  law(
    "whatever runs at once, its answers are those of one operation after the other",
    (given) => Effect.flatMap(given.stores, (stores) => serial(given, stores, 100))
  ),

  law(
    "calls and answers that come late and out of order change nothing about that",
    (given) => Effect.flatMap(given.stores, (stores) => serial(given, stores.map(late), 40))
  )
]

/** Within one process: what they look for is not between two. */
export const crowds: ReadonlyArray<Law> = [
  law(
    "what finds a record expired takes nothing that is inserted over it meanwhile",
    Effect.gen(function*() {
      const store = yield* SessionStore
      for (let round = 0; round < 32; round++) {
        const dead = yield* live(0)
        const expiresAt = yield* inMillis(minute)
        const late: Effect.Effect<unknown, SessionStoreError> = round % 2 === 0
          ? store.load(dead.key)
          : store.replace(dead.key, dead.version, newData(), expiresAt)
        const [record] = yield* Effect.all([
          Effect.zipRight(yields(Math.floor(round / 8)), insertAt(dead.key)),
          Effect.zipRight(yields(Math.floor(round / 2) % 4), late)
        ], { concurrency: "unbounded" })
        yield* expectLive(record)
      }
    })
  ),

  law(
    "a touch that runs beside a write moves no deadline but that of its own version",
    Effect.gen(function*() {
      const store = yield* SessionStore
      for (let round = 0; round < 25; round++) {
        const record = yield* live()
        const sooner = yield* inMillis(second)
        const later = yield* inMillis(3 * minute)
        const data = newData()
        const write = round % 2 === 0
          ? store.replace(record.key, record.version, data, later)
          : Effect.zipRight(store.remove(record.key), store.insert(record.key, data, later))
        const [, version] = yield* Effect.all([
          Effect.zipRight(yields(round % 5), store.touch(record.key, record, sooner)),
          Effect.zipRight(yields(Math.floor(round / 5)), write)
        ], { concurrency: "unbounded" })
        if (Option.isSome(version)) {
          yield* expectLive({ key: record.key, data, version: version.value, expiresAt: later })
        }
      }
    })
  ),

  law(
    "each of 200 loads at once finds its own record, or is told that there were too many",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const records = yield* many(200)
      const found = yield* Effect.forEach(records, ({ key }) => Effect.either(store.load(key)), {
        concurrency: "unbounded"
      })
      for (const [i, result] of found.entries()) {
        if (Either.isLeft(result)) expect(result.left.reason).toBe("Throttled")
        else expect(Option.map(result.right, shown)).toEqual(Option.some(shown(records[i]!)))
      }
    })
  ),

  law(
    "of a few writes at once one wins, round after round",
    Effect.gen(function*() {
      const end = performance.now() + 300
      for (let round = 0; round < 3 || performance.now() < end; round++) yield* expectWinners(round)
    })
  )
]
