/**
 * When a use of a session moves its deadline. Pure.
 *
 * @internal
 */
import type { SessionFormat, Snapshot } from "../../schema/SessionFormat.js"

/** Whether a use at `now` moves the deadline by a tenth of the idle timeout: less is not worth a write. */
export const isTouchDue = <A>(format: SessionFormat<A>, snapshot: Snapshot<A>, now: number): boolean => {
  const idleTimeout = format.idleTimeout(snapshot)
  return idleTimeout !== undefined && format.deadlineAt(snapshot, now) - snapshot.stored.expiresAt >= idleTimeout / 10
}

/**
 * Whether the first use has to move the deadline at once, so that the request
 * can run for the idle timeout: less than half of it is left.
 */
export const isNear = <A>(format: SessionFormat<A>, snapshot: Snapshot<A>, now: number): boolean => {
  const idleTimeout = format.idleTimeout(snapshot)
  const { expiresAt } = snapshot.stored
  return idleTimeout !== undefined && expiresAt - now < idleTimeout / 2 && expiresAt < format.deadlineAt(snapshot, now)
}

/** When a request that is still running has to move the deadline: a quarter of the idle timeout is left. */
export const keepAliveAt = <A>(format: SessionFormat<A>, snapshot: Snapshot<A>): number =>
  snapshot.stored.expiresAt - (format.idleTimeout(snapshot) ?? 0) / 4
