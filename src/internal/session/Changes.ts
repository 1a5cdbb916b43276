/**
 * What a request has recorded: functions, sets, reads, a renewed id. Pure.
 * A commit replays the changes over every fresh value, so that no concurrent
 * update is lost.
 *
 * @internal
 */
import type { Payload } from "../../schema/Payload.js"
import type { Start, Wanted } from "../../schema/SessionFormat.js"
import type { Lifetime } from "../../schema/SessionRecord.js"
import { conflict, failure, isInstance } from "../../SessionError.js"

export type Change<A> =
  | { readonly _tag: "Update"; readonly f: (value: A) => A }
  | { readonly _tag: "Set"; readonly key: PropertyKey; readonly value: unknown }
  /** The request read `key`, or every field without one, in the value `seen`. */
  | { readonly _tag: "Read"; readonly key: PropertyKey | undefined; readonly seen: A }
  | { readonly _tag: "Clear"; readonly initial: A }
  | { readonly _tag: "SetLifetime"; readonly lifetime: Lifetime }
  | { readonly _tag: "Regenerate" }

/**
 * What a read means for a later `set` of the same field: the field must still
 * have the value that it has in `expected`, or else it has `moved`.
 */
interface Guard<A> {
  readonly expected: A
  readonly moved: boolean
}

type Guards<A> = ReadonlyMap<PropertyKey, Guard<A>>

/** What the changes make of a start. */
export interface Pending<A> extends Wanted<A> {
  readonly guards: Guards<A> | undefined
}

/** Changes on their way to the store. */
export interface Batch<A> {
  readonly changes: ReadonlyArray<Change<A>>
  /** How many of the recorded changes are in it. */
  readonly count: number
  readonly guards: Guards<A> | undefined
  /** What the changes make of the present start. Undefined when they do not replay over it. */
  readonly pending: Pending<A> | undefined
  /** Whether there is more in it than reads. */
  readonly hasWrites: boolean
  /** Whether it renews the id. */
  readonly regenerates: boolean
}

/** Whether `pending` asks for a write, given the value that it started from. */
export const isChanged = <A>(pending: Pending<A>, start: Start<A>): boolean =>
  pending.value !== start.value || pending.source !== start.source || pending.lifetime !== undefined ||
  pending.regenerate

const isWrite = <A>(change: Change<A>): boolean => change._tag !== "Read"

/**
 * Replays a batch over a start. Throws a `SessionError`: `Conflict` when a
 * field that was read has moved and is set, `Updater` when an updater throws.
 */
export const replay = <A>(
  payload: Payload<A>,
  start: Start<A>,
  batch: Pick<Batch<A>, "changes" | "guards">
): Pending<A> => {
  const draft = draftOf(start)
  if (batch.guards !== undefined) {
    draft.guards = new Map()
    for (const [key, { expected, moved }] of batch.guards) {
      watch(payload, draft, key, expected, moved)
    }
  }
  for (const change of batch.changes) {
    apply(payload, draft, change)
  }
  return draft
}

type Draft<A> =
  & {
    -readonly [K in keyof Pending<A>]: Pending<A>[K]
  }
  & { guards: Map<PropertyKey, Guard<A>> | undefined }

const draftOf = <A>({ source, value }: Start<A>): Draft<A> => ({
  value,
  source,
  lifetime: undefined,
  regenerate: false,
  guards: undefined
})

const apply = <A>(payload: Payload<A>, draft: Draft<A>, change: Change<A>): void => {
  switch (change._tag) {
    case "Update":
      draft.value = runUpdater(change.f, draft.value)
      return
    case "Set":
      if (draft.guards?.get(change.key)?.moved) {
        throw conflict("Conflict")
      }
      draft.value = { ...draft.value, [change.key]: change.value }
      return
    case "Read":
      draft.guards ??= new Map()
      for (const key of change.key === undefined ? payload.keys : [change.key]) {
        watch(payload, draft, key, change.seen, false)
      }
      return
    case "Clear":
      draft.value = change.initial
      draft.source = undefined
      return
    case "SetLifetime":
      draft.lifetime = { ...draft.lifetime, ...change.lifetime }
      return
    case "Regenerate":
      draft.regenerate = true
      return
  }
}

const runUpdater = <A>(f: (value: A) => A, value: A): A => {
  try {
    return f(value)
  } catch (cause) {
    throw failure("Updater", cause)
  }
}

const watch = <A>(payload: Payload<A>, draft: Draft<A>, key: PropertyKey, expected: A, moved: boolean): void => {
  draft.guards!.set(key, { expected, moved: moved || !payload.sameField(key, expected, draft.value) })
}

/** The guards after a commit: a moved field stays moved, the others are compared with the committed value. */
const guardsAfter = <A>({ guards, value }: Pending<A>): Guards<A> | undefined =>
  guards &&
  new Map(Array.from(guards, ([key, guard]) => [key, guard.moved ? guard : { expected: value, moved: false }]))

/** The changes of one request, and what they make of its present start. */
export class Changes<A> {
  private recorded: Array<Change<A>> = []
  private guards: Guards<A> | undefined
  private draft: Draft<A>
  /** The changes do not replay over the start. The commit replays them again and reports why. */
  private replayFailed = false
  /** Fields read since the draft last changed: reading them again records nothing. */
  private readKeys: Set<PropertyKey | undefined> | undefined

  constructor(private readonly payload: Payload<A>, public start: Start<A>) {
    this.draft = draftOf(start)
  }

  /** The start's value with the changes of this request. */
  get value(): A {
    return this.draft.value
  }

  get hasWrites(): boolean {
    return this.recorded.some(isWrite)
  }

  /** Records a read of one field, or of every field without a key. Returns the value. */
  read(key: PropertyKey | undefined): A {
    if (this.payload.keys.length > 0 && this.readKeys?.has(key) !== true) {
      this.readKeys ??= new Set()
      this.readKeys.add(key)
      const change: Change<A> = { _tag: "Read", key, seen: this.draft.value }
      this.recorded.push(change)
      apply(this.payload, this.draft, change)
    }
    return this.draft.value
  }

  /** Records a change. Throws what an updater throws on the present value, and records nothing then. */
  add(change: Change<A>): void {
    if (change._tag === "Update") {
      const value = change.f(this.draft.value)
      if (value === this.draft.value) {
        return // nothing was asked for
      }
      this.draft.value = value
    } else {
      this.tryApply(change)
    }
    this.recorded.push(change)
    this.readKeys = undefined
  }

  /** A batch of everything recorded, and of `extra` after it, which made `value` of the present value. */
  take(extra?: { readonly change: Change<A>; readonly value?: A }): Batch<A> {
    const changes = extra === undefined ? this.recorded.slice() : [...this.recorded, extra.change]
    return {
      changes,
      hasWrites: changes.some(isWrite),
      regenerates: changes.some(({ _tag }) => _tag === "Regenerate"),
      count: this.recorded.length,
      guards: this.guards,
      pending: this.pendingWith(extra)
    }
  }

  /** A batch was committed as `pending`. Later changes now stand on what is stored. */
  committed(batch: Batch<A>, pending: Pending<A>, start: Start<A>): void {
    this.recorded.splice(0, batch.count)
    this.guards = guardsAfter(pending)
    this.rebase(start)
  }

  /** Replays the recorded changes over another start. */
  rebase(start: Start<A>): void {
    this.start = start
    this.draft = draftOf(start)
    this.replayFailed = false
    this.readKeys = undefined
    if (this.recorded.length > 0 || this.guards !== undefined) {
      try {
        this.draft = replay(this.payload, start, { changes: this.recorded, guards: this.guards }) as Draft<A> // its own
      } catch (error) {
        this.failReplay(error)
      }
    }
  }

  /** Forgets every write. Reads stay. */
  dropWrites(): void {
    this.recorded = this.recorded.filter((change) => !isWrite(change))
    this.rebase(this.start)
  }

  /** The session has ended: forgets the first `count` changes, and shows `start` without the others. */
  endWith(count: number, start: Start<A>): void {
    this.recorded.splice(0, count)
    this.start = start
    this.draft = draftOf(start)
    this.replayFailed = false
    this.readKeys = undefined
  }

  /** Forgets writes and reads. */
  reset(start: Start<A>): void {
    this.recorded = []
    this.guards = undefined
    this.rebase(start)
  }

  private pendingWith(extra: { readonly change: Change<A>; readonly value?: A } | undefined): Pending<A> | undefined {
    if (this.replayFailed || (extra !== undefined && !("value" in extra))) {
      return undefined
    }
    const guards = this.draft.guards && new Map(this.draft.guards) // later reads must not reach the batch
    return extra === undefined ? { ...this.draft, guards } : { ...this.draft, guards, value: extra.value as A }
  }

  private tryApply(change: Change<A>): void {
    try {
      apply(this.payload, this.draft, change)
    } catch (error) {
      this.failReplay(error)
    }
  }

  private failReplay(error: unknown): void {
    if (!isReplayFailure(error)) {
      throw error
    }
    this.replayFailed = true
  }
}

/** What `replay` throws by intent. */
const isReplayFailure = isInstance
