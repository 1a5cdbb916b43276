/** The API on a session that a Flask app shares. The pages belong to the native session, and are left out. */
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import { SessionHttp } from "effect-session"
import * as Effect from "effect/Effect"
import { report, sayWrong } from "../app.js"
import { sameOrigin } from "../origin.js"
import { api } from "./api.js"
import { FlaskSession } from "./session.js"

export const flaskApp = (origin: URL | undefined) =>
  api.pipe(
    sameOrigin(origin),
    Effect.catchTags({
      Refused: ({ message, status }) => Effect.succeed(sayWrong(status, message)),
      RouteNotFound: ({ request }) => Effect.succeed(sayWrong(404, `There is no ${request.method} ${request.url}.`))
    }),
    SessionHttp.middleware(FlaskSession),
    Effect.catchTag("SessionError", (error) => Effect.zipRight(report(error), HttpServerRespondable.toResponse(error))),
    Effect.catchAllDefect((defect) =>
      Effect.as(Effect.logError("Unexpected", defect), sayWrong(500, "Something went wrong here."))
    )
  )
