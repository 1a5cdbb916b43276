/**
 * The whole middleware against a model, over a network that does its worst.
 * `MODEL_STEPS=1000000 npx vitest run test/model` for the long run, and
 * `MODEL_SEED=…` to repeat one.
 */
import * as FastCheck from "effect/FastCheck"
import { expect, it } from "vitest"
import { type Happening, happenings } from "./rules.js"
import { explore, run, schedule } from "./schedules.js"

const steps = Number(process.env.MODEL_STEPS ?? 20_000)
const seed = Number(process.env.MODEL_SEED ?? Math.floor(Math.random() * 2 ** 31))
const runsAtOnce = 500

// the story of a schedule says more than a stack, which every error of the store would cost
Error.stackTraceLimit = 0

const counter = () => {
  const counts = new Map<Happening, number>(happenings.map((happening) => [happening, 0]))
  return {
    counts,
    note: (happened: ReadonlySet<Happening>) => {
      for (const happening of happened) {
        counts.set(happening, counts.get(happening)! + 1)
      }
    },
    print: () => [...counts].map(([happening, count]) => `${happening} ${count}`).join(", ")
  }
}

it(`model: ${steps} steps at random`, async () => {
  const { counts, note, print } = counter()
  let done = 0
  let schedules = 0
  for (let batch = 0; done < steps; batch++) {
    await FastCheck.assert(
      FastCheck.asyncProperty(schedule, async (schedule) => {
        if (done < steps) {
          note(await run(schedule))
          done += schedule.commands.length
          schedules++
        }
      }),
      { seed: seed + batch, numRuns: runsAtOnce }
    )
    await new Promise((resolve) => setImmediate(resolve)) // the runner wants to hear of us
  }
  console.log(`model: seed ${seed}, ${done} steps in ${schedules} schedules; of these with: ${print()}`)
  for (const happening of happenings) {
    expect(counts.get(happening), `no schedule with: ${happening}`).toBeGreaterThan(0)
  }
}, 10_000 + steps)

const kinds = ["read", "touch", "update", "guarded", "transact", "decide", "login", "logout"] as const

it("model: every schedule of two requests with one fault", async () => {
  const { note, print } = counter()
  let schedules = 0
  for (const [i, first] of kinds.entries()) {
    for (const other of kinds.slice(i)) {
      schedules += await explore({ requests: [first, other], faults: 1 }, note)
    }
  }
  console.log(`model: all ${schedules} schedules of two requests and one fault; of these with: ${print()}`)
}, 120_000)

const triples = [
  ["update", "login", "logout"],
  ["update", "update", "logout"],
  ["login", "login", "update"],
  ["guarded", "guarded", "login"],
  ["transact", "logout", "logout"]
] as const

it("model: every schedule of three requests", async () => {
  const { note, print } = counter()
  let schedules = 0
  for (const requests of triples) {
    schedules += await explore({ requests, faults: 0 }, note)
  }
  console.log(`model: all ${schedules} schedules of three requests; of these with: ${print()}`)
}, 60_000)
