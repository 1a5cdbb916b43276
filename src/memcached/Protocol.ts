/**
 * Memcached's meta protocol, as far as it is needed: what a server says, and
 * what went wrong.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"

/**
 * What a server could not, or would not, do.
 *
 * | reason | meaning | applied? |
 * |---|---|---|
 * | `Unavailable` | refused, reset, or it does not speak the protocol | perhaps |
 * | `Timeout` | no answer in time | perhaps |
 * | `Refused` | out of memory, a bad key, or a server whose options do not suit | no |
 * | `TooLarge` | larger than the server's largest item; `limit` in bytes, if it is known | no |
 *
 * Nothing of a key or a value is in it.
 *
 * @since 0.1.0
 * @category errors
 */
export class MemcachedError extends Data.TaggedError("MemcachedError")<{
  readonly reason: "Unavailable" | "Timeout" | "Refused" | "TooLarge"
  readonly message: string
  readonly limit?: number
}> {}

/**
 * One line of a server, and the value that followed it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply {
  /** `HD`, `VA`, `EN`, `NF`, `NS`, `EX`, an error, or a line of `stats`. */
  readonly code: string
  /** The words after the code. */
  readonly words: ReadonlyArray<string>
  readonly value: Buffer | undefined
}

const longestLine = 2048
const largestValue = 2 ** 30

/**
 * Cuts what arrives into replies. Throws a `MemcachedError` at what can be no
 * reply; what comes after it cannot be understood either.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeReader = (onReply: (reply: Reply) => void): (chunk: Buffer) => void => {
  let chunks: Array<Buffer> = []
  let size = 0
  // A large value arrives in many chunks: not looked at before it is complete.
  let needed = 1
  return (chunk) => {
    chunks.push(chunk)
    size += chunk.length
    if (size < needed) return
    let rest = chunks.length === 1 ? chunk : Buffer.concat(chunks)
    for (;;) {
      needed = rest.length + 1
      const end = rest.indexOf("\r\n")
      if (end === -1 && rest.length <= longestLine) break
      if (end === -1) throw junk()
      const [code = "", ...words] = rest.toString("latin1", 0, end).split(" ")
      const start = end + 2
      if (code !== "VA") {
        rest = rest.subarray(start)
        onReply({ code, words, value: undefined })
        continue
      }
      const length = Number(words[0])
      if (!(Number.isInteger(length) && length >= 0 && length <= largestValue)) throw junk()
      needed = start + length + 2
      if (rest.length < needed) break
      if (rest.toString("latin1", needed - 2, needed) !== "\r\n") throw junk()
      const value = rest.subarray(start, start + length)
      rest = rest.subarray(needed)
      onReply({ code, words, value })
    }
    chunks = rest.length === 0 ? [] : [rest]
    size = rest.length
  }
}

/**
 * The server said what no server says at this place.
 *
 * @since 0.1.0
 * @category errors
 */
export const junk = (): MemcachedError =>
  new MemcachedError({ reason: "Unavailable", message: "The answer is not in the protocol of memcached." })
