import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import * as SessionRecord from "../../src/schema/SessionRecord.js"
import { isInstance } from "../../src/SessionError.js"
import { native, type Record } from "../harness/native.js"

const format = native("app/App")
const codec = PayloadCodec.msgpack()
const cookie = format.print(format.create())

const bytes = (length: number) => FastCheck.uint8Array({ minLength: length, maxLength: length })
const time = FastCheck.integer({ min: 0, max: 2 ** 48 - 1 })
const lifetime = FastCheck.integer({ min: 1, max: SessionRecord.maxTimeout })
const record: FastCheck.Arbitrary<Record> = FastCheck.record({
  createdAt: time,
  absoluteDeadline: time,
  absoluteTimeout: lifetime,
  idleTimeout: lifetime,
  persistent: FastCheck.boolean(),
  verifierHash: bytes(32),
  retired: FastCheck.array(FastCheck.record({ verifierHash: bytes(32), until: time }), { maxLength: 4 }),
  seq: FastCheck.integer({ min: 0, max: 2 ** 40 }),
  tokens: FastCheck.integer({ min: 0, max: 8 }).chain((count) => bytes(count * 8)),
  payload: FastCheck.uint8Array({ maxLength: 100 })
})

/** The reason of the error that `decode` throws, or "a record". */
const outcomeOf = (data: Uint8Array): string => {
  try {
    format.decode(data)
    return "a record"
  } catch (error) {
    if (!isInstance(error)) throw error
    return error.reason
  }
}

/** Buffers and arrays of bytes alike, for comparison. */
const plain = (value: Record) =>
  JSON.stringify(
    value,
    (_, item) => item instanceof Uint8Array ? [...item] : item?.type === "Buffer" ? item.data : item
  )

const full: Record = {
  createdAt: 1,
  absoluteDeadline: 2,
  absoluteTimeout: 3,
  idleTimeout: 4,
  persistent: true,
  verifierHash: new Uint8Array(32).fill(5),
  retired: Array.from({ length: 4 }, (_, i) => ({ verifierHash: new Uint8Array(32).fill(i), until: i })),
  seq: 6,
  tokens: Uint8Array.from({ length: 64 }, (_, i) => i >> 3),
  payload: codec.encode({ user: "ada" })
}

describe("the bytes of a record", () => {
  it("come back as they were", () => {
    FastCheck.assert(FastCheck.property(record, (value) => plain(format.decode(format.encode(value))) === plain(value)))
  })

  it("come back from the middle of a larger buffer", () => {
    const data = format.encode(full)
    const around = new Uint8Array(data.length + 20).fill(0xff)
    around.set(data, 7)
    expect(plain(format.decode(around.subarray(7, 7 + data.length)))).toBe(plain(full))
  })

  it("REG-A1: hold neither half of the id", () => {
    const secret = Buffer.from(cookie, "base64url")
    const data = Buffer.from(format.encode({ ...full, verifierHash: format.idOf(cookie).verifierHash }))
    expect(data.includes(secret.subarray(0, 16))).toBe(false)
    expect(data.includes(secret.subarray(16))).toBe(false)
  })

  it("are Corrupt when they are cut anywhere before the payload", () => {
    const data = format.encode(full)
    for (let length = 0; length < data.length - full.payload.length; length++) {
      expect(outcomeOf(data.subarray(0, length))).toBe("Corrupt")
    }
  })

  it("decode to a record or fail as they should when any one bit is flipped", () => {
    const data = format.encode(full)
    for (let at = 0; at < data.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Uint8Array.from(data)
        flipped[at]! ^= 1 << bit
        expect(["a record", "Corrupt", "Unsupported"]).toContain(outcomeOf(flipped))
      }
    }
  })

  it("fail or encode to the same bytes, whatever they are", () => {
    FastCheck.assert(FastCheck.property(
      FastCheck.uint8Array({ maxLength: 400 }),
      (data) => outcomeOf(data) !== "a record" || Buffer.compare(format.encode(format.decode(data)), data) === 0
    ))
  })

  it("ASVS-11.2.2: are Unsupported in a newer version, however short, and otherwise Corrupt", () => {
    const reasonOf = (first: number, rest: Uint8Array = format.encode(full).subarray(1)) =>
      outcomeOf(Uint8Array.of(first, ...rest))
    for (let first = 0; first < 256; first++) {
      expect(reasonOf(first)).toBe(first === 1 ? "a record" : first > 1 && first < 0x10 ? "Unsupported" : "Corrupt")
    }
    expect(reasonOf(2, new Uint8Array())).toBe("Unsupported")
    expect(reasonOf(1, new Uint8Array())).toBe("Corrupt")
  })

  it("a lifetime or a commit count out of its bounds is Corrupt", () => {
    const changed = (change: Partial<Record>) => outcomeOf(format.encode({ ...full, ...change }))
    for (const millis of [0, SessionRecord.maxTimeout + 1, 2 ** 48 - 1]) {
      expect(changed({ idleTimeout: millis })).toBe("Corrupt")
      expect(changed({ absoluteTimeout: millis })).toBe("Corrupt")
    }
    expect(changed({ idleTimeout: 1, absoluteTimeout: SessionRecord.maxTimeout })).toBe("a record")
    expect(changed({ seq: 2 ** 48 - 1 })).toBe("Corrupt")
    expect(changed({ seq: 2 ** 40 + 1 })).toBe("Corrupt")
    expect(changed({ seq: 2 ** 40 })).toBe("a record")
  })

  it("are Corrupt with unknown flags or with histories longer than they can be", () => {
    const changed = (at: number, value: number) => {
      const data = Buffer.from(format.encode(full))
      data[at] = value
      return outcomeOf(data)
    }
    const retiredAt = 2 + 5 * 6 + 32
    const tokensAt = retiredAt + 1 + 4 * 38
    expect(format.encode(full)[retiredAt]).toBe(4)
    expect(format.encode(full)[tokensAt]).toBe(8)
    expect(changed(1, 2)).toBe("Corrupt")
    for (const [at, value] of [[retiredAt, 5], [retiredAt, 255], [tokensAt, 9], [tokensAt, 255]] as const) {
      expect(changed(at, value)).toBe("Corrupt")
    }
  })
})

const defaults = { idleTimeout: 100, absoluteTimeout: 1000, persistent: false }
const hash = (byte: number) => new Uint8Array(32).fill(byte)
const token = (byte: number) => new Uint8Array(8).fill(byte)
const commit = (change: Partial<SessionRecord.Commit> = {}): SessionRecord.Commit => ({
  now: 0,
  token: token(1),
  verifierHash: hash(1),
  lifetime: undefined,
  regenerate: false,
  ...change
})
const login = (previous: SessionRecord.SessionRecord, byte: number, now: number) =>
  SessionRecord.advance(previous, commit({ now, token: token(byte), verifierHash: hash(byte), regenerate: true }))

describe("a new record", () => {
  it("has the default lifetimes", () => {
    const created = SessionRecord.create(commit({ now: 5 }), defaults)
    expect(created).toMatchObject({ ...defaults, createdAt: 5, absoluteDeadline: 1005, seq: 1, retired: [] })
  })

  it("has the lifetimes that the request has set", () => {
    const lifetime = { idleTimeout: 7, persistent: true }
    expect(SessionRecord.create(commit({ lifetime }), defaults)).toMatchObject({ ...defaults, ...lifetime })
  })
})

describe("a commit", () => {
  const first = SessionRecord.create(commit(), defaults)

  it("keeps the absolute deadline", () => {
    const next = SessionRecord.advance(first, commit({ now: 500 }))
    expect(next).toMatchObject({ createdAt: 0, absoluteDeadline: 1000, seq: 2 })
  })

  it("restarts the absolute deadline when it renews the id, with the session's own length", () => {
    const remembered = SessionRecord.advance(first, commit({ lifetime: { absoluteTimeout: 9000 } }))
    expect(login(remembered, 2, 500).absoluteDeadline).toBe(9500)
  })

  it("restarts the absolute deadline when it sets the absolute timeout", () => {
    const next = SessionRecord.advance(first, commit({ now: 500, lifetime: { absoluteTimeout: 1000 } }))
    expect(next.absoluteDeadline).toBe(1500)
  })

  it("retires the verifier when it renews the id, for 30 seconds", () => {
    const next = login(first, 2, 500)
    expect(SessionRecord.idStatus(next, hash(2), 500)).toBe("current")
    expect(SessionRecord.idStatus(next, hash(1), 30_499)).toBe("retired")
    expect(SessionRecord.idStatus(next, hash(1), 30_500)).toBe("unknown")
    expect(SessionRecord.idStatus(next, hash(9), 500)).toBe("unknown")
  })

  it("keeps the last four retired verifiers, and forgets those that are over", () => {
    const five = [2, 3, 4, 5, 6].reduce((record, byte) => login(record, byte, byte), first)
    expect(five.retired.map(({ verifierHash }) => verifierHash[0])).toEqual([5, 4, 3, 2])
    expect(SessionRecord.advance(five, commit({ now: 40_000, verifierHash: hash(6) })).retired).toEqual([])
  })

  it("keeps the last eight tokens", () => {
    const nine = [2, 3, 4, 5, 6, 7, 8, 9].reduce(
      (record, byte) => SessionRecord.advance(record, commit({ token: token(byte) })),
      first
    )
    expect(SessionRecord.hasToken(nine, token(2))).toBe(true)
    expect(SessionRecord.hasToken(nine, token(9))).toBe(true)
    expect(SessionRecord.hasToken(nine, token(1))).toBe(false)
    expect(SessionRecord.knowsCommitsSince(nine, first)).toBe(true)
    expect(SessionRecord.knowsCommitsSince(SessionRecord.advance(nine, commit()), first)).toBe(false)
  })
})

describe("the deadline", () => {
  it("slides with each use, but not beyond the absolute deadline", () => {
    const created = SessionRecord.create(commit(), defaults)
    expect(SessionRecord.deadlineAt(created, 50)).toBe(150)
    expect(SessionRecord.deadlineAt(created, 950)).toBe(1000)
  })
})
