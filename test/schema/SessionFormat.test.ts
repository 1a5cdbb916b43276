import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import * as SessionFormat from "../../src/schema/SessionFormat.js"

const format = SessionFormat.native("app/App", PayloadCodec.msgpack())
const parse = (value: string) => Option.getOrThrow(format.parse(value))
const make = Effect.runSync(format.make)
const cookie = format.print(make)

const bytes = (length: number) => FastCheck.uint8Array({ minLength: length, maxLength: length })
const time = FastCheck.integer({ min: 0, max: 2 ** 48 - 1 })
const lifetime = FastCheck.integer({ min: 1, max: 10 * 365 * 24 * 60 * 60 * 1000 })
const record: FastCheck.Arbitrary<SessionFormat.SessionRecord> = FastCheck.record({
  createdAt: time,
  absoluteDeadline: time,
  absoluteTimeout: lifetime,
  idleTimeout: lifetime,
  persistent: FastCheck.boolean(),
  proof: bytes(32),
  ended: FastCheck.array(FastCheck.record({ proof: bytes(32), until: time }), { maxLength: 4 }),
  seq: FastCheck.integer({ min: 0, max: 2 ** 40 }),
  tokens: FastCheck.array(bytes(8), { maxLength: 8 }),
  payload: FastCheck.uint8Array({ maxLength: 100 })
})

const encode = (value: SessionFormat.SessionRecord) => Either.getOrThrow(format.encode(value, Option.none()))

/** Buffers and arrays of bytes alike, for comparison. */
const plain = (value: SessionFormat.SessionRecord) =>
  JSON.stringify(
    value,
    (_, item) => item instanceof Uint8Array ? [...item] : item?.type === "Buffer" ? item.data : item
  )

const full: SessionFormat.SessionRecord = {
  createdAt: 1,
  absoluteDeadline: 2,
  absoluteTimeout: 3,
  idleTimeout: 4,
  persistent: true,
  proof: new Uint8Array(32).fill(5),
  ended: Array.from({ length: 4 }, (_, i) => ({ proof: new Uint8Array(32).fill(i), until: i })),
  seq: 6,
  tokens: Array.from({ length: 8 }, (_, i) => new Uint8Array(8).fill(i)),
  payload: Either.getOrThrow(format.codec.encode({ user: "ada" }))
}

describe("ids", () => {
  it("print as 54 characters of base64url and come back the same", () => {
    expect(cookie).toMatch(/^[A-Za-z0-9_-]{54}$/)
    expect(format.print(parse(cookie))).toBe(cookie)
    expect(parse(cookie)).toMatchObject({ key: make.key, ref: make.ref })
  })

  it("ASVS-11.4.1 ASVS-11.4.3: key, proof and ref are the hashes that the design names", () => {
    const secret = Buffer.from(cookie, "base64url")
    const [selector, verifier] = [secret.subarray(0, 16), secret.subarray(16)]
    const hash = (...parts: ReadonlyArray<string | Uint8Array>) =>
      parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest()
    const id = parse(cookie)
    expect(id.key).toBe(hash("app/App", "\u0000", selector).toString("hex"))
    expect([...id.proof]).toEqual([...hash(verifier)])
    expect(id.ref).toBe(hash("app/App", "\u0001", selector).toString("base64url").slice(0, 22))
  })

  it("taken apart in turns, each keeps its own key and ref", () => {
    const others = Array.from({ length: 5 }, () => format.print(Effect.runSync(format.make)))
    const ids = others.map(parse)
    expect(ids.map((id) => [id.key, id.ref])).toEqual(others.map((other) => [parse(other).key, parse(other).ref]))
    expect(new Set(ids.map((id) => id.ref)).size).toBe(5)
  })

  it("of two tags share nothing but the cookie's text", () => {
    const other = Option.getOrThrow(SessionFormat.native("app/Admin", format.codec).parse(cookie))
    expect(other.key).not.toBe(make.key)
    expect(other.ref).not.toBe(make.ref)
  })

  it("reissued: the same key and ref, another proof", () => {
    const next = Effect.runSync(format.reissue(make))
    expect([next.key, next.ref]).toEqual([make.key, make.ref])
    expect(next.proof).not.toEqual(make.proof)
    expect(format.print(next).slice(0, 21)).toBe(cookie.slice(0, 21))
  })

  it("a thousand of them are a thousand", () => {
    const ids = Array.from({ length: 1000 }, () => Effect.runSync(format.make))
    expect(new Set(ids.map((id) => id.key)).size).toBe(1000)
    expect(new Set(ids.map((id) => Buffer.from(id.proof).toString("hex"))).size).toBe(1000)
  })

  it("every last character but the canonical one is rejected", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    const accepted = [...alphabet].filter((last) => Option.isSome(format.parse(cookie.slice(0, -1) + last)))
    expect(accepted).toEqual(["A", "Q", "g", "w"])
    for (const last of accepted) {
      expect(format.print(parse(cookie.slice(0, -1) + last))).toBe(cookie.slice(0, -1) + last)
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
    it(`no id: ${name}`, () => expect(Option.isNone(format.parse(value))).toBe(true))
  }

  it("OW-12: whatever is accepted has one spelling", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.string({ minLength: 54, maxLength: 54, unit: "binary" }),
        (text) => Option.match(format.parse(text), { onNone: () => true, onSome: (id) => format.print(id) === text })
      )
    )
    FastCheck.assert(FastCheck.property(bytes(40), (secret) => {
      const text = Buffer.from(secret).toString("base64url")
      return format.print(parse(text)) === text
    }))
  })

  it("OW-24 REG-A12: are secret: not in String, JSON, inspect, spread or an error", () => {
    const shown = [
      String(make),
      `${make}`,
      JSON.stringify({ make }),
      inspect(make, { depth: 9, showHidden: true }),
      inspect({ ...make }, { depth: 9 }),
      JSON.stringify({ ...make }),
      inspect(new Error("no", { cause: make }), { depth: 9 })
    ].join()
    const secret = Buffer.from(cookie, "base64url")
    for (const half of [secret.subarray(0, 16), secret.subarray(16), secret]) {
      for (const encoding of ["base64url", "base64", "hex", "latin1"] as const) {
        expect(shown).not.toContain(half.toString(encoding))
      }
    }
    expect(String(make)).toBe("<redacted>")
  })

  it("of another kind are refused", () => {
    expect(() => format.print({ key: "k", proof: new Uint8Array(32), ref: "r" })).toThrow()
  })
})

describe("records", () => {
  it("come back as they were", () => {
    FastCheck.assert(FastCheck.property(record, (value) => {
      const decoded = Either.getOrThrow(format.decode(encode(value)))
      return plain(decoded) === plain(value)
    }))
  })

  it("come back from the middle of a larger buffer", () => {
    const data = encode(full)
    const around = new Uint8Array(data.length + 20).fill(0xff)
    around.set(data, 7)
    expect(plain(Either.getOrThrow(format.decode(around.subarray(7, 7 + data.length))))).toBe(plain(full))
  })

  it("REG-A1: hold neither half of the id", () => {
    const secret = Buffer.from(cookie, "base64url")
    const data = encode({ ...full, proof: make.proof })
    expect(Buffer.from(data).includes(secret.subarray(0, 16))).toBe(false)
    expect(Buffer.from(data).includes(secret.subarray(16))).toBe(false)
  })

  it("cut anywhere before the payload are Corrupt", () => {
    const data = encode(full)
    for (let length = 0; length < data.length - full.payload.length; length++) {
      expect(Either.getOrThrow(Either.flip(format.decode(data.subarray(0, length)))).reason).toBe("Corrupt")
    }
  })

  it("with any one bit flipped decode to a record or fail as they should, never otherwise", () => {
    const data = encode(full)
    for (let at = 0; at < data.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Uint8Array.from(data)
        flipped[at]! ^= 1 << bit
        const decoded = format.decode(flipped)
        if (Either.isLeft(decoded)) {
          expect(["Corrupt", "Unsupported"]).toContain(decoded.left.reason)
        } else {
          format.codec.decode(decoded.right.payload) // a Left, or a value: nothing is thrown
        }
      }
    }
  })

  it("of arbitrary bytes fail, or are records", () => {
    FastCheck.assert(FastCheck.property(
      FastCheck.uint8Array({ maxLength: 400 }),
      (data) =>
        Either.match(format.decode(data), {
          onLeft: (error) => error.reason === "Corrupt" || error.reason === "Unsupported",
          onRight: (value) => Buffer.compare(encode(value), data) === 0
        })
    ))
  })

  it("ASVS-11.2.2: of a newer version are Unsupported, however short; what is no record of ours is Corrupt", () => {
    const reasonOf = (first: number, rest: Uint8Array = encode(full).subarray(1)) =>
      Either.match(format.decode(Uint8Array.of(first, ...rest)), {
        onLeft: (error) => error.reason,
        onRight: () => "a record"
      })
    for (let first = 0; first < 256; first++) {
      expect(reasonOf(first)).toBe(first === 1 ? "a record" : first > 1 && first < 0x10 ? "Unsupported" : "Corrupt")
    }
    expect(reasonOf(2, new Uint8Array())).toBe("Unsupported")
    expect(reasonOf(1, new Uint8Array())).toBe("Corrupt")
  })

  it("a lifetime or a commit count out of its bounds is Corrupt", () => {
    const year = 365 * 24 * 60 * 60 * 1000
    const outcomeOf = (change: Partial<SessionFormat.SessionRecord>) =>
      Either.match(format.decode(encode({ ...full, ...change })), {
        onLeft: (error) => error.reason,
        onRight: () => "a record"
      })
    for (const millis of [0, 10 * year + 1, 2 ** 48 - 1]) {
      expect(outcomeOf({ idleTimeout: millis })).toBe("Corrupt")
      expect(outcomeOf({ absoluteTimeout: millis })).toBe("Corrupt")
    }
    expect(outcomeOf({ idleTimeout: 1, absoluteTimeout: 10 * year })).toBe("a record")
    expect(outcomeOf({ seq: 2 ** 48 - 1 })).toBe("Corrupt")
    expect(outcomeOf({ seq: 2 ** 40 + 1 })).toBe("Corrupt")
    expect(outcomeOf({ seq: 2 ** 40 })).toBe("a record")
  })

  it("with unknown flags, or rings longer than they can be, are Corrupt", () => {
    const reasonOf = (change: (data: Buffer) => void) => {
      const data = Buffer.from(encode(full))
      change(data)
      return Either.getOrThrow(Either.flip(format.decode(data))).reason
    }
    const endedAt = 2 + 5 * 6 + 32
    const tokensAt = endedAt + 1 + 4 * 38
    expect(encode(full)[endedAt]).toBe(4)
    expect(encode(full)[tokensAt]).toBe(8)
    expect(reasonOf((data) => data.fill(2, 1, 2))).toBe("Corrupt")
    expect(reasonOf((data) => data.fill(5, endedAt, endedAt + 1))).toBe("Corrupt")
    expect(reasonOf((data) => data.fill(255, endedAt, endedAt + 1))).toBe("Corrupt")
    expect(reasonOf((data) => data.fill(9, tokensAt, tokensAt + 1))).toBe("Corrupt")
    expect(reasonOf((data) => data.fill(255, tokensAt, tokensAt + 1))).toBe("Corrupt")
  })
})
