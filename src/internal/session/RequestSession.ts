/**
 * One request's session, from its first use to the end of the request.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { CookieChange } from "../../SessionCookie.js"
import type { Version } from "../../SessionStore.js"
import { type CurrentFiber, withCurrentFiber } from "../fiber.js"
import { matchCause } from "../steps.js"
import { keepAliveAt } from "./deadlines.js"
import { FirstLoad } from "./FirstLoad.js"
import type { Registration } from "./KeepAlive.js"
import { LiveSession } from "./LiveSession.js"
import { lookUp } from "./Lookup.js"
import { ResponseCookie } from "./ResponseCookie.js"
import { type Call, callOf, nowOf, type Result, type Settings } from "./Settings.js"

/**
 * Loads the session at its first use, and ends the request once. The HTTP
 * layer calls `isUsed`, `finish`, `discard` and `cookieChange`. Handlers see
 * the handle only.
 */
export class RequestSession<A> {
  isUsed = false
  /** The load in flight, or the session once it is loaded. */
  private state: FirstLoad | LiveSession<A> | undefined
  private isFinished = false
  /** The failure of `finish`, for every later call. */
  private finishFailure: Result<never> | undefined
  /** While the request runs, its deadline is watched. */
  private registration: Registration | undefined
  private readonly cookie: ResponseCookie<A>

  constructor(
    private readonly settings: Settings<A>,
    /** The values of the cookies that came under the session's name. */
    private readonly presented: ReadonlyArray<string>
  ) {
    this.cookie = new ResponseCookie(settings.format, presented)
  }

  /** What the response does with the cookie. */
  get cookieChange(): CookieChange {
    return this.cookie.change
  }

  // -------------------------------------------------------------------------
  // uses
  // -------------------------------------------------------------------------

  /** Runs `body` once the session is loaded: the first use looks it up. */
  use<B>(body: (session: LiveSession<A>, call: Call) => Result<B>): Result<B> {
    return withCurrentFiber((fiber) => this.useWith(callOf(fiber), body))
  }

  /** Drops what was recorded and loads again. The first use has nothing to drop. */
  get reload(): Result<void> {
    return withCurrentFiber((fiber) => {
      const call = callOf(fiber)
      const session = this.loaded
      return session === undefined ? this.useWith(call, () => Effect.void) : session.reload(call)
    })
  }

  private get loaded(): LiveSession<A> | undefined {
    return this.state instanceof LiveSession ? this.state : undefined
  }

  private useWith<B>(call: Call, body: (session: LiveSession<A>, call: Call) => Result<B>): Result<B> {
    const { state } = this
    if (state instanceof LiveSession) {
      return body(state, call)
    }
    this.isUsed = true
    return state?.blocks(call.fiber) === true
      ? Effect.flatMap(state.ended, () => this.useWith(call, body))
      : this.load(call, body)
  }

  /** Looks up the session, and continues with `body` at once. */
  private load<B>(call: Call, body: (session: LiveSession<A>, call: Call) => Result<B>): Result<B> {
    const load = new FirstLoad(call.fiber)
    this.state = load
    return matchCause(
      lookUp(this.settings, call, this.presented, load),
      (cause) => {
        load.end()
        this.state = undefined // the next use loads again
        return Effect.failCause(cause)
      },
      (found) => {
        load.end()
        const session = new LiveSession(this.settings, this.cookie, found)
        this.state = session
        this.startKeepAlive(session, call)
        return body(session, call)
      }
    )
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
    const session = this.loaded
    const call = callOf(fiber)
    if (session === undefined || !session.hasWork(call)) {
      this.endRequest()
      return Effect.void
    }
    return session.exclusively(call, () => this.finishNow(session, call, session.current?.snapshot.stored.version))
  }

  /** `before` is the record's version before `finish` has written anything. */
  private finishNow(session: LiveSession<A>, call: Call, before: Version | undefined): Result<void> {
    if (this.isFinished) {
      return this.finishFailure ?? Effect.void // another call of `finish` came first
    }
    if (session.hasWrites) {
      return matchCause(
        session.commit(call),
        (cause) => {
          this.discard()
          return this.finishFailure = Effect.failCause(cause)
        },
        () => this.finishNow(session, call, before) // a forked fiber may have recorded something meanwhile
      )
    }
    this.endRequest()
    if (session.isTouchDue(call)) {
      return session.touch(call)
    }
    // The record that `finish` has just written is known to be current.
    return this.cookie.sendsPresented && session.current?.snapshot.stored.version === before
      ? session.verifyCookie(call)
      : Effect.void
  }

  /** Forgets what was recorded: the handler died or was interrupted, or its commit failed. */
  discard(): void {
    this.endRequest()
    this.cookie.keepPresented()
    this.loaded?.dropWrites()
  }

  /** The response head is on its way: no cookie can be set, and changes are written through. */
  sendHead(): void {
    this.cookie.isHeadSent = true
  }

  private endRequest(): void {
    this.isFinished = true
    this.sendHead()
    if (this.registration !== undefined) {
      this.settings.keepAlive.delete(this.registration)
    }
  }

  // -------------------------------------------------------------------------
  // while the request runs
  // -------------------------------------------------------------------------

  private startKeepAlive(session: LiveSession<A>, call: Call): void {
    if (session.current !== undefined && !this.isFinished) {
      const until = this.settings.format.deadlineAt(session.current.snapshot, nowOf(call))
      this.registration = this.settings.keepAlive.add(this, until, call.clock)
    }
  }

  /** When the deadline has to move for the session to be alive until then. */
  keepAliveAt(until: number): number | undefined {
    const snapshot = this.loaded?.current?.snapshot
    return this.isFinished || snapshot === undefined || snapshot.stored.expiresAt >= until
      ? undefined
      : keepAliveAt(this.settings.format, snapshot)
  }

  /** Moves the deadline while the request runs. */
  get keepAlive(): Effect.Effect<void> {
    return Effect.ignore(
      this.use((session, call) => session.exclusively(call, () => this.isFinished ? Effect.void : session.touch(call)))
    )
  }
}
