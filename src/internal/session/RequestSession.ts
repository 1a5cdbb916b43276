/**
 * One request's session: what the request saw, what it recorded, and how that
 * is committed. `docs/design.md` draws the states.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Snapshot, Start } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import type { CookieChange } from "../../SessionCookie.js"
import * as SessionError from "../../SessionError.js"
import type { Version } from "../../SessionStore.js"
import { type CurrentFiber, withCurrentFiber } from "../fiber.js"
import { RequestMutex } from "../RequestMutex.js"
import { andThen, matchCause } from "../steps.js"
import { type Batch, type Change, Changes } from "./Changes.js"
import * as Commit from "./Commit.js"
import { isTouchDue, keepAliveAt } from "./deadlines.js"
import { FirstLoad } from "./FirstLoad.js"
import { type Found, lookUp, moveDeadline, withDeadline } from "./Lookup.js"
import * as Removal from "./Removal.js"
import { type Call, callOf, loadSnapshot, nowOf, type Result, type Settings } from "./Settings.js"

const keep: CookieChange = { _tag: "Keep" }
const clear: CookieChange = { _tag: "Clear" }

/**
 * - `Unloaded`: the request has not used the session.
 * - `New`: there is no record. A write creates one.
 * - `Current`: the id opens the record in `snapshot`.
 * - `Retired`: a login has replaced the id. Writes fail with `Gone`, unless the request regenerates.
 * - `Gone`: the session ended during the request. Writes fail with `Gone`.
 */
type State<A> =
  | { readonly _tag: "Unloaded"; readonly load: FirstLoad | undefined }
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

/**
 * The engine behind a handle. The HTTP layer calls `isUsed`, `finish`,
 * `discard` and `cookie`; handlers see the handle only.
 */
export class RequestSession<A> {
  isUsed = false
  cookie: CookieChange = keep

  private state: State<A> = { _tag: "Unloaded", load: undefined }
  private changes!: Changes<A> // set by the load, which comes before any other use
  /** Whether there was no session at the first use, or none is left. */
  startedNew = true
  /** Whether the response is on its way: changes are then written through, and no cookie can be set. */
  private headIsSent = false
  private isFinished = false
  /** The failure of `finish`, for every later call. */
  private finishFailure: Result<never> | undefined
  /** A write has no answer and may still be applied. */
  private unknownOutcome: SessionError.SessionError | undefined
  private readonly mutex = new RequestMutex()

  constructor(
    private readonly settings: Settings<A>,
    /** The values of the cookies that came under the session's name. */
    private readonly presented: ReadonlyArray<string>
  ) {}

  // -------------------------------------------------------------------------
  // uses
  // -------------------------------------------------------------------------

  /** Runs `body` once the session is loaded: the first use looks it up. */
  use<B>(body: (call: Call) => Result<B>): Result<B> {
    return withCurrentFiber((fiber) => this.useWith(callOf(fiber), body))
  }

  /** The id and the record, when there is one. */
  get current(): Current<A> | undefined {
    return this.state._tag === "Current" ? this.state : undefined
  }

  /** The value with the changes of this request. The read is recorded. */
  read(key: PropertyKey | undefined): A {
    return this.changes.read(key)
  }

  /** Records a change. Once the response is on its way, writes it through instead. */
  add(call: Call, change: Change<A>): Result<void> {
    if (this.unknownOutcome !== undefined && !this.mutex.isHeld) {
      return Effect.fail(this.unknownOutcome)
    }
    if (this.headIsSent) {
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
    return this.headIsSent
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

  /** Drops what was recorded and loads again. Before the first use there is nothing to drop. */
  get reload(): Result<void> {
    return withCurrentFiber((fiber) => {
      const call = callOf(fiber)
      return this.isLoaded
        ? this.exclusively(call, () => this.loadAgain(call))
        : this.useWith(call, () => Effect.void)
    })
  }

  // -------------------------------------------------------------------------
  // the end of the request
  // -------------------------------------------------------------------------

  /**
   * Commits what was recorded, or moves the deadline when that is due. From
   * then on the response is on its way: changes are written through. Does its
   * work once; a later call repeats its failure.
   */
  get finish(): Result<void> {
    return withCurrentFiber((fiber) => this.finishIn(fiber))
  }

  /** `finish`, in the fiber that runs. */
  finishIn(fiber: CurrentFiber): Result<void> {
    if (this.isFinished) {
      return this.finishFailure ?? Effect.void
    }
    if (!this.isLoaded) {
      this.endRequest()
      return Effect.void
    }
    const call = callOf(fiber)
    const hasWork = this.mutex.isHeld || this.changes.hasWrites || this.sendsPresented || this.isTouchDue(call)
    if (!hasWork) {
      this.endRequest()
      return Effect.void
    }
    return this.exclusively(call, () => this.finishNow(call, this.snapshot?.stored.version))
  }

  /** `before` is the record's version before `finish` has written anything. */
  private finishNow(call: Call, before: Version | undefined): Result<void> {
    if (this.isFinished) {
      return this.finishFailure ?? Effect.void // another call of `finish` came first
    }
    if (this.changes.hasWrites) {
      return matchCause(
        this.commit(call),
        (cause) => {
          this.discard()
          return this.finishFailure = Effect.failCause(cause)
        },
        () => this.finishNow(call, before) // a forked fiber may have recorded something meanwhile
      )
    }
    this.endRequest()
    if (this.isTouchDue(call)) {
      return this.touch(call)
    }
    // The record that `finish` has just written is known to be current.
    return this.sendsPresented && this.snapshot?.stored.version === before ? this.verifyCookie(call) : Effect.void
  }

  /** Forgets what was recorded: the handler died or was interrupted, or its commit failed. */
  discard(): void {
    this.endRequest()
    this.keepPresented()
    if (this.isLoaded) {
      this.changes.dropWrites()
    }
  }

  /** The response head is on its way: no cookie can be set any more. */
  sendHead(): void {
    this.headIsSent = true
  }

  private endRequest(): void {
    this.isFinished = true
    this.headIsSent = true
    this.settings.keepAlive.delete(this)
  }

  /**
   * An earlier commit has announced the presented id. If another request has
   * ended it since, the browser may have its successor, and this response must
   * not overwrite it.
   */
  private verifyCookie(call: Call): Effect.Effect<void> {
    if (this.state._tag !== "Current") {
      return Effect.void
    }
    const { id } = this.state
    return matchCause(
      loadSnapshot(this.settings, id, call),
      () => {
        this.keepPresented()
        return Effect.void
      },
      (reading) => {
        if (reading._tag === "Current") {
          this.setCookie(id, reading.snapshot)
        } else {
          this.keepPresented()
        }
        return Effect.void
      }
    )
  }

  // -------------------------------------------------------------------------
  // loading
  // -------------------------------------------------------------------------

  private get isLoaded(): boolean {
    return this.state._tag !== "Unloaded"
  }

  private useWith<B>(call: Call, body: (call: Call) => Result<B>): Result<B> {
    if (this.state._tag !== "Unloaded") {
      return body(call)
    }
    this.isUsed = true
    const { load } = this.state
    return load?.blocks(call.fiber)
      ? Effect.flatMap(load.ended, () => this.useWith(call, body))
      : this.load(call, body)
  }

  /** Runs `body` with the request's mutex. A store that answers at once needs none: no other fiber comes between. */
  private exclusively<B>(call: Call, body: () => Result<B>): Result<B> {
    return this.settings.shared === undefined ? body() : this.mutex.run(call.interruptible, body)
  }

  /** Looks up the session, and continues with `body` at once. */
  private load<B>(call: Call, body: (call: Call) => Result<B>): Result<B> {
    const load = new FirstLoad(call.fiber)
    this.state = { _tag: "Unloaded", load }
    return matchCause(
      lookUp(this.settings, call, this.presented, load),
      (cause) => {
        load.end()
        this.state = { _tag: "Unloaded", load: undefined } // the next use loads again
        return Effect.failCause(cause)
      },
      (found) => {
        load.end()
        this.start(found)
        this.startKeepAlive(call)
        return body(call)
      }
    )
  }

  private start(found: Found<A>): void {
    this.state = found
    this.startedNew = found._tag !== "Current"
    this.changes = new Changes(this.settings.payload, this.startOf(found))
    if (found._tag === "Current" && found.moved && found.snapshot.persistent) {
      this.setCookie(found.id, found.snapshot)
    }
  }

  private startOf(state: State<A>): Start<A> {
    return state._tag === "Current" ? state.snapshot : { value: this.settings.payload.initial(), source: undefined }
  }

  private loadAgain(call: Call): Result<void> {
    this.changes.reset(this.startOf(this.state))
    if (this.state._tag !== "Current") {
      return Effect.void
    }
    const { id } = this.state
    return andThen(loadSnapshot(this.settings, id, call), (reading) => {
      if (reading._tag !== "Current") {
        const { unknownOutcome } = this
        this.apply({ _tag: "Ended", replacedByLogin: reading._tag !== "Missing", done: false })
        this.unknownOutcome = unknownOutcome // a missing record tells nothing of an earlier write
        return Effect.void
      }
      this.state = { _tag: "Current", id, snapshot: reading.snapshot }
      this.unknownOutcome = undefined
      this.changes.rebase(reading.snapshot) // another fiber may have recorded something meanwhile
      return Effect.void
    })
  }

  // -------------------------------------------------------------------------
  // changes
  // -------------------------------------------------------------------------

  /** Commits what was recorded, and `extra` after it. The caller has the mutex. */
  private commit(call: Call, extra?: { readonly change: Change<A>; readonly value?: A }): Result<void> {
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
      canSetCookie: !this.headIsSent
    }
    return new Commit.Commit(this.settings, call, beginning, (outcome) => this.apply(outcome, batch)).run()
  }

  // -------------------------------------------------------------------------
  // outcomes
  // -------------------------------------------------------------------------

  /** Every change of state, and every rule about the cookie. */
  private apply(outcome: Outcome<A>, batch?: Batch<A>): void {
    switch (outcome._tag) {
      case "Stored": {
        const { id, pending, snapshot } = outcome
        if (this.announces(id, snapshot)) {
          this.setCookie(id, snapshot)
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
      case "Ended":
        this.state = { _tag: "Gone", replacedByLogin: outcome.replacedByLogin }
        this.cookie = keep // the browser may have a newer id
        this.unknownOutcome = undefined
        return this.changes.endWith(outcome.done ? batch!.count : 0, this.startOf(this.state))
      case "Uncertain":
        this.unknownOutcome = outcome.error
        return
      case "Failed":
        return this.keepPresented()
      case "Removed":
        if (this.presented.length > 0 || this.cookie._tag === "Set") {
          this.cookie = clear
        }
        this.unknownOutcome = undefined
        return this.start({ _tag: "New" })
    }
  }

  private announces(id: SessionId, { persistent, stored }: Snapshot<A>): boolean {
    const previous = this.state
    return previous._tag !== "Current" || id !== previous.id || persistent !== previous.snapshot.persistent ||
      (persistent && stored.expiresAt !== previous.snapshot.stored.expiresAt)
  }

  private setCookie(id: SessionId, { persistent, stored }: Snapshot<A>): void {
    this.cookie = {
      _tag: "Set",
      value: Redacted.make(this.settings.format.print(id)),
      expiresAt: persistent ? Option.some(stored.expiresAt) : Option.none()
    }
  }

  /** Whether the response would send an id that the request came with. */
  private get sendsPresented(): boolean {
    return this.cookie._tag === "Set" && this.presented.includes(Redacted.value(this.cookie.value))
  }

  /** After a failed commit or a stale touch the presented id may have ended. Sending it again could replace a newer one. */
  private keepPresented(): void {
    if (this.sendsPresented) {
      this.cookie = keep
    }
  }

  private get snapshot(): Snapshot<A> | undefined {
    return this.state._tag === "Current" ? this.state.snapshot : undefined
  }

  // -------------------------------------------------------------------------
  // deadlines
  // -------------------------------------------------------------------------

  private isTouchDue(call: Call): boolean {
    return this.state._tag === "Current" && isTouchDue(this.settings.format, this.state.snapshot, nowOf(call))
  }

  private startKeepAlive(call: Call): void {
    if (this.state._tag === "Current" && !this.isFinished) {
      const until = this.settings.format.deadlineAt(this.state.snapshot, nowOf(call))
      this.settings.keepAlive.add(this, until, call.clock)
    }
  }

  /** When the deadline has to move for the session to be alive until then. */
  keepAliveAt(until: number): number | undefined {
    const { snapshot } = this
    return this.isFinished || snapshot === undefined || snapshot.stored.expiresAt >= until
      ? undefined
      : keepAliveAt(this.settings.format, snapshot)
  }

  /** Moves the deadline while the request runs. */
  get keepAlive(): Effect.Effect<void> {
    return Effect.ignore(withCurrentFiber((fiber) => {
      const call = callOf(fiber)
      return this.exclusively(call, () => this.isFinished ? Effect.void : this.touch(call))
    }))
  }

  /** Moves the deadline of the session in use. */
  private touch(call: Call): Effect.Effect<void> {
    if (this.state._tag !== "Current") {
      return Effect.void
    }
    const { id, snapshot } = this.state
    const expiresAt = this.settings.format.deadlineAt(snapshot, nowOf(call))
    return andThen(moveDeadline(this.settings, call, id, snapshot, expiresAt), (moved) => {
      if (moved !== true) {
        this.keepPresented()
        return Effect.void
      }
      const touched = withDeadline(snapshot, expiresAt)
      this.state = { _tag: "Current", id, snapshot: touched }
      if (snapshot.persistent) {
        this.setCookie(id, touched)
      }
      return Effect.void
    })
  }
}
