/**
 * Session ids: what the cookie holds, where the record is, and the proof of
 * the right to it.
 *
 * @internal
 */

import { randomBytes, sha256, sha256Hex } from "../internal/crypto.js"

/**
 * An id of any format. It prints as `<redacted>`; only the format that made it
 * gives the cookie's value.
 */
export interface SessionId {
  /** The store's key. */
  readonly key: string
  /** A name for the session that is safe to show and to log. */
  readonly ref: string
}

/** What the native format makes of ids. */
export interface NativeIds {
  /** Reads a cookie's value. Undefined for anything but the one spelling of an id. */
  readonly parse: (cookieValue: string) => NativeId | undefined
  /** A new id. Throws when the system's generator fails: there is no weaker one. */
  readonly create: () => NativeId
  /** An id of the same record with a new verifier. */
  readonly renew: (id: NativeId) => NativeId
  /** The cookie's value. A secret. */
  readonly print: (id: NativeId) => string
}

const selectorSize = 16
const verifierSize = 24

// 40 bytes; the last character holds four bits of padding, zero in the one canonical spelling
const canonicalId = /^[A-Za-z0-9_-]{53}[AQgw]$/

/**
 * Native ids.
 *
 * An id has two halves: a 16-byte *selector* that names the record for its
 * whole life, and a 24-byte *verifier* that proves the right to it. The cookie
 * is both in base64url, 54 characters in one canonical spelling. The key is
 * SHA-256(scope ‖ 00 ‖ selector), the verifier is stored as its SHA-256. The
 * store holds neither half, so a dump of the store opens no session.
 *
 * `scope` names the application's session and its cookie. Two scopes never
 * share a key, so two apps on one store do not open each other's sessions by
 * accident. The cookie's name has no zero byte, so no two pairs of tag and name
 * have the same scope.
 */
export const nativeIds = (scope: string): NativeIds => {
  const prefixes = { key: prefixed(scope, 0), ref: prefixed(scope, 1) }
  const idOf = (secret: Buffer): NativeId => new NativeId(secret, prefixes)
  return {
    parse: (value) => canonicalId.test(value) ? idOf(Buffer.from(value, "base64url")) : undefined,
    create: () => idOf(randomBytes(selectorSize + verifierSize)),
    renew: (id) => idOf(Buffer.concat([secretOf(id).subarray(0, selectorSize), randomBytes(verifierSize)])),
    print: (id) => secretOf(id).toString("base64url")
  }
}

/** SHA-256 input that begins with the scope and a domain byte. The selector is filled in later. */
const prefixed = (scope: string, domain: number): Buffer =>
  Buffer.concat([Buffer.from(scope), Buffer.from([domain]), Buffer.alloc(selectorSize)])

const withSelector = (input: Buffer, secret: Buffer): Buffer => {
  secret.copy(input, input.length - selectorSize, 0, selectorSize)
  return input
}

let secretOf: (id: NativeId) => Buffer

/** A native id. Its secret is out of reach of loggers and `inspect`. */
export class NativeId implements SessionId {
  readonly #secret: Buffer
  readonly #prefixes: { readonly key: Buffer; readonly ref: Buffer }
  /** 64 lower-case hex characters. */
  readonly key: string
  /** SHA-256 of the verifier: what the record must hold for this id to be the current one. */
  readonly verifierHash: Uint8Array

  constructor(secret: Buffer, prefixes: { readonly key: Buffer; readonly ref: Buffer }) {
    this.#secret = secret
    this.#prefixes = prefixes
    this.key = sha256Hex(withSelector(prefixes.key, secret))
    this.verifierHash = sha256(secret.subarray(selectorSize))
  }

  static {
    secretOf = (id) => id.#secret
  }

  /** 22 characters of base64url. `regenerate` does not change it. */
  get ref(): string {
    return sha256(withSelector(this.#prefixes.ref, this.#secret)).toString("base64url").slice(0, 22)
  }

  toString(): string {
    return "<redacted>"
  }
  toJSON(): string {
    return "<redacted>"
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "<redacted>"
  }
}
