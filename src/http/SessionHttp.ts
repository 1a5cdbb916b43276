/**
 * Sessions in every entry style of `@effect/platform`.
 *
 * | style | how |
 * |---|---|
 * | `HttpServer.serve`, `HttpRouter.use`, `app.pipe`, web handlers | `SessionHttp.middleware(AppSession)` |
 * | `HttpLayerRouter` | `SessionHttp.routerMiddleware(AppSession).layer` |
 * | `HttpApi` | `SessionHttp.layerApi(Sessions, AppSession)` |
 *
 * Whichever it is: a path that does not use the session costs nothing and gets
 * neither `Set-Cookie` nor `Vary`. What a handler recorded is committed before
 * the response head; when that fails, the error is the response. A handler
 * that died or was interrupted has recorded nothing.
 *
 * Inside the platform's `cors`, not around it: that sets `Vary` anew. And never
 * inside `HttpApp.withPreResponseHandler`, which takes back every hook that was
 * set within: nothing would be committed.
 *
 * @since 0.1.0
 */
import type * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { copyMap, setRefs, withCurrentFiber } from "../internal/fiber.js"
import { Session } from "../Session.js"
import { attach } from "./attach.js"
import { interceptErrorHandling, observeHandler, type Response, runWith } from "./platform.js"
import { endWithFailure, endWithResponse, noteDeath } from "./respond.js"

/**
 * A session's tag, as far as the edge needs it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionTag<Self, A, H> extends Context.Tag<Self, H> {
  readonly Manager: Context.Tag<Session.Manager<Self>, Session.ManagerOf<Self, A, H>>
}

/**
 * `provideSession: false` leaves out the tag `Session`, for the second session of an
 * app: only one of them can be `Session`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly provideSession?: boolean
}

/**
 * Gives `AppSession` and `Session` to an app: as the middleware of
 * `HttpServer.serve`, in `HttpRouter.use`, in `app.pipe`, for web handlers.
 *
 * As the middleware of `HttpServer.serve` it stands outside the platform's
 * error handling, and takes an unhandled error without a response of its own
 * for a defect: what was recorded is dropped. Everywhere else a typed failure
 * commits.
 *
 * ```ts
 * import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
 * import { Session, SessionHttp } from "effect-session"
 * import { Effect, Schema } from "effect"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/AppSession", {
 *   visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
 * }) {}
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", Effect.gen(function*() {
 *     const session = yield* AppSession
 *     const visits = yield* session.transact((s) => [s.visits + 1, { ...s, visits: s.visits + 1 }])
 *     return HttpServerResponse.text(`visit ${visits}`)
 *   })),
 *   HttpRouter.use(SessionHttp.middleware(AppSession)),
 *   HttpServer.serve()
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware: {
  <Self, A, H extends Session.Any>(tag: SessionTag<Self, A, H>): <E, R>(
    app: HttpApp.Default<E, R>
  ) => HttpApp.Default<E, Exclude<R, Self | Session> | Session.Manager<Self>>
  <Self, A, H extends Session.Any>(tag: SessionTag<Self, A, H>, options: { readonly provideSession: false }): <E, R>(
    app: HttpApp.Default<E, R>
  ) => HttpApp.Default<E, Exclude<R, Self> | Session.Manager<Self>>
} =
  <Self, A, H extends Session.Any>(tag: SessionTag<Self, A, H>, options?: Options) =>
  <E, R>(app: HttpApp.Default<E, R>) => run(tag, undefined, options?.provideSession ?? true, app)

/**
 * What `routerMiddleware` makes.
 *
 * @since 0.1.0
 * @category models
 */
export type RouterMiddleware<Self, Provides> = HttpLayerRouter.Middleware<{
  provides: Provides
  handles: never
  error: never
  requires: never
  layerError: never
  layerRequires: Session.Manager<Self>
}>

/**
 * The middleware of `HttpLayerRouter`. Provide its `.layer` to the routes.
 *
 * @since 0.1.0
 * @category middleware
 */
export const routerMiddleware: {
  <Self, A, H extends Session.Any>(tag: SessionTag<Self, A, H>): RouterMiddleware<Self, Self | Session>
  <Self, A, H extends Session.Any>(
    tag: SessionTag<Self, A, H>,
    options: { readonly provideSession: false }
  ): RouterMiddleware<Self, Self>
} = <Self, A, H extends Session.Any>(tag: SessionTag<Self, A, H>, options?: Options) =>
  HttpLayerRouter.middleware<{ provides: Self | Session }>()(
    Effect.map(tag.Manager, (manager) => (app) => run(tag, manager, options?.provideSession ?? true, app))
  ) as RouterMiddleware<Self, Self> & RouterMiddleware<Self, Self | Session> // which of the two, the overloads say

/**
 * The Layer of an `HttpApiMiddleware.Tag` that provides a session, plain or
 * with `security`. Name `SessionError` as its `failure`, and clients and
 * OpenAPI know the errors.
 *
 * An HttpApi middleware provides one tag. Code that asks for `Session` takes
 * `Effect.provideServiceEffect(Session, AppSession)`.
 *
 * ```ts
 * import { HttpApiMiddleware } from "@effect/platform"
 * import { Session, SessionError, SessionHttp } from "effect-session"
 * import { Schema } from "effect"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/AppSession", {
 *   userId: Schema.optional(Schema.String)
 * }) {}
 *
 * class Sessions extends HttpApiMiddleware.Tag<Sessions>()("app/Sessions", {
 *   provides: AppSession,
 *   failure: SessionError,
 *   security: { session: SessionHttp.security() }
 * }) {}
 *
 * const SessionsLive = SessionHttp.layerApi(Sessions, AppSession)
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const layerApi = <M, S, Self, A, H extends Session.Any>(
  middleware: Context.Tag<M, S> & {
    readonly [HttpApiMiddleware.TypeId]: HttpApiMiddleware.TypeId
    readonly provides: Context.Tag<Self, H>
  },
  tag: SessionTag<Self, A, H>
): Layer.Layer<M, never, Session.Manager<Self>> =>
  Layer.effect(
    middleware,
    Effect.map(tag.Manager, (manager) => {
      const open = withCurrentFiber((fiber) => {
        const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
        const { attached, isFirst, settings } = attach(fiber, request, manager, false)
        setRefs(fiber, settings)
        observeHandler(
          fiber,
          (value) =>
            isFirst && HttpServerResponse.isServerResponse(value)
              ? endWithResponse(fiber, attached, value)
              : Effect.succeed(value),
          (cause) => isFirst ? endWithFailure(fiber, attached, cause) : Effect.sync(() => noteDeath(attached, cause))
        )
        return Effect.succeed(attached.opened.handle)
      })
      const service = "security" in middleware
        ? Object.fromEntries(Object.keys(middleware.security as object).map((scheme) => [scheme, () => open]))
        : open
      return service as S // the service of a middleware that provides `tag`, plain or by scheme
    })
  )

/** @since 0.1.0 */
export { security } from "./security.js"

/** Runs an app with its session. The manager is the context's, unless a Layer has found it already. */
const run = <Self, A, H extends Session.Any, E, R>(
  tag: SessionTag<Self, A, H>,
  known: Session.ManagerOf<Self, A, H> | undefined,
  provideSession: boolean,
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E,
  Exclude<R, Self | Session> | HttpServerRequest.HttpServerRequest
> =>
  withCurrentFiber((fiber) => {
    const context = fiber.currentContext
    const manager = known ?? Context.unsafeGet(context, tag.Manager)
    const request = Context.unsafeGet(context, HttpServerRequest.HttpServerRequest)
    const { attached, isFirst, settings } = attach(fiber, request, manager, provideSession)
    const services = copyMap(context.unsafeMap)
    services.set(tag.key, attached.opened.handle)
    if (provideSession) {
      services.set(Session.key, attached.opened.handle)
    }
    const seen = interceptErrorHandling(app as Effect.Effect<Response, E>, (cause) => noteDeath(attached, cause)) // `services` has what R asks for
    // a middleware inside of another one leaves the commit to the outer
    return runWith(
      fiber,
      Context.unsafeMake(services),
      settings,
      seen,
      (response) => isFirst ? endWithResponse(fiber, attached, response) : Effect.succeed(response),
      (cause) => isFirst ? endWithFailure(fiber, attached, cause) : Effect.sync(() => noteDeath(attached, cause))
    )
  })
