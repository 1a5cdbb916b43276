import { json } from "effect-session/internal/python/json"
import { msgpack } from "effect-session/internal/python/msgpack"
import { encodeKeeping } from "effect-session/internal/python/TopLevel"
import { PyDict, PyFloat, type PyValue } from "effect-session/internal/python/Value"
import { describe, expect, it } from "vitest"
import { failure, fromHex, reasonOf, toHex } from "./support.js"

const dict = (...entries: ReadonlyArray<readonly [PyValue, PyValue]>) => new PyDict(entries)

describe("msgpack", () => {
  // "f": a float32, "n": 1 as int64, "__proto__": 1.0, 7: None
  const stored = fromHex("84a166ca3fc00000a16ed30000000000000001a95f5f70726f746f5f5fcb3ff000000000000007c0")

  it("a record is joined to the bytes that it was split from", () => {
    const entries = msgpack.splitTopLevel(stored)
    expect(entries.map(({ key }) => key)).toEqual(["f", "n", "__proto__", 7n])
    expect(toHex(msgpack.joinTopLevel(entries))).toBe(toHex(stored))
  })

  it("keys that did not change keep their bytes, in the order of the new dict", () => {
    const next = dict([7n, null], ["f", new PyFloat(1.5)], ["n", 2n], ["new", "x"], ["__proto__", new PyFloat(1)])
    expect(toHex(encodeKeeping(msgpack, msgpack.splitTopLevel(stored), next))).toBe(
      "8507c0a166ca3fc00000a16e02a36e6577a178a95f5f70726f746f5f5fcb3ff0000000000000"
    )
  })

  it("of keys that are equal for Python the first key and the last value remain", () => {
    const entries = msgpack.splitTopLevel(fromHex("8401a161c3a162cb3ff0000000000000a163a17801"))
    expect(entries.map(({ key, value }) => [key, value])).toEqual([[1n, "c"], ["x", 1n]])
    expect(toHex(msgpack.joinTopLevel(entries))).toBe("8201a163a17801")
  })

  it.each(["c0", "90", "01", "a161"])("%s is no record", (hex) => {
    expect(reasonOf(() => msgpack.splitTopLevel(fromHex(hex)))).toBe("Malformed")
  })

  it("a record of 16 and of 70,000 keys is joined with a longer head", () => {
    for (const count of [15, 16, 70_000]) {
      const value = dict(...Array.from({ length: count }, (_, index): [bigint, null] => [BigInt(index), null]))
      const bytes = msgpack.encode(value)
      expect(toHex(msgpack.joinTopLevel(msgpack.splitTopLevel(bytes)))).toBe(toHex(bytes))
    }
  })
})

describe("JSON", () => {
  const stored = Buffer.from(" { \"f\" : 1E5 , \"\\u0061\":1.0, \"n\":[1, 2] ,\"__proto__\":12345678901234567890123 } ")

  it("keys that did not change keep their text", () => {
    const entries = json.splitTopLevel(stored)
    expect(entries.map(({ key }) => key)).toEqual(["f", "a", "n", "__proto__"])
    const next = dict(...entries.map(({ key, value }): [PyValue, PyValue] => [key, key === "n" ? [1n] : value]))
    expect(Buffer.from(encodeKeeping(json, entries, next)).toString()).toBe(
      "{\"f\":1E5,\"\\u0061\":1.0,\"n\":[1],\"__proto__\":12345678901234567890123}"
    )
  })

  it("a float that became an int is written anew", () => {
    const next = dict(["a", 1n])
    expect(Buffer.from(encodeKeeping(json, json.splitTopLevel(stored), next)).toString()).toBe("{\"\\u0061\":1}")
  })
})

it("an error of a kept record names the whole path", () => {
  const error = failure(() => encodeKeeping(msgpack, [], dict(["user", [dict([1n, "\ud800"])]])))
  expect(error.reason).toBe("NotRepresentable")
  expect(error.path).toEqual(["user", 0, "1"])
})
