/**
 * Finds the error of the system, or of the server, behind a driver's error.
 *
 * @internal
 */

export interface CodedError {
  readonly code: string
  readonly message?: unknown
  readonly syscall?: unknown
}

const maxDepth = 8

/** The first error with a code among `error` and its causes. */
export const findCoded = (error: unknown): CodedError | undefined => {
  let current = error
  for (let depth = 0; depth < maxDepth && typeof current === "object" && current !== null; depth++) {
    const { cause, code } = current as { readonly cause?: unknown; readonly code?: unknown }
    if (typeof code === "string" && code !== "") {
      return current as CodedError // its code was just looked at
    }
    current = cause
  }
  return undefined
}
