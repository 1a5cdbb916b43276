/**
 * What each of the five operations does to a record that is live, gone,
 * expired or changed.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { SessionStore, Version } from "../../SessionStore.js"
import {
  expectAbsent,
  expectLive,
  expectStale,
  expired,
  inMillis,
  insertAt,
  live,
  minute,
  newData,
  newKey,
  removed,
  replace,
  replaced,
  second,
  shown
} from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

const loads: ReadonlyArray<Law> = [
  law(
    "a load finds a live record: its data, version and deadline",
    Effect.gen(function*() {
      yield* expectLive(yield* live())
    })
  ),

  law(
    "a load finds nothing where nothing was",
    Effect.gen(function*() {
      yield* expectAbsent(yield* newKey)
    })
  ),

  law(
    "a load finds nothing where a record was removed",
    Effect.gen(function*() {
      yield* expectAbsent((yield* removed).key)
    })
  ),

  law(
    "a load finds nothing where a record has expired",
    Effect.gen(function*() {
      yield* expectAbsent((yield* expired).key)
    })
  )
]

const inserts: ReadonlyArray<Law> = [
  law(
    "an insert leaves a live record alone, and says so",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* live()
      expect(yield* store.insert(record.key, newData(), yield* inMillis(2 * minute))).toEqual(Option.none())
      yield* expectLive(record)
    })
  ),

  law(
    "an insert succeeds where a record was removed",
    Effect.gen(function*() {
      yield* expectLive(yield* insertAt((yield* removed).key))
    })
  ),

  law(
    "an insert succeeds over an expired record, whose version stays stale",
    Effect.gen(function*() {
      const old = yield* expired
      const record = yield* insertAt(old.key)
      yield* expectStale(old)
      yield* expectLive(record)
    })
  )
]

const replaces: ReadonlyArray<Law> = [
  law(
    "a replace moves data, version and deadline",
    Effect.gen(function*() {
      const { after, before } = yield* replaced
      expect(after.version).not.toBe(before.version)
      yield* expectLive(after)
    })
  ),

  law(
    "a replace can be followed by another under the version that it answered",
    Effect.gen(function*() {
      const { after } = yield* replaced
      yield* expectLive(yield* replace(after))
    })
  ),

  law(
    "a replace under a stale version changes nothing",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after, before } = yield* replaced
      const deadline = yield* inMillis(3 * minute)
      expect(yield* store.replace(before.key, before.version, newData(), deadline)).toEqual(Option.none())
      yield* expectLive(after)
    })
  ),

  law(
    "a replace of a removed record creates nothing",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { key, version } = yield* removed
      expect(yield* store.replace(key, version, newData(), yield* inMillis(minute))).toEqual(Option.none())
      yield* expectAbsent(key)
    })
  ),

  law(
    "a replace of an expired record creates nothing",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { key, version } = yield* expired
      expect(yield* store.replace(key, version, newData(), yield* inMillis(minute))).toEqual(Option.none())
      yield* expectAbsent(key)
    })
  )
]

const touches = (lifetime: number) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const record = yield* live()
    const expiresAt = yield* inMillis(lifetime)
    expect(yield* store.touch(record.key, record, expiresAt)).toBe(true)
    const found = Option.getOrThrow(yield* store.load(record.key))
    expect({ ...shown(found), version: "" }).toEqual({ ...shown({ ...record, expiresAt }), version: "" })
  })

const touchLaws: ReadonlyArray<Law> = [
  law("a touch makes the deadline later, and leaves the data", touches(2 * minute)),

  law("a touch makes the deadline sooner, and leaves the data", touches(second)),

  law(
    "a touch leaves the version: another touch and a replace succeed under it",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* live()
      const expiresAt = yield* inMillis(2 * minute)
      expect(yield* store.touch(record.key, record, yield* inMillis(3 * minute))).toBe(true)
      expect(yield* store.touch(record.key, record, expiresAt)).toBe(true)
      yield* expectLive({ ...record, expiresAt })
      yield* expectLive(yield* replace(record))
    }),
    ({ touchMovesVersion }) => !touchMovesVersion
  ),

  law(
    "a touch under a stale version changes nothing",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after, before } = yield* replaced
      expect(yield* store.touch(before.key, before, yield* inMillis(3 * minute))).toBe(false)
      yield* expectLive(after)
    })
  ),

  law(
    "a touch of a removed record creates nothing",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* removed
      expect(yield* store.touch(record.key, record, yield* inMillis(minute))).toBe(false)
      yield* expectAbsent(record.key)
    })
  ),

  law(
    "a touch of an expired record does not revive it",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* expired
      expect(yield* store.touch(record.key, record, yield* inMillis(minute))).toBe(false)
      yield* expectAbsent(record.key)
    })
  )
]

const removes: ReadonlyArray<Law> = [
  law(
    "a remove under the right version removes the record, once",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { key, version } = yield* live()
      expect(yield* store.remove(key, version)).toBe(true)
      yield* expectAbsent(key)
      expect(yield* store.remove(key, version)).toBe(false)
    })
  ),

  law(
    "a remove without a version removes the record, whatever its version, once",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after: { key } } = yield* replaced
      expect(yield* store.remove(key)).toBe(true)
      yield* expectAbsent(key)
      expect(yield* store.remove(key)).toBe(false)
    })
  ),

  law(
    "a remove under a stale version removes nothing",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after, before } = yield* replaced
      expect(yield* store.remove(before.key, before.version)).toBe(false)
      yield* expectLive(after)
    })
  ),

  law(
    "a remove where nothing was is false",
    Effect.gen(function*() {
      const store = yield* SessionStore
      expect(yield* store.remove(yield* newKey)).toBe(false)
    })
  ),

  law(
    "a remove of an expired record is false, under its version and without",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const one = yield* live(second)
      const other = yield* live(second)
      yield* TestClock.adjust(second)
      expect(yield* store.remove(one.key, one.version)).toBe(false)
      expect(yield* store.remove(other.key)).toBe(false)
    })
  )
]

const effects: ReadonlyArray<Law> = [
  law(
    "an operation is done when its Effect is run, and as often",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const key = yield* newKey
      const insert = store.insert(key, newData(), yield* inMillis(minute))
      const load = store.load(key)
      const remove = store.remove(key)
      for (let round = 0; round < 2; round++) {
        expect(yield* load).toEqual(Option.none())
        const version = yield* insert
        expect(Option.isSome(version)).toBe(true)
        expect(Option.map(yield* load, (found) => found.version)).toEqual(version)
        expect(yield* insert).toEqual(Option.none())
        expect(yield* remove).toBe(true)
        expect(yield* remove).toBe(false)
      }
    })
  )
]

const versions: ReadonlyArray<Law> = [
  law(
    "a hundred versions of a key are a hundred",
    Effect.gen(function*() {
      let record = yield* insertAt(yield* newKey)
      const versions = new Set([record.version])
      for (let i = 1; i < 100; i++) {
        record = yield* replace(record)
        versions.add(record.version)
      }
      expect(versions.size).toBe(100)
    })
  ),

  law(
    "a version that the store never made is stale",
    Effect.gen(function*() {
      const record = yield* live()
      for (const version of ["", "0", "none of ours"]) yield* expectStale({ ...record, version: Version(version) })
      yield* expectLive(record)
    })
  ),

  law(
    "the version of one record does nothing to another, which has one of its own",
    Effect.gen(function*() {
      const one = yield* live()
      const other = yield* live()
      if (one.version === other.version) return
      yield* expectStale({ ...one, version: other.version })
      yield* expectLive(one)
      yield* expectLive(other)
    })
  )
]

export const operations: ReadonlyArray<Law> = [
  ...loads,
  ...inserts,
  ...replaces,
  ...touchLaws,
  ...removes,
  ...effects,
  ...versions
]
