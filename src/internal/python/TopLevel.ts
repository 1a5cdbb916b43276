/**
 * Writes a dict again and keeps the stored bytes of every key that did not
 * change: a `1.0`, a float32 or a `1E5` stays as the other program wrote it.
 *
 * @internal
 */

import { hashKey } from "./hash.js"
import { defaultLimits, type Limits } from "./limits.js"
import { type Path, tooLarge } from "./PythonCodecError.js"
import { segmentText } from "./Trail.js"
import type { PyDict, PyValue } from "./Value.js"

/** The bytes of one key and of its value. */
export interface RawEntry {
  readonly rawKey: Uint8Array
  readonly rawValue: Uint8Array
}

export interface TopLevelEntry extends RawEntry {
  readonly key: PyValue
  readonly value: PyValue
}

/** A format that can be taken apart by the keys of its outermost dict. All functions are pure, and throw `PythonCodecError`. */
export interface Codec {
  readonly decode: (bytes: Uint8Array, limits?: Limits) => PyValue
  /** `path` is put before the path of an error. */
  readonly encode: (value: PyValue, limits?: Limits, path?: Path) => Uint8Array
  /** A value in the place of a dict's key. */
  readonly encodeKey: (key: PyValue, limits?: Limits, path?: Path) => Uint8Array
  /** Fails with `Malformed` when the outermost value is no dict. Of equal keys: the first key, the last value. */
  readonly splitTopLevel: (bytes: Uint8Array, limits?: Limits) => ReadonlyArray<TopLevelEntry>
  readonly joinTopLevel: (entries: ReadonlyArray<RawEntry>) => Uint8Array
}

/**
 * The bytes of `next`, in which each key whose value is written as before keeps
 * the bytes that `previous` had for it.
 */
export const encodeKeeping = (
  codec: Codec,
  previous: ReadonlyArray<TopLevelEntry>,
  next: PyDict,
  limits = defaultLimits
): Uint8Array => {
  const stored = new Map(previous.map((entry) => [hashKey(entry.key), entry]))
  let size = 0
  const entries = next.entries.map(([key, value]) => {
    const entry = encodeEntry(codec, stored.get(hashKey(key)), key, value, limits)
    size += entry.rawKey.length + entry.rawValue.length
    if (size > limits.maxBytes) throw tooLarge(`more than ${limits.maxBytes} bytes`)
    return entry
  })
  return codec.joinTopLevel(entries)
}

const encodeEntry = (
  codec: Codec,
  stored: TopLevelEntry | undefined,
  key: PyValue,
  value: PyValue,
  limits: Limits
): RawEntry => {
  if (stored !== undefined && stored.key === key && stored.value === value) return stored
  const path = [segmentText(key)]
  return {
    rawKey: kept(codec.encodeKey(key, limits, path), stored?.rawKey, () => codec.encodeKey(stored!.key, limits)),
    rawValue: kept(codec.encode(value, limits, path), stored?.rawValue, () => codec.encode(stored!.value, limits))
  }
}

/** The stored bytes, if they stand for what would be written now. */
const kept = (written: Uint8Array, stored: Uint8Array | undefined, rewrite: () => Uint8Array): Uint8Array =>
  stored !== undefined && Buffer.compare(written, rewrite()) === 0 ? stored : written
