/**
 * What `effect-session` is in a browser: the parts that a contract needs.
 *
 * An HttpApi and its clients share one file, which names the session's tag and
 * its errors. Bundlers for browsers take this module instead of `index`. It has
 * the same names and imports nothing of Node. The tags, the schemas and the
 * errors are the real ones. The rest belongs to a server: a Layer that is built
 * here dies, and says so.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { security } from "./http/security.js"
import type * as Http from "./http/SessionHttp.js"
import type * as Codec from "./schema/PayloadCodec.js"
import type * as Server from "./Session.js"

/** @since 0.1.0 */
export * as SessionCookie from "./SessionCookie.js"

/** @since 0.1.0 */
export { SessionConfigError } from "./SessionConfigError.js"

/** @since 0.1.0 */
export {
  causeOf,
  isSessionError,
  SessionConflict,
  SessionError,
  SessionFailure,
  SessionTooLarge,
  SessionUnavailable
} from "./SessionError.js"

/** @since 0.1.0 */
export { SessionScan, SessionStore, SessionStoreError, SessionSweeper, SingleProcess, Version } from "./SessionStore.js"

const serverOnly = (name: string): Error =>
  new Error(
    `effect-session: ${name} runs on a server only. This is the build for browsers, which has tags, schemas and errors.`
  )

const layer = (name: string) => (): Layer.Layer<never> => Layer.die(serverOnly(name))

const throws = (name: string) => (): never => {
  throw serverOnly(name)
}

const define = (id: string, definition: Schema.Struct.Fields | Schema.Schema.Any) =>
  Object.assign(Context.Tag(id)(), {
    schema: Schema.isSchema(definition) ? definition : Schema.Struct(definition as Schema.Struct.Fields), // no schema, so fields
    Manager: Context.GenericTag(`${id}/Manager`),
    layer: layer("AppSession.layer"),
    layerConfig: layer("AppSession.layerConfig"),
    layerTest: layer("AppSession.layerTest")
  })

class BrowserSession extends Context.Tag("effect-session/Session")<Server.Session, Server.Session.Any>() {
  static readonly Tag = () => define
}

// The module stands in for `index`, whose declarations are the ones that users see.

/** @since 0.1.0 */
export const Session = BrowserSession as unknown as typeof Server.Session

/** @since 0.1.0 */
export const SessionHttp = {
  middleware: () => () => Effect.die(serverOnly("SessionHttp.middleware")),
  routerMiddleware: () => ({ layer: layer("SessionHttp.routerMiddleware")() }),
  layerApi: layer("SessionHttp.layerApi"),
  security
} as unknown as typeof Http

const codec = () => ({ encode: throws("PayloadCodec"), decode: throws("PayloadCodec") })

/** @since 0.1.0 */
export const PayloadCodec = { msgpack: codec, json: codec } as unknown as typeof Codec
