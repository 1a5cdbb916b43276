/**
 * Combinators that continue at once when an effect has ended already. A store
 * in this process answers at once, and a request on it then costs a few
 * Effect operations instead of fifty.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"

/** Whether the effect has ended already: `Effect.succeed` and `Effect.fail` make an `Exit`. */
export const isExit = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Exit.Exit<A, E> => {
  const { _tag } = effect as Partial<Exit.Exit<A, E>>
  return _tag === "Success" || _tag === "Failure"
}

/** `Effect.flatMap`, at once where it can be. */
export const andThen = <A, E, R, B, E2, R2>(
  self: Effect.Effect<A, E, R>,
  f: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  if (!isExit(self)) {
    return Effect.flatMap(self, f)
  }
  return self._tag === "Success" ? f(self.value) : self as Exit.Exit<never, E>
}

/** `Effect.matchCauseEffect`, at once where it can be. */
export const matchCause = <A, E, R, B, E2, R2, C, E3, R3>(
  self: Effect.Effect<A, E, R>,
  onFailure: (cause: Cause.Cause<E>) => Effect.Effect<B, E2, R2>,
  onSuccess: (value: A) => Effect.Effect<C, E3, R3>
): Effect.Effect<B | C, E2 | E3, R | R2 | R3> => {
  if (!isExit(self)) {
    return Effect.matchCauseEffect(self, { onFailure, onSuccess })
  }
  return self._tag === "Success" ? onSuccess(self.value) : onFailure(self.cause)
}

/** `Effect.matchEffect`, at once where it can be. Defects and interruptions pass through. */
export const matchError = <A, E, R, B, E2, R2, C, E3, R3>(
  self: Effect.Effect<A, E, R>,
  onFailure: (error: E) => Effect.Effect<B, E2, R2>,
  onSuccess: (value: A) => Effect.Effect<C, E3, R3>
): Effect.Effect<B | C, E2 | E3, R | R2 | R3> =>
  isExit(self) && self._tag === "Success" ? onSuccess(self.value) : Effect.matchEffect(self, { onFailure, onSuccess })
