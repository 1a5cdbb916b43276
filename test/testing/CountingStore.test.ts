import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Memory from "../../src/layers/Memory.js"
import { SessionStore } from "../../src/SessionStore.js"
import * as CountingStore from "../../src/testing/CountingStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"

const layer = Layer.provide(CountingStore.layer, Memory.layer())

storeLaws(layer)

it.effect("counts each operation when it runs, and starts again after a reset", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const { counts, reset } = yield* CountingStore.StoreCounts
    const data = new Uint8Array([1])
    const insert = store.insert("key", data, 1000)
    const before = yield* counts
    yield* insert
    yield* insert
    const current = Option.getOrThrow(yield* store.load("key"))
    yield* store.touch("key", current, 2000)
    yield* store.touch("key", current, 3000)
    yield* store.touch("key", current, 4000)
    yield* store.replace("key", current.version, data, 1000)
    yield* Effect.replicateEffect(store.remove("key"), 4)
    expect(before).toEqual({ load: 0, insert: 0, replace: 0, touch: 0, remove: 0 })
    expect(yield* counts).toEqual({ load: 1, insert: 2, replace: 1, touch: 3, remove: 4 })
    yield* reset
    expect(yield* counts).toEqual(before)
  }).pipe(Effect.provide(layer)))
