/** A client's text never makes a 500: whatever it is, the session keeps it exactly. */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { expect, it } from "@effect/vitest"
import { PayloadCodec, Session, SessionHttp } from "effect-session"
import * as Memory from "effect-session/layers/Memory"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

class App extends Session.Tag<App>()("app/App", {
  notes: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), { default: () => ({}) })
}) {}

for (const codec of [PayloadCodec.msgpack(), PayloadCodec.json()]) {
  it.scoped(`keeps text and keys that are not well-formed, and odd keys, with ${codec.traits!.name}`, () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(App.layer({ codec }).pipe(Layer.provide(Memory.layer())))
      const handler = Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const session = yield* App
        if (request.method === "POST") {
          const notes = (yield* Effect.orDie(request.json)) as Record<string, string>
          yield* session.update((s) => ({ ...s, notes }))
        }
        return HttpServerResponse.text(JSON.stringify(yield* session.get("notes")))
      })
      const send = HttpApp.toWebHandler(handler.pipe(SessionHttp.middleware(App), Effect.provide(context)))
      for (
        const body of [
          "{\"a\":\"\\ud800\"}",
          "{\"\\udc00\":\"b\\udfff\"}",
          "{\"__proto__\":\"x\"}",
          "{\"constructor\":\"x\",\"toJSON\":\"y\"}"
        ]
      ) {
        const written = yield* Effect.promise(() => send(new Request("http://localhost/", { method: "POST", body })))
        expect(written.status).toBe(200)
        const cookie = written.headers.getSetCookie()[0]!.split(";")[0]!
        const read = yield* Effect.promise(() => send(new Request("http://localhost/", { headers: { cookie } })))
        expect(yield* Effect.promise(() => read.text())).toBe(body)
      }
    }))
}
