/**
 * Histories of concurrent operations, and the search for an order of one after
 * the other in which every answer is right (linearizability). Keys are checked
 * one by one: together they have an order when each of them has one.
 *
 * @internal
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import type { SessionStore, Stored, Version } from "../SessionStore.js"

type Store = SessionStore["Type"]

/** A record and where it is. */
export interface Keyed extends Stored {
  readonly key: string
}

type Operation = "load" | "insert" | "replace" | "touch" | "remove" | "removeAny"

interface Step {
  readonly operation: Operation
  readonly key: number
  readonly pause: number
}

/** What each of two or three fibers does to two keys, one step after the other. */
export const plans: FastCheck.Arbitrary<ReadonlyArray<ReadonlyArray<Step>>> = FastCheck.array(
  FastCheck.array(
    FastCheck.record({
      operation: FastCheck.constantFrom<Operation>("load", "insert", "replace", "touch", "remove", "removeAny"),
      key: FastCheck.nat(1),
      pause: FastCheck.nat(2)
    }),
    { minLength: 1, maxLength: 4 }
  ),
  { minLength: 2, maxLength: 3 }
)

/**
 * Runs a plan, its fibers in turn on one store and the next, on records that
 * may be there, be gone or have expired. Answers the histories that have no explanation:
 * what was there at first, and each operation with its beginning and end.
 */
export const unexplained = Effect.fnUntraced(function*(
  stores: ReadonlyArray<Store>,
  records: readonly [Keyed, Keyed],
  plan: ReadonlyArray<ReadonlyArray<Step>>,
  options: { readonly touchMovesVersion?: boolean }
) {
  const events: Array<Event> = []
  let time = 0

  const step = Effect.fnUntraced(function*(store: Store, seen: Keyed, operation: Operation) {
    const start = ++time
    const { apply, now, text } = yield* perform(store, seen, operation, options)
    events.push({ key: seen.key, start, end: ++time, text, apply })
    return now
  })

  const at = yield* Clock.currentTimeMillis
  // What has expired is not looked at: a load that takes it away would have nobody beside it.
  const states = yield* Effect.forEach(
    records,
    ({ expiresAt, key }) =>
      expiresAt <= at ? Effect.succeed<State>("absent") : Effect.map(stores[0]!.load(key), stateOf)
  )
  yield* Effect.forEach(plan, (steps, i) => {
    const seen = [...records]
    return Effect.forEach(
      steps,
      ({ key, operation, pause }) =>
        Effect.replicateEffect(Effect.yieldNow(), pause, { discard: true }).pipe(
          Effect.zipRight(step(stores[i % stores.length]!, seen[key]!, operation)),
          Effect.map((record) => seen[key] = record)
        )
    )
  }, { concurrency: "unbounded", discard: true })
  yield* Effect.forEach(records, (record) => step(stores[0]!, record, "load"))

  return records.flatMap(({ key }, i) => {
    const history = events.filter((event) => event.key === key)
    if (explains(states[i]!, history)) return []
    return [[JSON.stringify(states[i]), ...history.map(({ end, start, text }) => `${start}-${end} ${text}`)]]
  })
})

/** Each write has a deadline of its own. */
let deadlines = 0

/** What a key holds. The version is not known after a touch that moves it. */
type State = "absent" | { readonly data: string; readonly version: Version | undefined; readonly expiresAt: number }

/** An operation that was answered. */
interface Event {
  readonly key: string
  readonly start: number
  readonly end: number
  readonly text: string
  /** What it made of a state; undefined when it cannot have met that state. */
  readonly apply: (state: State) => State | undefined
}

const explains = (state: State, history: ReadonlyArray<Event>): boolean =>
  history.length === 0 || history.some((event) => {
    if (history.some((other) => other.end < event.start)) return false
    const next = event.apply(state)
    return next !== undefined && explains(next, history.filter((other) => other !== event))
  })

/** Runs an operation under the version last seen; answers what that proves, and what is seen now. */
const perform = Effect.fnUntraced(function*(
  store: Store,
  seen: Keyed,
  operation: Operation,
  options: { readonly touchMovesVersion?: boolean }
) {
  const { key, version } = seen
  const data: Uint8Array = randomBytes(24)
  const expiresAt = (yield* Clock.currentTimeMillis) + 60_000 + ++deadlines
  const answer = (text: string, apply: Event["apply"], now = seen) => ({ text: `${operation} ${text}`, apply, now })

  switch (operation) {
    case "load": {
      const found = yield* store.load(key)
      if (Option.isNone(found)) return answer("none", (state) => state === "absent" ? state : undefined)
      const next = { data: hex(found.value.data), version: found.value.version, expiresAt: found.value.expiresAt }
      return answer(
        `${next.data} ${next.version} ${next.expiresAt}`,
        (state) =>
          mayHave(state, next.version) && state.data === next.data && state.expiresAt === next.expiresAt
            ? next
            : undefined,
        { key, ...found.value }
      )
    }
    case "insert": {
      const inserted = yield* store.insert(key, data, expiresAt)
      if (Option.isNone(inserted)) return answer("none", (state) => state === "absent" ? undefined : state)
      const next = { data: hex(data), version: inserted.value, expiresAt }
      return answer(
        `${next.data}: ${next.version}`,
        (state) => state === "absent" ? next : undefined,
        { key, data, version: next.version, expiresAt }
      )
    }
    case "replace": {
      const replaced = yield* store.replace(key, version, data, expiresAt)
      if (Option.isNone(replaced)) return answer(`${version}: none`, unlessCertain(version))
      const next = { data: hex(data), version: replaced.value, expiresAt }
      return answer(
        `${version} ${next.data}: ${next.version}`,
        (state) => mayHave(state, version) ? next : undefined,
        { key, data, version: next.version, expiresAt }
      )
    }
    case "touch": {
      const touched = yield* store.touch(key, seen, expiresAt)
      if (!touched) return answer(`${version}: false`, unlessCertain(version))
      return answer(`${version}: true`, (state) => {
        if (!mayHave(state, version)) return undefined
        return options.touchMovesVersion ? { ...state, expiresAt, version: undefined } : { ...state, expiresAt }
      })
    }
    case "remove": {
      const removed = yield* store.remove(key, version)
      if (!removed) return answer(`${version}: false`, unlessCertain(version))
      return answer(`${version}: true`, (state) => mayHave(state, version) ? "absent" : undefined)
    }
    case "removeAny": {
      const removed = yield* store.remove(key)
      return answer(`${removed}`, (state) => removed === (state !== "absent") ? "absent" : undefined)
    }
  }
})

const mayHave = (state: State, version: Version): state is Exclude<State, "absent"> =>
  state !== "absent" && (state.version === undefined || state.version === version)

/** A stale answer: possible unless the record certainly had that version. */
const unlessCertain = (version: Version): Event["apply"] => (state) =>
  state !== "absent" && state.version === version ? undefined : state

const stateOf = (found: Option.Option<Stored>): State =>
  Option.match(found, {
    onNone: () => "absent",
    onSome: ({ data, expiresAt, version }) => ({ data: hex(data), version, expiresAt })
  })

const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex")
