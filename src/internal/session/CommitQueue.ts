/**
 * Commits of one key wait in a queue once they go stale, so that they do not
 * waste retries on each other.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { Waiter } from "../Waiter.js"

interface Queue<A> {
  readonly waiters: Array<Waiter>
  holder: Waiter | undefined
  users: number
  handedOver: A | undefined
  watcher: Fiber.Fiber<void> | undefined
}

/** Milliseconds of `Clock` between two looks at a queue. */
const watchMillis = 2500

/**
 * A first-in, first-out queue for each key, in which a commit may hand over
 * what it has stored to the next one. An unused key keeps nothing.
 *
 * The queue is no mutex. If a holder keeps its place for 2.5 to 5 seconds, the
 * next waiter is admitted beside it. Commits stay correct because each write
 * is conditional on the version it replaces.
 */
export class CommitQueue<A> {
  private readonly queues = new Map<string, Queue<A>>()

  /** Whether a commit of `key` holds the queue or waits in it. */
  has(key: string): boolean {
    return this.queues.has(key)
  }

  /** What the last commit of `key` handed over. */
  handedOver(key: string): A | undefined {
    return this.queues.get(key)?.handedOver
  }

  /** Hands something over to the next commit of `key`, if the queue is in use. */
  handOver(key: string, value: A | undefined): void {
    const queue = this.queues.get(key)
    if (queue !== undefined) queue.handedOver = value
  }

  /** Waits until the queue of `key` admits the caller, and runs `effect`. Waiting can be interrupted. */
  run<B, E, R>(key: string, effect: Effect.Effect<B, E, R>): Effect.Effect<B, E, R> {
    return Effect.acquireUseRelease(
      Effect.suspend(() => this.enter(key)),
      (queue) => inTurn(queue, effect),
      (queue) => Effect.suspend(() => this.exit(key, queue))
    )
  }

  private enter(key: string): Effect.Effect<Queue<A>> {
    const queue = this.queues.get(key) ??
      { waiters: [], holder: undefined, users: 0, handedOver: undefined, watcher: undefined }
    this.queues.set(key, queue)
    queue.users++
    if (queue.users === 1 || queue.watcher !== undefined) {
      return Effect.succeed(queue)
    }
    return Effect.map(Effect.forkDaemon(Effect.interruptible(watch(queue))), (watcher) => {
      queue.watcher = watcher
      return queue
    })
  }

  private exit(key: string, queue: Queue<A>): Effect.Effect<void> {
    if (--queue.users > 0) {
      return Effect.void
    }
    this.queues.delete(key)
    return queue.watcher === undefined ? Effect.void : Fiber.interruptAsFork(queue.watcher, FiberId.none)
  }
}

const inTurn = <A, B, E, R>(queue: Queue<A>, effect: Effect.Effect<B, E, R>): Effect.Effect<B, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    const self = new Waiter()
    const held = Effect.onExit(restore(effect), () => Effect.sync(() => release(queue, self)))
    if (queue.holder === undefined) {
      queue.holder = self
      return held
    }
    queue.waiters.push(self)
    return Effect.matchCauseEffect(restore(self.granted), {
      onFailure: (cause) => {
        leave(queue, self)
        return Effect.failCause(cause)
      },
      onSuccess: () => held
    })
  })

const release = <A>(queue: Queue<A>, self: Waiter): void => {
  if (queue.holder === self) {
    admitNext(queue)
  }
}

const leave = <A>(queue: Queue<A>, self: Waiter): void => {
  if (self.isGranted) {
    return release(queue, self) // it was admitted at the moment of its interruption
  }
  queue.waiters.splice(queue.waiters.indexOf(self), 1)
}

const admitNext = <A>(queue: Queue<A>): void => {
  queue.holder = queue.waiters.shift()
  queue.holder?.grant()
}

/** One fiber a queue admits the next waiter when the holder takes too long. A timeout for each waiter would cost more. */
const watch = <A>(queue: Queue<A>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { holder } = queue
    return Effect.flatMap(Effect.sleep(watchMillis), () => {
      if (queue.users < 2) {
        queue.watcher = undefined
        return Effect.void
      }
      if (queue.holder === holder) {
        queue.handedOver = undefined
        admitNext(queue)
      }
      return watch(queue)
    })
  })
