/** Records that were made to break a reader or a writer. */
import { json } from "effect-session/internal/python/json"
import { defaultLimits } from "effect-session/internal/python/limits"
import { msgpack } from "effect-session/internal/python/msgpack"
import { readPickle } from "effect-session/internal/python/pickleReader"
import { writePickle } from "effect-session/internal/python/pickleWriter"
import { fromPlain, toPlain } from "effect-session/internal/python/plain"
import { PythonCodecError } from "effect-session/internal/python/PythonCodecError"
import { fromTagged, toTagged } from "effect-session/internal/python/tagged"
import {
  PyDate,
  PyDateTime,
  PyDict,
  PyExt,
  PyFloat,
  PyTime,
  PyTuple,
  PyUuid,
  type PyValue
} from "effect-session/internal/python/Value"
import { describe, expect, it } from "vitest"
import { failure, fixture, fromHex, mutate, reasonOf, toHex } from "./support.js"

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1")

const readers = { msgpack: msgpack.decode, json: json.decode, pickle: readPickle }

describe("a reader", () => {
  it.each<[string, keyof typeof readers, Buffer]>([
    ["msgpack, an array of 2^32 - 1 items", "msgpack", fromHex("ddffffffff")],
    ["msgpack, a map of 2^32 - 1 items", "msgpack", fromHex("dfffffffff")],
    ["msgpack, a str of 2^32 - 1 bytes", "msgpack", fromHex("dbffffffff61")],
    ["msgpack, bytes of 2^32 - 1 bytes", "msgpack", fromHex("c6ffffffff61")],
    ["msgpack, an extension of 2^32 - 1 bytes", "msgpack", fromHex("c9ffffffff0561")],
    ["msgpack, a map as a key", "msgpack", fromHex("818001")],
    ["msgpack, an extension within a key", "msgpack", fromHex("8191d4050101")],
    ["json, an object that is cut", "json", latin1("{\"a\"")],
    ["json, 4301 digits", "json", latin1("1".repeat(4301))],
    ["json, half a surrogate pair", "json", latin1("[\"\\ud83d\\ud83d\"]")],
    ["pickle, a str of 2^32 - 1 bytes", "pickle", latin1("X\xff\xff\xff\xffa.")],
    ["pickle, a str of 2^64 - 1 bytes", "pickle", latin1("\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.")],
    ["pickle, a frame beyond the end", "pickle", latin1("\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.")],
    ["pickle, a long of 2^31 bytes", "pickle", latin1("\x8b\x00\x00\x00\x80\x01.")],
    ["pickle, an empty stack", "pickle", latin1("0.")],
    ["pickle, no mark", "pickle", latin1("t.")],
    ["pickle, an item behind a mark", "pickle", latin1("](a.")],
    ["pickle, an item before a mark", "pickle", latin1("]N(a.")],
    ["pickle, a pair across a mark", "pickle", latin1("N(N\x86t.")],
    ["pickle, an unknown memo entry", "pickle", latin1("h\x00.")],
    ["pickle, a list as a key", "pickle", latin1("}]Ns.")],
    ["pickle, a key without a value", "pickle", latin1("}(Nu.")],
    ["pickle, a datetime of month 13", "pickle", latin1("cdatetime\ndate\n(C\x04\x07\xe8\x0d\x01tR.")],
    ["pickle, without a STOP", "pickle", latin1("N")],
    ["pickle, nothing", "pickle", latin1("")]
  ])("%s", (_, format, bytes) => {
    expect(["Malformed", "Unsupported"]).toContain(reasonOf(() => readers[format](bytes)))
  })

  it.each<[string, keyof typeof readers, Buffer]>([
    ["msgpack", "msgpack", Buffer.alloc(100_000, 0x91)],
    ["msgpack, keys", "msgpack", Buffer.concat([fromHex("81"), Buffer.alloc(100_000, 0x91)])],
    ["json, lists", "json", Buffer.alloc(100_000, "[")],
    ["json, objects", "json", Buffer.from("{\"a\":".repeat(100_000))],
    ["pickle", "pickle", Buffer.concat([Buffer.alloc(100_000, "]"), Buffer.alloc(99_999, "a"), latin1(".")])]
  ])("%s: 100,000 levels", (_, format, bytes) => {
    expect(reasonOf(() => readers[format](bytes))).toBe("TooDeep")
  })

  it.each(Object.entries(readers))("%s: more bytes than the limit", (_, read) => {
    expect(reasonOf(() => read(Buffer.alloc(101), { ...defaultLimits, maxBytes: 100 }))).toBe("TooLarge")
  })

  it.each<[string, keyof typeof readers, Buffer]>([
    ["msgpack", "msgpack", Buffer.concat([fromHex("dd00200000"), Buffer.alloc(0x200000, 0xc0)])],
    ["json", "json", Buffer.from(`[${"1,".repeat(1_100_000)}1]`)],
    ["pickle", "pickle", Buffer.concat([latin1("("), Buffer.alloc(0x200000, "N"), latin1("t.")])]
  ])("%s: more values than the limit", (_, format, bytes) => {
    expect(reasonOf(() => readers[format](bytes))).toBe("TooLarge")
  })
})

describe("a pickle", () => {
  const repeat = (text: string, count: number): string => text.repeat(count)

  /** Each level remembers what is on the stack, puts it there again, and makes one of both. */
  const doubling = (open: string, close: string): Buffer => {
    const levels = Array.from({ length: 60 }, (_, level) => {
      const index = String.fromCharCode(level)
      return `q${index}${open}h${index}${close}`
    })
    return latin1(`N${levels.join("")}.`)
  }

  it("tuples that each hold the one before twice", () => {
    expect(reasonOf(() => readPickle(doubling("", "\x86")))).toBe("TooLarge")
  })

  it("deeper tuples that do so", () => {
    expect(reasonOf(() => readPickle(doubling("\x85\x85", "\x86")))).toBe("TooLarge")
  })

  it("a doubled tuple as a key", () => {
    const tuple = doubling("", "\x86").subarray(0, -1)
    expect(reasonOf(() => readPickle(Buffer.concat([latin1("}"), tuple, latin1("Ns.")])))).toBe("TooLarge")
  })

  it("one long str a hundred thousand times", () => {
    const text = Buffer.concat([latin1("X\x00\x00\x10\x00"), Buffer.alloc(0x100000, "a"), latin1("q\x00")])
    const bytes = Buffer.concat([latin1("("), text, latin1(repeat("h\x00", 100_000)), latin1("t.")])
    expect(reasonOf(() => readPickle(bytes))).toBe("TooLarge")
  })

  it("calls that copy one long list again and again", () => {
    const list = latin1(`c__builtin__\nset\nq\x00(](${repeat("N", 50_000)}etq\x01`)
    const bytes = Buffer.concat([latin1("("), list, latin1(repeat("h\x00h\x01R", 100_000)), latin1("t.")])
    expect(reasonOf(() => readPickle(bytes))).toBe("TooLarge")
  })

  it.each([
    ["a list within itself", "]\x94h\x00a."],
    ["a dict within itself", "}\x94Nh\x00s."],
    ["a tuple within its own list", "]\x94h\x00\x85a."]
  ])("%s is a cycle", (_, text) => {
    expect(reasonOf(() => readPickle(latin1(text)))).toBe("Cycle")
  })

  it.each([
    ["cos\nsystem\n(S'id'\ntR.", "os.system"],
    ["cos\nsystem\nN.", "os.system"],
    ["\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "os.system"],
    ["(S'id'\nios\nsystem\n.", "os.system"],
    ["c__builtin__\neval\n.", "builtins.eval"],
    ["cbuiltins\n__import__\n.", "builtins.__import__"],
    ["cmarkupsafe\nMarkup\n.", "markupsafe.Markup"],
    ["cdatetime\nconstructor\n.", "datetime.constructor"],
    ["c__proto__\n__proto__\n.", "__proto__.__proto__"],
    ["cdatetime\ndatetime.now\n.", "datetime.datetime.now"],
    ["cuuid\nUUID\n(S'x'\ntR.", "uuid.UUID"],
    ["cuuid\nUUID\n.", "uuid.UUID"],
    ["cdatetime\ndatetime\n)\x81.", "datetime.datetime"],
    ["N}b.", "state"],
    ["\x82\x01.", "EXT1"],
    ["Pid\n.", "PERSID"],
    ["\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", "BYTEARRAY8"],
    ["\x80\x06N.", "protocol 6"]
  ])("%j is refused with the name %s", (text, name) => {
    const error = failure(() => readPickle(latin1(text)))
    expect(error.reason).toBe("Unsupported")
    expect(error.message).toContain(name)
  })

  it("Python 2's text is read: quoted, with escapes, long ints, booleans", () => {
    const value = readPickle(latin1("(S'a\\x41\\101\\n\\''\nI01\nI00\nL5L\nF1e5\nU\x02hiVé\\u2713\\U0001f600\nt."))
    expect(value).toEqual(new PyTuple(["aAA\n'", true, false, 5n, new PyFloat(1e5), "hi", "é✓😀"]))
    expect(reasonOf(() => readPickle(latin1("S'\\xe9'\n.")))).toBe("Malformed")
  })

  it("half a surrogate pair is read and written, but not as msgpack", () => {
    const value = readPickle(latin1("\x8c\x05a\xed\xa0\x80b."))
    expect(value).toBe("a\ud800b")
    expect(readPickle(writePickle(value))).toBe(value)
    expect(reasonOf(() => msgpack.encode(value))).toBe("NotRepresentable")
  })

  it("a UUID is read with and without a note on how it was made", () => {
    const uuid = new PyUuid("00000000-0000-0000-0000-000000000005")
    expect(readPickle(latin1("\x80\x02cuuid\nUUID\n)\x81}X\x03\x00\x00\x00intK\x05sb."))).toEqual(uuid)
    expect(
      readPickle(
        latin1("\x80\x02cuuid\nUUID\n)\x81}(X\x03\x00\x00\x00intK\x05X\x07\x00\x00\x00is_safeJ\xff\xff\xff\xffub.")
      )
    )
      .toEqual(uuid)
    expect(reasonOf(() => readPickle(latin1("cuuid\nUUID\n)\x81.")))).toBe("Malformed")
    expect(reasonOf(() => readPickle(latin1("cuuid\nUUID\n)\x81}X\x03\x00\x00\x00intJ\xff\xff\xff\xffsb.")))).toBe(
      "Unsupported"
    )
  })

  it("a datetime keeps its fold", () => {
    const value = new PyDateTime(new PyDate(2024, 11, 3), new PyTime(1, 30, 0, 7, null, 1))
    expect(readPickle(writePickle(value))).toEqual(value)
    expect(readPickle(writePickle(value.time))).toEqual(value.time)
  })
})

describe("a writer", () => {
  const writers = { msgpack: msgpack.encode, json: json.encode, pickle: writePickle }
  const at = (value: PyValue): PyValue => new PyDict([["cart", [null, new PyDict([[7n, value]])]]])

  it.each<[string, ReadonlyArray<keyof typeof writers>, PyValue]>([
    ["half a surrogate pair", ["msgpack", "json"], "\udc00"],
    ["2^64", ["msgpack"], 1n << 64n],
    ["-2^63 - 1", ["msgpack"], -(1n << 63n) - 1n],
    ["4401 digits", ["msgpack", "json", "pickle"], 10n ** 4400n],
    ["an extension", ["json", "pickle"], new PyExt(5, new Uint8Array(1))],
    ["a list as a key", ["msgpack", "json", "pickle"], new PyDict([[[], 1n]])],
    ["None as a key", ["json"], new PyDict([[null, 1n]])],
    ["a datetime before year 1", ["msgpack"], new PyDateTime(new PyDate(1, 1, 1), new PyTime(0, 0, 0, 0, 3_600e6))]
  ])("%s is refused with its path", (_, formats, value) => {
    for (const [name, write] of Object.entries(writers)) {
      const run = () => write(at(value))
      if (!formats.some((format) => format === name)) {
        run()
        continue
      }
      const error = failure(run)
      expect(error.reason).toBe("NotRepresentable")
      expect(error.path.slice(0, 3)).toEqual(["cart", 1, "7"])
    }
  })

  it.each(Object.entries(writers))("%s: a value within itself, and a doubled one", (_, write) => {
    const cycle: Array<PyValue> = []
    cycle.push(cycle)
    expect(reasonOf(() => write(cycle))).toBe("TooDeep")
    let doubled: PyValue = []
    for (let level = 0; level < 60; level++) doubled = [doubled, doubled]
    expect(reasonOf(() => write(doubled, { ...defaultLimits, maxBytes: 10_000 }))).toBe("TooLarge")
    expect(reasonOf(() => write("a".repeat(101), { ...defaultLimits, maxBytes: 100 }))).toBe("TooLarge")
  })
})

it("1,000 levels are written and read, from within 500 calls", () => {
  const nest = (make: (value: PyValue) => PyValue): PyValue => {
    let value: PyValue = null
    for (let level = 0; level < 1000; level++) value = make(value)
    return value
  }
  const within = (calls: number, run: () => void): void => calls === 0 ? run() : within(calls - 1, run)
  const makers: ReadonlyArray<(value: PyValue) => PyValue> = [
    (value) => [value],
    (value) => new PyTuple([value, null, null, null]),
    (value) => new PyDict([["a", value]])
  ]
  within(500, () => {
    for (const make of makers) {
      const value = nest(make)
      expect(toHex(msgpack.encode(msgpack.decode(msgpack.encode(value))))).toBe(toHex(msgpack.encode(value)))
      expect(toHex(json.encode(json.decode(json.encode(value))))).toBe(toHex(json.encode(value)))
      expect(toHex(writePickle(readPickle(writePickle(value))))).toBe(toHex(writePickle(value)))
      fromPlain(toPlain(value), value)
      fromTagged(toTagged(value))
      expect(reasonOf(() => writePickle([value]))).toBe("TooDeep")
      expect(reasonOf(() => msgpack.encode([value]))).toBe("TooDeep")
      expect(reasonOf(() => json.encode([value]))).toBe("TooDeep")
    }
  })
})

it("tagged JSON that is too deep or wrong is refused", () => {
  let deep: unknown = null
  for (let level = 0; level < 2000; level++) deep = { t: "list", v: [deep] }
  expect(reasonOf(() => fromTagged(deep))).toBe("TooDeep")
  for (
    const bad of [1, "a", {}, { t: "int", v: "x" }, { t: "str" }, { t: "dict", v: [[null]] }, { t: "float", hex: "" }]
  ) {
    expect(reasonOf(() => fromTagged(bad))).toBe("Malformed")
  }
})

describe("cutting and flipping bytes of recorded pickles", () => {
  const pickles = fixture<ReadonlyArray<{ hex: string }>>("pickle.json")

  it("every cut is an error, and every change a value or an error", () => {
    for (const { hex } of pickles) {
      for (let length = 0; length < hex.length; length += 2) reasonOf(() => readPickle(fromHex(hex.slice(0, length))))
      for (let choice = 0; choice < 4000; choice++) {
        try {
          const value = readPickle(fromHex(mutate(hex, choice)))
          // what was read can be written, if it is in bounds at all
          expect(toTagged(readPickle(writePickle(value)))).toEqual(toTagged(value))
        } catch (error) {
          if (!(error instanceof PythonCodecError)) throw error
        }
      }
    }
  })

  it("the same holds for msgpack and JSON", () => {
    const { cases } = fixture<{ cases: ReadonlyArray<{ msgpack?: string; json?: string }> }>("msgspec.json")
    for (const [index, vector] of cases.entries()) {
      for (let choice = 0; choice < 400; choice++) {
        for (
          const [codec, hex] of [[msgpack, vector.msgpack], [json, toHex(Buffer.from(vector.json ?? ""))]] as const
        ) {
          if (hex === undefined) continue
          try {
            codec.encode(codec.decode(fromHex(mutate(hex, choice * 31 + index))))
          } catch (error) {
            if (!(error instanceof PythonCodecError)) throw error
          }
        }
      }
    }
  })
})
