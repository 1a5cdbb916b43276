/**
 * Shows an operator that a store does not work, and when it works again.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { SessionStoreError } from "../../SessionStore.js"

/** Milliseconds between two warnings. A request that fails would otherwise log a line each. */
const warnEvery = 30_000

/** The failures that an operator has to mend. */
const reasons: ReadonlySet<SessionStoreError["reason"]> = new Set(["Unavailable", "Timeout", "Throttled", "Rejected"])

export class Outage {
  /** A warning was logged, and no operation has succeeded since. */
  isOn = false
  private warnedAt = -Infinity

  constructor(private readonly tag: string) {}

  /** Notes a failure. Returns the log line that is due, if one is. */
  failed(error: SessionStoreError, now: number): Effect.Effect<void> | undefined {
    if (!reasons.has(error.reason) || now - this.warnedAt < warnEvery) {
      return undefined
    }
    this.isOn = true
    this.warnedAt = now
    return Effect.logWarning(
      `Session ${this.tag}: the store fails: ${error.operation} is ${error.reason}${describe(error.cause)}. ` +
        "Requests that need the session get 503 until it works. This line is repeated every 30 seconds at most."
    )
  }

  /** Notes a success after a warning. Returns the log line. */
  recovered(): Effect.Effect<void> {
    this.isOn = false
    return Effect.logInfo(`Session ${this.tag}: the store works again.`)
  }
}

const maxDepth = 8

/**
 * The code of an error, and the message of one that only names an address. The
 * messages of others may hold keys and values.
 */
const describe = (error: unknown): string => {
  let current = error
  for (let depth = 0; depth < maxDepth && typeof current === "object" && current !== null; depth++) {
    const { cause, code, message, syscall } = current as {
      readonly cause?: unknown
      readonly code?: unknown
      readonly message?: unknown
      readonly syscall?: unknown
    }
    if (typeof code === "string" && code !== "") {
      return (syscall === "connect" || syscall === "getaddrinfo") && message ? ` (${message})` : ` (${code})`
    }
    current = cause
  }
  return error instanceof Error ? ` (${error.name})` : ""
}
