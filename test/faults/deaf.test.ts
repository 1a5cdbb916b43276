/** Connections that the network has forgotten: nothing comes, and nobody says so. */
import { expect, it } from "@effect/vitest"
import { SessionStore } from "effect-session"
import * as SessionStoreUrl from "effect-session/layers/Url"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { vi } from "vitest"
import type { Server } from "../backends.js"
import { canStart, startMemcached, startMongoDb, startMySql, startPostgres, startRedis } from "../backends.js"
import { startProxy } from "../proxy.js"

const servers: Record<string, () => Promise<Server>> = {
  redis: startRedis,
  memcached: startMemcached,
  mongodb: startMongoDb,
  postgres: startPostgres,
  mysql: startMySql
}

/** More than any pool has connections. */
const crowd = 25

for (const [name, start] of Object.entries(servers)) {
  it.skipIf(!canStart(name as Parameters<typeof canStart>[0]))(
    `F-G3 ${name}: connections that went silent fail in time, hold up nobody afterwards, and end with the store`,
    { timeout: 60_000 },
    () =>
      Effect.gen(function*() {
        const server = yield* Effect.acquireRelease(
          Effect.promise(start),
          (server) => Effect.promise(() => server.stop())
        )
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => startProxy(server.port)),
          (proxy) => Effect.promise(() => proxy.close())
        )
        const url = new URL(server.url)
        url.port = String(proxy.port)
        url.searchParams.set("timeout", "500")
        yield* Effect.gen(function*() {
          const store = Context.get(yield* Layer.build(SessionStoreUrl.layer(url.href)), SessionStore)
          const loads = Effect.map(
            Effect.forEach(Array.from({ length: crowd }, (_, i) => `key${i}`), (key) => Effect.exit(store.load(key)), {
              concurrency: "unbounded"
            }),
            (exits) => exits.filter(Exit.isSuccess).length
          )
          expect(yield* loads).toBe(crowd)
          proxy.hang()
          expect(yield* loads).toBe(0)
          yield* Effect.promise(() => proxy.normal())
          yield* Effect.retry(store.load("key"), Schedule.spaced("100 millis").pipe(Schedule.upTo("5 seconds")))
          // once more for what the drivers notice late
          yield* loads
          expect([yield* loads, yield* loads]).toEqual([crowd, crowd])
          // silent again, with a call under way, when the store ends
          proxy.hang()
          yield* Effect.forkDaemon(store.load("key"))
          yield* Effect.sleep(10)
        }).pipe(Effect.scoped)
        yield* Effect.promise(() => vi.waitFor(() => expect(proxy.connections).toBe(0), 5000))
      }).pipe(Effect.scoped, Effect.runPromise)
  )
}
