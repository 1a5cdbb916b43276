/** Nodes of one app over one store, each a function of requests; under the TestClock, if the test is. */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import { type Session, type SessionError, SessionHttp } from "effect-session"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { AppSession, type Handler, handlers, Probe, type Teapot } from "../http/app.js"

export interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Headers
  /** The session's cookie as a browser would send it; undefined when none was set. */
  readonly cookie: string | undefined
}

/** Sends to one node; `cookie` is the whole `Cookie` header. */
export type Send = (path: string, cookie?: string, init?: RequestInit) => Effect.Effect<Answer>

export interface World {
  readonly probe: Probe
  /** Another process of the app, with more handlers than those of test/http. */
  readonly node: (
    routes?: Record<string, Handler>,
    options?: Session.Options
  ) => Effect.Effect<Send, never, Scope.Scope>
  /** The cookie of a new session. */
  readonly issue: (value?: { readonly n?: number; readonly user?: string }) => Effect.Effect<string>
  /** How many sessions there are. */
  readonly count: Effect.Effect<number>
}

const answerOf = async (response: Response): Promise<Answer> => ({
  status: response.status,
  body: await response.text(),
  headers: response.headers,
  cookie: response.headers.getSetCookie().find((line) => line.startsWith("__Host-id="))?.split(";")[0]
})

export const makeWorld: Effect.Effect<World, never, Scope.Scope> = Effect.gen(function*() {
  const probe = new Probe()
  const store = Layer.succeedContext(yield* Layer.build(probe.layer))
  const managerOf = (options?: Session.Options) => Layer.build(Layer.provide(AppSession.layer(options), store))
  const { issue } = Context.get(yield* managerOf(), AppSession.Manager)
  return {
    probe,
    node: (routes: Record<string, Handler> = {}, options?: Session.Options) =>
      Effect.gen(function*() {
        let router: HttpRouter.HttpRouter<SessionError | Teapot, AppSession | Session> = HttpRouter.empty
        const all: Record<string, Handler> = { ...handlers, ...routes }
        for (const [name, handler] of Object.entries(all)) {
          router = HttpRouter.all(router, `/${name}`, handler)
        }
        const app = router.pipe(HttpRouter.use(SessionHttp.middleware(AppSession)))
        const runtime = yield* Effect.runtime<Session.Manager<AppSession>>().pipe(
          Effect.provide(yield* managerOf(options)),
          Effect.provide(Logger.remove(Logger.defaultLogger)) // defects are part of the tests
        )
        const handle = HttpApp.toWebHandlerRuntime(runtime)(app)
        const send: Send = (path, cookie, init) =>
          Effect.promise(async () =>
            answerOf(
              await handle(
                new Request(`http://localhost${path}`, {
                  ...init,
                  headers: { ...(cookie === undefined ? {} : { cookie }), ...init?.headers }
                })
              )
            )
          )
        return send
      }).pipe(Effect.orDie),
    issue: (value = {}) =>
      Effect.map(Effect.orDie(issue({ n: 0, ...value })), (id) => `__Host-id=${Redacted.value(id)}`),
    count: Effect.map(probe.records, (records) => Object.keys(records).length)
  }
}).pipe(Effect.orDie)

export const idOf = (cookie: string | undefined): string => cookie!.slice("__Host-id=".length)
export const bytesOf = (cookie: string | undefined): Buffer => Buffer.from(idOf(cookie), "base64url")
export const cookieOf = (secret: Uint8Array): string => `__Host-id=${Buffer.from(secret).toString("base64url")}`

/** The cookie with its selector, and another verifier. */
export const forged = (cookie: string): string =>
  cookieOf(Buffer.concat([bytesOf(cookie).subarray(0, 16), Buffer.alloc(24, 7)]))
export const unknown = cookieOf(Buffer.alloc(40, 7))
