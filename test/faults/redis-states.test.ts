/** A Redis that is there, and takes no writes, or nothing at all. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { Redis as Client } from "ioredis"
import * as Redis from "../../src/layers/Redis.js"
import { SessionStore } from "../../src/SessionStore.js"
import { canStart, startRedis } from "../backends.js"

const data = Buffer.from("data")
const soon = () => Date.now() + 60_000

const server = (args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis({ args: [...args] })),
    (server) => Effect.promise(() => server.stop())
  )

const ask = <A>(port: number, question: (redis: Client) => Promise<A>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => new Client({ port, host: "127.0.0.1" }).on("error", () => {})),
    (redis) => Effect.promise(() => question(redis)),
    (redis) => Effect.sync(() => redis.disconnect())
  )

const reasonOf = (operation: Effect.Effect<unknown, { readonly reason: string }>) =>
  Effect.match(operation, { onSuccess: () => "done", onFailure: ({ reason }) => reason })

describe.skipIf(!canStart("redis"))("Redis", () => {
  it.scopedLive("F-R2 a primary without its replicas that is told so: no write is taken, and the session stays", () =>
    Effect.gen(function*() {
      const { port, url } = yield* server([])
      yield* Effect.gen(function*() {
        const store = yield* SessionStore
        const version = Option.getOrThrow(yield* store.insert("key", data, soon()))
        yield* ask(port, (redis) => redis.config("SET", "min-replicas-to-write", 1))
        const stored = Option.getOrThrow(yield* store.load("key"))
        for (
          const write of [
            store.insert("other", data, soon()),
            store.replace("key", version, Buffer.from("new"), soon()),
            store.touch("key", stored, soon()),
            store.remove("key")
          ]
        ) {
          expect(yield* reasonOf(write)).toBe("Rejected")
        }
        yield* ask(port, (redis) => redis.config("SET", "min-replicas-to-write", 0))
        expect(Option.getOrThrow(yield* store.load("key"))).toEqual(stored)
        expect(yield* store.remove("key", version)).toBe(true)
      }).pipe(Effect.provide(Redis.layer({ url })))
    }))

  it.scopedLive("F-R8 one that is loading: an error, never a session that is missing; then all are there", () =>
    Effect.gen(function*() {
      // 10 ms a key, and between two of them it answers
      const redis = yield* server(["--key-load-delay", "10000"])
      yield* Effect.gen(function*() {
        const store = yield* SessionStore
        const keys = Array.from({ length: 150 }, (_, i) => `k${i}`)
        yield* Effect.forEach(keys, (key) => store.insert(key, data, soon()), { concurrency: "unbounded" })
        yield* ask(redis.port, (client) => client.save())
        const restarted = redis.restart()
        const reasons: Array<string> = []
        const found = yield* store.load("k0").pipe(
          Effect.tapError(({ reason }) => Effect.sync(() => reasons.push(reason))),
          Effect.retry(Schedule.spaced("50 millis"))
        )
        yield* Effect.promise(() => restarted)
        expect(Option.isSome(found)).toBe(true)
        expect(reasons.length).toBeGreaterThan(0)
        expect(new Set(reasons)).toEqual(new Set(["Unavailable"]))
        expect((yield* Effect.forEach(keys, (key) => store.load(key))).every(Option.isSome)).toBe(true)
      }).pipe(Effect.provide(Redis.layer({ url: redis.url })))
    }))
})
