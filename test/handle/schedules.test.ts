import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Random from "effect/Random"
import * as TestContext from "effect/TestContext"
import * as Faults from "../faults.js"
import { cookieOf, increment, issued, makeWorld, outcome, request, stored } from "./world.js"

type Of<A> = A extends FastCheck.Arbitrary<infer T> ? T : never

/** How one call goes, and how many times other fibers run before and after it. */
const fault = FastCheck.record({
  kind: FastCheck.constantFrom("fine", "fine", "fine", "loseReply", "loseRequest", "throttled"),
  before: FastCheck.nat({ max: 3 }),
  after: FastCheck.nat({ max: 3 })
})

const faultOf = ({ after, before, kind }: Of<typeof fault>): Faults.Fault => (call, operation) => {
  const yields = (times: number) => Effect.replicateEffect(Effect.yieldNow(), times, { discard: true })
  const outcomes = {
    fine: call,
    loseReply: Faults.loseReply()(call, operation),
    loseRequest: Faults.loseRequest()(call, operation),
    throttled: Faults.refuse("Throttled")(call, operation)
  }
  return yields(before).pipe(
    Effect.zipRight(outcomes[kind as keyof typeof outcomes]),
    Effect.ensuring(yields(after))
  )
}

const schedule = FastCheck.record({
  load: FastCheck.array(fault, { maxLength: 12 }),
  replace: FastCheck.array(fault, { maxLength: 12 }),
  remove: FastCheck.array(fault, { maxLength: 4 }),
  requests: FastCheck.integer({ min: 2, max: 6 })
})

type Schedule = Of<typeof schedule>

/** Many schedules, each of them a world of its own. */
const always = (body: (schedule: Schedule) => ReturnType<typeof inWorld>) =>
  FastCheck.assert(
    FastCheck.asyncProperty(schedule, (schedule) =>
      Effect.runPromise(Effect.provide(Effect.withRandom(body(schedule), Random.fixed([0])), TestContext.TestContext))),
    {
      numRuns: 60
    }
  )

const inWorld = (
  { load, remove, replace }: Schedule,
  body: (world: Effect.Effect.Success<ReturnType<typeof makeWorld>>, cookie: string) => Effect.Effect<void, unknown>
) =>
  Effect.scoped(Effect.gen(function*() {
    const world = yield* makeWorld()
    const cookie = yield* issued(world)
    world.faults.script("load", ...load.map(faultOf))
    world.faults.script("replace", ...replace.map(faultOf))
    world.faults.script("remove", ...remove.map(faultOf))
    yield* body(world, cookie)
  }))

it("however calls fail and interleave: what is done is stored once, what failed is not stored", () =>
  always((schedule) =>
    inWorld(schedule, (world, cookie) =>
      Effect.gen(function*() {
        const outcomes = yield* Effect.replicateEffect(
          outcome(request(world.app, cookie, increment)),
          schedule.requests,
          { concurrency: "unbounded" }
        )
        const { count } = yield* stored(world, cookie)
        const done = outcomes.filter((outcome) => outcome === "done").length
        const unknown = outcomes.filter((outcome) => outcome === "unknown").length
        expect(count).toBeGreaterThanOrEqual(done)
        expect(count).toBeLessThanOrEqual(done + unknown)
      }))
  ))

it("however calls fail and interleave: of logins at once one id opens the session, and a logout is final", () =>
  always((schedule) =>
    inWorld(schedule, (world, cookie) =>
      Effect.gen(function*() {
        const logins = Array.from({ length: schedule.requests }, () => world.app.open(cookie))
        const outcomes = yield* Effect.forEach(
          logins,
          ({ finish, handle }) => outcome(Effect.zipRight(handle.value, Effect.zipRight(handle.regenerate, finish))),
          { concurrency: "unbounded" }
        )
        const cookies = logins.map(cookieOf)
        const opening = yield* Effect.filter(
          [cookie, ...cookies.filter((change) => change.length === 54)],
          (cookie) => Effect.map(world.other.open(cookie).handle.isNew, (isNew) => !isNew)
        )
        // a request that came after another's login has started a session of its own
        expect(opening.length).toBe(
          yield* world.records.pipe(Effect.map((records) => outcomes.includes("unknown") ? opening.length : records))
        )
        const leaving = opening.map((cookie) => world.app.open(cookie))
        const left = yield* Effect.forEach(leaving, ({ handle }) => outcome(handle.destroy))
        yield* Effect.forEach(opening, (cookie, i) =>
          Effect.gen(function*() {
            if (left[i] !== "done") return
            expect(cookieOf(leaving[i]!)).toBe("clear")
            expect(yield* world.other.open(cookie).handle.isNew).toBe(true)
          }))
      }))
  ))
