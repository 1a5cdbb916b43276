/**
 * Logs what only a programmer can mend: where it is wrong, and no value.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { SessionId } from "../../schema/SessionId.js"
import * as SessionError from "../../SessionError.js"
import type { Settings } from "./Settings.js"

const reported: ReadonlySet<SessionError.SessionError["reason"]> = new Set(["Encode", "Corrupt", "Unsupported"])

/** Fails with `error`, and logs why when it is not the store's or another request's doing. */
export const failReported = <A>(
  settings: Settings<A>,
  id: SessionId | undefined,
  error: SessionError.SessionError
): Effect.Effect<never, SessionError.SessionError> =>
  reported.has(error.reason)
    ? Effect.zipRight(reportFailure(settings, id, error), Effect.fail(error))
    : Effect.fail(error)

/** Logs a failure by tag, path and kind of value. */
export const reportFailure = <A>(
  { payload }: Settings<A>,
  id: SessionId | undefined,
  error: SessionError.SessionError,
  consequence = ""
): Effect.Effect<void> => {
  const what = error.reason === "Encode" ? `nothing was stored: ${error.message}` : error.message
  const why = payload.describe(SessionError.causeOf(error))
  const line = Effect.logWarning(`Session: ${what}${why}${consequence}`)
  return id === undefined ? line : Effect.annotateLogs(line, "session.ref", id.ref)
}
