/**
 * One commit, through all its attempts. It reports what became of the record
 * and changes nothing of the handle.
 *
 * @internal
 */

import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { saved, type Snapshot, type Start, type Unsaved } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import * as SessionError from "../../SessionError.js"
import type { SessionStoreError, Stored, Version } from "../../SessionStore.js"
import { randomBytes } from "../crypto.js"
import { matchError } from "../steps.js"
import { type Batch, isChanged, type Pending, replay } from "./Changes.js"
import type { CommitQueue } from "./CommitQueue.js"
import { Move } from "./Move.js"
import { failReported } from "./report.js"
import { type Call, mayBeApplied, nowOf, type Result, type Settings, writeStep } from "./Settings.js"

/** What a commit starts from. */
export interface Beginning<A> {
  /** The record to replace. Undefined for a new session. */
  readonly current: { readonly id: SessionId; readonly snapshot: Snapshot<A> } | undefined
  /** What the changes of a new session are replayed over. */
  readonly initial: Start<A>
  readonly batch: Batch<A>
  /** Whether the response head is still to come: without it no cookie can be set. */
  readonly canSetCookie: boolean
}

/** What a commit reports, each within the uninterruptible step that found it out. */
export type Outcome<A> =
  /** The batch is stored. */
  | { readonly _tag: "Stored"; readonly id: SessionId; readonly snapshot: Snapshot<A>; readonly pending: Pending<A> }
  /** The batch asks for no write. `snapshot` is the record it was compared with, if there is one. */
  | { readonly _tag: "Unchanged"; readonly snapshot: Snapshot<A> | undefined; readonly pending: Pending<A> }
  /** The batch has left nothing to store, and the record is removed. */
  | { readonly _tag: "Emptied"; readonly pending: Pending<A> }
  /** The session has ended. `done`: the batch was stored before that. */
  | { readonly _tag: "Ended"; readonly replacedByLogin: boolean; readonly done: boolean }
  /** A write has no answer and may still be applied. Without an error that is settled: it cannot be applied any more. */
  | { readonly _tag: "Uncertain"; readonly error: SessionError.SessionError | undefined }
  /** Nothing of the batch is stored. */
  | { readonly _tag: "Failed" }

interface Unanswered<A> {
  readonly error: SessionStoreError
  readonly base: Snapshot<A>
  /** What a removal without an answer left to store: nothing. Undefined for a replacement. */
  readonly emptied: Pending<A> | undefined
}

const maxRetries = 31
const maxMillis = 5000
const maxInserts = 2
const tokenSize = 8

export class Commit<A> {
  private readonly token = randomBytes(tokenSize)
  private readonly startedAt: number
  /** What the next attempt replaces. */
  private base: Snapshot<A> | undefined
  private pending: Pending<A> | undefined
  /** The id after the commit, the same through all attempts. */
  private nextId: SessionId | undefined
  private isQueued = false
  private retries = 0
  private inserts = 0
  /** A write without an answer that may still be applied to this base. */
  private unanswered: Unanswered<A> | undefined

  constructor(
    private readonly settings: Settings<A>,
    private readonly call: Call,
    private readonly beginning: Beginning<A>,
    private readonly report: (outcome: Outcome<A>) => void
  ) {
    this.startedAt = nowOf(call)
    this.base = beginning.current?.snapshot
    this.pending = beginning.batch.pending
  }

  /** Runs the commit. The caller holds the handle's mutex. */
  run(): Result<void> {
    const { current } = this.beginning
    if (current === undefined) {
      return this.insert()
    }
    const queue = this.settings.shared?.commits
    return queue?.has(current.id.key)
      ? this.enqueue(queue) // the loaded record is stale already
      : this.replace()
  }

  // -------------------------------------------------------------------------
  // a new session
  // -------------------------------------------------------------------------

  private insert(): Result<void> {
    return this.attempt(() => {
      const { initial } = this.beginning
      const pending = this.replayed(initial)
      if (!isChanged(pending, initial)) {
        this.report({ _tag: "Unchanged", snapshot: undefined, pending })
        return Effect.void
      }
      if (!this.beginning.canSetCookie) {
        throw SessionError.failure("HeadersSent")
      }
      // An insert without an answer is repeated under another id. Nobody ever gets the first one,
      // so it opens nothing if the network delivers it late.
      const id = this.settings.format.create()
      const unsaved = this.encode(id, pending, undefined)
      if (unsaved === undefined) {
        this.report({ _tag: "Unchanged", snapshot: undefined, pending })
        return Effect.void
      }
      return this.insertAs(id, unsaved, pending)
    })
  }

  private insertAs(id: SessionId, unsaved: Unsaved<A>, pending: Pending<A>): Result<void> {
    const { store } = this.settings
    return writeStep(
      this.settings,
      this.call,
      store.insert(id.key, unsaved.data, unsaved.expiresAt, nowOf(this.call)),
      (error) =>
        mayBeApplied(error) && ++this.inserts < maxInserts ? this.insert() : this.fail(SessionError.fromStore(error)),
      (version) => {
        if (version._tag === "Some") {
          return this.stored(id, unsaved, version.value, pending)
        }
        // The key is taken, once in 2^128: another id. A store that takes none is not asked for ever.
        return ++this.retries > maxRetries ? this.fail(SessionError.conflict("Conflict")) : this.insert()
      }
    )
  }

  // -------------------------------------------------------------------------
  // a stored session
  // -------------------------------------------------------------------------

  private replace(): Result<void> {
    return this.attempt(() => {
      const base = this.base!
      const pending = this.replayed(base)
      if (!isChanged(pending, base)) {
        this.report({ _tag: "Unchanged", snapshot: base, pending })
        return Effect.void
      }
      const { renew } = this.settings.format
      if (pending.regenerate && !this.beginning.canSetCookie) {
        throw SessionError.failure("HeadersSent")
      }
      this.nextId ??= pending.regenerate && renew !== undefined ? renew(this.id) : this.id
      const unsaved = this.encode(this.nextId, pending, base)
      if (unsaved === undefined) {
        return this.removeEmptied(base, pending)
      }
      return pending.regenerate && renew === undefined
        ? this.move(base, unsaved, pending)
        : this.replaceAs(this.nextId, base, unsaved, pending)
    })
  }

  private replaceAs(id: SessionId, base: Snapshot<A>, unsaved: Unsaved<A>, pending: Pending<A>): Result<void> {
    const { store } = this.settings
    return writeStep(
      this.settings,
      this.call,
      store.replace(id.key, base.stored.version, unsaved.data, unsaved.expiresAt, nowOf(this.call)),
      (error) => this.unansweredBy(error, { error, base, emptied: undefined }),
      (version) => version._tag === "Some" ? this.stored(id, unsaved, version.value, pending) : this.retry()
    )
  }

  /** Nothing is left to store: the record goes, under its version. */
  private removeEmptied(base: Snapshot<A>, pending: Pending<A>): Result<void> {
    return writeStep(
      this.settings,
      this.call,
      this.settings.store.remove(this.id.key, base.stored.version, nowOf(this.call)),
      (error) => this.unansweredBy(error, { error, base, emptied: pending }),
      (removed) => removed ? this.emptied(pending) : this.retry()
    )
  }

  private unansweredBy(error: SessionStoreError, unanswered: Unanswered<A>): Result<void> {
    if (!mayBeApplied(error)) {
      return this.fail(SessionError.fromStore(error))
    }
    this.unanswered ??= unanswered
    this.report({ _tag: "Uncertain", error: SessionError.unknown(error) })
    return this.retry()
  }

  private move(base: Snapshot<A>, unsaved: Unsaved<A>, pending: Pending<A>): Result<void> {
    return new Move(this.settings, this.call, this.id, base, unsaved, {
      onMoved: (id, snapshot) => {
        this.report({ _tag: "Stored", id, snapshot, pending })
        return Effect.void
      },
      onStale: () => this.retry(),
      onFailed: (error) => {
        if ("applied" in error && error.applied === "unknown") {
          this.report({ _tag: "Uncertain", error })
        }
        return this.fail(error)
      }
    }).run()
  }

  /** After a stale or unanswered write: the first retry goes at once, later ones with jitter. */
  private retry(): Result<void> {
    this.retries++
    const isLast = this.retries > maxRetries || this.isOverTime()
    if (isLast && this.unanswered === undefined) {
      return this.fail(SessionError.conflict("Conflict"))
    }
    const queue = this.settings.shared?.commits
    if (queue !== undefined && !this.isQueued && !isLast) {
      return this.enqueue(queue)
    }
    return isLast || this.retries <= 1 || queue === undefined
      ? this.refresh(isLast)
      : Effect.flatMap(jitter(this.retries), () => this.refresh(false))
  }

  private enqueue(queue: CommitQueue<Stored>): Result<void> {
    this.isQueued = true
    return queue.run(this.id.key, Effect.suspend(() => this.continueFrom(queue.handedOver(this.id.key))))
  }

  /**
   * Continues from the record that the previous commit handed over. Loads it
   * when there is none, or when this request has read a newer one.
   */
  private continueFrom(handedOver: Stored | undefined): Result<void> {
    if (handedOver === undefined || this.unanswered !== undefined) {
      return this.unanswered === undefined && this.isOverTime()
        ? this.fail(SessionError.conflict("Conflict"))
        : this.refresh(false)
    }
    const snapshot = this.readIfCurrent(handedOver)
    if (snapshot === undefined || !this.settings.format.isAsNewAs(snapshot, this.base!)) {
      return this.refresh(false)
    }
    this.rebase(snapshot)
    return this.replace()
  }

  /** Loads what is stored now, finds out what became of the last write, and continues from there. */
  private refresh(isLast: boolean): Result<void> {
    const { store } = this.settings
    return matchError(
      store.load(this.id.key, nowOf(this.call)),
      (error) => this.fail(SessionError.fromStore(error)),
      (stored) => stored._tag === "None" ? this.vanished() : this.attempt(() => this.resolve(stored.value, isLast))
    )
  }

  /** No record is there. A removal whose reply was lost has come to its end, too. */
  private vanished(): Result<void> {
    const emptied = this.unanswered?.emptied
    return emptied === undefined ? this.ended(false) : this.emptied(emptied)
  }

  private resolve(stored: Stored, isLast: boolean): Result<void> {
    const { format } = this.settings
    const fate = format.fateOf(stored, this.token, this.unanswered?.base ?? this.base!)
    if (fate === "done") {
      return this.foundDone(stored)
    }
    if (this.unanswered !== undefined && fate === "unknown") {
      return this.fail(SessionError.conflict("Conflict"))
    }
    if (this.unanswered !== undefined && stored.version !== this.unanswered.base.stored.version) {
      this.unanswered = undefined // its condition cannot hold any more
      this.report({ _tag: "Uncertain", error: undefined })
    }
    if (isLast) {
      return this.fail(SessionError.conflict("Conflict"))
    }
    const reading = format.read(stored, this.id, nowOf(this.call))
    if (reading._tag !== "Current") {
      return this.ended(reading._tag !== "Missing")
    }
    this.rebase(reading.snapshot)
    return this.replace()
  }

  /** The write was done and its reply lost. Others may have written since. */
  private foundDone(stored: Stored): Result<void> {
    const id = this.nextId!
    this.settings.shared?.commits.handOver(id.key, stored)
    const snapshot = this.readIfCurrent(stored, id)
    this.report(
      snapshot === undefined
        ? { _tag: "Ended", replacedByLogin: true, done: true }
        : { _tag: "Stored", id, snapshot, pending: this.pending! }
    )
    return Effect.void
  }

  // -------------------------------------------------------------------------
  // steps
  // -------------------------------------------------------------------------

  private get id(): SessionId {
    return this.beginning.current!.id
  }

  private isOverTime(): boolean {
    return nowOf(this.call) - this.startedAt > maxMillis
  }

  private rebase(snapshot: Snapshot<A>): void {
    this.base = snapshot
    this.pending = undefined
  }

  private replayed(start: Start<A>): Pending<A> {
    return this.pending ??= replay(this.settings.payload, start, this.beginning.batch)
  }

  private encode(id: SessionId, pending: Pending<A>, previous: Snapshot<A> | undefined): Unsaved<A> | undefined {
    return this.settings.format.write({ id, pending, previous, token: this.token, now: nowOf(this.call) })
  }

  /** The snapshot of a record that the id opens. Undefined when it does not, or when the record cannot be read. */
  private readIfCurrent(stored: Stored, id: SessionId = this.id): Snapshot<A> | undefined {
    try {
      const reading = this.settings.format.read(stored, id, nowOf(this.call))
      return reading._tag === "Current" ? reading.snapshot : undefined
    } catch {
      return undefined
    }
  }

  private attempt(body: () => Result<void>): Result<void> {
    try {
      return body()
    } catch (error) {
      if (SessionError.isInstance(error)) {
        return this.fail(error)
      }
      throw error
    }
  }

  // -------------------------------------------------------------------------
  // outcomes
  // -------------------------------------------------------------------------

  private stored(id: SessionId, unsaved: Unsaved<A>, version: Version, pending: Pending<A>): Result<void> {
    const snapshot = saved(unsaved, version)
    this.settings.shared?.commits.handOver(id.key, snapshot.stored)
    this.report({ _tag: "Stored", id, snapshot, pending })
    return Effect.void
  }

  private emptied(pending: Pending<A>): Result<void> {
    this.settings.shared?.commits?.handOver(this.id.key, undefined)
    this.report({ _tag: "Emptied", pending })
    return Effect.void
  }

  private ended(replacedByLogin: boolean): Result<void> {
    this.report({ _tag: "Ended", replacedByLogin, done: false })
    return Effect.fail(SessionError.conflict("Gone"))
  }

  /** While a write without an answer may still be applied, the outcome is unknown whatever else has failed. */
  private fail(error: SessionError.SessionError): Result<never> {
    if (this.isQueued) {
      // A commit that has waited for longer than it may take then fails without another load.
      this.settings.shared?.commits.handOver(this.id.key, undefined)
    }
    this.report({ _tag: "Failed" })
    return this.unanswered === undefined
      ? failReported(this.settings, this.beginning.current?.id, error)
      : Effect.fail(SessionError.unknown(this.unanswered.error))
  }
}

/** Full jitter, up to 2, 4, … 128 milliseconds. */
const jitter = (retries: number): Effect.Effect<void> =>
  Effect.flatMap(Random.next, (random) => Effect.sleep(random * 2 ** Math.min(retries - 1, 7)))
