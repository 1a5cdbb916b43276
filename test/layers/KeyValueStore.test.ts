import * as NodeContext from "@effect/platform-node/NodeContext"
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
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
  storeLaws(Layer.provide(Store.layer, KeyValueStore.layerMemory), { name: "a KeyValueStore in memory" })
  storeLaws(Layer.provide(Store.layer, layerFiles), { name: "a KeyValueStore in files" })
  storeLaws(
    Layer.provide(Store.layer, map(KeyValueStore.layerMemory, KeyValueStore.prefix("session:"))),
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
          Effect.provideService(Store.make, KeyValueStore.KeyValueStore, KeyValueStore.prefix(values, prefix)),
          Context.get(SessionStore)
        ))
      yield* one!.insert("key", data, never)
      expect(yield* other!.load("key")).toEqual(Option.none())
      expect(yield* other!.remove("key")).toBe(false)
      expect(Option.isSome(yield* one!.load("key"))).toBe(true)
    }).pipe(Effect.provide(KeyValueStore.layerMemory)))

  it.effect("what others keep there, or a torn record, is corrupt and stays as it is", () =>
    Effect.gen(function*() {
      const values = yield* KeyValueStore.KeyValueStore
      const store = yield* SessionStore
      yield* store.insert("key", data, never)
      const whole = Option.getOrThrow(yield* values.get("key"))
      const version = Version(whole.split(" ")[1]!)
      for (const text of ["", "text", "soon version ZGF0YQ==.", ...[...whole].map((_, i) => whole.slice(0, i))]) {
        yield* values.set("key", text)
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
        expect(yield* values.get("key")).toEqual(Option.some(text))
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
    }).pipe(Effect.provide(Layer.provide(Store.layer, layerFiles))))
})
