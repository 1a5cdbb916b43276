/**
 * Flask-Session's ids: the id is the store's key, and the store shows it as it
 * is. `SESSION_USE_SIGNER` adds a signature to the cookie, never to the key.
 *
 * @internal
 */

import * as crypto from "node:crypto"
import type { SessionId } from "../../schema/SessionId.js"
import { equalBytes, randomBytes, sha256 } from "../crypto.js"

export interface FlaskIds {
  /** Reads a cookie's value. Undefined when it is no id, or when its signature is wrong. */
  readonly parse: (cookieValue: string) => FlaskId | undefined
  readonly create: () => FlaskId
  /** The cookie's value. A secret. */
  readonly print: (id: FlaskId) => string
}

/** 8 bytes make 11 characters. UUIDs, which releases before 0.6 made, have 36. */
const idShape = /^[A-Za-z0-9_-]{11,128}$/

/** The smallest and the largest length of a new id in bytes. Shorter ones than `safe` can be guessed. */
export const idLengths = { min: 8, safe: 16, max: 96 }

/** `secrets` sign: the first one new ids, and each of them accepts. Without any, ids are not signed. */
export const flaskIds = (idLength: number, secrets: ReadonlyArray<string>): FlaskIds => {
  const keys = secrets.map(signingKey)
  const [first] = keys
  return {
    parse: (value) => {
      const id = first === undefined ? value : verified(keys, value)
      return id !== undefined && idShape.test(id) ? new FlaskId(id) : undefined
    },
    create: () => new FlaskId(randomBytes(idLength).toString("base64url")),
    print: ({ key }) => first === undefined ? key : `${key}.${signature(first, key)}`
  }
}

/** An id. It is out of reach of loggers and `inspect`. */
export class FlaskId implements SessionId {
  readonly #id: string

  constructor(id: string) {
    this.#id = id
  }

  get key(): string {
    return this.#id
  }
  /** 22 characters of base64url: the store holds the id itself, so the name has to be a hash. */
  get ref(): string {
    return sha256(Buffer.from(`flask-session ref\0${this.#id}`)).toString("base64url").slice(0, 22)
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

// itsdangerous.Signer(secret, salt="flask-session", key_derivation="hmac")

const hmac = (key: string | Buffer, text: string): Buffer => crypto.createHmac("sha1", key).update(text).digest()

const signingKey = (secret: string): Buffer => hmac(secret, "flask-session")

const signature = (key: Buffer, id: string): string => hmac(key, id).toString("base64url")

const verified = (keys: ReadonlyArray<Buffer>, value: string): string | undefined => {
  const dot = value.lastIndexOf(".")
  const id = value.slice(0, dot)
  const given = Buffer.from(value.slice(dot + 1))
  return dot >= 0 && idShape.test(id) && keys.some((key) => equalBytes(Buffer.from(signature(key, id)), given))
    ? id
    : undefined
}
