/**
 * A crowd on one session loads it together.
 *
 * @internal
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { KeyedTurns } from "../internal/turns.js"
import { SessionStore, type SessionStoreError, type Stored } from "../SessionStore.js"

type Store = Context.Tag.Service<SessionStore>
type Found = Exit.Exit<Option.Option<Stored>, SessionStoreError>

/** Loads of one key at once that each go their own way. */
const maxAlone = 64

/**
 * The store, but for this: loads beyond the first few of a key at once wait in
 * a line, and what one of them finds is what all find who were there before it
 * began, be it a failure. So nobody is told anything older than the moment of
 * asking, and nobody waits for more than two loads.
 */
export const sharedLoads = (store: Store): Store => {
  const alone = new Map<string, number>()
  const line = new KeyedTurns<{ readonly began: number; readonly found: Found }>()
  let moment = 0

  const leave = (key: string) => {
    const left = alone.get(key)! - 1
    if (left === 0) alone.delete(key)
    else alone.set(key, left)
  }

  const together = (key: string) => {
    const arrived = moment++
    return line.run(
      key,
      Effect.suspend(() => {
        const last = line.left(key)
        if (last !== undefined && last.began > arrived) {
          return Exit.map(last.found, Option.map((stored) => ({ ...stored, data: stored.data.slice() })))
        }
        const began = moment++
        return Effect.onExit(store.load(key), (found) =>
          Effect.sync(() => {
            if (Exit.isInterrupted(found)) return
            line.leave(key, { began, found })
          }))
      })
    )
  }

  return SessionStore.of({
    load: (key) =>
      Effect.uninterruptibleMask((restore) => {
        const others = alone.get(key) ?? 0
        if (others >= maxAlone) return restore(together(key))
        alone.set(key, others + 1)
        return Effect.matchCauseEffect(restore(store.load(key)), {
          onFailure: (cause) => {
            leave(key)
            return Effect.failCause(cause)
          },
          onSuccess: (found) => {
            leave(key)
            return Effect.succeed(found)
          }
        })
      }),
    insert: (key, data, expiresAt) => store.insert(key, data, expiresAt),
    replace: (key, expected, data, expiresAt) => store.replace(key, expected, data, expiresAt),
    touch: (key, current, expiresAt) => store.touch(key, current, expiresAt),
    remove: (key, expected) => store.remove(key, expected)
  })
}
