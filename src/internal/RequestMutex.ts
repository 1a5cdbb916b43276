/**
 * The mutex of one request: its fibers use the session one after the other.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { isExit } from "./steps.js"
import { Waiter } from "./Waiter.js"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const noRestore: Restore = (effect) => effect

/**
 * First in, first out. Waiting is as interruptible as the caller is. A holder
 * that is interrupted releases the mutex; a waiter that is interrupted leaves
 * the queue.
 */
export class RequestMutex {
  isHeld = false
  private waiters: Array<Waiter> | undefined

  /**
   * Runs `body` with the mutex. `interruptible` says whether the caller's fiber
   * is: without interruption no mask is needed. The mutex is taken inside the
   * mask, because an interruption before it would leave the mutex held.
   */
  run<A, E, R>(interruptible: boolean, body: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return interruptible
      ? Effect.uninterruptibleMask((restore) => this.acquire(restore, body))
      : this.acquire(noRestore, body)
  }

  private acquire<A, E, R>(restore: Restore, body: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    if (!this.isHeld) {
      this.isHeld = true
      return this.hold(restore, body)
    }
    const waiter = new Waiter()
    this.waiters ??= []
    this.waiters.push(waiter)
    return Effect.matchCauseEffect(restore(waiter.granted), {
      onFailure: (cause) => {
        this.leave(waiter)
        return Effect.failCause(cause)
      },
      onSuccess: () => this.hold(restore, body)
    })
  }

  private hold<A, E, R>(restore: Restore, body: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    let effect: Effect.Effect<A, E, R>
    try {
      effect = body()
    } catch (defect) {
      this.release()
      throw defect
    }
    if (isExit(effect)) {
      this.release()
      return effect
    }
    return Effect.matchCauseEffect(restore(effect), {
      onFailure: (cause) => {
        this.release()
        return Effect.failCause(cause)
      },
      onSuccess: (value) => {
        this.release()
        return Effect.succeed(value)
      }
    })
  }

  private release(): void {
    const next = this.waiters?.shift()
    this.isHeld = next !== undefined
    next?.grant()
  }

  private leave(waiter: Waiter): void {
    if (waiter.isGranted) {
      return this.release() // it was granted at the moment of its interruption
    }
    this.waiters!.splice(this.waiters!.indexOf(waiter), 1)
  }
}
