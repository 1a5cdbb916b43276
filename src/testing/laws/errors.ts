/**
 * Unavailable is never "missing".
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { SessionScan, SessionStore, SessionStoreError, SessionSweeper, Version } from "../../SessionStore.js"
import { inMillis, minute, newData, randomKey } from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

export const errors: ReadonlyArray<Law> = [
  law(
    "a store that cannot reach its records fails each operation, by a typed error that says neither key nor data",
    ({ capabilities }) =>
      Effect.gen(function*() {
        const store = Context.get(yield* Layer.build(Layer.fresh(capabilities.unreachable!)), SessionStore)
        const key = randomKey()
        const data = Buffer.from(randomKey())
        const version = Version("1")
        const expiresAt = yield* inMillis(minute)
        const attempts: Record<string, Effect.Effect<unknown, SessionStoreError>> = {
          load: store.load(key),
          insert: store.insert(key, data, expiresAt),
          replace: store.replace(key, version, data, expiresAt),
          touch: store.touch(key, { data: newData(), version, expiresAt }, expiresAt),
          remove: store.remove(key)
        }
        for (const [operation, attempt] of Object.entries(attempts)) {
          const result = yield* Effect.either(attempt)
          const error = Either.isLeft(result) ? result.left : expect.fail(`${operation} answered`)
          expect(error).toBeInstanceOf(SessionStoreError)
          expect(["Unavailable", "Timeout", "Throttled", "Rejected"]).toContain(error.reason)
          expect(error.operation).toBe(operation)
          const text = `${error.message} ${JSON.stringify(error)}`
          expect(text).not.toContain(key)
          expect(text).not.toContain(data.toString())
        }
      }),
    ({ unreachable }) => unreachable !== undefined
  ),

  law(
    "a store that cannot reach its records goes on failing, under a version too, and so do its listing and its sweep",
    ({ capabilities }) =>
      Effect.gen(function*() {
        // What it has besides a store is looked for.
        const context = (yield* Layer.build(Layer.fresh(capabilities.unreachable!))) as Context.Context<
          SessionStore | SessionSweeper | SessionScan
        >
        const store = Context.get(context, SessionStore)
        const key = randomKey()
        const current = { data: newData(), version: Version("1"), expiresAt: yield* inMillis(minute) }
        const attempts: ReadonlyArray<Effect.Effect<unknown, SessionStoreError>> = [
          ...[store.load(key), store.load(key), store.load(key)],
          ...[store.remove(key, current.version), store.remove(key)],
          store.touch(key, current, current.expiresAt),
          ...Option.toArray(Option.map(Context.getOption(context, SessionSweeper), ({ sweep }) => sweep)),
          ...Option.toArray(
            Option.map(Context.getOption(context, SessionScan), ({ entries }) => Stream.runDrain(entries))
          )
        ]
        for (const attempt of attempts) {
          const started = performance.now()
          expect(yield* Effect.flip(attempt)).toBeInstanceOf(SessionStoreError)
          expect(performance.now() - started).toBeLessThan(8000)
        }
      }),
    ({ unreachable }) => unreachable !== undefined
  )
]
