/**
 * Warns of a cookie that browsers do not keep.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import type { SessionCookie } from "../SessionCookie.js"
import type { Request } from "./platform.js"

const state = globalValue(Symbol.for("effect-session/http/warnInsecure"), () => ({ hasWarned: false }))

/**
 * Browsers keep a `Secure` cookie on https and on loopback hosts only. Logs one
 * warning in a process when such a cookie is set on any other request.
 */
export const warnInsecure = ({ name, secure }: SessionCookie, request: Request): Effect.Effect<void> | undefined => {
  if (!secure || state.hasWarned || isHttps(request) || isLoopback(request.headers.host)) {
    return undefined
  }
  state.hasWarned = true
  return Effect.logWarning(
    `Session: the cookie "${name}" is Secure, and a request came by plain http to a host that is not local. ` +
      "Browsers do not keep the cookie there. Serve the app by https; a proxy in front of it has to send " +
      "x-forwarded-proto: https. For development without TLS set cookie.secure to false."
  )
}

const isHttps = ({ headers, source, url }: Request): boolean =>
  url.startsWith("https:") || headers["x-forwarded-proto"]?.split(",")[0]?.trim().toLowerCase() === "https" ||
  (source instanceof globalThis.Request && source.url.startsWith("https:")) || isEncrypted(source)

/** Whether Node's request came by a TLS socket. */
const isEncrypted = (source: unknown): boolean => {
  const { socket } = source as { readonly socket?: { readonly encrypted?: boolean } }
  return socket?.encrypted === true
}

const isLoopback = (host: string | undefined): boolean =>
  host === undefined || /^(localhost|.*\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i.test(host)
