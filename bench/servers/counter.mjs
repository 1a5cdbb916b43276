/** One counter in a session, over the store of SESSION_STORE, and what this process holds meanwhile. */
import { HttpRouter, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime, Metric, Schema } from "effect"
import { Session, SessionHttp } from "effect-session"
import * as SessionStoreUrl from "effect-session/layers/Url"
import * as http from "node:http"
import * as CountingStore from "../../dist/testing/CountingStore.js"
import { withoutTracer } from "../lib/effect.mjs"

class Counter extends Session.Tag()("bench/Counter", {
  n: Schema.optionalWith(Schema.Number, { default: () => 0 }),
  user: Schema.optional(Schema.String)
}) {}

const runtime = ManagedRuntime.make(
  Counter.layer({ cookie: { secure: false } }).pipe(
    Layer.provideMerge(CountingStore.layer),
    Layer.provide(SessionStoreUrl.layer(process.env.SESSION_STORE)),
    Layer.merge(Logger.minimumLogLevel(LogLevel.None))
  )
)

const json = HttpServerResponse.unsafeJson

const report = Effect.gen(function*() {
  const counts = yield* (yield* CountingStore.StoreCounts).counts
  const { count } = yield* Metric.value(Metric.fiberActive)
  globalThis.gc?.()
  return json({
    counts,
    fibers: Number(count),
    heap: process.memoryUsage().heapUsed / 1024 / 1024,
    sockets: process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length,
    timers: process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
  })
})

const sessions = HttpRouter.empty.pipe(
  HttpRouter.get("/value", Effect.flatMap(Counter, (session) => Effect.map(session.value, json))),
  HttpRouter.post("/increment", Effect.gen(function*() {
    const session = yield* Counter
    yield* session.update((value) => ({ ...value, n: value.n + 1 }))
    return json({})
  })),
  HttpRouter.post("/login", Effect.gen(function*() {
    const session = yield* Counter
    yield* session.set("user", "ada")
    yield* session.regenerate
    return json({})
  })),
  HttpRouter.post("/logout", Effect.gen(function*() {
    const session = yield* Counter
    yield* session.destroy
    return json({})
  })),
  HttpRouter.use(SessionHttp.middleware(Counter)),
  Effect.catchTag("SessionError", HttpServerRespondable.toResponse)
)

const app = Effect.flatMap(
  HttpServerRequest.HttpServerRequest,
  ({ url }) => url === "/report" ? report : sessions
).pipe(Effect.catchTag("RouteNotFound", () => HttpServerResponse.empty({ status: 404 })))

/** So many may come at once that the kernel's usual line is too short for them. */
export const start = async () => {
  const handler = await runtime.runPromise(withoutTracer(NodeHttpServer.makeHandler(app)))
  const server = http.createServer({ keepAliveTimeout: 60_000 }, handler)
  return new Promise((resolve) => server.listen(0, "127.0.0.1", 8192, () => resolve(server.address().port)))
}
