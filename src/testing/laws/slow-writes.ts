/**
 * A slow write keeps its exclusion.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { SessionStore } from "../../SessionStore.js"
import { inMillis, minute, newData, randomKey } from "./given.js"
import { type Law, law, type Store } from "./Law.js"

export const slowWrites: ReadonlyArray<Law> = [
  law(
    "a write that takes ten seconds still excludes others: of two replaces of one version one is stored",
    ({ capabilities }) =>
      withRecord(capabilities.slowWrites!, ({ expiresAt, key, store, version }) =>
        Effect.gen(function*() {
          const [first, second] = [newData(), newData()]
          const results = yield* together([
            store.replace(key, version, first, expiresAt),
            store.replace(key, version, second, expiresAt)
          ])
          const stored = results.map((exit) => Exit.isSuccess(exit) && Option.isSome(exit.value))
          expect(stored.filter(Boolean).length).toBeLessThanOrEqual(1)
          const live = Option.getOrThrow(yield* alone(store.load(key)))
          if (stored[0]) expect(Uint8Array.from(live.data)).toEqual(first)
          if (stored[1]) expect(Uint8Array.from(live.data)).toEqual(second)
        })),
    ({ slowWrites }) => slowWrites !== undefined
  ),

  law(
    "a write that takes ten seconds still excludes others: what was removed meanwhile does not come back",
    ({ capabilities }) =>
      withRecord(capabilities.slowWrites!, ({ expiresAt, key, store, version }) =>
        Effect.gen(function*() {
          const [, removed] = yield* together<unknown, unknown>([
            store.replace(key, version, newData(), expiresAt),
            store.remove(key)
          ])
          if (Exit.isSuccess(removed!) && removed.value === true) {
            expect(yield* alone(store.load(key))).toEqual(Option.none())
          }
        })),
    ({ slowWrites }) => slowWrites !== undefined
  )
]

interface Given {
  readonly store: Store
  readonly key: string
  readonly version: Parameters<Store["replace"]>[1]
  readonly expiresAt: number
}

const withRecord = <E>(layer: Layer.Layer<SessionStore, E>, check: (given: Given) => Effect.Effect<void, unknown>) =>
  Effect.gen(function*() {
    const store = Context.get(yield* Layer.build(Layer.fresh(layer)), SessionStore)
    const key = randomKey()
    const expiresAt = yield* inMillis(60 * minute)
    const version = Option.getOrThrow(yield* alone(store.insert(key, newData(), expiresAt)))
    yield* check({ store, key, version, expiresAt })
  })

/** Runs all at once while two minutes pass. */
const together = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>): Effect.Effect<ReadonlyArray<Exit.Exit<A, E>>> =>
  Effect.gen(function*() {
    const fibers = yield* Effect.forEach(effects, (effect) => Effect.fork(Effect.exit(effect)))
    for (let second = 0; second < 120; second++) {
      yield* TestClock.adjust("1 second")
    }
    return yield* Effect.forEach(fibers, Fiber.join)
  })

const alone = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(together([effect]), ([exit]) => exit!)
