/** What the log says about a value that does not encode, and a record that does not decode. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Memory from "../../src/layers/Memory.js"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import { Session } from "../../src/Session.js"
import type { SessionError } from "../../src/SessionError.js"
import { SessionStore } from "../../src/SessionStore.js"
import { native } from "../harness/native.js"
import { outcome } from "./world.js"

const Fragile = Schema.transform(Schema.String, Schema.Unknown, {
  strict: false,
  decode: (text) => text,
  encode: (value) => {
    if (value === "secret") throw new RangeError(`no ${value}`)
    return "fine"
  }
})

class App extends Session.Tag<App>()("app/App", {
  date: Schema.optional(Schema.Unknown),
  count: Schema.optional(Schema.Number),
  cart: Schema.optional(Schema.Array(Schema.Struct({ price: Schema.Number }))),
  notes: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Unknown })),
  small: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.NonEmptyString })),
  since: Schema.optional(Schema.Date).pipe(Schema.fromKey("from")),
  fragile: Schema.optional(Fragile)
}) {}
type Value = typeof App.schema.Type
type Handle = Session.StructHandle<Value>

const logged = <A>(effect: Effect.Effect<A, SessionError>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ annotations, logLevel, message }) =>
      void lines.push([logLevel.label, message, ...annotations].map(String).join(" "))
    )
    return Effect.map(
      outcome(effect).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger))),
      (outcome) => ({ outcome, lines })
    )
  })

const setUp = (options: Session.Options) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Layer.provideMerge(App.layer(options), Memory.layer()))
    return { manager: Context.get(context, App.Manager), store: Context.get(context, SessionStore) }
  })

const failed = "WARN Session: nothing was stored: The session's value cannot be encoded"

describe("a value that does not encode is logged once, by tag, field and kind:", () => {
  const uses: Record<string, (handle: Handle, value: Value) => Effect.Effect<void, SessionError>> = {
    "update": (handle, value) => handle.update(() => value),
    "transact": (handle, value) => handle.transact(() => [undefined, value]),
    "save": (handle, value) => Effect.zipRight(handle.update(() => value), handle.save)
  }
  const cases: ReadonlyArray<readonly [value: unknown, why: string]> = [
    [
      { date: new Date(0) },
      " (at date): app/App: \"date\" holds a Date, which msgpack does not carry; use Schema.Date"
    ],
    [{ date: { secret: [new Map()] } }, " (at date.*.0): app/App: \"date.*.0\" holds a Map, which msgpack does not"],
    [{ notes: { secret: () => 0 } }, " (at notes.*): app/App: \"notes.*\" holds a function, which msgpack does not"],
    [{ cart: [{ price: 1 }, { price: "secret" }] }, " (at cart.1.price): app/App: \"cart.1.price\" holds a string, "],
    [{ small: { secret: "" } }, " (at small.*): app/App: \"small.*\" holds a string, expected "],
    [{ since: "secret" }, " (at since): app/App: \"since\" holds a string, expected DateFromSelf"],
    [{ userID: "secret" }, " (at userID): app/App: \"userID\" is no field of the schema"],
    [{ fragile: "secret" }, ": app/App: failed with RangeError"]
  ]
  for (const [name, use] of Object.entries(uses)) {
    for (const [value, why] of cases) {
      it.scoped(`${name}: ${why}`, () =>
        Effect.gen(function*() {
          const { manager } = yield* setUp({})
          const opened = manager.open()
          const found = yield* logged(Effect.zipRight(use(opened.handle, value as Value), opened.finish))
          expect(found).toEqual({ outcome: "Encode", lines: [expect.stringContaining(failed + why)] })
          expect(found.lines.join()).not.toContain("secret")
        }))
    }
  }

  it.scoped("with another codec, and on a session that exists", () =>
    Effect.gen(function*() {
      const { manager } = yield* setUp({ codec: PayloadCodec.json() })
      const opened = manager.open(Redacted.value(yield* manager.issue({})))
      const found = yield* logged(Effect.zipRight(opened.handle.set("date", 1n), opened.finish))
      expect(found.lines).toEqual([
        expect.stringContaining("\"date\" holds a bigint, which json does not carry; use Schema.BigInt")
      ])
    }))
})

describe("a record that does not decode is logged by tag and path, without its values:", () => {
  const codec = PayloadCodec.msgpack()
  const bytes = (value: unknown) => codec.encode(value)
  const cases: ReadonlyArray<readonly [payload: Uint8Array, why: string]> = [
    [bytes({ count: "secret" }), " (at count): app/App: \"count\" holds a string, expected number"],
    [bytes({ cart: [{ price: 1 }, {}] }), " (at cart.1.price): app/App: \"cart.1.price\" is missing"],
    [bytes({ small: { secret: 1 } }), " (at small.*): app/App: \"small.*\" holds a number, expected "],
    [Uint8Array.of(0xc1, 0xa6, ...Buffer.from("secret")), ": app/App: failed with SyntaxError"],
    [Uint8Array.of(0x81), ": app/App: failed with "]
  ]
  for (const onCorrupt of ["anonymous", "fail"] as const) {
    for (const [payload, why] of cases) {
      it.scoped(`${onCorrupt}: ${why}`, () =>
        Effect.gen(function*() {
          const { manager, store } = yield* setUp({ onCorrupt })
          const cookie = Redacted.value(yield* manager.issue({}))
          const format = native("app/App")
          const { key, ref } = format.idOf(cookie)
          const { data, expiresAt, version } = Option.getOrThrow(yield* store.load(key))
          const record = format.decode(data)
          const next = format.encode({ ...record, payload })
          const late = manager.open(cookie)
          yield* late.handle.set("count", 1)
          yield* store.replace(key, version, next, expiresAt)

          const read = yield* logged(manager.open(cookie).handle.value)
          expect(read.outcome).toBe(onCorrupt === "fail" ? "Corrupt" : "done")
          expect(read.lines).toEqual([expect.stringMatching(/^WARN Session: .* cannot be decoded/)])
          expect(read.lines[0]).toContain(`cannot be decoded${why}`)
          expect(read.lines[0]).toContain(ref)

          const replay = yield* logged(late.finish)
          expect(replay.outcome).toBe("Corrupt")
          expect(replay.lines).toEqual([expect.stringContaining(`cannot be decoded${why}`)])
          expect([...read.lines, ...replay.lines].join()).not.toContain("secret")
        }))
    }
  }
})
