import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, ManagedRuntime } from "effect"
import { withoutTracer } from "../lib/effect.mjs"
import { listen } from "../lib/listen.mjs"
import { payload, payloadName } from "../lib/payload.mjs"
import { layer, Login, Shop, withSession } from "../lib/session.mjs"

const Tag = payloadName === "shop" ? Shop : Login

const runtime = ManagedRuntime.make(layer(Tag))

const serve = async (app) => listen(await runtime.runPromise(withoutTracer(NodeHttpServer.makeHandler(app))))

const bare = () => {
  let count = 0
  return HttpRouter.empty.pipe(
    HttpRouter.get("/", Effect.sync(() => HttpServerResponse.unsafeJson({ count: ++count })))
  )
}

const withSessions = () =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/login", Effect.gen(function*() {
      const session = yield* Tag
      yield* session.update(() => payload)
      return HttpServerResponse.unsafeJson({})
    })),
    HttpRouter.get("/", Effect.gen(function*() {
      const session = yield* Tag
      yield* session.update((state) => ({ ...state, count: state.count + 1 }))
      return HttpServerResponse.unsafeJson({ count: yield* session.get("count") })
    })),
    HttpRouter.use(withSession(Tag))
  )

export const start = async () => ({
  bare: await serve(bare()),
  session: await serve(withSessions())
})
