/**
 * What must hold, whatever the network does. The model is small: for each
 * record, the values it had; for each write, whether it ever was stored; for
 * each request, what it was entitled to see and to be told.
 */
import type * as Option from "effect/Option"
import { isDeepStrictEqual } from "node:util"
import type { SessionRecord } from "../../src/schema/SessionRecord.js"
import type { Stored } from "../../src/SessionStore.js"
import { codec, enough, format, initial, type Sent, type Value } from "./requests.js"
import type { How, Operation, Simulation } from "./simulation.js"

/** What a run has to have met, or it showed nothing. */
export const happenings = [
  "stale write",
  "lost reply",
  "lost request",
  "held write",
  "held write released after the logout",
  "refused call",
  "gone request",
  "conflict",
  "ended id",
  "unknown outcome",
  "interrupted request",
  "expired session",
  "touch"
] as const

export type Happening = typeof happenings[number]

/** A rule is broken. */
export class Broken extends Error {}

interface Moment {
  readonly tick: number
  readonly record: SessionRecord | undefined
  readonly value: Value
  readonly expiresAt: number
}

export class Rules {
  /** Counts what happens. */
  tick = 0
  readonly happened = new Set<Happening>()
  broken: Broken | undefined

  private readonly histories = new Map<string, Array<Moment>>()
  /** Where each write was stored, and what the value was then. */
  private readonly stored = new Map<string, { readonly key: string; readonly value: Value }>()
  /** Inserted without an answer: nobody may get their ids, so what is in them is stored for nobody. */
  private readonly orphans = new Set<string>()
  /** Writes of which the client was told that they are not stored. */
  private readonly denied = new Map<string, string>()

  constructor(private readonly simulation: Simulation) {}

  /** The first violation counts; it is thrown where the test looks, not in a fiber. */
  private must(condition: boolean, sent: Sent, rule: string): void {
    if (!condition) {
      this.broken ??= new Broken(`${sent.name}: ${rule}`)
    }
  }

  private momentOf(stored: Stored | undefined): Moment {
    if (stored === undefined) {
      return { tick: ++this.tick, record: undefined, value: initial, expiresAt: 0 }
    }
    const record = format.decode(stored.data)
    return {
      tick: ++this.tick,
      record,
      value: codec.decode(record.payload) as Value,
      expiresAt: stored.expiresAt
    }
  }

  // -------------------------------------------------------------------------
  // at the store
  // -------------------------------------------------------------------------

  called(sent: Sent, operation: Operation, how: How): void {
    sent.calls++
    this.must(
      sent.cookie !== undefined || operation === "insert" || sent.lastReply > 0,
      sent,
      "asked the store without a cookie"
    )
    this.must(
      sent.kind !== "read" || operation === "load" || operation === "touch",
      sent,
      "a request that only reads writes nothing"
    )
    this.must(
      operation !== "touch" || sent.verdict === "current" || sent.writes.some((name) => this.stored.has(name)),
      sent,
      "only the current id moves a deadline"
    )
    if (operation === "touch") {
      this.happened.add("touch")
    }
    if (how === "deliver") {
      return
    }
    if (how === "refuse") {
      this.happened.add("refused call")
    } else if (operation !== "load") {
      this.happened.add(how === "loseReply" ? "lost reply" : how === "hold" ? "held write" : "lost request")
    }
    if (operation !== "touch") { // whose failure nobody is told
      sent.faults[operation === "load" ? "load" : how === "refuse" ? "refused" : "lost"]++
    }
  }

  released(key: string): void {
    if (this.histories.has(key) && !this.simulation.records.has(key)) {
      this.happened.add("held write released after the logout")
    }
  }

  /** Runs a call of the store, and looks at what it changed. */
  around<A>(sent: Sent, operation: Operation, key: string, how: How, apply: () => A): A {
    const before = this.simulation.records.get(key)
    const answer = apply()
    const after = this.simulation.records.get(key)
    if (after === before) {
      this.tick++
      return answer
    }
    const history = this.histories.get(key)
    const moment = this.momentOf(after)
    if (history === undefined) {
      this.histories.set(key, [moment])
    } else {
      history.push(moment)
    }
    if (operation === "insert") {
      this.must(history === undefined, sent, "a record that was there is inserted again")
    }
    if (operation === "remove") {
      this.must(
        sent.staleRemoves >= 3 || same(history!.at(-2)!.record!.verifierHash, sent.id!.verifierHash),
        sent,
        "a logout ends a session that its id no longer opens"
      )
    } else if (operation === "insert" && how !== "deliver") {
      this.orphans.add(key)
    } else if (operation === "insert" || operation === "replace") {
      this.must(!this.orphans.has(key), sent, "an insert without an answer is written to")
      this.written(sent, key, history?.at(-2)?.value ?? initial, moment.value)
    }
    return answer
  }

  /** Nothing stored is lost, nothing is stored twice, a guarded set replaces what it saw. */
  private written(sent: Sent, key: string, before: Value, after: Value): void {
    this.must(
      isDeepStrictEqual(after.done.slice(0, before.done.length), before.done),
      sent,
      `the write lost others': [${before.done}] became [${after.done}]`
    )
    const added = after.done.slice(before.done.length)
    if (after.slot !== before.slot) {
      added.push(after.slot)
      this.must(sent.seen?.slot === before.slot, sent, `set what it saw as "${sent.seen?.slot}", over "${before.slot}"`)
    }
    for (const name of added) {
      this.must(sent.writes.includes(name), sent, `wrote "${name}", which is not its own`)
      this.must(!this.stored.has(name), sent, `"${name}" is stored twice`)
      this.stored.set(name, { key, value: after })
    }
  }

  replied(sent: Sent, operation: Operation, key: string, answer: unknown): void {
    sent.lastReply = ++this.tick
    if (operation === "load") {
      return this.loaded(sent, key, answer as Option.Option<Stored>)
    }
    if (answer === false || (answer as Option.Option<unknown>)._tag === "None") {
      this.happened.add("stale write")
      sent.staleRemoves += operation === "remove" ? 1 : 0
    }
  }

  private loaded(sent: Sent, key: string, answer: Option.Option<Stored>): void {
    const moment = answer._tag === "None" ? undefined : this.histories.get(key)!.at(-1)!
    const record = moment?.record
    const first = sent.calls === 1
    const now = this.simulation.now
    if (moment === undefined && this.simulation.records.has(key)) {
      this.happened.add("expired session")
    }
    sent.expected = initial
    if (record === undefined || sent.id === undefined) {
      return
    }
    const { verifierHash } = sent.id
    if (same(record.verifierHash, verifierHash)) {
      sent.expected = moment!.value
      sent.verdict = first ? "current" : sent.verdict
    } else if (
      first && record.retired.some((retired) => retired.until > now && same(retired.verifierHash, verifierHash))
    ) {
      sent.verdict = "ended"
      this.happened.add("ended id")
    }
  }

  // -------------------------------------------------------------------------
  // at the client
  // -------------------------------------------------------------------------

  answered(
    sent: Sent,
    error: { readonly reason: string; readonly applied?: string } | undefined,
    cookie: string | undefined
  ): void {
    const { status } = sent
    if (sent.aborted) {
      this.happened.add("interrupted request")
    }
    this.cookieMay(sent, cookie)
    if (sent.destroyed) {
      this.signedOut(sent)
    }
    if (sent.saved) {
      this.must(this.stored.has(sent.writes[0]!), sent, "what was saved is not stored")
    }
    if (status === 200) {
      return this.succeeded(sent, cookie)
    }
    const pending = sent.saved ? sent.writes.slice(1) : sent.writes
    if (error === undefined) {
      this.must(sent.aborted, sent, `answered ${status} without an error of the session`)
      if (!sent.finished && !["save", "transact", "decide"].includes(sent.kind)) {
        this.deny(pending, sent, "was interrupted before its commit")
      }
      return
    }
    if (error.applied === "unknown") {
      this.happened.add("unknown outcome")
    } else {
      this.deny(pending, sent, `was answered ${status} ${error.reason}`)
    }
    this.mayFail(sent, error)
    if (error.reason === "Gone") {
      this.happened.add("gone request")
      this.must(cookie === undefined || sent.destroyed, sent, "what is gone carries no cookie")
    }
    if (error.reason === "Conflict") {
      this.happened.add("conflict")
    }
  }

  private deny(names: ReadonlyArray<string>, sent: Sent, why: string): void {
    for (const name of names) {
      this.must(!this.isStored(name), sent, `"${name}" is stored, but its request ${why}`)
      this.denied.set(name, why)
    }
  }

  /** In a record that is there: what a logout took along is stored nowhere. */
  private isStored(name: string): boolean {
    const stored = this.stored.get(name)
    return stored !== undefined && this.simulation.at(stored.key) !== undefined
  }

  /** No response sets an id that was dead when its request last heard from the store. */
  private cookieMay(sent: Sent, cookie: string | undefined): void {
    if (cookie === undefined) {
      return
    }
    if (cookie === "") {
      const wasLogout = sent.kind === "logout" || sent.kind === "flash"
      return this.must(
        sent.destroyed || (sent.aborted && wasLogout && this.simulation.at(sent.id?.key ?? "") === undefined),
        sent,
        "cleared a cookie without a logout"
      )
    }
    const id = format.parse(cookie)
    if (id === undefined) {
      return this.must(false, sent, "set a cookie that is no id")
    }
    this.must(!this.orphans.has(id.key), sent, "the id of an insert without an answer is given away")
    const moment = this.histories.get(id.key)?.findLast(({ tick }) => tick <= sent.lastReply)
    this.must(
      moment?.record !== undefined && same(moment.record.verifierHash, id.verifierHash),
      sent,
      "set an id that was dead at its last reply"
    )
    this.must(
      sent.kind !== "read" || cookie === sent.cookie,
      sent,
      "a read gives no new id"
    )
  }

  /** A logout that was acknowledged is final. */
  private signedOut(sent: Sent): void {
    this.must(sent.verdict !== "ended", sent, "a logout under a retired id is acknowledged")
    this.must(
      sent.verdict !== "current" || this.simulation.at(sent.id!.key) === undefined,
      sent,
      "is signed out, and the record is there"
    )
  }

  private succeeded(sent: Sent, cookie: string | undefined): void {
    const decidedNotTo = sent.kind === "decide" && sent.found >= enough
    for (const name of decidedNotTo ? [] : sent.writes) {
      this.must(this.stored.has(name), sent, `"${name}" is acknowledged, and not stored`)
    }
    if (decidedNotTo) {
      this.must(
        this.since(sent).some(({ value }) => value.done.length === sent.found),
        sent,
        `decides by ${sent.found} writes, which there were not while it ran`
      )
    } else if (sent.kind === "decide") {
      const { value } = this.stored.get(sent.writes[0]!)!
      this.must(value.done.length === sent.found + 1, sent, "decides by what is not stored")
    }
    if (sent.kind === "read") {
      this.must(
        isDeepStrictEqual(sent.seen, sent.expected),
        sent,
        `read [${sent.seen?.done}] instead of [${sent.expected.done}]`
      )
    }
    if (sent.kind === "transact") {
      this.must(
        isDeepStrictEqual(sent.answer, this.stored.get(sent.writes[0]!)?.value),
        sent,
        "transact answers what is not stored"
      )
    }
    if (sent.kind === "logout") {
      this.must(cookie === (sent.cookie === undefined ? undefined : ""), sent, "a logout clears the cookie")
    }
    if (sent.kind !== "read" && sent.kind !== "logout" && sent.verdict === "none") {
      this.must(cookie !== undefined && cookie !== "", sent, "a new session sets its cookie")
    }
    if (sent.verdict === "ended") {
      this.must(sent.kind === "read" || sent.kind === "login", sent, "a write under a retired id is acknowledged")
    }
    if (sent.kind === "login" && sent.verdict === "current") {
      const now = this.histories.get(sent.id!.key)!.at(-1)!.record
      this.must(
        now === undefined || !same(now.verifierHash, sent.id!.verifierHash),
        sent,
        "the id from before the login still opens the session"
      )
    }
  }

  /** An error needs a cause. */
  private mayFail(sent: Sent, error: { readonly reason: string; readonly applied?: string }): void {
    const { load, lost, refused } = sent.faults
    const inTime = this.simulation.now - sent.sentAt <= 4000
    switch (error.reason) {
      case "Gone":
        return this.must(sent.verdict === "ended" || this.diedSince(sent), sent, "is told Gone, and its id is alive")
      case "Conflict":
        return this.must(sent.kind === "guarded" || !inTime, sent, "an update that could be replayed is a Conflict")
      case "Timeout":
      case "Throttled":
        return this.must(
          load + refused > 0 || lost > 1 || (lost > 0 && (!inTime || this.isFar(sent))),
          sent,
          "one lost reply is found out"
        )
      default:
        return this.must(false, sent, `fails with ${error.reason}`)
    }
  }

  private diedSince(sent: Sent): boolean {
    const { id } = sent
    const last = id && this.histories.get(id.key)?.at(-1)
    return last === undefined || last.record === undefined || last.expiresAt <= this.simulation.now ||
      !same(last.record.verifierHash, id!.verifierHash)
  }

  /** What its record was, from when it was sent. */
  private since(sent: Sent): ReadonlyArray<Moment> {
    const history = this.histories.get(sent.id?.key ?? "") ?? []
    return history.filter((_, i) => (history[i + 1]?.tick ?? Infinity) > sent.sentTick)
  }

  private isFar(sent: Sent): boolean {
    return this.histories.get(sent.id?.key ?? "")!.length > 8
  }

  // -------------------------------------------------------------------------
  // at the end
  // -------------------------------------------------------------------------

  ended(all: ReadonlyArray<Sent>): void {
    for (const sent of all) {
      this.must(sent.status !== undefined, sent, "was never answered")
      for (const name of sent.writes) {
        const why = this.denied.get(name)
        this.must(
          why === undefined || !this.isStored(name),
          sent,
          `"${name}" is stored after all, though its request ${why}`
        )
      }
    }
  }
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
