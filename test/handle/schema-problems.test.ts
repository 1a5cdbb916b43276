/** Schemas that a session cannot work with fail the Layer, each by its field. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Memory from "../../src/layers/Memory.js"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import { Session } from "../../src/Session.js"
import { outcome } from "./world.js"

const build = (fields: Session.PlainFields, options?: Session.Options) => {
  class S extends Session.Tag<S>()("app/S", fields as {}) {}
  return Layer.build(S.layer(options).pipe(Layer.provide(Memory.layer()))).pipe(
    Effect.match({ onFailure: ({ message }) => message, onSuccess: () => "built" })
  )
}

class Money {
  readonly amount = 1
}
class Cart extends Schema.Class<Cart>("Cart")({ since: Schema.Date, n: Schema.Number }) {}
class BadCart extends Schema.Class<BadCart>("BadCart")({ since: Schema.DateFromSelf }) {}

interface Tree {
  readonly at: Date
  readonly children: ReadonlyArray<Tree>
}
const BadTree: Schema.Schema<Tree> = Schema.Struct({
  at: Schema.DateFromSelf,
  children: Schema.Array(Schema.suspend(() => BadTree))
})
interface GoodTree {
  readonly at: Date
  readonly children: ReadonlyArray<GoodTree>
}
const GoodTree: Schema.Schema<GoodTree, { readonly at: string; readonly children: ReadonlyArray<any> }> = Schema.Struct(
  {
    at: Schema.Date,
    children: Schema.Array(Schema.suspend((): typeof GoodTree => GoodTree))
  }
)

describe("an encoded side that is no plain data is refused, by its path:", () => {
  const plain = "which is no plain data"
  const cases: Record<string, readonly [schema: Schema.Schema.AnyNoContext, message: string]> = {
    "a Date": [Schema.DateFromSelf, `"at" is stored as DateFromSelf, ${plain}; use Schema.Date`],
    "a valid Date": [Schema.ValidDateFromSelf, `"at" is stored as DateFromSelf, ${plain}; use Schema.Date`],
    "a Map": [
      Schema.MapFromSelf({ key: Schema.String, value: Schema.Number }),
      `"at" is stored as Map<string, number>, ${plain}; use Schema.Map`
    ],
    "a Set": [Schema.SetFromSelf(Schema.String), `"at" is stored as Set<string>, ${plain}; use Schema.Set`],
    "a URL": [Schema.URLFromSelf, `"at" is stored as URLFromSelf, ${plain}; use Schema.URL`],
    "an instance": [Schema.instanceOf(Money), `"at" is stored as Money, ${plain}; use a schema that encodes it`],
    "a class's own type": [Schema.typeSchema(Cart), "\"at\" is stored as Cart"],
    "a declared type": [Schema.declare((u): u is string => typeof u === "string"), "\"at\" is stored as "],
    "an Option": [Schema.OptionFromSelf(Schema.String), "\"at\" is stored as "],
    "an effect Duration": [Schema.DurationFromSelf, "use Schema.Duration"],
    "a symbol": [Schema.SymbolFromSelf, "\"at\" is stored as a symbol"],
    "in an array": [Schema.Array(Schema.DateFromSelf), "\"at.*\" is stored as DateFromSelf"],
    "in a tuple": [Schema.Tuple(Schema.String, Schema.DateFromSelf), "\"at.1\" is stored as DateFromSelf"],
    "in a struct": [Schema.Struct({ a: Schema.Struct({ b: Schema.DateFromSelf }) }), "\"at.a.b\" is stored as"],
    "in a record": [Schema.Record({ key: Schema.String, value: Schema.DateFromSelf }), "\"at.*\" is stored as"],
    "in a union": [Schema.Union(Schema.String, Schema.DateFromSelf), "\"at\" is stored as DateFromSelf"],
    "branded": [Schema.DateFromSelf.pipe(Schema.brand("At")), "\"at\" is stored as DateFromSelf"],
    "before a transformation": [
      Schema.transform(Schema.DateFromSelf, Schema.Number, {
        strict: true,
        decode: (date) => date.getTime(),
        encode: (millis) => new Date(millis)
      }),
      "\"at\" is stored as DateFromSelf"
    ],
    "in a class": [BadCart, "\"at.since\" is stored as DateFromSelf"],
    "in a schema that contains itself": [BadTree, "\"at.at\" is stored as DateFromSelf"],
    "a field that is called __proto__": [Schema.Struct({ ["__proto__"]: Schema.String }), "\"at.__proto__\" has a name"]
  }
  for (const [name, [schema, message]] of Object.entries(cases)) {
    it.scoped(name, () =>
      Effect.gen(function*() {
        expect(yield* build({ ok: Schema.optional(Schema.String), at: Schema.optional(schema) })).toContain(message)
      }))
  }

  it.scoped("each of several, by the names that the app uses", () =>
    Effect.gen(function*() {
      const message = yield* build({
        a: Schema.optional(Schema.DateFromSelf),
        b: Schema.optional(Schema.DateFromSelf).pipe(Schema.fromKey("c")),
        d: Schema.optionalWith(Schema.URLFromSelf, { default: () => new URL("http://localhost") })
      })
      expect(message).toContain("app/S: \"a\" is stored")
      expect(message).toContain("\"b\" is stored")
      expect(message).toContain("\"d\" is stored")
    }))

  it.scoped("in a session of a whole schema", () =>
    Effect.gen(function*() {
      class Whole extends Session.Tag<Whole>()("app/Whole", Schema.DateFromSelf, { initial: new Date(0) }) {}
      const message = yield* Effect.flip(Layer.build(Whole.layer().pipe(Layer.provide(Memory.layer()))))
      expect(message.message).toContain("the schema is stored as DateFromSelf")
    }))
})

describe("what encodes to plain data is fine:", () => {
  const fine: Record<string, Schema.Schema.AnyNoContext> = {
    dates: Schema.Date,
    maps: Schema.Map({ key: Schema.String, value: Schema.DateFromNumber }),
    sets: Schema.HashSet(Schema.String),
    urls: Schema.URL,
    classes: Cart,
    recursion: GoodTree,
    options: Schema.Option(Schema.Date),
    durations: Schema.Duration,
    redacted: Schema.Redacted(Schema.String),
    bytes: Schema.Uint8ArrayFromBase64,
    big: Schema.BigInt,
    json: Schema.parseJson(Schema.Struct({ at: Schema.Date })),
    unknown: Schema.Unknown,
    literals: Schema.Literal("a", 1, true, null),
    enums: Schema.Enums({ A: "a", B: 1 } as const)
  }
  for (const [name, schema] of Object.entries(fine)) {
    it.scoped(name, () =>
      Effect.gen(function*() {
        for (const codec of [PayloadCodec.msgpack(), PayloadCodec.json()]) {
          expect(yield* build({ at: Schema.optional(schema) }, { codec })).toBe("built")
        }
      }))
  }

  it.scoped("bytes and bigints with msgpack, and not with JSON", () =>
    Effect.gen(function*() {
      const fields = {
        bytes: Schema.optional(Schema.Uint8ArrayFromSelf),
        branded: Schema.optional(Schema.Uint8ArrayFromSelf.pipe(Schema.brand("Key"))),
        big: Schema.optional(Schema.BigIntFromSelf),
        one: Schema.optional(Schema.Literal(1n))
      }
      expect(yield* build(fields)).toBe("built")
      const message = yield* build(fields, { codec: PayloadCodec.json() })
      expect(message).toContain(
        "\"bytes\" is stored as Uint8ArrayFromSelf, which is no plain data to json; use Schema.Uint8ArrayFromBase64"
      )
      expect(message).toContain("\"big\" is stored as a bigint, which is no plain data to json; use Schema.BigInt")
      expect(message).toContain("\"one\" is stored as a bigint")
    }))

  it.scoped("anything with a codec of the app's own that says nothing about itself", () =>
    Effect.gen(function*() {
      const { decode, encode } = PayloadCodec.json()
      expect(yield* build({ big: Schema.optional(Schema.BigIntFromSelf) }, { codec: { decode, encode } })).toBe("built")
    }))
})

describe("a schema that is not synchronous is refused, by its field:", () => {
  const later = <A>(value: A) => Effect.delay(Effect.succeed(value), 1)
  const decodes = Schema.transformOrFail(Schema.String, Schema.String, {
    strict: true,
    decode: later,
    encode: ParseResult.succeed
  })
  const encodes = Schema.transformOrFail(Schema.String, Schema.String, {
    strict: true,
    decode: ParseResult.succeed,
    encode: (text) => Effect.promise(() => Promise.resolve(text))
  })
  const picky = Schema.transformOrFail(Schema.String, Schema.String, {
    strict: true,
    decode: (text) => text === "x" ? later(text) : ParseResult.succeed(text),
    encode: ParseResult.succeed
  })
  const cases: Record<string, readonly [schema: Schema.Schema.AnyNoContext, message: string]> = {
    "decoding": [decodes, "\"at\" decodes asynchronously"],
    "encoding": [encodes, "\"at\" encodes asynchronously"],
    "in an array": [Schema.Array(decodes), "\"at.*\" decodes asynchronously"],
    "in a struct": [Schema.Struct({ a: encodes }), "\"at.a\" encodes asynchronously"],
    "in a map": [Schema.Map({ key: Schema.String, value: decodes }), "decodes asynchronously"],
    "in a union": [Schema.Union(Schema.Number, decodes), "\"at\" decodes asynchronously"],
    "a filter": [
      Schema.filterEffect(Schema.String, () => Effect.delay(Effect.succeed(true), 1)),
      "\"at\" decodes asynchronously"
    ],
    "of a struct": [
      Schema.transformOrFail(Schema.Struct({ a: Schema.Number }), Schema.Struct({ a: Schema.Number }), {
        strict: true,
        decode: later,
        encode: ParseResult.succeed
      }),
      "\"at\" decodes asynchronously"
    ]
  }
  for (const [name, [schema, message]] of Object.entries(cases)) {
    it.live(name, () =>
      Effect.scoped(Effect.gen(function*() {
        expect(yield* build({ at: Schema.optional(schema) })).toContain(message)
      })))
  }

  it.scoped("one that is an Effect, and synchronous, is fine", () =>
    Effect.gen(function*() {
      const sync = Schema.transformOrFail(Schema.String, Schema.String, {
        strict: true,
        decode: (text) => Effect.sync(() => text),
        encode: (text) => Effect.sync(() => text)
      })
      expect(yield* build({ at: Schema.optional(sync) })).toBe("built")
    }))

  it.scoped("one that waits for some values alone fails when they come", () =>
    Effect.gen(function*() {
      class S extends Session.Tag<S>()("app/S", { at: Schema.optional(picky) }) {}
      const context = yield* Layer.build(S.layer({ onCorrupt: "fail" }).pipe(Layer.provide(Memory.layer())))
      const manager = Context.get(context, S.Manager)
      const cookie = Redacted.value(yield* manager.issue({ at: "x" }))
      expect(yield* outcome(manager.open(cookie).handle.value)).toBe("Corrupt")
    }))
})
