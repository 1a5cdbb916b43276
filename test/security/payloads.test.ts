/**
 * Hostile bytes in the store, under an id that is right: what is not data is
 * reported and read as anonymous, and stays as it is. Nothing is revived,
 * polluted or thrown.
 */
import { describe, expect, it } from "@effect/vitest"
import * as PayloadCodec from "effect-session/schema/PayloadCodec"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { Packr } from "msgpackr"
import { randomBytes } from "node:crypto"
import { gzipSync } from "node:zlib"
import { native } from "../harness/native.js"
import { AppSession } from "../http/app.js"
import { bytesOf, idOf, makeWorld } from "./world.js"

const msgpack = PayloadCodec.msgpack()
const json = PayloadCodec.json()
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex")
const pack = (value: unknown) => new Packr({ useRecords: false, variableMapSize: true }).pack(value)
const u32 = (value: number) => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255])
/** Text in msgpack, for keys that msgpackr would rename. */
const str = (text: string) => Buffer.concat([Buffer.from([0xa0 | text.length]), Buffer.from(text)])
const map = (...entries: ReadonlyArray<readonly [string, Uint8Array]>) =>
  Buffer.concat([
    Buffer.from([0x80 | entries.length]),
    ...entries.flatMap(([key, value]) => [str(key), value])
  ])

/** Data as any other: the session is read, and what its schema does not know is not shown. */
const data = "data"
/** No data: reported, and the request is anonymous. */
const corrupt = "corrupt"

type Cases = ReadonlyArray<readonly [name: string, payload: Uint8Array, expected: typeof data | typeof corrupt]>

const unpolluted = () => {
  const fresh: Record<string, unknown> = {}
  expect([fresh.polluted, fresh.n, ([] as unknown as typeof fresh).polluted, Object.keys(Object.prototype)]).toEqual([
    undefined,
    undefined,
    undefined,
    []
  ])
}

/** Plants each in turn under a live id, as a payload or as the whole record, and sends requests. */
const plantAll = (codec: PayloadCodec.PayloadCodec, as: "payload" | "record", cases: Cases) =>
  Effect.gen(function*() {
    const logs: Array<string> = []
    const logger = Logger.make(({ cause, logLevel, message }) => {
      logs.push(`${logLevel.label} ${String(message)} ${Cause.pretty(cause)}`)
    })
    const { issue, node, probe } = yield* makeWorld
    const send = yield* Effect.provide(node({}, { codec }), Logger.add(logger))
    const canary = (yield* send("/write")).cookie
    const [canaryKey] = Object.keys(yield* probe.records) as [string]
    const format = native(AppSession.key)
    const cookie = yield* issue({ n: 1 }) // its payload is replaced at once
    const { key } = format.idOf(idOf(cookie))
    const plant = (bytes: Uint8Array) =>
      Effect.gen(function*() {
        const { expiresAt, version } = Option.getOrThrow(yield* probe.store.load(key))
        const record = as === "payload" ? format.decode(fresh) : undefined
        const planted = record === undefined
          ? bytes
          : format.encode({ ...record, payload: bytes })
        yield* probe.store.replace(key, version, planted, expiresAt)
      }).pipe(Effect.orDie)
    const fresh = Option.getOrThrow(yield* Effect.orDie(probe.store.load(key))).data

    for (const [name, bytes, expected] of cases) {
      yield* plant(bytes)
      const [before, others] = [(yield* probe.records)[key], (yield* probe.records)[canaryKey]]
      logs.length = 0
      const answer = yield* send("/read", cookie)
      expect([name, answer.status, answer.body, answer.cookie]).toEqual([name, 200, "0", undefined])
      const reports = logs.filter((line) => line.startsWith("WARN"))
      expect([name, reports.length]).toEqual([name, expected === corrupt ? 1 : 0])
      expect([name, (yield* send("/is-new", cookie)).body]).toEqual([name, String(expected === corrupt)])
      const after = yield* probe.records
      expect([name, after[key], after[canaryKey]]).toEqual([name, before, others])
      for (const report of reports) {
        expect(bytes.length > 8 && report.includes(Buffer.from(bytes).toString("latin1").slice(0, 40))).toBe(false)
        expect(report).not.toContain(idOf(cookie).slice(0, 12))
      }
      unpolluted()
    }
    const written = yield* send("/write", cookie)
    expect([written.status, (yield* send("/read", canary)).body]).toEqual([200, "1"])
    const last = cases.at(-1)![2]
    expect(written.cookie === undefined).toBe(last === data)
  })

const nested = (open: Buffer, depth: number) => Buffer.concat([...Array<Buffer>(depth).fill(open), Buffer.from([0xc0])])

describe("msgpack", () => {
  it.scoped("H-24 H-25 ASVS-15.3.6 REG-F2: __proto__, constructor and prototype, at the top and nested", () =>
    plantAll(msgpack, "payload", [
      ["__proto__", map(["__proto__", map(["polluted", hex("01")], ["n", hex("07")])]), data],
      [
        "__proto__ of a field",
        map(["n", hex("00")], ["user", map(["__proto__", map(["polluted", hex("01")])])]),
        corrupt
      ],
      ["nested", map(["a", map(["__proto__", map(["polluted", hex("01")])])]), data],
      ["constructor", map(["constructor", map(["prototype", map(["polluted", hex("01")])])]), data],
      ["in an array", map(["a", Buffer.concat([hex("91"), map(["__proto__", map(["polluted", hex("01")])])])]), data],
      ["dots", map(["__proto__.polluted", hex("01")], ["a[__proto__]", hex("01")]), data],
      ["twice", map(["__proto__", hex("01")], ["__proto__", map(["polluted", hex("01")])]), data],
      ["toString", map(["toString", hex("01")], ["hasOwnProperty", hex("01")], ["valueOf", hex("01")]), data],
      ["the array itself", Buffer.concat([hex("91"), str("__proto__")]), corrupt]
    ]))

  it.scoped("H-29 REG-F3: nested to any depth", () =>
    plantAll(
      msgpack,
      "payload",
      [65, 100, 10_000, 900_000].flatMap((depth) => [
        [`${depth} arrays`, nested(hex("91"), depth), corrupt] as const,
        [`${depth} maps`, nested(hex("81a161"), Math.min(depth, 300_000)), corrupt] as const
      ])
    ))

  it.scoped("H-30 REG-F3 REG-C11: declared lengths", () =>
    plantAll(msgpack, "payload", [
      ...[0xdd, 0xdf, 0xdb, 0xc6, 0xc9].flatMap((type) =>
        [2 ** 31 - 1, 2 ** 32 - 1].map((length) =>
          [
            `${type.toString(16)} ${length}`,
            Buffer.concat([Buffer.from([type]), u32(length), hex("c0")]),
            corrupt
          ] as const
        )
      ),
      ["array16", hex("dcffff"), corrupt],
      ["lengths that multiply", Buffer.concat(Array<Buffer>(60).fill(hex("ddffffffff"))), corrupt],
      ["16 MB of nils", Buffer.concat([hex("dd00f42400"), Buffer.alloc(16_000_000, 0xc0)]), corrupt]
    ]))

  it.scoped("H-31 REG-F1 REG-D7 ASVS-1.5.2: extensions, objects and code", () => {
    const rich = new Packr({ structuredClone: true, moreTypes: true } as never)
    const circle: Record<string, unknown> = {}
    circle.self = circle
    const objects: Record<string, unknown> = {
      "a date": new Date(0),
      "a RegExp": /(a+)+$/,
      "an Error": new Error("e"),
      "a Set": new Set([1]),
      "a circle": circle,
      "a typed array": new Float64Array(2)
    }
    return plantAll(msgpack, "payload", [
      ...Object.entries(objects).map(([name, value]) => [name, rich.pack({ n: value }), corrupt] as const),
      ["records", new Packr({ useRecords: true }).pack({ "a\"];globalThis.polluted=1;//": 1 }), corrupt],
      ["a key with code", map(["a\"];globalThis.x=1;//", hex("01")]), data],
      ...[..."beiprstx"].flatMap((type) =>
        ["d4", "d5", "d6", "d7", "d8"].map((marker, size) =>
          [
            `private type ${type}, ${marker}`,
            Buffer.concat([hex(marker), Buffer.from(type), Buffer.alloc(2 ** size)]),
            corrupt
          ] as const
        )
      ),
      ["a timestamp", hex("d6ff00000000"), corrupt],
      ["a timestamp out of range", Buffer.concat([hex("c70cff"), Buffer.alloc(12, 0xff)]), corrupt]
    ])
  })

  it.scoped("H-33: other types than the schema's, and none at all", () =>
    plantAll(msgpack, "payload", [
      ...[null, true, 0, -1, 1.5, "text", [], [1], NaN, Infinity, 2n ** 60n].map((value) =>
        [`${String(value)} on top`, pack(value), corrupt] as const
      ),
      ["an empty map", hex("80"), data],
      ["nothing", hex(""), corrupt],
      ["n as text", pack({ n: "1" }), corrupt],
      ["n as an object", pack({ n: { valueOf: 1 } }), corrupt],
      ["n as a bigint", pack({ n: 2n ** 60n }), corrupt],
      ["user as a number", pack({ n: 0, user: 7 }), corrupt],
      ["user as an array", pack({ n: 0, user: ["admin"] }), corrupt],
      ["a key that is a number", hex("810102"), corrupt],
      ["a key that is nil", hex("81c002"), corrupt],
      ["c1", hex("c1"), corrupt],
      ["text that is not UTF-8", Buffer.concat([hex("81"), str("user"), hex("a2fffe")]), corrupt],
      ["trailing bytes", Buffer.concat([pack({ n: 0 }), hex("c0")]), corrupt]
    ]))
})

describe("JSON", () => {
  const text = (source: string) => Buffer.from(source)

  it.scoped("H-24 H-25 ASVS-15.3.6: __proto__ and constructor", () =>
    plantAll(json, "payload", [
      ["__proto__", text("{\"__proto__\":{\"polluted\":1,\"n\":7}}"), data],
      ["nested", text("{\"a\":{\"__proto__\":{\"polluted\":1}}}"), data],
      ["constructor", text("{\"constructor\":{\"prototype\":{\"polluted\":1}}}"), data],
      ["escaped", text("{\"\\u005f_proto__\":{\"polluted\":1}}"), data],
      ["as the field", text("{\"n\":{\"__proto__\":{\"polluted\":1}}}"), corrupt]
    ]))

  it.scoped("H-27 REG-F3: deep", () =>
    plantAll(
      json,
      "payload",
      [100, 10_000, 400_000].flatMap((depth) => [
        [`${depth} arrays`, text("[".repeat(depth) + "]".repeat(depth)), corrupt] as const,
        [
          `${depth} objects`,
          text("{\"a\":".repeat(depth / 4) + "1" + "}".repeat(depth / 4)),
          depth > 256 ? corrupt : data
        ] as const,
        [`${depth} alternating`, text("[{\"a\":".repeat(depth / 5)), corrupt] as const
      ])
    ))

  it.scoped("H-28: large and odd", () =>
    plantAll(json, "payload", [
      ["a string of 10 MB", text(`{"user":"${"x".repeat(10_000_000)}"}`), corrupt],
      [
        "100,000 keys",
        text(`{${Array.from({ length: 100_000 }, (_, i) => `"${i}":1`).join()}}`),
        data
      ],
      ["a million keys", text(`{${Array.from({ length: 1_000_000 }, (_, i) => `"${i}":1`).join()}}`), corrupt],
      ["duplicate keys", text("{\"n\":\"x\",\"n\":0}"), data],
      ["1e400", text("{\"n\":1e400}"), corrupt],
      ["100,000 digits", text(`{"n":${"9".repeat(100_000)}}`), corrupt],
      ["-0", text("{\"n\":-0}"), data],
      ["a lone surrogate", text("{\"a\":\"\\ud800\"}"), data],
      ["a BOM", text("\ufeff{}"), corrupt],
      ["a NUL", text("{\"a\":\"\0\"}"), corrupt],
      ["trailing garbage", text("{} x"), corrupt],
      ["a comment", text("{/**/}"), corrupt],
      ["NaN", text("{\"n\":NaN}"), corrupt],
      ["U+2028", text("{\"a\":\"\u2028\"}"), data]
    ]))
})

describe("whole records", () => {
  it.scoped("F-P2: bytes that are not ours: other libraries', compressed, single, random", () =>
    plantAll(msgpack, "record", [
      ["nothing", hex(""), corrupt],
      [
        "connect-redis",
        Buffer.from("{\"cookie\":{\"originalMaxAge\":null,\"path\":\"/\"},\"user\":\"admin\"}"),
        corrupt
      ],
      ["PHP", Buffer.from("user|s:5:\"admin\";n|i:7;"), corrupt],
      ["Laravel", Buffer.from("a:2:{s:6:\"_token\";s:40:\"x\";s:1:\"n\";i:7;}"), corrupt],
      ["a pickle", hex("80 04 95 0d 00 00 00 00 00 00 00 7d 94 8c 01 6e 94 4b 07 73 2e"), corrupt],
      ["msgpack", pack({ n: 7 }), corrupt],
      ["gzip", gzipSync(Buffer.alloc(1000)), corrupt],
      // 02 to 0f are newer versions of ours: they fail, and have a test of their own
      ...Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte < 2 || byte > 0x0f).map((byte) =>
        [`the byte ${byte}`, Buffer.from([byte]), corrupt] as const
      ),
      ...Array.from({ length: 150 }, (_, i) => {
        const bytes = randomBytes(i + 1)
        bytes[0]! |= 0x10
        return [bytes.toString("hex"), bytes, corrupt] as const
      })
    ]))

  it.scoped("F-G10: a newer version fails, and is neither read, rewritten nor removed", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      const [key] = Object.keys(yield* probe.records) as [string]
      const { data, expiresAt, version } = Option.getOrThrow(yield* probe.store.load(key))
      yield* probe.store.replace(key, version, Buffer.concat([hex("02"), data.subarray(1)]), expiresAt)
      const before = yield* probe.records
      for (const path of ["/read", "/write", "/regenerate", "/destroy"]) {
        const { body, headers, status } = yield* send(path, cookie)
        expect([status, JSON.parse(body).reason, headers.getSetCookie()]).toEqual([500, "Unsupported", []])
      }
      expect(yield* probe.records).toEqual(before)
    }))

  it.scoped("H-33: the record of another session under a key opens neither", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const [a, b] = [yield* issue({ n: 1 }), yield* issue({ n: 2 })]
      const [keyOfA, keyOfB] = Object.keys(yield* probe.records) as [string, string]
      const { data } = Option.getOrThrow(yield* probe.store.load(keyOfB))
      const { expiresAt, version } = Option.getOrThrow(yield* probe.store.load(keyOfA))
      yield* probe.store.replace(keyOfA, version, data, expiresAt)
      expect((yield* send("/read", a)).body).toBe("0")
      expect((yield* send("/read", b)).body).toBe("2")
      expect(bytesOf(a)).not.toEqual(bytesOf(b))
    }))

  it.scoped("H-33: deadlines and counts at their bounds are read as numbers, and never make a session last", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      const [key] = Object.keys(yield* probe.records) as [string]
      const original = Option.getOrThrow(yield* probe.store.load(key)).data
      for (const at of [2, 8, 14, 20, 26]) { // createdAt, absolute deadline and timeout, idle timeout, seq
        for (const fill of [0x00, 0xff]) {
          const bytes = Buffer.from(original)
          bytes.fill(fill, at, at + 6)
          const { expiresAt, version } = Option.getOrThrow(yield* probe.store.load(key))
          yield* probe.store.replace(key, version, bytes, expiresAt)
          const { body, status } = yield* send("/read", cookie)
          // a deadline that has passed is the end; lifetimes and counts out of bounds are Corrupt
          const opens = fill === 0 ? at === 2 || at === 26 : at === 2 || at === 8
          expect([at, fill, status, body]).toEqual([at, fill, 200, opens ? "1" : "0"])
          expect((yield* send("/expires-at", cookie)).status).toBe(200)
        }
      }
    }))
})
