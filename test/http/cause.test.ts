/** The handler's end decides, and what replaces a response keeps its promises. */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { SessionError, SessionHttp } from "effect-session"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"
import { expect, it } from "vitest"
import { AppSession, Probe } from "./app.js"

const sessionsOf = (probe: Probe) => AppSession.layer().pipe(Layer.provide(probe.layer), Layer.orDie)
const add = Effect.flatMap(AppSession, (session) => session.update((s) => ({ ...s, n: s.n + 1 })))
const page = HttpServerResponse.unsafeJson({ sorry: true }, { status: 500 })
const request = () => new Request("http://localhost/")
const middleware = SessionHttp.middleware(AppSession)

class Plain extends HttpApiMiddleware.Tag<Plain>()("cause/Plain", { provides: AppSession, failure: SessionError }) {}
class Secure extends HttpApiMiddleware.Tag<Secure>()("cause/Secure", {
  provides: AppSession,
  failure: SessionError,
  security: { session: SessionHttp.security(), other: SessionHttp.security("other") }
}) {}

const apiOf = (
  tag: typeof Plain,
  probe: Probe,
  handler: Effect.Effect<void, SessionError, AppSession>,
  errorPage: boolean
) => {
  const api = HttpApi.make("api").add(
    HttpApiGroup.make("g").add(HttpApiEndpoint.get("one", "/").addSuccess(Schema.Void)).middleware(tag)
  )
  const group = HttpApiBuilder.group(api, "g", (h) => h.handle("one", () => handler))
  const around = errorPage
    ? HttpApiBuilder.middleware((app) => Effect.catchAllCause(app, () => Effect.succeed(page)))
    : Layer.empty
  return HttpApiBuilder.toWebHandler(
    Layer.mergeAll(HttpApiBuilder.api(api).pipe(Layer.provide(group)), around, HttpServer.layerContext).pipe(
      Layer.provide(SessionHttp.layerApi(tag, AppSession)),
      Layer.provide(sessionsOf(probe))
    )
  )
}

for (const [kind, tag] of [["plain", Plain], ["with security", Secure as unknown as typeof Plain]] as const) {
  it(`a handler that died behind an error page stores nothing, HttpApi ${kind}`, async () => {
    const probe = new Probe()
    const response = await apiOf(tag, probe, Effect.zipRight(add, Effect.die("bug")), true).handler(request())
    expect([response.status, probe.operations]).toEqual([500, []])
  })
}

it("a handler that died below nested middlewares with an error page between them stores nothing", async () => {
  const probe = new Probe()
  const inner = middleware(Effect.zipRight(add, Effect.die("bug")))
  const app = middleware(Effect.catchAllCause(inner, () => Effect.succeed(page)))
  const response = await HttpApp.toWebHandlerLayer(app, sessionsOf(probe)).handler(request())
  expect([response.status, probe.operations]).toEqual([500, []])
})

it("a failed commit destroys the raw body that it replaces", async () => {
  const probe = new Probe()
  probe.failing = { insert: "Throttled" }
  const file = Readable.from(["text"])
  const app = middleware(Effect.as(add, HttpServerResponse.raw(file)))
  const response = await HttpApp.toWebHandlerLayer(app, sessionsOf(probe)).handler(request())
  expect([response.status, response.headers.get("retry-after"), file.destroyed]).toEqual([503, "5", true])
})

it("a 503 that an HttpApi encodes has Retry-After", async () => {
  const probe = new Probe()
  probe.failing = { insert: "Throttled" }
  const save = Effect.zipRight(add, Effect.flatMap(AppSession, (session) => session.save))
  const response = await apiOf(Plain, probe, save, false).handler(request())
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"])
})

it("a streamed response varies when the session is first used in its body", async () => {
  const app = middleware(
    Effect.map(
      AppSession,
      (session) =>
        HttpServerResponse.stream(
          Stream.fromEffect(Effect.map(session.get("n"), (n) => new TextEncoder().encode(`${n}`)))
        )
    )
  )
  const response = await HttpApp.toWebHandlerLayer(app, sessionsOf(new Probe())).handler(request())
  expect([response.headers.get("vary"), await response.text()]).toEqual(["Cookie", "0"])
})

it("a new cookie keeps the Cache-Control directives that do not contradict no-store", async () => {
  const app = middleware(Effect.as(
    add,
    HttpServerResponse.empty({
      headers: { "cache-control": "public, max-age=60, no-transform, Private=\"a, max-age\"" }
    })
  ))
  const response = await HttpApp.toWebHandlerLayer(app, sessionsOf(new Probe())).handler(request())
  expect(response.headers.get("cache-control")).toBe("no-store, no-transform, Private=\"a, max-age\"")
})
