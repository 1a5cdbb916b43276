/** What ids are made of, and how they are compared. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import crypto from "node:crypto"
import { syncBuiltinESMExports } from "node:module"
import { vi } from "vitest"
import { equalBytes } from "../../src/internal/crypto.js"
import { native } from "../harness/native.js"
import { type Answer, bytesOf, cookieOf, forged, idOf, makeWorld, type Send, unknown } from "./world.js"

const format = native("app/App")
const ids = (count: number) => Array.from({ length: count }, () => format.print(format.create()))
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** One function of node:crypto replaced, for everybody who imports it, until the scope closes. */
const replaced = <K extends "randomFillSync" | "timingSafeEqual">(name: K, by: (original: any) => any) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const original = crypto[name]
      crypto[name] = by(original)
      syncBuiltinESMExports()
      return original
    }),
    (original) =>
      Effect.sync(() => {
        crypto[name] = original
        syncBuiltinESMExports()
      })
  )

describe("the generator", () => {
  it("OW-02 ASVS-7.2.3 ASVS-11.2.3 ASVS-11.5.1 NI-02 REG-A9: 200,000 ids of 320 bits, every letter at every place", () => {
    const all = ids(200_000)
    expect(new Set(all).size).toBe(all.length)
    const counts = Array.from({ length: 54 }, () => new Map<string, number>())
    for (const id of all) {
      for (let at = 0; at < 54; at++) {
        counts[at]!.set(id[at]!, (counts[at]!.get(id[at]!) ?? 0) + 1)
      }
    }
    counts.forEach((count, at) => {
      const letters = at < 53 ? [...alphabet] : ["A", "Q", "g", "w"] // four bits are left for the last one
      expect([...count.keys()].sort()).toEqual([...letters].sort())
      const expected = all.length / letters.length
      const chiSquare = letters.reduce((sum, letter) => sum + (count.get(letter)! - expected) ** 2 / expected, 0)
      expect(chiSquare).toBeLessThan(160) // 63 degrees of freedom: nine deviations over the mean
    })
  })

  it("OW-03: without a clock, and with Math.random constant, ids have nothing in common", () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5)
    vi.spyOn(Date, "now").mockReturnValue(0)
    try {
      const heads = ids(1000).map((id) => id.slice(0, 8))
      expect(new Set(heads).size).toBe(1000)
    } finally {
      vi.restoreAllMocks()
    }
  })

  it("ASVS-11.5.2 ASVS-7.2.2: 100,000 made at once are 100,000", async () => {
    const all = await Effect.runPromise(
      Effect.forEach(Array(1000), () => Effect.sync(() => ids(100)), { concurrency: "unbounded" })
    )
    expect(new Set(all.flat()).size).toBe(100_000)
  })

  it("NI-07 ASVS-7.2.1: each of the 320 bits is random: nothing is told, and nothing left to a client to decide", () => {
    const all = ids(4000).map((id) => Buffer.from(id, "base64url"))
    for (let bit = 0; bit < 320; bit++) {
      const ones = all.filter((bytes) => (bytes[bit >> 3]! >> (bit & 7)) & 1).length
      expect(Math.abs(ones - 2000)).toBeLessThan(300) // nine deviations
    }
  })

  it.scopedLive("OW-02 REG-A9: a generator that fails fails the request: no cookie, no record, no other generator", () =>
    Effect.gen(function*() {
      const { count, node } = yield* makeWorld
      const send = yield* node()
      yield* replaced("randomFillSync", () => () => {
        throw new Error("no entropy")
      })
      const drawn = Array.from({ length: 200 }, () => Effect.runSyncExit(Effect.sync(format.create))) // the pool is spent by then
      expect(Exit.isFailure(drawn[199]!)).toBe(true)
      const answer = yield* send("/write")
      expect([answer.status, answer.body, answer.cookie]).toEqual([500, "", undefined])
      expect(yield* count).toBe(0)
    }))
})

describe("the store", () => {
  it.scoped("REG-A1 ASVS-11.4.1: holds nothing of the id; ids that are alike have keys that are not", () =>
    Effect.gen(function*() {
      const { issue, probe } = yield* makeWorld
      const cookie = yield* issue()
      const [[key, record]] = Object.entries(yield* probe.records) as [[string, string]]
      expect(key).toMatch(/^[0-9a-f]{64}$/)
      const stored = `${key} ${record} ${Buffer.from(record.split(" ")[2]!, "hex").toString("latin1")}`
      const secret = bytesOf(cookie)
      for (const text of [idOf(cookie), secret.toString("hex"), secret.toString("base64"), secret.toString("latin1")]) {
        for (let at = 0; at + 8 <= text.length; at++) {
          expect(stored.includes(text.slice(at, at + 8))).toBe(false)
        }
      }
      const twin = Buffer.from(secret)
      twin[15]! ^= 1
      const keyOf = (secret: Buffer) => format.idOf(secret.toString("base64url")).key
      expect(keyOf(twin)).toHaveLength(64)
      expect(keyOf(twin).slice(0, 8)).not.toBe(keyOf(secret).slice(0, 8))
    }))

  it.scoped("REG-A2: a dump of it opens no session, however it is spelt", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      expect((yield* send("/read", cookie)).body).toBe("1")
      const [[key, record]] = Object.entries(yield* probe.records) as [[string, string]]
      const stolen = Buffer.concat([Buffer.from(key, "hex"), Buffer.from(record.split(" ")[2]!, "hex")])
      const guesses = [key, Buffer.from(key, "hex").toString("base64url"), stolen.toString("base64url")]
      for (let at = 0; at + 40 <= stolen.length; at++) {
        const window = stolen.subarray(at, at + 40)
        guesses.push(window.toString("base64url"), window.toString("hex"), window.toString("base64"))
        // the right selector, and what is stored in place of the verifier
        guesses.push(Buffer.concat([bytesOf(cookie).subarray(0, 16), window.subarray(0, 24)]).toString("base64url"))
      }
      for (const guess of guesses) {
        expect([guess, (yield* send("/read", `__Host-id=${guess}`)).body]).toEqual([guess, "0"])
      }
    }))
})

describe("comparing", () => {
  it.scopedLive("ASVS-11.2.4 REG-D1: verifiers are compared by timingSafeEqual, as hashes", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      const compared: Array<ReadonlyArray<number>> = []
      yield* replaced("timingSafeEqual", (original) => (a: Uint8Array, b: Uint8Array) => {
        compared.push([a.length, b.length])
        return original(a, b)
      })
      expect((yield* send("/read", cookie)).body).toBe("1")
      expect((yield* send("/read", forged(cookie))).body).toBe("0")
      expect(compared).toEqual([[32, 32], [32, 32]])
    }))

  it("ASVS-11.2.4: unequal lengths are unequal, and no error", () => {
    expect(equalBytes(new Uint8Array(32), new Uint8Array(31))).toBe(false)
    expect(equalBytes(new Uint8Array(0), new Uint8Array(1))).toBe(false)
    expect(equalBytes(new Uint8Array(32), new Uint8Array(32))).toBe(true)
  })

  /** An answer with the new id taken out. */
  const seen = ({ body, headers, status }: Answer) =>
    JSON.stringify([status, body, [...headers]]).replaceAll(/__Host-id=[\w-]{54}/g, "__Host-id=…")

  const ask = (send: Send, cookie: string) =>
    Effect.map(
      Effect.forEach(["/none", "/read", "/is-new", "/write", "/regenerate", "/destroy"], (path) => send(path, cookie)),
      (answers) => answers.map(seen)
    )

  it.scoped("ASVS-11.2.5: a malformed, an unknown, a destroyed id and a wrong verifier are answered alike", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const send = yield* node()
      const [live, destroyed] = [yield* issue(), yield* issue()]
      yield* send("/destroy", destroyed)
      const expected = yield* ask(send, unknown)
      for (const cookie of [forged(live), destroyed, "__Host-id=%00", "__Host-id=", `${live}=`]) {
        expect(yield* ask(send, cookie)).toEqual(expected)
      }
    }))

  it.scoped("H-09: every bit flipped, cut, extended, halves swapped, spelt otherwise: no other id opens the session", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const [live, other] = [yield* issue({ n: 1 }), yield* issue({ n: 2 })]
      const before = yield* probe.records
      const secret = bytesOf(live)
      const guesses: Array<string> = []
      for (let bit = 0; bit < 320; bit++) {
        const flipped = Buffer.from(secret)
        flipped[bit >> 3]! ^= 1 << (bit & 7)
        guesses.push(cookieOf(flipped))
      }
      for (let length = 0; length < 54; length++) {
        guesses.push(`__Host-id=${idOf(live).slice(0, length)}`, `__Host-id=${idOf(live).slice(54 - length)}`)
      }
      const [selector, verifier] = [secret.subarray(0, 16), secret.subarray(16)]
      guesses.push(
        `${live}A`,
        `${live}${idOf(live)}`,
        `${live}.`,
        `${live}.${idOf(other)}`,
        cookieOf(Buffer.concat([verifier, selector])),
        cookieOf(Buffer.concat([selector, bytesOf(other).subarray(16)])),
        cookieOf(Buffer.concat([bytesOf(other).subarray(0, 16), verifier])),
        cookieOf(Buffer.from(secret).reverse()),
        `__Host-id=${secret.toString("hex")}`,
        `__Host-id=${secret.toString("base64")}`,
        `__Host-id=${secret.toString("latin1").replaceAll(/[^\x21-\x7e]/g, "x")}`
      )
      for (const guess of guesses) {
        expect([guess, (yield* send("/read", guess)).body]).toEqual([guess, "0"])
      }
      expect(yield* probe.records).toEqual(before)
      expect((yield* send("/read", live)).body).toBe("1")
    }))
})
