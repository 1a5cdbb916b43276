import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { withCurrentFiber } from "../../src/internal/fiber.js"
import { FirstLoad } from "../../src/internal/session/FirstLoad.js"
import { SharedLoads } from "../../src/internal/session/SharedLoads.js"
import { matchCause } from "../../src/internal/steps.js"
import { SessionStore, SessionStoreError, type Stored, Version } from "../../src/SessionStore.js"

/** More than may go their own way. */
const crowd = 100
const alone = 64

const unused = () => Effect.dieMessage("only loads are asked for")

/** The store, but for its loads, which go as the first loads of requests do. */
const sharing = (store: SessionStore["Type"]): SessionStore["Type"] => {
  const shared = new SharedLoads()
  return {
    ...store,
    load: (key) =>
      withCurrentFiber((fiber) => {
        const load = new FirstLoad(fiber)
        if (!shared.begin(key, load)) {
          return shared.share(key, store.load(key))
        }
        const end = () => {
          load.end()
          shared.end(key, load)
        }
        return matchCause(store.load(key), (cause) => {
          end()
          return Effect.failCause(cause)
        }, (found) => {
          end()
          return Effect.succeed(found)
        })
      })
  }
}

/** A store whose loads wait to be answered; each finds the number of loads before it. */
const make = () => {
  const loads: Array<Deferred.Deferred<void, SessionStoreError>> = []
  const store = sharing(SessionStore.of({
    load: () =>
      Effect.gen(function*() {
        const answer = yield* Deferred.make<void, SessionStoreError>()
        const number = loads.push(answer) - 1
        yield* Deferred.await(answer)
        return Option.some<Stored>({ data: Uint8Array.of(number), version: Version(String(number)), expiresAt: 1 })
      }),
    insert: unused,
    replace: unused,
    touch: unused,
    remove: unused
  }))
  const ask = (times: number) => Effect.replicateEffect(Effect.fork(store.load("key")), times)
  const settle = Effect.repeatN(Effect.yieldNow(), 2 * crowd)
  const answer = (number: number) => Effect.zipRight(Deferred.succeed(loads[number]!, undefined), settle)
  const fail = (number: number, reason: SessionStoreError["reason"]) =>
    Effect.zipRight(Deferred.fail(loads[number]!, new SessionStoreError({ reason, operation: "load" })), settle)
  return { loads, ask, settle, answer, fail }
}

const found = (fibers: ReadonlyArray<Fiber.Fiber<Option.Option<Stored>, SessionStoreError>>) =>
  Effect.map(
    Effect.forEach(fibers, Fiber.await),
    (exits) => exits.map((exit) => Exit.isSuccess(exit) ? Option.getOrThrow(exit.value).data[0] : "failed")
  )

describe("a crowd that loads one session", () => {
  it.effect("loads it together beyond the first few, and each finds what was there after it had asked", () =>
    Effect.gen(function*() {
      const { answer, ask, loads, settle } = make()
      yield* ask(alone)
      const first = yield* ask(1)
      yield* settle
      expect(loads.length).toBe(alone + 1)
      const late = yield* ask(crowd) // the load of the first has begun: it may be too old for them
      yield* settle
      expect(loads.length).toBe(alone + 1)
      yield* answer(alone)
      expect(loads.length).toBe(alone + 2)
      yield* answer(alone + 1)
      expect(loads.length).toBe(alone + 2)
      expect(yield* found(first)).toEqual([alone])
      expect(yield* found(late)).toEqual(Array(crowd).fill(alone + 1))
    }))

  it.effect("and each has bytes of its own", () =>
    Effect.gen(function*() {
      const { answer, ask, settle } = make()
      yield* ask(alone + 1)
      const fibers = yield* ask(2)
      yield* settle
      yield* answer(alone)
      yield* answer(alone + 1)
      const [one, other] = (yield* Effect.forEach(fibers, Fiber.join)).map(Option.getOrThrow)
      one!.data[0] = 99
      expect(other!.data[0]).toBe(alone + 1)
    }))

  it.effect("asks again after a failure, once, and all are told", () =>
    Effect.gen(function*() {
      const { ask, fail, loads, settle } = make()
      yield* ask(alone + 1)
      const waiting = yield* ask(crowd)
      yield* settle
      yield* fail(alone, "Timeout")
      expect(loads.length).toBe(alone + 2)
      yield* fail(alone + 1, "Timeout")
      expect(loads.length).toBe(alone + 2)
      expect(yield* found(waiting)).toEqual(Array(crowd).fill("failed"))
    }))

  it.effect("goes on when the one that loads for all is interrupted", () =>
    Effect.gen(function*() {
      const { answer, ask, loads, settle } = make()
      yield* ask(alone)
      const [first] = yield* ask(1)
      const waiting = yield* ask(crowd)
      yield* settle
      yield* Fiber.interrupt(first!)
      yield* settle
      expect(loads.length).toBe(alone + 2)
      yield* answer(alone + 1)
      expect(yield* found(waiting)).toEqual(Array(crowd).fill(alone + 1))
    }))

  it.effect("leaves nothing behind: the next few go their own way again", () =>
    Effect.gen(function*() {
      const { answer, ask, loads, settle } = make()
      yield* ask(alone + 1)
      yield* settle
      for (let i = 0; i <= alone; i++) yield* answer(i)
      yield* ask(alone)
      yield* settle
      expect(loads.length).toBe(2 * alone + 1)
    }))
})
