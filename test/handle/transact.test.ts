import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Faults from "../faults.js"
import {
  cookieOf,
  elsewhere,
  type Handle,
  increment,
  increments,
  issued,
  outcome,
  rule,
  stored,
  type Value
} from "./world.js"

const countUp = (value: Value): [number, Value] => [value.count + 1, { ...value, count: value.count + 1 }]
const next = (handle: Handle) => handle.transact(countUp)

rule("answers what was computed on the state that was really stored", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { handle } = world.app.open(cookie)
    yield* handle.value
    yield* increments(world, cookie, 5)
    expect(yield* next(handle)).toBe(6)
    expect((yield* stored(world, cookie)).count).toBe(6)
  }))

rule("commits the earlier entries with it, in one write", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { handle } = world.app.open(cookie)
    yield* handle.set("note", "before")
    expect(yield* next(handle)).toBe(1)
    expect(world.faults.calls).toEqual(["load", "replace"])
    expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "before" })
  }))

rule("a coupon is spent once, by however many requests at once", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world, { count: 1 })
    world.faults.always("replace", Faults.after(Effect.yieldNow()))
    world.faults.always("load", Faults.after(Effect.yieldNow()))
    const spend = Effect.suspend(() =>
      world.app.open(cookie).handle.transact((value) =>
        value.count > 0 ? [true, { ...value, count: value.count - 1 }] : [false, value]
      )
    )
    const answers = yield* Effect.replicateEffect(spend, 10, { concurrency: "unbounded" })
    expect(answers.filter(Boolean)).toHaveLength(1)
    expect((yield* stored(world, cookie)).count).toBe(0)
  }))

rule("on a session without a record it inserts", (world) =>
  Effect.gen(function*() {
    const opened = world.app.open()
    expect(yield* next(opened.handle)).toBe(1)
    expect(world.faults.calls).toEqual(["insert"])
    expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
  }))

rule("a decision that changes nothing, with nothing recorded, costs no write", (world) =>
  Effect.gen(function*() {
    const { finish, handle } = world.app.open(yield* issued(world, { count: 4 }))
    expect(yield* handle.transact((value) => [value.count, value])).toBe(4)
    yield* finish
    expect(world.faults.calls).toEqual(["load"])
  }))

rule("one that changes nothing commits the earlier entries all the same", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { handle } = world.app.open(cookie)
    yield* handle.set("note", "before")
    expect(yield* handle.transact((value) => [value.note, value])).toBe("before")
    expect((yield* stored(world, cookie)).note).toBe("before")
  }))

rule("on failure only its own entry is dropped", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.set("note", "kept")
    world.faults.script("replace", Faults.refuse("Throttled"))
    expect(yield* outcome(next(handle))).toBe("Throttled")
    expect(yield* handle.value).toEqual({ count: 0, note: "kept" })
    yield* finish
    expect(yield* stored(world, cookie)).toEqual({ count: 0, note: "kept" })
  }))

rule("on failure nothing that others wrote meanwhile is lost", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.set("note", "kept")
    world.faults.script("replace", Faults.after(increments(world, cookie, 3)), Faults.refuse("Throttled"))
    expect(yield* outcome(next(handle))).toBe("Throttled")
    yield* finish
    expect(yield* stored(world, cookie)).toEqual({ count: 3, note: "kept" })
  }))

rule("one that throws on replay fails as Updater, and writes nothing", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.value
    yield* increments(world, cookie, 1)
    const once = handle.transact((value) => {
      if (value.count > 0) throw new Error("taken")
      return ["mine", { ...value, count: 1 }]
    })
    expect(yield* outcome(once)).toBe("Updater")
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(1)
  }))

rule("what is recorded while it is stored is applied after it", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.value
    world.faults.script(
      "replace",
      Faults.after(Effect.orDie(handle.update((value) => ({ ...value, count: value.count * 10 }))))
    )
    expect(yield* next(handle)).toBe(1)
    expect(yield* handle.get("count")).toBe(10)
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(10)
  }))

rule("a session that ended is Gone, and the answer is none", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { handle } = world.app.open(cookie)
    yield* increment(handle)
    yield* elsewhere(world, cookie, (handle) => handle.destroy)
    expect(yield* outcome(next(handle))).toBe("Gone")
    expect(yield* world.records).toBe(0)
  }))
