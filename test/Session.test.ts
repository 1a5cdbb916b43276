import { describe, expect, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { inspect } from "node:util"
import * as Memory from "../src/layers/Memory.js"
import { Session } from "../src/Session.js"
import * as Faults from "./faults.js"
import {
  App,
  cookieOf,
  type Handle,
  increment,
  issued,
  keyOf,
  neverIssued,
  outcome,
  request,
  rule,
  stored
} from "./handle/world.js"

describe("round trips", () => {
  const costs: Record<
    string,
    readonly [
      cookie: "issued" | "none",
      (handle: Handle) => Effect.Effect<unknown, unknown>,
      calls: ReadonlyArray<string>
    ]
  > = {
    "anonymous, untouched: 0": ["none", () => Effect.void, []],
    "anonymous, only read: 0": ["none", (handle) => handle.value, []],
    "a cookie, untouched: 0": ["issued", () => Effect.void, []],
    "the first write: 1": ["none", increment, ["insert"]],
    "read: 1": ["issued", (handle) => Effect.zipRight(handle.value, handle.get("count")), ["load"]],
    "modify: 2": ["issued", (handle) => Effect.zipRight(increment(handle), handle.set("note", "x")), [
      "load",
      "replace"
    ]],
    "login: 2": ["issued", (handle) => Effect.zipRight(handle.set("user", "ada"), handle.regenerate), [
      "load",
      "replace"
    ]],
    "logout: 2": ["issued", (handle) => handle.destroy, ["load", "remove"]]
  }
  for (const [name, [cookie, handler, calls]] of Object.entries(costs)) {
    rule(name, (world) =>
      Effect.gen(function*() {
        const opened = yield* request(world.app, cookie === "none" ? undefined : yield* issued(world), (handle) =>
          Effect.orDie(handler(handle)))
        expect(world.faults.calls).toEqual(calls)
        if (calls.length < 2 && calls[0] !== "insert") {
          expect(cookieOf(opened)).toBe("keep")
        }
      }))
  }

  rule("a touch that is due: 1 more", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* TestClock.adjust("3 minutes")
      yield* request(world.app, cookie, (handle) => handle.value)
      expect(world.faults.calls).toEqual(["load", "touch"])
    }))

  rule("a conflict: 2 more", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.after(Effect.orDie(request(world.other, cookie, increment))))
      yield* request(world.app, cookie, increment)
      expect(world.faults.calls).toEqual(["load", "replace", "load", "replace"])
    }))
})

describe("the handle", () => {
  rule("isNew is constant for the request", (world) =>
    Effect.gen(function*() {
      const { handle } = world.app.open()
      expect(yield* handle.isNew).toBe(true)
      yield* increment(handle)
      yield* handle.save
      expect(yield* handle.isNew).toBe(true)
    }))

  rule("ref, createdAt and expiresAt are there as soon as the record is", (world) =>
    Effect.gen(function*() {
      const { handle } = world.app.open()
      yield* increment(handle)
      const all = Effect.all([handle.ref, handle.createdAt, handle.expiresAt])
      expect((yield* all).map((found) => Option.isSome<unknown>(found))).toEqual([false, false, false])
      yield* handle.save
      expect((yield* all).map((found) => Option.isSome<unknown>(found))).toEqual([true, true, true])
    }))

  rule("ref is 22 characters, and neither the cookie nor the key", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const ref = Option.getOrThrow(yield* world.app.open(cookie).handle.ref)
      expect(ref).toMatch(/^[A-Za-z0-9_-]{22}$/)
      expect(cookie).not.toContain(ref)
      expect(keyOf(cookie)).not.toContain(ref)
    }))

  rule("shows no id, however it is printed", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const opened = world.app.open(cookie)
      yield* opened.handle.regenerate
      yield* opened.handle.save
      const secrets = [cookie, cookieOf(opened)]
      const shown = [opened, opened.handle, opened.cookie, { ...opened }, world.app].flatMap((value) => [
        inspect(value, { depth: 20, showHidden: true }),
        JSON.stringify(value),
        String(value)
      ]).join()
      for (const secret of secrets) {
        expect(shown).not.toContain(secret)
        expect(shown).not.toContain(secret.slice(0, 21))
      }
    }))
})

describe("issue", () => {
  rule("answers a cookie that opens the value", (world) =>
    Effect.gen(function*() {
      const cookie = yield* world.app.issue({ user: "ada", count: 1, note: "" })
      expect(String(cookie)).toBe("<redacted>")
      expect(yield* stored(world, Redacted.value(cookie))).toEqual({ user: "ada", count: 1, note: "" })
      expect(world.faults.calls).toEqual(["insert"])
    }))

  rule("fails when the store does", (world) =>
    Effect.gen(function*() {
      world.faults.script("insert", Faults.refuse("Rejected"))
      expect(yield* outcome(world.app.issue({ count: 1, note: "" }))).toBe("Rejected")
    }))
})

describe("layerTest", () => {
  it.effect("is new and empty", () =>
    Effect.gen(function*() {
      const session = yield* App
      expect(yield* session.isNew).toBe(true)
      expect(yield* session.value).toEqual({ count: 0, note: "" })
    }).pipe(Effect.provide(App.layerTest())))

  it.effect("holds what it was given, the rest by its defaults", () =>
    Effect.gen(function*() {
      const session = yield* App
      expect(yield* session.isNew).toBe(false)
      expect(yield* session.value).toEqual({ user: "ada", count: 0, note: "" })
      expect(Option.isSome(yield* session.ref)).toBe(true)
    }).pipe(Effect.provide(App.layerTest({ user: "ada" }))))

  it.effect("is the real handle, under the typed tag and the agnostic one", () =>
    Effect.gen(function*() {
      const [typed, agnostic] = [yield* App, yield* Session]
      yield* typed.set("user", "eve")
      yield* agnostic.regenerate
      yield* agnostic.save
      expect(yield* typed.transact((value) => [value.user, value])).toBe("eve")
      yield* agnostic.destroy
      expect(yield* typed.value).toEqual({ count: 0, note: "" })
    }).pipe(Effect.provide(App.layerTest({ user: "ada" }))))

  it.effect("ends with the clock, as sessions do", () =>
    Effect.gen(function*() {
      const session = yield* App
      yield* TestClock.adjust("30 minutes")
      expect(yield* session.isNew).toBe(true)
    }).pipe(Effect.provide(App.layerTest({ user: "ada" }))))
})

describe("tags", () => {
  class Admin extends Session.Tag<Admin>()("app/Admin", { count: Schema.optional(Schema.Number) }) {}

  it.effect("of one store never share a record", () =>
    Effect.gen(function*() {
      const [app, admin] = [yield* App.Manager, yield* Admin.Manager]
      const cookie = Redacted.value(yield* app.issue({ count: 1, note: "" }))
      expect(yield* admin.open(cookie).handle.isNew).toBe(true)
    }).pipe(Effect.provide(Layer.provide(Layer.merge(App.layer(), Admin.layer()), Memory.layer()))))

  it("are tags: keyed by their id", () => {
    expect(App.key).toBe("app/App")
    expect(Schema.isSchema(App.schema)).toBe(true)
  })
})

describe("a session defined by a Schema.Struct", () => {
  class Whole extends Session.Tag<Whole>()(
    "app/Whole",
    Schema.Struct({
      user: Schema.optional(Schema.String),
      count: Schema.optionalWith(Schema.Number, { default: () => 0 })
    })
  ) {}

  it.effect("starts with the defaults of its fields, and has get and set", () =>
    Effect.gen(function*() {
      const manager = yield* Whole.Manager
      const opened = manager.open()
      expect(yield* opened.handle.value).toEqual({ count: 0 })
      yield* opened.handle.set("user", "ada")
      yield* opened.finish
      expect(yield* manager.open(cookieOf(opened as never)).handle.get("user")).toBe("ada")
    }).pipe(Effect.provide(Whole.layer().pipe(Layer.provide(Memory.layer())))))

  it.effect("takes some of its fields in layerTest", () =>
    Effect.gen(function*() {
      expect(yield* (yield* Whole).value).toEqual({ user: "ada", count: 0 })
    }).pipe(Effect.provide(Whole.layerTest({ user: "ada" }))))
})

describe("options", () => {
  const built = (options: Session.Options) =>
    App.layer(options).pipe(
      Layer.provide(Memory.layer()),
      Layer.build,
      Effect.scoped,
      Effect.match({ onFailure: (error) => error.option, onSuccess: () => "built" })
    )

  for (
    const [option, options] of [
      ["idleTimeout", { idleTimeout: 0 }],
      ["idleTimeout", { idleTimeout: Infinity }],
      ["idleTimeout", { idleTimeout: "-5 minutes" as never }],
      ["absoluteTimeout", { absoluteTimeout: "4000 days" }],
      ["absoluteTimeout", { absoluteTimeout: 0.2 }],
      ["cookie.name", { cookie: { name: "a b" } }],
      ["cookie.sameSite", { cookie: { secure: false, sameSite: "none" } }]
    ] satisfies ReadonlyArray<[string, Session.Options]>
  ) {
    it.effect(`a mistake fails the Layer and names the option: ${JSON.stringify(options)}`, () =>
      Effect.map(built(options), (outcome) => expect(outcome).toBe(option)))
  }

  it.effect("an empty session that does not decode fails the Layer", () => {
    const fields = { name: Schema.String } as never // what the compiler refuses
    class Broken extends Session.Tag<Broken>()("app/Broken", fields) {}
    return Broken.layer().pipe(
      Layer.provide(Memory.layer()),
      Layer.build,
      Effect.scoped,
      Effect.flip,
      Effect.map((error) => {
        expect(error).toMatchObject({ _tag: "SessionConfigError", option: "fields" })
        expect(String(error)).toContain("app/Broken")
      })
    )
  })

  it.effect("secure: false warns", () =>
    Effect.gen(function*() {
      const messages: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => messages.push(`${logLevel.label} ${String(message)}`))
      yield* Effect.provide(built({ cookie: { secure: false } }), Logger.replace(Logger.defaultLogger, logger))
      yield* Effect.provide(built({}), Logger.replace(Logger.defaultLogger, logger))
      expect(messages).toEqual([expect.stringMatching(/^WARN Session app\/App: cookie.secure is false/)])
    }))

  it.effect("come from Config too, with the same checks", () =>
    Effect.gen(function*() {
      const layer = App.layerConfig({ idleTimeout: Config.duration("IDLE"), persistent: Config.boolean("PERSISTENT") })
      const build = (entries: ReadonlyArray<readonly [string, string]>) =>
        layer.pipe(
          Layer.provide(Memory.layer()),
          Layer.build,
          Effect.map(Context.get(App.Manager)),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map(entries)))
        )
      const opened = (yield* build([["IDLE", "1 minute"], ["PERSISTENT", "true"]])).open()
      yield* increment(opened.handle)
      yield* opened.handle.save
      expect(yield* opened.cookie).toMatchObject({ _tag: "Set", expiresAt: Option.some(60_000) })
      expect(yield* Effect.flip(build([["IDLE", "0 millis"], ["PERSISTENT", "true"]]))).toMatchObject({
        option: "idleTimeout"
      })
      expect(Option.isSome(yield* Effect.option(Effect.flip(build([]))))).toBe(true)
    }).pipe(Effect.scoped))
})

rule("open does no I/O, and takes whatever a request presents", (world) =>
  Effect.gen(function*() {
    for (const presented of [undefined, "", "\u0000", "x".repeat(100_000), neverIssued(), "__proto__"]) {
      world.app.open(presented)
    }
    expect(world.faults.calls).toEqual([])
    expect(yield* world.app.open("x".repeat(100_000)).handle.isNew).toBe(true)
  }))
