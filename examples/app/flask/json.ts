/** Python's values as JSON. What JSON cannot hold is shown with its type, as `/api/typed` shows everything. */
import { Python } from "effect-session/flask"

const isSafe = (value: bigint) => value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)

export const toJson = (value: Python.PyValue): unknown => {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value
  if (typeof value === "bigint") return isSafe(value) ? Number(value) : Python.toTagged(value)
  if (value instanceof Python.PyFloat) return Number.isFinite(value.value) ? value.value : Python.toTagged(value)
  if (value instanceof Python.PyTuple) return value.items.map(toJson)
  if (value instanceof Python.PyDict && value.entries.every(([key]) => typeof key === "string")) return toObject(value)
  return isList(value) ? value.map(toJson) : Python.toTagged(value)
}

/** The keys of a session. A key that is no text is shown by its type. */
export const toObject = ({ entries }: Python.PyDict): Record<string, unknown> =>
  Object.fromEntries(
    entries.map(([key, value]) => [typeof key === "string" ? key : JSON.stringify(Python.toTagged(key)), toJson(value)])
  )

const isList = (value: Python.PyValue): value is ReadonlyArray<Python.PyValue> => Array.isArray(value)

/** The number at `key`, 0 when there is nothing; undefined when it is no number. */
export const countAt = (dict: Python.PyDict, key: string): bigint | Python.PyFloat | undefined => {
  const value = dict.get(key)
  if (value === undefined) return 0n
  return typeof value === "bigint" || value instanceof Python.PyFloat ? value : undefined
}

/** The same kind of number, plus one. */
export const plusOne = (count: bigint | Python.PyFloat): bigint | Python.PyFloat =>
  typeof count === "bigint" ? count + 1n : new Python.PyFloat(count.value + 1)

/** Whether two dicts have the same value at a key, or both have none. */
export const sameAt = (left: Python.PyDict, right: Python.PyDict, key: string): boolean =>
  textAt(left, key) === textAt(right, key)

const textAt = (dict: Python.PyDict, key: string): string | undefined => {
  const value = dict.get(key)
  return value === undefined ? undefined : JSON.stringify(Python.toTagged(value))
}
