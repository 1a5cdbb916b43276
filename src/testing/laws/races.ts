/**
 * Who wins when many write at once.
 *
 * @internal
 */
import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import type { SessionStore, SessionStoreError, Version } from "../../SessionStore.js"
import { plans, unexplained } from "../histories.js"
import {
  expectAbsent,
  expired,
  hex,
  inMillis,
  insertAt,
  live,
  load,
  minute,
  newData,
  newKey,
  removed,
  second,
  shown
} from "./given.js"
import { late } from "./late.js"
import type { Given, Law, Store } from "./Law.js"
import { law } from "./Law.js"

const contenders = 50

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
      FastCheck.boolean(),
      FastCheck.boolean(),
      plans,
      (firstExists, secondExists, plan) =>
        Effect.gen(function*() {
          const records = [yield* firstExists ? live() : removed, yield* secondExists ? live() : removed] as const
          expect(yield* unexplained(stores, records, plan, given.capabilities)).toEqual([])
        }).pipe(Effect.scoped, Runtime.runPromise(runtime))
    )
    yield* Effect.tryPromise({
      try: () =>
        FastCheck.assert(property, {
          numRuns: runs,
          interruptAfterTimeLimit: 10 * runs,
          ...(seed === undefined ? {} : { seed })
        }),
      catch: (error) => error
    })
  })

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

  law(
    "whatever runs at once, its answers are those of one operation after the other",
    (given) => Effect.flatMap(given.stores, (stores) => serial(given, stores, 150))
  ),

  law(
    "calls and answers that come late and out of order change nothing about that",
    (given) => Effect.flatMap(given.stores, (stores) => serial(given, stores.map(late), 50))
  )
]
