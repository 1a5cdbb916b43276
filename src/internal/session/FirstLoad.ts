/**
 * The load of a request's session, while it is in flight.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { CurrentFiber } from "../fiber.js"

/**
 * Other fibers of the request wait for the load instead of loading themselves.
 * It is no mutex: a mutex has to be released in an uninterruptible region,
 * which costs six Effect operations a request. If the loading fiber was
 * interrupted, it has ended or runs its finalizers, and the next fiber loads.
 */
export class FirstLoad {
  private hasEnded = false
  private waiters: Set<() => void> | undefined

  constructor(private readonly fiber: CurrentFiber) {}

  /** Whether `fiber` has to wait: the load is in flight in another fiber that still runs. */
  blocks(fiber: CurrentFiber): boolean {
    return !this.hasEnded && this.fiber !== fiber && this.isRunning
  }

  /** Whether the load is still in flight. */
  get isInFlight(): boolean {
    return !this.hasEnded && this.isRunning
  }

  private get isRunning(): boolean {
    return this.fiber.unsafePoll() === null
  }

  /** The load has succeeded or failed. */
  end(): void {
    this.hasEnded = true
    this.waiters?.forEach((resume) => resume())
  }

  /** Waits for the end of the load, or of the fiber that loads. */
  get ended(): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      const waiter = () => {
        leave()
        resume(Effect.void)
      }
      const leave = () => {
        this.waiters?.delete(waiter)
        this.fiber.removeObserver(waiter)
      }
      if (!this.isInFlight) {
        return waiter()
      }
      this.waiters ??= new Set()
      this.waiters.add(waiter)
      this.fiber.addObserver(waiter)
      return Effect.sync(leave)
    })
  }
}
