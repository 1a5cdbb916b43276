/**
 * What a presented id may do with a record, and when a record ends.
 *
 * @internal
 */
import { equalBytes } from "../internal/crypto.js"
import type { SessionRecord } from "../schema/SessionFormat.js"

/**
 * - `current`: the id opens the session.
 * - `ended`: a `regenerate` retired the id less than 30 seconds ago.
 * - `wrong`: neither.
 */
export type Verdict = "current" | "ended" | "wrong"

/** How long a retired id is recognised, in milliseconds. */
export const endedFor = 30_000

export const judge = (record: SessionRecord, proof: Uint8Array, now: number): Verdict => {
  // guard: the verifier opens the session
  if (equalBytes(record.proof, proof)) {
    return "current"
  }
  // guard: a retired id is recognised
  return record.ended.some((ended) => ended.until > now && equalBytes(ended.proof, proof)) ? "ended" : "wrong"
}

/** The deadline that a use at `now` gives: sliding, within the absolute one. */
export const deadline = (record: SessionRecord, now: number): number =>
  // guard: sliding, within the absolute deadline
  Math.min(record.absoluteDeadline, now + record.idleTimeout)

/** How far a touch has to move the deadline to be worth a write: a tenth of the idle timeout. */
// guard: touches are throttled
export const touchStep = (record: SessionRecord): number => record.idleTimeout / 10
