/**
 * Finds the session that a request's cookies open.
 *
 * @internal
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Reading, Snapshot } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import type { SessionStoreError, Stored } from "../../SessionStore.js"
import { andThen, isExit, matchCause } from "../steps.js"
import { isNear } from "./deadlines.js"
import type { FirstLoad } from "./FirstLoad.js"
import { isOutage } from "./Outage.js"
import { failReported, reportFailure } from "./report.js"
import { type Call, loadSnapshot, matchLoad, nowOf, type Result, type Settings } from "./Settings.js"

/**
 * - `New`: no cookie opens a session.
 * - `Retired`: a login has replaced the id.
 * - `Current`: the id opens the record. `moved`: its deadline has just been moved.
 */
export type Found<A> =
  | { readonly _tag: "New" }
  | { readonly _tag: "Retired" }
  | { readonly _tag: "Current"; readonly id: SessionId; readonly snapshot: Snapshot<A>; readonly moved: boolean }

const isNew = { _tag: "New" } as const

/**
 * Looks up the values of the cookies that came under the session's name. Of
 * several, the session is the one that opens, if exactly one does.
 */
export const lookUp = <A>(
  settings: Settings<A>,
  call: Call,
  presented: ReadonlyArray<string>,
  load: FirstLoad
): Result<Found<A>> => {
  if (presented.length > 1) {
    return lookUpAll(settings, call, presented)
  }
  const id = parse(settings, presented[0])
  if (id === undefined) {
    return Effect.succeed(isNew)
  }
  const { shared } = settings
  return lookUpId(settings, call, id, shareLoad(settings, call, id, load), () => shared?.loads.end(id.key, load))
}

const parse = <A>({ format }: Settings<A>, value: string | undefined): SessionId | undefined =>
  value === undefined ? undefined : format.parse(value)

type Load = Effect.Effect<Option.Option<Stored>, SessionStoreError>

/** What an id opens. If its deadline is near, the deadline moves at once. `onEnd` runs when the load has ended. */
const lookUpId = <A>(
  settings: Settings<A>,
  call: Call,
  id: SessionId,
  load: Load,
  onEnd: () => void
): Result<Found<A>> =>
  matchLoad<A, Found<A>>(
    settings,
    load,
    id,
    call,
    (cause) => {
      onEnd()
      const error = Cause.failureOption(cause)
      if (error._tag === "None") {
        return Effect.failCause(cause)
      }
      return error.value.reason === "Corrupt" && settings.onCorrupt === "anonymous"
        ? Effect.as(
          reportFailure(settings, id, error.value, "; the request goes on without it, the record is left alone"),
          isNew
        )
        : failReported(settings, id, error.value)
    },
    (reading) => {
      onEnd()
      return reading._tag === "Current" && isNear(settings.format, reading.snapshot, nowOf(call))
        ? extend(settings, call, id, reading.snapshot)
        : Effect.succeed(foundOf(id, reading))
    }
  )

const foundOf = <A>(id: SessionId, reading: Reading<A>): Found<A> => {
  switch (reading._tag) {
    case "Current":
      return { _tag: "Current", id, snapshot: reading.snapshot, moved: false }
    case "Retired":
      return { _tag: "Retired" }
    default:
      return isNew
  }
}

/** Loads alone, or together with others when many requests load the same session. */
const shareLoad = <A>({ shared, store }: Settings<A>, call: Call, id: SessionId, load: FirstLoad): Load => {
  const single = store.load(id.key, nowOf(call))
  return shared === undefined || shared.loads.begin(id.key, load) ? single : shared.loads.share(id.key, single)
}

const lookUpAll = <A>(settings: Settings<A>, call: Call, presented: ReadonlyArray<string>): Result<Found<A>> => {
  const values = presented.length > settings.maxCookies ? [] : [...new Set(presented)]
  const ids = values.map((value) => settings.format.parse(value)).filter((id) => id !== undefined)
  const all = Effect.forEach(
    ids,
    (id) => lookUpId(settings, call, id, settings.store.load(id.key, nowOf(call)), () => {})
  )
  return Effect.flatMap(all, (found) => {
    const [live, ...others] = found.filter(({ _tag }) => _tag === "Current")
    if (live !== undefined && others.length === 0) {
      return Effect.succeed(live)
    }
    const retired = live === undefined ? found.find(({ _tag }) => _tag === "Retired") : undefined
    return Effect.as(warnCookies(settings.cookieName, live === undefined ? "none" : "more than one"), retired ?? isNew)
  })
}

/** Moves the deadline before the handler runs, so that the request can take as long as the idle timeout. */
const extend = <A>(settings: Settings<A>, call: Call, id: SessionId, snapshot: Snapshot<A>): Result<Found<A>> => {
  const expiresAt = settings.format.deadlineAt(snapshot, nowOf(call))
  return andThen(moveDeadline(settings, call, id, snapshot, expiresAt), (moved) => {
    switch (moved) {
      case true:
        return Effect.succeed<Found<A>>({ _tag: "Current", id, snapshot: withDeadline(snapshot, expiresAt), moved })
      case undefined:
        return Effect.succeed<Found<A>>({ _tag: "Current", id, snapshot, moved: false })
      case false: // another request has written the record, which has moved its deadline, or has ended it
        return andThen(loadSnapshot(settings, id, call), (reading) => Effect.succeed(foundOf(id, reading)))
    }
  })
}

export const withDeadline = <A>(snapshot: Snapshot<A>, expiresAt: number): Snapshot<A> => ({
  ...snapshot,
  stored: { ...snapshot.stored, expiresAt }
})

/** Returns whether the record was still the same. Undefined when the store could not tell: the request goes on. */
export const moveDeadline = <A>(
  settings: Settings<A>,
  call: Call,
  id: SessionId,
  snapshot: Snapshot<A>,
  expiresAt: number
): Effect.Effect<boolean | undefined> => {
  const moved = matchCause(
    settings.store.touch(id.key, snapshot.stored, expiresAt, nowOf(call)),
    (cause): Effect.Effect<boolean | undefined> => Effect.as(reportUntouched(settings, cause, nowOf(call)), undefined),
    (moved) => {
      const line = settings.outage.succeeded("write")
      return line === undefined ? Effect.succeed(moved) : Effect.as(line, moved)
    }
  )
  return call.interruptible && !isExit(moved) ? Effect.uninterruptible(moved) : moved
}

const warnCookies = (name: string, opening: "none" | "more than one"): Effect.Effect<void> =>
  Effect.logWarning(
    `Session: more than one cookie "${name}" came, and ${opening} of them opens a session; ` +
      "the request goes on without one. If the cookie's domain or path has changed, name the old ones in cookie.former"
  )

const reportUntouched = <A>(
  { outage }: Settings<A>,
  cause: Cause.Cause<SessionStoreError>,
  now: number
): Effect.Effect<void> => {
  const error = Cause.failureOption(cause)
  if (error._tag === "Some" && isOutage(error.value)) {
    return outage.failed(error.value, now) ?? Effect.void
  }
  const reason = error._tag === "Some" ? error.value.message : "the store died"
  return Effect.logWarning(`Session: its deadline could not be moved (${reason})`)
}
