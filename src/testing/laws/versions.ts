/**
 * Versions, which never come back.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import type { Version } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import { expectLive, expectStale, insertAt, newKey, removed, replace, second } from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

export const versions: ReadonlyArray<Law> = [
  law(
    "a version never repeats for a key, across replacing, removal and expiry",
    ({ stores }) =>
      Effect.gen(function*() {
        const all = yield* stores
        const key = yield* newKey
        const versions: Array<Version> = []
        for (let round = 0; round < 8; round++) {
          const store = all[round % all.length]!
          const { after, before } = yield* Effect.gen(function*() {
            const before = yield* insertAt(key, second)
            return { before, after: yield* replace(before, second) }
          }).pipe(Effect.provideService(SessionStore, store))
          versions.push(before.version, after.version)
          yield* round % 4 < 2 ? store.remove(key) : TestClock.adjust(second)
        }
        expect(new Set(versions).size).toBe(16)
      })
  ),

  law(
    "a version is stale after removal and re-insertion",
    Effect.gen(function*() {
      const old = yield* removed
      const record = yield* insertAt(old.key)
      yield* expectStale(old)
      yield* expectLive(record)
    })
  )
]
