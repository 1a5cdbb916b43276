/**
 * A fiber's place in the queue of a mutex.
 *
 * @internal
 */
import * as Effect from "effect/Effect"

export class Waiter {
  /** It is this fiber's turn, which it may not have noticed yet. */
  isGranted = false
  private resume: (() => void) | undefined

  grant(): void {
    this.isGranted = true
    this.resume?.()
  }

  /** Waits for `grant`. */
  get granted(): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (this.isGranted) {
        return resume(Effect.void)
      }
      this.resume = () => resume(Effect.void)
    })
  }
}
