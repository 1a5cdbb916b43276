import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Memory from "../../src/layers/Memory.js"
import * as Observed from "../../src/layers/Observed.js"
import { SessionStore, SessionStoreError, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"

const data = Uint8Array.of(1)
const later = 2 ** 40

/** Over a memory store of which some operations are replaced. */
const watched = (options: Observed.Options, replaced: Partial<SessionStore["Type"]> = {}) =>
  Effect.gen(function*() {
    const memory = Context.get(yield* Memory.make(), SessionStore)
    return yield* Observed.make({ ...memory, ...replaced }, options)
  })

/** The events of an effect, when all have been told. */
const collected = () => {
  const events: Array<Observed.Event> = []
  const onEvent = (event: Observed.Event) => Effect.sync(() => events.push(event))
  return { onEvent, events: Effect.as(Effect.replicateEffect(Effect.yieldNow(), 20), events) }
}

const short = ({ operation, outcome }: Observed.Event) => `${operation} ${outcome}`

/** What the metrics have counted for a store. */
const counted = (store: string) =>
  Effect.map(Metric.snapshot, (pairs) =>
    Object.fromEntries(pairs.flatMap(({ metricKey, metricState }) => {
      const tags = Object.fromEntries(metricKey.tags.map(({ key, value }) => [key, value]))
      return metricKey.name === "effect_session_store_operations" && tags.store === store && "count" in metricState
        ? [[`${tags.operation} ${tags.outcome}`, metricState.count]]
        : []
    })))

storeLaws(Layer.provide(Observed.layer(), Memory.layer()))

describe("Observed", () => {
  it.scoped("tells and counts each operation and how it ended, without its key", () =>
    Effect.gen(function*() {
      const { events, onEvent } = collected()
      const store = yield* watched({ store: "each", onEvent })
      const version = Option.getOrThrow(yield* store.insert("secret-key", data, later))
      yield* store.insert("secret-key", data, later)
      yield* store.replace("secret-key", Version("other"), data, later)
      const current = Option.getOrThrow(yield* store.load("secret-key"))
      yield* store.touch("secret-key", current, later + 1)
      yield* store.remove("secret-key", version)
      yield* store.load("secret-key")
      const told = yield* events
      const expected = [
        "insert Done",
        "insert None",
        "replace None",
        "load Done",
        "touch Done",
        "remove Done",
        "load None"
      ]
      expect(told.map(short)).toEqual(expected)
      expect(yield* counted("each")).toEqual(Object.fromEntries(expected.map((id) => [id, 1])))
      expect(JSON.stringify(told)).not.toContain("secret")
    }))

  it.scoped("says why an operation failed, that it died, that it was interrupted, and how long it took", () =>
    Effect.gen(function*() {
      const { events, onEvent } = collected()
      const store = yield* watched({ store: "failing", onEvent }, {
        load: () => Effect.delay(new SessionStoreError({ reason: "Timeout", operation: "load" }), "2 seconds"),
        insert: () => Effect.die("bug"),
        remove: () => Effect.never
      })
      const load = yield* Effect.fork(store.load("key"))
      yield* TestClock.adjust("2 seconds")
      expect((yield* Effect.flip(load)).reason).toBe("Timeout")
      yield* Effect.exit(store.insert("key", data, later))
      const remove = yield* Effect.fork(store.remove("key"))
      yield* Effect.yieldNow()
      yield* remove.interruptAsFork(remove.id())
      yield* remove.await
      const told = yield* events
      expect(told.map(short)).toEqual(["load Timeout", "insert Died", "remove Interrupted"])
      expect(told[0]!.millis).toBe(2000)
    }))

  it.scoped("REG-B7: a listener that fails, dies or hangs hurts no operation", () =>
    Effect.gen(function*() {
      const listeners = [
        () => Effect.fail("no"),
        () => Effect.die("no"),
        () => {
          throw new Error("no")
        },
        () => Effect.never
      ]
      for (const onEvent of listeners) {
        const store = yield* watched({ onEvent })
        for (let i = 0; i < 2000; i++) expect(yield* store.load("key")).toEqual(Option.none())
      }
    }))

  it.scoped.each<readonly [string, Effect.Effect<void>]>([
    ["died", Effect.die("once")],
    ["been interrupted", Effect.interrupt],
    ["waited for a fiber that was interrupted", Effect.flatMap(Effect.fork(Effect.interrupt), Fiber.join)]
  ])("goes on telling after a listener has %s", ([, once]) =>
    Effect.gen(function*() {
      let told = 0
      const store = yield* watched({ onEvent: () => Effect.suspend(() => ++told === 1 ? once : Effect.void) })
      yield* store.load("key")
      yield* store.load("key")
      yield* Effect.replicateEffect(Effect.yieldNow(), 20)
      expect(told).toBe(2)
    }))

  it.effect("tells nobody any more when its scope has closed", () =>
    Effect.gen(function*() {
      let told = 0
      const store = yield* Effect.scoped(watched({ onEvent: () => Effect.sync(() => ++told) }))
      yield* store.load("key")
      yield* Effect.replicateEffect(Effect.yieldNow(), 20)
      expect(told).toBe(0)
    }))
})
