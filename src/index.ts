/**
 * Server-side HTTP sessions for Effect.
 *
 * @since 0.1.0
 */
export { PayloadCodec, Session, SessionHttp } from "./server.js"

/** @since 0.1.0 */
export * as SessionCookie from "./SessionCookie.js"

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
export {
  causeOf,
  isSessionError,
  SessionConflict,
  SessionError,
  SessionFailure,
  SessionTooLarge,
  SessionUnavailable
} from "./SessionError.js"
