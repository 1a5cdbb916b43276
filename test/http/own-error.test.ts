import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Session, SessionConflict, SessionHttp } from "../../src/index.js"
import * as Memory from "../../src/layers/Memory.js"

class Counter extends Session.Tag<Counter>()("own-error/Counter", {
  count: Schema.optionalWith(Schema.Number, { default: () => 0 })
}) {}

const conflict = new SessionConflict({ reason: "Conflict" })
const count = Effect.flatMap(Counter, (session) => session.update((s) => ({ count: s.count + 1 })))
const handlers = {
  "a failure": Effect.zipRight(count, Effect.fail(conflict)),
  "a defect": Effect.zipRight(count, Effect.die(conflict))
}
const middleware = SessionHttp.middleware(Counter)

for (const [kind, handler] of Object.entries(handlers)) {
  for (const place of ["around the app", "of the server"]) {
    it.scoped(`a session's own error as ${kind}, the middleware ${place}: 409, and nothing is stored`, () =>
      Effect.gen(function*() {
        const manager = yield* Counter.Manager
        const cookie = Redacted.value(yield* manager.issue({ count: 1 }))
        const runtime = yield* Effect.runtime<Session.Manager<Counter>>()
        const app = Effect.as(handler, HttpServerResponse.empty())
        const handle = place === "around the app"
          ? HttpApp.toWebHandlerRuntime(runtime)(middleware(app))
          : HttpApp.toWebHandlerRuntime(runtime)(app as never, middleware as never) // HttpMiddleware knows no tags
        const request = new Request("http://localhost/", { headers: { cookie: `${manager.cookie.name}=${cookie}` } })
        const response = yield* Effect.promise(() => handle(request))
        expect(response.status).toBe(409)
        expect(yield* Effect.promise(() => response.json())).toEqual({ _tag: "SessionError", reason: "Conflict" })
        expect((yield* manager.open(cookie).handle.value).count).toBe(1)
      }).pipe(Effect.provide(Counter.layer().pipe(Layer.provide(Memory.layer())))))
  }
}
