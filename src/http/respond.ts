/**
 * From the end of a handler to its response: the commit, the status,
 * `Set-Cookie`, `Vary` and `Cache-Control`.
 *
 * @internal
 */

import * as Cookies from "@effect/platform/Cookies"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { type CurrentFiber, withCurrentFiber } from "../internal/fiber.js"
import type { OpenedSession } from "../internal/session/SessionHandle.js"
import { andThen, matchCause } from "../internal/steps.js"
import type { CookieChange, Scope, SessionCookie } from "../SessionCookie.js"
import type { SessionError } from "../SessionError.js"
import * as SessionErrors from "../SessionError.js"
import { isDeath, isStreamed, looksDead, releaseBody, type Request, type Response } from "./platform.js"
import { warnInsecure } from "./warnInsecure.js"

/** A request with its session, on the way to its response. */
export interface Exchange {
  readonly opened: OpenedSession<unknown>
  readonly cookie: SessionCookie
  readonly request: Request
  readonly clock: Clock.Clock
  /** How the handler has ended. Undefined while that has not been seen. */
  end: End | undefined
  /** Whether a cause was seen that is no death. A bare response then comes from a typed failure. */
  hasFailed: boolean
  /** Whether the platform has begun to answer. */
  hookHasRun: boolean
}

/**
 * - `Died`: nothing of the handler is stored. `error` is the session's own error that it failed with.
 * - `Committed`: what it recorded is stored.
 * - `Failed`: its commit has failed. `isAnswered`: the response says so already.
 */
type End =
  | { readonly _tag: "Died"; readonly error: SessionError | undefined }
  | { readonly _tag: "Committed" }
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<SessionError>; readonly isAnswered: boolean }

// ---------------------------------------------------------------------------
// the end of the handler
// ---------------------------------------------------------------------------

/** The handler has returned a response: commits. Returns the response to send. */
export const endWithResponse = (
  fiber: CurrentFiber,
  exchange: Exchange,
  response: Response
): Effect.Effect<Response> => {
  if (exchange.end !== undefined || !isUsed(exchange)) {
    return Effect.succeed(response)
  }
  return matchCause(
    exchange.opened.finishIn(fiber),
    (cause) => {
      exchange.end = { _tag: "Failed", cause, isAnswered: true }
      return replace(cause, response)
    },
    () => {
      exchange.end = { _tag: "Committed" }
      return Effect.succeed(response)
    }
  )
}

/**
 * The handler has failed. A typed failure is an end like any other, and
 * commits. A session's own error says that nothing was stored, and so it is.
 */
export const endWithFailure = (
  fiber: CurrentFiber,
  exchange: Exchange,
  cause: Cause.Cause<unknown>
): Effect.Effect<void> => {
  noteDeath(exchange, cause)
  if (exchange.end !== undefined || !isUsed(exchange)) {
    return Effect.void
  }
  return matchCause(
    exchange.opened.finishIn(fiber),
    (cause) => {
      exchange.end = { _tag: "Failed", cause, isAnswered: false }
      return Effect.void
    },
    () => {
      exchange.end = { _tag: "Committed" }
      return Effect.void
    }
  )
}

/** Notes that the handler has died. That is final, whatever a middleware around it sees. */
export const noteDeath = (exchange: Exchange, cause: Cause.Cause<unknown>): void => {
  if (exchange.end !== undefined) {
    return
  }
  const error = ownErrorIn(cause)
  if (error !== undefined || isDeath(cause)) {
    die(exchange, error)
  } else {
    exchange.hasFailed = true
  }
}

const ownErrorIn = (cause: Cause.Cause<unknown>): SessionError | undefined => {
  for (const error of Cause.failures(cause)) {
    if (SessionErrors.isOwn(error)) {
      return error
    }
  }
  return undefined
}

const die = (exchange: Exchange, error: SessionError | undefined): void => {
  exchange.end = { _tag: "Died", error }
  exchange.opened.drop()
}

// ---------------------------------------------------------------------------
// the hook
// ---------------------------------------------------------------------------

/** What the platform's pre-response hook does. It may run twice: the commit is done once. */
export const respond = (exchange: Exchange, response: Response): Effect.Effect<Response> => {
  if (!isUsed(exchange)) {
    exchange.opened.drop()
    // The body of a stream may use the session after the head. A cache must not mix up users then.
    return Effect.succeed(isStreamed(response) ? vary(response) : response)
  }
  return exchange.end === undefined
    ? withCurrentFiber((fiber) => respondUnseen(fiber, exchange, response))
    : respondSeen(exchange, exchange.end, response)
}

/** The end of the handler was not seen. The response tells whether it has died. */
const respondUnseen = (fiber: CurrentFiber, exchange: Exchange, response: Response): Effect.Effect<Response> => {
  if (!exchange.hasFailed && looksDead(fiber, response)) {
    die(exchange, undefined)
    return decorated(exchange, response)
  }
  return andThen(endWithResponse(fiber, exchange, response), (response) => decorated(exchange, response))
}

const respondSeen = (exchange: Exchange, end: End, response: Response): Effect.Effect<Response> =>
  end._tag === "Failed" && !end.isAnswered
    ? Effect.flatMap(replace(end.cause, response), (replaced) => decorated(exchange, replaced))
    : decorated(exchange, response)

const isUsed = ({ opened }: Exchange): boolean => opened.wasUsed

/** The answer in place of one whose commit failed: headers and cookies of others stay, the body is released. */
const replace = (cause: Cause.Cause<SessionError>, response: Response): Effect.Effect<Response> => {
  releaseBody(response)
  const error = Cause.failureOption(cause)
  const answer = error._tag === "Some"
    ? SessionErrors.toResponse(error.value)
    : HttpServerResponse.empty({ status: 500 })
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(response.headers)) {
    if (!name.startsWith("content-") && name !== "etag" && name !== "cache-control") {
      headers[name] = value
    }
  }
  const replaced = HttpServerResponse.mergeCookies(
    HttpServerResponse.setHeaders(answer, { ...headers, ...answer.headers }),
    response.cookies
  )
  return error._tag === "Some"
    ? Effect.as(report(error.value), replaced)
    : Effect.as(Effect.logError("Session: the commit died", cause), replaced)
}

/** Logs what only a programmer can mend. What cannot be encoded or decoded is logged where that is found out. */
const report = (error: SessionError): Effect.Effect<void> => {
  switch (error.reason) {
    case "Updater": // what an updater threw is the app's own
      return Effect.logWarning(
        `Session: nothing was stored: ${error.message}`,
        Cause.die(SessionErrors.causeOf(error))
      )
    case "HeadersSent":
      return Effect.logWarning(`Session: nothing was stored: ${error.message}`)
    default:
      return Effect.void
  }
}

/** Says what was lost when the platform never called the hook. */
export const lostWarning = ({ cookie, opened }: Exchange): string => {
  const change = opened.change
  const lost = change._tag === "Keep"
    ? "The response went out without Vary: Cookie."
    : `The response went out without the cookie "${cookie.name}": the browser ${
      change._tag === "Set" ? "does not get its new id" : "keeps an id that has ended"
    }.`
  return `Session: the platform has lost the session's part of a response. ${lost} ` +
    "The middleware must not run inside of Effect.timeout, a race, a fork or HttpApp.withPreResponseHandler: " +
    "put them inside of it, like app.pipe(Effect.timeout(…), SessionHttp.middleware(…))"
}

// ---------------------------------------------------------------------------
// headers
// ---------------------------------------------------------------------------

const decorated = (exchange: Exchange, response: Response): Effect.Effect<Response> => {
  const result = decorate(exchange, response)
  const warning = exchange.opened.change._tag === "Set" ? warnInsecure(exchange.cookie, exchange.request) : undefined
  return warning === undefined ? Effect.succeed(result) : Effect.as(warning, result)
}

const decorate = (exchange: Exchange, response: Response): Response => {
  const { cookie, end, opened } = exchange
  const { change } = opened
  let result = vary(response)
  // an HttpApi has encoded the error itself
  if (end?._tag === "Died" && end.error !== undefined && response.status === 503) {
    const retryAfter = response.headers["retry-after"] ?? SessionErrors.retryAfter
    result = HttpServerResponse.setHeader(result, "retry-after", retryAfter)
  }
  if (change._tag === "Keep") {
    return result
  }
  result = HttpServerResponse.setHeader(result, "cache-control", noStore(response.headers["cache-control"]))
  const now = exchange.clock.unsafeCurrentTimeMillis()
  const own = HttpServerResponse.updateCookies(result, Cookies.setCookie(cookieIn(cookie, cookie, change, now)))
  return cookie.former.length === 0 ? own : clearFormer(cookie, own)
}

const cookieIn = (cookie: SessionCookie, { domain, path }: Scope, change: CookieChange, now: number): Cookies.Cookie =>
  unprintable(Cookies.unsafeMakeCookie(cookie.name, change._tag === "Set" ? Redacted.value(change.value) : "", {
    httpOnly: true,
    secure: cookie.secure,
    sameSite: cookie.sameSite,
    path,
    ...(domain === undefined ? {} : { domain }),
    ...(cookie.partitioned ? { partitioned: true } : {}),
    ...lifetimeOf(change, now)
  }))

/** The platform keeps one cookie per key of a record. The keys of these are no names of cookies. */
const clearFormer = (cookie: SessionCookie, response: Response): Response => {
  const cleared = cookie.former.map((scope) =>
    [`${cookie.name};${scope.domain ?? ""};${scope.path}`, cookieIn(cookie, scope, { _tag: "Clear" }, 0)] as const
  )
  return HttpServerResponse.mergeCookies(response, Cookies.fromReadonlyRecord(Object.fromEntries(cleared)))
}

/** The platform prints whole responses: a stream that fails takes its own into debug logs and spans. */
const unprintable = (cookie: Cookies.Cookie): Cookies.Cookie =>
  Object.assign(cookie, { toJSON: () => ({ name: cookie.name, value: "<redacted>" }) })

// browsers keep no cookie for longer (RFC 6265bis, section 5.5)
const maxAgeSeconds = 400 * 24 * 60 * 60

const lifetimeOf = (change: CookieChange, now: number) => {
  if (change._tag === "Clear") {
    return { maxAge: Duration.zero, expires: new Date(0) }
  }
  if (change._tag === "Keep" || change.expiresAt._tag === "None") {
    return {}
  }
  const seconds = Math.min(maxAgeSeconds, Math.max(0, Math.ceil((change.expiresAt.value - now) / 1000)))
  return { maxAge: Duration.seconds(seconds), expires: new Date(now + seconds * 1000) }
}

const vary = (response: Response): Response =>
  HttpServerResponse.setHeader(response, "vary", varyOf(response.headers.vary))

const varyOf = (vary: string | undefined): string => {
  if (vary === undefined || vary.trim() === "") {
    return "Cookie"
  }
  const names = listOf(vary.toLowerCase())
  return names.includes("*") || names.includes("cookie") ? vary : `${vary}, Cookie`
}

/** `no-store`, and what the app has set besides, without the directives that let a cache store the response. */
const noStore = (cacheControl: string | undefined): string => {
  const kept = listOf(cacheControl ?? "").filter((directive) => !storing.has(nameOf(directive)))
  return ["no-store", ...kept].join(", ")
}

/** RFC 9111, section 5.2.2, and RFC 5861 and 8246 for the last three. */
const storing: ReadonlySet<string> = new Set([
  "no-store",
  "public",
  "max-age",
  "s-maxage",
  "must-understand",
  "immutable",
  "stale-while-revalidate",
  "stale-if-error"
])

const nameOf = (directive: string): string => directive.split("=")[0]!.trim().toLowerCase()

/** The elements of a header's list. A comma in a quoted string does not end one. */
const listOf = (header: string): ReadonlyArray<string> =>
  (header.match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? []).map((element) => element.trim()).filter((each) => each !== "")
