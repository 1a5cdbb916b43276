/**
 * What a request recorded, and what it makes of a value: the log, folded over
 * a base. Pure; run again on every fresh base.
 *
 * @internal
 */
import * as Either from "effect/Either"
import { conflict, failure, type SessionError } from "../SessionError.js"
import type { Extras, Payload } from "./Payload.js"

export interface Lifetime {
  readonly idleTimeout?: number
  readonly absoluteTimeout?: number
  readonly persistent?: boolean
}

export type Entry<A> =
  | { readonly _tag: "Update"; readonly f: (value: A) => A }
  | { readonly _tag: "Set"; readonly key: PropertyKey; readonly value: unknown }
  /** `key` (or every field, without one) was read, out of the value `seen`. */
  | { readonly _tag: "Read"; readonly key: PropertyKey | undefined; readonly seen: A }
  | { readonly _tag: "Clear"; readonly initial: A }
  | { readonly _tag: "SetLifetime"; readonly lifetime: Lifetime }
  | { readonly _tag: "Regenerate" }

/**
 * What a read promised to the sets after it: the key still has the value it
 * has in `expected`, or it has `moved`.
 */
export interface Guard<A> {
  readonly expected: A
  readonly moved: boolean
}

export type Guards<A> = ReadonlyMap<PropertyKey, Guard<A>>

export interface Draft<A> {
  value: A
  extras: Extras
  lifetime: Lifetime | undefined
  regenerate: boolean
  guards: Map<PropertyKey, Guard<A>> | undefined
}

export const draftOf = <A>(value: A, extras: Extras): Draft<A> => ({
  value,
  extras,
  lifetime: undefined,
  regenerate: false,
  guards: undefined
})

/** What the draft is now: the draft itself goes on changing. */
export const snapshot = <A>(draft: Draft<A>): Draft<A> => ({
  ...draft,
  guards: draft.guards && new Map(draft.guards)
})

/** Whether the draft asks for a write, given the value it started from. */
export const isChanged = <A>(draft: Draft<A>, base: { readonly value: A; readonly extras: Extras }): boolean =>
  draft.value !== base.value || draft.extras !== base.extras || draft.lifetime !== undefined || draft.regenerate

export const isWrite = <A>(entry: Entry<A>): boolean => entry._tag !== "Read"

/**
 * Folds the entries over a base. Fails with `Conflict` when a key that was
 * read has moved and is set, and with `Updater` when an updater throws.
 */
export const fold = <A>(
  payload: Payload<A>,
  base: { readonly value: A; readonly extras: Extras },
  guards: Guards<A> | undefined,
  entries: ReadonlyArray<Entry<A>>
): Either.Either<Draft<A>, SessionError> => {
  const draft = draftOf(base.value, base.extras)
  if (guards !== undefined) {
    draft.guards = new Map()
    for (const [key, guard] of guards) {
      watch(payload, draft, key, guard.expected, guard.moved)
    }
  }
  try {
    for (const entry of entries) {
      const error = apply(payload, draft, entry)
      if (error !== undefined) {
        return Either.left(error)
      }
    }
    return Either.right(draft)
  } catch (cause) {
    // guard: an updater that throws is a failure
    return Either.left(failure("Updater", cause))
  }
}

/** Applies one entry to the draft, in place. */
export const apply = <A>(payload: Payload<A>, draft: Draft<A>, entry: Entry<A>): SessionError | undefined => {
  switch (entry._tag) {
    case "Update":
      draft.value = entry.f(draft.value)
      return
    case "Set":
      // guard: a moved key is not set
      if (draft.guards?.get(entry.key)?.moved) {
        return conflict("Conflict")
      }
      draft.value = { ...draft.value, [entry.key]: entry.value }
      return
    case "Read":
      draft.guards ??= new Map()
      for (const key of entry.key === undefined ? payload.keys : [entry.key]) {
        watch(payload, draft, key, entry.seen, false)
      }
      return
    case "Clear":
      draft.value = entry.initial
      draft.extras = undefined
      return
    case "SetLifetime":
      draft.lifetime = { ...draft.lifetime, ...entry.lifetime }
      return
    case "Regenerate":
      draft.regenerate = true
      return
  }
}

const watch = <A>(payload: Payload<A>, draft: Draft<A>, key: PropertyKey, expected: A, moved: boolean): void => {
  draft.guards!.set(key, { expected, moved: moved || !payload.sameField(key, expected, draft.value) })
}

/**
 * The guards that outlive a commit: what had moved stays moved, the rest is
 * compared with the committed value from now on.
 */
export const guardsAfter = <A>(draft: Draft<A>): Guards<A> | undefined => {
  if (draft.guards === undefined) {
    return undefined
  }
  const guards = new Map<PropertyKey, Guard<A>>()
  for (const [key, guard] of draft.guards) {
    guards.set(key, guard.moved ? guard : { expected: draft.value, moved: false })
  }
  return guards
}
