/**
 * What a reader or a writer takes at most.
 *
 * @internal
 */

import { tooLarge } from "./PythonCodecError.js"

export interface Limits {
  /** Bytes that are read or written. Of a pickle also the size of its value when it is written out. */
  readonly maxBytes: number
  /** Containers within each other. Python's own recursion limit lets Flask write about 990. */
  readonly maxDepth: number
  /** Values, those within containers included; of a pickle its opcodes, too. */
  readonly maxNodes: number
}

/** 4 MiB, 1,000 levels and 200,000 values: the slowest record takes about a second. */
export const defaultLimits: Limits = { maxBytes: 4 * 1024 * 1024, maxDepth: 1000, maxNodes: 200_000 }

/** Python converts integers of more decimal digits neither from text nor to text. */
export const maxIntegerDigits = 4300

/** The bytes of the longest integer with `maxIntegerDigits`. */
export const maxIntegerBytes = Math.ceil(maxIntegerDigits * Math.log2(10) / 8)

export const checkBytes = (bytes: Uint8Array, limits: Limits): void => {
  if (bytes.length > limits.maxBytes) throw tooLarge(`${bytes.length} bytes, more than ${limits.maxBytes}`)
}
