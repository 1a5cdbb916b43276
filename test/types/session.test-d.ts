/** What a session's types promise. Compiled by `npm run check`, never run. */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import {
  type PayloadCodec,
  Session,
  type SessionConfigError,
  type SessionError,
  SessionHttp,
  type SessionStore
} from "effect-session"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { expectTypeOf } from "vitest"

class AppSession extends Session.Tag<AppSession>()("types/AppSession", {
  userId: Schema.optional(Schema.String),
  visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
  seen: Schema.optionalWith(Schema.Date, { default: () => new Date(0) })
}) {}

/** The same fields: only the name tells them apart. */
class TwinSession extends Session.Tag<TwinSession>()("types/TwinSession", {
  userId: Schema.optional(Schema.String),
  visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
  seen: Schema.optionalWith(Schema.Date, { default: () => new Date(0) })
}) {}

const Guest = Schema.TaggedStruct("Guest", {})
const User = Schema.TaggedStruct("User", { id: Schema.String, since: Schema.Date })

class UnionSession extends Session.Tag<UnionSession>()("types/UnionSession", Schema.Union(Guest, User), {
  initial: { _tag: "Guest" }
}) {}

/** The same fields again, as a schema. */
class StructSession extends Session.Tag<StructSession>()(
  "types/StructSession",
  Schema.Struct({
    userId: Schema.optional(Schema.String),
    visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    seen: Schema.optionalWith(Schema.Date, { default: () => new Date(0) })
  })
) {}

interface Value {
  readonly userId?: string | undefined
  readonly visits: number
  readonly seen: Date
}

type Member<A, Needs> = Effect.Effect<A, SessionError, Needs>

// ---------------------------------------------------------------------------
// the handle
// ---------------------------------------------------------------------------

declare const handle: Context.Tag.Service<typeof AppSession>
declare const union: Context.Tag.Service<typeof UnionSession>

expectTypeOf(handle).toEqualTypeOf<Session.StructHandle<Value>>()
expectTypeOf<Context.Tag.Service<typeof StructSession>>().toEqualTypeOf<Session.StructHandle<Value>>()
expectTypeOf(StructSession.layerTest({ userId: "u" })).toEqualTypeOf<Layer.Layer<StructSession | Session>>()
expectTypeOf(union).toEqualTypeOf<Session.Handle<typeof Guest.Type | typeof User.Type>>()

export const members = Effect.gen(function*() {
  const session = yield* AppSession
  expectTypeOf(yield* session.get("userId")).toEqualTypeOf<string | undefined>()
  expectTypeOf(yield* session.get("visits")).toEqualTypeOf<number>()
  expectTypeOf(yield* session.get("seen")).toEqualTypeOf<Date>()
  expectTypeOf(yield* session.value).toEqualTypeOf<Value>()
  expectTypeOf(yield* session.transact((s) => ["id" as const, { ...s, visits: 2 }])).toEqualTypeOf<"id">()
  expectTypeOf(yield* session.isNew).toEqualTypeOf<boolean>()
  expectTypeOf(yield* session.ref).toEqualTypeOf<Option.Option<string>>()
  expectTypeOf(yield* session.createdAt).toEqualTypeOf<Option.Option<DateTime.Utc>>()
  expectTypeOf(yield* session.expiresAt).toEqualTypeOf<Option.Option<DateTime.Utc>>()
  yield* session.set("userId", undefined)
  yield* session.set("userId", "u")
  yield* session.update((s) => s)
  yield* session.setLifetime({ idleTimeout: "1 hour", absoluteTimeout: 5, persistent: true })
  yield* session.clear
  yield* session.regenerate
  yield* session.destroy
  yield* session.save
  yield* session.reload
})
expectTypeOf(members).toEqualTypeOf<Effect.Effect<void, SessionError, AppSession>>()

export const agnostic = Effect.gen(function*() {
  const session = yield* Session
  yield* session.regenerate
  return yield* session.isNew
})
expectTypeOf(agnostic).toEqualTypeOf<Effect.Effect<boolean, SessionError, Session>>()

export const narrowed = Effect.gen(function*() {
  const session = yield* UnionSession
  yield* session.update((value) => value._tag === "Guest" ? { _tag: "User", id: "u", since: new Date() } : value)
  const value = yield* session.value
  return value._tag === "User" ? value.id : "guest"
})
expectTypeOf(narrowed).toEqualTypeOf<Effect.Effect<string, SessionError, UnionSession>>()

export const wrongUses = Effect.gen(function*() {
  const session = yield* AppSession
  // @ts-expect-error no such field
  yield* session.get("nothing")
  // @ts-expect-error no such field
  yield* session.set("nothing", 1)
  // @ts-expect-error a number has to be one
  yield* session.set("visits", "1")
  // @ts-expect-error a field with a default is never undefined
  yield* session.set("visits", undefined)
  // @ts-expect-error the encoded side is not the value
  yield* session.set("seen", "1970-01-01")
  // @ts-expect-error an updater answers a whole value
  yield* session.update((s) => ({ visits: s.visits }))
  // @ts-expect-error an updater is pure
  yield* session.update(() => Effect.succeed({ visits: 1, seen: new Date() }))
  // @ts-expect-error transact answers a pair
  yield* session.transact((s) => s)
  // @ts-expect-error lifetimes are durations
  yield* session.setLifetime({ idleTimeout: "soon" })
  // @ts-expect-error the id is on no handle
  void session.id
  const value = yield* session.value
  // @ts-expect-error values are read only
  value.visits = 1

  const other = yield* UnionSession
  // @ts-expect-error a union has no fields of its own
  yield* other.set("_tag", "User")
  // @ts-expect-error nor to get
  yield* other.get("_tag")
  // @ts-expect-error not a member of the union
  yield* other.update(() => ({ _tag: "Admin" }))

  const unknown = yield* Session
  // @ts-expect-error Session knows no payload
  yield* unknown.value
})

// ---------------------------------------------------------------------------
// definitions that must not compile
// ---------------------------------------------------------------------------

export class Service extends Context.Tag("types/Service")<Service, { readonly n: number }>() {}

const NeedsService = Schema.transformOrFail(Schema.String, Schema.Number, {
  strict: true,
  decode: (text) => Effect.map(Service, ({ n }) => n + text.length),
  encode: (n) => Effect.succeed(String(n))
})

// @ts-expect-error a field without a default: an empty session would not decode
export const noDefault = Session.Tag<unknown>()("x", { userId: Schema.String })

// @ts-expect-error one good field does not make up for it
export const oneOfTwo = Session.Tag<unknown>()("x", { a: Schema.optional(Schema.String), b: Schema.Number })

// @ts-expect-error a schema that needs a service
export const field = Session.Tag<unknown>()("x", { n: Schema.optional(NeedsService) })

// @ts-expect-error a property that needs a service
export const property = Session.Tag<unknown>()("x", { n: Schema.optionalWith(NeedsService, { default: () => 0 }) })

// @ts-expect-error a whole schema that needs a service
export const whole = Session.Tag<unknown>()("x", Schema.Struct({ n: NeedsService }), { initial: { n: 1 } })

// @ts-expect-error a schema without an initial value
export const noInitial = Session.Tag<unknown>()("x", Schema.Union(Guest, User))

// @ts-expect-error an initial value of another type
export const wrongInitial = Session.Tag<unknown>()("x", Schema.Union(Guest, User), { initial: { _tag: "User" } })

// @ts-expect-error a default of another type
const badDefault = Schema.optionalWith(Schema.Number, { default: () => "0" })
export const wrongDefault = Session.Tag<unknown>()("x", { n: badDefault })

// every way to have a default is fine
export class EveryDefault extends Session.Tag<EveryDefault>()("types/EveryDefault", {
  a: Schema.optional(Schema.String),
  b: Schema.optionalWith(Schema.Number, { default: () => 1 }),
  c: Schema.optionalWith(Schema.String, { exact: true }),
  d: Schema.optionalWith(Schema.String, { as: "Option" }),
  e: Schema.optionalWith(Schema.NumberFromString, { nullable: true, default: () => 1 }),
  f: Schema.optional(Schema.String).pipe(Schema.fromKey("g"))
}) {}

// ---------------------------------------------------------------------------
// Layers
// ---------------------------------------------------------------------------

expectTypeOf(AppSession.layer()).toEqualTypeOf<
  Layer.Layer<Session.Manager<AppSession>, SessionConfigError, SessionStore>
>()
expectTypeOf(AppSession.layerConfig({ idleTimeout: Config.duration("IDLE") })).toEqualTypeOf<
  Layer.Layer<Session.Manager<AppSession>, SessionConfigError | ConfigError.ConfigError, SessionStore>
>()
expectTypeOf(AppSession.layerTest()).toEqualTypeOf<Layer.Layer<AppSession | Session>>()
expectTypeOf(AppSession.layerTest({ userId: "u" })).toEqualTypeOf<Layer.Layer<AppSession | Session>>()
expectTypeOf(UnionSession.layerTest({ _tag: "User", id: "u", since: new Date() }))
  .toEqualTypeOf<Layer.Layer<UnionSession | Session>>()
expectTypeOf(Effect.provide(members, AppSession.layerTest())).toEqualTypeOf<Effect.Effect<void, SessionError>>()
expectTypeOf(AppSession.key).toEqualTypeOf<"types/AppSession">()

export const wrongOptions = [
  // @ts-expect-error no such option
  AppSession.layer({ idleTimeOut: "1 hour" }),
  // @ts-expect-error no such option of the cookie: HttpOnly is not one
  AppSession.layer({ cookie: { httpOnly: false } }),
  // @ts-expect-error SameSite is a closed set
  AppSession.layer({ cookie: { sameSite: "Lax" } }),
  // @ts-expect-error one of two policies
  AppSession.layer({ onCorrupt: "ignore" }),
  // @ts-expect-error no such field
  AppSession.layerTest({ nothing: 1 }),
  // @ts-expect-error a wrong value
  AppSession.layerTest({ visits: "1" }),
  // @ts-expect-error a part of a union is no value of it
  UnionSession.layerTest({ _tag: "User" })
]

declare const codec: PayloadCodec.PayloadCodec
export const rightOptions = AppSession.layer({
  idleTimeout: "30 minutes",
  absoluteTimeout: 86_400_000,
  persistent: true,
  cookie: { name: "__Host-id", secure: true, path: "/", sameSite: "strict", partitioned: true },
  codec,
  onCorrupt: "fail"
})

export const manager = Effect.gen(function*() {
  const manager = yield* AppSession.Manager
  expectTypeOf(manager.issue({ visits: 1, seen: new Date() }))
    .toEqualTypeOf<Effect.Effect<Redacted.Redacted<string>, SessionError>>()
  expectTypeOf(manager.open("cookie").handle).toEqualTypeOf<Session.StructHandle<Value>>()
  // @ts-expect-error a field is missing
  manager.issue({ visits: 1 })
})
expectTypeOf(manager).toEqualTypeOf<Effect.Effect<void, never, Session.Manager<AppSession>>>()

// ---------------------------------------------------------------------------
// what a handler requires
// ---------------------------------------------------------------------------

const app: HttpApp.Default<SessionError, AppSession | Session> = Effect.as(
  Effect.zipRight(members, agnostic),
  HttpServerResponse.empty()
)

expectTypeOf(HttpServer.serve(app)).toEqualTypeOf<
  Layer.Layer<never, never, HttpServer.HttpServer | AppSession | Session>
>()
expectTypeOf(HttpServer.serve(app, SessionHttp.middleware(AppSession))).toEqualTypeOf<
  Layer.Layer<never, never, HttpServer.HttpServer | Session.Manager<AppSession>>
>()
// @ts-expect-error served without the middleware, a handler's session is missing
export const forgotten: Layer.Layer<never, never, HttpServer.HttpServer> = HttpServer.serve(app)

// ---------------------------------------------------------------------------
// two sessions are never taken for one another
// ---------------------------------------------------------------------------

declare const twinHandler: Member<void, TwinSession>
declare const appManager: Layer.Layer<Session.Manager<AppSession>>

export const wrongMiddleware = twinHandler.pipe(
  Effect.as(HttpServerResponse.empty()),
  SessionHttp.middleware(AppSession)
)
expectTypeOf(wrongMiddleware).toEqualTypeOf<HttpApp.Default<SessionError, TwinSession | Session.Manager<AppSession>>>()

export const wrongManager = Effect.provide(TwinSession.Manager, appManager)
expectTypeOf<Effect.Effect.Context<typeof wrongManager>>().toEqualTypeOf<Session.Manager<TwinSession>>()

// @ts-expect-error the manager of one is not the manager of the other
export const swappedManager: Layer.Layer<Session.Manager<TwinSession>> = appManager

// @ts-expect-error nor is the tag
export const swappedTag: SessionHttp.SessionTag<TwinSession, Value, Session.StructHandle<Value>> = AppSession

// @ts-expect-error nor the test Layer
export const swappedTest: Layer.Layer<TwinSession | Session> = AppSession.layerTest()

// @ts-expect-error a typed session is not Session
export const swappedAgnostic: Effect.Effect<boolean, SessionError, AppSession> = agnostic
