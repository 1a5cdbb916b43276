/**
 * What a session adds to Effect's own request pipeline: no socket, a request
 * that carries a session's cookie, the tracer off, the memory store.
 *
 *     node pipeline.mjs [variant ...]
 */
import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, ManagedRuntime, Runtime } from "effect"
import { withoutTracer } from "./lib/effect.mjs"
import { BenchSession, layer, newCookie, withSession } from "./lib/session.mjs"
import { cpu, fixed, median, percent, setting, spread, table } from "./lib/stats.mjs"

const rounds = setting("BENCH_ROUNDS", 15)
const requests = setting("BENCH_REQUESTS", 20_000)

const respond = Effect.sync(() => HttpServerResponse.text("ok"))

const variants = {
  bare: respond,
  idle: withSession(respond),
  read: withSession(Effect.gen(function*() {
    const session = yield* BenchSession
    yield* session.get("count")
    return yield* respond
  })),
  "read-modify-write": withSession(Effect.gen(function*() {
    const session = yield* BenchSession
    yield* session.update((state) => ({ ...state, count: state.count + 1 }))
    return yield* respond
  }))
}
/** At most so many times the bare pipeline. */
const targets = { idle: 1.4, "read-modify-write": 2.1 }

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(variants)

const runtime = ManagedRuntime.make(layer())
const fork = Runtime.runFork(await runtime.runPromise(withoutTracer(Effect.runtime())))
const cookie = await runtime.runPromise(newCookie)

/** What Node's server would hand over, as far as a session looks at it. */
const request = () => ({
  [HttpServerRequest.TypeId]: HttpServerRequest.TypeId,
  method: "GET",
  url: "/",
  originalUrl: "/",
  source: {},
  headers: { host: "localhost", accept: "application/json", cookie }
})

const runner = (app) => {
  let responses = 0
  const handled = HttpApp.toHandled(app, (_, response) => {
    if (response.status === 200) {
      responses++
    }
    return Effect.void
  })

  /** CPU microseconds a request. */
  return async (total) => {
    responses = 0
    const before = cpu()
    for (let sent = 0; sent < total; sent++) {
      const fiber = fork(Effect.provideService(handled, HttpServerRequest.HttpServerRequest, request()))
      if (fiber.unsafePoll() === null) {
        await Effect.runPromise(fiber.await)
      }
    }
    const used = cpu() - before
    if (responses !== total) {
      throw new Error(`${responses} of ${total} requests succeeded`)
    }
    return used / total
  }
}

const benches = chosen.map((name) => ({ name, run: runner(variants[name]), micros: [] }))
for (const bench of benches) {
  await bench.run(requests)
}
for (let round = 0; round < rounds; round++) {
  // What drifts during a round hits all variants alike.
  for (const bench of round % 2 === 0 ? benches : [...benches].reverse()) {
    bench.micros.push(await bench.run(requests))
  }
}
await runtime.dispose()

const bare = benches.find(({ name }) => name === "bare")
const results = benches.map(({ name, micros }) => ({
  name,
  micros: median(micros),
  spread: spread(micros),
  ratio: bare === undefined ? undefined : median(micros.map((each, round) => each / bare.micros[round])),
  target: targets[name]
}))

console.log(`Pipeline: CPU µs a request, ${rounds} rounds of ${requests} requests, medians\n`)
console.log(table(
  ["", "µs", "spread", "over bare", "at most"],
  results.map(({ micros, name, ratio, spread, target }) => [
    name,
    fixed(micros),
    percent(spread),
    ratio === undefined ? "" : fixed(ratio, 2),
    target ?? ""
  ])
))
console.log(JSON.stringify({ pipeline: results }))
