/**
 * Server-side HTTP sessions for Effect.
 *
 * @since 0.1.0
 */
export { Session } from "./Session.js"

/** @since 0.1.0 */
export * as SessionHttp from "./http/SessionHttp.js"

/** @since 0.1.0 */
export {
  type Entry,
  SessionScan,
  SessionStore,
  SessionStoreError,
  type SessionStoreErrorReason,
  SessionSweeper,
  SingleProcess,
  type Stored,
  Version
} from "./SessionStore.js"

/** @since 0.1.0 */
export { SessionConfigError } from "./SessionConfigError.js"

/** @since 0.1.0 */
export * as PayloadCodec from "./schema/PayloadCodec.js"

/** @since 0.1.0 */
export * as SessionFormat from "./schema/SessionFormat.js"

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
