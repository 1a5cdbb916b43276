/** The site and the API under one roof, and what is answered when something fails. */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { causeOf, SessionConflict, type SessionError, SessionHttp, SessionTooLarge } from "effect-session"
import * as Effect from "effect/Effect"
import { api } from "./api.js"
import { problem, type Visitor } from "./layout.js"
import { sameOrigin } from "./origin.js"
import { AppSession } from "./session.js"
import { site } from "./site.js"

export const app = (origin: URL | undefined) =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) => isApi(request.url) ? apiApp(origin) : siteApp(origin)
  )

const isApi = (url: string) => /^\/api(?![^/?])/.test(url)

/** What this request sees of its visitor, for the frame of a page that says what went wrong. */
const visitor = Effect.flatMap(AppSession, (session) => session.value).pipe(
  Effect.orElseSucceed(() => undefined)
)

const problemFor = (status: number, title: string, text: string) =>
  Effect.map(visitor, (visitor) => problem(status, title, text, visitor))

/** A page of our own in the place of the error: drops first what was not kept. */
const sessionProblemFor = (error: SessionConflict | SessionTooLarge) =>
  Effect.flatMap(AppSession, (session) => Effect.ignore(session.reload)).pipe(
    Effect.zipRight(visitor),
    Effect.map((visitor) => sessionProblem(error, visitor))
  )

/** Errors of the store, and what nobody foresaw, are caught outside of the session: it then stores nothing of that request. */
const siteApp = (origin: URL | undefined) =>
  site.pipe(
    sameOrigin(origin),
    Effect.catchTags({
      Refused: ({ message, status }) => problemFor(status, "That did not work", message),
      RouteNotFound: () => problemFor(404, "Not here", "There is no such page.")
    }),
    Effect.catchIf(isRefusedCommit, sessionProblemFor),
    SessionHttp.middleware(AppSession),
    Effect.catchTag("SessionError", (error) => Effect.as(report(error), sessionProblem(error))),
    Effect.catchAllDefect((defect) =>
      Effect.as(
        Effect.logError("Unexpected", defect),
        problem(500, "Our fault", "Something went wrong here. It is noted.")
      )
    )
  )

const apiApp = (origin: URL | undefined) =>
  api.pipe(
    sameOrigin(origin),
    Effect.catchTags({
      Refused: ({ message, status }) => Effect.succeed(sayWrong(status, message)),
      RouteNotFound: ({ request }) => Effect.succeed(sayWrong(404, `There is no ${request.method} ${request.url}.`))
    }),
    SessionHttp.middleware(AppSession),
    Effect.catchTag("SessionError", (error) => Effect.zipRight(report(error), HttpServerRespondable.toResponse(error))),
    Effect.catchAllDefect((defect) =>
      Effect.as(Effect.logError("Unexpected", defect), sayWrong(500, "Something went wrong here."))
    )
  )

export const sayWrong = (status: number, error: string) => HttpServerResponse.unsafeJson({ error }, { status })

export const report = (error: SessionError) =>
  error.reason === "Conflict" || error.reason === "Gone" || error.reason === "TooLarge"
    ? Effect.void
    : Effect.logError(error.message, causeOf(error))

const isRefusedCommit = (error: unknown): error is SessionConflict | SessionTooLarge =>
  error instanceof SessionConflict || error instanceof SessionTooLarge

const sessionProblem = (error: SessionError, visitor?: Visitor) => {
  switch (error.reason) {
    case "Gone":
      return problem(
        409,
        "Signed out meanwhile",
        "You signed out or in again somewhere else before this arrived. It was not kept.",
        visitor
      )
    case "Conflict":
      return problem(
        409,
        "Too many hands",
        "Something else changed this at the same moment. Please try again.",
        visitor
      )
    case "TooLarge":
      return problem(413, "Too much to keep", "There is no room for that. Please remove something first.", visitor)
    case "Unavailable":
    case "Timeout":
    case "Throttled":
    case "Rejected":
      return HttpServerResponse.setHeader(
        problem(
          503,
          "One moment, please",
          "We cannot reach what we remember of you. It is safe; please try again in a moment."
        ),
        "retry-after",
        "5"
      )
    default:
      return problem(500, "Our fault", "We cannot read what we remember of you. It is noted.")
  }
}
