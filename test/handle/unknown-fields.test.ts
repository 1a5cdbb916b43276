/** What another version of the app has stored, and what a schema does not know. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Memory from "../../src/layers/Memory.js"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import { Session } from "../../src/Session.js"
import { causeOf, type SessionError } from "../../src/SessionError.js"
import { outcome } from "./world.js"

const n = Schema.optionalWith(Schema.Number, { default: () => 0 })
const oldItem = Schema.Struct({ id: Schema.Number })
const newItem = Schema.Struct({ id: Schema.Number, gift: Schema.optional(Schema.Boolean) })

class OldItem extends Schema.Class<OldItem>("OldItem")({ id: Schema.Number }) {}

class Old extends Session.Tag<Old>()("app/S", {
  n,
  struct: Schema.optional(Schema.mutable(Schema.Struct({ name: Schema.String }))),
  list: Schema.optionalWith(Schema.Array(oldItem), { default: () => [] }),
  union: Schema.optional(Schema.Union(oldItem, Schema.String)),
  record: Schema.optional(Schema.Record({ key: Schema.String, value: oldItem })),
  json: Schema.optional(Schema.parseJson(oldItem)),
  made: Schema.optional(OldItem),
  renamed: Schema.optional(oldItem).pipe(Schema.fromKey("other")),
  map: Schema.optional(Schema.Map({ key: Schema.String, value: oldItem }))
}) {}

class New extends Session.Tag<New>()("app/S", {
  n,
  top: Schema.optional(Schema.String),
  struct: Schema.optional(Schema.Struct({ name: Schema.String, lang: Schema.optional(Schema.String) })),
  list: Schema.optionalWith(Schema.Array(newItem), { default: () => [] }),
  union: Schema.optional(Schema.Union(newItem, Schema.String)),
  record: Schema.optional(Schema.Record({ key: Schema.String, value: newItem })),
  json: Schema.optional(Schema.parseJson(newItem)),
  made: Schema.optional(newItem),
  renamed: Schema.optional(newItem).pipe(Schema.fromKey("other")),
  map: Schema.optional(Schema.Map({ key: Schema.String, value: newItem }))
}) {}

const gift = { id: 1, gift: true }
const full: typeof New.schema.Type = {
  n: 0,
  top: "kept",
  struct: { name: "ada", lang: "de" },
  list: [gift, { id: 2 }],
  union: gift,
  record: { a: gift },
  json: gift,
  made: gift,
  renamed: gift,
  map: new Map([["a", gift]])
}

const nodes = Effect.gen(function*() {
  const store = Layer.succeedContext(yield* Layer.build(Memory.layer()))
  const older = Context.get(yield* Layer.build(Layer.provide(Old.layer(), store)), Old.Manager)
  const newer = Context.get(yield* Layer.build(Layer.provide(New.layer(), store)), New.Manager)
  const cookie = Redacted.value(yield* newer.issue(full))
  /** A request of the old node, and what the new one then reads. */
  const after = (
    handler: (handle: Session.StructHandle<typeof Old.schema.Type>) => Effect.Effect<void, SessionError>
  ) =>
    Effect.gen(function*() {
      const opened = older.open(cookie)
      yield* handler(opened.handle)
      yield* opened.finish
      return yield* newer.open(cookie).handle.value
    })
  return { after, newer, cookie }
})

describe("an old node that changes one field", () => {
  it.scoped("stores the others as they were stored, with the nested keys it does not know", () =>
    Effect.gen(function*() {
      const { after } = yield* nodes
      expect(yield* after((handle) => handle.update((s) => ({ ...s, n: s.n + 1 })))).toEqual({ ...full, n: 1 })
      expect(yield* after((handle) => handle.set("n", 2))).toEqual({ ...full, n: 2 })
      expect(yield* after((handle) => handle.transact((s) => [undefined, { ...s, n: 3 }]))).toEqual({ ...full, n: 3 })
      expect(yield* after((handle) => handle.regenerate.pipe(Effect.zipRight(handle.reload)))).toEqual({
        ...full,
        n: 3
      })
    }))

  it.scoped("stores the changed field as its schema says", () =>
    Effect.gen(function*() {
      const { after } = yield* nodes
      expect(yield* after((handle) => handle.set("list", [{ id: 1 }]))).toEqual({ ...full, list: [{ id: 1 }] })
      expect(yield* after((handle) => handle.update(({ struct: _, ...rest }) => rest))).toEqual({
        ...full,
        list: [{ id: 1 }],
        struct: undefined
      })
    }))

  it.scoped("loses no value that a handler changed in place", () =>
    Effect.gen(function*() {
      const { after } = yield* nodes
      const value = yield* after((handle) =>
        handle.update((s) => {
          s.struct!.name = "eve"
          return { ...s, n: 9 }
        })
      )
      expect(value).toEqual({ ...full, n: 9, struct: { name: "eve" } })
    }))

  it.scoped("knows nothing of what an earlier commit of the request has replaced", () =>
    Effect.gen(function*() {
      const { after } = yield* nodes
      const value = yield* after((handle) =>
        handle.set("list", []).pipe(
          Effect.zipRight(handle.save),
          Effect.zipRight(handle.set("list", [{ id: 1 }, { id: 2 }])),
          Effect.zipRight(handle.save),
          Effect.zipRight(handle.set("n", 1))
        )
      )
      expect(value).toEqual({ ...full, n: 1, list: [{ id: 1 }, { id: 2 }] })
    }))

  it.scoped("keeps what another node has stored meanwhile", () =>
    Effect.gen(function*() {
      const { after, cookie, newer } = yield* nodes
      const list = [{ id: 7, gift: false }]
      const value = yield* after((handle) =>
        handle.set("n", 1).pipe(Effect.zipRight(Effect.suspend(() => {
          const other = newer.open(cookie)
          return Effect.zipRight(other.handle.update((s) => ({ ...s, list })), other.finish)
        })))
      )
      expect(value).toEqual({ ...full, n: 1, list })
    }))

  it.scoped("drops all of it by clear", () =>
    Effect.gen(function*() {
      const { after } = yield* nodes
      expect(yield* after((handle) => handle.clear)).toEqual({ n: 0, list: [] })
    }))
})

describe("a session of another shape", () => {
  it.scoped("that is a union keeps the unknown keys of its member, and drops those of another", () =>
    Effect.gen(function*() {
      const store = Layer.succeedContext(yield* Layer.build(Memory.layer()))
      const guest = Schema.TaggedStruct("Guest", { seen: Schema.Number })
      class Older extends Session.Tag<Older>()(
        "app/U",
        Schema.Union(guest, Schema.TaggedStruct("User", { seen: Schema.Number, profile: oldItem })),
        { initial: { _tag: "Guest", seen: 0 } }
      ) {}
      class Newer extends Session.Tag<Newer>()(
        "app/U",
        Schema.Union(
          guest,
          Schema.TaggedStruct("User", { seen: Schema.Number, lang: Schema.optional(Schema.String), profile: newItem })
        ),
        { initial: { _tag: "Guest", seen: 0 } }
      ) {}
      const older = Context.get(yield* Layer.build(Layer.provide(Older.layer(), store)), Older.Manager)
      const newer = Context.get(yield* Layer.build(Layer.provide(Newer.layer(), store)), Newer.Manager)
      const cookie = Redacted.value(yield* newer.issue({ _tag: "User", seen: 0, lang: "de", profile: gift }))
      const see = older.open(cookie)
      yield* see.handle.update((s) => ({ ...s, seen: s.seen + 1 }))
      yield* see.finish
      expect(yield* newer.open(cookie).handle.value).toEqual({ _tag: "User", seen: 1, lang: "de", profile: gift })
      const leave = older.open(cookie)
      yield* leave.handle.update(() => ({ _tag: "Guest", seen: 0 }))
      yield* leave.finish
      const back = older.open(cookie)
      yield* back.handle.update(() => ({ _tag: "User", seen: 5, profile: { id: 3 } }))
      yield* back.finish
      expect(yield* newer.open(cookie).handle.value).toEqual({ _tag: "User", seen: 5, profile: { id: 3 } })
    }))

  it.scoped("that is a record keeps what it does not know of the other entries", () =>
    Effect.gen(function*() {
      const store = Layer.succeedContext(yield* Layer.build(Memory.layer()))
      class Older extends Session.Tag<Older>()("app/R", Schema.Record({ key: Schema.String, value: oldItem }), {
        initial: {}
      }) {}
      class Newer extends Session.Tag<Newer>()("app/R", Schema.Record({ key: Schema.String, value: newItem }), {
        initial: {}
      }) {}
      const older = Context.get(yield* Layer.build(Layer.provide(Older.layer(), store)), Older.Manager)
      const newer = Context.get(yield* Layer.build(Layer.provide(Newer.layer(), store)), Newer.Manager)
      const cookie = Redacted.value(yield* newer.issue({ a: gift, b: gift }))
      const opened = older.open(cookie)
      yield* opened.handle.update(({ b: _, ...rest }) => ({ ...rest, c: { id: 3 } }))
      yield* opened.finish
      expect(yield* newer.open(cookie).handle.value).toEqual({ a: gift, c: { id: 3 } })
    }))
})

describe("a key that the schema does not know fails with Encode, by its name:", () => {
  class App extends Session.Tag<App>()("app/App", {
    userId: Schema.optional(Schema.String),
    items: Schema.optionalWith(Schema.Array(newItem), { default: () => [] })
  }) {}
  type Value = typeof App.schema.Type
  const misspelt = { userID: "ada", items: [] } as Value
  const nested = { items: [{ id: 1, gfit: true } as { readonly id: number }] } as Value

  const uses: Record<string, (handle: Session.StructHandle<Value>, value: Value) => Effect.Effect<void, SessionError>> =
    {
      update: (handle, value) => handle.update(() => value),
      transact: (handle, value) => handle.transact(() => [undefined, value]),
      save: (handle, value) => Effect.zipRight(handle.update(() => value), handle.save)
    }
  for (const [name, use] of Object.entries(uses)) {
    it.scoped(name, () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(App.layer().pipe(Layer.provide(Memory.layer())))
        const manager = Context.get(context, App.Manager)
        for (const value of [misspelt, nested]) {
          const opened = manager.open()
          const error = yield* Effect.flip(Effect.zipRight(use(opened.handle, value), opened.finish))
          expect(error.reason).toBe("Encode")
          expect(String(causeOf(error)) + JSON.stringify(causeOf(error))).toMatch(
            value === misspelt ? /userID/ : /gfit/
          )
        }
      }))
  }

  it.scoped("issue, and a session of a whole schema", () =>
    Effect.gen(function*() {
      const app = yield* Layer.build(App.layer().pipe(Layer.provide(Memory.layer())))
      expect(yield* outcome(Context.get(app, App.Manager).issue(misspelt))).toBe("Encode")
      class Whole extends Session.Tag<Whole>()("app/Whole", Schema.Struct({ a: Schema.Number }), {
        initial: { a: 1 }
      }) {}
      const whole = yield* Layer.build(Whole.layer().pipe(Layer.provide(Memory.layer())))
      expect(yield* outcome(Context.get(whole, Whole.Manager).issue({ a: 1, b: 2 } as { readonly a: number }))).toBe(
        "Encode"
      )
    }))

  it.scoped("but a class may have members of its own, and a transformation may leave some over", () =>
    Effect.gen(function*() {
      class Money extends Schema.Class<Money>("Money")({ amount: Schema.Number }) {
        readonly cents = this.amount * 100
      }
      const Left = Schema.transform(
        Schema.Struct({ stored: Schema.String }),
        Schema.Struct({ shown: Schema.String }),
        {
          strict: false,
          decode: ({ stored }: { readonly stored: string }) => ({ shown: stored }),
          encode: (value: { readonly shown: string }) => ({ ...value, stored: value.shown })
        }
      )
      class Shop extends Session.Tag<Shop>()("app/Shop", {
        money: Schema.optional(Money),
        left: Schema.optional(Left)
      }) {}
      const context = yield* Layer.build(Shop.layer().pipe(Layer.provide(Memory.layer())))
      const manager = Context.get(context, Shop.Manager)
      const cookie = Redacted.value(yield* manager.issue({ money: new Money({ amount: 2 }), left: { shown: "x" } }))
      const value = yield* manager.open(cookie).handle.value
      expect([value.money?.cents, value.left]).toEqual([200, { shown: "x" }])
    }))
})

describe("records", () => {
  class Notes extends Session.Tag<Notes>()("app/Notes", {
    n: Schema.optional(Schema.Number),
    notes: Schema.optionalWith(
      Schema.Record({ key: Schema.String, value: Schema.Union(Schema.String, Schema.Array(Schema.Unknown)) }),
      { default: () => ({}) }
    )
  }) {}
  const keys = "{\"__proto__\":\"kept\",\"__proto__proto__\":\"too\",\"a\":\"b\"}"

  for (const codec of [PayloadCodec.msgpack(), PayloadCodec.json()]) {
    it.scoped(`keep the key __proto__ exactly, with ${codec.traits!.name}`, () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(Notes.layer({ codec }).pipe(Layer.provide(Memory.layer())))
        const manager = Context.get(context, Notes.Manager)
        for (const source of [keys, "{\"__proto__\":[1]}", `{"a":[${keys},{"b":${keys}}]}`]) {
          const cookie = Redacted.value(yield* manager.issue({ notes: JSON.parse(source) as Record<string, string> }))
          const opened = manager.open(cookie)
          expect(JSON.stringify(yield* opened.handle.get("notes"))).toBe(source)
          yield* opened.handle.update((s) => ({ ...s, n: 1 }))
          yield* opened.finish
          const again = yield* manager.open(cookie).handle.get("notes")
          expect(JSON.stringify(again)).toBe(source)
          expect(Object.getPrototypeOf(again)).toBe(Object.prototype)
        }
        expect(({} as { a?: string }).a).toBeUndefined()
      }))
  }
})

describe("a value of more nodes than the codec takes is TooLarge before the schema walks it:", () => {
  interface Tree {
    readonly children: ReadonlyArray<Tree>
  }
  const Tree: Schema.Schema<Tree> = Schema.Struct({ children: Schema.Array(Schema.suspend(() => Tree)) })
  let visited = 0
  const Counted = Schema.transform(Schema.Number, Schema.Number, {
    strict: true,
    decode: (value) => value,
    encode: (value) => {
      visited++
      return value
    }
  })
  class Large extends Session.Tag<Large>()("app/Large", {
    list: Schema.optional(Schema.Array(Schema.Unknown)),
    numbers: Schema.optional(Schema.Array(Schema.Array(Counted))),
    tree: Schema.optional(Tree),
    record: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Array(Counted) })),
    map: Schema.optional(Schema.Map({ key: Schema.String, value: Schema.Array(Counted) })),
    unknown: Schema.optional(Schema.Unknown)
  }) {}
  const numbers = new Array<number>(2000).fill(1)
  let tree: Tree = { children: [] }
  for (let i = 0; i < 40; i++) tree = { children: [tree, tree] }
  const values: Record<string, typeof Large.schema.Type> = {
    "a sparse array": { list: new Array(2 ** 31) },
    "one array, many times": { numbers: new Array(2000).fill(numbers) },
    "a tree of shared branches": { tree },
    "a record of shared arrays": { record: Object.fromEntries(numbers.map((_, i) => [i, numbers])) },
    "a map of shared arrays": { map: new Map(numbers.map((_, i) => [`${i}`, numbers])) },
    "whatever an unknown field holds": { unknown: new Array(2 ** 31) }
  }
  for (const [name, value] of Object.entries(values)) {
    for (const codec of [PayloadCodec.msgpack(), PayloadCodec.json()]) {
      it.scoped(`${name}, with ${codec.traits!.name}`, () =>
        Effect.gen(function*() {
          const context = yield* Layer.build(Large.layer({ codec }).pipe(Layer.provide(Memory.layer())))
          visited = 0
          expect(yield* outcome(Context.get(context, Large.Manager).issue(value))).toBe("TooLarge")
          expect(visited).toBe(0)
        }))
    }
  }
})
