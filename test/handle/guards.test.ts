import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { elsewhere, type Handle, increments, issued, outcome, rule, stored, type World } from "./world.js"

/** A request that has read what `read` reads, while somebody else changed `count`. */
const overtaken = (world: World, read: (handle: Handle) => Effect.Effect<unknown, never>) =>
  Effect.gen(function*() {
    const cookie = yield* Effect.orDie(issued(world))
    const opened = world.app.open(cookie)
    yield* read(opened.handle)
    yield* increments(world, cookie, 1)
    return { cookie, finish: opened.finish, handle: opened.handle }
  })

const none = () => Effect.void
const getCount = (handle: Handle) => Effect.orDie(handle.get("count"))
const getNote = (handle: Handle) => Effect.orDie(handle.get("note"))
const getAll = (handle: Handle) => Effect.orDie(handle.value)

rule("a key that was read and has moved cannot be set", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getCount)
    yield* handle.set("count", 9)
    yield* handle.set("note", "mine")
    expect(yield* outcome(finish)).toBe("Conflict")
    expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "" })
  }))

rule("reading the whole value guards each of its keys", (world) =>
  Effect.gen(function*() {
    const { finish, handle } = yield* overtaken(world, getAll)
    yield* handle.set("count", 9)
    expect(yield* outcome(finish)).toBe("Conflict")
  }))

rule("only the key being set is guarded", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getAll)
    yield* handle.set("note", "mine")
    yield* finish
    expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "mine" })
  }))

rule("never read: the last writer of the key wins", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getNote)
    yield* handle.set("count", 9)
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(9)
  }))

rule("a read after the set guards nothing before it", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, none)
    yield* handle.set("count", 9)
    expect(yield* handle.get("count")).toBe(9)
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(9)
  }))

rule("a read is compared at its place in the log, own changes before it included", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.update((value) => ({ ...value, count: value.count + 10 }))
    yield* handle.get("count")
    yield* handle.set("note", "x")
    yield* elsewhere(world, cookie, (handle) => handle.set("note", "theirs"))
    yield* handle.set("count", 99)
    yield* finish
    expect(yield* stored(world, cookie)).toEqual({ count: 99, note: "x" })
  }))

rule("a read of an own change has moved when what it was made from has", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.update((value) => ({ ...value, count: value.count + 10 }))
    yield* handle.get("count")
    yield* increments(world, cookie, 1)
    yield* handle.set("count", 99)
    expect(yield* outcome(finish)).toBe("Conflict")
  }))

rule("a key rewritten with an equal value has not moved", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world, { user: "u" })
    const { finish, handle } = world.app.open(cookie)
    yield* handle.get("user")
    yield* elsewhere(world, cookie, (handle) => handle.set("user", ["u"].join("")))
    yield* handle.set("user", "v")
    yield* finish
    expect((yield* stored(world, cookie)).user).toBe("v")
  }))

rule("an update is not guarded", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getCount)
    yield* handle.update((value) => ({ ...value, count: value.count + 10 }))
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(11)
  }))

rule(
  "a Conflict stays one: the log is kept, and committing again overwrites nothing",
  (world) =>
    Effect.gen(function*() {
      const { cookie, finish, handle } = yield* overtaken(world, getCount)
      yield* handle.set("count", 9)
      expect(yield* outcome(handle.save)).toBe("Conflict")
      expect(yield* outcome(handle.save)).toBe("Conflict")
      expect(yield* outcome(finish)).toBe("Conflict")
      expect((yield* stored(world, cookie)).count).toBe(1)
    })
)

rule("a Conflict does not take other changes of the session along", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getCount)
    yield* handle.set("count", 9)
    yield* outcome(handle.save)
    yield* elsewhere(world, cookie, (handle) => handle.set("note", "theirs"))
    yield* outcome(finish)
    expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "theirs" })
  }))

rule("reads outlive save, and are compared with the committed value from then on", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.get("count")
    yield* handle.set("count", 5)
    yield* handle.save
    yield* handle.set("count", 6)
    yield* handle.save
    expect((yield* stored(world, cookie)).count).toBe(6)
    yield* increments(world, cookie, 1)
    yield* handle.set("count", 9)
    expect(yield* outcome(finish)).toBe("Conflict")
  }))

rule("what moved before a save has still moved after it", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getCount)
    yield* handle.set("note", "mine")
    yield* handle.save
    yield* handle.set("count", 9)
    expect(yield* outcome(finish)).toBe("Conflict")
    expect(yield* stored(world, cookie)).toEqual({ count: 1, note: "mine" })
  }))

rule("what moved has moved, even when it has moved back", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getCount)
    yield* handle.set("note", "mine")
    yield* handle.save
    yield* elsewhere(world, cookie, (handle) => handle.set("count", 0))
    yield* handle.set("note", "again")
    yield* handle.save
    yield* handle.set("count", 9)
    expect(yield* outcome(finish)).toBe("Conflict")
  }))

rule("reads outlive transact", (world) =>
  Effect.gen(function*() {
    const { finish, handle } = yield* overtaken(world, getCount)
    yield* handle.transact((value) => [undefined, { ...value, note: "mine" }])
    yield* handle.set("count", 9)
    expect(yield* outcome(finish)).toBe("Conflict")
  }))

rule("reading again clears what had moved", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getCount)
    yield* handle.set("note", "mine")
    yield* handle.save
    expect(yield* handle.get("count")).toBe(1)
    yield* handle.set("count", 9)
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(9)
  }))

rule("reload clears what had moved", (world) =>
  Effect.gen(function*() {
    const { cookie, finish, handle } = yield* overtaken(world, getCount)
    yield* handle.set("count", 9)
    expect(yield* outcome(handle.save)).toBe("Conflict")
    yield* handle.reload
    yield* handle.set("count", 9)
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(9)
  }))

rule("reload forgets reads: the key's last writer wins again", (world) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const { finish, handle } = world.app.open(cookie)
    yield* handle.get("count")
    yield* handle.set("note", "mine")
    yield* handle.save
    yield* handle.reload
    yield* increments(world, cookie, 1)
    yield* handle.set("count", 9)
    yield* finish
    expect((yield* stored(world, cookie)).count).toBe(9)
  }))
