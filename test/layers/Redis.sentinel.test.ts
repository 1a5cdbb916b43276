/** Redis under Sentinel, a real one. `FAILOVERS=5` makes the last test long, and it prints what it measured. */
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Redis as Client } from "ioredis"
import { setTimeout as sleep } from "node:timers/promises"
import * as Redis from "../../src/layers/Redis.js"
import { SessionStore } from "../../src/SessionStore.js"
import { canStart } from "../backends.js"
import type { Sentinels } from "../redis-topologies.js"
import { ask, cutOffReplicas, startSentinels, until } from "../redis-topologies.js"
import type { Times } from "./redis-failover.js"
import { failovers, print, underLoad } from "./redis-failover.js"

describe.skipIf(!canStart("redis"))("Redis Sentinel", () => {
  let sentinels: Sentinels
  beforeAll(async () => {
    sentinels = await startSentinels()
  })
  afterAll(() => sentinels?.stop())

  const data = Buffer.from("the-data-of-a-session")
  const soon = () => Date.now() + 60_000
  const layer = (options?: Redis.Options) => Layer.suspend(() => Redis.layer({ url: sentinels.url, ...options }))

  const insertAndLoad = (key: string) =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      yield* store.insert(key, data, soon())
      return Option.getOrThrow(yield* store.load(key)).data
    })

  it.live("by URL, by options, and with a client brought along", () =>
    Effect.gen(function*() {
      const place = { name: "main", sentinels: sentinels.sentinels.map(({ port }) => ({ host: "127.0.0.1", port })) }
      const client = new Client({ ...place, maxRetriesPerRequest: 0, commandTimeout: 2000 })
      const layers = [layer(), Redis.layer(place), Redis.layerClient({ client })]
      for (const [i, layer] of layers.entries()) {
        expect(yield* Effect.provide(insertAndLoad(`key-${i}`), layer)).toEqual(data)
      }
      yield* Effect.promise(() => client.quit())
    }))

  it.live("a database that the master refuses is an error", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.provide(insertAndLoad("any"), layer({ url: `${sentinels.url}/99` })))
      expect(error).toMatchObject({ _tag: "SessionConfigError", option: "db" })
    }))

  it.live("sentinels that are not there, or know no such master: unavailable, and nothing waits for them", () =>
    Effect.gen(function*() {
      for (const url of ["redis+sentinel://127.0.0.1:1/main", `${sentinels.url}-of-others`]) {
        const options = { url, timeout: "300 millis" } as const
        const error = yield* Effect.flip(Effect.provide(insertAndLoad("any"), Redis.layer(options)))
        expect(error).toMatchObject({ _tag: "SessionStoreError", reason: "Unavailable" })
      }
    }))

  it.live("F-R1: a master killed under load, ahead of its replicas", () =>
    Effect.gen(function*() {
      for (let failover = 0; failover < failovers; failover++) {
        const plain = underLoad(layer({ prefix: `plain-${failover}:` }), 12, Effect.promise(() => killMaster()))
        // So soon that it is known to have failed while the master still lives.
        const wait = { replicas: 1, timeout: "100 millis", writes: "all" } as const
        const waiting = layer({ prefix: `waiting-${failover}:`, wait })
        const [[times, fast], safe] = yield* underLoad(waiting, 4, Effect.orDie(plain))
        print("sentinel", times, { plain: fast, waiting: safe })
        for (const [report, sessions] of [[fast, 12], [safe, 4]] as const) {
          expect(report).toMatchObject({ twice: 0, ghosts: 0, cookies: 0, sessions })
          expect(report.errors).toBeGreaterThan(0)
        }
        expect(fast.lost).toBeGreaterThan(0)
        expect(safe.lost).toBe(0)
        expect(fast.lastErrorAt).toBeLessThan(times.failedOver + 2000)
        expect(safe.lastErrorAt).toBeLessThan(times.replicated + 2000)
      }
    }), 40_000 * failovers)

  const masterPort = () =>
    ask(sentinels.sentinels[0]!, async (redis) => {
      const [, port] = await redis.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main") as [string, string]
      return Number(port)
    })

  const replicationOf = (port: number) => ask({ port }, (redis) => redis.info("replication"))

  /** Kills the master, and brings it back as a replica of the new one. */
  const killMaster = async (): Promise<Times> => {
    await sleep(500)
    const old = await masterPort()
    const master = sentinels.servers.find(({ port }) => port === old)!
    const letGo = await cutOffReplicas(sentinels, master)
    await sleep(1000)
    const killed = Date.now()
    await master.kill()
    await letGo()
    await until(async () => {
      const port = await masterPort()
      return port !== old && /role:master/.test(await replicationOf(port))
    })
    const failedOver = Date.now()
    await until(async () =>
      await ask({ port: await masterPort() }, async (redis) => {
        await redis.set("in step?", "")
        return redis.wait(1, 200)
      }) > 0
    )
    const replicated = Date.now()
    await sleep(2500)
    await master.restart()
    // In the end a sentinel would say so.
    await ask(master, async (redis) => redis.replicaof("127.0.0.1", await masterPort()))
    await until(async () => /master_link_status:up/.test(await replicationOf(old)))
    return { killed, failedOver, replicated }
  }
})
