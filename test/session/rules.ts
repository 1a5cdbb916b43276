/**
 * The rules of the core, the format and the cookie that must not be lost: each
 * a sentence, and a check that fails when the library breaks it.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { expect } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { isInstance, type SessionError } from "../../src/SessionError.js"
import type { Entry } from "../../src/SessionStore.js"
import { SessionScan, SessionStore } from "../../src/SessionStore.js"
import * as Faults from "../faults.js"
import { either } from "../harness/codec.js"
import { native } from "../harness/native.js"
import type * as lib from "./lib.js"

export type Lib = typeof lib

type Check = (lib: Lib) => Effect.Effect<unknown, unknown, Scope.Scope>

const second = 1000
const minute = 60 * second

// -----------------------------------------------------------------------------
// a world of one store
// -----------------------------------------------------------------------------

const tagOf = (lib: Lib, name = "app/App") =>
  class App extends lib.Session.Tag<App>()(name, {
    user: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }) {}

type Options = Parameters<ReturnType<typeof tagOf>["layer"]>[0]

const worldOf = (lib: Lib, options?: Options) =>
  Effect.gen(function*() {
    const App = tagOf(lib)
    // its sweep would wake for every minute that a law lets pass
    const memory = yield* Effect.clockWith((clock) =>
      Effect.withClock(lib.Memory.make(), { ...clock, sleep: () => Effect.never })
    )
    const store = Context.get(memory, SessionStore)
    const faults = Faults.make()
    const below = Layer.succeed(SessionStore, store)
    const managed = (store: Layer.Layer<SessionStore>) => Layer.build(App.layer(options).pipe(Layer.provide(store)))
    const app = yield* managed(Layer.provide(faults.layer, below))
    const records = Effect.map(
      Stream.runCollect(Context.get(memory, SessionScan).entries),
      (all): ReadonlyArray<Entry> => [...all]
    )
    const other = Context.get(yield* managed(below), App.Manager)
    return { App, app: Context.get(app, App.Manager), context: app, other, store, faults, records }
  })

type World = Effect.Effect.Success<ReturnType<typeof worldOf>>
type Manager = World["app"]
type Handle = ReturnType<Manager["open"]>["handle"]
type Opened = ReturnType<Manager["open"]>

const issued = (world: World, count = 0) => Effect.map(world.other.issue({ count }), Redacted.value)

const request = (
  manager: Manager,
  cookie: string | undefined,
  handler: (handle: Handle) => Effect.Effect<unknown, SessionError>
) =>
  Effect.suspend(() => {
    const opened = manager.open(cookie)
    return Effect.as(Effect.zipRight(handler(opened.handle), opened.finish), opened)
  })

const increment = (handle: Handle) => handle.update((value) => ({ ...value, count: value.count + 1 }))
const login = (handle: Handle) => handle.regenerate
const logout = (handle: Handle) => handle.destroy
const read = (handle: Handle) => handle.value

const cookieOf = (opened: Opened): string => {
  const change = Effect.runSync(opened.cookie)
  return change._tag === "Set" ? Redacted.value(change.value) : change._tag
}

const elsewhere = (world: World, cookie: string, handler: (handle: Handle) => Effect.Effect<unknown, SessionError>) =>
  Effect.orDie(Effect.map(request(world.other, cookie, handler), cookieOf))

const countOf = (world: World, cookie: string) =>
  Effect.map(Effect.suspend(() => world.other.open(cookie).handle.value), ({ count }) => count)

const outcome = (effect: Effect.Effect<unknown, SessionError>) =>
  Effect.match(effect, {
    onSuccess: () => "done",
    onFailure: (error) => "applied" in error && error.applied === "unknown" ? "unknown" : error.reason
  })

/** Forked fibers have gone as far as they can. */
const settled = Effect.repeatN(Effect.yieldNow(), 200)

const loggedIn = (world: World, cookie: string) => elsewhere(world, cookie, login)

const forged = (cookie: string) =>
  Buffer.concat([Buffer.from(cookie, "base64url").subarray(0, 16), Buffer.alloc(24, 7)]).toString("base64url")

const inWorld = (
  check: (world: World, lib: Lib) => Effect.Effect<unknown, unknown, Scope.Scope>,
  options?: Options
): Check =>
(lib) => Effect.flatMap(worldOf(lib, options), (world) => check(world, lib))

/** The record behind a cookie, taken apart. */
const formatOf = (name = "app/App") => native(name)

const keyOf = (_: Lib, cookie: string) => formatOf().idOf(cookie).key

const sync = (check: (lib: Lib) => void): Check => (lib) => Effect.sync(() => check(lib))

// -----------------------------------------------------------------------------
// requests by HTTP
// -----------------------------------------------------------------------------

const answer = (
  lib: Lib,
  handler: (handle: Handle) => Effect.Effect<HttpServerResponse.HttpServerResponse, unknown>,
  headers: Record<string, string> | ((cookie: string) => Record<string, string>) = {},
  options?: Options
) =>
  Effect.gen(function*() {
    const world = yield* worldOf(lib, options)
    const app = lib.SessionHttp.middleware(world.App)(Effect.flatMap(world.App, handler))
    const runtime = yield* Effect.runtime<never>()
    const send = HttpApp.toWebHandlerRuntime({
      ...runtime,
      context: Context.merge(runtime.context, world.context)
    })(app as HttpApp.Default<never, never>)
    const cookie = yield* issued(world)
    const sent = typeof headers === "function" ? headers(cookie) : headers
    const response = yield* Effect.promise(() => send(new Request("http://localhost/", { headers: sent })))
    return { response, world, cookie, setCookie: response.headers.getSetCookie() }
  })

const ok = (handle: Effect.Effect<unknown, SessionError>) => Effect.as(handle, HttpServerResponse.text("ok"))

const wrong = (options: NonNullable<Options>["cookie"]) =>
  sync((lib) => expect(Either.isLeft(lib.SessionCookie.make(options))).toBe(true))

const corrupt = (bytes: Uint8Array): Check =>
  sync((lib) => expect(reasonOf(() => lib.PayloadCodec.msgpack().decode(bytes))).toBe("Corrupt"))

const recordBytes = (): Buffer =>
  Buffer.from(
    formatOf().encode({
      createdAt: 0,
      absoluteDeadline: 1,
      absoluteTimeout: 1,
      idleTimeout: 1,
      persistent: false,
      verifierHash: new Uint8Array(32),
      retired: [],
      seq: 1,
      tokens: new Uint8Array(),
      payload: new Uint8Array(400)
    })
  )

const reasonOf = (body: () => unknown): string => {
  try {
    body()
    return "done"
  } catch (error) {
    return isInstance(error) ? error.reason : "Corrupt" // what a codec throws
  }
}

const changed = (at: number, byte: number, reason: string): Check =>
  sync(() => {
    const bytes = recordBytes()
    bytes[at] = byte
    expect(reasonOf(() => formatOf().decode(bytes))).toBe(reason)
  })

// -----------------------------------------------------------------------------
// the laws
// -----------------------------------------------------------------------------

export const rules: Readonly<Record<string, Check>> = {
  "a wrong verifier reads nothing": inWorld((world) =>
    Effect.gen(function*() {
      expect(yield* countOf(world, forged(yield* issued(world, 7)))).toBe(0)
    })
  ),

  "a write under a retired id is Gone": inWorld((world) =>
    Effect.gen(function*() {
      const old = yield* issued(world)
      yield* loggedIn(world, old)
      expect(yield* outcome(request(world.app, old, increment))).toBe("Gone")
    })
  ),

  "a login under a retired id starts a session without the old data": inWorld((world) =>
    Effect.gen(function*() {
      const old = yield* issued(world, 5)
      yield* loggedIn(world, old)
      const opened = yield* request(world.app, old, (handle) => Effect.zipRight(handle.regenerate, increment(handle)))
      expect(yield* countOf(world, cookieOf(opened))).toBe(1)
    })
  ),

  "a retired id is forgotten after 30 seconds": inWorld((world) =>
    Effect.gen(function*() {
      const old = yield* issued(world)
      yield* loggedIn(world, old)
      yield* TestClock.adjust(31 * second)
      expect(yield* outcome(request(world.app, old, increment))).toBe("done")
    })
  ),

  "after a login the old cookie opens nothing": inWorld((world) =>
    Effect.gen(function*() {
      const old = yield* issued(world, 3)
      const fresh = yield* loggedIn(world, old)
      expect(yield* countOf(world, old)).toBe(0)
      expect(yield* countOf(world, fresh)).toBe(3)
    })
  ),

  "a session that is not used ends": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, 3)
      yield* TestClock.adjust(31 * minute)
      expect(yield* countOf(world, cookie)).toBe(0)
    })
  ),

  "no use carries a session beyond its absolute deadline": inWorld((world) =>
    Effect.gen(function*() {
      const opened = yield* request(world.app, undefined, increment)
      yield* TestClock.adjust(20 * minute)
      const expiresAt = yield* Effect.flatMap(
        request(world.app, cookieOf(opened), increment),
        ({ handle }) => handle.expiresAt
      )
      expect(Option.getOrThrow(expiresAt).epochMillis).toBe(40 * minute)
    }), { absoluteTimeout: "40 minutes" }),

  "a record beyond its own deadlines is no session, whatever the store says": inWorld(
    (world, lib) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world, 3)
        const key = keyOf(lib, cookie)
        const stored = Option.getOrThrow(yield* world.store.load(key))
        yield* world.store.touch(key, stored, 100 * minute)
        yield* TestClock.adjust(50 * minute)
        expect(yield* countOf(world, cookie)).toBe(0)
      }),
    { absoluteTimeout: "40 minutes", onCorrupt: "fail" } // expired, and not Corrupt
  ),

  "a record that the store hands out late is no session": inWorld((world, lib) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, 3)
      const stored = yield* world.store.load(keyOf(lib, cookie))
      yield* TestClock.adjust(31 * minute)
      world.faults.always("load", () => Effect.succeed(stored) as Effect.Effect<never>)
      const value = yield* world.app.open(cookie).handle.value
      expect(value.count).toBe(0)
    })
  ),

  "a deadline is moved once per tenth of the idle timeout": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      for (const wait of [0, minute, minute, 2 * minute]) {
        yield* TestClock.adjust(wait)
        yield* request(world.app, cookie, read)
      }
      expect(world.faults.calls.filter((call) => call === "touch").length).toBe(1)
    })
  ),

  "two updates at once are both stored": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.after(elsewhere(world, cookie, increment)))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("done")
      expect(yield* countOf(world, cookie)).toBe(2)
    })
  ),

  "a decision is made by nothing older than what its request has read": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const faster = Faults.after(elsewhere(world, cookie, increment))
      const gate = yield* Deferred.make<void>()
      // the first has the turn and waits for its answer, while others go on
      world.faults.script("replace", faster, (call) => Effect.zipLeft(call, Deferred.await(gate)), faster)
      const first = yield* Effect.fork(request(world.app, cookie, increment))
      yield* settled
      yield* elsewhere(world, cookie, increment)
      const second = yield* Effect.fork(Effect.suspend(() =>
        world.app.open(cookie).handle.transact((value) =>
          value.count < 3 ? ["old", value] : ["fresh", { ...value, count: value.count + 1 }]
        )
      ))
      yield* settled
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(first)
      expect(yield* Fiber.join(second)).toBe("fresh")
      expect(yield* countOf(world, cookie)).toBe(5)
    })
  ),

  "a write that never ends holds up no other request": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const faster = Faults.after(elsewhere(world, cookie, increment))
      const gate = yield* Deferred.make<void>()
      world.faults.script("replace", faster, (call) => Effect.zipRight(Deferred.await(gate), call), faster)
      yield* Effect.fork(request(world.app, cookie, increment))
      yield* settled
      const other = yield* Effect.fork(outcome(request(world.app, cookie, increment)))
      yield* settled
      yield* TestClock.adjust(5 * second)
      const answered = yield* Fiber.poll(other)
      yield* Deferred.succeed(gate, undefined) // or the fibers would never end
      expect(answered).toEqual(Option.some(Exit.succeed("done")))
    })
  ),

  "a session that is destroyed under a writer stays gone, and the writer is told": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.after(elsewhere(world, cookie, logout)))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("Gone")
      expect(yield* world.records).toEqual([])
    })
  ),

  "a session that vanished sends no cookie": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* Effect.zipRight(opened.handle.regenerate, opened.handle.save)
      world.faults.script("replace", Faults.after(elsewhere(world, cookieOf(opened), logout)))
      yield* increment(opened.handle)
      expect(yield* outcome(opened.finish)).toBe("Gone")
      expect(cookieOf(opened)).toBe("Keep")
    })
  ),

  "a touch that finds the session gone sends no cookie": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* opened.handle.setLifetime({ persistent: true })
      yield* opened.handle.save
      yield* TestClock.adjust(10 * minute)
      yield* elsewhere(world, cookie, logout)
      yield* opened.finish
      expect(cookieOf(opened)).toBe("Keep")
    })
  ),

  "a commit that gave up does not send an id that a login has ended": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* opened.handle.setLifetime({ persistent: true })
      yield* opened.handle.save
      const late = Effect.zipRight(loggedIn(world, cookie), TestClock.adjust(6 * second))
      world.faults.script("replace", Faults.after(late))
      yield* increment(opened.handle)
      expect(yield* outcome(opened.finish)).toBe("Conflict")
      expect(cookieOf(opened)).toBe("Keep")
    })
  ),

  "a login elsewhere makes a late write Gone": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.after(loggedIn(world, cookie)))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("Gone")
    })
  ),

  "an update whose reply was lost is applied once": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseReply())
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("done")
      expect(yield* countOf(world, cookie)).toBe(1)
    })
  ),

  "it is recognised behind seven commits of others": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const seven = Effect.replicateEffect(elsewhere(world, cookie, increment), 7)
      world.faults.script("replace", Faults.loseReply(seven))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("done")
      expect(yield* countOf(world, cookie)).toBe(8)
    })
  ),

  "behind nine commits of others its fate is unknown, and nothing more is written": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const nine = Effect.replicateEffect(elsewhere(world, cookie, increment), 9)
      world.faults.script("replace", Faults.loseReply(nine))
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      expect(yield* outcome(handle.save)).toBe("unknown")
      expect(yield* outcome(increment(handle))).toBe("unknown")
      expect(yield* outcome(finish)).toBe("unknown")
      expect(yield* countOf(world, cookie)).toBe(10)
    })
  ),

  "an insert without an answer is tried again under another id, and not for ever": inWorld((world, lib) =>
    Effect.gen(function*() {
      world.faults.always("insert", Faults.loseReply())
      expect(yield* outcome(request(world.app, undefined, increment))).toBe("Timeout")
      world.faults.always("insert")
      const lost = new Set((yield* world.records).map(({ key }) => key))
      expect(lost.size).toBe(2)
      world.faults.script("insert", Faults.loseReply())
      const opened = yield* request(world.app, undefined, increment)
      expect((yield* world.records).length).toBe(4)
      expect(lost.has(keyOf(lib, cookieOf(opened)))).toBe(false)
    })
  ),

  "a commit that stays stale is a Conflict after 32 attempts or 5 seconds": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.always("replace", () => Effect.succeedNone as Effect.Effect<never>)
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("Conflict")
      expect(world.faults.calls.filter((call) => call === "replace").length).toBe(32)
    })
  ),

  "a commit that stays stale for 5 seconds is a Conflict": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.always(
        "replace",
        () => Effect.zipRight(TestClock.adjust(3 * second), Effect.succeedNone) as Effect.Effect<never>
      )
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("Conflict")
      expect(world.faults.calls.filter((call) => call === "replace").length).toBe(2)
    })
  ),

  "after the head no session is created": inWorld((world) =>
    Effect.gen(function*() {
      const { finish, handle } = world.app.open()
      yield* Effect.zipRight(handle.value, finish)
      expect(yield* outcome(increment(handle))).toBe("HeadersSent")
      expect(yield* world.records).toEqual([])
    })
  ),

  "after the head no session gets a new id": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* Effect.zipRight(handle.value, finish)
      expect(yield* outcome(handle.regenerate)).toBe("HeadersSent")
    })
  ),

  "a set of a key that was read and has moved is a Conflict": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.after(elsewhere(world, cookie, increment)))
      const naive = (handle: Handle) => Effect.flatMap(handle.get("count"), (count) => handle.set("count", count + 1))
      expect(yield* outcome(request(world.app, cookie, naive))).toBe("Conflict")
      expect(yield* countOf(world, cookie)).toBe(1)
    })
  ),

  "an updater that throws when it is run again fails the commit by type": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.after(elsewhere(world, cookie, increment)))
      const picky = (handle: Handle) =>
        handle.update((value) => {
          if (value.count > 0) throw new Error("no")
          return { ...value, user: "u" }
        })
      expect(yield* outcome(request(world.app, cookie, picky))).toBe("Updater")
    })
  ),

  "a logout removes nothing that it has not verified": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("remove", Faults.after(loggedIn(world, cookie)))
      expect(yield* outcome(request(world.app, cookie, logout))).toBe("Gone")
      expect((yield* world.records).length).toBe(1)
    })
  ),

  "a logout does not starve": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const busy = Faults.after(elsewhere(world, cookie, increment))
      world.faults.script("remove", ...Array.from({ length: 40 }, () => busy))
      expect(yield* outcome(request(world.app, cookie, logout))).toBe("done")
      expect(yield* world.records).toEqual([])
      expect(world.faults.calls.filter((call) => call === "remove").length).toBe(4)
    })
  ),

  "a logout under a retired id is not acknowledged": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* loggedIn(world, cookie)
      expect(yield* outcome(request(world.app, cookie, logout))).toBe("Gone")
      expect((yield* world.records).length).toBe(1)
    })
  ),

  "nor is one of a request that a login elsewhere has overtaken": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { handle } = world.app.open(cookie)
      yield* increment(handle)
      yield* loggedIn(world, cookie)
      expect(yield* outcome(handle.save)).toBe("Gone")
      expect(yield* outcome(handle.destroy)).toBe("Gone")
    })
  ),

  "a logout clears the cookie": inWorld((world) =>
    Effect.gen(function*() {
      const opened = yield* request(world.app, yield* issued(world), logout)
      expect(cookieOf(opened)).toBe("Clear")
    })
  ),

  "what was discarded is never written": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* increment(opened.handle)
      yield* opened.discard
      yield* opened.handle.save
      expect(yield* countOf(world, cookie)).toBe(0)
    })
  ),

  "a store that is down logs nobody out": inWorld((world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.always("load", Faults.refuse("Unavailable"))
      expect(yield* outcome(request(world.app, cookie, read))).toBe("Unavailable")
    })
  ),

  "what cannot be decoded fails where the app says so": inWorld((world, lib) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { expiresAt, version } = Option.getOrThrow(yield* world.store.load(keyOf(lib, cookie)))
      yield* world.store.replace(keyOf(lib, cookie), version, Buffer.from("{}"), expiresAt)
      expect(yield* outcome(request(world.app, cookie, read))).toBe("Corrupt")
    }), { onCorrupt: "fail" }),

  "a lifetime is between a millisecond and ten years": inWorld((world) =>
    Effect.gen(function*() {
      const handle = world.app.open().handle
      for (const idleTimeout of ["0 millis", "5000 days"] as const) {
        const exit = yield* Effect.exit(Effect.suspend(() => handle.setLifetime({ idleTimeout })))
        expect(exit._tag).toBe("Failure")
      }
    })
  ),

  // format
  "an id has one spelling": sync(() => {
    const id = formatOf()
    const cookie = Buffer.alloc(40, 1).toString("base64url")
    const next = String.fromCharCode(cookie.charCodeAt(53) + 1)
    for (const text of [cookie.slice(0, 53) + next, `${cookie}=`, ` ${cookie}`, cookie.slice(1), `${cookie}A`]) {
      expect(id.parse(text)).toBeUndefined()
    }
  }),

  "two tags share no record, and a reference tells nothing of its key": sync(() => {
    const cookie = Buffer.alloc(40).toString("base64url")
    const one = formatOf("a").idOf(cookie)
    const other = formatOf("b").idOf(cookie)
    expect(one.key).not.toBe(other.key)
    expect(Buffer.from(one.key, "hex").toString("base64url").slice(0, 22)).not.toBe(one.ref)
  }),

  "neither half of an id is in the store": inWorld((world) =>
    Effect.gen(function*() {
      const secret = Buffer.from(yield* issued(world), "base64url")
      for (const { data, key } of yield* world.records) {
        const everything = Buffer.concat([Buffer.from(key), Buffer.from(key, "hex"), data])
        for (const half of [secret.subarray(0, 16), secret.subarray(16)]) {
          expect(everything.includes(half)).toBe(false)
        }
      }
    })
  ),

  "an id prints as nothing": sync(() => {
    const id = formatOf().idOf(Buffer.alloc(40, 1).toString("base64url"))
    expect([`${id}`, JSON.stringify(id)]).toEqual(["<redacted>", "\"<redacted>\""])
  }),

  "a record of a newer version is left alone": changed(0, 2, "Unsupported"),
  "foreign bytes are no record": changed(0, 0x7b, "Corrupt"),
  "unknown flags are no record": changed(1, 2, "Corrupt"),
  "too many retired verifiers are no record": changed(64, 5, "Corrupt"),
  "too many tokens are no record": changed(65, 9, "Corrupt"),
  "a record that is cut off is no record": sync(() => {
    expect(reasonOf(() => formatOf().decode(recordBytes().subarray(0, 60)))).toBe("Corrupt")
  }),

  // codec
  "a payload over the limit is TooLarge": sync((lib) => {
    const codec = either(lib.PayloadCodec.msgpack({ maxBytes: 10 }))
    // nine bytes each: three nodes do not show it
    expect(codec.encode([0.1, 0.2])).toMatchObject({ left: { reason: "TooLarge", limit: 10 } })
  }),
  "stored bytes over the limit are not decoded": sync((lib) => {
    const codec = either(lib.PayloadCodec.msgpack({ maxBytes: 10 }))
    expect(codec.decode(Buffer.from([0xac, ...Buffer.alloc(12, 0x61)]))).toMatchObject({ left: { reason: "Corrupt" } })
  }),
  "a value that is nested too deep is refused": sync((lib) => {
    const codec = either(lib.PayloadCodec.msgpack({ maxDepth: 2 }))
    expect(Either.isRight(codec.encode([[1]]))).toBe(true)
    expect(codec.encode([[[1]]])).toMatchObject({ left: { reason: "Encode" } })
  }),
  "stored bytes that are nested too deep are refused": corrupt(Buffer.from([...Buffer.alloc(100, 0x91), 1])),
  "extensions are refused": corrupt(Buffer.from([0xd4, 0, 5])),
  "a byte that is never used is refused": corrupt(Buffer.from([0x91, 0xc1])),
  "text that is not UTF-8 is refused": corrupt(Buffer.from([0xa1, 0xff])),
  "a key that is not text is refused": corrupt(Buffer.from([0x81, 0x01, 0x01])),
  "the key __proto__ is data": sync((lib) => {
    const codec = either(lib.PayloadCodec.msgpack())
    const value = JSON.parse("{\"__proto__\":{\"polluted\":1}}") as unknown
    const back = Either.getOrThrow(codec.decode(Either.getOrThrow(codec.encode(value))))
    expect(Object.keys(back as object)).toEqual(["__proto__"])
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype)
  }),
  "an instance of a class is no plain data": sync((lib) => {
    expect(either(lib.PayloadCodec.msgpack()).encode(new Date(0))).toMatchObject({ left: { reason: "Encode" } })
  }),

  // cookie
  "of two cookies of the name neither is believed": sync((lib) => {
    expect(lib.SessionCookie.read("id", "id=a; id=b")).toEqual(["a", "b"])
  }),
  "a name that only begins like the cookie's is another": sync((lib) => {
    expect(lib.SessionCookie.read("id", "idx=a; xid=b; id =c")).toEqual([])
  }),
  "a cookie's name is a token": wrong({ name: "a;b" }),
  "a cookie's domain is a host name": wrong({ domain: ".example.com", name: "id" }),
  "a cookie's path is one": wrong({ path: "/a;b", name: "id" }),
  "sameSite none needs secure": wrong({ sameSite: "none", secure: false }),
  "partitioned needs secure": wrong({ partitioned: true, secure: false }),
  "__Host- needs secure, no domain and the path /": wrong({ name: "__Host-id", path: "/app" }),
  "__Secure- needs secure": wrong({ name: "__Secure-id", secure: false }),
  "almost a prefix is refused": wrong({ name: "__host-id" }),

  // http
  "a new session's cookie is Secure, HttpOnly, SameSite=Lax, for / and without an end": (lib) =>
    Effect.map(answer(lib, (handle) => ok(increment(handle))), ({ setCookie }) => {
      expect(setCookie.length).toBe(1)
      const [, ...attributes] = setCookie[0]!.split("; ")
      expect(attributes.sort()).toEqual(["HttpOnly", "Path=/", "SameSite=Lax", "Secure"])
    }),

  "a response that sets the cookie is stored by no cache": (lib) =>
    Effect.map(
      answer(
        lib,
        (handle) => Effect.map(ok(increment(handle)), HttpServerResponse.setHeader("cache-control", "public"))
      ),
      ({ response }) => expect(response.headers.get("cache-control")).toBe("no-store")
    ),

  "a response that used the session varies by cookie": (lib) =>
    Effect.map(
      answer(lib, (handle) => Effect.map(ok(handle.value), HttpServerResponse.setHeader("vary", "Origin"))),
      ({ response }) => expect(response.headers.get("vary")).toBe("Origin, Cookie")
    ),

  "a response that did not use the session is left as it is": (lib) =>
    Effect.map(
      answer(lib, () => ok(Effect.void), (cookie) => ({ cookie: `__Host-id=${cookie}` })),
      ({ response, world }) => {
        expect([response.headers.get("vary"), response.headers.get("set-cookie")]).toEqual([null, null])
        expect(world.faults.calls).toEqual([])
      }
    ),

  "a logout clears the cookie with its own attributes": (lib) =>
    Effect.map(
      answer(lib, (handle) => ok(handle.destroy), (cookie) => ({ cookie: `__Host-id=${cookie}` })),
      ({ setCookie }) => {
        const [first, ...attributes] = setCookie[0]!.split("; ")
        expect(first).toBe("__Host-id=")
        expect(attributes.sort()).toEqual([
          "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
          "HttpOnly",
          "Max-Age=0",
          "Path=/",
          "SameSite=Lax",
          "Secure"
        ])
      }
    ),

  "a handler that dies has written nothing": (lib) =>
    Effect.flatMap(
      answer(lib, (handle) => Effect.zipRight(increment(handle), Effect.die("defect"))),
      ({ response, setCookie, world }) =>
        Effect.map(world.records, (records) => {
          expect([response.status, setCookie.length, records.length]).toEqual([500, 0, 1])
        })
    ),

  "a commit that fails is answered instead of the response, without its ETag": (lib) =>
    Effect.map(
      answer(lib, (handle) =>
        handle.update((value) => ({ ...value, user: 1 as unknown as string })).pipe(
          Effect.as(HttpServerResponse.text("ok", { headers: { etag: "\"1\"", "x-mine": "1" } }))
        )),
      ({ response }) =>
        expect([response.status, response.headers.get("etag"), response.headers.get("x-mine")]).toEqual([
          500,
          null,
          "1"
        ])
    )
}
