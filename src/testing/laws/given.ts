/**
 * What the laws are written with: records in every state, and what is expected
 * of them. Keys are new in every run and removed with the scope.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { randomBytes } from "node:crypto"
import type { Stored } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import type { Keyed } from "../histories.js"

export const second = 1000
export const minute = 60 * second

export const inMillis = (millis: number) => Effect.map(Clock.currentTimeMillis, (now) => now + millis)

/** Different each time, so that bytes can serve as a version. */
export const newData = (): Uint8Array => Uint8Array.from(randomBytes(24))

const runPrefix = randomBytes(8).toString("hex")

/** 64 lower-case hexadecimal characters, as the core makes them. */
export const randomKey = (): string => runPrefix + randomBytes(24).toString("hex")

/** Removes what is there; an expired record has to be written over first. */
export const forget = (key: string) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    yield* store.insert(key, newData(), yield* inMillis(second))
    yield* store.remove(key)
  }).pipe(Effect.ignore)

/** A key whose record is removed after the test. */
export const ownKey = (key: string) => Effect.acquireRelease(Effect.succeed(key), forget)

export const newKey = Effect.flatMap(Effect.sync(randomKey), ownKey)

export const load = (key: string) => Effect.flatMap(SessionStore, (store) => store.load(key))

export const insertAt = (key: string, lifetime = minute, data = newData()) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const expiresAt = yield* inMillis(lifetime)
    const version = Option.getOrThrow(yield* store.insert(key, data, expiresAt))
    return { key, data, version, expiresAt }
  })

export const replace = (record: Keyed, lifetime = 2 * minute, data = newData()) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const expiresAt = yield* inMillis(lifetime)
    const version = Option.getOrThrow(yield* store.replace(record.key, record.version, data, expiresAt))
    return { key: record.key, data, version, expiresAt }
  })

export const live = (lifetime = minute) => Effect.flatMap(newKey, (key) => insertAt(key, lifetime))

/** At its deadline to the millisecond. */
export const expired = Effect.tap(live(second), () => TestClock.adjust(second))

export const removed = Effect.tap(live(), ({ key }) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    expect(yield* store.remove(key)).toBe(true)
  }))

export const replaced = Effect.gen(function*() {
  const before = yield* live()
  return { before, after: yield* replace(before) }
})

export const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex")

export const dataOf = ({ data }: Stored) => hex(data)

export const shown = ({ data, expiresAt, version }: Stored) => ({ data: hex(data), version, expiresAt })

export const expectLive = (record: Keyed) =>
  Effect.map(load(record.key), (found) => expect(Option.map(found, shown)).toEqual(Option.some(shown(record))))

export const expectAbsent = (key: string) => Effect.map(load(key), (found) => expect(found).toEqual(Option.none()))

export const expectData = (key: string, data: Uint8Array) =>
  Effect.map(load(key), (found) => {
    const loaded = Option.getOrThrow(found).data
    expect(loaded).toBeInstanceOf(Uint8Array)
    // Not `toEqual`: a difference in a mebibyte would take minutes to print.
    expect(Buffer.compare(loaded, data) === 0).toBe(true)
  })

export const expectStale = (record: Keyed) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const { key, version } = record
    const expiresAt = yield* inMillis(3 * minute)
    expect(yield* store.replace(key, version, newData(), expiresAt)).toEqual(Option.none())
    expect(yield* store.touch(key, record, expiresAt)).toBe(false)
    expect(yield* store.remove(key, version)).toBe(false)
  })

/** One call for what is live. */
const removeOrForget = (key: string) =>
  Effect.flatMap(SessionStore, (store) => store.remove(key)).pipe(
    Effect.orElseSucceed(() => false),
    Effect.flatMap((removed) => removed ? Effect.void : forget(key))
  )

/** Many live records at once, removed together after the test. */
export const many = (count: number, lifetime = minute) =>
  Effect.gen(function*() {
    const keys = yield* Effect.acquireRelease(
      Effect.sync(() => Array.from({ length: count }, randomKey)),
      (keys) => Effect.forEach(keys, removeOrForget, { concurrency: 16, discard: true })
    )
    return yield* Effect.forEach(keys, (key) => insertAt(key, lifetime), { concurrency: 16 })
  })

/** Lets the other fibers run, n times. */
export const yields = (n: number) => Effect.replicateEffect(Effect.yieldNow(), n, { discard: true })

/** From "not started" over every step of the fiber to several turns of the event loop. */
export const moments: ReadonlyArray<Effect.Effect<void>> = [
  ...[0, 1, 2, 3, 4].map(yields),
  ...[1, 2, 3, 4, 6, 8].map((n) =>
    Effect.replicateEffect(
      Effect.async<void>((resume) => {
        setImmediate(() => resume(Effect.void))
      }),
      n,
      { discard: true }
    )
  )
]
