/**
 * Node's synchronous crypto, four functions. WebCrypto costs twenty times as
 * much a hash (docs/design.md has the figures).
 *
 * @internal
 */
import * as crypto from "node:crypto"

/** SHA-256. */
export const sha256 = (data: Uint8Array): Buffer => crypto.hash("sha256", data, "buffer")

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
