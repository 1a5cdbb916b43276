/** HttpApi: the errors as its clients and OpenAPI know them. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpServer from "@effect/platform/HttpServer"
import * as OpenApi from "@effect/platform/OpenApi"
import {
  Session,
  SessionConflict,
  SessionError,
  SessionFailure,
  SessionHttp,
  SessionTooLarge,
  SessionUnavailable
} from "effect-session"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import { AppSession, Probe } from "./app.js"

class Sessions extends HttpApiMiddleware.Tag<Sessions>()("test/api/Sessions", {
  provides: AppSession,
  failure: SessionError,
  security: { session: SessionHttp.security() }
}) {}

const errors = [
  new SessionUnavailable({ reason: "Unavailable", applied: "no" }),
  new SessionUnavailable({ reason: "Timeout", applied: "unknown" }),
  new SessionConflict({ reason: "Conflict" }),
  new SessionConflict({ reason: "Gone" }),
  new SessionTooLarge({ reason: "TooLarge", limit: 10, actual: 11 }),
  new SessionFailure({ reason: "Corrupt" }),
  new SessionFailure({ reason: "Updater" })
]

const api = HttpApi.make("api").add(
  HttpApiGroup.make("all")
    .add(HttpApiEndpoint.post("count", "/count").addSuccess(Schema.Number))
    .add(HttpApiEndpoint.post("logout", "/logout"))
    .add(HttpApiEndpoint.post("fail", "/fail").setUrlParams(Schema.Struct({ error: Schema.NumberFromString })))
    .middleware(Sessions)
)

const serve = (probe: Probe) => {
  const group = HttpApiBuilder.group(api, "all", (all) =>
    all
      .handle("count", () =>
        Effect.gen(function*() {
          const session = yield* AppSession
          yield* session.update((value) => ({ ...value, n: value.n + 1 }))
          return yield* session.get("n")
        }))
      .handle("logout", () =>
        Effect.flatMap(Session, (session) => session.destroy).pipe(Effect.provideServiceEffect(Session, AppSession)))
      .handle("fail", ({ urlParams }) =>
        Effect.fail(errors[urlParams.error]!)))
  const layer = HttpApiBuilder.api(api).pipe(
    Layer.provide(group),
    Layer.provide(SessionHttp.layerApi(Sessions, AppSession)),
    Layer.provide(AppSession.layer()),
    Layer.provide(probe.layer),
    Layer.orDie
  )
  return HttpApiBuilder.toWebHandler(Layer.merge(layer, HttpServer.layerContext)).handler
}

/** `fetch` straight into the handler, with a jar for one cookie. */
const browserOf = (probe: Probe) => {
  const handler = serve(probe)
  let cookie = ""
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    if (cookie !== "") {
      request.headers.set("cookie", cookie)
    }
    const response = await handler(request)
    cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie
    return response
  }
  return Layer.merge(FetchHttpClient.layer, Layer.succeed(FetchHttpClient.Fetch, fetch))
}

const makeClient = HttpApiClient.make(api, { baseUrl: "http://localhost" })

describe("a client", () => {
  it.each(errors)("decodes $reason into its class, under one tag", (error) =>
    Effect.gen(function*() {
      const client = yield* makeClient
      const caught = yield* client.all.fail({ urlParams: { error: errors.indexOf(error) } }).pipe(
        Effect.catchTag("SessionError", (error: SessionError) => Effect.succeed(error))
      )
      expect(caught).toEqual(error)
      expect((caught as SessionError).constructor).toBe(error.constructor)
      expect((caught as SessionError).message).toBe(error.message)
    }).pipe(Effect.provide(browserOf(new Probe())), Effect.runPromise))

  it("catches a failed commit like any other session error", () => {
    const probe = new Probe()
    return Effect.gen(function*() {
      const { all } = yield* makeClient
      expect(yield* all.count()).toBe(1)
      probe.failing = { replace: "Rejected" }
      expect(yield* Effect.flip(all.count())).toEqual(new SessionUnavailable({ reason: "Rejected", applied: "no" }))
      probe.failing = { load: "Throttled" }
      expect(yield* Effect.flip(all.count())).toEqual(new SessionUnavailable({ reason: "Throttled", applied: "no" }))
      probe.failing = {}
      expect(yield* all.count()).toBe(2)
      yield* all.logout()
      expect(yield* all.count()).toBe(1)
    }).pipe(Effect.provide(browserOf(probe)), Effect.runPromise)
  })
})

describe("OpenAPI", () => {
  const spec = OpenApi.fromApi(api)
  const count = spec.paths["/count"]!.post!

  it("lists the four statuses, and no cause", () => {
    expect(Object.keys(count.responses).sort()).toEqual(["200", "400", "409", "413", "500", "503"])
    expect(JSON.stringify(spec)).not.toContain("\"cause\"")
    expect(count.responses["409"]?.description).toContain("changed or ended")
  })

  it("knows the cookie as a security scheme", () => {
    expect(spec.components.securitySchemes).toEqual({ session: { type: "apiKey", name: "__Host-id", in: "cookie" } })
    expect(count.security).toEqual([{ session: [] }])
  })
})

it("an optional middleware provides nothing, and breaks nothing", async () => {
  class Optional extends HttpApiMiddleware.Tag<Optional>()("test/api/Optional", {
    provides: AppSession,
    optional: true
  }) {}
  const api = HttpApi.make("api").add(
    HttpApiGroup.make("all").add(HttpApiEndpoint.get("new", "/").addSuccess(Schema.Boolean)).middleware(Optional)
  )
  const isNew = Effect.flatMap(
    Effect.serviceOption(AppSession),
    (session) => session._tag === "None" ? Effect.succeed(false) : Effect.orDie(session.value.isNew)
  )
  const layer = HttpApiBuilder.api(api).pipe(
    Layer.provide(HttpApiBuilder.group(api, "all", (all) => all.handle("new", () => isNew))),
    Layer.provide(SessionHttp.layerApi(Optional, AppSession)),
    Layer.provide(AppSession.layer()),
    Layer.provide(new Probe().layer),
    Layer.orDie
  )
  const { handler } = HttpApiBuilder.toWebHandler(Layer.merge(layer, HttpServer.layerContext))
  expect(await (await handler(new Request("http://localhost/"))).json()).toBe(true)
})
