/**
 * What is left after a million requests. Through the web handler, one request
 * at a time; takes some minutes. Ends with 1 when something is left that
 * should not be.
 *
 *     node --expose-gc soak.mjs
 */
import { HttpApp, HttpServerResponse } from "@effect/platform"
import { Effect, ManagedRuntime } from "effect"
import { SessionSweeper } from "../dist/index.js"
import { withoutTracer } from "./lib/effect.mjs"
import { layer, Shop, withSession } from "./lib/session.mjs"
import { fixed, setting } from "./lib/stats.mjs"

const requests = setting("BENCH_REQUESTS", 1_000_000)
const capacity = 10_000
/** Megabytes by which a flat heap may differ. */
const slack = 5

const heap = () => {
  globalThis.gc()
  globalThis.gc()
  return process.memoryUsage().heapUsed / 1024 / 1024
}

/** At the end of time everything has expired: a sweep counts what is there, and takes it. */
const countAndEmpty = Effect.gen(function*() {
  const { sweep } = yield* SessionSweeper
  const clock = yield* Effect.clock
  const endOfTime = Object.assign(Object.create(clock), {
    unsafeCurrentTimeMillis: () => Number.MAX_SAFE_INTEGER,
    currentTimeMillis: Effect.succeed(Number.MAX_SAFE_INTEGER)
  })
  return yield* Effect.withClock(sweep, endOfTime)
})

const soak = async (title, app, expected) => {
  const runtime = ManagedRuntime.make(layer(Shop, { capacity }))
  const handler = HttpApp.toWebHandlerRuntime(await runtime.runPromise(withoutTracer(Effect.runtime())))(app)
  const send = async (total) => {
    for (let sent = 0; sent < total; sent++) {
      const response = await handler(new Request("http://localhost/"))
      if (response.status !== 200) {
        throw new Error(`${response.status}: ${await response.text()}`)
      }
    }
  }

  // The bound is reached and the code compiled before the first look.
  await send(2 * capacity)
  const before = heap()
  const start = performance.now()
  await send(requests)
  const seconds = (performance.now() - start) / 1000
  const after = heap()
  const records = await runtime.runPromise(countAndEmpty)
  await runtime.dispose()

  const passed = records === expected && after - before < slack
  console.log(`${title}: ${requests} requests in ${fixed(seconds, 0)} s`)
  console.log(`  records ${records}, expected ${expected}`)
  console.log(`  heap ${fixed(before)} MB before, ${fixed(after)} MB after`)
  console.log(passed ? "  passed\n" : "  FAILED\n")
  return { title, requests, records, expected, heapBefore: before, heapAfter: after, passed }
}

const respond = Effect.sync(() => HttpServerResponse.text("ok"))

const results = [
  await soak(
    "Anonymous, the session read",
    withSession(Shop)(Effect.gen(function*() {
      const session = yield* Shop
      yield* session.get("userId")
      return yield* respond
    })),
    0
  ),
  await soak(
    `A new session each, at most ${capacity}`,
    withSession(Shop)(Effect.gen(function*() {
      const session = yield* Shop
      yield* session.update((state) => ({ ...state, count: state.count + 1 }))
      return yield* respond
    })),
    capacity
  )
]
console.log(JSON.stringify({ soak: results }))
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
