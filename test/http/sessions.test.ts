/** More than one session, more than one app, more than one user. */
import { NodeHttpServer } from "@effect/platform-node"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Session, SessionError, SessionHttp } from "effect-session"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import * as http from "node:http"
import { describe, expect, it } from "vitest"
import { AppSession, handlers, Probe } from "./app.js"

class AdminSession extends Session.Tag<AdminSession>()("test/AdminSession", {
  admin: Schema.optional(Schema.String)
}) {}

/** Collects what is logged, so that a defect can be told by its message. */
const collectLogs = () => {
  const logs: Array<string> = []
  const logger = Logger.make(({ cause, message }) => {
    logs.push(`${String(message)} ${String(cause)}`)
  })
  const layer = Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All))
  return { logs, layer }
}

const sessionsOf = (store = new Probe().layer, adminCookie = "__Host-admin") =>
  Layer.mergeAll(
    AppSession.layer(),
    AdminSession.layer({ cookie: { name: adminCookie } })
  ).pipe(Layer.provide(store), Layer.orDie)

const webOf = <E>(
  app: HttpApp.Default<E, Session.Manager<AppSession> | Session.Manager<AdminSession>>,
  sessions = sessionsOf()
) => HttpApp.toWebHandlerLayer(app, sessions).handler

const request = (cookie?: string, path = "/") =>
  new Request(`http://localhost${path}`, cookie === undefined ? {} : { headers: { cookie } })

const cookiesOf = (response: Response) => response.headers.getSetCookie().map((line) => line.split(";")[0]!)

const both = Effect.gen(function*() {
  const user = yield* AppSession
  const admin = yield* AdminSession
  yield* user.update((value) => ({ ...value, n: value.n + 1 }))
  yield* admin.set("admin", "root")
  return HttpServerResponse.text(String(yield* user.get("n")))
})

const readBoth = Effect.gen(function*() {
  const user = yield* AppSession
  const admin = yield* AdminSession
  return HttpServerResponse.unsafeJson([yield* user.get("n"), (yield* admin.get("admin")) ?? null])
})

describe("two sessions of one app", () => {
  it("each has its cookie and its record; the second one leaves Session to the first", async () => {
    const probe = new Probe()
    const sessions = sessionsOf(probe.layer)
    const middleware = <E, R>(app: HttpApp.Default<E, R>) =>
      app.pipe(SessionHttp.middleware(AdminSession, { provideSession: false }), SessionHttp.middleware(AppSession))
    const written = await webOf(middleware(both), sessions)(request())
    expect(written.status).toBe(200)
    expect(cookiesOf(written).map((cookie) => cookie.split("=")[0]).sort()).toEqual(["__Host-admin", "__Host-id"])
    expect(probe.operations).toEqual(["insert", "insert"])

    const agnostic = Effect.gen(function*() {
      yield* (yield* AppSession).value
      yield* (yield* Session).destroy
      return yield* readBoth
    })
    const store = new Probe()
    const shared = sessionsOf(store.layer)
    const first = webOf(
      middleware(Effect.if(
        Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => url === "/out"),
        { onTrue: () => agnostic, onFalse: () => both }
      )),
      shared
    )
    const cookies = cookiesOf(await first(request())).join("; ")
    expect(await (await first(request(cookies, "/out"))).json()).toEqual([0, "root"])
  })

  it("one's cookie value opens nothing of the other", async () => {
    const send = webOf(
      Effect.if(Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => url === "/read"), {
        onTrue: () => readBoth,
        onFalse: () => both
      }).pipe(SessionHttp.middleware(AdminSession, { provideSession: false }), SessionHttp.middleware(AppSession))
    )
    const values = Object.fromEntries(cookiesOf(await send(request())).map((cookie) => cookie.split("=")))
    const swapped = `__Host-id=${values["__Host-admin"]}; __Host-admin=${values["__Host-id"]}`
    expect(await (await send(request(swapped, "/read"))).json()).toEqual([0, null])
  })

  it("both as Session is a defect that says what to do", async () => {
    const { layer, logs } = collectLogs()
    const app = both.pipe(SessionHttp.middleware(AdminSession), SessionHttp.middleware(AppSession))
    const response = await webOf(app, Layer.provideMerge(sessionsOf(), layer))(request())
    expect([response.status, await response.text()]).toEqual([500, ""])
    expect(logs.join()).toContain("{ provideSession: false }")
    expect(response.headers.getSetCookie()).toEqual([])
  })

  it("both as Session is found out when one of them was attached without it before", async () => {
    const app = both.pipe(
      SessionHttp.middleware(AdminSession),
      SessionHttp.middleware(AppSession),
      SessionHttp.middleware(AppSession, { provideSession: false })
    )
    expect((await webOf(app)(request())).status).toBe(500)
  })

  it("one cookie name for both is a defect, whoever is Session", async () => {
    const { layer, logs } = collectLogs()
    const app = both.pipe(
      SessionHttp.middleware(AdminSession, { provideSession: false }),
      SessionHttp.middleware(AppSession)
    )
    const sessions = Layer.provideMerge(sessionsOf(undefined, "__Host-id"), layer)
    const response = await webOf(app, sessions)(request())
    expect([response.status, await response.text()]).toEqual([500, ""])
    expect(logs.join()).toContain("cookie.name")
  })

  it("in HttpLayerRouter too", async () => {
    const app = (agnostic: boolean) =>
      HttpLayerRouter.add("GET", "/", both).pipe(
        Layer.provide(
          (agnostic
            ? SessionHttp.routerMiddleware(AdminSession)
            : SessionHttp.routerMiddleware(AdminSession, { provideSession: false })).combine(
              SessionHttp.routerMiddleware(AppSession)
            )
            .layer
        ),
        Layer.provide(sessionsOf())
      )
    const good = await HttpLayerRouter.toWebHandler(app(false), { disableLogger: true }).handler(request())
    expect([good.status, cookiesOf(good).length]).toEqual([200, 2])
    const bad = await HttpLayerRouter.toWebHandler(app(true), { disableLogger: true }).handler(request())
    expect([bad.status, cookiesOf(bad).length]).toEqual([500, 0])
  })

  it("in HttpApi, where each middleware provides its own", async () => {
    class User extends HttpApiMiddleware.Tag<User>()("test/User", { provides: AppSession, failure: SessionError }) {}
    class Admin extends HttpApiMiddleware.Tag<Admin>()("test/Admin", {
      provides: AdminSession,
      failure: SessionError,
      security: { admin: SessionHttp.security("__Host-admin") }
    }) {}
    const api = HttpApi.make("api").add(
      HttpApiGroup.make("all").add(HttpApiEndpoint.get("both", "/").addSuccess(Schema.Void)).middleware(User)
        .middleware(Admin)
    )
    const layer = HttpApiBuilder.api(api).pipe(
      Layer.provide(HttpApiBuilder.group(api, "all", (all) => all.handle("both", () => Effect.asVoid(both)))),
      Layer.provide([SessionHttp.layerApi(User, AppSession), SessionHttp.layerApi(Admin, AdminSession)]),
      Layer.provide(sessionsOf())
    )
    const { handler } = HttpApiBuilder.toWebHandler(Layer.merge(layer, HttpServer.layerContext))
    const response = await handler(request())
    expect([response.status, cookiesOf(response).length]).toEqual([204, 2])
  })
})

describe("one session, attached twice", () => {
  it("is one handle, one commit and one cookie", async () => {
    const probe = new Probe()
    const nested = Effect.zipRight(handlers.write, SessionHttp.middleware(AppSession)(handlers.write)).pipe(
      SessionHttp.middleware(AppSession)
    )
    const send = webOf(nested, sessionsOf(probe.layer))
    const response = await send(request())
    expect(cookiesOf(response)).toHaveLength(1)
    expect(probe.operations).toEqual(["insert"])

    const router = HttpRouter.empty.pipe(
      HttpRouter.get("/", handlers.read),
      HttpRouter.use(SessionHttp.middleware(AppSession))
    )
    const read = webOf(SessionHttp.middleware(AppSession)(router), sessionsOf(probe.layer))
    expect(await (await read(request())).text()).toBe("0")
  })

  it("survives request.modify, as mounted routers do it", async () => {
    const probe = new Probe()
    const inner = HttpRouter.empty.pipe(
      HttpRouter.get("/write", handlers.write),
      HttpRouter.use(SessionHttp.middleware(AppSession))
    )
    const app = HttpRouter.empty.pipe(
      HttpRouter.mount("/inner", inner),
      HttpRouter.use(SessionHttp.middleware(AppSession))
    )
    const response = await webOf(app, sessionsOf(probe.layer))(request(undefined, "/inner/write"))
    expect([response.status, cookiesOf(response).length]).toEqual([200, 1])
    expect(probe.operations).toEqual(["insert"])
  })
})

describe("one Request object, handled twice", () => {
  it("is two requests for one app", async () => {
    const probe = new Probe()
    const send = webOf(SessionHttp.middleware(AppSession)(handlers.write), sessionsOf(probe.layer))
    const twice = request()
    expect(cookiesOf(await send(twice))).toHaveLength(1)
    expect(cookiesOf(await send(twice))).toHaveLength(1)
    expect(probe.operations).toEqual(["insert", "insert"])
  })

  it("may fall through from one app to the next", async () => {
    const first = webOf(SessionHttp.middleware(AppSession)(handlers.read))
    const second = webOf(SessionHttp.middleware(AppSession)(handlers.write))
    const once = request()
    expect((await first(once)).status).toBe(200)
    const response = await second(once)
    expect([response.status, cookiesOf(response).length]).toEqual([200, 1])
  })

  it("a request made within a request has a session of its own", async () => {
    const probe = new Probe()
    const inner = SessionHttp.middleware(AppSession)(handlers.read)
    const outer = Effect.gen(function*() {
      const other = HttpServerRequest.fromWeb(request())
      const response = yield* Effect.provideService(inner, HttpServerRequest.HttpServerRequest, other)
      const session = yield* AppSession
      const text = yield* Effect.promise(() => HttpServerResponse.toWeb(response).text())
      return HttpServerResponse.text(`${yield* session.get("n")} and within ${text}`)
    })
    const sessions = sessionsOf(probe.layer)
    const app = Effect.if(Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => url === "/outer"), {
      onTrue: () => outer,
      onFalse: () => handlers.write
    }).pipe(SessionHttp.middleware(AppSession))
    const send = webOf(app, sessions)
    const [cookie] = cookiesOf(await send(request()))
    expect(await (await send(request(cookie, "/outer"))).text()).toBe("1 and within 0")
    expect(probe.operations).toEqual(["insert", "load"]) // the inner one came without a cookie
  })
})

describe("REG-E10: two apps in one process", () => {
  const api = (tag: "a" | "b") => {
    class Mine extends HttpApiMiddleware.Tag<Mine>()("test/Mine", {
      provides: AppSession,
      failure: SessionError,
      security: { session: SessionHttp.security() }
    }) {}
    const api = HttpApi.make(tag).add(
      HttpApiGroup.make("all").add(HttpApiEndpoint.get("write", "/").addSuccess(Schema.Number)).middleware(Mine)
    )
    const bump = Effect.gen(function*() {
      const session = yield* AppSession
      return yield* session.transact((value) => [value.n + 1, { ...value, n: value.n + 1 }])
    })
    const probe = new Probe()
    const layer = HttpApiBuilder.api(api).pipe(
      Layer.provide(HttpApiBuilder.group(api, "all", (all) => all.handle("write", () => bump))),
      Layer.provide(SessionHttp.layerApi(Mine, AppSession)),
      Layer.provide(AppSession.layer().pipe(Layer.provide(probe.layer)))
    )
    return { probe, ...HttpApiBuilder.toWebHandler(Layer.merge(Layer.orDie(layer), HttpServer.layerContext)) }
  }

  it("with the very same tag share neither middleware nor store", async () => {
    const [a, b] = [api("a"), api("b")]
    const [cookie] = cookiesOf(await a.handler(request()))
    expect(await (await a.handler(request(cookie))).json()).toBe(2)
    const foreign = await b.handler(request(cookie))
    expect(await foreign.json()).toBe(1)
    expect(cookiesOf(foreign)).toHaveLength(1)
    expect(a.probe.operations).toEqual(["insert", "load", "replace"])
    expect(b.probe.operations).toEqual(["load", "insert"])
    expect(await (await a.handler(request(cookie))).json()).toBe(3)
  })
})

describe("REG-E10: 2,000 requests of 200 users at once", () => {
  const yieldSomewhere = Effect.suspend(() => Math.random() < 0.5 ? Effect.yieldNow() : Effect.sleep(Math.random() * 2))
  const app = Effect.gen(function*() {
    const { url } = yield* HttpServerRequest.HttpServerRequest
    yield* yieldSomewhere
    const session = yield* AppSession
    if (url.startsWith("/login/")) {
      yield* session.set("user", url.slice("/login/".length))
    }
    yield* yieldSomewhere
    const before = yield* session.get("user")
    yield* session.update((value) => ({ ...value, n: value.n + 1 }))
    yield* yieldSomewhere
    return HttpServerResponse.text(`${before} ${yield* session.get("user")}`)
  }).pipe(SessionHttp.middleware(AppSession))

  const check = async (send: (path: string, cookie?: string) => Promise<Response>) => {
    const users = await Promise.all(Array.from({ length: 200 }, async (_, index) => {
      const name = `canary-${index}-${Math.random().toString(36).slice(2)}`
      const response = await send(`/login/${name}`)
      await response.text()
      return { name, cookie: cookiesOf(response)[0]! }
    }))
    expect(new Set(users.map(({ cookie }) => cookie)).size).toBe(200)
    const wrong: Array<string> = []
    await Promise.all(Array.from({ length: 2000 }, async (_, index) => {
      const { cookie, name } = users[(index * 7) % 200]!
      const response = await send("/who", cookie)
      const text = await response.text()
      if (text !== `${name} ${name}` || cookiesOf(response).length > 0) {
        wrong.push(`${name}: ${response.status} ${text}`)
      }
    }))
    expect(wrong).toEqual([])
  }

  it("through the web handler", async () => {
    const send = webOf(app)
    await check((path, cookie) => send(request(cookie, path)))
  }, 30_000)

  it("through the Node server", () =>
    Effect.gen(function*() {
      const server = NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })
      const context = yield* Layer.build(
        HttpServer.serve(app).pipe(Layer.provideMerge(server), Layer.provide(sessionsOf()))
      )
      const { address } = Context.get(context, HttpServer.HttpServer)
      const port = address._tag === "TcpAddress" ? address.port : 0
      yield* Effect.promise(() =>
        check((path, cookie) =>
          fetch(`http://127.0.0.1:${port}${path}`, cookie === undefined ? {} : { headers: { cookie } })
        )
      )
    }).pipe(Effect.scoped, Effect.runPromise), 30_000)
})
