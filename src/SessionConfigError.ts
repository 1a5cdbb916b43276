/**
 * What is wrong with the configuration, found while the Layer is built.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"

/**
 * A configuration mistake. It fails the Layer, never a request.
 *
 * `option` names the option that is wrong, `message` says what is wrong with
 * it and how to mend it. The value itself is not repeated: it may hold a
 * password.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionConfigError extends Data.TaggedError("SessionConfigError")<{
  readonly option: string
  readonly message: string
  readonly cause?: unknown
}> {}
