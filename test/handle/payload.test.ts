import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Memory from "../../src/layers/Memory.js"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import { Session } from "../../src/Session.js"
import { causeOf } from "../../src/SessionError.js"
import {
  cookieOf,
  forged,
  increment,
  issued,
  keyOf,
  outcome,
  plant,
  recordOf,
  request,
  rule,
  stored,
  type World
} from "./world.js"

const codec = PayloadCodec.msgpack()
const bytes = (value: unknown) => codec.encode(value)

const payloadOf = (world: World, cookie: string) =>
  Effect.map(
    recordOf(world, cookie),
    (found) => codec.decode(Option.getOrThrow(found).record.payload)
  )

describe("unknown top-level keys", () => {
  const newer = { count: 1, note: "n", theme: { dark: true }, list: [1, 2] }

  rule("are kept on write", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* plant(world, cookie, bytes(newer))
      yield* request(world.app, cookie, increment)
      expect(yield* payloadOf(world, cookie)).toEqual({ ...newer, count: 2 })
    }))

  rule("are not shown", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* plant(world, cookie, bytes(newer))
      expect(yield* world.app.open(cookie).handle.value).toEqual({ count: 1, note: "n" })
    }))

  rule("are those of the fresh record after a replay", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      yield* plant(world, cookie, bytes(newer))
      yield* finish
      expect(yield* payloadOf(world, cookie)).toEqual({ ...newer, count: 2 })
    }))

  rule("are dropped by clear", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* plant(world, cookie, bytes(newer))
      yield* request(world.app, cookie, (handle) => handle.clear)
      expect(yield* payloadOf(world, cookie)).toEqual({ count: 0, note: "" })
    }))

  rule("are kept when they are called __proto__, and pollute nothing", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const hostile = JSON.parse("{\"count\":1,\"note\":\"\",\"__proto__\":{\"polluted\":1}}")
      yield* plant(world, cookie, bytes(hostile))
      yield* request(world.app, cookie, increment)
      expect(JSON.stringify(yield* payloadOf(world, cookie))).toContain("\"__proto__\":{\"polluted\":1}")
      expect(({} as { polluted?: number }).polluted).toBeUndefined()
    }))

  rule("a known key that was removed stays removed", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { user: "ada" })
      yield* request(world.app, cookie, (handle) => handle.update(({ user: _, ...rest }) => rest))
      expect(yield* payloadOf(world, cookie)).toEqual({ count: 0, note: "" })
    }))
})

describe("what cannot be decoded", () => {
  const junk = Uint8Array.of(0xc1)

  /** A record that is ours, with a payload that is not. */
  const corrupted = (world: World, payload: Uint8Array = junk) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      yield* plant(world, cookie, payload)
      return cookie
    })

  const collecting = (messages: Array<string>) =>
    Effect.provide(Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ logLevel, message }) => messages.push(`${logLevel.label} ${String(message)}`))
    ))

  for (const [name, payload] of [["bytes", junk], ["a value", bytes({ count: "many" })]] as const) {
    rule(`${name}: the request starts anonymous, and it is reported`, (world) =>
      Effect.gen(function*() {
        const messages: Array<string> = []
        const opened = world.app.open(yield* corrupted(world, payload))
        expect(yield* opened.handle.value.pipe(collecting(messages))).toEqual({ count: 0, note: "" })
        expect(yield* opened.handle.isNew).toBe(true)
        yield* opened.finish
        expect(cookieOf(opened)).toBe("keep")
        expect(messages).toEqual([expect.stringMatching(/^WARN Session: .* cannot be decoded/)])
      }))
  }

  rule("a write then makes a new selector, and leaves the bad record alone", (world) =>
    Effect.gen(function*() {
      const cookie = yield* corrupted(world)
      const before = yield* recordOf(world, cookie)
      const next = cookieOf(yield* request(world.app, cookie, increment))
      expect(keyOf(next)).not.toBe(keyOf(cookie))
      expect((yield* stored(world, next)).count).toBe(1)
      expect(yield* recordOf(world, cookie)).toEqual(before)
    }))

  rule("or the request fails, if that was asked for", (world) =>
    Effect.gen(function*() {
      const cookie = yield* corrupted(world)
      expect(yield* outcome(world.app.open(cookie).handle.value)).toBe("Corrupt")
    }), { onCorrupt: "fail" })

  rule("on replay it always fails, and is left alone", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { finish, handle } = world.app.open(cookie)
      yield* increment(handle)
      yield* plant(world, cookie, junk)
      const before = yield* recordOf(world, cookie)
      expect(yield* outcome(finish)).toBe("Corrupt")
      expect(yield* recordOf(world, cookie)).toEqual(before)
    }))

  rule("a wrong verifier is not told: nothing is decoded for it", (world) =>
    Effect.gen(function*() {
      const messages: Array<string> = []
      const cookie = yield* corrupted(world)
      yield* world.app.open(forged(cookie)).handle.value.pipe(collecting(messages))
      expect(messages).toEqual([])
    }), { onCorrupt: "fail" })

  rule("a record of a newer format fails, and is left alone", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const found = Option.getOrThrow(yield* recordOf(world, cookie))
      const newer = Uint8Array.from(found.data)
      newer[0] = 2
      yield* world.store.replace(keyOf(cookie), found.version, newer, found.expiresAt)
      const opened = world.app.open(cookie)
      expect(yield* outcome(opened.handle.value)).toBe("Unsupported")
      expect(yield* outcome(increment(opened.handle))).toBe("Unsupported")
      expect(cookieOf(opened)).toBe("keep")
      expect([...Option.getOrThrow(yield* world.store.load(keyOf(cookie))).data]).toEqual([...newer])
    }))

  rule("a record whose bytes are not a record is corrupt, not missing", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { expiresAt, version } = Option.getOrThrow(yield* recordOf(world, cookie))
      yield* world.store.replace(keyOf(cookie), version, Buffer.from("{}"), expiresAt)
      expect(yield* outcome(world.app.open(cookie).handle.value)).toBe("Corrupt")
    }), { onCorrupt: "fail" })

  rule("a stored deadline beyond the record's absolute one is Corrupt", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { data, record, version } = Option.getOrThrow(yield* recordOf(world, cookie))
      yield* world.store.replace(keyOf(cookie), version, data, record.absoluteDeadline + 1)
      expect(yield* outcome(world.app.open(cookie).handle.value)).toBe("Corrupt")
    }), { onCorrupt: "fail" })

  rule("a stored deadline at the record's absolute one opens the session", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const { data, record, version } = Option.getOrThrow(yield* recordOf(world, cookie))
      yield* world.store.replace(keyOf(cookie), version, data, record.absoluteDeadline)
      expect(yield* world.app.open(cookie).handle.isNew).toBe(false)
    }))

  rule("why is known to the log alone: not to JSON, and not to the response", (world) =>
    Effect.gen(function*() {
      const cookie = yield* corrupted(world, bytes({ count: "secret" }))
      const error = yield* Effect.flip(world.app.open(cookie).handle.value)
      expect(String(causeOf(error as never))).toContain("secret")
      expect(JSON.stringify(error)).not.toContain("secret")
    }), { onCorrupt: "fail" })
})

describe("schemas", () => {
  const over = <Self, A, H>(tag: Context<Self, A, H>) => Effect.provide(tag.layer().pipe(Layer.provide(Memory.layer())))
  type Context<Self, A, H> = Pick<Session.TagClass<Self, string, A, unknown, unknown, H>, "layer" | "Manager">

  class Renamed extends Session.Tag<Renamed>()("app/Renamed", {
    userId: Schema.optional(Schema.String).pipe(Schema.fromKey("uid")),
    since: Schema.optionalWith(Schema.Date, { default: () => new Date(0) })
  }) {}

  it.effect("a renamed field is guarded and kept by its encoded name", () =>
    Effect.gen(function*() {
      const manager = yield* Renamed.Manager
      const cookie = Redacted.value(yield* manager.issue({ userId: "ada", since: new Date(5) }))
      const [one, two] = [manager.open(cookie), manager.open(cookie)]
      yield* one.handle.get("userId")
      yield* two.handle.set("since", new Date(6))
      yield* two.finish
      yield* one.handle.set("userId", "bob")
      yield* one.finish
      expect(yield* manager.open(cookie).handle.value).toEqual({ userId: "bob", since: new Date(6) })

      const [three, four] = [manager.open(cookie), manager.open(cookie)]
      yield* three.handle.get("userId")
      yield* four.handle.set("userId", "eve")
      yield* four.finish
      yield* three.handle.set("userId", "ada")
      expect(yield* outcome(three.finish)).toBe("Conflict")
    }).pipe(over(Renamed)))

  class Inherited extends Session.Tag<Inherited>()("app/Inherited", {
    toString: Schema.optional(Schema.String),
    constructor: Schema.optional(Schema.String),
    valueOf: Schema.optional(Schema.Array(Schema.String))
  }) {}

  it.effect("an absent field named like an inherited one is undefined", () =>
    Effect.gen(function*() {
      const manager = yield* Inherited.Manager
      const { finish, handle } = manager.open()
      for (const key of ["toString", "constructor", "valueOf"] as const) {
        expect(yield* handle.get(key)).toBeUndefined()
      }
      yield* handle.set("toString", "text")
      expect(yield* handle.get("toString")).toBe("text")
      yield* finish
    }).pipe(over(Inherited)))

  it.effect("equal values of another identity have not moved", () =>
    Effect.gen(function*() {
      const manager = yield* Renamed.Manager
      const cookie = Redacted.value(yield* manager.issue({ since: new Date(5) }))
      const [one, two] = [manager.open(cookie), manager.open(cookie)]
      yield* one.handle.value
      yield* two.handle.set("since", new Date(5))
      yield* two.finish
      yield* one.handle.set("since", new Date(9))
      yield* one.finish
      expect(yield* manager.open(cookie).handle.get("since")).toEqual(new Date(9))
    }).pipe(over(Renamed)))

  class Visitor extends Session.Tag<Visitor>()(
    "app/Visitor",
    Schema.Union(
      Schema.TaggedStruct("Guest", {}),
      Schema.TaggedStruct("User", { id: Schema.String, seen: Schema.Number })
    ),
    { initial: { _tag: "Guest" } }
  ) {}

  it.effect("a union is a session too, updated as a whole", () =>
    Effect.gen(function*() {
      const manager = yield* Visitor.Manager
      const opened = manager.open()
      expect(yield* opened.handle.value).toEqual({ _tag: "Guest" })
      yield* opened.handle.update(() => ({ _tag: "User", id: "ada", seen: 0 }))
      yield* opened.finish
      const cookie = cookieOf(opened)
      const see = Effect.suspend(() => {
        const { finish, handle } = manager.open(cookie)
        return Effect.zipRight(
          handle.update((value) => value._tag === "User" ? { ...value, seen: value.seen + 1 } : value),
          finish
        )
      })
      yield* Effect.replicateEffect(see, 5, { concurrency: "unbounded" })
      expect(yield* manager.open(cookie).handle.value).toEqual({ _tag: "User", id: "ada", seen: 5 })
      const clearing = manager.open(cookie)
      yield* clearing.handle.clear
      yield* clearing.finish
      expect(yield* manager.open(cookie).handle.value).toEqual({ _tag: "Guest" })
    }).pipe(over(Visitor)))

  class Counter extends Session.Tag<Counter>()("app/Counter", Schema.Number, { initial: 0 }) {}

  it.effect("so is a number, and its initial value can be issued", () =>
    Effect.gen(function*() {
      const manager = yield* Counter.Manager
      const cookie = Redacted.value(yield* manager.issue(0))
      const { finish, handle } = manager.open(cookie)
      expect(yield* handle.isNew).toBe(false)
      yield* handle.update((n) => n + 1)
      yield* finish
      expect(yield* manager.open(cookie).handle.value).toBe(1)
    }).pipe(over(Counter)))

  it.effect("layerTest with a falsy value stores it", () =>
    Effect.gen(function*() {
      const session = yield* Counter
      expect(yield* session.isNew).toBe(false)
    }).pipe(Effect.provide(Counter.layerTest(0))))
})
