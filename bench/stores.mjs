/**
 * Store operations beside the raw driver's own call: `load` beside a plain get
 * of as many bytes, `replace` beside the driver's best conditional write, at 1
 * and at 64 at once, in turns of one run.
 *
 *     node ../scripts/with-servers.mjs node stores.mjs [backend ...]
 */
import { SessionStore } from "effect-session"
import { Context, Effect, Layer, ManagedRuntime, Option } from "effect"
import { randomBytes } from "node:crypto"
import { backends } from "./lib/backends.mjs"
import { fixed, median, percent, setting, spread, table } from "./lib/stats.mjs"

const rounds = setting("BENCH_ROUNDS", 7)
const millis = setting("BENCH_MILLIS", 1000)
/** About a shop's session. */
const data = randomBytes(setting("BENCH_BYTES", 600))

/** Operations a second, each of `workers` going on until the time is up. */
const rate = async (workers) => {
  const start = performance.now()
  let done = 0
  await Promise.all(workers.map(async (work) => {
    do {
      await work()
      done++
    } while (performance.now() - start < millis)
  }))
  return done / (performance.now() - start) * 1000
}

/** The same for effects, all in fibers of one runtime, as in a server. */
const rateOfEffects = (runtime, workers) =>
  runtime.runPromise(Effect.gen(function*() {
    const start = performance.now()
    let done = 0
    const more = () => performance.now() - start < millis
    yield* Effect.forEach(
      workers,
      (work) => Effect.whileLoop({ while: more, body: () => work, step: () => done++ }),
      { concurrency: "unbounded", discard: true }
    )
    return done / (performance.now() - start) * 1000
  }))

const newKey = () => randomBytes(32).toString("hex")
const future = () => Date.now() + 3_600_000

/** One record a worker: what is measured is the way there, not the contention. */
const ours = (store, size) =>
  Effect.forEach(Array.from({ length: size }, newKey), (key) =>
    Effect.map(store.insert(key, data, future()), (inserted) => {
      let version = Option.getOrThrow(inserted)
      return {
        load: Effect.map(store.load(key), Option.getOrThrow),
        replace: Effect.suspend(() => store.replace(key, version, data, future())).pipe(
          Effect.map((written) => version = Option.getOrThrow(written))
        )
      }
    }), { concurrency: "unbounded" })

const measure = async (name) => {
  const { layer, open } = backends[name]
  const runtime = ManagedRuntime.make(layer().pipe(Layer.orDie))
  const raw = await open()
  try {
    const store = Context.get(await runtime.runPromise(Effect.context()), SessionStore)
    const rows = []
    for (const size of [1, 64]) {
      const sessions = await runtime.runPromise(ours(store, size))
      const records = await Promise.all(Array.from({ length: size }, () => raw.record(newKey(), data)))
      for (const operation of ["load", "replace"]) {
        const sides = {
          ours: () => rateOfEffects(runtime, sessions.map((session) => session[operation])),
          raw: () => {
            const workers = records.map((record) => record[operation])
            return raw.runtime ? rateOfEffects(raw.runtime, workers) : rate(workers)
          }
        }
        const rates = { ours: [], raw: [] }
        await sides.ours()
        await sides.raw()
        for (let round = 0; round < rounds; round++) {
          for (const side of round % 2 === 0 ? ["ours", "raw"] : ["raw", "ours"]) rates[side].push(await sides[side]())
        }
        const ratios = rates.ours.map((each, round) => each / rates.raw[round])
        rows.push({
          name,
          operation,
          concurrency: size,
          ours: median(rates.ours),
          raw: median(rates.raw),
          ratio: median(ratios),
          spread: spread(ratios)
        })
      }
    }
    return rows
  } finally {
    await raw.close()
    await runtime.dispose()
  }
}

const chosen = process.argv.slice(2)
const results = []
for (const [name, { available }] of Object.entries(backends)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  if (!available()) {
    console.error(`without ${name}`)
    continue
  }
  results.push(...await measure(name))
}

console.log(`Store operations a second, ${data.length} bytes, ${rounds} rounds of ${millis} ms, medians\n`)
console.log(table(
  ["", "at once", "effect-session", "raw driver", "ours / raw", "spread", "80 %"],
  results.map(({ concurrency, name, operation, ours, ratio, raw, spread }) => [
    `${name} ${operation}`,
    concurrency,
    fixed(ours, 0),
    fixed(raw, 0),
    fixed(ratio, 2),
    percent(spread),
    ratio >= 0.8 ? "met" : "MISSED"
  ])
))
console.log(JSON.stringify({ stores: results }))
process.exit()
