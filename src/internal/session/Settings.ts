/**
 * What every request of one session tag shares.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Payload } from "../../schema/Payload.js"
import type { Reading, SessionFormat } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import * as SessionError from "../../SessionError.js"
import type { SessionStoreError, Stored } from "../../SessionStore.js"
import { type CurrentFiber, isInterruptible } from "../fiber.js"
import { isExit, matchCause, matchError } from "../steps.js"
import type { StoreCalls } from "../storeCalls.js"
import type { CommitQueue } from "./CommitQueue.js"
import type { KeepAlive } from "./KeepAlive.js"
import type { Outage } from "./Outage.js"
import type { SharedLoads } from "./SharedLoads.js"

/** The result of a member of the handle. */
export type Result<A> = Effect.Effect<A, SessionError.SessionError>

export interface Settings<A> {
  readonly store: StoreCalls
  readonly format: SessionFormat<A>
  readonly payload: Payload<A>
  readonly onCorrupt: "anonymous" | "fail"
  readonly cookieName: string
  /** How many cookies of the name are looked up at most. */
  readonly maxCookies: number
  readonly keepAlive: KeepAlive
  readonly outage: Outage
  /** What requests of one session share. Undefined for a store that answers at once: no other request comes between. */
  readonly shared: { readonly commits: CommitQueue<Stored>; readonly loads: SharedLoads } | undefined
}

/** One use of the handle: what it needs of the fiber that runs it. */
export interface Call {
  readonly fiber: CurrentFiber
  readonly clock: Clock.Clock
  /** Whether the fiber could be interrupted when the use began. In the pre-response hook it cannot. */
  readonly interruptible: boolean
}

export const callOf = (fiber: CurrentFiber): Call => ({
  fiber,
  clock: Context.unsafeGet(fiber.currentDefaultServices, Clock.Clock),
  interruptible: isInterruptible(fiber)
})

/** The time of the application's clock, in milliseconds. */
export const nowOf = (call: Call): number => call.clock.unsafeCurrentTimeMillis()

const missing: Reading<never> = { _tag: "Missing" }

/** Loads the record of an id and reads it. Fails with `Corrupt` or `Unsupported` when it cannot be read. */
export const loadSnapshot = <A>(settings: Settings<A>, id: SessionId, call: Call): Result<Reading<A>> =>
  matchLoad(settings, settings.store.load(id.key, nowOf(call)), id, call, Effect.failCause, Effect.succeed)

/** Continues with what a load finds. One step, because each costs a request two Effect operations. */
export const matchLoad = <A, B>(
  settings: Settings<A>,
  load: Effect.Effect<Option.Option<Stored>, SessionStoreError>,
  id: SessionId,
  call: Call,
  onFailure: (cause: Cause.Cause<SessionError.SessionError>) => Result<B>,
  onReading: (reading: Reading<A>) => Result<B>
): Result<B> => {
  const { format, outage } = settings
  const read = (stored: Option.Option<Stored>): Result<B> => {
    if (stored._tag === "None") {
      return onReading(missing)
    }
    let reading: Reading<A>
    try {
      reading = format.read(stored.value, id, nowOf(call))
    } catch (error) {
      if (SessionError.isInstance(error)) {
        return onFailure(Cause.fail(error))
      }
      throw error
    }
    return onReading(reading)
  }
  return matchCause(
    load,
    (cause) => {
      const error = Cause.failureOption(cause)
      const line = error._tag === "Some" ? outage.failed(error.value, nowOf(call)) : undefined
      return after(line, () => onFailure(Cause.map(cause, SessionError.fromStore)))
    },
    (stored) => outage.isOn ? after(outage.succeeded("load"), () => read(stored)) : read(stored)
  )
}

/**
 * Runs a write and the handling of its answer as one uninterruptible step. The
 * answer returns what comes next, which may be interrupted again.
 */
export const writeStep = <B>(
  { outage }: { readonly outage: Outage },
  call: Call,
  write: Effect.Effect<B, SessionStoreError>,
  onFailure: (error: SessionStoreError) => Result<void>,
  onSuccess: (answer: B) => Result<void>
): Result<void> => {
  const failed = (error: SessionStoreError) => after(outage.failed(error, nowOf(call)), () => onFailure(error))
  const succeeded = (answer: B) => after(outage.succeeded("write"), () => onSuccess(answer))
  return call.interruptible && !isExit(write)
    ? Effect.flatten(Effect.uninterruptible(Effect.match(write, { onFailure: failed, onSuccess: succeeded })))
    : matchError(write, failed, succeeded)
}

/** Logs a line first, if there is one. */
const after = <B>(line: Effect.Effect<void> | undefined, next: () => Result<B>): Result<B> =>
  line === undefined ? next() : Effect.flatMap(line, next)

/** Whether a write that failed so may have been done. */
export const mayBeApplied = (error: SessionStoreError): boolean =>
  error.reason === "Unavailable" || error.reason === "Timeout"
