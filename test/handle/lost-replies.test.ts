import { describe, expect } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as Faults from "../faults.js"
import {
  cookieOf,
  elsewhere,
  increment,
  increments,
  issued,
  keyOf,
  neverIssued,
  outcome,
  request,
  rule,
  stored,
  type World
} from "./world.js"

/** A handle whose commit may or may not have been applied. */
const spent = (world: World) =>
  Effect.gen(function*() {
    const cookie = yield* issued(world)
    const opened = world.app.open(cookie)
    yield* increment(opened.handle)
    world.faults.script("replace", Faults.loseReply())
    world.faults.script("load", Faults.refuse())
    expect(yield* outcome(opened.handle.save)).toBe("unknown")
    return { cookie, opened }
  })

describe("replace", () => {
  for (let foreign = 0; foreign <= 7; foreign++) {
    rule(`applied, the reply lost, ${foreign} commits since: done exactly once`, (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.script("replace", Faults.loseReply(increments(world, cookie, foreign)))
        const opened = yield* request(world.app, cookie, increment)
        expect((yield* stored(world, cookie)).count).toBe(1 + foreign)
        expect(yield* opened.handle.get("count")).toBe(1 + foreign)
        expect(world.faults.calls).toEqual(["load", "replace", "load"])
      }))
  }

  rule("applied, the reply lost, 8 commits since: unknown, and not done again", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseReply(increments(world, cookie, 8)))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("unknown")
      expect((yield* stored(world, cookie)).count).toBe(9)
    }))

  for (const foreign of [0, 1, 8]) {
    rule(`the request lost, ${foreign} commits since: replayed, once`, (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.script("replace", Faults.loseRequest(increments(world, cookie, foreign)))
        yield* request(world.app, cookie, increment)
        expect((yield* stored(world, cookie)).count).toBe(1 + foreign)
      }))
  }

  rule("the request lost, 9 commits since: unknown, and not done", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseRequest(increments(world, cookie, 9)))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("unknown")
      expect((yield* stored(world, cookie)).count).toBe(9)
    }))

  rule("two requests lost in a row, 5 commits after each: replayed, once", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      const lost = Faults.loseRequest(increments(world, cookie, 5))
      world.faults.script("replace", lost, lost)
      yield* request(world.app, cookie, increment)
      expect((yield* stored(world, cookie)).count).toBe(11)
    }))

  rule("the request lost, but overtaken for good: the next failure is what it says", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseRequest(increments(world, cookie, 1)), Faults.refuse("Throttled"))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("Throttled")
    }))

  rule("the request lost, and its retry refused: unknown, for it may still arrive", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseRequest(), Faults.refuse("Throttled"))
      expect(yield* outcome(request(world.app, cookie, increment))).toBe("unknown")
    }))

  rule("a request that arrives late finds that its retry was faster", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      let late: Effect.Effect<unknown, unknown> = Effect.void
      world.faults.script("replace", (call, operation) => {
        late = call
        return Faults.refuse("Timeout")(call, operation)
      })
      yield* request(world.app, cookie, increment)
      yield* late
      expect((yield* stored(world, cookie)).count).toBe(1)
    }))

  rule("a request that arrives before its retry: the retry finds it done", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      let late: Effect.Effect<unknown> = Effect.void
      world.faults.script(
        "replace",
        (call, operation) => {
          late = Effect.orDie(call)
          return Faults.refuse("Timeout")(call, operation)
        },
        Faults.after(Effect.suspend(() => late))
      )
      yield* request(world.app, cookie, increment)
      expect((yield* stored(world, cookie)).count).toBe(1)
      expect(world.faults.calls).toEqual(["load", "replace", "load", "replace", "load"])
    }))

  rule("three replies lost in a row: done once", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseRequest(), Faults.loseRequest(), Faults.loseReply())
      yield* request(world.app, cookie, increment)
      expect((yield* stored(world, cookie)).count).toBe(1)
    }))

  rule(
    "applied, the reply lost, the driver's timeout longer than all retries: still found done",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.script("replace", Faults.loseReply(Effect.sleep("10 seconds")))
        const fiber = yield* Effect.fork(outcome(request(world.app, cookie, increment)))
        yield* TestClock.adjust("10 seconds")
        expect(yield* Fiber.join(fiber)).toBe("done")
        expect((yield* stored(world, cookie)).count).toBe(1)
      })
  )

  rule(
    "never applied, the driver's timeout longer than all retries: unknown, and not sent again",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.script("replace", Faults.loseRequest(Effect.sleep("10 seconds")))
        const fiber = yield* Effect.fork(outcome(request(world.app, cookie, increment)))
        yield* TestClock.adjust("10 seconds")
        expect(yield* Fiber.join(fiber)).toBe("unknown")
        expect(world.faults.calls).toEqual(["load", "replace", "load"])
      })
  )

  rule("transact answers what was computed for the write that was applied", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseReply(increments(world, cookie, 3)))
      const opened = world.app.open(cookie)
      const answer = yield* opened.handle.transact((value) => [
        value.count + 1,
        { ...value, count: value.count + 1 }
      ])
      expect(answer).toBe(1)
      expect(yield* opened.handle.get("count")).toBe(4)
    }))

  rule("a regenerate whose reply was lost is recognised by its new verifier", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 7 })
      world.faults.script("replace", Faults.loseReply())
      const opened = yield* request(world.app, cookie, (handle) => handle.regenerate)
      expect((yield* stored(world, cookieOf(opened))).count).toBe(7)
      expect((yield* stored(world, cookie)).count).toBe(0)
      expect(world.faults.calls).toEqual(["load", "replace", "load"])
    }))

  rule("done, its reply lost, and the id retired since: done, and no cookie", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("replace", Faults.loseReply(elsewhere(world, cookie, (handle) => handle.regenerate)))
      const opened = world.app.open(cookie)
      yield* increment(opened.handle)
      yield* opened.handle.save
      expect(cookieOf(opened)).toBe("keep")
      expect(yield* outcome(opened.handle.save)).toBe("done") // nothing is left to commit
      yield* increment(opened.handle)
      expect(yield* outcome(opened.finish)).toBe("Gone")
    }))

  rule(
    "the reply lost, and the session destroyed since: Gone, and no record comes back",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.script("replace", Faults.loseReply(elsewhere(world, cookie, (handle) => handle.destroy)))
        expect(yield* outcome(request(world.app, cookie, increment))).toBe("Gone")
        expect(yield* world.records).toBe(0)
      })
  )
})

describe("an outcome that could not be learned", () => {
  rule("every further write or commit fails alike", (world) =>
    Effect.gen(function*() {
      const { cookie, opened: { finish, handle } } = yield* spent(world)
      world.faults.calls.length = 0
      expect(yield* outcome(increment(handle))).toBe("unknown")
      expect(yield* outcome(handle.set("note", "x"))).toBe("unknown")
      expect(yield* outcome(handle.clear)).toBe("unknown")
      expect(yield* outcome(handle.setLifetime({ persistent: true }))).toBe("unknown")
      expect(yield* outcome(handle.regenerate)).toBe("unknown")
      expect(yield* outcome(handle.transact((value) => [0, { ...value, count: 9 }]))).toBe("unknown")
      expect(yield* outcome(handle.save)).toBe("unknown")
      expect(yield* outcome(finish)).toBe("unknown")
      expect(world.faults.calls).toEqual([])
      expect((yield* stored(world, cookie)).count).toBe(1)
    }))

  rule("reload that finds the record ends an unknown outcome", (world) =>
    Effect.gen(function*() {
      const { cookie, opened: { finish, handle } } = yield* spent(world)
      yield* handle.reload
      expect(yield* handle.get("count")).toBe(1)
      yield* increment(handle)
      yield* handle.save
      yield* handle.set("note", "works again")
      expect(yield* handle.transact((value) => [value.count, { ...value, count: value.count + 1 }])).toBe(2)
      yield* handle.regenerate
      yield* finish
      expect(yield* outcome(finish)).toBe("done")
      expect(yield* world.other.open(cookie).handle.isNew).toBe(true) // regenerated
    }))

  rule("reload that fails or finds no record does not end an unknown outcome", (world) =>
    Effect.gen(function*() {
      const failing = yield* spent(world)
      world.faults.script("load", Faults.refuse())
      expect(yield* outcome(failing.opened.handle.reload)).toBe("Unavailable")
      expect(yield* outcome(increment(failing.opened.handle))).toBe("unknown")
      const gone = yield* spent(world)
      yield* elsewhere(world, gone.cookie, (handle) => handle.destroy)
      yield* gone.opened.handle.reload
      expect(yield* outcome(increment(gone.opened.handle))).toBe("unknown")
    }))

  rule("destroy is allowed, and what follows is a new session", (world) =>
    Effect.gen(function*() {
      const { cookie, opened } = yield* spent(world)
      yield* opened.handle.destroy
      yield* increment(opened.handle)
      yield* opened.finish
      expect(yield* world.records).toBe(1)
      expect(keyOf(cookieOf(opened))).not.toBe(keyOf(cookie))
    }))

  rule(
    "a commit interrupted while it finds out is one: it is not sent again under another token",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        const { finish, handle } = world.app.open(cookie)
        const asking = yield* Deferred.make<void>()
        yield* increment(handle)
        world.faults.script("replace", Faults.loseReply())
        world.faults.script("load", Faults.after(Effect.zipRight(Deferred.succeed(asking, undefined), Effect.never)))
        const fiber = yield* Effect.fork(handle.save)
        yield* Deferred.await(asking)
        yield* Fiber.interrupt(fiber)
        expect(yield* outcome(finish)).toBe("unknown")
        expect((yield* stored(world, cookie)).count).toBe(1)
      })
  )
})

describe("insert", () => {
  rule("without a reply: a new id, and one session that anybody can open", (world) =>
    Effect.gen(function*() {
      world.faults.script("insert", Faults.loseReply())
      const opened = yield* request(world.app, undefined, increment)
      expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
      expect(world.faults.calls).toEqual(["insert", "insert"])
      expect(yield* world.records).toBe(2) // nobody has the first one's id
    }))

  rule("held up by the network until after the logout, it revives nothing", (world) =>
    Effect.gen(function*() {
      let late: Effect.Effect<unknown, unknown> = Effect.void
      world.faults.script("insert", (call, operation) => {
        late = call
        return Faults.refuse("Timeout")(call, operation)
      })
      const opened = yield* request(world.app, undefined, increment)
      const cookie = cookieOf(opened)
      yield* elsewhere(world, cookie, (handle) => handle.destroy)
      yield* late
      expect(yield* Effect.map(world.store.load(keyOf(cookie)), (found) => found._tag)).toBe("None")
    }))

  rule(
    "never answered: an error that is safe to send again, no cookie, and the log stays",
    (world) =>
      Effect.gen(function*() {
        world.faults.script("insert", Faults.loseReply(), Faults.refuse())
        const opened = world.app.open(neverIssued())
        yield* increment(opened.handle)
        const error = yield* Effect.flip(opened.handle.save)
        expect(error).toMatchObject({ reason: "Unavailable", applied: "no" })
        expect(cookieOf(opened)).toBe("keep")
        yield* opened.finish
        expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
      })
  )

  rule("found taken: another id", (world) =>
    Effect.gen(function*() {
      world.faults.script("insert", (call) => Effect.zipRight(call, call)) // the second one finds the first
      const opened = yield* request(world.app, undefined, increment)
      expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
      expect(world.faults.calls).toEqual(["insert", "insert"])
    }))
})

describe("destroy", () => {
  rule("applied, the reply lost: done", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("remove", Faults.loseReply())
      const opened = yield* request(world.app, cookie, (handle) => handle.destroy)
      expect(cookieOf(opened)).toBe("clear")
      expect(yield* world.records).toBe(0)
      expect(world.faults.calls).toEqual(["load", "remove", "load"])
    }))

  rule("not applied: sent again", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("remove", Faults.loseRequest())
      yield* request(world.app, cookie, (handle) => handle.destroy)
      expect(yield* world.records).toBe(0)
    }))

  rule("never found out: unknown, and the cookie stays with the user", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world)
      world.faults.script("remove", Faults.loseReply())
      const opened = world.app.open(cookie)
      yield* opened.handle.value
      world.faults.script("load", Faults.refuse())
      expect(yield* outcome(opened.handle.destroy)).toBe("unknown")
      expect(cookieOf(opened)).toBe("keep")
    }))

  rule("refused: an error, and the session lives", (world) =>
    Effect.gen(function*() {
      const cookie = yield* issued(world, { count: 7 })
      world.faults.script("remove", Faults.refuse("Rejected"))
      expect(yield* outcome(request(world.app, cookie, (handle) => handle.destroy))).toBe("Rejected")
      expect((yield* stored(world, cookie)).count).toBe(7)
    }))

  rule(
    "failed after a stale answer, it leaves nothing that a commit could overwrite others with",
    (world) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        const { finish, handle } = world.app.open(cookie)
        yield* handle.set("note", "mine")
        world.faults.script("remove", Faults.after(increments(world, cookie, 3)), Faults.refuse("Throttled"))
        expect(yield* outcome(handle.destroy)).toBe("Throttled")
        yield* finish
        expect(yield* stored(world, cookie)).toEqual({ count: 3, note: "mine" })
      })
  )
})
