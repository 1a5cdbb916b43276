/**
 * How the engine calls a store. A store in this process may register plain
 * functions that answer at once; the engine then needs no fiber to wait.
 *
 * @internal
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import { SessionStore, type SessionStoreError, type Stored, type Version } from "../SessionStore.js"

type Store = Context.Tag.Service<SessionStore>

/** The five operations as plain functions of the time. Each is done when it returns. */
export interface ImmediateStore {
  readonly load: (key: string, now: number) => Option.Option<Stored>
  readonly insert: (key: string, data: Uint8Array, expiresAt: number, now: number) => Option.Option<Version>
  readonly replace: (
    key: string,
    expected: Version,
    data: Uint8Array,
    expiresAt: number,
    now: number
  ) => Option.Option<Version>
  readonly touch: (key: string, current: Stored, expiresAt: number, now: number) => boolean
  readonly remove: (key: string, expected: Version | undefined, now: number) => boolean
}

type Answer<A> = Effect.Effect<A, SessionStoreError>

/** The five operations as the engine calls them: `now` is the time of the caller's clock. */
export interface StoreCalls {
  readonly load: (key: string, now: number) => Answer<Option.Option<Stored>>
  readonly insert: (key: string, data: Uint8Array, expiresAt: number, now: number) => Answer<Option.Option<Version>>
  readonly replace: (
    key: string,
    expected: Version,
    data: Uint8Array,
    expiresAt: number,
    now: number
  ) => Answer<Option.Option<Version>>
  readonly touch: (key: string, current: Stored, expiresAt: number, now: number) => Answer<boolean>
  readonly remove: (key: string, expected: Version | undefined, now: number) => Answer<boolean>
}

// by the store's identity, so that a decorator around the store is never bypassed
const immediateStores = new WeakMap<Store, ImmediateStore>()

/** The store that does these operations, each at the time of the fiber's clock. */
export const storeOf = (operations: ImmediateStore): Store => {
  const atNow = <A>(operation: (now: number) => A): Effect.Effect<A> =>
    Effect.clockWith((clock) => Effect.succeed(operation(clock.unsafeCurrentTimeMillis())))
  const store = SessionStore.of({
    load: (key) => atNow((now) => operations.load(key, now)),
    insert: (key, data, expiresAt) => atNow((now) => operations.insert(key, data, expiresAt, now)),
    replace: (key, expected, data, expiresAt) =>
      atNow((now) => operations.replace(key, expected, data, expiresAt, now)),
    touch: (key, current, expiresAt) => atNow((now) => operations.touch(key, current, expiresAt, now)),
    remove: (key, expected) => atNow((now) => operations.remove(key, expected, now))
  })
  immediateStores.set(store, operations)
  return store
}

/** The calls of a store that answers at once. Undefined for any other. */
export const immediateCalls = (store: Store): StoreCalls | undefined => {
  const immediate = immediateStores.get(store)
  return immediate && {
    load: (key, now) => Exit.succeed(immediate.load(key, now)),
    insert: (key, data, expiresAt, now) => Exit.succeed(immediate.insert(key, data, expiresAt, now)),
    replace: (key, expected, data, expiresAt, now) =>
      Exit.succeed(immediate.replace(key, expected, data, expiresAt, now)),
    touch: (key, current, expiresAt, now) => Exit.succeed(immediate.touch(key, current, expiresAt, now)),
    remove: (key, expected, now) => Exit.succeed(immediate.remove(key, expected, now))
  }
}
