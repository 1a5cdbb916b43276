/**
 * A new id for a record whose key is the id: the record moves to another key.
 *
 * @internal
 */
import { saved, type Snapshot, type Unsaved } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import * as SessionError from "../../SessionError.js"
import type { Version } from "../../SessionStore.js"
import { matchCause } from "../steps.js"
import { type Call, mayBeApplied, nowOf, type Result, type Settings, writeStep } from "./Settings.js"

/** What became of a move. `Stale`: the old record has changed, and nothing has moved. */
export interface MoveHandlers<A> {
  readonly onMoved: (id: SessionId, snapshot: Snapshot<A>) => Result<void>
  readonly onStale: () => Result<void>
  readonly onFailed: (error: SessionError.SessionError) => Result<void>
}

const maxInserts = 2

/**
 * Inserts the record under a new key, then removes the old one under its
 * version. No moment has two ids that open the session for long, and a logout
 * of the old id in between wins: the removal is then stale, and the new record
 * goes again. If the removal has no answer, the outcome is unknown, and the
 * new record goes as well: a session that was perhaps logged out must not come
 * back.
 */
export class Move<A> {
  private inserts = 0

  constructor(
    private readonly settings: Settings<A>,
    private readonly call: Call,
    private readonly oldId: SessionId,
    private readonly base: Snapshot<A>,
    /** The new record. It does not hold the id, because the id is its key. */
    private readonly unsaved: Unsaved<A>,
    private readonly handlers: MoveHandlers<A>
  ) {}

  run(): Result<void> {
    const { data, expiresAt } = this.unsaved
    const id = this.settings.format.create()
    return writeStep(
      this.settings,
      this.call,
      this.settings.store.insert(id.key, data, expiresAt, nowOf(this.call)),
      (error) =>
        // nobody gets the id of an insert without an answer
        mayBeApplied(error) && ++this.inserts < maxInserts
          ? this.run()
          : this.handlers.onFailed(SessionError.fromStore(error)),
      (version) => {
        if (version._tag === "Some") {
          return this.removeOld(id, version.value)
        }
        return ++this.inserts < maxInserts ? this.run() : this.handlers.onFailed(SessionError.conflict("Conflict"))
      }
    )
  }

  private removeOld(id: SessionId, version: Version): Result<void> {
    return writeStep(
      this.settings,
      this.call,
      this.settings.store.remove(this.oldId.key, this.base.stored.version, nowOf(this.call)),
      (error) =>
        this.undo(
          id,
          version,
          () =>
            this.handlers.onFailed(mayBeApplied(error) ? SessionError.unknown(error) : SessionError.fromStore(error))
        ),
      (removed) =>
        removed
          ? this.handlers.onMoved(id, saved(this.unsaved, version))
          : this.undo(id, version, this.handlers.onStale)
    )
  }

  /** Removes the new record. If that fails, the record stays until it expires, and nobody has its id. */
  private undo(id: SessionId, version: Version, next: () => Result<void>): Result<void> {
    return matchCause(this.settings.store.remove(id.key, version, nowOf(this.call)), next, next)
  }
}
