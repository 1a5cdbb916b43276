/** The requirements and errors of every function that `effect-session` exports. Compiled by `npm run check`, never run. */
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type { HttpServerResponse } from "@effect/platform/HttpServerResponse"
import { layerMemory } from "@effect/platform/KeyValueStore"
import type { SessionError } from "effect-session"
import {
  causeOf,
  PayloadCodec,
  SessionConfigError,
  SessionConflict,
  SessionFailure,
  SessionStore,
  SessionStoreError,
  SessionSweeper,
  SessionTooLarge,
  SessionUnavailable,
  Version
} from "effect-session"
import * as KeyValueStore from "effect-session/layers/KeyValueStore"
import * as Memory from "effect-session/layers/Memory"
import * as Redis from "effect-session/layers/Redis"
import { storeLaws } from "effect-session/testing"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { expectTypeOf } from "vitest"

// ---------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------

expectTypeOf<SessionError["_tag"]>().toEqualTypeOf<"SessionError">()
expectTypeOf<SessionError>().toEqualTypeOf<SessionUnavailable | SessionConflict | SessionTooLarge | SessionFailure>()
expectTypeOf<Schema.Schema.Type<typeof SessionError>>().toEqualTypeOf<SessionError>()
expectTypeOf<Schema.Schema.Context<typeof SessionError>>().toEqualTypeOf<never>()
expectTypeOf(causeOf).toEqualTypeOf<(error: SessionError) => unknown>()

declare const failing: Effect.Effect<number, SessionError | SessionConfigError>
expectTypeOf(failing.pipe(Effect.catchTag("SessionError", (error) => Effect.succeed(error.reason)))).toEqualTypeOf<
  Effect.Effect<number | SessionError["reason"], SessionConfigError>
>()
expectTypeOf<SessionError["reason"]>().toEqualTypeOf<
  | "Unavailable"
  | "Timeout"
  | "Throttled"
  | "Rejected"
  | "Conflict"
  | "Gone"
  | "TooLarge"
  | "Corrupt"
  | "Unsupported"
  | "Encode"
  | "Updater"
  | "HeadersSent"
>()

declare const error: SessionError
expectTypeOf(error[HttpServerRespondable.symbol]()).toEqualTypeOf<Effect.Effect<HttpServerResponse>>()

export const made = [
  new SessionUnavailable({ reason: "Timeout", applied: "unknown" }),
  new SessionConflict({ reason: "Gone" }),
  new SessionTooLarge({ reason: "TooLarge", limit: 1, actual: 2 }),
  new SessionFailure({ reason: "Corrupt" }),
  // @ts-expect-error not one of its reasons
  new SessionConflict({ reason: "Timeout" }),
  // @ts-expect-error a cause is no field: it would reach the client
  new SessionFailure({ reason: "Corrupt", cause: new Error("x") }),
  new SessionConfigError({ option: "cookie.name", message: "m" }),
  // @ts-expect-error an error of the configuration names its option
  new SessionConfigError({ message: "m" })
]

// ---------------------------------------------------------------------------
// the store
// ---------------------------------------------------------------------------

declare const store: Context.Tag.Service<SessionStore>

expectTypeOf(store.load).toEqualTypeOf<
  (key: string) => Effect.Effect<
    Option.Option<{ readonly data: Uint8Array; readonly version: Version; readonly expiresAt: number }>,
    SessionStoreError
  >
>()
expectTypeOf(store.insert("k", new Uint8Array(), 1))
  .toEqualTypeOf<Effect.Effect<Option.Option<Version>, SessionStoreError>>()
expectTypeOf(store.replace("k", Version("v"), new Uint8Array(), 1))
  .toEqualTypeOf<Effect.Effect<Option.Option<Version>, SessionStoreError>>()
expectTypeOf(store.touch("k", { data: new Uint8Array(), version: Version("v"), expiresAt: 1 }, 1))
  .toEqualTypeOf<Effect.Effect<boolean, SessionStoreError>>()
expectTypeOf(store.remove("k")).toEqualTypeOf<Effect.Effect<boolean, SessionStoreError>>()
expectTypeOf(Effect.flatMap(SessionStore, (store) => store.load("k"))).toExtend<
  Effect.Effect<unknown, SessionStoreError, SessionStore>
>()
expectTypeOf(Effect.flatMap(SessionSweeper, ({ sweep }) => sweep))
  .toEqualTypeOf<Effect.Effect<number, SessionStoreError, SessionSweeper>>()

// @ts-expect-error a version is not any text
store.replace("k", "v", new Uint8Array(), 1)
// @ts-expect-error and a write that cannot say what it replaces is none
store.replace("k", new Uint8Array(), 1)

export const storeErrors = [
  new SessionStoreError({ reason: "TooLarge", operation: "insert", limit: 1, actual: 2, cause: new Error("x") }),
  // @ts-expect-error not one of its reasons
  new SessionStoreError({ reason: "Missing", operation: "load" })
]

// ---------------------------------------------------------------------------
// formats
// ---------------------------------------------------------------------------

expectTypeOf(PayloadCodec.msgpack()).toEqualTypeOf<PayloadCodec.PayloadCodec>()
expectTypeOf(PayloadCodec.json({ maxBytes: 1024, maxDepth: 8 })).toEqualTypeOf<PayloadCodec.PayloadCodec>()
// ---------------------------------------------------------------------------
// the laws
// ---------------------------------------------------------------------------

export const claims = () => {
  storeLaws(Memory.layer(), { sweeps: true })
  // @ts-expect-error: no `SessionSweeper` in its type
  storeLaws(Redis.layer(), { sweeps: true })
  storeLaws(Redis.layer(), { multiProcess: true })
  const single = Layer.provide(KeyValueStore.layer, layerMemory)
  storeLaws(single)
  // @ts-expect-error: it is for a single process
  storeLaws(single, { multiProcess: true })
  // @ts-expect-error: no `SessionStore`
  storeLaws(Layer.empty)
}
