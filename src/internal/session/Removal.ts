/**
 * Ends a session in the store.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import type { Reading, Snapshot } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import * as SessionError from "../../SessionError.js"
import type { SessionStoreError, Version } from "../../SessionStore.js"
import { matchError } from "../steps.js"
import { type Call, loadSnapshot, mayBeApplied, nowOf, type Result, type Settings, writeStep } from "./Settings.js"

/** What a removal reports. `Ended`: another request has renewed the id, and this one may not end the session. */
export type Outcome = { readonly _tag: "Removed" } | {
  readonly _tag: "Ended"
  readonly replacedByLogin: true
  readonly done: false
}

/** How many stale answers a removal takes before it goes without a condition. */
const maxStale = 3
/** How many removals without an answer are sent before the outcome is unknown. */
const maxUnanswered = 2

/** One removal, through all its attempts. */
export class Removal<A> {
  private stale = 0
  private lost = 0
  /** A removal without an answer that may still be applied to this version, or to any. */
  private unanswered: { readonly error: SessionStoreError; readonly version: Version | undefined } | undefined

  constructor(
    private readonly settings: Settings<A>,
    private readonly call: Call,
    private readonly id: SessionId,
    private readonly report: (outcome: Outcome) => void
  ) {}

  /**
   * Removes the record under its version, so that a request ends no session
   * that it may not open. After three stale answers, each of them checked by a
   * load, it removes the record without the version: a logout does not starve.
   */
  run(snapshot: Snapshot<A>): Result<void> {
    const version = this.stale < maxStale ? snapshot.stored.version : undefined
    return writeStep(
      this.settings,
      this.call,
      this.settings.store.remove(this.id.key, version, nowOf(this.call)),
      (error) => {
        if (!mayBeApplied(error)) {
          return this.fail(SessionError.fromStore(error))
        }
        this.lost++
        this.unanswered = { error, version }
        return this.check()
      },
      (removed) => {
        if (removed || version === undefined) {
          return this.removed()
        }
        this.stale++
        return this.check()
      }
    )
  }

  /** Loads the record to see whether it is still there, and whether the id still opens it. */
  private check(): Result<void> {
    return matchError(
      loadSnapshot(this.settings, this.id, this.call),
      (error) => this.fail(error),
      (reading) => this.continueFrom(reading)
    )
  }

  private continueFrom(reading: Reading<A>): Result<void> {
    switch (reading._tag) {
      case "Missing":
        return this.removed()
      case "Retired":
      case "Foreign":
        this.report({ _tag: "Ended", replacedByLogin: true, done: false })
        return Effect.fail(SessionError.conflict("Gone"))
      case "Current":
        if (this.unanswered?.version !== undefined && this.unanswered.version !== reading.snapshot.stored.version) {
          this.unanswered = undefined // its condition cannot hold any more
        }
        return this.lost >= maxUnanswered && this.unanswered !== undefined
          ? this.fail(SessionError.unknown(this.unanswered.error))
          : this.run(reading.snapshot)
    }
  }

  private removed(): Result<void> {
    this.report({ _tag: "Removed" })
    return Effect.void
  }

  /** While a removal without an answer may still be applied, the outcome is unknown whatever else has failed. */
  private fail(error: SessionError.SessionError): Result<never> {
    return Effect.fail(this.unanswered === undefined ? error : SessionError.unknown(this.unanswered.error))
  }
}
