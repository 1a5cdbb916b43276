/** What the rules are run on. */
export * as SessionHttp from "../../src/http/SessionHttp.js"
export * as Memory from "../../src/layers/Memory.js"
export * as PayloadCodec from "../../src/schema/PayloadCodec.js"
export { Session } from "../../src/Session.js"
export * as SessionCookie from "../../src/SessionCookie.js"
