/**
 * The session's cookie in an HttpApi contract. This file imports nothing of
 * Node, because browsers import the contract, too.
 *
 * @since 0.1.0
 */
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"

/**
 * The session's cookie as a security scheme of an HttpApi, for OpenAPI's sake:
 * the library reads the cookie by itself.
 *
 * @since 0.1.0
 * @category security
 */
export const security = (cookieName = "__Host-id"): HttpApiSecurity.ApiKey =>
  HttpApiSecurity.apiKey({ in: "cookie", key: cookieName })
