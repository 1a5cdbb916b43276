/**
 * Shows an operator that a store does not work, and when it works again.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { SessionStoreError } from "../../SessionStore.js"
import { findCoded } from "../systemError.js"

/** Milliseconds between two warnings. A request that fails would otherwise log a line each. */
const warnEvery = 30_000

const reasons: ReadonlySet<SessionStoreError["reason"]> = new Set(["Unavailable", "Timeout", "Throttled", "Rejected"])

/** Whether it is a failure that an operator has to mend. */
export const isOutage = ({ reason }: SessionStoreError): boolean => reasons.has(reason)

type Kind = "load" | "write"

export class Outage {
  /** What a warning was logged of, and has not succeeded since. */
  private failing: Kind | undefined
  private warnedAt = -Infinity

  constructor(private readonly tag: string) {}

  /** Whether a warning was logged and the store does not work again yet. */
  get isOn(): boolean {
    return this.failing !== undefined
  }

  /** Notes a failure. Returns the log line that is due, if one is. */
  failed(error: SessionStoreError, now: number): Effect.Effect<void> | undefined {
    if (!isOutage(error)) {
      return undefined
    }
    const isDue = now - this.warnedAt >= warnEvery
    if (isDue || this.isOn) {
      this.failing = error.operation === "load" ? this.failing ?? "load" : "write"
    }
    if (!isDue) {
      return undefined
    }
    this.warnedAt = now
    return Effect.logWarning(
      `Session ${this.tag}: the store fails: ${error.operation} is ${error.reason}${describe(error.cause)}. ` +
        (error.operation === "touch"
          ? "Sessions in use may expire early."
          : "Requests that need the session get 503 until it works.") +
        " This line is repeated every 30 seconds at most."
    )
  }

  /** Notes a success. Returns the log line of a recovery. A store that only reads has not recovered from failed writes. */
  succeeded(kind: Kind): Effect.Effect<void> | undefined {
    if (this.failing === undefined || (this.failing === "write" && kind === "load")) {
      return undefined
    }
    this.failing = undefined
    return Effect.logInfo(`Session ${this.tag}: the store works again.`)
  }
}

/**
 * The code of an error, and the message of one that only names an address. The
 * messages of others may hold keys and values.
 */
const describe = (error: unknown): string => {
  const coded = findCoded(error)
  if (coded === undefined) {
    return error instanceof Error ? ` (${error.name})` : ""
  }
  const { code, message, syscall } = coded
  return (syscall === "connect" || syscall === "getaddrinfo") && message ? ` (${message})` : ` (${code})`
}
