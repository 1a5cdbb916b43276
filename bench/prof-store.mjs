// node prof-store.mjs backend op size side
import { SessionStore } from "effect-session"
import { Context, Effect, Layer, ManagedRuntime, Option } from "effect"
import { randomBytes } from "node:crypto"
import { backends } from "./lib/backends.mjs"
const [name, op, size, side, secs = "4"] = process.argv.slice(2)
const { layer, open } = backends[name]
const runtime = ManagedRuntime.make(layer().pipe(Layer.orDie))
const raw = await open()
const store = Context.get(await runtime.runPromise(Effect.context()), SessionStore)
const data = randomBytes(600)
const newKey = () => randomBytes(32).toString("hex")
const millis = Number(secs) * 1000
const start = performance.now()
const cpu0 = process.cpuUsage()
let done = 0
if (side === "ours") {
  const ops = await runtime.runPromise(Effect.forEach(Array.from({ length: Number(size) }, newKey), (key) =>
    Effect.map(store.insert(key, data, Date.now() + 3600000), (v) => {
      let version = Option.getOrThrow(v)
      return { load: Effect.map(store.load(key), Option.getOrThrow), replace: Effect.suspend(() => store.replace(key, version, data, Date.now() + 3600000)).pipe(Effect.map((w) => version = Option.getOrThrow(w))) }
    }), { concurrency: "unbounded" }))
  await runtime.runPromise(Effect.forEach(ops, (o) => Effect.whileLoop({ while: () => performance.now() - start < millis, body: () => o[op], step: () => done++ }), { concurrency: "unbounded", discard: true }))
} else {
  const records = await Promise.all(Array.from({ length: Number(size) }, () => raw.record(newKey(), data)))
  if (raw.runtime) {
    await raw.runtime.runPromise(Effect.forEach(records, (o) => Effect.whileLoop({ while: () => performance.now() - start < millis, body: () => o[op], step: () => done++ }), { concurrency: "unbounded", discard: true }))
  } else await Promise.all(records.map(async (r) => { while (performance.now() - start < millis) { await r[op](); done++ } }))
}
const used = process.cpuUsage(cpu0)
console.log(`${name} ${op} ${size} ${side}: ${(done / (millis / 1000)).toFixed(0)}/s, CPU ${((used.user + used.system) / done).toFixed(1)} µs`)
await raw.close(); await runtime.dispose()
process.exit()
