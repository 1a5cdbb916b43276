/**
 * Turns, taken in order.
 *
 * @internal
 */
import * as Effect from "effect/Effect"

interface Waiter {
  given: boolean
  resume: (() => void) | undefined
}

/**
 * One at a time. Waiting is as interruptible as the caller is; a holder that
 * is interrupted passes its turn on, a waiter that is interrupted leaves the
 * line.
 */
export class Turn {
  private taken = false
  private readonly line: Array<Waiter> = []

  /** Runs `effect` when its turn has come. */
  run<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      const work = Effect.matchCauseEffect(restore(effect), {
        onFailure: (cause) => {
          this.pass()
          return Effect.failCause(cause)
        },
        onSuccess: (value) => {
          this.pass()
          return Effect.succeed(value)
        }
      })
      if (!this.taken) {
        this.taken = true
        return work
      }
      const waiter: Waiter = { given: false, resume: undefined }
      this.line.push(waiter)
      return Effect.matchCauseEffect(restore(untilGiven(waiter)), {
        onFailure: (cause) => {
          this.leave(waiter)
          return Effect.failCause(cause)
        },
        onSuccess: () => work
      })
    })
  }

  /** Whether nobody has the turn. */
  get isFree(): boolean {
    return !this.taken
  }

  private pass(): void {
    const waiter = this.line.shift()
    if (waiter === undefined) {
      this.taken = false
      return
    }
    waiter.given = true
    waiter.resume?.()
  }

  private leave(waiter: Waiter): void {
    if (waiter.given) {
      return this.pass() // the turn came in the same moment
    }
    this.line.splice(this.line.indexOf(waiter), 1)
  }
}

const untilGiven = (waiter: Waiter): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (waiter.given) {
      return resume(Effect.void)
    }
    waiter.resume = () => resume(Effect.void)
  })

/**
 * A line per key, in which one may leave something for the next; nothing is
 * kept for a key that nobody uses.
 */
export class KeyedTurns<Left = never> {
  private readonly turns = new Map<string, { readonly turn: Turn; users: number; left: Left | undefined }>()

  /** Whether anybody has, or waits for, the turn of `key`. */
  has(key: string): boolean {
    return this.turns.has(key)
  }

  /** What was left to the line of `key` last. */
  left(key: string): Left | undefined {
    return this.turns.get(key)?.left
  }

  /** Leaves something to the line of `key`, if there is one. */
  leave(key: string, left: Left | undefined): void {
    const entry = this.turns.get(key)
    if (entry !== undefined) entry.left = left
  }

  /** Runs `effect` when the turn of `key` has come. */
  run<A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const entry = this.turns.get(key) ?? { turn: new Turn(), users: 0, left: undefined }
        this.turns.set(key, entry)
        entry.users++
        return entry
      }),
      ({ turn }) => turn.run(effect),
      (entry) =>
        Effect.sync(() => {
          if (--entry.users === 0) {
            this.turns.delete(key)
          }
        })
    )
  }
}
