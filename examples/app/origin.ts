/**
 * A page of another site can make a browser post here, with this site's cookie
 * (SameSite=Lax stops most of that, but not a subdomain of ours). Browsers say
 * where a POST comes from; what says nothing is no browser and brings no
 * cookie that its user did not give it.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import { Refused } from "./refused.js"

/** Refuses a POST that another origin caused. `origin`: our own, by default the one asked for. */
export const sameOrigin = (origin: URL | undefined) => <A, E, R>(app: Effect.Effect<A, E, R>) =>
  Effect.zipRight(
    Effect.filterOrFail(
      HttpServerRequest.HttpServerRequest,
      ({ headers, method }) => method !== "POST" || !isForeign(headers, origin?.host ?? headers.host),
      () => new Refused({ status: 403, message: "This request comes from another site." })
    ),
    app
  )

const isForeign = (headers: Readonly<Record<string, string | undefined>>, host: string | undefined): boolean => {
  const site = headers["sec-fetch-site"]
  if (site !== undefined) return site !== "same-origin" && site !== "none"
  const { origin } = headers
  return origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host)
}
