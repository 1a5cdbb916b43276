/**
 * Counts what is asked of a store, for tests and benches.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SessionStore } from "../SessionStore.js"

/**
 * How often each operation was run, failures included.
 *
 * @since 0.1.0
 * @category models
 */
export type Counts = Record<keyof SessionStore["Type"], number>

/**
 * @since 0.1.0
 * @category tags
 */
export class StoreCounts extends Context.Tag("effect-session/testing/StoreCounts")<StoreCounts, {
  /** The counts since the start or the last `reset`, as a copy. */
  readonly counts: Effect.Effect<Counts>
  /** Sets all counts to zero. */
  readonly reset: Effect.Effect<void>
}>() {}

/**
 * The store beneath, counted. An operation counts when it runs, not when it is
 * described.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore | StoreCounts, never, SessionStore> = Layer.effectContext(
  Effect.map(SessionStore, (store) => {
    const counts = zero()
    const counted = <A, E>(operation: keyof Counts, effect: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        counts[operation]++
        return effect
      })
    return Context.make(SessionStore, {
      load: (key) => counted("load", store.load(key)),
      insert: (key, data, expiresAt) => counted("insert", store.insert(key, data, expiresAt)),
      replace: (key, expected, data, expiresAt) => counted("replace", store.replace(key, expected, data, expiresAt)),
      touch: (key, current, expiresAt) => counted("touch", store.touch(key, current, expiresAt)),
      remove: (key, expected) => counted("remove", store.remove(key, expected))
    }).pipe(Context.add(StoreCounts, {
      counts: Effect.sync(() => ({ ...counts })),
      reset: Effect.sync(() => Object.assign(counts, zero()))
    }))
  })
)

const zero = (): Counts => ({ load: 0, insert: 0, replace: 0, touch: 0, remove: 0 })
