/**
 * Turns, taken in order.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"

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
  private holder: Waiter | undefined
  private readonly line: Array<Waiter> = []

  /** Runs `effect` when its turn has come. */
  run<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      const self: Waiter = { given: false, resume: undefined }
      const work = Effect.matchCauseEffect(restore(effect), {
        onFailure: (cause) => {
          this.pass(self)
          return Effect.failCause(cause)
        },
        onSuccess: (value) => {
          this.pass(self)
          return Effect.succeed(value)
        }
      })
      if (this.holder === undefined) {
        this.holder = self
        return work
      }
      this.line.push(self)
      return Effect.matchCauseEffect(restore(untilGiven(self)), {
        onFailure: (cause) => {
          this.leave(self)
          return Effect.failCause(cause)
        },
        onSuccess: () => work
      })
    })
  }

  /** Whether nobody has the turn. */
  get isFree(): boolean {
    return this.holder === undefined
  }

  /** Who has the turn, to be told from others. */
  get heldBy(): object | undefined {
    return this.holder
  }

  /** Passes the turn on without its holder, who goes on all the same. */
  skip(): void {
    if (this.holder !== undefined) this.pass(this.holder)
  }

  private pass(self: Waiter): void {
    if (this.holder !== self) {
      return // it was skipped
    }
    this.holder = this.line.shift()
    if (this.holder !== undefined) {
      this.holder.given = true
      this.holder.resume?.()
    }
  }

  private leave(self: Waiter): void {
    if (self.given) {
      return this.pass(self) // the turn came in the same moment
    }
    this.line.splice(this.line.indexOf(self), 1)
  }
}

const untilGiven = (waiter: Waiter): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (waiter.given) {
      return resume(Effect.void)
    }
    waiter.resume = () => resume(Effect.void)
  })

interface Line<Left> {
  readonly turn: Turn
  users: number
  left: Left | undefined
  watcher: Fiber.Fiber<void> | undefined
}

/** Milliseconds of `Clock` between two looks at a line. */
const watchMillis = 2500

/**
 * A line per key, in which one may leave something for the next; nothing is
 * kept for a key that nobody uses. One who has the turn for 2.5 to 5 seconds
 * keeps it no longer from the others: the line is there for speed, and what is
 * done in it is safe outside, too.
 */
export class KeyedTurns<Left = never> {
  private readonly lines = new Map<string, Line<Left>>()

  /** Whether anybody has, or waits for, the turn of `key`. */
  has(key: string): boolean {
    return this.lines.has(key)
  }

  /** What was left to the line of `key` last. */
  left(key: string): Left | undefined {
    return this.lines.get(key)?.left
  }

  /** Leaves something to the line of `key`, if there is one. */
  leave(key: string, left: Left | undefined): void {
    const line = this.lines.get(key)
    if (line !== undefined) line.left = left
  }

  /** Runs `effect` when the turn of `key` has come. */
  run<A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.suspend(() => {
        const line = this.lines.get(key) ?? { turn: new Turn(), users: 0, left: undefined, watcher: undefined }
        this.lines.set(key, line)
        line.users++
        return line.users === 1 || line.watcher !== undefined
          ? Effect.succeed(line)
          : Effect.map(Effect.forkDaemon(Effect.interruptible(watch(line))), (watcher) => {
            line.watcher = watcher
            return line
          })
      }),
      ({ turn }) => turn.run(effect),
      (line) =>
        Effect.suspend(() => {
          if (--line.users > 0) return Effect.void
          this.lines.delete(key)
          return line.watcher === undefined ? Effect.void : Fiber.interruptAsFork(line.watcher, FiberId.none)
        })
    )
  }
}

/** One fiber for a line in which somebody waits: a timeout for each of them would cost more than all they do. */
const watch = <Left>(line: Line<Left>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const holder = line.turn.heldBy
    return Effect.flatMap(Effect.sleep(watchMillis), () => {
      if (line.users < 2) {
        line.watcher = undefined
        return Effect.void
      }
      // guard: one that hangs does not hold up the line
      if (line.turn.heldBy === holder) {
        line.left = undefined
        line.turn.skip()
      }
      return watch(line)
    })
  })
