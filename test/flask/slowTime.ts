/** Time for stores that keep deadlines in whole seconds: a millisecond of the laws is some seconds of theirs. */
import { SessionStore } from "effect-session"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

/** Far from 0, which stands for "never" in some stores. */
const start = 1_000_000_000_000

/** `factor`: milliseconds of the store for each one of the laws. */
export const slowTime = (factor: number) => <E>(layer: Layer.Layer<SessionStore, E>): Layer.Layer<SessionStore, E> => {
  const toStore = (millis: number) => start + millis * factor
  // rounded up: a TTL has lost a moment since it was set
  const toLaws = (millis: number) => Math.ceil((millis - start) / factor)

  const slow = <A, E>(operation: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.clockWith((clock) =>
      Effect.withClock(operation, {
        ...clock,
        unsafeCurrentTimeMillis: () => toStore(clock.unsafeCurrentTimeMillis()),
        currentTimeMillis: Effect.map(clock.currentTimeMillis, toStore),
        sleep: (duration) => clock.sleep(duration)
      })
    )

  return Layer.provide(
    Layer.effect(
      SessionStore,
      Effect.map(SessionStore, (store) =>
        SessionStore.of({
          load: (key) =>
            Effect.map(
              slow(store.load(key)),
              Option.map((stored) => ({ ...stored, expiresAt: toLaws(stored.expiresAt) }))
            ),
          insert: (key, data, expiresAt) => slow(store.insert(key, data, toStore(expiresAt))),
          replace: (key, expected, data, expiresAt) => slow(store.replace(key, expected, data, toStore(expiresAt))),
          touch: (key, current, expiresAt) => slow(store.touch(key, current, toStore(expiresAt))),
          remove: (key, expected) => slow(store.remove(key, expected))
        }))
    ),
    layer
  )
}
