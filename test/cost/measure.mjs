/**
 * Effect operations and bytes that a session adds to a request, printed as
 * JSON. The tracer is off, and no socket is involved. `cost.test.ts` runs it:
 *
 *     node --expose-gc --max-semi-space-size=128 test/cost/measure.mjs
 */
import { HttpApp, HttpMiddleware, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, ManagedRuntime, Option, Redacted, Runtime, Scheduler, Schema } from "effect"
import { Session, SessionHttp, SessionStore, Version } from "../../dist/index.js"
import * as Memory from "../../dist/layers/Memory.js"

class Small extends Session.Tag()("effect-session/test/cost", {
  userId: Schema.optional(Schema.String),
  count: Schema.optionalWith(Schema.Number, { default: () => 0 })
}) {}

const respond = Effect.sync(() => HttpServerResponse.text("ok"))
const withSession = SessionHttp.middleware(Small)
const apps = {
  bare: respond,
  idle: withSession(respond),
  read: withSession(Effect.flatMap(Small, (session) => Effect.zipRight(session.get("count"), respond))),
  write: withSession(Effect.flatMap(Small, (session) =>
    Effect.zipRight(session.update((state) => ({ ...state, count: state.count + 1 })), respond)))
}

/** A store whose answers arrive later, as a driver's do. */
const asynchronous = Layer.sync(SessionStore, () => {
  const records = new Map()
  let writes = 0
  const later = (operation) => (...args) =>
    Effect.async((resume) => queueMicrotask(() => resume(Effect.succeed(operation(...args)))))
  const write = (key, data, expiresAt) => {
    const version = Version(String(++writes))
    records.set(key, { data: data.slice(), expiresAt, version })
    return Option.some(version)
  }
  return {
    load: later((key) => Option.map(Option.fromNullable(records.get(key)), (found) => ({ ...found, data: found.data.slice() }))),
    insert: later((key, data, expiresAt) => write(key, data, expiresAt)),
    replace: later((key, expected, data, expiresAt) =>
      records.get(key)?.version === expected ? write(key, data, expiresAt) : Option.none()),
    touch: later(() => true),
    remove: later((key) => records.delete(key))
  }
})

const stores = { memory: Memory.layer(), asynchronous }

const request = (cookie) => ({
  [HttpServerRequest.TypeId]: HttpServerRequest.TypeId,
  method: "GET",
  url: "/",
  originalUrl: "/",
  source: {},
  headers: { host: "localhost", accept: "application/json", cookie }
})

/** The fiber asks the scheduler before each operation whether it should yield. */
const counter = new class extends Scheduler.MixedScheduler {
  operations = 0
  constructor() {
    super(2048)
  }
  shouldYield(fiber) {
    this.operations++
    return super.shouldYield(fiber)
  }
}()

const start = async (store) => {
  const runtime = ManagedRuntime.make(Layer.provide(Small.layer({ cookie: { secure: false } }), store))
  const issue = Effect.flatMap(Small.Manager, (manager) =>
    Effect.map(manager.issue({ count: 0 }), (value) => `${manager.cookie.name}=${Redacted.value(value)}`))
  const cookie = await runtime.runPromise(issue)
  const fork = Runtime.runFork(
    await runtime.runPromise(HttpMiddleware.withTracerDisabledWhenEffect(() => true)(Effect.runtime()))
  )
  /** Returns a promise only when the request has to wait: an `await` would let objects survive a collection. */
  const run = (app, options) => {
    const handled = HttpApp.toHandled(app, () => Effect.void)
    const fiber = fork(Effect.provideService(handled, HttpServerRequest.HttpServerRequest, request(cookie)), options)
    const check = (exit) => {
      if (exit._tag === "Failure") {
        throw new Error("A request has failed", { cause: exit.cause })
      }
    }
    const exit = fiber.unsafePoll()
    return exit === null ? new Promise((resolve) => fiber.addObserver(resolve)).then(check) : check(exit)
  }
  return { run, dispose: () => runtime.dispose() }
}

const operations = async ({ run }, app) => {
  await run(app) // the first request makes what all requests share
  counter.operations = 0
  await run(app, { scheduler: counter })
  return counter.operations
}

const requests = 5000

const bytes = async ({ run }, app) => {
  for (let sent = 0; sent < requests; sent++) await run(app)
  const rounds = []
  for (let round = 0; round < 5; round++) {
    gc()
    const before = process.memoryUsage().heapUsed
    for (let sent = 0; sent < 500; sent++) await run(app)
    rounds.push((process.memoryUsage().heapUsed - before) / 500)
  }
  return rounds.sort((a, b) => a - b)[2]
}

const results = {}
for (const [name, store] of Object.entries(stores)) {
  const started = await start(store)
  const bare = { operations: await operations(started, apps.bare), bytes: await bytes(started, apps.bare) }
  results[name] = {}
  for (const kind of ["idle", "read", "write"]) {
    results[name][kind] = {
      operations: await operations(started, apps[kind]) - bare.operations,
      bytes: Math.round(await bytes(started, apps[kind]) - bare.bytes)
    }
  }
  await started.dispose()
}
console.log(JSON.stringify(results))
