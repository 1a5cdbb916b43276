/**
 * Opens the sessions of one tag.
 *
 * @internal
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import { nativeFormat } from "../../schema/nativeFormat.js"
import type { Payload } from "../../schema/Payload.js"
import * as PayloadCodec from "../../schema/PayloadCodec.js"
import type { SessionFormat } from "../../schema/SessionFormat.js"
import type * as SessionRecord from "../../schema/SessionRecord.js"
import type { Session } from "../../Session.js"
import { SessionConfigError } from "../../SessionConfigError.js"
import * as SessionCookie from "../../SessionCookie.js"
import { SessionStore } from "../../SessionStore.js"
import { immediateCalls } from "../storeCalls.js"
import { CommitQueue } from "./CommitQueue.js"
import { KeepAlive } from "./KeepAlive.js"
import { Outage } from "./Outage.js"
import { RequestSession } from "./RequestSession.js"
import { issue, OpenedSession, SessionHandle, timeout } from "./SessionHandle.js"
import type { Settings } from "./Settings.js"
import { SharedLoads } from "./SharedLoads.js"

/** What opens the sessions of one tag in any format. */
export interface Parts<A> {
  /** Names the session in messages. */
  readonly tag: string
  readonly payload: Payload<A>
  readonly format: SessionFormat<A>
  readonly cookie: SessionCookie.SessionCookie
  readonly onCorrupt: Session.Options["onCorrupt"]
  readonly store: Context.Tag.Service<SessionStore>
}

/** Fails when an option cannot work, and warns of one that is hardly meant. */
export const make = Effect.fnUntraced(function*<A>(
  tag: string,
  payload: Payload<A>,
  options: Session.Options
) {
  const cookie = yield* SessionCookie.make(options.cookie)
  const lifetime = yield* lifetimeOf(options)
  const format = nativeFormat({
    scope: `${tag}\0${cookie.name}`,
    payload,
    codec: options.codec ?? PayloadCodec.msgpack(),
    lifetime
  })
  const store = yield* SessionStore
  yield* Effect.forEach(warningsOf(lifetime), (warning) => Effect.logWarning(`Session ${tag}: ${warning}`))
  return yield* makeWith({ tag, payload, format, cookie, onCorrupt: options.onCorrupt, store })
})

/** Fails when the session's fields cannot be stored. Warns of a cookie that is hardly meant. */
export const makeWith = Effect.fnUntraced(function*<A>(
  { cookie, format, onCorrupt = "anonymous", payload, store, tag }: Parts<A>
) {
  const runtime = yield* Effect.runtime<never>()
  yield* checkFields(tag, payload)
  yield* Effect.forEach(warningsOfCookie(cookie), (warning) => Effect.logWarning(`Session ${tag}: ${warning}`))
  const immediate = immediateCalls(store)
  const settings: Settings<A> = {
    store: immediate ?? store,
    payload,
    format,
    onCorrupt,
    cookieName: cookie.name,
    maxCookies: SessionCookie.maxCookies,
    keepAlive: new KeepAlive(runtime),
    outage: new Outage(tag),
    shared: immediate === undefined ? { commits: new CommitQueue(), loads: new SharedLoads() } : undefined
  }
  const open = (values: ReadonlyArray<string>) => {
    const session = new RequestSession(settings, values)
    return new OpenedSession<Session.StructHandle<A>>(session as RequestSession<unknown>, new SessionHandle(session))
  }
  const manager: Session.ManagerOf<unknown, A, Session.StructHandle<A>> = {
    "~self": identity,
    cookie,
    open: (cookieValue = []) => open(typeof cookieValue === "string" ? [cookieValue] : cookieValue),
    issue: (value) => Effect.suspend(() => issue(new RequestSession(settings, []), value))
  }
  return manager
})

const checkFields = <A>(tag: string, payload: Payload<A>): Effect.Effect<void, SessionConfigError> => {
  const wrong = (message: string, cause?: unknown) =>
    new SessionConfigError({
      option: "fields",
      message: `${tag}: ${message}`,
      ...(cause === undefined ? {} : { cause })
    })
  if (payload.keys.some((key) => typeof key === "symbol")) {
    return wrong("the name of a field has to be text, a symbol cannot be stored")
  }
  const problems = payload.problems()
  if (problems.length > 0) {
    return wrong(problems.join("; "))
  }
  return Effect.try({
    try: () => void payload.initial(),
    catch: (cause) =>
      wrong(
        "an empty session does not decode; give every field Schema.optional or a default, or an initial value that fits",
        cause
      )
  })
}

type Lifetime = Required<SessionRecord.Lifetime>

const lifetimeOf = (options: Session.Options): Effect.Effect<Lifetime, SessionConfigError> =>
  Effect.try({
    try: () => ({
      idleTimeout: timeout("idleTimeout", options.idleTimeout ?? "30 minutes"),
      absoluteTimeout: timeout("absoluteTimeout", options.absoluteTimeout ?? "24 hours"),
      persistent: options.persistent ?? false
    }),
    catch: (cause) => cause as SessionConfigError // what `timeout` throws
  })

/** Lifetimes that are legal and hardly meant. */
const warningsOf = (lifetime: Lifetime): ReadonlyArray<string> => {
  const warnings: Array<string> = []
  if (lifetime.idleTimeout < 1000) {
    warnings.push("idleTimeout is below one second. A number is milliseconds; write it like \"30 minutes\".")
  }
  if (lifetime.idleTimeout > lifetime.absoluteTimeout) {
    warnings.push("idleTimeout is above absoluteTimeout, which ends each session first. Raise absoluteTimeout.")
  }
  return warnings
}

/** Options of a cookie that are legal and hardly meant. */
const warningsOfCookie = (cookie: SessionCookie.SessionCookie): ReadonlyArray<string> => {
  const warnings: Array<string> = []
  if (!cookie.secure) {
    warnings.push("cookie.secure is false, so the cookie travels unencrypted. For development only.")
  }
  if (cookie.domain !== undefined && !cookie.domain.includes(".")) {
    warnings.push("cookie.domain is a name without a dot, like localhost, which browsers refuse. Leave it out.")
  }
  return warnings
}
