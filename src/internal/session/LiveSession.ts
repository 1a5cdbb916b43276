/**
 * The session of a request that has used it: its state, and the changes that
 * the request has recorded. `docs/design.md` draws the states.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Snapshot, Start } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import * as SessionError from "../../SessionError.js"
import { RequestMutex } from "../RequestMutex.js"
import { andThen, matchCause } from "../steps.js"
import { type Batch, type Change, Changes } from "./Changes.js"
import * as Commit from "./Commit.js"
import { isTouchDue } from "./deadlines.js"
import { type Found, moveDeadline, withDeadline } from "./Lookup.js"
import * as Removal from "./Removal.js"
import type { ResponseCookie } from "./ResponseCookie.js"
import { type Call, loadSnapshot, nowOf, type Result, type Settings } from "./Settings.js"

/**
 * - `New`: there is no record. A write creates one.
 * - `Current`: the id opens the record in `snapshot`.
 * - `Retired`: a login has replaced the id. Writes fail with `Gone`, unless the request regenerates.
 * - `Gone`: the session ended during the request. Writes fail with `Gone`.
 */
type State<A> =
  | { readonly _tag: "New" }
  | { readonly _tag: "Current" } & Current<A>
  | { readonly _tag: "Retired" }
  | { readonly _tag: "Gone"; readonly replacedByLogin: boolean }

/** An id and the record that it opens. */
export interface Current<A> {
  readonly id: SessionId
  readonly snapshot: Snapshot<A>
}

type Outcome<A> = Commit.Outcome<A> | Removal.Outcome

export class LiveSession<A> {
  /** Whether there was no session at the first use, or none is left. */
  startedNew: boolean
  private state: State<A>
  /** A write has no answer and may still be applied. */
  private unknownOutcome: SessionError.SessionError | undefined
  private readonly changes: Changes<A>
  private readonly mutex = new RequestMutex()

  constructor(
    private readonly settings: Settings<A>,
    private readonly cookie: ResponseCookie<A>,
    found: Found<A>
  ) {
    this.state = found
    this.startedNew = found._tag !== "Current"
    this.changes = new Changes(settings.payload, this.startOf(found))
    if (found._tag === "Current" && found.moved && found.snapshot.persistent) {
      cookie.set(found.id, found.snapshot)
    }
  }

  /** The id and the record, when there is one. */
  get current(): Current<A> | undefined {
    return this.state._tag === "Current" ? this.state : undefined
  }

  // -------------------------------------------------------------------------
  // members of the handle
  // -------------------------------------------------------------------------

  /** The value with the changes of this request. The read is recorded. */
  read(key: PropertyKey | undefined): A {
    return this.changes.read(key)
  }

  /** Records a change. Once the response is on its way, writes it through instead. */
  add(call: Call, change: Change<A>): Result<void> {
    if (this.unknownOutcome !== undefined && !this.mutex.isHeld) {
      return Effect.fail(this.unknownOutcome)
    }
    if (this.cookie.isHeadSent) {
      return this.exclusively(call, () => this.commit(call, { change }))
    }
    this.changes.add(change)
    return Effect.void
  }

  clear(call: Call): Result<void> {
    if (this.state._tag !== "New") {
      return this.add(call, { _tag: "Clear", initial: this.settings.payload.initial() })
    }
    // a session that was never stored goes back to where it started, so that nothing is stored
    return this.changes.hasWrites ? this.add(call, { _tag: "Clear", initial: this.changes.start.value }) : Effect.void
  }

  regenerate(call: Call): Result<void> {
    if (this.state._tag === "New") {
      return Effect.void
    }
    return this.cookie.isHeadSent
      ? Effect.fail(SessionError.failure("HeadersSent"))
      : this.add(call, { _tag: "Regenerate" })
  }

  transact<B>(call: Call, f: (value: A) => readonly [B, A]): Result<B> {
    return this.exclusively(call, () => {
      const present = this.changes.value
      let [result, value] = f(present)
      if (value === present && !this.changes.hasWrites) {
        return Effect.succeed(result)
      }
      const replayed = (fresh: A): A => {
        ;[result, value] = f(fresh)
        return value
      }
      const committed = this.commit(call, { change: { _tag: "Update", f: replayed }, value })
      return andThen(committed, () => Effect.succeed(result))
    })
  }

  save(call: Call): Result<void> {
    return this.exclusively(call, () => this.commit(call))
  }

  destroy(call: Call): Result<void> {
    return this.exclusively(call, () => {
      const { state } = this
      if (state._tag === "Current") {
        const removal = new Removal.Removal(this.settings, call, state.id, (outcome) => this.apply(outcome))
        return removal.run(state.snapshot)
      }
      // The user would believe to be signed out, and the session would live on under its new id.
      if (state._tag === "Retired" || (state._tag === "Gone" && state.replacedByLogin)) {
        return Effect.fail(SessionError.conflict("Gone"))
      }
      this.apply({ _tag: "Removed" }) // there is no record to remove
      return Effect.void
    })
  }

  /** Drops what was recorded and loads again. */
  reload(call: Call): Result<void> {
    return this.exclusively(call, () => {
      this.changes.reset(this.startOf(this.state))
      if (this.state._tag !== "Current") {
        return Effect.void
      }
      const { id } = this.state
      return andThen(loadSnapshot(this.settings, id, call), (reading) => {
        if (reading._tag !== "Current") {
          const { unknownOutcome } = this
          this.apply({ _tag: "Ended", replacedByLogin: reading._tag !== "Missing", done: false })
          this.unknownOutcome = unknownOutcome // a missing record does not settle an earlier write
          return Effect.void
        }
        this.state = { _tag: "Current", id, snapshot: reading.snapshot }
        this.unknownOutcome = undefined
        this.changes.rebase(reading.snapshot) // another fiber may have recorded something meanwhile
        return Effect.void
      })
    })
  }

  // -------------------------------------------------------------------------
  // the end of the request
  // -------------------------------------------------------------------------

  /** Whether the end of the request needs the store, or has to wait for another fiber that uses it. */
  hasWork(call: Call): boolean {
    return this.mutex.isHeld || this.hasWrites || this.cookie.sendsPresented || this.isTouchDue(call)
  }

  get hasWrites(): boolean {
    return this.changes.hasWrites
  }

  dropWrites(): void {
    this.changes.dropWrites()
  }

  /** Runs `body` with the mutex. A store that answers at once needs none: no other fiber comes between. */
  exclusively<B>(call: Call, body: () => Result<B>): Result<B> {
    return this.settings.shared === undefined ? body() : this.mutex.run(call.interruptible, body)
  }

  isTouchDue(call: Call): boolean {
    return this.state._tag === "Current" && isTouchDue(this.settings.format, this.state.snapshot, nowOf(call))
  }

  /** Moves the deadline. The caller has the mutex. */
  touch(call: Call): Effect.Effect<void> {
    if (this.state._tag !== "Current") {
      return Effect.void
    }
    const { id, snapshot } = this.state
    const expiresAt = this.settings.format.deadlineAt(snapshot, nowOf(call))
    return andThen(moveDeadline(this.settings, call, id, snapshot, expiresAt), (moved) => {
      if (moved !== true) {
        this.cookie.keepPresented()
        return Effect.void
      }
      const touched = withDeadline(snapshot, expiresAt)
      this.state = { _tag: "Current", id, snapshot: touched }
      if (snapshot.persistent) {
        this.cookie.set(id, touched)
      }
      return Effect.void
    })
  }

  /**
   * An earlier commit has set the cookie to the presented id. If another
   * request has ended that id since, the browser may have its successor, and
   * this response must not overwrite it. The caller has the mutex.
   */
  verifyCookie(call: Call): Effect.Effect<void> {
    if (this.state._tag !== "Current") {
      return Effect.void
    }
    const { id } = this.state
    return matchCause(
      loadSnapshot(this.settings, id, call),
      () => Effect.sync(() => this.cookie.keepPresented()),
      (reading) => {
        if (reading._tag === "Current") {
          this.cookie.set(id, reading.snapshot)
        } else {
          this.cookie.keepPresented()
        }
        return Effect.void
      }
    )
  }

  // -------------------------------------------------------------------------
  // commits and outcomes
  // -------------------------------------------------------------------------

  /** Commits what was recorded, and `extra` after it. The caller has the mutex. */
  commit(call: Call, extra?: { readonly change: Change<A>; readonly value?: A }): Result<void> {
    const batch = this.changes.take(extra)
    if (!batch.hasWrites) {
      return Effect.void
    }
    if (this.unknownOutcome !== undefined) {
      return Effect.fail(this.unknownOutcome)
    }
    const { state } = this
    if (state._tag === "Gone" || (state._tag === "Retired" && !batch.regenerates)) {
      return Effect.fail(SessionError.conflict("Gone"))
    }
    const beginning: Commit.Beginning<A> = {
      current: state._tag === "Current" ? state : undefined,
      initial: this.changes.start,
      batch,
      canSetCookie: !this.cookie.isHeadSent
    }
    return new Commit.Commit(this.settings, call, beginning, (outcome) => this.apply(outcome, batch)).run()
  }

  /** What commits and removals change, and what the cookie becomes by that. */
  private apply(outcome: Outcome<A>, batch?: Batch<A>): void {
    switch (outcome._tag) {
      case "Stored": {
        const { id, pending, snapshot } = outcome
        if (this.announces(id, snapshot)) {
          this.cookie.set(id, snapshot)
        }
        this.state = { _tag: "Current", id, snapshot }
        this.unknownOutcome = undefined
        return this.changes.committed(batch!, pending, snapshot)
      }
      case "Unchanged": {
        if (outcome.snapshot !== undefined && this.state._tag === "Current") {
          this.state = { ...this.state, snapshot: outcome.snapshot }
        }
        this.unknownOutcome = undefined
        return this.changes.committed(batch!, outcome.pending, this.startOf(this.state))
      }
      case "Emptied":
        this.cookie.clear()
        this.state = { _tag: "New" }
        this.unknownOutcome = undefined
        return this.changes.committed(batch!, outcome.pending, this.startOf(this.state))
      case "Ended":
        this.state = { _tag: "Gone", replacedByLogin: outcome.replacedByLogin }
        this.cookie.keep() // the browser may have a newer id
        this.unknownOutcome = undefined
        return this.changes.endWith(outcome.done ? batch!.count : 0, this.startOf(this.state))
      case "Uncertain":
        this.unknownOutcome = outcome.error
        return
      case "Failed":
        return this.cookie.keepPresented()
      case "Removed":
        this.cookie.clear()
        this.state = { _tag: "New" }
        this.startedNew = true
        this.unknownOutcome = undefined
        return this.changes.reset(this.startOf(this.state))
    }
  }

  /** Whether a stored record gives the browser something new: an id, or another lifetime of the cookie. */
  private announces(id: SessionId, { persistent, stored }: Snapshot<A>): boolean {
    const previous = this.state
    return previous._tag !== "Current" || id !== previous.id || persistent !== previous.snapshot.persistent ||
      (persistent && stored.expiresAt !== previous.snapshot.stored.expiresAt)
  }

  private startOf(state: State<A>): Start<A> {
    return state._tag === "Current" ? state.snapshot : { value: this.settings.payload.initial(), source: undefined }
  }
}
