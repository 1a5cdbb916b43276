/**
 * Node's synchronous crypto, five functions. WebCrypto costs twenty times as
 * much a hash (docs/design.md has the figures).
 *
 * @internal
 */

import * as crypto from "node:crypto"

/** SHA-256. By way of text, which Node answers in half the time of a buffer. */
export const sha256 = (data: Uint8Array): Buffer => Buffer.from(crypto.hash("sha256", data, "binary"), "latin1")

/** SHA-256 in lower-case hex. */
export const sha256Hex = (data: Uint8Array): string => crypto.hash("sha256", data, "hex")

const pool = Buffer.allocUnsafeSlow(4096)
let used = pool.length

/**
 * `size` bytes from the system's generator, drawn from a pool that is wiped as
 * it is spent. Throws when the generator does: there is no fall-back.
 */
export const randomBytes = (size: number): Buffer => {
  if (used + size > pool.length) {
    crypto.randomFillSync(pool)
    used = 0
  }
  const bytes = Buffer.from(pool.subarray(used, used + size))
  pool.fill(0, used, used + size)
  used += size
  return bytes
}

/** 64 random bits as text: a version, or the end of a temporary name. */
export const randomToken = (): string => randomBytes(8).toString("base64url")

/** Compares in constant time; lengths are not secret. */
export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && crypto.timingSafeEqual(a, b)
