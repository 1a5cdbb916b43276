/**
 * Which keys are equal for Python.
 *
 * @internal
 */

import { instantOf } from "./datetime.js"
import { floatBits } from "./float.js"
import { malformed } from "./PythonCodecError.js"
import { textOf } from "./text.js"
import { isList, type PyEntry, type PyFloat, type PyTime, type PyValue } from "./Value.js"

/** Text that is equal for two keys exactly if Python takes them for one: 1, 1.0 and True are one key. */
export const hashKey = (key: PyValue): string => {
  if (typeof key === "string") return `s${key}`
  if (key === null) return "none"
  if (typeof key === "bigint") return `i${key.toString(16)}`
  if (typeof key === "boolean") return key ? "i1" : "i0"
  if (key instanceof Uint8Array) return `b${Buffer.from(key).toString("latin1")}`
  if (isList(key)) throw malformed("a list as a key")
  switch (key._tag) {
    case "float":
      return floatKey(key)
    case "tuple":
      return `t${key.items.map(sizedKey).join("")}`
    case "frozenset":
      return `f${key.items.map(sizedKey).sort().join("")}`
    case "datetime": {
      const { microsecond, seconds } = instantOf(key)
      return `${key.time.offset === null ? "naive" : "aware"} ${seconds} ${microsecond}`
    }
    case "time":
      return timeKey(key)
    case "date":
    case "timedelta":
    case "decimal":
    case "uuid":
      return `${key._tag} ${textOf(key)}`
    case "dict":
    case "set":
    case "ext":
      throw malformed(`a ${key._tag} as a key`)
  }
}

const sizedKey = (key: PyValue): string => {
  const hash = hashKey(key)
  return `${hash.length}:${hash}`
}

let nans = 0

/** No two NaNs are equal. */
const floatKey = (key: PyFloat): string => {
  if (Number.isNaN(key.value)) return `nan${nans++}`
  return Number.isInteger(key.value) ? `i${BigInt(key.value).toString(16)}` : `d${floatBits(key)}`
}

const timeKey = ({ hour, microsecond, minute, offset, second }: PyTime): string => {
  const micros = ((hour * 60 + minute) * 60 + second) * 1e6 + microsecond
  return offset === null ? `time ${micros}` : `time ${micros - offset}Z`
}

/**
 * Merges elements whose keys are equal: one remains, where the first was.
 * `merge` says what it is made of.
 */
export const uniqueBy = <A>(
  all: ReadonlyArray<A>,
  keyOf: (a: A) => PyValue,
  merge: (first: A, last: A) => A
): ReadonlyArray<A> => {
  const seen = new Map<string, number>()
  const unique: Array<A> = []
  for (const element of all) {
    const hash = hashKey(keyOf(element))
    const at = seen.get(hash)
    if (at === undefined) {
      seen.set(hash, unique.length)
      unique.push(element)
    } else {
      unique[at] = merge(unique[at]!, element)
    }
  }
  return unique
}

/** As a dict takes them: the first of two equal keys and the last value. */
export const uniqueEntries = (entries: ReadonlyArray<PyEntry>): ReadonlyArray<PyEntry> =>
  uniqueBy<PyEntry>(entries, ([key]) => key, ([key], [, value]) => [key, value])

export const uniqueItems = (items: ReadonlyArray<PyValue>): ReadonlyArray<PyValue> =>
  uniqueBy(items, (item) => item, (first) => first)

/** Whether Python takes the value as a key. Only for values that are known to be finite. */
export const isHashable = (key: PyValue): boolean => {
  if (key === null || typeof key !== "object" || key instanceof Uint8Array) return true
  if (isList(key) || key._tag === "dict" || key._tag === "set" || key._tag === "ext") return false
  return key._tag === "tuple" || key._tag === "frozenset" ? key.items.every(isHashable) : true
}
