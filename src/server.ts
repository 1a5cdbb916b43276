/**
 * The part of `effect-session` that needs Node. Bundlers for browsers take
 * `browser.ts` instead (`browser` in package.json), so its names are the same.
 *
 * @since 0.1.0
 */
export { Session } from "./Session.js"

/** @since 0.1.0 */
export * as SessionHttp from "./http/SessionHttp.js"

/** @since 0.1.0 */
export * as PayloadCodec from "./schema/PayloadCodec.js"
