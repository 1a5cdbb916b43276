import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import * as Memory from "../../src/layers/Memory.js"
import { SessionStore, SessionSweeper, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"

storeLaws(Memory.layer(), { sweeps: true, scans: true, anyKey: true })

const data = new Uint8Array([1, 2, 3])

const insert = (key: string, lifetime = 60_000) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const expiresAt = (yield* Clock.currentTimeMillis) + lifetime
    const version = Option.getOrThrow(yield* store.insert(key, data, expiresAt))
    return { data, version, expiresAt }
  })

const load = (key: string) => Effect.flatMap(SessionStore, (store) => store.load(key))

/** Which of the keys are there; looking counts as use. */
const present = (...keys: ReadonlyArray<string>) => Effect.filter(keys, (key) => Effect.map(load(key), Option.isSome))

describe("Memory, when full", () => {
  it.effect("forgets the least recently used: load, replace and touch are use, a refused insert is not", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      yield* insert("loaded")
      const { expiresAt } = yield* insert("refused")
      const toTouch = yield* insert("touched")
      const toReplace = yield* insert("replaced")
      yield* load("loaded")
      yield* store.touch("touched", toTouch, expiresAt)
      yield* store.replace("replaced", toReplace.version, data, expiresAt)
      expect(yield* store.insert("refused", data, expiresAt)).toEqual(Option.none())
      yield* insert("first")
      expect(Option.isNone(yield* load("refused"))).toBe(true)
      yield* insert("second")
      expect(yield* present("loaded", "touched", "replaced", "first", "second"))
        .toEqual(["touched", "replaced", "first", "second"])
    }).pipe(Effect.provide(Memory.layer({ capacity: 4 }))))

  it.effect("forgets what has expired before what was not used for long", () =>
    Effect.gen(function*() {
      yield* insert("old")
      yield* insert("expired", 1000)
      yield* insert("recent")
      yield* TestClock.adjust(1000)
      yield* insert("new")
      expect(yield* present("old", "expired", "recent", "new")).toEqual(["old", "recent", "new"])
    }).pipe(Effect.provide(Memory.layer({ capacity: 3 }))))

  it.effect("forgets first what a touch has made expire", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      yield* insert("old")
      yield* store.touch("touched", yield* insert("touched"), 1000)
      yield* TestClock.adjust(1000)
      yield* insert("new")
      expect(yield* present("old", "touched", "new")).toEqual(["old", "new"])
    }).pipe(Effect.provide(Memory.layer({ capacity: 2 }))))

  it.effect("keeps to its capacity, the latest in", () =>
    Effect.gen(function*() {
      const keys = Array.from({ length: 20_000 }, (_, i) => `${i}`)
      yield* Effect.forEach(keys, (key, i) => insert(key, 60_000 + (i * 7919) % 1000), { discard: true })
      expect(yield* present(...keys)).toEqual(keys.slice(-500))
    }).pipe(Effect.provide(Memory.layer({ capacity: 500 }))))

  const commands = FastCheck.array(
    FastCheck.record({
      operation: FastCheck.constantFrom<Operation | "wait">("load", "insert", "replace", "touch", "remove", "wait"),
      key: FastCheck.constantFrom("a", "b", "c", "d", "e"),
      millis: FastCheck.constantFrom(1, 2, 3, 100)
    }),
    { maxLength: 40, size: "max" }
  )

  it.effect.prop("does what a list in the order of use would do", [commands], ([commands]) =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      let list: ReadonlyArray<Item> = []
      for (const { key, millis, operation } of commands) {
        if (operation === "wait") {
          yield* TestClock.adjust(Math.min(millis, 2))
          continue
        }
        const now = yield* Clock.currentTimeMillis
        const alive = list.filter((item) => item.expiresAt > now)
        const item = alive.find((item) => item.key === key)
        const done = yield* run(store, operation, { key, version: noVersion, ...item, expiresAt: now + millis })
        expect(Option.isSome(done), `${operation} ${key}`).toBe((item === undefined) === (operation === "insert"))
        if (Option.isNone(done)) continue
        const others = alive.filter((item) => item.key !== key)
        list = operation === "remove" ? others : [...others.slice(-2), done.value]
      }
    }).pipe(Effect.provide(Memory.layer({ capacity: 3 }))), { fastCheck: { numRuns: 40 } })
})

type Operation = keyof SessionStore["Type"]

interface Item {
  readonly key: string
  readonly version: Version
  readonly expiresAt: number
}

const noVersion = Version("")

/** Runs the operation; answers what is there now, none when it was not done. */
const run = (store: SessionStore["Type"], operation: Operation, item: Item) => {
  const { expiresAt, key, version } = item
  const written = Effect.map(Option.map((version: Version): Item => ({ key, version, expiresAt })))
  const done = Effect.map((done: boolean) => done ? Option.some(item) : Option.none())
  switch (operation) {
    case "load":
      return Effect.map(store.load(key), Option.map((found): Item => ({ ...found, key })))
    case "insert":
      return written(store.insert(key, data, expiresAt))
    case "replace":
      return written(store.replace(key, version, data, expiresAt))
    case "touch":
      return done(store.touch(key, { ...item, data }, expiresAt))
    case "remove":
      return done(store.remove(key, version))
  }
}

describe("Memory, left alone", () => {
  it.effect("sweeps more than a batch", () =>
    Effect.gen(function*() {
      const { sweep } = yield* SessionSweeper
      const keys = Array.from({ length: 1200 }, (_, i) => `${i}`)
      yield* Effect.forEach(keys, (key, i) => insert(key, i % 2 === 0 ? 1000 + i : 60_000), { discard: true })
      yield* TestClock.adjust(2200)
      expect(yield* sweep).toBe(600)
      expect((yield* present(...keys)).length).toBe(600)
    }).pipe(Effect.provide(Memory.layer())))

  it.effect("sweeps within 72 seconds, without traffic", () =>
    Effect.gen(function*() {
      const { sweep } = yield* SessionSweeper
      yield* insert("expired", 1000)
      yield* insert("live", 100_000)
      yield* TestClock.adjust("72 seconds")
      expect(yield* sweep).toBe(0)
      expect(yield* present("expired", "live")).toEqual(["live"])
    }).pipe(Effect.provide(Memory.layer())))

  it.effect("sweeps no more, and keeps nothing, when the scope has closed", () =>
    Effect.gen(function*() {
      const supervisor = yield* Supervisor.track
      const store = yield* Effect.gen(function*() {
        yield* insert("live")
        expect((yield* supervisor.value).length).toBe(1)
        return yield* SessionStore
      }).pipe(Effect.provide(Memory.layer()), Effect.supervised(supervisor))
      expect((yield* supervisor.value).length).toBe(0)
      expect(yield* store.load("live")).toEqual(Option.none())
    }))

  it.effect("shares nothing with another build of the layer", () =>
    Effect.gen(function*() {
      const layer = Memory.layer()
      const one = yield* insert("key").pipe(Effect.provide(layer))
      const other = yield* insert("key").pipe(Effect.provide(layer))
      expect(one.version).not.toBe(other.version)
    }))
})

describe("Memory, configured", () => {
  it.effect.each([0, -1, 1.5, NaN, Infinity])("refuses a capacity of %s", (capacity) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Memory.layer({ capacity }))))
      expect(error).toMatchObject({ _tag: "SessionConfigError", option: "capacity" })
    }))

  it.effect("takes its capacity from Config", () =>
    Effect.gen(function*() {
      yield* insert("a")
      yield* insert("b")
      expect(yield* present("a", "b")).toEqual(["b"])
    }).pipe(
      Effect.provide(Memory.layerConfig({ capacity: Config.integer("CAPACITY") })),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["CAPACITY", "1"]])))
    ))
})
