/** What an editor shows over a name. The line above each says what; `hovers.test.ts` compares. */
import type * as HttpApp from "@effect/platform/HttpApp"
import { Session, SessionHttp } from "effect-session"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Item = Schema.Struct({ sku: Schema.String })

export class AppSession extends Session.Tag<AppSession>()("hovers/AppSession", {
  userId: Schema.optional(Schema.String),
  cart: Schema.optionalWith(Schema.Array(Item), { default: () => [] })
}) {}

declare const handle: Context.Tag.Service<typeof AppSession>
declare const app: HttpApp.Default<never, AppSession | Session>

// Session.StructHandle<{ readonly userId?: string | undefined; readonly cart: readonly { readonly sku: string; }[]; }>
export const service = handle
// Effect.Effect<string | undefined, SessionError, never>
export const userId = handle.get("userId")
// Effect.Effect<readonly { readonly sku: string; }[], SessionError, never>
export const cart = handle.get("cart")
// (f: (value: { readonly userId?: string | undefined; readonly cart: readonly { readonly sku: string; }[]; }) => { readonly userId?: string | undefined; readonly cart: readonly { readonly sku: string; }[]; }) => Effect.Effect<void, SessionError>
export const update = handle.update
// typeof AppSession
export const tag = AppSession
// Layer<Session.Manager<AppSession>, SessionConfigError, SessionStore>
export const layer = AppSession.layer()
// Layer<AppSession | Session, never, never>
export const layerTest = AppSession.layerTest()
// Context.Tag<Session.Manager<AppSession>, Session.ManagerOf<AppSession, { readonly userId?: string | undefined; readonly cart: readonly { readonly sku: string; }[]; }, Session.StructHandle<{ readonly userId?: string | undefined; readonly cart: readonly { readonly sku: string; }[]; }>>>
export const manager = AppSession.Manager
// Effect.Effect<string | undefined, SessionError, AppSession>
export const handler = Effect.flatMap(AppSession, (session) => session.get("userId"))
// Effect.Effect<void, SessionError, Session>
export const agnostic = Effect.flatMap(Session, (session) => session.destroy)
// HttpApp.Default<never, Session.Manager<AppSession>>
export const served = SessionHttp.middleware(AppSession)(app)
// <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, Session.Manager<AppSession> | Exclude<R, AppSession | Session>>
export const middleware = SessionHttp.middleware(AppSession)
// SessionHttp.RouterMiddleware<AppSession, AppSession | Session>
export const routerMiddleware = SessionHttp.routerMiddleware(AppSession)
