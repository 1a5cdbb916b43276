/**
 * The session's cookie: its rules, checked once, and its strict reader.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { SessionConfigError } from "./SessionConfigError.js"

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
 * - `former`: domains and paths that the cookie of this name had before a
 *   deploy; default none. Whenever the cookie is set or cleared, a `Set-Cookie`
 *   for each of them clears what browsers still hold there. Not for `__Host-`
 *   names, which have no other scope.
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
  readonly former?: ReadonlyArray<{ readonly domain?: string; readonly path?: string }>
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
  readonly former: ReadonlyArray<Scope>
}

/**
 * Where a cookie is sent: a domain and its subdomains, or the host alone.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scope {
  readonly domain: string | undefined
  readonly path: string
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
  if (!token.test(name) || name.length > 256) {
    return wrong("name", "is not a cookie name: use letters, digits and !#$%&'*+-.^_`|~, at most 256")
  }
  if (domain !== undefined && !hostName.test(domain)) {
    return wrong("domain", "is not a host name: write it like \"example.com\", without a leading dot or a port")
  }
  if (!pathChars.test(path) || path.length > maxAttribute) {
    return wrong("path", "has to start with / and to hold visible ASCII other than ; only")
  }
  const scope: Scope = { domain, path }
  const former = (options.former ?? []).map((given): Scope => ({ domain: given.domain, path: given.path ?? "/" }))
  const formerProblem = former.map((other) => problemOfFormer(other, scope)).find((problem) => problem !== undefined)
  if (formerProblem !== undefined) {
    return wrong("former", formerProblem)
  }
  if (!["lax", "strict", "none"].includes(sameSite)) {
    return wrong("sameSite", "has to be \"lax\", \"strict\" or \"none\"")
  }
  if (!secure && sameSite === "none") {
    return wrong("sameSite", "\"none\" is refused by browsers without cookie.secure: use \"lax\"")
  }
  if (!secure && partitioned) {
    return wrong("partitioned", "is refused by browsers without cookie.secure: leave it out")
  }
  if (name.startsWith("__Host-")) {
    if (former.length > 0) {
      return wrong("former", "is for names without __Host-: a cookie of such a name never had another domain or path")
    }
    if (!secure || !hostOnly) {
      return wrong(
        "name",
        "starts with __Host-, which browsers refuse without secure, with a domain, or with a path other than /"
      )
    }
  } else if (name.startsWith("__Secure-") || name.startsWith("__Http-")) {
    if (!secure) {
      return wrong("name", "has a prefix that browsers refuse without cookie.secure: leave the prefix out")
    }
  } else if (almostPrefix.test(name)) {
    return wrong(
      "name",
      "is almost one of the prefixes __Host-, __Secure- and __Http-, and protects nothing: spell it exactly"
    )
  }
  return Either.right({ name, secure, domain, path, sameSite, partitioned, former })
}

const problemOfFormer = (former: Scope, present: Scope): string | undefined => {
  if (former.domain !== undefined && !hostName.test(former.domain)) {
    return "has a domain that is not a host name: write it like \"example.com\", without a leading dot or a port"
  }
  if (!pathChars.test(former.path) || former.path.length > maxAttribute) {
    return "has a path that does not start with / or holds anything but visible ASCII other than ;"
  }
  return former.domain?.toLowerCase() === present.domain?.toLowerCase() && former.path === present.path
    ? "names the present domain and path, where it would clear the cookie that was just set"
    : undefined
}

/**
 * What the response has to do about the cookie.
 *
 * @since 0.1.0
 * @category models
 */
export type CookieChange =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Clear" }
  | {
    readonly _tag: "Set"
    readonly value: Redacted.Redacted<string>
    /** Milliseconds since the epoch. None for a cookie that ends with the browser. */
    readonly expiresAt: Option.Option<number>
  }

/**
 * How many cookies of the name a request may bring. With more of them none is
 * looked up.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxCookies = 4

const none: ReadonlyArray<string> = []

/**
 * Returns the values of the cookies of a name in the raw `Cookie` header: at
 * most five, which means more than `maxCookies`.
 *
 * Strict where the platform's parser is lenient: names are compared byte for
 * byte, nothing is trimmed but the space after a semicolon, nothing is unquoted
 * or percent-decoded. Linear in the header's length.
 *
 * @since 0.1.0
 * @category combinators
 */
export const read = (name: string, header: string | undefined): ReadonlyArray<string> => {
  if (header === undefined || !header.includes(name)) {
    return none
  }
  const values: Array<string> = []
  let start = 0
  while (start <= header.length && values.length <= maxCookies) {
    const semicolon = header.indexOf(";", start)
    const end = semicolon === -1 ? header.length : semicolon
    while (header.charCodeAt(start) === 0x20 && start < end) {
      start++
    }
    if (header.startsWith(name, start) && header.charCodeAt(start + name.length) === 0x3d) {
      values.push(header.slice(start + name.length + 1, end))
    }
    start = end + 1
  }
  return values
}
