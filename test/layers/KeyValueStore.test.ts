import * as NodeContext from "@effect/platform-node/NodeContext"
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Store from "../../src/layers/KeyValueStore.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionStore, SingleProcess, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"

const data = Buffer.from("the data of a session")
const never = 2 ** 52

const layerFiles = Layer.unwrapScoped(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return KeyValueStore.layerFileSystem(yield* fs.makeTempDirectoryScoped({ prefix: "effect-session-" }))
})).pipe(Layer.provide(NodeContext.layer))

const map = <E>(
  layer: Layer.Layer<KeyValueStore.KeyValueStore, E>,
  f: (values: KeyValueStore.KeyValueStore) => KeyValueStore.KeyValueStore
) =>
  Layer.map(
    layer,
    (context) => Context.make(KeyValueStore.KeyValueStore, f(Context.get(context, KeyValueStore.KeyValueStore)))
  )

describe("KeyValueStore", () => {
  storeLaws(Layer.provide(Store.layer, KeyValueStore.layerMemory), {
    name: "a KeyValueStore in memory",
    slowWrites: Layer.provide(
      Store.layer,
      map(KeyValueStore.layerMemory, (values) => ({
        ...values,
        set: (key: string, value: string | Uint8Array) => Effect.delay(values.set(key, value), "10 seconds"),
        remove: (key: string) => Effect.delay(values.remove(key), "10 seconds")
      }))
    )
  })
  storeLaws(Layer.provide(Store.layer, layerFiles), { name: "a KeyValueStore in files" })
  storeLaws(
    Layer.provide(Store.layerWith({ prefix: "app1/" }), map(KeyValueStore.layerMemory, KeyValueStore.prefix("data/"))),
    { name: "a KeyValueStore under a prefix" }
  )

  const test = Layer.provideMerge(Store.layer, KeyValueStore.layerMemory)

  it.effect("says that it is for a single process", () =>
    Effect.gen(function*() {
      expect(yield* SingleProcess).toBe(true)
    }).pipe(Effect.provide(test)))

  it.effect("two under different prefixes share nothing", () =>
    Effect.gen(function*() {
      const values = yield* KeyValueStore.KeyValueStore
      const [one, other] = yield* Effect.forEach(["a:", "b:"], (prefix) =>
        Effect.map(
          Effect.provideService(Store.makeWith({ prefix }), KeyValueStore.KeyValueStore, values),
          Context.get(SessionStore)
        ))
      yield* one!.insert("key", data, never)
      expect(yield* other!.load("key")).toEqual(Option.none())
      expect(yield* other!.remove("key")).toBe(false)
      expect(Option.isSome(yield* one!.load("key"))).toBe(true)
    }).pipe(Effect.provide(KeyValueStore.layerMemory)))

  it.effect("an entry of the app opens no session, and a session overwrites no entry of the app", () =>
    Effect.gen(function*() {
      const values = yield* KeyValueStore.KeyValueStore
      const store = yield* SessionStore
      yield* values.set("key", "the app's own")
      expect(yield* store.load("key")).toEqual(Option.none())
      yield* store.insert("key", data, never)
      expect(yield* values.get("key")).toEqual(Option.some("the app's own"))
      // what a user gets the app to store under a name of theirs is no session
      yield* values.set("planted", Option.getOrThrow(yield* values.get("session:key")))
      expect(yield* store.load("planted")).toEqual(Option.none())
    }).pipe(Effect.provide(test)))

  it.effect("an operation that waits too long for another one fails with Timeout", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const writer = yield* Effect.fork(store.insert("key", data, never))
      yield* TestClock.adjust("1 second")
      const waiter = yield* Effect.fork(Effect.flip(store.load("key")))
      yield* TestClock.adjust("8 seconds")
      expect(yield* Fiber.join(waiter)).toMatchObject({ reason: "Timeout", operation: "load" })
      yield* TestClock.adjust("10 seconds")
      expect(Option.isSome(yield* Fiber.join(writer))).toBe(true)
    }).pipe(Effect.provide(Layer.provide(
      Store.layer,
      map(KeyValueStore.layerMemory, (values) => ({
        ...values,
        set: (key: string, value: string | Uint8Array) => Effect.delay(values.set(key, value), "10 seconds")
      }))
    ))))

  it.effect("a timeout that is no duration is a SessionConfigError", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(Store.layerWith({ timeout: "abc" as never })))
      expect(error).toMatchObject({ _tag: "SessionConfigError", option: "timeout" })
    }).pipe(Effect.scoped, Effect.provide(KeyValueStore.layerMemory)))

  it.effect("what others keep there, or a torn record, is corrupt and stays as it is", () =>
    Effect.gen(function*() {
      const values = yield* KeyValueStore.KeyValueStore
      const store = yield* SessionStore
      yield* store.insert("key", data, never)
      const whole = Option.getOrThrow(yield* values.get("session:key"))
      const version = Version(whole.split(" ")[1]!)
      for (const text of ["", "text", "soon version ZGF0YQ==.", ...[...whole].map((_, i) => whole.slice(0, i))]) {
        yield* values.set("session:key", text)
        const current = { data, version, expiresAt: never }
        const operations: ReadonlyArray<Effect.Effect<unknown, SessionStoreError>> = [
          store.load("key"),
          store.insert("key", data, never),
          store.replace("key", version, data, never),
          store.touch("key", current, never),
          store.remove("key")
        ]
        for (const operation of operations) {
          expect((yield* Effect.flip(operation)).reason).toBe("Corrupt")
        }
        expect(yield* values.get("session:key")).toEqual(Option.some(text))
      }
    }).pipe(Effect.provide(test)))

  const system = (reason: PlatformError.SystemErrorReason) =>
    new PlatformError.SystemError({ reason, module: "KeyValueStore", method: "get" })

  it.effect.each(
    [
      ["TimedOut", "Timeout"],
      ["PermissionDenied", "Rejected"],
      ["NotFound", "Unavailable"],
      ["Unknown", "Unavailable"]
    ] as const
  )("an error that says %s is %s, never an absent session", ([given, reason]) =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const error = yield* Effect.flip(store.load("key"))
      expect(error).toMatchObject({ reason, operation: "load" })
      expect(error.cause).toMatchObject({ reason: given })
    }).pipe(
      Effect.provide(Layer.provide(
        Store.layer,
        map(KeyValueStore.layerMemory, (values) => ({ ...values, get: () => Effect.fail(system(given)) }))
      ))
    ))

  it.scoped("a key that the KeyValueStore refuses is Rejected", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      expect((yield* Effect.flip(store.load(".."))).reason).toBe("Rejected")
    }).pipe(Effect.provide(Layer.provide(Store.layerWith({ prefix: "" }), layerFiles))))
})
