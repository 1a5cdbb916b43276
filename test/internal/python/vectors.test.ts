/** The recorded vectors of Flask-Session 0.8, msgspec 0.22 and cachelib 0.17. */
import { json } from "effect-session/internal/python/json"
import { msgpack } from "effect-session/internal/python/msgpack"
import { readPickle } from "effect-session/internal/python/pickleReader"
import { writePickle } from "effect-session/internal/python/pickleWriter"
import { fromTagged, type Tagged, toTagged } from "effect-session/internal/python/tagged"
import { describe, expect, it } from "vitest"
import { comparable, fixture, fromHex, reasonOf, toHex } from "./support.js"

interface MsgspecCase {
  readonly name: string
  readonly value: Tagged
  readonly msgpack?: string
  readonly msgpack_decoded?: Tagged
  readonly json?: string
  readonly json_decoded?: Tagged
}

interface DecodeCase {
  readonly format: "msgpack" | "json"
  readonly name: string
  readonly hex: string
  readonly value?: Tagged
  readonly error?: string
}

interface PickleCase {
  readonly protocol: number
  readonly name: string
  readonly hex: string
  readonly value: Tagged
}

const msgspec = fixture<{ cases: ReadonlyArray<MsgspecCase> }>("msgspec.json").cases
const decoding = fixture<ReadonlyArray<DecodeCase>>("decode.json")
const pickles = fixture<ReadonlyArray<PickleCase>>("pickle.json")
const cachelib = fixture<{ file_hex: string; redis_value_hex: string }>("cachelib.json")

const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

describe("msgspec.json", () => {
  it.each(msgspec.map((vector) => [vector.name, vector] as const))(
    "%s is written and read as recorded",
    (_, vector) => {
      const value = fromTagged(vector.value)
      if (vector.msgpack === undefined) {
        expect(reasonOf(() => msgpack.encode(value))).toBe("NotRepresentable")
      } else {
        expect(toHex(msgpack.encode(value))).toBe(vector.msgpack)
        const read = msgpack.decode(fromHex(vector.msgpack))
        expect(comparable(toTagged(read))).toEqual(comparable(vector.msgpack_decoded))
        expect(toHex(msgpack.encode(read))).toBe(vector.msgpack)
      }
      if (vector.json === undefined) {
        expect(reasonOf(() => json.encode(value))).toBe("NotRepresentable")
      } else {
        expect(utf8(json.encode(value))).toBe(vector.json)
        const read = json.decode(Buffer.from(vector.json))
        expect(comparable(toTagged(read))).toEqual(comparable(vector.json_decoded))
        expect(utf8(json.encode(read))).toBe(vector.json)
      }
    }
  )
})

describe("decode.json", () => {
  it.each(decoding.map((vector) => [`${vector.format} ${vector.name}`, vector] as const))("%s", (_, vector) => {
    const codec = vector.format === "json" ? json : msgpack
    const read = () => codec.decode(fromHex(vector.hex))
    if (vector.error !== undefined) expect(reasonOf(read)).toBe("Malformed")
    else expect(comparable(toTagged(read()))).toEqual(comparable(vector.value))
  })
})

describe("pickle.json", () => {
  // the recorder showed a frozenset as a set
  const withoutFrozen = (tagged: Tagged): unknown => JSON.parse(JSON.stringify(tagged).replaceAll("frozenset", "set"))

  it.each(pickles.map((vector) => [`protocol ${vector.protocol} ${vector.name}`, vector] as const))(
    "%s is read as recorded, and again after it was written",
    (_, vector) => {
      const value = readPickle(fromHex(vector.hex))
      expect(comparable(withoutFrozen(toTagged(value)))).toEqual(comparable(vector.value))
      expect(toTagged(readPickle(writePickle(value)))).toEqual(toTagged(value))
    }
  )
})

describe("cachelib.json", () => {
  it("the recorded session is written with the bytes of Python's own pickle", () => {
    const value = readPickle(fromHex(cachelib.file_hex).subarray(4))
    expect(toTagged(value)).toEqual({
      t: "dict",
      v: [[{ t: "str", v: "_permanent" }, true], [{ t: "str", v: "user" }, { t: "str", v: "alice" }]]
    })
    expect(toHex(writePickle(value))).toBe(cachelib.file_hex.slice(8))
    expect(toHex(writePickle(value))).toBe(cachelib.redis_value_hex.slice(2))
  })
})
