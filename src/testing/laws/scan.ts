/**
 * `SessionScan` lists what is live.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { randomBytes } from "node:crypto"
import type { Entry } from "../../SessionStore.js"
import { SessionScan, SessionStore } from "../../SessionStore.js"
import type { Keyed } from "../histories.js"
import {
  expectLive,
  hex,
  inMillis,
  insertAt,
  many,
  minute,
  moments,
  newKey,
  ownKey,
  randomKey,
  replace,
  second,
  yields
} from "./given.js"
import { turns } from "./late.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

// The types of `storeLaws` see to it that it is there.
const entries = Stream.unwrap(
  Effect.map(Effect.serviceOption(SessionScan), (scan) => Option.getOrThrow(scan).entries)
)

/** What is listed under these keys; others' records are none of ours. */
const listed = (keys: ReadonlyArray<string>) => {
  const ours = new Set(keys)
  return Effect.map(Stream.runCollect(Stream.filter(entries, ({ key }) => ours.has(key))), (found) => [...found])
}

const entry = ({ data, expiresAt, key }: Entry) => `${key} ${hex(data)} ${expiresAt}`

/** Each at least once: a store may list a record twice. */
const expectListed = (records: ReadonlyArray<Keyed>, keys = records.map(({ key }) => key)) =>
  Effect.map(listed(keys), (found) => {
    expect([...new Set(found.map(entry))].sort()).toEqual(records.map(entry).sort())
  })

export const scans: ReadonlyArray<Law> = [
  law(
    "a listing has each of 300 live records, with key, data and deadline, and none that expired or was removed",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const records = yield* many(300)
      const dead = yield* many(20, second)
      const gone = yield* many(20)
      const touched = { ...records[0]!, expiresAt: yield* inMillis(2 * minute) }
      yield* store.touch(touched.key, touched, touched.expiresAt)
      const replaced = yield* replace(records[1]!)
      yield* Effect.forEach(gone, ({ key }) => store.remove(key), { concurrency: 16 })
      yield* TestClock.adjust(second)
      yield* expectListed(
        [touched, replaced, ...records.slice(2)],
        [...records, ...dead, ...gone].map(({ key }) => key)
      )
    })
  ),

  law(
    "a listing has what is live throughout, whatever is written meanwhile",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const going = yield* many(100)
      const staying = yield* many(100)
      const keys = staying.map(({ key }) => key)
      const writes = Effect.forEach(going, (record, i) =>
        Effect.gen(function*() {
          yield* turns(1)
          if (i % 2 === 1) return yield* replace(record)
          yield* store.remove(record.key)
          return yield* insertAt(record.key)
        }), { concurrency: 8 })
      const rewrites = Effect.forEach(staying, (record, i) =>
        Effect.gen(function*() {
          yield* turns(1)
          if (i % 2 === 1) return yield* replace(record)
          return yield* store.touch(record.key, record, record.expiresAt + second)
        }), { concurrency: 8 })
      const [found] = yield* Effect.all([listed(keys), writes, rewrites], { concurrency: "unbounded" })
      expect([...new Set(found.map(({ key }) => key))].sort()).toEqual(keys.sort())
    })
  ),

  law(
    "a listing that is given up half way, or interrupted, leaves the store as it was",
    Effect.gen(function*() {
      const records = yield* many(100)
      yield* Stream.runDrain(Stream.take(entries, 1))
      for (const moment of moments) {
        const fiber = yield* Effect.fork(Stream.runDrain(entries))
        yield* moment
        yield* Fiber.interrupt(fiber)
      }
      yield* Stream.runDrain(Stream.take(entries, 1))
      yield* expectListed(records)
      yield* expectLive(yield* replace(records[0]!))
    })
  ),

  law(
    "a listing has what is live throughout, although hundreds go while it stands at its first record",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const going = yield* many(150)
      const staying = (yield* many(200)).map(({ key }) => key)
      let isFirst = true
      const found = yield* entries.pipe(
        Stream.tap(() => {
          if (!isFirst) return Effect.void
          isFirst = false
          return Effect.forEach(going, ({ key }) => store.remove(key), { concurrency: 16, discard: true })
        }),
        Stream.runCollect
      )
      const listed = new Set([...found].map(({ key }) => key))
      expect(staying.filter((key) => !listed.has(key))).toEqual([])
    })
  ),

  law(
    "of two listings at once, one of them slow, each has all",
    Effect.gen(function*() {
      const keys = (yield* many(200)).map(({ key }) => key)
      const all = yield* Effect.all([
        Stream.runCollect(Stream.tap(entries, () => Effect.yieldNow())),
        Effect.zipRight(yields(20), listed(keys))
      ], { concurrency: "unbounded" })
      for (const found of all) {
        const listed = new Set([...found].map(({ key }) => key))
        expect(keys.filter((key) => !listed.has(key))).toEqual([])
      }
    })
  ),

  law(
    "a listing has records of every kind of key and size, as they are",
    ({ capabilities: { maxBytes = 100_000 } }) =>
      Effect.gen(function*() {
        const id = randomKey().slice(0, 24)
        const keys = [
          ...[id, `${id}:x`, `x:${id}`, `${id}%2e`, `${id}/a`, `${id}.json`, `a/../${id}`, `${id}*`, `{${id}}`],
          `${id}${"k".repeat(76)}`
        ]
        const records = yield* Effect.forEach(keys, (key) => Effect.flatMap(ownKey(key), (key) => insertAt(key)))
        records.push(yield* insertAt(yield* newKey, minute, new Uint8Array(0)))
        records.push(yield* insertAt(yield* newKey, minute, randomBytes(Math.min(maxBytes, 100_000))))
        yield* expectListed(records)
      })
  ),

  law(
    "what a caller does to listed bytes does not reach the record",
    Effect.gen(function*() {
      const record = yield* insertAt(yield* newKey)
      for (const { data } of yield* listed([record.key])) data.fill(0)
      yield* expectLive(record)
    })
  )
]
