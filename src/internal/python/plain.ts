/**
 * Between Python values and plain JS.
 *
 * | Python | plain JS |
 * |---|---|
 * | None, bool, str, bytes, list | the same |
 * | tuple | an array |
 * | int | a number if it is a safe integer, else a bigint |
 * | float | a number |
 * | dict whose keys are all str | an object |
 * | any other dict | a Map, its keys plain, too |
 * | everything else | as it is (`PyDateTime`, `PySet`, …) |
 *
 * @internal
 */

import { fromInstant } from "./datetime.js"
import { hashKey, isHashable, uniqueEntries, uniqueItems } from "./hash.js"
import { defaultLimits, type Limits } from "./limits.js"
import { Trail } from "./Trail.js"
import { isList, isPyObject, PyDict, type PyEntry, PyFloat, PySet, PyTuple, type PyValue } from "./Value.js"

export type Plain =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | ReadonlyArray<Plain>
  | { readonly [key: string]: Plain }
  | ReadonlyMap<Plain, Plain>
  | Exclude<PyValue, PyFloat | PyDict | PyTuple | ReadonlyArray<PyValue>>

const isSafe = (value: bigint): boolean =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)

/** Only for values that a reader made, which are bounded. Those within a set stay as they are. */
export const toPlain = (value: PyValue): Plain => {
  if (typeof value === "bigint") return isSafe(value) ? Number(value) : value
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value
  if (isList(value)) return value.map(toPlain)
  if (value._tag === "float") return value.value
  if (value._tag === "tuple") return value.items.map(toPlain)
  return value._tag === "dict" ? plainDict(value) : value
}

/** An array is no key for Python, so a tuple stays. */
const plainKey = (key: PyValue): Plain | PyTuple => key instanceof PyTuple ? key : toPlain(key)

const plainDict = ({ entries }: PyDict): Plain => {
  const plain = entries.map(([key, value]) => [plainKey(key), toPlain(value)] as const)
  if (entries.every(([key]) => typeof key === "string")) {
    return Object.fromEntries(plain as ReadonlyArray<readonly [string, Plain]>) // all keys are strings
  }
  return new Map(plain as ReadonlyArray<readonly [Plain, Plain]>) // a tuple as a key is for `fromPlain` only
}

/**
 * The Python value of a JS value. A number that is a safe integer becomes an
 * int, any other (and -0) a float. A property that is undefined is absent. A
 * Date becomes an aware datetime, a Set a set, a Map a dict. Fails with `NotRepresentable` and the path for what Python
 * has nothing for: undefined, functions, symbols, instances of other classes.
 *
 * `previous` is what the value was read from. Where the JS value is still what
 * `toPlain` made of it, the Python value stays: 1.0 remains a float, and keys
 * that JS has put into another order return to theirs.
 */
export const fromPlain = (value: unknown, previous?: PyValue, limits = defaultLimits): PyValue =>
  new PlainReader(limits).value(value, previous)

class PlainReader {
  private readonly trail: Trail
  private nodes = 0

  constructor(private readonly limits: Limits) {
    this.trail = new Trail(limits)
  }

  value(value: unknown, previous: PyValue | undefined): PyValue {
    if (++this.nodes > this.limits.maxNodes) {
      throw this.trail.notRepresentable(`more than ${this.limits.maxNodes} values`)
    }
    if (value === null) return null
    switch (typeof value) {
      case "boolean":
      case "string":
      case "bigint":
        return value
      case "number":
        return this.number(value, previous)
      case "object":
        return this.object(value, previous)
      default:
        throw this.trail.notRepresentable(`a JS ${typeof value}`)
    }
  }

  private number(value: number, previous: PyValue | undefined): PyValue {
    if (previous instanceof PyFloat && Object.is(previous.value, value)) return previous
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? BigInt(value) : new PyFloat(value)
  }

  private object(value: object, previous: PyValue | undefined): PyValue {
    if (isPyObject(value)) return value
    if (Array.isArray(value)) return this.list(value, previous)
    if (value instanceof Uint8Array) return value
    if (value instanceof Date) return this.date(value)
    if (value instanceof Map) return this.dict([...value], previous)
    if (value instanceof Set) return this.set([...value])
    const prototype = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) {
      throw this.trail.notRepresentable("an instance of a JS class")
    }
    return this.dict(Object.entries(value).filter(([, field]) => field !== undefined), previous)
  }

  private list(items: ReadonlyArray<unknown>, previous: PyValue | undefined): PyValue {
    const isTuple = previous instanceof PyTuple
    const before = isTuple
      ? previous.items
      : previous !== undefined && previous !== null && isList(previous)
      ? previous
      : []
    const values = Array.from(items, (item, index) => this.child(index, item, before[index]))
    return isTuple ? new PyTuple(values) : values
  }

  private child(segment: PyValue | number, value: unknown, previous: PyValue | undefined): PyValue {
    this.trail.enter(segment)
    const child = this.value(value, previous)
    this.trail.leave()
    return child
  }

  private set(items: ReadonlyArray<unknown>): PyValue {
    return new PySet(uniqueItems(items.map((item, index) => this.hashable(this.child(index, item, undefined)))))
  }

  private hashable(key: PyValue): PyValue {
    if (!isHashable(key)) throw this.trail.notRepresentable("a key that has no hash in Python")
    return key
  }

  private dict(entries: ReadonlyArray<readonly [unknown, unknown]>, previous: PyValue | undefined): PyDict {
    const before = previous instanceof PyDict ? previous.entries : []
    const known = new Map(before.map((entry) => [hashKey(entry[0]), entry]))
    const read = entries.map(([name, value]): PyEntry => {
      const key = this.hashable(this.value(name, undefined))
      const entry = known.get(hashKey(key))
      return [entry === undefined ? key : entry[0], this.child(key, value, entry?.[1])]
    })
    return new PyDict(inOrder(before, uniqueEntries(read)))
  }

  private date(value: Date): PyValue {
    const millis = value.getTime()
    const seconds = Math.floor(millis / 1000)
    const date = fromInstant({ seconds, microsecond: (millis - seconds * 1000) * 1000 })
    if (date === undefined) throw this.trail.notRepresentable("a Date outside the years 1 to 9999")
    return date
  }
}

/** First the keys that were there before, in their order, then the new ones. */
const inOrder = (before: ReadonlyArray<PyEntry>, entries: ReadonlyArray<PyEntry>): ReadonlyArray<PyEntry> => {
  const next = new Map(entries.map((entry) => [hashKey(entry[0]), entry]))
  const kept = before.flatMap(([key]) => {
    const hash = hashKey(key)
    const entry = next.get(hash)
    next.delete(hash)
    return entry === undefined ? [] : [entry]
  })
  return [...kept, ...next.values()]
}
