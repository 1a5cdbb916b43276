/**
 * What a session adds to Effect's own request pipeline: no socket, a request
 * that carries a session's cookie, the tracer off, the memory store. With a
 * user id and a counter in the session, and with the shop's session of the
 * comparison over HTTP, where the schema and the codec have more to do.
 *
 *     node pipeline.mjs [variant ...]
 */
import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, ManagedRuntime, Runtime } from "effect"
import { withoutTracer } from "./lib/effect.mjs"
import { layer, Login, newCookie, Shop, withSession } from "./lib/session.mjs"
import { cpu, fixed, median, percent, setting, spread, table } from "./lib/stats.mjs"

const rounds = setting("BENCH_ROUNDS", 15)
const requests = setting("BENCH_REQUESTS", 20_000)

const respond = Effect.sync(() => HttpServerResponse.text("ok"))

const variants = (tag) => {
  const attached = withSession(tag)
  return {
    idle: attached(respond),
    read: attached(Effect.flatMap(tag, (session) => Effect.zipRight(session.get("count"), respond))),
    "read-modify-write": attached(Effect.flatMap(tag, (session) =>
      Effect.zipRight(session.update((state) => ({ ...state, count: state.count + 1 })), respond)))
  }
}
/** At most so many times the bare pipeline. */
const targets = { idle: 1.2, read: 1.55, "read-modify-write": 1.75, "read, shop": 1.75, "read-modify-write, shop": 2 }

const start = async (tag) => {
  const runtime = ManagedRuntime.make(layer(tag))
  return {
    runtime,
    fork: Runtime.runFork(await runtime.runPromise(withoutTracer(Effect.runtime()))),
    cookie: await runtime.runPromise(newCookie(tag))
  }
}

/** What Node's server would hand over, as far as a session looks at it. */
const request = (cookie) => ({
  [HttpServerRequest.TypeId]: HttpServerRequest.TypeId,
  method: "GET",
  url: "/",
  originalUrl: "/",
  source: {},
  headers: { host: "localhost", accept: "application/json", cookie }
})

const runner = ({ cookie, fork }, app) => {
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
      const fiber = fork(Effect.provideService(handled, HttpServerRequest.HttpServerRequest, request(cookie)))
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

const login = await start(Login)
const shop = await start(Shop)
const all = [
  { name: "bare", run: runner(login, respond) },
  ...Object.entries(variants(Login)).map(([name, app]) => ({ name, target: targets[name], run: runner(login, app) })),
  ...Object.entries(variants(Shop)).map(([name, app]) => ({ name: `${name}, shop`, run: runner(shop, app) }))
]
const chosen = process.argv.slice(2)
const benches = all
  .filter(({ name }) => chosen.length === 0 || chosen.includes(name))
  .map((bench) => ({ ...bench, micros: [] }))
for (const bench of benches) {
  await bench.run(requests)
}
for (let round = 0; round < rounds; round++) {
  // What drifts during a round hits all variants alike.
  for (const bench of round % 2 === 0 ? benches : [...benches].reverse()) {
    bench.micros.push(await bench.run(requests))
  }
}
await login.runtime.dispose()
await shop.runtime.dispose()

const bare = benches.find(({ name }) => name === "bare")
const results = benches.map(({ micros, name, target }) => ({
  name,
  micros: median(micros),
  spread: spread(micros),
  // against the bare figure of the same round
  ratio: bare === undefined ? undefined : median(micros.map((each, round) => each / bare.micros[round])),
  target
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
