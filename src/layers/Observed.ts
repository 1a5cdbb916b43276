/**
 * Watches a store, whichever it is: metrics of each operation, and events.
 *
 * ```ts
 * import * as SessionStoreObserved from "effect-session/layers/Observed"
 * import * as SessionStoreRedis from "effect-session/layers/Redis"
 * import { Effect, Layer } from "effect"
 *
 * const Store = SessionStoreObserved.layer({
 *   store: "redis",
 *   onEvent: ({ operation, outcome }) =>
 *     outcome === "Unavailable" ? Effect.logWarning(`sessions: ${operation} failed`) : Effect.void
 * }).pipe(Layer.provide(SessionStoreRedis.layer({ url: "redis://localhost" })))
 * ```
 *
 * Two metrics, tagged with `store`, `operation` and `outcome`:
 * `effect_session_store_operations`, a counter, and
 * `effect_session_store_duration`, a histogram in milliseconds. No key and no
 * data is in a metric or an event.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { SessionStoreError, SessionStoreErrorReason } from "../SessionStore.js"
import { SessionStore } from "../SessionStore.js"

/**
 * How an operation ended. `Done`: found, written, removed. `None`: nothing was
 * there, or what was there was not what the write expected. Else why it failed;
 * `Interrupted` and `Died` are no answer of the store.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "Done" | "None" | SessionStoreErrorReason | "Interrupted" | "Died"

/**
 * One operation. `millis` is how long it took, by the `Clock`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Event {
  readonly store: string
  readonly operation: keyof SessionStore["Type"]
  readonly outcome: Outcome
  readonly millis: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Names the store in metrics and events; `"default"` by default. */
  readonly store?: string | undefined
  /**
   * Is told of every operation, one after the other, and never waited for: while
   * it is slow, all but the latest 1000 events are dropped. What it fails or dies
   * with is logged at debug level. Nothing by default.
   */
  readonly onEvent?: ((event: Event) => Effect.Effect<unknown, unknown>) | undefined
}

const operations = Metric.counter("effect_session_store_operations", {
  description: "operations of a session store",
  incremental: true
})

const durations = Metric.histogram(
  "effect_session_store_duration",
  MetricBoundaries.exponential({ start: 0.25, factor: 2, count: 15 }),
  "milliseconds that an operation of a session store took"
)

/**
 * Watches `store` until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function*(
  store: SessionStore["Type"],
  { onEvent, store: name = "default" }: Options = {}
): Effect.fn.Return<SessionStore["Type"], never, Scope.Scope> {
  const tell = onEvent === undefined ? undefined : yield* tellLater(onEvent)
  const metrics = new Map<string, ReturnType<typeof metricsOf>>()

  const note = (event: Event) => {
    const id = `${event.operation} ${event.outcome}`
    const [count, duration] = metrics.get(id) ?? metricsOf(event)
    if (!metrics.has(id)) metrics.set(id, [count, duration])
    count.unsafeUpdate(1, [])
    duration.unsafeUpdate(event.millis, [])
    tell?.(event)
  }

  const observed = <A>(
    operation: Event["operation"],
    isDone: (answer: A) => boolean,
    effect: Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> =>
    Effect.clockWith((clock) => {
      const start = clock.unsafeCurrentTimeNanos()
      return Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          const millis = Number(clock.unsafeCurrentTimeNanos() - start) / 1e6
          note({ store: name, operation, outcome: outcomeOf(exit, isDone), millis })
        }))
    })

  return SessionStore.of({
    load: (key) => observed("load", Option.isSome, store.load(key)),
    insert: (...args) => observed("insert", Option.isSome, store.insert(...args)),
    replace: (...args) => observed("replace", Option.isSome, store.replace(...args)),
    touch: (...args) => observed("touch", Boolean, store.touch(...args)),
    remove: (...args) => observed("remove", Boolean, store.remove(...args))
  })
})

/**
 * Watches the store below.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<SessionStore, never, SessionStore> =>
  Layer.scoped(SessionStore, Effect.flatMap(SessionStore, (store) => make(store, options)))

/** Tagged once: to tag costs more than to count. */
const metricsOf = ({ operation, outcome, store }: Event) => {
  const tagged = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>) =>
    metric.pipe(
      Metric.tagged("store", store),
      Metric.tagged("operation", operation),
      Metric.tagged("outcome", outcome)
    )
  return [tagged(operations), tagged(durations)] as const
}

const outcomeOf = <A>(exit: Exit.Exit<A, SessionStoreError>, isDone: (answer: A) => boolean): Outcome => {
  if (Exit.isSuccess(exit)) return isDone(exit.value) ? "Done" : "None"
  const failure = Cause.failureOption(exit.cause)
  if (Option.isSome(failure)) return failure.value.reason
  return Cause.isInterrupted(exit.cause) ? "Interrupted" : "Died"
}

/** A queue stands between: no request waits for whoever listens, or fails with him. */
const tellLater = Effect.fnUntraced(function*(onEvent: NonNullable<Options["onEvent"]>) {
  const events = yield* Queue.sliding<Event>(1000)
  yield* Queue.take(events).pipe(
    Effect.flatMap((event) => Effect.suspend(() => onEvent(event))),
    // Of an interruption of this fiber itself it is not told.
    Effect.catchAllCause((cause) => Effect.logDebug("a listener to session events failed", cause)),
    Effect.forever,
    // A Layer may be built in an uninterruptible region; its scope has to close all the same.
    Effect.interruptible,
    Effect.forkScoped
  )
  return (event: Event) => void Queue.unsafeOffer(events, event)
})
