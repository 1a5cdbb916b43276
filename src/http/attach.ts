/**
 * Gives a request its session, and its response what the session owes it. The
 * entry styles of SessionHttp stand on these two.
 *
 * @internal
 */
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { CookieChange } from "../handle/RequestSession.js"
import type { CurrentFiber } from "../internal/fiber.js"
import type { Session } from "../Session.js"
import type { SessionError } from "../SessionError.js"
import { causeOf, isErrorResponse, isSessionError, retryAfter, SessionFailure, toResponse } from "../SessionError.js"
import * as SessionCookie from "./SessionCookie.js"

type Response = HttpServerResponse.HttpServerResponse

type Manager<H> = Pick<Session.ManagerOf<unknown, unknown, H>, "cookie" | "open">

/** A session attached to a request. */
export interface Attached<H> {
  /** The request's own object, which every `request.modify` keeps. */
  readonly source: unknown
  readonly manager: Manager<H>
  readonly opened: Session.Opened<H>
  agnostic: boolean
  /** More than one cookie of the name came. */
  readonly duplicate: boolean
  /** How the handler ended, where a wrapper around it could see that. */
  outcome: "finished" | "died" | undefined
}

// lives as long as the platform's hooks do: a web Request can be handled twice
const attachedSessions = globalValue(
  Symbol.for("effect-session/http/attached"),
  () => FiberRef.unsafeMake<ReadonlyArray<Attached<unknown>>>([])
)

/**
 * Opens the request's session and sees to its response; once per request and
 * manager. Throws on what only a programmer can mend: it becomes a defect.
 */
export const attach = <H>(
  fiber: CurrentFiber,
  request: HttpServerRequest.HttpServerRequest,
  manager: Manager<H>,
  agnostic: boolean
): Attached<H> => {
  const all = fiber.getFiberRef(attachedSessions)
  let again: Attached<H> | undefined
  for (const other of all) {
    if (other.source !== request.source) {
      continue // of a request that this one is a part of
    }
    if (other.manager === manager) {
      again = other as Attached<H> // the manager is the same, so is its handle
    } else {
      refuseClash(other, manager, agnostic)
    }
  }
  if (again !== undefined) {
    again.agnostic ||= agnostic
    return again
  }
  const presented = SessionCookie.read(manager.cookie.name, request.headers.cookie)
  const attached: Attached<H> = {
    source: request.source,
    manager,
    agnostic,
    // duplicates are nobody's id, but a cookie that a logout has to clear
    opened: manager.open(presented._tag === "Absent" ? undefined : presented._tag === "Found" ? presented.value : ""),
    duplicate: presented._tag === "Duplicate",
    outcome: undefined
  }
  fiber.setFiberRef(attachedSessions, [...all, attached])
  hook(fiber, attached)
  return attached
}

const refuseClash = (other: Attached<unknown>, manager: Manager<unknown>, agnostic: boolean): void => {
  if (other.manager.cookie.name === manager.cookie.name) {
    throw new Error(
      `Two sessions of this request use the cookie "${manager.cookie.name}": give one of them another cookie.name`
    )
  }
  if (other.agnostic && agnostic) {
    throw new Error(
      "Two sessions of this request provide the tag Session: pass { agnostic: false } to one of the middlewares"
    )
  }
}

/**
 * Notes how the handler ended. A typed failure is an end like any other; but
 * the answer to a session's own error says that nothing was stored, and so it
 * is.
 */
export const ended = <H>(attached: Attached<H>, cause: Cause.Cause<unknown> | undefined): void => {
  if (attached.outcome !== "died") { // an outer middleware sees only the error page of what died within
    attached.outcome = cause !== undefined && isDead(cause) ? "died" : "finished"
  }
}

const isDead = (cause: Cause.Cause<unknown>): boolean => {
  for (const defect of Cause.defects(cause)) {
    if (!HttpServerResponse.isServerResponse(defect)) {
      return true
    }
  }
  for (const error of Cause.failures(cause)) {
    if (isSessionError(error)) {
      return true
    }
  }
  return Cause.isInterruptedOnly(cause) // a failure interrupts its sibling fibers too
}

/**
 * Runs before the response head. It looks at the response before the hooks
 * that stand already, and works after them: the platform's `cors` sets `Vary`
 * in its own.
 */
const hook = <H>(fiber: CurrentFiber, attached: Attached<H>): void => {
  const previous = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
  fiber.setFiberRef(
    HttpApp.currentPreResponseHandlers,
    Option.some<HttpApp.PreResponseHandler>((request, response) => {
      attached.outcome ??= isErrorResponse(response) || isPlatformFailure(response) ? "died" : "finished"
      return previous._tag === "None"
        ? respond(attached, response)
        : Effect.flatMap(previous.value(request, response), (response) => respond(attached, response))
    })
  )
}

/**
 * What the platform answers for a defect and for an interruption, by its shape:
 * an app in CommonJS has another copy of the platform. Asked only where the
 * cause was not seen: as the middleware of `HttpServer.serve`.
 */
const isPlatformFailure = ({ body, headers, status }: Response): boolean =>
  (status === 500 || status === 503 || status === 499) && body._tag === "Empty" && Object.keys(headers).length === 0

const respond = <H>(attached: Attached<H>, response: Response): Effect.Effect<Response> => {
  const { manager, opened, outcome } = attached
  const used = opened.isUsed()
  // guard: a defect drops the log
  if (!used || outcome === "died") {
    opened.discard()
    // guard: an unused session leaves no trace
    return used
      ? decorate(manager.cookie, opened.cookie, withRetryAfter(response))
      : Effect.succeed(response.body._tag === "Stream" ? varied(response) : response)
  }
  const finished = Effect.matchCauseEffect(opened.finish, {
    onSuccess: () => decorate(manager.cookie, opened.cookie, response),
    onFailure: (cause) =>
      Effect.flatMap(failed(cause, response), (response) => decorate(manager.cookie, opened.cookie, response))
  })
  return attached.duplicate
    ? Effect.zipRight(Effect.logDebug("Session: more than one cookie of its name came, all of them ignored"), finished)
    : finished
}

/** An HttpApi encodes a session's error by itself, without its headers. */
const withRetryAfter = (response: Response): Response =>
  response.status === 503 && response.headers["retry-after"] === undefined && isErrorResponse(response)
    ? HttpServerResponse.setHeader(response, "retry-after", retryAfter)
    : response

/** The answer in place of one whose commit failed: others' headers and cookies stay. */
const failed = (cause: Cause.Cause<SessionError>, response: Response): Effect.Effect<Response> => {
  const error = Cause.failureOption(cause)
  const answer = error._tag === "Some" ? toResponse(error.value) : HttpServerResponse.empty({ status: 500 })
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(response.headers)) {
    // guard: a failed commit keeps no description of the body
    if (!name.startsWith("content-") && name !== "etag" && name !== "cache-control") {
      headers[name] = value
    }
  }
  const replaced = answer.pipe(
    HttpServerResponse.setHeaders(headers),
    HttpServerResponse.mergeCookies(response.cookies)
  )
  release(response.body)
  return error._tag === "Some"
    ? error.value instanceof SessionFailure ? Effect.as(report(error.value), replaced) : Effect.succeed(replaced)
    : Effect.as(Effect.logError("Session: the commit died", cause), replaced)
}

/** What only a programmer can mend. What cannot be encoded or decoded is logged where that is found out. */
const report = (error: SessionFailure): Effect.Effect<void> => {
  switch (error.reason) {
    case "Updater": // what an updater threw is the app's own
      return Effect.logWarning(`Session: nothing was stored: ${error.message}`, Cause.die(causeOf(error)))
    case "HeadersSent":
      return Effect.logWarning(`Session: nothing was stored: ${error.message}`)
    default:
      return Effect.void
  }
}

/** Frees what a body holds that nobody reads. A Stream of Effect holds nothing before it is run. */
const release = (body: Response["body"]): void => {
  if (body._tag !== "Raw" || typeof body.body !== "object" || body.body === null) {
    return
  }
  const raw = body.body as { // what a raw body may be: a stream of Node, a web stream, a web Response
    readonly destroy?: () => void
    readonly cancel?: () => Promise<void>
    readonly body?: ReadableStream | null
    readonly on?: (event: "error", listener: () => void) => void
  }
  if (typeof raw.destroy === "function") {
    raw.on?.("error", () => {}) // it may still fail to open
    raw.destroy()
    return
  }
  const stream = typeof raw.cancel === "function" ? raw : raw.body
  if (typeof stream === "object" && stream !== null && typeof stream.cancel === "function") {
    stream.cancel().catch(() => {}) // locked: someone reads it
  }
}

const decorate = (
  cookie: SessionCookie.SessionCookie,
  change: CookieChange,
  response: Response
): Effect.Effect<Response> => {
  const decorated = varied(response)
  if (change._tag === "Keep") {
    return Effect.succeed(decorated)
  }
  // guard: no cache stores a cookie
  const uncached = HttpServerResponse.setHeader(decorated, "cache-control", uncachedOf(response))
  return Effect.clockWith((clock) => {
    const value = change._tag === "Set" ? Redacted.value(change.value) : ""
    const setCookie = Cookies.unsafeMakeCookie(cookie.name, value, {
      // guard: no script reads the cookie
      httpOnly: true,
      // guard: the cookie's attributes are the options'
      secure: cookie.secure,
      sameSite: cookie.sameSite,
      path: cookie.path,
      ...(cookie.domain === undefined ? {} : { domain: cookie.domain }),
      ...(cookie.partitioned ? { partitioned: true } : {}),
      ...lifetimeOf(change, clock.unsafeCurrentTimeMillis())
    })
    return Effect.succeed(HttpServerResponse.updateCookies(uncached, Cookies.setCookie(unprintable(setCookie))))
  })
}

/** The platform prints whole responses: a stream that fails takes its own into debug logs and spans. */
const unprintable = (cookie: Cookies.Cookie): Cookies.Cookie =>
  Object.assign(cookie, { toJSON: () => ({ name: cookie.name, value: "<redacted>" }) })

// browsers keep no cookie for longer (RFC 6265bis, section 5.5)
const maxAgeSeconds = 400 * 24 * 60 * 60

const lifetimeOf = (change: CookieChange, now: number) => {
  if (change._tag === "Clear") {
    // guard: cleared at once
    return { maxAge: Duration.zero, expires: new Date(0) }
  }
  if (change._tag === "Keep" || change.expiresAt._tag === "None") {
    return {}
  }
  const seconds = Math.min(maxAgeSeconds, Math.max(0, Math.ceil((change.expiresAt.value - now) / 1000)))
  return { maxAge: Duration.seconds(seconds), expires: new Date(now + seconds * 1000) }
}

const varied = (response: Response): Response =>
  HttpServerResponse.setHeader(response, "vary", varyOf(response.headers.vary))

const keptDirectives = new Set(["private", "no-cache", "no-transform", "must-revalidate", "proxy-revalidate"])

/** `no-store`, and those of the app's directives that do not contradict it. */
const uncachedOf = (response: Response): string => {
  const directives = (response.headers["cache-control"] ?? "").match(/(?:"[^"]*"|[^,"])+/g) ?? []
  const kept = directives.map((one) => one.trim()).filter((one) =>
    keptDirectives.has(one.split("=")[0]!.trim().toLowerCase())
  )
  return ["no-store", ...kept].join(", ")
}

const varyOf = (vary: string | undefined): string => {
  if (vary === undefined || vary.trim() === "") {
    return "Cookie"
  }
  const names = vary.toLowerCase().split(",").map((name) => name.trim())
  // guard: Vary is merged
  return names.includes("*") || names.includes("cookie") ? vary : `${vary}, Cookie`
}
