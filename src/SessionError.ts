/**
 * The errors of a session and the responses they turn into.
 *
 * @since 0.1.0
 */

import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SessionStoreError } from "./SessionStore.js"

const origins = new WeakMap<object, { readonly cause: unknown }>()

/** Where an error has its key in `origins`: inside of a span Effect hands out a proxy of the error. */
const originKey = Symbol("effect-session/SessionError/origin")

/** Marks an error as made by this app. One that a client has decoded is another service's. */
const mark = (error: object, options: Schema.MakeOptions | undefined): void => {
  if (options !== true) { // Schema decodes without validating again
    Object.defineProperty(error, originKey, { value: {} })
  }
}

/**
 * Remembers why an error came about, out of the reach of schemas, JSON and
 * `inspect` of fields: a driver's text must not reach a client.
 */
const because = <A extends object>(error: A, cause: unknown): A => {
  origins.set(keyOf(error)!, { cause })
  return error
}

const keyOf = (error: unknown): object | undefined => ((error ?? {}) as { readonly [originKey]?: object })[originKey] // put there by `mark`

/**
 * What led to a session's error (a `SessionStoreError`, a parse error, what an
 * updater threw), for logs and events. Never part of the response.
 *
 * @since 0.1.0
 * @category accessors
 */
export const causeOf = (error: SessionError): unknown => {
  const key = keyOf(error)
  return key && origins.get(key)?.cause
}

/**
 * Whether this app has made the error: one of its sessions, or a handler. An
 * error that a client of another service has decoded looks the same and is
 * none of ours.
 *
 * @internal
 */
export const isOwn = (u: unknown): u is SessionError => isInstance(u) && keyOf(u) !== undefined

/**
 * The store could not be asked, 503. The session itself is as it was, and the
 * cookie is left alone: an outage logs nobody out.
 *
 * `applied` is `"unknown"` when a write may have been done and could not be
 * found out; everything else is `"no"`, and safe to send again.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionUnavailable extends Schema.TaggedError<SessionUnavailable>("effect-session/SessionUnavailable")(
  "SessionError",
  {
    reason: Schema.Literal("Unavailable", "Timeout", "Throttled", "Rejected"),
    applied: Schema.Literal("no", "unknown")
  },
  HttpApiSchema.annotations({ status: 503, description: "The session store cannot be reached" })
) {
  constructor(
    props: {
      readonly reason: "Unavailable" | "Timeout" | "Throttled" | "Rejected"
      readonly applied: "no" | "unknown"
    },
    options?: Schema.MakeOptions
  ) {
    super(props, options)
    mark(this, options)
  }
  override get message(): string {
    return this.applied === "no"
      ? `The session store cannot be used now (${this.reason}); nothing was changed`
      : `The session store did not answer (${this.reason}); whether the change was stored is unknown`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.succeed(toResponse(this))
  }
}

/**
 * Somebody else was faster, 409. Nothing of the failed commit is stored.
 *
 * - `Conflict`: what the request had read was changed meanwhile, or the retries
 *   were used up. Sending the request again is safe.
 * - `Gone`: the session ended meanwhile (logout, a new login, expiry). The
 *   response carries no session cookie.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionConflict extends Schema.TaggedError<SessionConflict>("effect-session/SessionConflict")(
  "SessionError",
  { reason: Schema.Literal("Conflict", "Gone") },
  HttpApiSchema.annotations({ status: 409, description: "The session was changed or ended by another request" })
) {
  constructor(props: { readonly reason: "Conflict" | "Gone" }, options?: Schema.MakeOptions) {
    super(props, options)
    mark(this, options)
  }
  override get message(): string {
    return this.reason === "Conflict"
      ? "The session was changed by another request; nothing of this one is stored"
      : "The session has ended; nothing of this request is stored"
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.succeed(toResponse(this))
  }
}

/**
 * The session would be larger than the limit, 413; sizes in bytes. `actual` is
 * a lower bound when the value has too many nodes to be encoded at all. What
 * was stored before is intact.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionTooLarge extends Schema.TaggedError<SessionTooLarge>("effect-session/SessionTooLarge")(
  "SessionError",
  { reason: Schema.Literal("TooLarge"), limit: Schema.Number, actual: Schema.Number },
  HttpApiSchema.annotations({ status: 413, description: "The session is too large" })
) {
  constructor(
    props: { readonly reason: "TooLarge"; readonly limit: number; readonly actual: number },
    options?: Schema.MakeOptions
  ) {
    super(props, options)
    mark(this, options)
  }
  override get message(): string {
    return `The session would take ${this.actual} bytes, the limit is ${this.limit}`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.succeed(toResponse(this))
  }
}

/**
 * What only a programmer or an operator can mend, 500.
 *
 * - `Corrupt`: what is stored cannot be decoded.
 * - `Unsupported`: it was written by a newer version of this library.
 * - `Encode`: the value does not fit its schema, or the codec.
 * - `Updater`: an updater threw when it was run again on a fresh value.
 * - `HeadersSent`: the response is on its way, so no cookie can be set any more,
 *   and no `Vary` for a session that was not used before.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionFailure extends Schema.TaggedError<SessionFailure>("effect-session/SessionFailure")(
  "SessionError",
  { reason: Schema.Literal("Corrupt", "Unsupported", "Encode", "Updater", "HeadersSent") },
  HttpApiSchema.annotations({ status: 500, description: "The session cannot be used" })
) {
  constructor(
    props: { readonly reason: "Corrupt" | "Unsupported" | "Encode" | "Updater" | "HeadersSent" },
    options?: Schema.MakeOptions
  ) {
    super(props, options)
    mark(this, options)
  }
  override get message(): string {
    switch (this.reason) {
      case "Corrupt":
        return "What is stored for this session cannot be decoded"
      case "Unsupported":
        return "This session was written by a newer version of effect-session"
      case "Encode":
        return "The session's value cannot be encoded"
      case "Updater":
        return "An updater threw when it was run again on a fresh value"
      case "HeadersSent":
        return "The response is on its way: a session can no longer be created, given a new id, or used for the first time"
    }
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.succeed(toResponse(this))
  }
}

/**
 * Everything a session can fail with: four classes, one `_tag`, so that one
 * `Effect.catchTag("SessionError", …)` catches all.
 *
 * @since 0.1.0
 * @category errors
 */
export type SessionError = SessionUnavailable | SessionConflict | SessionTooLarge | SessionFailure

/**
 * The schema of every session error, for the `failure` of an HttpApi
 * middleware and for clients.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionError: Schema.Union<[
  typeof SessionUnavailable,
  typeof SessionConflict,
  typeof SessionTooLarge,
  typeof SessionFailure
]> = Schema.Union(SessionUnavailable, SessionConflict, SessionTooLarge, SessionFailure)

const encode = Schema.encodeSync(SessionError)

const statuses: Readonly<Record<SessionError["reason"], number>> = {
  Unavailable: 503,
  Timeout: 503,
  Throttled: 503,
  Rejected: 503,
  Conflict: 409,
  Gone: 409,
  TooLarge: 413,
  Corrupt: 500,
  Unsupported: 500,
  Encode: 500,
  Updater: 500,
  HeadersSent: 500
}

/**
 * The HTTP status of an error.
 *
 * @since 0.1.0
 * @category accessors
 */
export const statusOf = (error: SessionError): number => statuses[error.reason]

/**
 * Seconds that every 503 asks a client to wait, as the header `Retry-After`.
 *
 * @internal
 */
export const retryAfter = "5"

/**
 * The response an error turns into, the same in every entry style: its status
 * and exactly the encoded error as JSON, with `Retry-After` for a 503.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toResponse = (error: SessionError): HttpServerResponse.HttpServerResponse => {
  const status = statusOf(error)
  const response = HttpServerResponse.unsafeJson(encode(error), { status })
  return status === 503 ? HttpServerResponse.setHeader(response, "retry-after", retryAfter) : response
}

/**
 * Whether a value is one of the four errors.
 *
 * @since 0.1.0
 * @category guards
 */
export const isSessionError: (u: unknown) => u is SessionError = Schema.is(SessionError)

/**
 * Whether a value is an instance of the four classes.
 *
 * @internal
 */
export const isInstance = (u: unknown): u is SessionError =>
  u instanceof SessionUnavailable || u instanceof SessionConflict || u instanceof SessionTooLarge ||
  u instanceof SessionFailure

/**
 * What a failed store operation means for the session.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromStore = (error: SessionStoreError): SessionError => {
  switch (error.reason) {
    case "TooLarge":
      return because(
        new SessionTooLarge({ reason: "TooLarge", limit: error.limit ?? 0, actual: error.actual ?? 0 }),
        error
      )
    case "Corrupt":
      return because(new SessionFailure({ reason: "Corrupt" }), error)
    default:
      return because(new SessionUnavailable({ reason: error.reason, applied: "no" }), error)
  }
}

/**
 * A write got no answer, and whether it was applied could not be found out.
 *
 * @internal
 */
export const unknown = (error: SessionStoreError): SessionUnavailable =>
  because(new SessionUnavailable({ reason: "Timeout", applied: "unknown" }), error)

/** @internal */
export const failure = (reason: SessionFailure["reason"], cause?: unknown): SessionFailure =>
  because(new SessionFailure({ reason }), cause)

/** @internal */
export const conflict = (reason: SessionConflict["reason"]): SessionConflict => new SessionConflict({ reason })

/** @internal */
export const tooLarge = (limit: number, actual: number): SessionTooLarge =>
  new SessionTooLarge({ reason: "TooLarge", limit, actual })
