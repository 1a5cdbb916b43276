import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { Packr } from "msgpackr"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import type { NotPlainData } from "../../src/schema/plainData.js"
import { causeOf } from "../../src/SessionError.js"
import { either, type EitherCodec } from "../harness/codec.js"

const msgpack = either(PayloadCodec.msgpack())
const json = either(PayloadCodec.json())
const codecs = { msgpack, json }

const roundTrip = (codec: EitherCodec, value: unknown) =>
  Either.getOrThrow(codec.decode(Either.getOrThrow(codec.encode(value))))

const reason = (result: Either.Either<unknown, { readonly reason: string }>) =>
  Either.match(result, { onLeft: (error) => error.reason, onRight: () => "done" })

const text = (value: string) => Buffer.from(value)
const u32 = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]

/** `value` inside `depth` arrays, or objects, or both in turn. */
const nested = (depth: number, kind: "array" | "object" | "both", value: unknown = 0): unknown => {
  for (let i = 0; i < depth; i++) {
    value = kind === "array" || (kind === "both" && i % 2 === 0) ? [value] : { a: value }
  }
  return value
}

describe.each(Object.entries(codecs))("%s", (_name, codec) => {
  it("carries JSON's values", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.jsonValue({ maxDepth: 8, stringUnit: "binary" }), (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value)) // without -0
        expect(roundTrip(codec, plain)).toEqual(plain)
      })
    )
  })

  it("carries null prototypes as data, and gives back ordinary objects", () => {
    const bare = Object.assign(Object.create(null), { a: Object.assign(Object.create(null), { b: 1 }) })
    const back = roundTrip(codec, bare) as object
    expect(back).toEqual({ a: { b: 1 } })
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype)
  })

  it("carries depth 64, and no deeper", () => {
    for (const kind of ["array", "object", "both"] as const) {
      expect(roundTrip(codec, nested(64, kind))).toEqual(nested(64, kind))
      for (const depth of [65, 100, 1000, 10_000, 1_000_000]) {
        expect(reason(codec.encode(nested(depth, kind)))).toBe("Encode")
      }
    }
  })

  it("its limits are options", () => {
    const small = either((codec === json ? PayloadCodec.json : PayloadCodec.msgpack)({ maxBytes: 20, maxDepth: 2 }))
    expect(roundTrip(small, [[1]])).toEqual([[1]])
    expect(reason(small.encode([[[1]]]))).toBe("Encode")
    expect(reason(small.decode(Either.getOrThrow(codec.encode([[[1]]]))))).toBe("Corrupt")
    expect(Either.getOrThrow(Either.flip(small.encode("x".repeat(30))))).toMatchObject({
      reason: "TooLarge",
      limit: 20
    })
    expect(reason(small.decode(Either.getOrThrow(codec.encode("x".repeat(30)))))).toBe("Corrupt")
  })

  it("1 MiB at most, both ways", () => {
    const overhead = codec === json ? 2 : 5
    const largest = "x".repeat(2 ** 20 - overhead)
    expect(roundTrip(codec, largest)).toBe(largest)
    expect(Either.getOrThrow(Either.flip(codec.encode(`${largest}x`)))).toMatchObject({
      reason: "TooLarge",
      limit: 2 ** 20,
      actual: 2 ** 20 + 1
    })
  })

  class Money {
    readonly amount = 1
  }
  const circle: Record<string, unknown> = {}
  circle.self = circle
  const notData: Record<string, unknown> = {
    "a Date": new Date(0),
    "a RegExp": /a/,
    "a Map": new Map(),
    "a Set": new Set(),
    "an Error": new Error("e"),
    "a class instance": new Money(),
    "a function": () => 0,
    "a method": { toJSON: () => "forged" },
    "a symbol": Symbol("s"),
    "a boxed string": new String("s"),
    "a Promise": Promise.resolve(),
    "a Float64Array": new Float64Array(1),
    "an ArrayBuffer": new ArrayBuffer(1),
    "a circle": circle,
    "a Proxy of a Map": new Proxy(new Map(), {})
  }
  it.each(Object.entries(notData))("refuses %s, at any depth, and does not repeat it", (_name, value) => {
    for (const at of [value, [value], { a: [{ b: value }] }]) {
      const error = Either.getOrThrow(Either.flip(codec.encode(at)))
      expect(error.reason).toBe("Encode")
      expect(JSON.stringify(error)).not.toContain("forged")
    }
  })

  it("H-24 H-25 REG-F2: carries the keys __proto__, constructor and prototype without loss, and pollutes nothing", () => {
    const shapes = [
      "{\"__proto__\":{\"polluted\":1}}",
      "{\"a\":{\"__proto__\":{\"polluted\":1}},\"b\":[{\"__proto__\":null}]}",
      "{\"constructor\":{\"prototype\":{\"polluted\":1}}}",
      "{\"a\":{\"constructor\":{\"prototype\":{\"polluted\":1}}}}",
      "{\"prototype\":1,\"toString\":2,\"hasOwnProperty\":3,\"valueOf\":4}",
      "{\"a.__proto__.b\":1,\"a[__proto__]\":2,\"__proto__.polluted\":3}",
      "{\"__proto_\":1,\"__proto__\":2,\"__proto___\":3}",
      "[\"__proto__\"]"
    ]
    for (const shape of shapes) {
      const back = roundTrip(codec, JSON.parse(shape))
      expect(JSON.stringify(back)).toBe(shape)
      expect(({} as { polluted?: number }).polluted).toBeUndefined()
    }
    expect(Object.getPrototypeOf(roundTrip(codec, JSON.parse(shapes[0]!)))).toBe(Object.prototype)
  })

  it("decodes arbitrary bytes to a value or Corrupt", () => {
    FastCheck.assert(FastCheck.property(
      FastCheck.uint8Array({ maxLength: 60 }),
      (bytes) => ["done", "Corrupt"].includes(reason(codec.decode(bytes)))
    ))
  })

  it("every prefix of a value, and every value with something after it, is Corrupt", () => {
    const bytes = Either.getOrThrow(codec.encode({ a: [1, "two", { three: null }], b: "x".repeat(40), c: 1.5 }))
    for (let length = 0; length < bytes.length; length++) {
      expect(reason(codec.decode(bytes.subarray(0, length)))).toBe("Corrupt")
    }
    expect(reason(codec.decode(Buffer.concat([bytes, Uint8Array.of(0xc0)])))).toBe("Corrupt")
    expect(reason(codec.decode(Buffer.concat([bytes, bytes])))).toBe("Corrupt")
  })

  it("every single bit flipped is a value or Corrupt", () => {
    const bytes = Either.getOrThrow(codec.encode({ a: [1, "two", { three: null }], b: "x".repeat(40), c: 1.5 }))
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = Uint8Array.from(bytes)
        changed[at]! ^= 1 << bit
        expect(["done", "Corrupt"]).toContain(reason(codec.decode(changed)))
      }
    }
  })

  it("works on after a failure", () => {
    codec.encode({ a: 2n ** 70n, b: { c: () => 0 } })
    codec.decode(Uint8Array.of(0x93, 1))
    expect(roundTrip(codec, { a: [1, 2, 3] })).toEqual({ a: [1, 2, 3] })
  })

  it("keeps half of a surrogate pair exactly, in text and in keys", () => {
    const values = [
      "\ud800",
      "a\udc00b",
      "\udc00\ud800",
      { "\ud800": 1 },
      { "\udfff": { a: ["\ud83d", "\ud83d\ude00", "\"\\\u0000"] } },
      JSON.parse("{\"__proto__\":\"\\ud800\",\"toJSON\":1}"),
      [`${"x".repeat(100)}\ud800`, "\u2028", ""]
    ]
    for (const value of values) {
      expect(JSON.stringify(roundTrip(codec, value))).toBe(JSON.stringify(value))
    }
  })

  it("keeps any text exactly, well-formed or not", () => {
    const text = FastCheck.array(
      FastCheck.oneof(FastCheck.constantFrom("\ud800", "\udbff", "\udc00", "\udfff", "\"", "\\"), FastCheck.string())
    ).map((parts) => parts.join(""))
    FastCheck.assert(
      FastCheck.property(FastCheck.dictionary(text, FastCheck.array(text)), (value) => {
        expect(JSON.stringify(roundTrip(codec, value))).toBe(JSON.stringify(value))
      })
    )
  })

  it("keeps the keys toJSON and constructor, whatever is beside them", () => {
    const shapes = [
      "{\"constructor\":1,\"toJSON\":2}",
      "{\"a\":[{\"toJSON\":{},\"constructor\":null,\"__proto__\":1}]}",
      "{\"toJSON\":\"x\"}"
    ]
    for (const shape of shapes) {
      expect(JSON.stringify(roundTrip(codec, JSON.parse(shape)))).toBe(shape)
      const bare = Object.assign(Object.create(null), JSON.parse(shape))
      expect(JSON.stringify(roundTrip(codec, bare))).toBe(shape)
    }
  })

  describe("more nodes than maxBytes are TooLarge, at once:", () => {
    const shared = (width: number, depth: number): unknown => {
      let value: unknown = 1
      for (let i = 0; i < depth; i++) {
        const inner = value
        value = i % 2 === 0
          ? Array.from({ length: width }, () => inner)
          : Object.fromEntries([["a", inner], ["b", inner]])
      }
      return value
    }
    const long = "x".repeat(1000)
    const large: Record<string, () => unknown> = {
      "a sparse array": () => new Array(2 ** 32 - 1),
      "a sparse array within": () => ({ a: [[new Array(2 ** 27)]] }),
      "one array many times, each below the limit": () => new Array(1000).fill(new Array(2 ** 19).fill(0)),
      "an array of one value": () => new Array(2 ** 20 + 1).fill(null),
      "a graph of few objects and many paths": () => shared(2, 60),
      "a wide graph": () => shared(1000, 9),
      "one long text, many times": () => new Array(2000).fill(long),
      "one long key, many times": () => new Array(2000).fill({ [long]: 1 }),
      "properties without a value, many times": () =>
        new Array(2000).fill(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [i, undefined])))
    }
    it.each(Object.entries(large))("%s", (_name, make) => {
      expect(Either.getOrThrow(Either.flip(codec.encode(make())))).toMatchObject({
        reason: "TooLarge",
        limit: 2 ** 20,
        actual: expect.any(Number)
      })
    })
  })

  it("says what kind of value it does not carry, its place, and what to use", () => {
    const name = codec === json ? "json" : "msgpack"
    const problem = (value: unknown) => causeOf(Either.getOrThrow(Either.flip(codec.encode(value)))) as NotPlainData
    expect(problem({ a: [1, { date: new Date(0) }] })).toMatchObject({
      message: `a Date, which ${name} does not carry; use Schema.Date`,
      path: ["a", 1, "date"]
    })
    expect(problem([new Map()]).message).toBe(`a Map, which ${name} does not carry; use Schema.Map`)
    expect(problem(new URL("http://secret"))).toMatchObject({
      message: `a URL, which ${name} does not carry; use Schema.URL`,
      path: []
    })
    expect(problem({ f: () => "secret" }).message).toBe(
      `a function, which ${name} does not carry; let the schema encode it to plain data`
    )
    expect(problem(2n ** 70n).message).toBe(`a bigint, which ${name} does not carry; use Schema.BigInt`)
    expect(problem(new Error("secret")).message).toContain("an Error, ")
  })

  it("what it hands out is not overwritten by what comes next", () => {
    const first = Either.getOrThrow(codec.encode({ a: "first" }))
    const copy = Uint8Array.from(first)
    for (let i = 0; i < 1000; i++) codec.encode({ b: `${i}`.repeat(20) })
    expect([...first]).toEqual([...copy])
  })
})

describe("msgpack", () => {
  it("carries what JSON cannot: undefined, NaN, the infinities, bigints, bytes", () => {
    const value = {
      undefined: undefined,
      numbers: [NaN, Infinity, -Infinity, Number.MAX_SAFE_INTEGER, Number.MIN_VALUE],
      bigints: [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n],
      bytes: Uint8Array.of(0, 255)
    }
    const back = roundTrip(msgpack, value) as typeof value
    expect("undefined" in back).toBe(true)
    expect({ ...back, bytes: Uint8Array.from(back.bytes) }).toEqual(value)
    expect(back.bytes).toBeInstanceOf(Uint8Array)
  })

  it("carries every number and every string", () => {
    FastCheck.assert(FastCheck.property(
      FastCheck.double().filter((n) => !Object.is(n, -0)),
      (n) => Object.is(roundTrip(msgpack, n), n)
    ))
    FastCheck.assert(FastCheck.property(FastCheck.integer(), (n) => roundTrip(msgpack, n) === n))
    FastCheck.assert(
      FastCheck.property(
        FastCheck.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
        (n) => roundTrip(msgpack, n) === n
      )
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary", maxLength: 300 }), (s) => roundTrip(msgpack, s) === s)
    )
    FastCheck.assert(
      FastCheck.property(
        FastCheck.uint8Array({ maxLength: 300 }),
        (bytes) => Buffer.compare(roundTrip(msgpack, bytes) as Uint8Array, bytes) === 0
      )
    )
  })

  it("carries any keys", () => {
    FastCheck.assert(FastCheck.property(
      FastCheck.dictionary(FastCheck.string({ unit: "binary" }), FastCheck.integer(), { maxKeys: 20 }),
      (value) => JSON.stringify(roundTrip(msgpack, value)) === JSON.stringify(value)
    ))
  })

  it("decoded bytes are a copy: they do not hold the record, and outlive it", () => {
    const bytes = Either.getOrThrow(msgpack.encode({ a: Uint8Array.of(1, 2, 3) }))
    const { a } = Either.getOrThrow(msgpack.decode(bytes)) as { a: Uint8Array }
    bytes.fill(0)
    expect([...a]).toEqual([1, 2, 3])
  })

  it.each([
    ["too large a bigint", 2n ** 64n],
    ["too small a bigint", -(2n ** 63n) - 1n]
  ])("refuses %s", (_name, value) => {
    expect(reason(msgpack.encode(value))).toBe("Encode")
  })

  it("H-29: nested fixarrays and fixmaps, to any depth, are Corrupt and cost no stack", () => {
    for (const depth of [65, 100, 10_000, 1_000_000]) {
      expect(reason(msgpack.decode(Buffer.concat([Buffer.alloc(depth, 0x91), Uint8Array.of(0xc0)])))).toBe("Corrupt")
      const maps = Buffer.alloc(depth * 3)
      for (let i = 0; i < depth; i++) maps.set([0x81, 0xa1, 0x61], i * 3)
      expect(reason(msgpack.decode(Buffer.concat([maps, Uint8Array.of(0xc0)])))).toBe("Corrupt")
    }
    expect(reason(msgpack.decode(Buffer.concat([Buffer.alloc(64, 0x91), Uint8Array.of(0xc0)])))).toBe("done")
  })

  it("H-30 REG-F3: declared lengths allocate nothing", () => {
    const before = process.memoryUsage().rss
    for (const length of [2 ** 31 - 1, 2 ** 32 - 1]) {
      for (const type of [0xdd, 0xdf, 0xdb, 0xc6, 0xc9]) {
        for (const rest of [[], [0xc0], [0xa1, 0x61, 0xc0], Array<number>(5).fill(0)]) {
          expect(reason(msgpack.decode(Uint8Array.from([type, ...u32(length), ...rest])))).toBe("Corrupt")
        }
      }
    }
    expect(reason(msgpack.decode(Uint8Array.from([0xdc, 0xff, 0xff])))).toBe("Corrupt")
    const multiplying = Buffer.concat(Array<Buffer>(60).fill(Buffer.from([0xdd, ...u32(2 ** 32 - 1)])))
    expect(reason(msgpack.decode(multiplying))).toBe("Corrupt")
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20)
  })

  it("H-30: 16 MB of nils are refused unread; 1 MiB of them is an array", () => {
    const nils = (count: number) => Buffer.concat([Buffer.from([0xdd, ...u32(count)]), Buffer.alloc(count, 0xc0)])
    expect(reason(msgpack.decode(nils(16_000_000)))).toBe("Corrupt")
    expect(Either.getOrThrow(msgpack.decode(nils(2 ** 20 - 5)))).toHaveLength(2 ** 20 - 5)
  })

  it("H-31 REG-F1 REG-F3: of the extensions nothing but undefined is accepted", () => {
    const packed = new Packr({ structuredClone: true, moreTypes: true } as never)
    for (
      const value of [
        new Date(0),
        new Date(1e15),
        new Date(NaN),
        /(a+)+$/,
        new Error("e"),
        new Set([1]),
        new Map([[1, 2]]),
        new Float64Array(2)
      ]
    ) {
      expect(reason(msgpack.decode(packed.pack(value)))).toBe("Corrupt")
      expect(reason(msgpack.decode(packed.pack([value])))).toBe("Corrupt")
    }
    for (let type = 0; type < 256; type++) {
      for (const [marker, size] of [[0xd4, 1], [0xd5, 2], [0xd6, 4], [0xd7, 8], [0xd8, 16]] as const) {
        for (const fill of [0, 1, 0xff]) {
          const expected = marker === 0xd4 && type === 0 && fill === 0 ? "done" : "Corrupt"
          expect(reason(msgpack.decode(Uint8Array.from([marker, type, ...Array<number>(size).fill(fill)])))).toBe(
            expected
          )
        }
      }
      expect(reason(msgpack.decode(Uint8Array.from([0xc7, 12, type, ...Array<number>(12).fill(0)])))).toBe("Corrupt")
      expect(reason(msgpack.decode(Uint8Array.from([0xc7, 0, type])))).toBe("Corrupt")
    }
  })

  it("H-31: msgpackr's records, and code hidden in their keys, are Corrupt", () => {
    const records = new Packr({ useRecords: true })
    expect(reason(msgpack.decode(records.pack({ a: 1, "a\"];globalThis.polluted=1;//": 2 })))).toBe("Corrupt")
    expect((globalThis as { polluted?: number }).polluted).toBeUndefined()
    // a fixint in the range of record ids is a number, whatever was decoded before
    expect(Either.getOrThrow(msgpack.decode(Uint8Array.of(0x40)))).toBe(64)
  })

  it("a key with code in it is a key", () => {
    const value = { "a\"];globalThis.polluted=1;//": 2 }
    expect(roundTrip(msgpack, value)).toEqual(value)
  })

  it.each([
    ["a number", [0x81, 0x01, 0x02]],
    ["nil", [0x81, 0xc0, 0x02]],
    ["an array", [0x81, 0x90, 0x02]],
    ["a map", [0x81, 0x80, 0x02]],
    ["bytes", [0x81, 0xc4, 0x01, 0x61, 0x02]],
    ["an extension", [0x81, 0xd4, 0x00, 0x00, 0x02]]
  ])("H-33: a key that is %s is Corrupt", (_name, bytes) => {
    expect(reason(msgpack.decode(Uint8Array.from(bytes)))).toBe("Corrupt")
  })

  it.each([
    ["c1", [0xc1]],
    ["nothing", []],
    ["text that is not UTF-8", [0xa2, 0xff, 0xfe]],
    ["text cut within a character", [0xa1, 0xe2]],
    ["long text that is not UTF-8", [0xd9, 40, ...Array<number>(40).fill(0xff)]],
    ["an overlong spelling of __proto__", [0x81, 0xaa, 0xc1, 0x9f, ...text("_proto__"), 0x01]],
    ["an encoded surrogate", [0xa3, 0xed, 0xa0, 0x80]]
  ])("H-33: %s is Corrupt", (_name, bytes) => {
    expect(reason(msgpack.decode(Uint8Array.from(bytes)))).toBe("Corrupt")
  })

  it.each([
    ["text that is no literal", [0xc1, 0xa1, 0x61]],
    ["a literal of something else", [0xc1, 0xa1, 0x31]],
    ["a key that is no literal", [0xc1, 0x81, 0xa1, 0x61, 0x01]],
    ["a second mark", [0xc1, 0xc1, 0xa2, 0x22, 0x22]]
  ])("a payload of literals with %s is Corrupt", (_name, bytes) => {
    expect(reason(msgpack.decode(Uint8Array.from(bytes)))).toBe("Corrupt")
  })

  it("H-33: top-level values of any kind are data", () => {
    for (const value of [null, 0, "text", [], {}, true, undefined]) {
      expect(roundTrip(msgpack, value)).toEqual(value)
    }
  })

  it("the last of duplicate keys counts", () => {
    expect(Either.getOrThrow(msgpack.decode(Uint8Array.from([0x82, 0xa1, 0x61, 1, 0xa1, 0x61, 2])))).toEqual({ a: 2 })
  })
})

describe("json", () => {
  it.each([
    ["bytes", Uint8Array.of(1), "a Uint8Array, which json does not carry; use Schema.Uint8ArrayFromBase64"],
    ["undefined in an array", [undefined], "undefined, which json does not carry; use null"],
    ["a number that is not finite", [NaN], "a number that is not finite, which json does not carry"]
  ])("says what it does not carry: %s", (_name, value, message) => {
    expect(String(causeOf(Either.getOrThrow(Either.flip(json.encode(value)))))).toContain(message)
  })

  const decode = (source: string | Uint8Array) => json.decode(typeof source === "string" ? text(source) : source)

  it("H-27: nested to any depth is Corrupt", () => {
    for (const depth of [65, 100, 10_000, 300_000]) {
      expect(reason(decode("[".repeat(depth) + "]".repeat(depth)))).toBe("Corrupt")
      expect(reason(decode("{\"a\":".repeat(depth) + "1" + "}".repeat(depth)))).toBe("Corrupt")
      expect(reason(decode("[".repeat(depth)))).toBe("Corrupt")
    }
  })

  it.each([
    ["a BOM", "\ufeff{}"],
    ["trailing garbage", "{} x"],
    ["a comment", "{/**/}"],
    ["NaN", "NaN"],
    ["Infinity", "[Infinity]"],
    ["a number that is infinite", "1e400"],
    ["a number that is infinite, inside", "{\"a\":[-1e999]}"],
    ["a NUL", "\"\u0000\""],
    ["nothing", ""],
    ["undefined", "undefined"],
    ["single quotes", "{'a':1}"],
    ["a trailing comma", "[1,]"]
  ])("H-28: %s is Corrupt", (_name, source) => {
    expect(reason(decode(source))).toBe("Corrupt")
  })

  it("text that is not UTF-8 is Corrupt", () => {
    expect(reason(decode(Uint8Array.from([0x22, 0xff, 0x22])))).toBe("Corrupt")
    expect(reason(decode(Uint8Array.from([0x22, 0xc1, 0x9f, 0x22])))).toBe("Corrupt")
  })

  it("H-28: a 10 MB string and a million keys are refused unread", () => {
    expect(reason(decode(`"${"x".repeat(10_000_000)}"`))).toBe("Corrupt")
    expect(reason(decode(`{${Array.from({ length: 1e6 }, (_, i) => `"${i}":1`).join()}}`))).toBe("Corrupt")
  })

  it("H-28: odd but legal text is data", () => {
    expect(Either.getOrThrow(decode("\"\u2028\u2029\""))).toBe("\u2028\u2029")
    expect(Either.getOrThrow(decode("{\"a\":1,\"a\":2}"))).toEqual({ a: 2 })
    expect(Either.getOrThrow(decode("9".repeat(300)))).toBe(1e300)
    expect(roundTrip(json, "\ud800")).toBe("\ud800")
  })

  it.each([
    ["NaN", NaN],
    ["an infinity", [Infinity]],
    ["a bigint", 1n],
    ["bytes", Uint8Array.of(1)],
    ["undefined alone", undefined],
    ["undefined in an array", [1, undefined]],
    ["a hole", [1, , 2]]
  ])("refuses %s rather than change it", (_name, value) => {
    expect(reason(json.encode(value))).toBe("Encode")
  })

  it("drops undefined properties", () => {
    expect(roundTrip(json, { a: undefined, b: 1 })).toEqual({ b: 1 })
  })
})

it("why it failed is in the cause, without the value", () => {
  const error = Either.getOrThrow(Either.flip(msgpack.encode({ password: Symbol("hunter2") })))
  expect(String(causeOf(error))).toContain("symbol")
  expect(String(causeOf(error))).not.toContain("hunter2")
})
