/** Random Python values. */
import { decimalText } from "effect-session/internal/python/decimal"
import { floatFromBits } from "effect-session/internal/python/float"
import { uniqueEntries, uniqueItems } from "effect-session/internal/python/hash"
import {
  PyDate,
  PyDateTime,
  PyDecimal,
  PyDict,
  PyExt,
  type PyFloat,
  PyFrozenSet,
  PySet,
  PyTime,
  PyTimeDelta,
  PyTuple,
  PyUuid,
  type PyValue
} from "effect-session/internal/python/Value"
import * as FastCheck from "effect/FastCheck"

type Values = FastCheck.Arbitrary<PyValue>

const constants: Values = FastCheck.constantFrom(null, true, false)

const edges = [7, 8, 15, 16, 31, 32, 53, 63, 64, 70].flatMap((bits) =>
  [-2n, -1n, 0n, 1n].flatMap((delta) => [(1n << BigInt(bits)) + delta, -(1n << BigInt(bits)) + delta])
)

const ints = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }) },
  { weight: 4, arbitrary: FastCheck.bigInt({ min: -300n, max: 70_000n }) },
  { weight: 2, arbitrary: FastCheck.constantFrom(...edges.filter((n) => n >= -(1n << 63n) && n < 1n << 64n)) }
)

/** Also those that msgpack cannot hold. */
const allInts = FastCheck.oneof(
  { weight: 9, arbitrary: ints },
  { weight: 1, arbitrary: FastCheck.constantFrom(...edges) },
  { weight: 1, arbitrary: FastCheck.bigInt({ min: -(10n ** 100n), max: 10n ** 100n }) }
)

const mostInts = FastCheck.oneof({ weight: 19, arbitrary: ints }, { weight: 1, arbitrary: allInts })

/** Never NaN: Python's pickles of protocol 0 lose the payload of one. */
const floats = FastCheck.oneof(
  FastCheck.double({ noNaN: true }),
  FastCheck.double({ noNaN: true, min: -1e17, max: 1e17 }),
  FastCheck.integer().map((n) => n / 100),
  FastCheck.integer().map(Number),
  FastCheck.integer({ min: -330, max: 308 }).map((power) => Number(`1e${power}`)),
  FastCheck.constantFrom(0, -0, 1e15, 1e16, 1e17, 1e21, 1e-4, 1e-5, 1e-6, 1e-7, 123456789012345680, 5e-324)
).map((value) => floatFromBits(bitsOf(value)))

const bitsOf = (value: number): bigint => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes.readBigUInt64BE()
}

const nans: FastCheck.Arbitrary<PyFloat> = FastCheck.bigInt({ min: 1n, max: (1n << 51n) - 1n }).map((payload) =>
  floatFromBits(0x7ff8000000000000n | payload)
)

const texts = FastCheck.oneof(
  FastCheck.string({ unit: "grapheme", maxLength: 12 }),
  FastCheck.string({ unit: "binary", maxLength: 40 }),
  FastCheck.constantFrom(
    "",
    "7",
    "__proto__",
    "_permanent",
    "\u0000",
    "\u2028",
    "\ufeff",
    "\ufffd",
    "😀",
    "é",
    "\x7f",
    "\\u0041\n"
  ),
  FastCheck.integer({ min: 28, max: 300 }).map((length) => "a".repeat(length)),
  FastCheck.integer({ min: 28, max: 130 }).map((length) => "é".repeat(length))
)

/** One in fifty has half a surrogate pair. */
const mostTexts = FastCheck.oneof(
  { weight: 49, arbitrary: texts },
  { weight: 1, arbitrary: texts.map((text) => `${text}\ud800.`) }
)

const bytes = FastCheck.oneof(
  FastCheck.uint8Array({ maxLength: 20 }),
  FastCheck.integer({ min: 250, max: 260 }).map((length) => new Uint8Array(length).fill(7))
)

const dates = FastCheck.date({
  min: new Date("0001-01-03T00:00:00Z"),
  max: new Date("9999-12-28T00:00:00Z"),
  noInvalidDate: true
})
  .map((date) => new PyDate(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()))

const dayMicros = 86_400_000_000

const offsets = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.constantFrom(null, 0) },
  { weight: 2, arbitrary: FastCheck.integer({ min: -95, max: 95 }).map((quarters) => quarters * 900e6) },
  { weight: 1, arbitrary: FastCheck.integer({ min: -86_399, max: 86_399 }).map((seconds) => seconds * 1e6) },
  { weight: 1, arbitrary: FastCheck.maxSafeInteger().map((n) => n % dayMicros) }
).map((offset) => offset === 0 ? 0 : offset) // no -0

const micros = FastCheck.oneof(FastCheck.constantFrom(0, 1, 1000, 500_000, 999_999), FastCheck.nat(999_999))

const times = FastCheck.tuple(FastCheck.nat(23), FastCheck.nat(59), FastCheck.nat(59), micros, offsets).map(
  ([hour, minute, second, micro, offset]) => new PyTime(hour, minute, second, micro, offset)
)

const dateTimes = FastCheck.tuple(dates, times).map(([date, time]) => new PyDateTime(date, time))

const deltas = FastCheck.tuple(
  FastCheck.oneof(FastCheck.integer({ min: -2, max: 2 }), FastCheck.integer({ min: -999_999_999, max: 999_999_999 })),
  FastCheck.oneof(FastCheck.constantFrom(0, 1, 86_399), FastCheck.nat(86_399)),
  micros
).map(([days, seconds, micro]) => new PyTimeDelta(days, seconds, micro))

const decimals = FastCheck.oneof(
  FastCheck.tuple(FastCheck.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), FastCheck.integer({ min: -30, max: 12 }))
    .map(([digits, exponent]) => `${digits}E${exponent}`),
  FastCheck.constantFrom(
    "1.10",
    "0",
    "-0",
    "0.00",
    "0E-10",
    "0E+3",
    "NaN",
    "-sNaN12",
    "Infinity",
    "-Infinity",
    "1E+400"
  )
).map((text) => new PyDecimal(decimalText(text)!))

const uuids = FastCheck.uuid({ version: [1, 4] }).map((text) => new PyUuid(text))

const extensions = FastCheck.tuple(
  FastCheck.integer({ min: -128, max: 127 }).filter((code) => code !== -1),
  FastCheck.oneof(bytes, FastCheck.constantFrom(1, 2, 4, 8, 16).map((n) => new Uint8Array(n)))
)
  .map(([code, data]) => new PyExt(code, data))

/** Without Decimals, which are equal to ints and floats. */
const pythonKeys: ReadonlyArray<Values> = [dates, times, dateTimes, deltas, uuids]

const pythonOnly: ReadonlyArray<Values> = [...pythonKeys, decimals]

const simpleKeys: ReadonlyArray<Values> = [ints, constants, floats, bytes]

interface Options {
  readonly leaves: ReadonlyArray<Values>
  readonly hasExtensions: boolean
  readonly maxSetSize: number
}

/** Values up to four levels deep. */
const nested = ({ hasExtensions, leaves, maxSetSize }: Options): Values => {
  const leaf = FastCheck.oneof(...leaves, constants)
  const hashable = FastCheck.oneof(
    ...[texts, ...simpleKeys, ...pythonKeys],
    FastCheck.array(FastCheck.oneof(texts, ...simpleKeys), { maxLength: 4 }).map((items) => new PyTuple(items))
  )
  const keys = FastCheck.oneof({ weight: 40, arbitrary: texts }, { weight: 1, arbitrary: hashable })
  const members = FastCheck.array(hashable, { maxLength: maxSetSize })
  const { value } = FastCheck.letrec<{ value: PyValue }>((tie) => {
    const items = FastCheck.array(tie("value"), { maxLength: 5 })
    const long = FastCheck.tuple(FastCheck.integer({ min: 14, max: 18 }), leaf)
      .map(([length, item]) => Array<PyValue>(length).fill(item))
    return {
      value: FastCheck.oneof(
        { maxDepth: 4, depthSize: "small" },
        { weight: 20, arbitrary: leaf },
        { weight: 10, arbitrary: items },
        { weight: 5, arbitrary: long },
        { weight: 5, arbitrary: items.map((items) => new PyTuple(items)) },
        { weight: 5, arbitrary: members.map((items) => new PySet(uniqueItems(items))) },
        { weight: 5, arbitrary: members.map((items) => new PyFrozenSet(uniqueItems(items))) },
        { weight: 10, arbitrary: FastCheck.array(FastCheck.tuple(keys, tie("value")), { maxLength: 6 }).map(dict) },
        ...(hasExtensions ? [{ weight: 1, arbitrary: extensions }] : [])
      )
    }
  })
  const sessions = FastCheck.array(FastCheck.tuple(keys, value), { maxLength: 8 }).map(dict)
  return FastCheck.oneof({ weight: 1, arbitrary: value }, { weight: 2, arbitrary: sessions })
}

const dict = (entries: ReadonlyArray<readonly [PyValue, PyValue]>): PyDict => new PyDict(uniqueEntries(entries))

/** What msgspec may be asked to write. Some of it, it refuses. */
export const msgspecValues: Values = nested({
  leaves: [mostTexts, mostTexts, mostTexts, ints, ints, mostInts, floats, nans, bytes, ...pythonOnly],
  hasExtensions: true,
  // Python's order of a larger set is not known here
  maxSetSize: 1
})

/** The list of classes that a pickle may hold. */
export const pickledValues: Values = nested({
  leaves: [mostTexts, mostTexts, allInts, floats, bytes, ...pythonOnly],
  hasExtensions: false,
  maxSetSize: 4
})
