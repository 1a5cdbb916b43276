/**
 * A store that is slow: its calls arrive, and its answers come back, after a
 * while of their own, so that they overtake each other.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Store } from "./Law.js"

export const late = (store: Store): Store => ({
  load: (key) => slowly(store.load(key)),
  insert: (key, data, expiresAt) => slowly(store.insert(key, data, expiresAt)),
  replace: (key, expected, data, expiresAt) => slowly(store.replace(key, expected, data, expiresAt)),
  touch: (key, current, expiresAt) => slowly(store.touch(key, current, expiresAt)),
  remove: (key, expected) => slowly(store.remove(key, expected))
})

const slowly = <A, E>(operation: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.zipRight(someTurns, Effect.zipLeft(operation, someTurns))

/** Up to four turns of the event loop. */
const someTurns = Effect.suspend(() => turns(Math.floor(Math.random() * 5)))

/** So many turns of the event loop. */
export const turns = (count: number): Effect.Effect<void> =>
  Effect.async((resume) => {
    const next = (left: number): unknown => left === 0 ? resume(Effect.void) : setImmediate(() => next(left - 1))
    next(count)
  })
