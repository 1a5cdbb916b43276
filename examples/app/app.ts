/** The site and the API under one roof, and what is answered when something fails. */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { causeOf, type SessionError, SessionHttp } from "effect-session"
import * as Effect from "effect/Effect"
import { api } from "./api.js"
import { problem } from "./layout.js"
import { sameOrigin } from "./origin.js"
import { AppSession } from "./session.js"
import { site } from "./site.js"

export const app = (origin: URL | undefined) =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) => isApi(request.url) ? apiApp(origin) : siteApp(origin)
  )

const isApi = (url: string) => /^\/api(?![^/?])/.test(url)

/** A session's errors, and what nobody foresaw, are caught outside of it: it then stores nothing of that request. */
const siteApp = (origin: URL | undefined) =>
  site.pipe(
    sameOrigin(origin),
    Effect.catchTags({
      Refused: ({ message, status }) => Effect.succeed(problem(status, "That did not work", message)),
      RouteNotFound: () => Effect.succeed(problem(404, "Not here", "There is no such page."))
    }),
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

const sessionProblem = (error: SessionError) => {
  switch (error.reason) {
    case "Gone":
      return problem(
        409,
        "Signed out meanwhile",
        "You signed out or in again somewhere else before this arrived. It was not kept."
      )
    case "Conflict":
      return problem(409, "Too many hands", "Something else changed this at the same moment. Please try again.")
    case "TooLarge":
      return problem(413, "Too much to keep", "There is no room for that. Please remove something first.")
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
