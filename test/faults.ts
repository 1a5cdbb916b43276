/**
 * A store that misbehaves by script: what it does to a call is a function of
 * the call, one script for each operation, one fault for each call.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SessionStore, SessionStoreError, type SessionStoreErrorReason } from "../src/SessionStore.js"

type Store = SessionStore["Type"]
export type Operation = keyof Store
type Call<A> = Effect.Effect<A, SessionStoreError>

/** What happens to a call instead of, before or after its being done. */
export type Fault = <A>(call: Call<A>, operation: Operation) => Call<A>

/** Fails, and nothing was done. */
export const refuse = (reason: SessionStoreErrorReason = "Unavailable"): Fault => (_, operation) =>
  Effect.fail(new SessionStoreError({ reason, operation }))

/** Done, then `between` happens, and the answer is lost. */
export const loseReply = (between: Effect.Effect<unknown> = Effect.void): Fault => (call, operation) =>
  call.pipe(Effect.zipRight(between), Effect.zipRight(refuse("Timeout")(call, operation)))

/** Something else happens, and the call never arrives. */
export const loseRequest = (between: Effect.Effect<unknown> = Effect.void): Fault => (call, operation) =>
  Effect.zipRight(between, refuse("Timeout")(call, operation))

/** Something else happens first. */
export const after = (hook: Effect.Effect<unknown>): Fault => (call) => Effect.zipRight(hook, call)

const fine: Fault = (call) => call

export interface Faults {
  readonly layer: Layer.Layer<SessionStore, never, SessionStore>
  /** The operations that were asked for, in order, by name. */
  readonly calls: Array<Operation>
  /** One fault for each of the next calls of the operation; then all is fine again. */
  readonly script: (operation: Operation, ...faults: ReadonlyArray<Fault>) => void
  /** The fault of every call of the operation that has none of its own. */
  readonly always: (operation: Operation, fault?: Fault) => void
}

export const make = (): Faults => {
  const calls: Array<Operation> = []
  const scripts = new Map<Operation, Array<Fault>>()
  const standing = new Map<Operation, Fault>()
  const through = <A>(operation: Operation, call: Call<A>): Call<A> =>
    Effect.suspend(() => {
      calls.push(operation)
      const fault = scripts.get(operation)?.shift() ?? standing.get(operation) ?? fine
      return fault(call, operation)
    })
  return {
    calls,
    script: (operation, ...faults) => scripts.set(operation, [...scripts.get(operation) ?? [], ...faults]),
    always: (operation, fault = fine) => standing.set(operation, fault),
    layer: Layer.effect(
      SessionStore,
      Effect.map(SessionStore, (store) => ({
        load: (key) => through("load", store.load(key)),
        insert: (key, data, expiresAt) => through("insert", store.insert(key, data, expiresAt)),
        replace: (key, expected, data, expiresAt) => through("replace", store.replace(key, expected, data, expiresAt)),
        touch: (key, current, expiresAt) => through("touch", store.touch(key, current, expiresAt)),
        remove: (key, expected) => through("remove", store.remove(key, expected))
      }))
    )
  }
}
