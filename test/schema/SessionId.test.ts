import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import { type NativeId, nativeIds } from "../../src/schema/SessionId.js"

const ids = nativeIds("app/App")
const parse = (value: string): NativeId => {
  const id = ids.parse(value)
  if (id === undefined) throw new Error("not an id")
  return id
}
const id = ids.create()
const cookie = ids.print(id)

const bytes = (length: number) => FastCheck.uint8Array({ minLength: length, maxLength: length })

describe("an id", () => {
  it("prints as 54 characters of base64url and comes back the same", () => {
    expect(cookie).toMatch(/^[A-Za-z0-9_-]{54}$/)
    expect(ids.print(parse(cookie))).toBe(cookie)
    expect(parse(cookie)).toMatchObject({ key: id.key, ref: id.ref })
  })

  it("ASVS-11.4.1 ASVS-11.4.3: key, verifier hash and ref are the hashes that the design names", () => {
    const secret = Buffer.from(cookie, "base64url")
    const [selector, verifier] = [secret.subarray(0, 16), secret.subarray(16)]
    const hash = (...parts: ReadonlyArray<string | Uint8Array>) =>
      parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest()
    expect(parse(cookie).key).toBe(hash("app/App", "\u0000", selector).toString("hex"))
    expect([...parse(cookie).verifierHash]).toEqual([...hash(verifier)])
    expect(parse(cookie).ref).toBe(hash("app/App", "\u0001", selector).toString("base64url").slice(0, 22))
  })

  it("keeps its key and ref when others are parsed after it", () => {
    const others = Array.from({ length: 5 }, () => ids.print(ids.create()))
    const parsed = others.map(parse)
    expect(parsed.map(({ key, ref }) => [key, ref])).toEqual(
      others.map((other) => [parse(other).key, parse(other).ref])
    )
    expect(new Set(parsed.map(({ ref }) => ref)).size).toBe(5)
  })

  it("has another key and ref in another scope", () => {
    const other = nativeIds("app/Admin").parse(cookie)!
    expect(other.key).not.toBe(id.key)
    expect(other.ref).not.toBe(id.ref)
  })

  it("renews to the same key and ref with another verifier", () => {
    const next = ids.renew(id)
    expect([next.key, next.ref]).toEqual([id.key, id.ref])
    expect(next.verifierHash).not.toEqual(id.verifierHash)
    expect(ids.print(next).slice(0, 21)).toBe(cookie.slice(0, 21))
  })

  it("is never made twice, in a thousand", () => {
    const made = Array.from({ length: 1000 }, () => ids.create())
    expect(new Set(made.map(({ key }) => key)).size).toBe(1000)
    expect(new Set(made.map(({ verifierHash }) => Buffer.from(verifierHash).toString("hex"))).size).toBe(1000)
  })

  it("ends with one of the four canonical characters", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    const accepted = [...alphabet].filter((last) => ids.parse(cookie.slice(0, -1) + last) !== undefined)
    expect(accepted).toEqual(["A", "Q", "g", "w"])
    for (const last of accepted) {
      expect(ids.print(parse(cookie.slice(0, -1) + last))).toBe(cookie.slice(0, -1) + last)
    }
  })

  const wrong: Record<string, string> = {
    "empty": "",
    "too short": cookie.slice(1),
    "too long": `${cookie}A`,
    "padded": `${cookie}==`,
    "padded in its length": `${cookie.slice(0, 52)}==`,
    "quoted": `"${cookie}"`,
    "base64": `${cookie.slice(0, 10)}+/${cookie.slice(12)}`,
    "with a space": ` ${cookie.slice(1)}`,
    "with a line feed at its end": `${cookie.slice(0, 53)}\n`,
    "with a line feed after it": `${cookie}\n`,
    "with a NUL": `${cookie.slice(0, 53)}\u0000`,
    "percent-encoded": `%41${cookie.slice(3)}`,
    "full-width": `\uff21${cookie.slice(1)}`,
    "a lone surrogate": `\ud800${cookie.slice(1)}`,
    "a Kelvin sign": `\u212a${cookie.slice(1)}`,
    "__proto__": "__proto__",
    "undefined": "undefined",
    "dots": ".".repeat(54),
    "a megabyte": "A".repeat(2 ** 20)
  }
  for (const [name, value] of Object.entries(wrong)) {
    it(`is not: ${name}`, () => expect(ids.parse(value)).toBeUndefined())
  }

  it("OW-12: has one spelling", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.string({ minLength: 54, maxLength: 54, unit: "binary" }),
        (text) => {
          const parsed = ids.parse(text)
          return parsed === undefined || ids.print(parsed) === text
        }
      )
    )
    FastCheck.assert(FastCheck.property(bytes(40), (secret) => {
      const text = Buffer.from(secret).toString("base64url")
      return ids.print(parse(text)) === text
    }))
  })

  it("OW-24 REG-A12: is secret: not in String, JSON, inspect, spread or an error", () => {
    const shown = [
      String(id),
      `${id}`,
      JSON.stringify({ id }),
      inspect(id, { depth: 9, showHidden: true }),
      inspect({ ...id }, { depth: 9 }),
      JSON.stringify({ ...id }),
      inspect(new Error("no", { cause: id }), { depth: 9 })
    ].join()
    const secret = Buffer.from(cookie, "base64url")
    for (const half of [secret.subarray(0, 16), secret.subarray(16), secret]) {
      for (const encoding of ["base64url", "base64", "hex", "latin1"] as const) {
        expect(shown).not.toContain(half.toString(encoding))
      }
    }
    expect(String(id)).toBe("<redacted>")
  })

  it("of another format cannot be printed", () => {
    expect(() => ids.print({ key: "k", ref: "r" } as NativeId)).toThrow()
  })
})
