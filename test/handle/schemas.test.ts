/** Schemas of every kind behind a session: what is stored is what they say. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Memory from "../../src/layers/Memory.js"
import * as Payload from "../../src/schema/Payload.js"
import { Session } from "../../src/Session.js"
import type { SessionError } from "../../src/SessionError.js"
import { SessionStore } from "../../src/SessionStore.js"
import { outcome } from "./world.js"

const payloadOf = <A, I>(schema: Schema.Schema<A, I>) =>
  Payload.make(schema, () => Schema.decodeUnknownSync(schema)({}))

/** What a payload makes of data and of a value is what the schema makes of it. */
const agree = <A, I>(schema: Schema.Schema<A, I>, data: ReadonlyArray<unknown>, values: ReadonlyArray<A>) => {
  const payload = payloadOf(schema)
  for (const each of data) {
    expect(Option.liftThrowable(() => payload.decode(each).value)()).toEqual(
      Either.getRight(Schema.decodeUnknownEither(schema)(each))
    )
  }
  for (const each of values) {
    expect(Option.liftThrowable(() => payload.encode(each, undefined))()).toEqual(
      Either.getRight(Schema.encodeEither(schema)(each))
    )
  }
}

describe("a payload is what Schema says, when", () => {
  it("a field's target is a transformation of its own", () => {
    const schema = Schema.Struct({
      n: Schema.optionalToRequired(Schema.String, Schema.NumberFromString, {
        decode: Option.getOrElse(() => "0"),
        encode: Option.some
      }),
      m: Schema.optionalToOptional(Schema.String, Schema.NumberFromString, { decode: (s) => s, encode: (s) => s })
    })
    agree(schema, [{}, { n: "1", m: "2" }, { n: "x" }], [{ n: 1 }, { n: 1, m: 2 }])
  })

  it("a field's target has a filter that its source has not", () => {
    const schema = Schema.Struct({
      n: Schema.optionalToRequired(Schema.Number, Schema.Positive, {
        decode: Option.getOrElse(() => 1),
        encode: Option.some
      })
    })
    agree(schema, [{}, { n: 5 }, { n: -5 }], [{ n: 5 }, { n: -5 }])
  })

  it("the struct has something to fall back to", () => {
    const schema = Schema.Struct({ n: Schema.optionalWith(Schema.Number, { default: () => 0 }) }).annotations({
      decodingFallback: () => Either.right({ n: 7 })
    })
    agree(schema, [{}, { n: 1 }, { n: "1" }], [{ n: 1 }])
  })

  it("its fields have defaults, are renamed, may be missing, null or undefined", () => {
    const schema = Schema.Struct({
      a: Schema.optionalWith(Schema.Array(Schema.DateFromString), { default: () => [] }),
      b: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("B")),
      c: Schema.optionalWith(Schema.NumberFromString, { default: () => 0, nullable: true }),
      d: Schema.optionalWith(Schema.Number, { as: "Option" }),
      e: Schema.optionalWith(Schema.Union(Schema.String, Schema.Number), { default: () => "e", exact: true }),
      f: Schema.optional(Schema.NonEmptyString)
    })
    const epoch = new Date(0)
    agree(
      schema,
      [
        { B: "b" },
        { a: ["1970-01-01T00:00:00.000Z"], B: "b", c: "1", d: 2, e: 3, f: "f" },
        { B: "b", c: null, d: undefined },
        { B: "b", e: undefined },
        { B: "b", f: "" },
        { b: "b" },
        undefined
      ],
      [{ a: [epoch], b: "b", c: 1, d: Option.some(2), e: "x", f: "f" }, {
        a: [],
        b: "",
        c: 0,
        d: Option.none(),
        e: 1
      }]
    )
  })
})

const managerOf = <Self, A, I, Init, H extends Session.Any>(
  tag: Session.TagClass<Self, string, A, I, Init, H>
) =>
  Effect.map(Layer.build(Layer.provideMerge(tag.layer(), Memory.layer())), (context) => ({
    manager: Context.get(context, tag.Manager),
    store: Context.get(context, SessionStore)
  }))

describe("a transformation that throws", () => {
  const Fragile = Schema.transform(Schema.String, Schema.Unknown, {
    strict: false,
    decode: (text) => JSON.parse(text) as unknown,
    encode: (value) => {
      if (value === "boom") throw new Error("secret")
      return value === "bad" ? "no JSON" : JSON.stringify(value)
    }
  })
  class Raw extends Session.Tag<Raw>()("app/Raw", { it: Schema.optionalWith(Fragile, { default: () => 0 }) }) {}
  class Whole extends Session.Tag<Whole>()("app/Whole", Fragile, { initial: 0 }) {}

  for (const tag of [Raw, Whole] as const) {
    it.scoped(`while decoding makes ${tag.key} anonymous, like anything that cannot be decoded`, () =>
      Effect.gen(function*() {
        const { manager } = yield* managerOf(tag as typeof Whole)
        const value = tag === Whole ? "bad" : { it: "bad" }
        const cookie = Redacted.value(yield* manager.issue(value))
        expect(yield* manager.open(cookie).handle.isNew).toBe(true)
      }))

    it.scoped(`while encoding fails the commit of ${tag.key}, and writes nothing`, () =>
      Effect.gen(function*() {
        const { manager } = yield* managerOf(tag as typeof Whole)
        const cookie = Redacted.value(yield* manager.issue(tag === Whole ? 1 : { it: 1 }))
        const opened = manager.open(cookie)
        yield* opened.handle.update(() => tag === Whole ? "boom" : { it: "boom" })
        expect(yield* outcome(opened.finish)).toBe("Encode")
        expect(yield* manager.open(cookie).handle.value).toEqual(tag === Whole ? 1 : { it: 1 })
      }))
  }
})

it.scoped("the initial value is no one's own: what one request does to it reaches no other", () =>
  Effect.gen(function*() {
    class Shared extends Session.Tag<Shared>()(
      "app/Shared",
      Schema.Struct({ m: Schema.Map({ key: Schema.String, value: Schema.String }) }),
      { initial: { m: new Map() } }
    ) {}
    const { manager } = yield* managerOf(Shared)
    const first = yield* manager.open().handle.value
    first.m.set("k", "secret of somebody")
    expect((yield* manager.open().handle.value).m.size).toBe(0)
  }))

describe("building the Layer fails for", () => {
  const errorOf = <A>(layer: Layer.Layer<A, { readonly message: string }, SessionStore>) =>
    Effect.map(Effect.flip(Layer.build(Layer.provide(layer, Memory.layer()))), ({ message }) => message)

  it.scoped("an initial value that does not fit", () =>
    Effect.gen(function*() {
      class Wrong extends Session.Tag<Wrong>()("app/Wrong", Schema.Struct({ n: Schema.Positive }), {
        initial: { n: -1 }
      }) {}
      expect(yield* errorOf(Wrong.layer())).toContain("an initial value that fits")
    }))

  it.scoped("a field that is named by a symbol, which would not be stored", () =>
    Effect.gen(function*() {
      class Symbols
        extends Session.Tag<Symbols>()("app/Symbols", { [Symbol.for("s")]: Schema.optional(Schema.String) })
      {}
      expect(yield* errorOf(Symbols.layer())).toContain("a symbol cannot be stored")
    }))

  it.scoped("a lifetime that is no duration, by its name", () =>
    Effect.gen(function*() {
      class App extends Session.Tag<App>()("app/App", { n: Schema.optional(Schema.Number) }) {}
      expect(yield* errorOf(App.layer({ idleTimeout: "30 minuts" as never }))).toContain(
        "idleTimeout has to be a duration"
      )
    }))
})

it.scoped("reads of many fields cost two encodings of the value when they are compared, not two each", () =>
  Effect.gen(function*() {
    let encodings = 0
    const Counted = Schema.transform(Schema.String, Schema.Array(Schema.String), {
      decode: (text) => text.split(","),
      encode: (list) => {
        encodings++
        return list.join()
      }
    })
    const fields = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${i}`, Counted]))
    class Wide extends Session.Tag<Wide>()("app/Wide", Schema.Struct(fields), {
      initial: Object.fromEntries(Object.keys(fields).map((name) => [name, ["x"]]))
    }) {}
    const { manager } = yield* managerOf(Wide)
    const cookie = Redacted.value(yield* manager.issue(yield* manager.open().handle.value))
    const change = (
      handle: Session.Handle<Record<string, ReadonlyArray<string>>>,
      text: string
    ): Effect.Effect<void, SessionError> => handle.update((value) => ({ ...value, f0: [text] }))
    const opened = manager.open(cookie)
    yield* opened.handle.value
    yield* change(opened.handle, "mine")
    const other = manager.open(cookie)
    yield* Effect.zipRight(change(other.handle, "theirs"), other.finish)
    encodings = 0
    yield* opened.finish
    // two commits' worth, and the two values that the reads compare
    expect(encodings).toBe(4 * 20)
  }))
