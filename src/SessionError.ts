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

const causes = new WeakMap<object, unknown>()

/** Where an error has its place in `causes`: inside of a span Effect hands out a proxy of it. */
const place = Symbol("effect-session/SessionError/place")

/**
 * Remembers why, out of the reach of schemas, JSON and `inspect` of fields: a
 * driver's text must not reach a client.
 */
const because = <A extends object>(error: A, cause: unknown): A => {
  if (cause === undefined) {
    return error
  }
  const key = {}
  causes.set(key, cause)
  return Object.defineProperty(error, place, { value: key })
}

/**
 * What led to a session's error (a `SessionStoreError`, a parse error, what an
 * updater threw), for logs and events. Never part of the response.
 *
 * @since 0.1.0
 * @category accessors
 */
export const causeOf = (error: SessionError): unknown => {
  const { [place]: key } = error as { readonly [place]?: object } // put there by `because`
  return key && causes.get(key)
}

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
 * - `HeadersSent`: the response is on its way, so no cookie can be set any more.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionFailure extends Schema.TaggedError<SessionFailure>("effect-session/SessionFailure")(
  "SessionError",
  { reason: Schema.Literal("Corrupt", "Unsupported", "Encode", "Updater", "HeadersSent") },
  HttpApiSchema.annotations({ status: 500, description: "The session cannot be used" })
) {
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
        return "The response is on its way: a session can no longer be created or given a new id"
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

/**
 * The HTTP status of an error.
 *
 * @since 0.1.0
 * @category accessors
 */
export const statusOf = (error: SessionError): number =>
  HttpApiSchema.getStatusErrorAST((error.constructor as typeof SessionConflict).ast)

/**
 * The response an error turns into, the same in every entry style: its status
 * and exactly the encoded error as JSON.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toResponse = (error: SessionError): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(encode(error), {
    status: statusOf(error),
    ...(statusOf(error) === 503 ? { headers: { "retry-after": retryAfter } } : {})
  })

/**
 * The `Retry-After` of every 503, in seconds.
 *
 * @internal
 */
export const retryAfter = "5"

const decode = Schema.decodeUnknownOption(Schema.parseJson(SessionError))
const statuses = new Set([503, 409, 413, 500])
const maxErrorBytes = 200

/**
 * Whether a response is what a session's error turned into, by `toResponse` or
 * by an HttpApi that encodes its errors itself.
 *
 * @internal
 */
export const isErrorResponse = ({ body, status }: HttpServerResponse.HttpServerResponse): boolean =>
  statuses.has(status) && body._tag === "Uint8Array" && body.contentLength <= maxErrorBytes &&
  decode(new TextDecoder().decode(body.body))._tag === "Some"

/**
 * Whether a value is one of the four errors.
 *
 * @since 0.1.0
 * @category guards
 */
export const isSessionError: (u: unknown) => u is SessionError = Schema.is(SessionError)

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
