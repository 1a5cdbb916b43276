/**
 * The session's cookie: its rules, checked once, and its strict reader.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { SessionConfigError } from "../SessionConfigError.js"

/**
 * How the cookie is sent. `HttpOnly` always.
 *
 * - `secure`: default true. `false` is for development without TLS.
 * - `domain`: default none, the host alone. With a domain the name loses its
 *   `__Host-` prefix.
 * - `path`: default `/`. With another one too.
 * - `name`: default `__Host-id`; `__Secure-id` with a domain or path, `id`
 *   without `secure`.
 * - `sameSite`: default `"lax"`; `"none"` only with `secure`.
 * - `partitioned`: default false; only with `secure` (CHIPS, an expired draft).
 *
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis section 4.1.3 for the prefixes
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly name?: string
  readonly secure?: boolean
  readonly domain?: string
  readonly path?: string
  readonly sameSite?: "lax" | "strict" | "none"
  readonly partitioned?: boolean
}

/**
 * A cookie whose options are known to be legal.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionCookie {
  readonly name: string
  readonly secure: boolean
  readonly domain: string | undefined
  readonly path: string
  readonly sameSite: "lax" | "strict" | "none"
  readonly partitioned: boolean
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const hostName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i
const pathChars = /^\/[!-:<-~]*$/
const almostPrefix = /^_*(host|secure|http)[_-]/i
const maxAttribute = 1024

/**
 * Checks the options. Illegal combinations are a `SessionConfigError` that
 * names the option.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Either.Either<SessionCookie, SessionConfigError> => {
  const { domain, partitioned = false, path = "/", sameSite = "lax", secure = true } = options
  const hostOnly = domain === undefined && path === "/"
  const name = options.name ?? (!secure ? "id" : hostOnly ? "__Host-id" : "__Secure-id")
  const wrong = (option: keyof Options, message: string) =>
    Either.left(new SessionConfigError({ option: `cookie.${option}`, message: `cookie.${option} ${message}` }))

  // guard: the name is a token
  if (!token.test(name) || name.length > 256) {
    return wrong("name", "is not a cookie name: use letters, digits and !#$%&'*+-.^_`|~, at most 256")
  }
  // guard: the domain is a host
  if (domain !== undefined && !hostName.test(domain)) {
    return wrong("domain", "is not a host name: write it like \"example.com\", without a leading dot or a port")
  }
  // guard: the path is one
  if (!pathChars.test(path) || path.length > maxAttribute) {
    return wrong("path", "has to start with / and to hold visible ASCII other than ; only")
  }
  if (!["lax", "strict", "none"].includes(sameSite)) {
    return wrong("sameSite", "has to be \"lax\", \"strict\" or \"none\"")
  }
  // guard: none needs secure
  if (!secure && sameSite === "none") {
    return wrong("sameSite", "\"none\" is refused by browsers without cookie.secure: use \"lax\"")
  }
  // guard: partitioned needs secure
  if (!secure && partitioned) {
    return wrong("partitioned", "is refused by browsers without cookie.secure: leave it out")
  }
  if (name.startsWith("__Host-")) {
    // guard: __Host- keeps its promise
    if (!secure || !hostOnly) {
      return wrong(
        "name",
        "starts with __Host-, which browsers refuse without secure, with a domain, or with a path other than /"
      )
    }
  } else if (name.startsWith("__Secure-") || name.startsWith("__Http-")) {
    // guard: __Secure- keeps its promise
    if (!secure) {
      return wrong("name", "has a prefix that browsers refuse without cookie.secure: leave the prefix out")
    }
    // guard: no look-alikes
  } else if (almostPrefix.test(name)) {
    return wrong(
      "name",
      "is almost one of the prefixes __Host-, __Secure- and __Http-, and protects nothing: spell it exactly"
    )
  }
  return Either.right({ name, secure, domain, path, sameSite, partitioned })
}

/**
 * What a request says about the cookie.
 *
 * @since 0.1.0
 * @category models
 */
export type Presented =
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Found"; readonly value: string }
  /** More than one cookie of the name: none of them is believed. */
  | { readonly _tag: "Duplicate" }

const absent: Presented = { _tag: "Absent" }
const duplicate: Presented = { _tag: "Duplicate" }

/**
 * Reads the raw `Cookie` header. Strict where the platform's parser is
 * lenient: names are compared byte for byte, nothing is trimmed but the space
 * after a semicolon, nothing is unquoted or percent-decoded. Linear in the
 * header's length.
 *
 * @since 0.1.0
 * @category combinators
 */
export const read = (name: string, header: string | undefined): Presented => {
  if (header === undefined || !header.includes(name)) {
    return absent
  }
  let found: string | undefined
  let start = 0
  while (start <= header.length) {
    const semicolon = header.indexOf(";", start)
    const end = semicolon === -1 ? header.length : semicolon
    while (header.charCodeAt(start) === 0x20 && start < end) {
      start++
    }
    // guard: the name is the whole name
    if (header.startsWith(name, start) && header.charCodeAt(start + name.length) === 0x3d) {
      if (found !== undefined) {
        // guard: duplicates are nobody's
        return duplicate
      }
      found = header.slice(start + name.length + 1, end)
    }
    start = end + 1
  }
  return found === undefined ? absent : { _tag: "Found", value: found }
}
