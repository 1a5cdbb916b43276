/** What the core laws are run on: the library, or a mutant of it. */
export * as SessionCookie from "../../src/http/SessionCookie.js"
export * as SessionHttp from "../../src/http/SessionHttp.js"
export * as Memory from "../../src/layers/Memory.js"
export * as PayloadCodec from "../../src/schema/PayloadCodec.js"
export * as SessionFormat from "../../src/schema/SessionFormat.js"
export { Session } from "../../src/Session.js"
