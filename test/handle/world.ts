/**
 * One memory store and the requests that meet in it: those under test go
 * through a store that misbehaves by script, the others straight to it.
 */
import { it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as TestServices from "effect/TestServices"
import { randomBytes } from "node:crypto"
import * as Memory from "../../src/layers/Memory.js"
import { Session } from "../../src/Session.js"
import type { SessionError } from "../../src/SessionError.js"
import { SessionStore } from "../../src/SessionStore.js"
import * as Faults from "../faults.js"
import { native } from "../harness/native.js"

export class App extends Session.Tag<App>()("app/App", {
  user: Schema.optional(Schema.String),
  count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
  note: Schema.optionalWith(Schema.String, { default: () => "" })
}) {}

export type Value = typeof App.schema.Type
export type Handle = Session.StructHandle<Value>
export type Opened = Session.Opened<Handle>
export type Manager = Context.Tag.Service<typeof App.Manager>

export interface World {
  readonly store: SessionStore["Type"]
  readonly faults: Faults.Faults
  /** Opens the requests under test. */
  readonly app: Manager
  /** Opens what happens elsewhere: never disturbed, never counted. */
  readonly other: Manager
  /** How many records there are. */
  readonly records: Effect.Effect<number>
}

export const makeWorld = (options?: Session.Options): Effect.Effect<World, never, Scope.Scope> =>
  Effect.gen(function*() {
    // its sweep would wake for every minute of the years that the tests let pass
    const unswept = yield* Effect.clockWith((clock) =>
      Effect.withClock(Memory.make(), { ...clock, sleep: () => Effect.never })
    )
    const memory = Context.get(unswept, SessionStore)
    const keys = new Set<string>()
    const store: SessionStore["Type"] = {
      ...memory,
      insert: (key, data, expiresAt) => Effect.suspend(() => memory.insert(keys.add(key) && key, data, expiresAt))
    }
    const faults = Faults.make()
    const below = Layer.succeed(SessionStore, store)
    const manager = (store: Layer.Layer<SessionStore>) =>
      Effect.map(Layer.build(Layer.provide(App.layer(options), store)), Context.get(App.Manager))
    return {
      store,
      faults,
      app: yield* manager(Layer.provide(faults.layer, below)),
      other: yield* manager(below),
      records: Effect.map(
        Effect.forEach(keys, (key) => store.load(key)),
        (found) => found.filter(Option.isSome).length
      ).pipe(Effect.orDie)
    }
  }).pipe(Effect.orDie)

type Body = (world: World) => Effect.Effect<unknown, unknown, Scope.Scope | TestServices.TestServices>

/** A rule, in a world of its own. Jitter is off: under the TestClock nobody would end it. */
export const rule = (name: string, body: Body, options?: Session.Options): void =>
  it.scoped(name, () => Effect.withRandom(Effect.flatMap(makeWorld(options), body), Random.fixed([0])))

/** The cookie of a new session. */
export const issued = (world: World, value: Partial<Value> = {}): Effect.Effect<string, SessionError> =>
  Effect.map(world.other.issue({ count: 0, note: "", ...value }), Redacted.value)

/** A whole request: its handler, and the commit at its end. */
export const request = (
  manager: Manager,
  cookie: string | undefined,
  handler: (handle: Handle) => Effect.Effect<unknown, SessionError>
): Effect.Effect<Opened, SessionError> =>
  Effect.suspend(() => {
    const opened = manager.open(cookie)
    return Effect.as(Effect.zipRight(handler(opened.handle), opened.finish), opened)
  })

/** A request elsewhere, as a hook for the scripts. */
export const elsewhere = (
  world: World,
  cookie: string,
  handler: (handle: Handle) => Effect.Effect<unknown, SessionError>
): Effect.Effect<string> =>
  Effect.orDie(Effect.map(request(world.other, cookie, handler), (opened) => {
    const change = cookieOf(opened)
    return change === "keep" || change === "clear" ? cookie : change
  }))

export const increment = (handle: Handle): Effect.Effect<void, SessionError> =>
  handle.update((value) => ({ ...value, count: value.count + 1 }))

/** `times` increments elsewhere, each a commit of its own. */
export const increments = (world: World, cookie: string, times: number): Effect.Effect<unknown> =>
  Effect.replicateEffect(elsewhere(world, cookie, increment), times)

/** What a request would read now. */
export const stored = (world: World, cookie: string): Effect.Effect<Value, SessionError> =>
  Effect.suspend(() => world.other.open(cookie).handle.value)

/** "keep", "clear", or the cookie's value. */
export const cookieOf = (opened: Session.Opened<unknown>): string => {
  const change = Effect.runSync(opened.cookie)
  return change._tag === "Set" ? Redacted.value(change.value) : change._tag.toLowerCase()
}

/** "done", "unknown", or the reason of the error. */
export const outcome = (effect: Effect.Effect<unknown, SessionError>): Effect.Effect<string> =>
  Effect.match(effect, {
    onSuccess: () => "done",
    onFailure: (error) => "applied" in error && error.applied === "unknown" ? "unknown" : error.reason
  })

// ---------------------------------------------------------------------------
// cookies of every kind
// ---------------------------------------------------------------------------

export const format = native("app/App")

export const keyOf = (cookie: string): string => format.idOf(cookie).key
export const refOf = (cookie: string): string => format.idOf(cookie).ref

/** The same selector, another verifier. */
export const forged = (cookie: string): string =>
  Buffer.concat([Buffer.from(cookie, "base64url").subarray(0, 16), randomBytes(24)]).toString("base64url")

export const neverIssued = (): string => randomBytes(40).toString("base64url")

/** The record behind a cookie. */
export const recordOf = (world: World, cookie: string) =>
  Effect.map(
    Effect.orDie(world.store.load(keyOf(cookie))),
    Option.map((found) => ({
      ...found,
      record: format.decode(found.data)
    }))
  )

/** Another payload under a cookie, whatever it is worth. */
export const plant = (world: World, cookie: string, payload: Uint8Array): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { expiresAt, record, version } = Option.getOrThrow(yield* recordOf(world, cookie))
    const bytes = format.encode({ ...record, payload })
    yield* world.store.replace(keyOf(cookie), version, bytes, expiresAt)
  }).pipe(Effect.orDie)
