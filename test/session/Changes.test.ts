import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { type Change, Changes, isChanged, replay } from "../../src/internal/session/Changes.js"
import * as Payload from "../../src/schema/Payload.js"
import { isInstance } from "../../src/SessionError.js"

interface Value {
  readonly a: number
  readonly b: number
}

const payload = Payload.make(Schema.Struct({ a: Schema.Number, b: Schema.Number }), () => ({ a: 0, b: 0 }))
const startAt = (a: number, b: number) => ({ value: { a, b }, source: undefined })
const increment: Change<Value> = { _tag: "Update", f: (value) => ({ ...value, a: value.a + 1 }) }
const set = (key: "a" | "b", value: number): Change<Value> => ({ _tag: "Set", key, value })

const make = (start = startAt(1, 1)) => new Changes<Value>(payload, start)

/** Replays what was recorded over another start. */
const replayed = (changes: Changes<Value>, a: number, b: number) => replay(payload, startAt(a, b), changes.take()).value

const reasonOf = (body: () => unknown): string => {
  try {
    body()
    return "done"
  } catch (error) {
    if (!isInstance(error)) throw error
    return error.reason
  }
}

describe("changes", () => {
  it("show the start with the changes in it", () => {
    const changes = make()
    changes.add(increment)
    changes.add(set("b", 5))
    expect(changes.value).toEqual({ a: 2, b: 5 })
  })

  it("replay an update over a fresh value", () => {
    const changes = make()
    changes.add(increment)
    changes.add(increment)
    expect(replayed(changes, 10, 1)).toEqual({ a: 12, b: 1 })
  })

  it("record nothing for an update that returns its argument", () => {
    const changes = make()
    changes.add({ _tag: "Update", f: (value) => value })
    expect(changes.hasWrites).toBe(false)
  })

  it("record nothing for an update that throws", () => {
    const changes = make()
    const thrown = new Error("updater")
    expect(() =>
      changes.add({
        _tag: "Update",
        f: () => {
          throw thrown
        }
      })
    ).toThrow(thrown)
    expect(changes.take().changes).toEqual([])
  })

  it("fail with Conflict when a field that was read has moved and is set", () => {
    const changes = make()
    changes.read("a")
    changes.add(set("a", 5))
    expect(reasonOf(() => replayed(changes, 2, 1))).toBe("Conflict")
    expect(reasonOf(() => replayed(changes, 1, 7))).toBe("done")
  })

  it("set a field that was not read over whatever is there", () => {
    const changes = make()
    changes.read("b")
    changes.add(set("a", 5))
    expect(replayed(changes, 9, 1)).toEqual({ a: 5, b: 1 })
  })

  it("compare with the committed value after a commit", () => {
    const changes = make()
    changes.read("a")
    changes.add(increment)
    const batch = changes.take()
    changes.committed(batch, batch.pending!, startAt(2, 1))
    changes.add(set("a", 5))
    expect(reasonOf(() => replayed(changes, 2, 1))).toBe("done")
    expect(reasonOf(() => replayed(changes, 3, 1))).toBe("Conflict")
  })

  it("keep a moved field moved after a commit, until it is read again", () => {
    const changes = make()
    changes.read("a")
    changes.add(set("b", 2))
    const batch = changes.take()
    changes.committed(batch, replay(payload, startAt(7, 1), batch), startAt(7, 2))
    changes.add(set("a", 5))
    expect(reasonOf(() => replayed(changes, 7, 2))).toBe("Conflict")
    const again = make(startAt(7, 2))
    again.read("a")
    again.add(set("a", 5))
    expect(reasonOf(() => replayed(again, 7, 2))).toBe("done")
  })

  it("keep what was recorded during a commit", () => {
    const changes = make()
    changes.add(increment)
    const batch = changes.take()
    changes.add(set("b", 9))
    changes.committed(batch, batch.pending!, startAt(2, 1))
    expect(changes.value).toEqual({ a: 2, b: 9 })
    expect(changes.take().changes).toEqual([set("b", 9)])
  })

  it("give a batch that later reads do not reach", () => {
    const changes = make()
    changes.read("a")
    changes.add(increment)
    const { pending } = changes.take()
    changes.read("b")
    expect([...pending!.guards!.keys()]).toEqual(["a"])
  })

  it("have no pending value when they do not replay over the start", () => {
    const changes = make()
    changes.read("a")
    changes.add(set("a", 5))
    changes.rebase(startAt(2, 1))
    expect(changes.take().pending).toBeUndefined()
    expect(changes.value).toEqual({ a: 2, b: 1 })
    changes.rebase(startAt(1, 1))
    expect(changes.take().pending?.value).toEqual({ a: 5, b: 1 })
  })

  it("drop writes and keep reads", () => {
    const changes = make()
    changes.read("a")
    changes.add(increment)
    changes.dropWrites()
    expect(changes.value).toEqual({ a: 1, b: 1 })
    expect(changes.take().changes.map(({ _tag }) => _tag)).toEqual(["Read"])
  })

  it("forget reads at a reset", () => {
    const changes = make()
    changes.read("a")
    changes.reset(startAt(2, 2))
    changes.add(set("a", 5))
    expect(reasonOf(() => replayed(changes, 3, 3))).toBe("done")
  })

  it("show the start alone once the session has ended, and stay recorded", () => {
    const changes = make()
    changes.add(increment)
    changes.add(set("b", 4))
    changes.endWith(1, startAt(0, 0))
    expect(changes.value).toEqual({ a: 0, b: 0 })
    expect(changes.take().changes).toEqual([set("b", 4)])
  })

  it("record a read once, until the value changes", () => {
    const changes = make()
    changes.read("a")
    changes.read("a")
    changes.add(increment)
    changes.read("a")
    expect(changes.take().changes.map(({ _tag }) => _tag)).toEqual(["Read", "Update", "Read"])
  })

  it("merge lifetimes", () => {
    const changes = make()
    changes.add({ _tag: "SetLifetime", lifetime: { idleTimeout: 1 } })
    changes.add({ _tag: "SetLifetime", lifetime: { persistent: true } })
    expect(changes.take().pending?.lifetime).toEqual({ idleTimeout: 1, persistent: true })
  })

  it("are a write when they change the value, a lifetime or the id", () => {
    const start = startAt(1, 1)
    const pendingOf = (...all: ReadonlyArray<Change<Value>>) => {
      const changes = make(start)
      all.forEach((change) => changes.add(change))
      return changes.take().pending!
    }
    expect(isChanged(pendingOf(), start)).toBe(false)
    expect(isChanged(pendingOf(increment), start)).toBe(true)
    expect(isChanged(pendingOf({ _tag: "Regenerate" }), start)).toBe(true)
    expect(isChanged(pendingOf({ _tag: "SetLifetime", lifetime: {} }), start)).toBe(true)
    expect(isChanged(pendingOf({ _tag: "Clear", initial: { a: 0, b: 0 } }), start)).toBe(true)
  })
})
