/**
 * Removes an ended session again. A request of Flask that was in flight when the
 * session ended writes it back, because Flask compares nothing.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SessionStore } from "../../SessionStore.js"
import { sleepUnref } from "../sleep.js"

/**
 * The store, which removes each id that it has removed again after `delays`, in
 * milliseconds. Ids are random and come once, so that this is always safe. What
 * is still to be removed when the scope closes is not removed again.
 */
export const removingAgain = (
  store: SessionStore["Type"],
  delays: ReadonlyArray<number>
): Effect.Effect<SessionStore["Type"], never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const removeAgain = (key: string) =>
      Effect.forEach(
        delays,
        (delay) =>
          sleepUnref(delay).pipe(
            Effect.andThen(store.remove(key)),
            Effect.flatMap((isRevived) =>
              isRevived
                ? Effect.logInfo("Session: removed again a session that a request of Flask had written back")
                : Effect.void
            ),
            Effect.catchAll(({ reason }) =>
              Effect.logWarning(`Session: an ended session could not be removed again (${reason})`)
            ),
            Effect.interruptible,
            Effect.forkIn(scope)
          ),
        { discard: true }
      )
    return {
      ...store,
      remove: (key, expected) =>
        Effect.tap(store.remove(key, expected), (isRemoved) => isRemoved ? removeAgain(key) : Effect.void)
    }
  })
