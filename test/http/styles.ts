/** Every way into HTTP, each started the same. */
import { NodeHttpServer } from "@effect/platform-node"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import { Session, SessionError, SessionHttp } from "effect-session"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as http from "node:http"
import { AppSession, type Handler, handlers, Teapot } from "./app.js"

type Untyped = any

export type Send = (path: string, init?: RequestInit) => Promise<Response>

export interface Options {
  readonly sessions: Layer.Layer<Session.Manager<AppSession>>
  readonly handlers?: Record<string, Handler>
  /** Another middleware, on either side of the session's. */
  readonly outside?: HttpMiddleware.HttpMiddleware
  readonly inside?: HttpMiddleware.HttpMiddleware
}

export interface Style {
  readonly name: string
  readonly start: (options: Options) => Effect.Effect<Send, never, Scope.Scope>
  /** Whether the middleware sees how the handler ended, and not its response alone. */
  readonly seesTheEnd: boolean
  /** Whether the style has room for another middleware between handler and session. */
  readonly hasInside: boolean
}

const routerOf = (
  routes: Record<string, Handler>
): HttpRouter.HttpRouter<SessionError | Teapot, AppSession | Session> => {
  let router: HttpRouter.HttpRouter<SessionError | Teapot, AppSession | Session> = HttpRouter.empty
  for (const [name, handler] of Object.entries(routes)) {
    router = HttpRouter.all(router, `/${name}`, handler)
  }
  return router
}

/** Serves on a port of its own, and sends with `fetch`. */
const onNode = <R>(
  sessions: Layer.Layer<R>,
  app: Layer.Layer<never, unknown, Untyped> // what a style needs is given here: the server, its services, the sessions
): Effect.Effect<Send, never, Scope.Scope> =>
  Effect.gen(function*() {
    const server = NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })
    const layer = Layer.provideMerge(app, Layer.merge(server, sessions)) as Layer.Layer<HttpServer.HttpServer>
    const context = yield* Layer.build(layer)
    const { address } = Context.get(context, HttpServer.HttpServer)
    const port = address._tag === "TcpAddress" ? address.port : 0
    return (path, init) => fetch(`http://127.0.0.1:${port}${path}`, { redirect: "manual", ...init })
  })

interface WebHandler {
  readonly handler: (request: Request) => Promise<Response>
  readonly dispose: () => Promise<void>
}

const onWeb = (make: () => WebHandler): Effect.Effect<Send, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(Effect.sync(make), ({ dispose }) => Effect.promise(dispose)),
    ({ handler }) => (path, init) => handler(new Request(`http://localhost${path}`, init))
  )

// ---------------------------------------------------------------------------
// HttpApi
// ---------------------------------------------------------------------------

class Sessions extends HttpApiMiddleware.Tag<Sessions>()("test/Sessions", {
  provides: AppSession,
  failure: SessionError
}) {}

class SecureSessions extends HttpApiMiddleware.Tag<SecureSessions>()("test/SecureSessions", {
  provides: AppSession,
  failure: SessionError,
  security: { session: SessionHttp.security() }
}) {}

/** An API with one raw endpoint a handler; the types of a computed API are of no use. */
const apiParts = (
  options: Options,
  secure: boolean
): { readonly api: Untyped; readonly layer: Layer.Layer<Untyped> } => {
  const routes = Object.entries(options.handlers ?? handlers)
  const group = routes.reduce(
    (group, [name]) => group.add(HttpApiEndpoint.get(name, `/${name}`).addSuccess(Schema.String).addError(Teapot)),
    HttpApiGroup.make("all") as Untyped
  )
  const api = HttpApi.make("api").add(group.middleware(secure ? SecureSessions : Sessions)) as Untyped
  const implementation = HttpApiBuilder.group(api as never, "all" as never, (all: Untyped) =>
    routes.reduce(
      (all, [name, handler]) => all.handleRaw(name, () => Effect.provideServiceEffect(handler, Session, AppSession)),
      all
    ))
  const middleware = Layer.merge(
    SessionHttp.layerApi(SecureSessions, AppSession),
    SessionHttp.layerApi(Sessions, AppSession)
  )
  const layer = (implementation as Layer.Layer<Untyped>).pipe(
    Layer.provideMerge(middleware),
    Layer.provide(options.sessions)
  )
  return { api, layer }
}

const apiOf = (options: Options, secure: boolean): Layer.Layer<HttpApi.Api> => {
  const { api, layer } = apiParts(options, secure)
  return HttpApiBuilder.api(api).pipe(Layer.provide(layer)) as Layer.Layer<HttpApi.Api>
}

const apiMiddleware = ({ outside }: Options) =>
  outside === undefined ? Layer.empty : HttpApiBuilder.middleware(outside as never)

const apiOnNode = (secure: boolean) => (options: Options) =>
  onNode(
    options.sessions,
    HttpApiBuilder.serve().pipe(Layer.provide([apiOf(options, secure), apiMiddleware(options)]))
  )

const apiOnWeb = (secure: boolean) => (options: Options) =>
  onWeb(() =>
    HttpApiBuilder.toWebHandler(
      Layer.mergeAll(apiOf(options, secure), apiMiddleware(options), HttpServer.layerContext)
    )
  )

// ---------------------------------------------------------------------------
// HttpLayerRouter
// ---------------------------------------------------------------------------

const routerMiddlewareOf = ({ handlers: routes = handlers, inside, outside, sessions }: Options) => {
  const around = (middleware: HttpMiddleware.HttpMiddleware | undefined) =>
    middleware === undefined ? undefined : HttpLayerRouter.middleware(middleware as never)
  const session = SessionHttp.routerMiddleware(AppSession)
  const inner = around(inside)
  const outer = around(outside)
  const middle = inner === undefined ? session : inner.combine(session)
  const stack = (outer === undefined ? middle : middle.combine(outer)) as typeof session
  return HttpLayerRouter.addAll(
    Object.entries(routes).map(([name, handler]) => HttpLayerRouter.route("*", `/${name}`, handler))
  ).pipe(Layer.provide(stack.layer), Layer.provide(sessions))
}

/** HttpApi among the routes of a HttpLayerRouter. */
const apiInLayerRouter = (options: Options) => {
  const { api, layer } = apiParts(options, true)
  const routes = HttpLayerRouter.addHttpApi(api).pipe(Layer.provide(layer), Layer.provide(HttpServer.layerContext))
  return options.outside === undefined
    ? routes
    : Layer.merge(routes as Untyped, HttpLayerRouter.middleware(options.outside as never, { global: true }) as Untyped)
}

// ---------------------------------------------------------------------------

const middlewareOf = ({ inside = identity, outside = identity }: Options) => (app: HttpApp.Default<Untyped, Untyped>) =>
  outside(SessionHttp.middleware(AppSession)(inside(app) as HttpApp.Default<Untyped, AppSession | Session>))

const wide = { seesTheEnd: true, hasInside: true }
const api = { seesTheEnd: true, hasInside: false }

export const styles: ReadonlyArray<Style> = [
  {
    name: "HttpServer.serve with the middleware",
    ...wide,
    start: (options) =>
      onNode(options.sessions, HttpServer.serve(routerOf(options.handlers ?? handlers), middlewareOf(options)))
  },
  {
    name: "HttpRouter.use",
    ...wide,
    start: (options) =>
      onNode(
        options.sessions,
        routerOf(options.handlers ?? handlers).pipe(HttpRouter.use(middlewareOf(options)), HttpServer.serve())
      )
  },
  {
    name: "app.pipe(middleware)",
    ...wide,
    start: (options) =>
      onNode(
        options.sessions,
        HttpServer.serve(
          middlewareOf(options)(Effect.flatten(HttpRouter.toHttpApp(routerOf(options.handlers ?? handlers))))
        )
      )
  },
  {
    name: "HttpLayerRouter.serve",
    ...wide,
    start: (options) =>
      onNode(
        options.sessions,
        HttpLayerRouter.serve(routerMiddlewareOf(options), { disableLogger: true, disableListenLog: true })
      )
  },
  { name: "HttpApi", ...api, start: apiOnNode(false) },
  { name: "HttpApi with security", ...api, start: apiOnNode(true) },
  {
    name: "HttpApp.toWebHandlerLayer of app.pipe(middleware)",
    ...wide,
    start: (options) =>
      onWeb(() =>
        HttpApp.toWebHandlerLayer(middlewareOf(options)(routerOf(options.handlers ?? handlers)), options.sessions)
      )
  },
  {
    name: "HttpLayerRouter.toWebHandler",
    ...wide,
    start: (options) =>
      onWeb(() =>
        HttpLayerRouter.toWebHandler(routerMiddlewareOf(options) as Untyped, { disableLogger: true }) as Untyped
      )
  },
  {
    name: "HttpApi in HttpLayerRouter",
    ...api,
    start: (options) =>
      onWeb(() =>
        HttpLayerRouter.toWebHandler(apiInLayerRouter(options) as Untyped, { disableLogger: true }) as Untyped
      )
  },
  { name: "HttpApiBuilder.toWebHandler", ...api, start: apiOnWeb(false) },
  { name: "HttpApiBuilder.toWebHandler with security", ...api, start: apiOnWeb(true) }
]
