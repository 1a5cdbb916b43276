/**
 * One request's session: what it saw, what it recorded, and how that is
 * committed. `docs/design.md` draws the states and the commit.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import { equalBytes, randomBytes } from "../internal/crypto.js"
import { type KeyedTurns, Turn } from "../internal/turns.js"
import type { SessionFormat, SessionId, SessionRecord } from "../schema/SessionFormat.js"
import { ringSizes } from "../schema/SessionFormat.js"
import * as SessionError from "../SessionError.js"
import type { SessionStore, SessionStoreError, Stored } from "../SessionStore.js"
import * as Log from "./Log.js"
import { type Extras, ownField, type Payload } from "./Payload.js"
import * as Verdict from "./Verdict.js"

type Failure = SessionError.SessionError
type Result<A> = Effect.Effect<A, Failure>

/** What every request of one session tag shares. Times in milliseconds. */
export interface Settings<A> {
  readonly store: Context.Tag.Service<SessionStore>
  readonly format: SessionFormat
  readonly payload: Payload<A>
  readonly idleTimeout: number
  readonly absoluteTimeout: number
  readonly persistent: boolean
  readonly onCorrupt: "anonymous" | "fail"
  /** The line of commits that went stale, by key; each leaves what it has stored to the next. */
  readonly turns: KeyedTurns<Stored>
}

/** What the response has to do about the cookie. */
export type CookieChange =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Clear" }
  | {
    readonly _tag: "Set"
    readonly value: Redacted.Redacted<string>
    /** Milliseconds since the epoch; none for a cookie that ends with the browser. */
    readonly expiresAt: Option.Option<number>
  }

const keep: CookieChange = { _tag: "Keep" }
const clear: CookieChange = { _tag: "Clear" }

/**
 * - `new`: there is no record; a write creates one.
 * - `current`: the id opens the record in `base`.
 * - `ended`: the id was retired; writes are `Gone`, unless the request regenerates.
 * - `gone`: the session vanished under the request; writes are `Gone`.
 */
type Status = "new" | "current" | "ended" | "gone"

/** A value and what the store held for it. */
interface Base<A> {
  readonly stored: Stored
  readonly record: SessionRecord
  readonly value: A
  readonly extras: Extras
}

/** One commit on its way, through all its attempts. */
interface Work<A> {
  readonly entries: ReadonlyArray<Log.Entry<A>>
  /** How many of the log's entries are in it. */
  readonly taken: number
  /** Names this commit in the record, to be recognised when a reply was lost. */
  readonly token: Uint8Array
  readonly startedAt: number
  /** What the next attempt replaces. The handle keeps its own until the commit is done. */
  base: Base<A> | undefined
  draft: Log.Draft<A> | undefined
  nextId: SessionId | undefined
  queued: boolean
  retries: number
  /** No attempt is left, but what became of the last one is still to be found out. */
  exhausted: boolean
  inserts: number
  /** A write without an answer that may still be applied to this base. */
  uncertain: { readonly error: SessionStoreError; readonly base: Base<A> } | undefined
}

const maxRetries = 31
const maxMillis = 5000
const maxInserts = 2

/**
 * The engine behind a handle. The HTTP room asks it for `used`, `finish` and
 * `cookie`; handlers only ever see the handle.
 */
export class RequestSession<A> {
  used = false
  cookie: CookieChange = keep

  private loaded = false
  private status: Status = "new"
  private wasNew = true
  private id: SessionId | undefined
  private base: Base<A> | undefined
  /** What the log is folded over: the base, or the initial value. */
  private origin: { readonly value: A; readonly extras: Extras } | undefined
  private draft: Log.Draft<A> | undefined
  /** The log does not fold over the origin: the commit will, and say why. */
  private broken = false
  /** Whether what made the session vanish was another login, not its end. */
  private superseded = false
  private entries: Array<Log.Entry<A>> = []
  private guards: Log.Guards<A> | undefined
  /** Keys read since the draft last changed: reading them again records nothing. */
  private readKeys: Set<PropertyKey | undefined> | undefined
  private spent: Failure | undefined
  private finished = false
  private turn: Turn | undefined

  constructor(
    private readonly settings: Settings<A>,
    private readonly presented: string | undefined
  ) {}

  // -------------------------------------------------------------------------
  // members of the handle
  // -------------------------------------------------------------------------

  get isNew(): Result<boolean> {
    return this.use(() => Effect.succeed(this.wasNew))
  }

  get ref(): Result<Option.Option<string>> {
    return this.use(() => Effect.succeed(this.base === undefined ? Option.none() : Option.some(this.id!.ref)))
  }

  get createdAt(): Result<Option.Option<DateTime.Utc>> {
    return this.use(() => Effect.succeed(timeOf(this.base?.record.createdAt)))
  }

  get expiresAt(): Result<Option.Option<DateTime.Utc>> {
    return this.use(() => Effect.succeed(timeOf(this.base?.stored.expiresAt)))
  }

  get value(): Result<A> {
    return this.use(() => Effect.succeed(this.read(undefined)))
  }

  get(key: PropertyKey): Result<unknown> {
    return this.use(() => Effect.succeed(ownField(this.read(key), key)))
  }

  set(key: PropertyKey, value: unknown): Result<void> {
    return this.use(() => this.record({ _tag: "Set", key, value }))
  }

  update(f: (value: A) => A): Result<void> {
    return this.use(() => {
      const draft = this.draft!
      const value = f(draft.value)
      return value === draft.value ? Effect.void : this.record({ _tag: "Update", f }, value)
    })
  }

  transact<B>(f: (value: A) => readonly [B, A]): Result<B> {
    return this.use(() =>
      this.exclusively(Effect.suspend(() => {
        const draft = this.draft!
        let [result, value] = f(draft.value)
        if (value === draft.value && !this.hasWrites) {
          return Effect.succeed(result)
        }
        const entry: Log.Entry<A> = {
          _tag: "Update",
          f: (fresh) => {
            ;[result, value] = f(fresh)
            return value
          }
        }
        return Effect.map(this.commit(entry, { ...draft, value }), () => result)
      }))
    )
  }

  get clear(): Result<void> {
    return this.use(() => {
      if (this.status !== "new") {
        return this.record({ _tag: "Clear", initial: this.settings.payload.initial() })
      }
      return this.hasWrites ? this.record({ _tag: "Clear", initial: this.origin!.value }) : Effect.void
    })
  }

  setLifetime(lifetime: Log.Lifetime): Result<void> {
    return this.use(() => this.record({ _tag: "SetLifetime", lifetime }))
  }

  get regenerate(): Result<void> {
    return this.use(() => {
      if (this.status === "new") {
        return Effect.void
      }
      // guard: no new id after the head
      return this.finished ? Effect.fail(SessionError.failure("HeadersSent")) : this.record({ _tag: "Regenerate" })
    })
  }

  get save(): Result<void> {
    return this.use(() => this.exclusively(this.commit()))
  }

  get reload(): Result<void> {
    return Effect.suspend(() => this.loaded ? this.exclusively(this.loadAgain) : this.use(() => Effect.void))
  }

  private get loadAgain(): Result<void> {
    return Effect.suspend(() => {
      this.entries = []
      this.forgetReads()
      this.rebase()
      return this.status !== "current"
        ? Effect.void
        : Effect.map(this.find, (found) => {
          if (found._tag !== "Current") {
            return this.vanish(found)
          }
          this.adopt(found.base)
          this.rebase() // another fiber may have recorded something meanwhile
        })
    })
  }

  get destroy(): Result<void> {
    return this.use(() =>
      this.exclusively(Effect.suspend(() => {
        switch (this.status) {
          case "current":
            return this.remove(this.base!, 0, 0)
          // guard: a logout under a retired id is Gone
          case "ended":
            return Effect.fail(SessionError.conflict("Gone"))
          case "gone":
            // guard: a logout that was overtaken is Gone
            return this.superseded ? Effect.fail(SessionError.conflict("Gone")) : this.emptied
          case "new": // what is not there, or not ours, needs no removal
            return this.emptied
        }
      }))
    )
  }

  // -------------------------------------------------------------------------
  // the end of the request
  // -------------------------------------------------------------------------

  /**
   * Commits what was recorded, or moves the deadline when that is due. From
   * then on the response is on its way: changes are written through. Does its
   * work once.
   */
  get finish(): Result<void> {
    return Effect.suspend(() => {
      if (this.finished) {
        return Effect.void
      }
      const idle = this.turn?.isFree !== false && !this.hasWrites
      return idle ? this.touchIfDue : this.exclusively(this.finishNow)
    })
  }

  private get finishNow(): Result<void> {
    return Effect.suspend(() =>
      this.hasWrites
        ? Effect.matchCauseEffect(this.commit(), {
          onFailure: (cause) => {
            this.discard()
            return Effect.failCause(cause)
          },
          onSuccess: () => {
            if (this.hasWrites) {
              return this.finishNow // a forked fiber recorded something meanwhile
            }
            this.finished = true
            return Effect.void
          }
        })
        : this.touchIfDue
    )
  }

  /** Forgets what was recorded: the handler died or was interrupted, or its commit failed. */
  discard(): void {
    this.finished = true
    // guard: what died is not written
    this.entries = this.entries.filter((entry) => !Log.isWrite(entry))
    if (this.loaded) {
      this.rebase()
    }
  }

  // -------------------------------------------------------------------------
  // first use
  // -------------------------------------------------------------------------

  private use<B>(body: () => Result<B>): Result<B> {
    return Effect.suspend(() => {
      this.used = true
      if (this.loaded) {
        return body()
      }
      const id = this.presented === undefined ? Option.none() : this.settings.format.parse(this.presented)
      if (id._tag === "None") {
        this.begin()
        return body()
      }
      return Effect.flatMap(this.exclusively(this.load(id.value)), body)
    })
  }

  /** One fiber of the request at a time. */
  private exclusively<B>(effect: Result<B>): Result<B> {
    this.turn ??= new Turn()
    return this.turn.run(effect)
  }

  private load(id: SessionId): Result<void> {
    return Effect.suspend(() => {
      if (this.loaded) {
        return Effect.void
      }
      this.id = id
      return Effect.matchEffect(this.settings.store.load(id.key), {
        onFailure: (error) => this.cannotLoad(id, SessionError.fromStore(error)),
        onSuccess: (stored) =>
          Effect.clockWith((clock) => {
            const found = this.judge(stored, clock.unsafeCurrentTimeMillis())
            if (found._tag === "Left") {
              return this.cannotLoad(id, found.left)
            }
            this.start(found.right)
            return Effect.void
          })
      })
    })
  }

  private cannotLoad(id: SessionId, error: Failure): Result<void> {
    // guard: unavailable is not missing
    return error.reason === "Corrupt" && this.settings.onCorrupt === "anonymous"
      ? Effect.zipRight(
        this.report(id, error, "; the request goes on without it, the record is left alone"),
        Effect.sync(() => this.begin())
      )
      : Effect.zipRight(this.report(id, error), Effect.fail(error))
  }

  /** Logs what only a programmer can mend: where it is wrong, and no value. */
  private report(id: SessionId | undefined, error: Failure, consequence = ""): Effect.Effect<void> {
    if (error.reason !== "Encode" && error.reason !== "Corrupt" && error.reason !== "Unsupported") {
      return Effect.void
    }
    const what = error.reason === "Encode" ? `nothing was stored: ${error.message}` : error.message
    const why = this.settings.payload.describe(SessionError.causeOf(error))
    const line = Effect.logWarning(`Session: ${what}${why}${consequence}`)
    return id === undefined ? line : Effect.annotateLogs(line, "session.ref", id.ref)
  }

  private start(found: Found<A>): void {
    if (found._tag === "Current") {
      this.wasNew = false
      this.loaded = true
      return this.adopt(found.base)
    }
    this.begin()
    if (found._tag === "Ended") {
      this.status = "ended"
    }
  }

  /** Starts without a record. */
  private begin(): void {
    this.loaded = true
    this.status = "new"
    this.id = undefined
    this.reset()
  }

  private reset(): void {
    this.base = undefined
    this.origin = { value: this.settings.payload.initial(), extras: undefined }
    this.draft = Log.draftOf(this.origin.value, undefined)
    this.broken = false
  }

  private adopt(base: Base<A>): void {
    this.status = "current"
    this.base = base
    this.origin = base
    this.draft = Log.draftOf(base.value, base.extras)
    this.broken = false
  }

  /** The session ended under this request: strict from now on, and no cookie. */
  private vanish(found: Found<A>): void {
    this.status = "gone"
    this.superseded = found._tag !== "Missing"
    // guard: what vanished sends no cookie
    this.cookie = keep
    this.id = undefined
    this.reset()
  }

  /** What the store holds for this request's id. */
  private get find(): Result<Found<A>> {
    return Effect.matchEffect(this.settings.store.load(this.id!.key), {
      onFailure: (error) => Effect.fail(SessionError.fromStore(error)),
      onSuccess: (stored) =>
        Effect.clockWith((clock) => {
          const found = this.judge(stored, clock.unsafeCurrentTimeMillis())
          return found._tag === "Left" ? Effect.zipRight(this.report(this.id, found.left), found) : found
        })
    })
  }

  private judge(found: Option.Option<Stored>, now: number): Either.Either<Found<A>, Failure> {
    if (found._tag === "None") {
      return Either.right(missing)
    }
    const stored = found.value
    const decoded = this.settings.format.decode(stored.data)
    if (decoded._tag === "Left") {
      return Either.left(decoded.left)
    }
    const record = decoded.right
    // guard: a store's word on deadlines is checked
    if (!(stored.expiresAt > now && record.absoluteDeadline > now)) { // NaN is no deadline either
      return Either.right(missing)
    }
    if (stored.expiresAt > record.absoluteDeadline) {
      return Either.left(SessionError.failure("Corrupt", new Error("the stored deadline is beyond the absolute one")))
    }
    switch (Verdict.judge(record, this.id!.proof, now)) {
      case "current":
        return Either.map(this.open(stored, record), (base) => ({ _tag: "Current", base }))
      case "ended":
        return Either.right(ended)
      case "wrong":
        return Either.right(wrong)
    }
  }

  private open(stored: Stored, record: SessionRecord): Either.Either<Base<A>, Failure> {
    const data = this.settings.format.codec.decode(record.payload)
    if (data._tag === "Left") {
      return Either.left(data.left)
    }
    const value = this.settings.payload.decode(data.right)
    if (value._tag === "Left") {
      return Either.left(SessionError.failure("Corrupt", value.left))
    }
    return Either.right({ stored, record, value: value.right, extras: this.settings.payload.extrasOf(data.right) })
  }

  // -------------------------------------------------------------------------
  // the log
  // -------------------------------------------------------------------------

  private read(key: PropertyKey | undefined): A {
    const draft = this.draft!
    if (this.settings.payload.keys.length > 0 && this.readKeys?.has(key) !== true) {
      this.readKeys ??= new Set()
      this.readKeys.add(key)
      const entry: Log.Entry<A> = { _tag: "Read", key, seen: draft.value }
      this.entries.push(entry)
      Log.apply(this.settings.payload, draft, entry)
    }
    return draft.value
  }

  private forgetReads(): void {
    this.guards = undefined
    this.readKeys = undefined
  }

  /** `value` is what the entry makes of the draft, when that is known already. */
  private record(entry: Log.Entry<A>, value?: A): Result<void> {
    // guard: an unknown outcome spends the handle
    if (this.spent !== undefined && this.turn?.isFree !== false) {
      return Effect.fail(this.spent)
    }
    if (this.finished) {
      return this.exclusively(this.commit(entry)) // written through, or not kept
    }
    if (value !== undefined) {
      this.draft!.value = value
    } else if (Log.apply(this.settings.payload, this.draft!, entry) !== undefined) {
      this.broken = true
    }
    this.entries.push(entry)
    this.readKeys = undefined
    return Effect.void
  }

  private get hasWrites(): boolean {
    return this.entries.some(Log.isWrite)
  }

  /** Folds what is still pending over the present origin. */
  private rebase(): void {
    const origin = this.origin!
    const folded = Log.fold(this.settings.payload, origin, this.guards, this.entries)
    this.readKeys = undefined
    this.broken = folded._tag === "Left"
    this.draft = folded._tag === "Right" ? folded.right : Log.draftOf(origin.value, origin.extras)
  }

  // -------------------------------------------------------------------------
  // commit
  // -------------------------------------------------------------------------

  /** Commits the log, and `extra` after it; `folded` is the draft that has it applied, when that is known already. */
  private commit(extra?: Log.Entry<A>, folded?: Log.Draft<A>): Result<void> {
    return Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      const taken = this.entries.length
      const entries = extra === undefined ? this.entries.slice() : [...this.entries, extra]
      if (!entries.some(Log.isWrite)) {
        return Effect.void
      }
      if (this.spent !== undefined) {
        return Effect.fail(this.spent)
      }
      const draft = extra === undefined ? this.draft : folded
      const work: Work<A> = {
        entries,
        taken,
        token: randomBytes(8),
        startedAt: now,
        base: this.base,
        draft: this.broken || draft === undefined ? undefined : Log.snapshot(draft),
        nextId: undefined,
        queued: false,
        retries: 0,
        exhausted: false,
        inserts: 0,
        uncertain: undefined
      }
      return this.status === "current" && this.settings.turns.has(this.id!.key)
        ? this.queue(work) // what it has loaded is stale already
        : this.attempt(work, now)
    })
  }

  private attempt(work: Work<A>, now: number): Result<void> {
    if (this.status === "current") {
      return this.replace(work, now)
    }
    const regenerates = work.entries.some((entry) => entry._tag === "Regenerate")
    // guard: what is gone is written by nobody
    return this.status === "new" || (this.status === "ended" && regenerates)
      ? this.insert(work, now)
      : Effect.fail(SessionError.conflict("Gone"))
  }

  private insert(work: Work<A>, now: number): Result<void> {
    const { format, store } = this.settings
    const folded = this.foldOf(work)
    if (folded._tag === "Left") {
      return Effect.fail(folded.left)
    }
    const draft = folded.right
    if (!Log.isChanged(draft, this.origin!)) {
      this.committed(work, draft)
      return Effect.void
    }
    // guard: no cookie after the head
    if (this.finished) {
      return Effect.fail(SessionError.failure("HeadersSent"))
    }
    // guard: an insert without an answer takes another id
    return Effect.flatMap(format.make, (id) => {
      const record = this.recordOf(draft, undefined, id, work.token, now)
      const encoded = this.encode(draft, record, Option.none())
      if (encoded._tag === "Left") {
        return Effect.zipRight(this.report(undefined, encoded.left), Effect.fail(encoded.left))
      }
      const data = encoded.right
      const expiresAt = Verdict.deadline(record, now)
      return this.step(store.insert(id.key, data, expiresAt), {
        onSuccess: (version) => {
          if (version._tag === "None") {
            // the key is taken, in 2^128: another id; a store that takes none is asked no more
            return ++work.retries > maxRetries
              ? Effect.fail(SessionError.conflict("Conflict"))
              : this.insert(work, now)
          }
          this.stored(work, draft, id, record, { data, version: version.value, expiresAt })
          return undefined
        },
        // the id of an insert without an answer is never given away: whatever
        // the network does with it, nobody can open that record
        onFailure: (error) =>
          // guard: inserts are bounded
          mayBeApplied(error) && ++work.inserts < maxInserts
            ? Effect.clockWith((clock) => this.insert(work, clock.unsafeCurrentTimeMillis()))
            : Effect.fail(SessionError.fromStore(error))
      })
    })
  }

  private foldOf(work: Work<A>): Either.Either<Log.Draft<A>, Failure> {
    const folded = work.draft === undefined
      ? Log.fold(this.settings.payload, work.base ?? this.origin!, this.guards, work.entries)
      : Either.right(work.draft)
    if (folded._tag === "Right") {
      work.draft = folded.right
    }
    return folded
  }

  private replace(work: Work<A>, now: number): Result<void> {
    const base = work.base!
    const folded = this.foldOf(work)
    if (folded._tag === "Left") {
      return this.fail(work, folded.left)
    }
    const draft = folded.right
    if (!Log.isChanged(draft, base)) {
      this.adopt(base)
      this.committed(work, draft)
      return Effect.void
    }
    if (!draft.regenerate) {
      return this.replaceUnder(work, base, draft, this.id!, now)
    }
    return work.nextId === undefined
      ? Effect.flatMap(this.settings.format.reissue(this.id!), (id) => this.replaceUnder(work, base, draft, id, now))
      : this.replaceUnder(work, base, draft, work.nextId, now)
  }

  private replaceUnder(work: Work<A>, base: Base<A>, draft: Log.Draft<A>, id: SessionId, now: number): Result<void> {
    work.nextId = id
    const record = this.recordOf(draft, base.record, id, work.token, now)
    const encoded = this.encode(draft, record, Option.some(base.stored.data))
    if (encoded._tag === "Left") {
      return this.fail(work, encoded.left)
    }
    const data = encoded.right
    const expiresAt = Verdict.deadline(record, now)
    return this.step(this.settings.store.replace(id.key, base.stored.version, data, expiresAt), {
      onSuccess: (version) => {
        // guard: a write is conditional
        if (version._tag === "None") {
          return this.retry(work)
        }
        this.stored(work, draft, id, record, { data, version: version.value, expiresAt })
        return undefined
      },
      onFailure: (error) => {
        if (!mayBeApplied(error)) {
          return this.fail(work, SessionError.fromStore(error))
        }
        work.uncertain ??= { error, base }
        this.spent = SessionError.unknown(error) // unless the retry finds out
        return this.retry(work)
      }
    })
  }

  /** A write and what its answer means happen together; what follows can be interrupted. */
  private step<B>(write: Effect.Effect<B, SessionStoreError>, next: {
    readonly onSuccess: (answer: B) => Result<void> | undefined
    readonly onFailure: (error: SessionStoreError) => Result<void>
  }): Result<void> {
    return Effect.flatMap(Effect.uninterruptible(Effect.match(write, next)), (rest) => rest ?? Effect.void)
  }

  /** After a stale or failed write: in line, the first time at once, later jittered. */
  private retry(work: Work<A>): Result<void> {
    return Effect.clockWith((clock) => {
      work.retries++
      // guard: retries are bounded
      work.exhausted = work.retries > maxRetries || clock.unsafeCurrentTimeMillis() - work.startedAt > maxMillis
      if (work.exhausted && work.uncertain === undefined) {
        return this.fail(work, SessionError.conflict("Conflict"))
      }
      return work.queued ? Effect.zipRight(pause(work.retries), this.refresh(work)) : this.queue(work)
    })
  }

  private queue(work: Work<A>): Result<void> {
    const { key } = this.id!
    work.queued = true
    return this.settings.turns.run(key, this.inTurn(work, key))
  }

  /** Goes on from what the one before has stored; when that is not enough to go on from, it loads. */
  private inTurn(work: Work<A>, key: string): Result<void> {
    return Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      const left = this.settings.turns.left(key)
      if (left === undefined || work.uncertain !== undefined) {
        return work.uncertain === undefined && now - work.startedAt > maxMillis
          ? this.fail(work, SessionError.conflict("Conflict"))
          : this.refresh(work)
      }
      const found = this.judge(Option.some(left), now)
      if (found._tag === "Left" || found.right._tag !== "Current") {
        return this.refresh(work)
      }
      // guard: nobody goes back behind what the request has seen
      if (found.right.base.record.seq < work.base!.record.seq) {
        return this.refresh(work)
      }
      work.base = found.right.base
      work.draft = undefined
      return this.replace(work, now)
    })
  }

  /** Loads what is stored now, finds out what became of the last write, and goes on from there. */
  private refresh(work: Work<A>): Result<void> {
    const { format, store } = this.settings
    return Effect.matchEffect(store.load(this.id!.key), {
      onFailure: (error) => this.fail(work, SessionError.fromStore(error)),
      onSuccess: (stored) => {
        if (stored._tag === "None") {
          // guard: missing at the commit is gone
          return this.gone(missing)
        }
        const record = format.decode(stored.value.data)
        return record._tag === "Left" ? this.fail(work, record.left) : this.resolve(work, stored.value, record.right)
      }
    })
  }

  private resolve(work: Work<A>, stored: Stored, record: SessionRecord): Result<void> {
    // guard: a commit knows its token
    if (record.tokens.some((token) => equalBytes(token, work.token))) {
      return this.foundDone(work, stored, record)
    }
    const uncertain = work.uncertain
    // guard: too far to tell is unknown
    if (uncertain !== undefined && record.seq - uncertain.base.record.seq > ringSizes.tokens) {
      return this.fail(work, SessionError.conflict("Conflict")) // too far to tell
    }
    if (uncertain !== undefined && stored.version !== uncertain.base.stored.version) {
      work.uncertain = undefined // it can no longer be applied
      this.spent = undefined
    }
    if (work.exhausted) {
      return this.fail(work, SessionError.conflict("Conflict"))
    }
    return Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      const found = this.judge(Option.some(stored), now)
      if (found._tag === "Left") {
        return this.fail(work, found.left)
      }
      // guard: the verdict falls again at each attempt
      if (found.right._tag !== "Current") {
        return this.gone(found.right)
      }
      work.base = found.right.base
      work.draft = undefined
      return this.attempt(work, now)
    })
  }

  /** The write was done and its answer lost: perhaps others have written since. */
  private foundDone(work: Work<A>, stored: Stored, record: SessionRecord): Result<void> {
    const draft = work.draft!
    const id = work.nextId!
    this.settings.turns.leave(id.key, stored)
    return Effect.clockWith((clock) => {
      const verdict = Verdict.judge(record, id.proof, clock.unsafeCurrentTimeMillis())
      const base = verdict === "current" ? this.open(stored, record) : Either.left(SessionError.conflict("Gone"))
      if (base._tag === "Left") {
        this.entries.splice(0, work.taken)
        this.spent = undefined
        this.vanish(ended)
        return Effect.void
      }
      this.announce(id, record, stored.expiresAt)
      this.id = id
      this.adopt(base.right)
      this.committed(work, draft)
      return Effect.void
    })
  }

  private gone(found: Found<A>): Result<void> {
    this.spent = undefined
    this.vanish(found)
    return Effect.fail(SessionError.conflict("Gone"))
  }

  /**
   * Ends a commit that failed. While a write without an answer may still be
   * applied, nobody knows, and the handle is spent.
   */
  private fail(work: Work<A>, error: Failure): Result<never> {
    if (work.queued) {
      this.settings.turns.leave(this.id!.key, undefined) // who waits longer than a commit may take asks no more
    }
    this.keepPresented()
    return Effect.zipRight(this.report(this.id, error), Effect.fail(work.uncertain === undefined ? error : this.spent!))
  }

  /**
   * The id that came with the request may have ended since, and the browser may
   * have its successor: after a failed commit or a stale touch it gets no new
   * expiry.
   */
  private keepPresented(): void {
    // guard: a failed commit does not send the presented id again
    if (this.cookie._tag === "Set" && Redacted.value(this.cookie.value) === this.presented) {
      this.cookie = keep
    }
  }

  private stored(work: Work<A>, draft: Log.Draft<A>, id: SessionId, record: SessionRecord, stored: Stored): void {
    this.announce(id, record, stored.expiresAt)
    this.id = id
    this.status = "current"
    this.base = { stored, record, value: draft.value, extras: draft.extras }
    this.origin = this.base
    this.settings.turns.leave(id.key, stored)
    this.committed(work, draft)
  }

  private committed(work: Work<A>, draft: Log.Draft<A>): void {
    this.entries.splice(0, work.taken)
    this.guards = Log.guardsAfter(draft)
    this.spent = undefined
    this.rebase()
  }

  private announce(id: SessionId, record: SessionRecord, expiresAt: number): void {
    const expiryMoved = record.persistent && expiresAt !== this.base?.stored.expiresAt
    if (id !== this.id || expiryMoved || record.persistent !== this.base?.record.persistent) {
      this.setCookie(id, record, expiresAt)
    }
  }

  private setCookie(id: SessionId, record: SessionRecord, expiresAt: number): void {
    this.cookie = {
      _tag: "Set",
      value: Redacted.make(this.settings.format.print(id)),
      expiresAt: record.persistent ? Option.some(expiresAt) : Option.none()
    }
  }

  private recordOf(
    draft: Log.Draft<A>,
    previous: SessionRecord | undefined,
    id: SessionId,
    token: Uint8Array,
    now: number
  ): SessionRecord {
    const { lifetime } = draft
    const absoluteTimeout = lifetime?.absoluteTimeout ?? previous?.absoluteTimeout ?? this.settings.absoluteTimeout
    const restarts = previous === undefined || draft.regenerate || lifetime?.absoluteTimeout !== undefined
    return {
      createdAt: previous?.createdAt ?? now,
      absoluteTimeout,
      absoluteDeadline: restarts ? now + absoluteTimeout : previous.absoluteDeadline,
      idleTimeout: lifetime?.idleTimeout ?? previous?.idleTimeout ?? this.settings.idleTimeout,
      persistent: lifetime?.persistent ?? previous?.persistent ?? this.settings.persistent,
      proof: id.proof,
      ended: endedOf(previous, draft.regenerate, now),
      seq: (previous?.seq ?? 0) + 1,
      tokens: [token, ...(previous?.tokens ?? [])].slice(0, ringSizes.tokens),
      payload: empty
    }
  }

  private encode(
    draft: Log.Draft<A>,
    record: SessionRecord,
    previous: Option.Option<Uint8Array>
  ): Either.Either<Uint8Array, Failure> {
    const { format, payload } = this.settings
    const data = payload.encode(draft.value, draft.extras)
    if (data._tag === "Left") {
      return Either.left(data.left)
    }
    draft.extras = payload.extrasOf(data.right) // what the next commit of this request starts from
    const bytes = format.codec.encode(data.right)
    return bytes._tag === "Left" ? bytes : format.encode({ ...record, payload: bytes.right }, previous)
  }

  // -------------------------------------------------------------------------
  // touch and destroy
  // -------------------------------------------------------------------------

  private get touchIfDue(): Effect.Effect<void> {
    this.finished = true
    const base = this.base
    if (base === undefined) {
      return Effect.void
    }
    return Effect.clockWith((clock) => {
      const expiresAt = Verdict.deadline(base.record, clock.unsafeCurrentTimeMillis())
      return expiresAt - base.stored.expiresAt < Verdict.touchStep(base.record)
        ? Effect.void
        : this.touch(base, expiresAt)
    })
  }

  private touch(base: Base<A>, expiresAt: number): Effect.Effect<void> {
    return Effect.uninterruptible(Effect.matchCauseEffect(
      this.settings.store.touch(this.id!.key, base.stored, expiresAt),
      {
        // a store that dies of it has not answered either: the response stays
        onFailure: (cause) =>
          Effect.logWarning(
            `Session: its deadline could not be moved (${
              Option.match(Cause.failureOption(cause), {
                onNone: () => "the store died",
                onSome: (error) => error.message
              })
            })`
          ),
        onSuccess: (touched) => {
          if (!touched) {
            // guard: a stale touch sends no cookie
            this.keepPresented()
          } else if (base.record.persistent) {
            this.setCookie(this.id!, base.record, expiresAt)
          }
          return Effect.void
        }
      }
    ))
  }

  /** Removes the record under its version; after three stale answers, each verified, without. */
  private remove(base: Base<A>, stale: number, failures: number): Result<void> {
    // guard: a removal is conditional, three times
    const expected = stale < 3 ? base.stored.version : undefined
    return this.step(this.settings.store.remove(this.id!.key, expected), {
      onSuccess: (removed) => {
        if (removed || expected === undefined) {
          this.empty()
          return undefined
        }
        return this.removeAgain(stale + 1, failures)
      },
      onFailure: (error) =>
        mayBeApplied(error) ? this.removeAgain(stale, failures + 1, error) : Effect.fail(SessionError.fromStore(error))
    })
  }

  private removeAgain(stale: number, failures: number, error?: SessionStoreError): Result<void> {
    return Effect.matchEffect(this.find, {
      onFailure: (failure) => Effect.fail(error === undefined ? failure : SessionError.unknown(error)),
      onSuccess: (found) => {
        switch (found._tag) {
          case "Missing":
            return this.emptied
          case "Ended":
          case "Wrong":
            return this.gone(found)
          case "Current":
            return failures > 1
              ? Effect.fail(SessionError.unknown(error!))
              : this.remove(found.base, stale, failures)
        }
      }
    })
  }

  private get emptied(): Effect.Effect<void> {
    return Effect.sync(() => this.empty())
  }

  /** New and empty, as after a logout: a later write makes a new session. */
  private empty(): void {
    // guard: a logout clears the cookie
    if (this.presented !== undefined || this.cookie._tag === "Set") {
      this.cookie = clear
    }
    this.entries = []
    this.forgetReads()
    this.spent = undefined
    this.wasNew = true
    this.begin()
  }
}

type Found<A> =
  | { readonly _tag: "Missing" }
  | { readonly _tag: "Ended" }
  | { readonly _tag: "Wrong" }
  | { readonly _tag: "Current"; readonly base: Base<A> }

const missing: Found<never> = { _tag: "Missing" }
const ended: Found<never> = { _tag: "Ended" }
const wrong: Found<never> = { _tag: "Wrong" }
const empty = new Uint8Array(0)

const timeOf = (millis: number | undefined): Option.Option<DateTime.Utc> =>
  millis === undefined ? Option.none() : Option.some(DateTime.unsafeMake(millis))

const mayBeApplied = (error: SessionStoreError): boolean => error.reason === "Unavailable" || error.reason === "Timeout"

const endedOf = (previous: SessionRecord | undefined, regenerates: boolean, now: number): SessionRecord["ended"] => {
  if (previous === undefined) {
    return []
  }
  const alive = previous.ended.filter((ended) => ended.until > now)
  return regenerates
    // guard: retired proofs are remembered
    ? [{ proof: previous.proof, until: now + Verdict.endedFor }, ...alive].slice(0, ringSizes.ended)
    : alive
}

/** Full jitter, up to 2, 4, … 128 milliseconds; the first retry goes at once. */
const pause = (retries: number): Effect.Effect<void> =>
  retries <= 1
    ? Effect.void
    : Effect.flatMap(Random.next, (random) => Effect.sleep(random * 2 ** Math.min(retries - 1, 7)))
