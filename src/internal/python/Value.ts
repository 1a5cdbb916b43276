/**
 * Python values as data. Nothing here knows of a format, or of sessions.
 *
 * | Python | here |
 * |---|---|
 * | None, bool | `null`, `boolean` |
 * | int | `bigint` |
 * | str | `string` |
 * | bytes | `Uint8Array` |
 * | list | an array |
 * | everything else | one of the classes below |
 *
 * An int is never a `number`, so that 1 and 1.0 stay apart.
 *
 * @internal
 */

import { malformed } from "./PythonCodecError.js"

export type PyValue = null | boolean | bigint | string | Uint8Array | ReadonlyArray<PyValue> | PyObject

export type PyObject =
  | PyFloat
  | PyTuple
  | PySet
  | PyFrozenSet
  | PyDict
  | PyDateTime
  | PyDate
  | PyTime
  | PyTimeDelta
  | PyDecimal
  | PyUuid
  | PyExt

export class PyFloat {
  readonly _tag = "float"
  /** `nanBits` are the eight bytes of a NaN that is not Python's own. A JS engine may lose them. */
  constructor(readonly value: number, readonly nanBits?: bigint) {}
}

export class PyTuple {
  readonly _tag = "tuple"
  constructor(readonly items: ReadonlyArray<PyValue>) {}
}

/** Its items keep the order in which they were stored. */
export class PySet {
  readonly _tag = "set"
  constructor(readonly items: ReadonlyArray<PyValue>) {}
}

export class PyFrozenSet {
  readonly _tag = "frozenset"
  constructor(readonly items: ReadonlyArray<PyValue>) {}
}

export type PyEntry = readonly [key: PyValue, value: PyValue]

/** Entries in insertion order. No two keys are equal for Python: readers take care of it (`uniqueEntries`). */
export class PyDict {
  readonly _tag = "dict"
  constructor(readonly entries: ReadonlyArray<PyEntry>) {}

  /** The value of a str key. */
  get(key: string): PyValue | undefined {
    return this.entries.find(([name]) => name === key)?.[1]
  }

  /** A dict with the value at a str key: in its place, or at the end. */
  set(key: string, value: PyValue): PyDict {
    const index = this.entries.findIndex(([name]) => name === key)
    return new PyDict(index < 0 ? [...this.entries, [key, value]] : this.entries.with(index, [key, value]))
  }

  /** A dict without a str key. The same dict if it has no such key. */
  delete(key: string): PyDict {
    const entries = this.entries.filter(([name]) => name !== key)
    return entries.length === this.entries.length ? this : new PyDict(entries)
  }
}

const isWithin = (value: number, min: number, max: number): boolean =>
  Number.isInteger(value) && value >= min && value <= max

const check = (isValid: boolean, type: string): void => {
  if (!isValid) throw malformed(`a ${type} out of its range`)
}

const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)

const daysInMonth = (year: number, month: number): number =>
  month === 2 ? (isLeap(year) ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31

export class PyDate {
  readonly _tag = "date"
  constructor(readonly year: number, readonly month: number, readonly day: number) {
    check(isWithin(year, 1, 9999) && isWithin(month, 1, 12) && isWithin(day, 1, daysInMonth(year, month)), "date")
  }
}

const dayMicros = 86_400_000_000

export class PyTime {
  readonly _tag = "time"
  constructor(
    readonly hour: number,
    readonly minute: number,
    readonly second: number,
    readonly microsecond: number,
    /** Microseconds east of UTC, or `null` for a time without a zone. The zone's name is not kept. */
    readonly offset: number | null = null,
    readonly fold: 0 | 1 = 0
  ) {
    check(
      isWithin(hour, 0, 23) && isWithin(minute, 0, 59) && isWithin(second, 0, 59) &&
        isWithin(microsecond, 0, 999_999) &&
        (offset === null || isWithin(offset, 1 - dayMicros, dayMicros - 1)),
      "time"
    )
  }
}

/** Aware when its time has an offset. */
export class PyDateTime {
  readonly _tag = "datetime"
  constructor(readonly date: PyDate, readonly time: PyTime) {}
}

/** As Python keeps it: only the days may be negative. */
export class PyTimeDelta {
  readonly _tag = "timedelta"
  constructor(readonly days: number, readonly seconds: number, readonly microseconds: number) {
    check(
      isWithin(days, -999_999_999, 999_999_999) && isWithin(seconds, 0, 86_399) &&
        isWithin(microseconds, 0, 999_999),
      "timedelta"
    )
  }
}

/** The text is what `str(decimal)` returns. `decimalText` checks and normalizes it. */
export class PyDecimal {
  readonly _tag = "decimal"
  constructor(readonly text: string) {}
}

export class PyUuid {
  readonly _tag = "uuid"
  constructor(readonly text: string) {
    check(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text), "UUID")
  }
}

/** A msgpack extension that is not a timestamp. */
export class PyExt {
  readonly _tag = "ext"
  constructor(readonly code: number, readonly data: Uint8Array) {
    check(isWithin(code, -128, 127), "msgpack extension")
  }
}

const classes = [
  PyFloat,
  PyTuple,
  PySet,
  PyFrozenSet,
  PyDict,
  PyDateTime,
  PyDate,
  PyTime,
  PyTimeDelta,
  PyDecimal,
  PyUuid,
  PyExt
]

export const isPyObject = (value: unknown): value is PyObject => classes.some((type) => value instanceof type)

/** Narrows to a list. `Array.isArray` alone does not narrow a readonly array. */
export const isList = (value: PyValue): value is ReadonlyArray<PyValue> => Array.isArray(value)

/** Python's name for the type of a value. */
export const typeName = (value: PyValue): string => {
  if (value === null) return "None"
  switch (typeof value) {
    case "boolean":
      return "bool"
    case "bigint":
      return "int"
    case "string":
      return "str"
  }
  if (isList(value)) return "list"
  return value instanceof Uint8Array ? "bytes" : value._tag
}
