/**
 * A session's value and the dict that Flask sees. The key `_permanent` is no
 * part of the value: it says whether the cookie outlives the browser.
 *
 * @internal
 */
import type { Payload, Source } from "../../schema/Payload.js"
import { fromPlain, toPlain } from "../python/plain.js"
import { PyDict, type PyEntry, type PyValue } from "../python/Value.js"

/** Decodes a dict to a value, and writes the value into the dict. */
export interface Contents<A> {
  readonly decode: (dict: PyDict) => { readonly value: A; readonly source: Source }
  /** `previous` is the dict that the value was read from. Throws `Encode`, or a `PythonCodecError`. */
  readonly encode: (value: A, source: Source, previous: PyDict) => { readonly dict: PyDict; readonly source: Source }
}

/** Values that a schema decodes from an object of the keys that are text. Other keys stay as they are. */
export const structContents = <A>(payload: Payload<A>): Contents<A> => ({
  decode: (dict) => {
    const fields = dict.entries.flatMap(([key, value]) =>
      typeof key === "string" ? [[key, toPlain(value)] as const] : []
    )
    return payload.decode(Object.fromEntries(fields))
  },
  encode: (value, source, previous) => {
    const encoded = payload.encode(value, source)
    const known = source === undefined ? new PyDict([]) : previous
    const dict = fromPlain(encoded, known)
    if (!(dict instanceof PyDict)) {
      throw new Error("the schema of a session that Flask shares has to encode to an object")
    }
    const others = known.entries.filter(([key]) => typeof key !== "string")
    return {
      dict: others.length === 0 ? dict : new PyDict([...dict.entries, ...others]),
      source: payload.sourceOf(encoded)
    }
  }
})

/** Values that are dicts themselves: every key of any type, in its order. */
export const dictContents: Contents<PyDict> = {
  decode: (dict) => ({ value: dict, source: undefined }),
  encode: (value) => ({ dict: value, source: undefined })
}

const permanentKey = "_permanent"

const isPermanentKey = ([key]: PyEntry): boolean => key === permanentKey

/** The dict without `_permanent`. */
export const withoutPermanent = (dict: PyDict): PyDict =>
  dict.entries.some(isPermanentKey) ? new PyDict(dict.entries.filter((entry) => !isPermanentKey(entry))) : dict

/**
 * The dict with the `_permanent` of `previous`, in its place, or with another
 * one that `permanent` asks for. A `_permanent` that is in `dict` already wins.
 */
export const withPermanent = (dict: PyDict, previous: PyDict, permanent: boolean | undefined): PyDict => {
  const index = previous.entries.findIndex(isPermanentKey)
  const stored = previous.entries[index]
  const kept = stored !== undefined && (permanent === undefined || isTruthy(stored[1]) === permanent)
    ? stored
    : undefined
  const wanted: PyEntry | undefined = permanent === undefined ? undefined : [permanentKey, permanent]
  const entry = dict.entries.find(isPermanentKey) ?? kept ?? wanted
  const others = withoutPermanent(dict).entries
  return entry === undefined ? dict : new PyDict(others.toSpliced(Math.max(index, 0), 0, entry))
}

export const isPermanent = (dict: PyDict): boolean => {
  const value = dict.get(permanentKey)
  return value !== undefined && isTruthy(value)
}

/** Python's `bool(value)`. */
const isTruthy = (value: PyValue): boolean => {
  if (value === null || typeof value !== "object") {
    return Boolean(value)
  }
  if ("length" in value) {
    return value.length > 0
  }
  switch (value._tag) {
    case "float":
      return value.value !== 0
    case "tuple":
    case "set":
    case "frozenset":
      return value.items.length > 0
    case "dict":
      return value.entries.length > 0
    default:
      return true
  }
}
