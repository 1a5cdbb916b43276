/** What the ways into HTTP require and provide. Compiled by `npm run check`, never run. */
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import type * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Session, SessionError, SessionHttp } from "effect-session"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { expectTypeOf } from "vitest"

class AppSession extends Session.Tag<AppSession>()("types/AppSession", { user: Schema.optional(Schema.String) }) {}
class AdminSession
  extends Session.Tag<AdminSession>()("types/AdminSession", { admin: Schema.optional(Schema.String) })
{}

class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}

declare const typed: Effect.Effect<HttpServerResponse.HttpServerResponse, Broken, AppSession>
declare const both: Effect.Effect<HttpServerResponse.HttpServerResponse, Broken, AppSession | Session>
declare const two: Effect.Effect<HttpServerResponse.HttpServerResponse, Broken, AppSession | AdminSession | Session>

// ---------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------

expectTypeOf(typed.pipe(SessionHttp.middleware(AppSession)))
  .toEqualTypeOf<HttpApp.Default<Broken, Session.Manager<AppSession>>>()
expectTypeOf(both.pipe(SessionHttp.middleware(AppSession)))
  .toEqualTypeOf<HttpApp.Default<Broken, Session.Manager<AppSession>>>()
expectTypeOf(both.pipe(SessionHttp.middleware(AppSession, { provideSession: false })))
  .toEqualTypeOf<HttpApp.Default<Broken, Session | Session.Manager<AppSession>>>()
expectTypeOf(
  two.pipe(SessionHttp.middleware(AdminSession, { provideSession: false }), SessionHttp.middleware(AppSession))
)
  .toEqualTypeOf<HttpApp.Default<Broken, Session.Manager<AppSession> | Session.Manager<AdminSession>>>()

// @ts-expect-error there is nothing to say with true
SessionHttp.middleware(AppSession, { agnostic: true })

// @ts-expect-error Session itself is not a session to serve
SessionHttp.middleware(Session)

const router = HttpRouter.empty.pipe(HttpRouter.get("/", both), HttpRouter.use(SessionHttp.middleware(AppSession)))
expectTypeOf(router).toEqualTypeOf<HttpRouter.HttpRouter<Broken, Session.Manager<AppSession>>>()

declare const manager: Layer.Layer<Session.Manager<AppSession>>
export const web = HttpApp.toWebHandlerLayer(router, manager)
// @ts-expect-error without the middleware the session is missing
export const forgotten = HttpApp.toWebHandlerLayer(both, manager)

// ---------------------------------------------------------------------------
// HttpLayerRouter
// ---------------------------------------------------------------------------

expectTypeOf(SessionHttp.routerMiddleware(AppSession).layer).toEqualTypeOf<
  Layer.Layer<
    HttpLayerRouter.Request.From<"Requires", AppSession | Session>,
    never,
    Session.Manager<AppSession>
  >
>()
expectTypeOf(SessionHttp.routerMiddleware(AdminSession, { provideSession: false }).layer).toEqualTypeOf<
  Layer.Layer<HttpLayerRouter.Request.From<"Requires", AdminSession>, never, Session.Manager<AdminSession>>
>()

const route = HttpLayerRouter.add("GET", "/", Effect.orDie(both))
expectTypeOf(route.pipe(Layer.provide(SessionHttp.routerMiddleware(AppSession).layer))).toEqualTypeOf<
  Layer.Layer<never, never, HttpLayerRouter.HttpRouter | Session.Manager<AppSession>>
>()
expectTypeOf(route.pipe(Layer.provide(SessionHttp.routerMiddleware(AppSession, { provideSession: false }).layer)))
  .toEqualTypeOf<
    Layer.Layer<
      never,
      never,
      HttpLayerRouter.HttpRouter | Session.Manager<AppSession> | HttpLayerRouter.Request<"Requires", Session>
    >
  >()

// ---------------------------------------------------------------------------
// HttpApi
// ---------------------------------------------------------------------------

class Plain extends HttpApiMiddleware.Tag<Plain>()("types/Plain", { provides: AppSession, failure: SessionError }) {}
class Secure extends HttpApiMiddleware.Tag<Secure>()("types/Secure", {
  provides: AppSession,
  failure: SessionError,
  security: { session: SessionHttp.security("__Host-id") }
}) {}
class Other extends HttpApiMiddleware.Tag<Other>()("types/Other", { provides: AdminSession }) {}
class Nothing extends HttpApiMiddleware.Tag<Nothing>()("types/Nothing") {}

expectTypeOf(SessionHttp.layerApi(Plain, AppSession))
  .toEqualTypeOf<Layer.Layer<Plain, never, Session.Manager<AppSession>>>()
expectTypeOf(SessionHttp.layerApi(Secure, AppSession))
  .toEqualTypeOf<Layer.Layer<Secure, never, Session.Manager<AppSession>>>()
expectTypeOf(SessionHttp.layerApi(Other, AdminSession))
  .toEqualTypeOf<Layer.Layer<Other, never, Session.Manager<AdminSession>>>()
expectTypeOf(SessionHttp.security()).toEqualTypeOf<HttpApiSecurity.ApiKey>()

// @ts-expect-error a middleware that provides another session
SessionHttp.layerApi(Other, AppSession)
// @ts-expect-error a middleware that provides nothing
SessionHttp.layerApi(Nothing, AppSession)
// @ts-expect-error a tag that is no middleware
SessionHttp.layerApi(AppSession, AppSession)
