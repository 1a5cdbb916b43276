/**
 * A value as JSON with its types: `{"t": "int", "v": "1"}`. It is for people,
 * test vectors and tools; nothing is stored so.
 *
 * @internal
 */

import { dateText, dateTimeIso, timeIso } from "./datetime.js"
import { decimalText } from "./decimal.js"
import { floatBits, floatFromBits, floatKeyText } from "./float.js"
import { uniqueEntries, uniqueItems } from "./hash.js"
import { defaultLimits, type Limits } from "./limits.js"
import { malformed, tooDeep } from "./PythonCodecError.js"
import {
  isList,
  PyDate,
  PyDateTime,
  PyDecimal,
  PyDict,
  type PyEntry,
  PyExt,
  PyFrozenSet,
  PySet,
  PyTime,
  PyTimeDelta,
  PyTuple,
  PyUuid,
  type PyValue
} from "./Value.js"

export type Tagged = null | boolean | {
  readonly t: string
  readonly v: string | ReadonlyArray<Tagged> | ReadonlyArray<readonly [Tagged, Tagged]>
  /** Of a float: its eight bytes, which alone count. */
  readonly hex?: string
  readonly aware?: boolean
  readonly code?: number
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

export const toTagged = (value: PyValue): Tagged => {
  if (value === null || typeof value === "boolean") return value
  if (typeof value === "string") return { t: "str", v: value }
  if (typeof value === "bigint") return { t: "int", v: String(value) }
  if (isList(value)) return { t: "list", v: value.map(toTagged) }
  if (value instanceof Uint8Array) return { t: "bytes", v: hexOf(value) }
  switch (value._tag) {
    case "float":
      return { t: "float", v: floatKeyText(value.value), hex: floatBits(value).toString(16).padStart(16, "0") }
    case "tuple":
    case "set":
    case "frozenset":
      return { t: value._tag, v: value.items.map(toTagged) }
    case "dict":
      return { t: "dict", v: value.entries.map(([key, value]) => [toTagged(key), toTagged(value)] as const) }
    case "datetime":
      return { t: "datetime", v: dateTimeIso(value), aware: value.time.offset !== null }
    case "date":
      return { t: "date", v: dateText(value) }
    case "time":
      return { t: "time", v: timeIso(value) }
    case "timedelta":
      return { t: "timedelta", v: secondsText(value) }
    case "decimal":
    case "uuid":
      return { t: value._tag, v: value.text }
    case "ext":
      return { t: "ext", code: value.code, v: hexOf(value.data) }
  }
}

/** Python's `total_seconds()`, but exact: `-1.0`, `86402.000003`. */
const secondsText = ({ days, microseconds, seconds }: PyTimeDelta): string => {
  const micros = (BigInt(days) * 86_400n + BigInt(seconds)) * 1_000_000n + BigInt(microseconds)
  const size = micros < 0n ? -micros : micros
  const fraction = String(size % 1_000_000n).padStart(6, "0").replace(/0+$/, "")
  return `${micros < 0n ? "-" : ""}${size / 1_000_000n}.${fraction === "" ? "0" : fraction}`
}

const bad = (type: string) => malformed(`a bad tagged ${type}`)

/** Reads what `toTagged` returns, from any JSON value. Fails with `Malformed` or `TooDeep`. */
export const fromTagged = (tagged: unknown, limits = defaultLimits): PyValue => new TaggedReader(limits).value(tagged)

class TaggedReader {
  private depth = 0

  constructor(private readonly limits: Limits) {}

  value(tagged: unknown): PyValue {
    if (tagged === null || typeof tagged === "boolean") return tagged
    if (typeof tagged !== "object") throw bad("value")
    const { code, hex, t, v } = tagged as Record<string, unknown> // an object; each field is checked below
    if (t === "float") return floatFromBits(hexBits(hex))
    if (Array.isArray(v)) return this.container(t, v)
    if (typeof v !== "string") throw bad("value")
    return t === "ext" ? new PyExt(Number(code), bytesOf(v)) : leafOf(t, v)
  }

  private container(type: unknown, items: ReadonlyArray<unknown>): PyValue {
    if (++this.depth > this.limits.maxDepth) throw tooDeep(this.limits)
    const value = type === "dict" ? new PyDict(uniqueEntries(items.map((item) => this.entry(item)))) : this.items(
      type,
      items.map((item) => this.value(item))
    )
    this.depth--
    return value
  }

  private entry(entry: unknown): PyEntry {
    if (!Array.isArray(entry) || entry.length !== 2) throw bad("dict")
    return [this.value(entry[0]), this.value(entry[1])]
  }

  private items(type: unknown, items: ReadonlyArray<PyValue>): PyValue {
    switch (type) {
      case "list":
        return items
      case "tuple":
        return new PyTuple(items)
      case "set":
        return new PySet(uniqueItems(items))
      case "frozenset":
        return new PyFrozenSet(uniqueItems(items))
      default:
        throw bad("value")
    }
  }
}

const leafOf = (type: unknown, text: string): PyValue => {
  switch (type) {
    case "str":
      return text
    case "int":
      return integerOf(text)
    case "bytes":
      return bytesOf(text)
    case "datetime":
      return dateTimeOf(text)
    case "date":
      return dateOf(text)
    case "time":
      return timeOf(text)
    case "timedelta":
      return timeDeltaOf(text)
    case "decimal": {
      const normal = decimalText(text)
      if (normal === undefined) throw bad("decimal")
      return new PyDecimal(normal)
    }
    case "uuid":
      return new PyUuid(text)
    default:
      throw bad("value")
  }
}

const hexBits = (hex: unknown): bigint => {
  if (typeof hex !== "string" || !/^[0-9a-f]{16}$/i.test(hex)) throw bad("float")
  return BigInt(`0x${hex}`)
}

const integerOf = (text: string): bigint => {
  if (!/^-?\d{1,4300}$/.test(text)) throw bad("int")
  return BigInt(text)
}

const bytesOf = (hex: string): Uint8Array => {
  if (!/^([0-9a-f]{2})*$/i.test(hex)) throw bad("bytes")
  return new Uint8Array(Buffer.from(hex, "hex"))
}

const dateOf = (text: string): PyDate => {
  const match = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text)
  if (match === null) throw bad("date")
  return new PyDate(Number(match[1]), Number(match[2]), Number(match[3]))
}

const micros = (fraction: string | undefined): number => Number((fraction ?? "").padEnd(6, "0"))

const timeShape = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(?:Z|([+-])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?$/

const timeOf = (text: string): PyTime => {
  const match = timeShape.exec(text)
  if (match === null) throw bad("time")
  const [, hour, minute, second = "0", fraction, sign, offHour, offMinute, offSecond = "0", offFraction] = match
  const size = ((Number(offHour) * 60 + Number(offMinute)) * 60 + Number(offSecond)) * 1e6 + micros(offFraction)
  const offset = sign === undefined ? (text.endsWith("Z") ? 0 : null) : (sign === "-" && size !== 0 ? -size : size)
  return new PyTime(Number(hour), Number(minute), Number(second), micros(fraction), offset)
}

const dateTimeOf = (text: string): PyDateTime => {
  if (text[10] !== "T" && text[10] !== " ") throw bad("datetime")
  return new PyDateTime(dateOf(text.slice(0, 10)), timeOf(text.slice(11)))
}

const timeDeltaOf = (text: string): PyTimeDelta => {
  const match = /^(-?)(\d{1,14})(?:\.(\d{1,6}))?$/.exec(text)
  if (match === null) throw bad("timedelta")
  const size = BigInt(match[2]!) * 1_000_000n + BigInt(micros(match[3]))
  const total = match[1] === "-" ? -size : size
  const day = 86_400_000_000n
  const rest = ((total % day) + day) % day
  return new PyTimeDelta(Number((total - rest) / day), Number(rest / 1_000_000n), Number(rest % 1_000_000n))
}
