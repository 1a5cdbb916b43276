/**
 * A mutex for each key.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Waiter } from "./Waiter.js"

/**
 * First in, first out. A holder keeps the mutex until its effect has ended,
 * however long that takes. Waiting can be interrupted, and has a timeout. An
 * unused key keeps nothing.
 */
export class KeyedMutex {
  /** The waiters of each key whose mutex is held. */
  private readonly held = new Map<string, Array<Waiter>>()

  /** Runs `effect` with the mutex of `key`. A waiter fails with `onTimeout()` after `timeout` of `Clock`. */
  run<A, E, R, E2>(
    key: string,
    effect: Effect.Effect<A, E, R>,
    options: { readonly timeout: Duration.Duration; readonly onTimeout: () => E2 }
  ): Effect.Effect<A, E | E2, R> {
    return Effect.uninterruptibleMask((restore) => {
      const hold = Effect.onExit(restore(effect), () => Effect.sync(() => this.release(key)))
      const waiters = this.held.get(key)
      if (waiters === undefined) {
        this.held.set(key, [])
        return hold
      }
      const waiter = new Waiter()
      waiters.push(waiter)
      const granted = Effect.timeoutFail(waiter.granted, {
        duration: options.timeout,
        onTimeout: options.onTimeout
      })
      return Effect.matchCauseEffect(restore(granted), {
        onFailure: (cause) => {
          this.leave(key, waiter)
          return Effect.failCause(cause)
        },
        onSuccess: () => hold
      })
    })
  }

  private release(key: string): void {
    const next = this.held.get(key)!.shift()
    if (next === undefined) {
      this.held.delete(key)
      return
    }
    next.grant()
  }

  private leave(key: string, waiter: Waiter): void {
    if (waiter.isGranted) {
      return this.release(key) // it was granted at the moment of its timeout or interruption
    }
    const waiters = this.held.get(key)!
    waiters.splice(waiters.indexOf(waiter), 1)
  }
}
