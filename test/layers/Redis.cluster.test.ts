/** Redis Cluster, a real one. `FAILOVERS=5` makes the last test long, and it prints what it measured. */
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Cluster } from "ioredis"
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import type { Server } from "../../scripts/servers.mjs"
import * as Redis from "../../src/layers/Redis.js"
import { SessionScan, SessionStore } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"
import { canStart } from "../backends.js"
import type { Topology } from "../redis-topologies.js"
import { ask, cutOffReplicas, startCluster, until } from "../redis-topologies.js"
import type { Times } from "./redis-failover.js"
import { failovers, print, underLoad } from "./redis-failover.js"

describe.skipIf(!canStart("redis"))("Redis Cluster", () => {
  let cluster: Topology
  beforeAll(async () => {
    cluster = await startCluster()
  })
  afterAll(() => cluster?.stop())

  const data = Buffer.from("the-data-of-a-session")
  const soon = () => Date.now() + 60_000
  const layer = (options?: Redis.Options) => Layer.suspend(() => Redis.layer({ url: cluster.url, ...options }))

  const masters = async () => {
    const seen = await Promise.all(
      cluster.servers.map((server) =>
        ask(server, async (redis) => ({ server, role: await redis.info("replication") })).catch(() => undefined)
      )
    )
    return seen.flatMap((one) => one && /role:master/.test(one.role) ? [one.server] : [])
  }

  const clientOf = (options?: object) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const client = new Cluster(cluster.servers.map(({ port }) => ({ host: "127.0.0.1", port })), {
          retryDelayOnFailover: 0,
          ...options,
          redisOptions: { commandTimeout: 2000, connectTimeout: 2000, maxRetriesPerRequest: 0 }
        })
        return client.on("error", () => {})
      }),
      (client) => Effect.promise(() => client.quit())
    )

  storeLaws(layer({ prefix: `${randomUUID()}:` }), { name: "a cluster", scans: true })

  it.scopedLive("a client brought along, used before it is ready", () =>
    Effect.gen(function*() {
      const client = yield* clientOf()
      const store = Context.get(yield* Layer.build(Redis.layerClient({ client })), SessionStore)
      yield* store.insert("brought", data, soon())
      expect(Option.getOrThrow(yield* store.load("brought")).data).toEqual(data)
    }))

  it.scopedLive("scripts that the nodes have forgotten", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const keys = Array.from({ length: 30 }, (_, i) => `forgotten-${i}`)
      yield* Effect.forEach(keys, (key) => store.insert(key, data, soon()))
      yield* Effect.promise(async () => {
        for (const server of await masters()) await ask(server, (redis) => redis.script("FLUSH"))
      })
      const removed = yield* Effect.forEach(keys, (key) => store.remove(key), { concurrency: "unbounded" })
      expect(removed).toEqual(keys.map(() => true))
    }).pipe(Effect.provide(layer())))

  it.scopedLive.each(["no", "all"] as const)(
    "F-R3 a slot on its way to another node, and there (waits: %s)",
    (waits) =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const key = randomUUID()
        yield* store.insert(key, data, soon())
        const { arrive, leave } = yield* Effect.promise(() => moveSlotOf(`session:${key}`))
        const everything = Effect.gen(function*() {
          const current = Option.getOrThrow(yield* store.load(key))
          expect(yield* store.touch(key, current, soon())).toBe(true)
          expect(Option.isSome(yield* store.replace(key, current.version, data, soon()))).toBe(true)
        })
        yield* Effect.promise(leave)
        yield* everything
        yield* Effect.promise(arrive)
        yield* everything
        expect(yield* store.remove(key)).toBe(true)
        expect(yield* store.load(key)).toEqual(Option.none())
      }).pipe(Effect.provide(layer(waits === "all" ? { wait: { replicas: 1, writes: "all" } } : {})))
  )

  /** In two steps: the key is where its slot is not yet; the slot is there too. */
  const moveSlotOf = async (key: string) => {
    const nodes = await Promise.all((await masters()).map((server) =>
      ask(server, async (redis) => ({
        server,
        id: String(await redis.cluster("MYID")),
        has: (await redis.exists(key).catch(() => 0)) === 1
      }))
    ))
    const from = nodes.find(({ has }) => has)!
    const to = nodes.find(({ has }) => !has)!
    const slot = await ask(to.server, (redis) => redis.cluster("KEYSLOT", key))
    const setSlot = (node: typeof from, ...args: Array<string>) =>
      ask(node.server, (redis) => redis.call("CLUSTER", "SETSLOT", slot, ...args))
    return {
      leave: async () => {
        await setSlot(to, "IMPORTING", from.id)
        await setSlot(from, "MIGRATING", to.id)
        await ask(from.server, (redis) => redis.migrate("127.0.0.1", to.server.port, key, 0, 1000))
      },
      arrive: async () => {
        for (const node of [to, from]) await setSlot(node, "NODE", to.id)
      }
    }
  }

  it.scopedLive("lists the sessions of every master, and nobody else's", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const scan = yield* SessionScan
      const keys = Array.from({ length: 600 }, (_, i) => `listed-${i}`)
      yield* Effect.forEach(keys, (key) => store.insert(key, data, soon()), { concurrency: "unbounded" })
      const entries = Chunk.toReadonlyArray(yield* Stream.runCollect(scan.entries))
      expect(new Set(entries.map(({ key }) => key))).toEqual(new Set(keys))
    }).pipe(Effect.provide(layer({ prefix: `${randomUUID()}:` }))))

  it.scopedLive("cannot be there: unavailable, at once", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const scan = yield* SessionScan
      const [took, error] = yield* Effect.timed(Effect.flip(store.load("any")))
      expect(error.reason).toBe("Unavailable")
      expect(Duration.toMillis(took)).toBeLessThan(500)
      expect((yield* Effect.flip(Stream.runDrain(scan.entries))).reason).toBe("Unavailable")
    }).pipe(Effect.provide(layer({ url: "redis+cluster://127.0.0.1:1", timeout: "500 millis" }))))

  it.scopedLive("a frozen master: each request ends in time, and its replica is found", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const [master] = yield* Effect.promise(masters)
      const keys = Array.from({ length: 30 }, (_, i) => `frozen-${i}`)
      yield* Effect.forEach(keys, (key) => store.insert(key, data, soon()))
      yield* Effect.acquireRelease(
        Effect.promise(() => master!.kill("SIGSTOP")),
        () => Effect.promise(() => master!.kill("SIGCONT"))
      )
      const load = (key: string) => Effect.timed(Effect.either(store.load(key)))
      const rounds = yield* Effect.iterate([yield* Effect.forEach(keys, load, { concurrency: "unbounded" })], {
        while: (rounds) => rounds.length < 40 && !rounds[0]!.every(([, found]) => Either.isRight(found)),
        body: (rounds) =>
          Effect.delay(Effect.forEach(keys, load, { concurrency: "unbounded" }), "200 millis").pipe(
            Effect.map((round) => [round, ...rounds])
          )
      })
      expect(rounds.length).toBeGreaterThan(1)
      expect(rounds[0]!.filter(([, found]) => !(Either.isRight(found) && Option.isSome(found.right)))).toEqual([])
      expect(rounds.flat().filter(([took]) => Duration.toMillis(took) > 1500)).toEqual([])
    }).pipe(Effect.provide(layer({ timeout: "500 millis" }))))

  it.live("a master killed under load, ahead of its replicas", () =>
    Effect.gen(function*() {
      for (let failover = 0; failover < failovers; failover++) {
        const plain = underLoad(layer({ prefix: `plain-${failover}:` }), 24, Effect.promise(() => killOne()))
        // So soon that it is known to have failed while the master still lives.
        const wait = { replicas: 1, timeout: "100 millis", writes: "all" } as const
        const waiting = layer({ prefix: `waiting-${failover}:`, wait })
        const [[times, fast], safe] = yield* underLoad(waiting, 12, Effect.orDie(plain))
        print("cluster", times, { plain: fast, waiting: safe })
        for (const [report, sessions] of [[fast, 24], [safe, 12]] as const) {
          expect(report).toMatchObject({ twice: 0, ghosts: 0, cookies: 0, sessions })
          expect(report.errors).toBeGreaterThan(0)
        }
        expect(fast.lost).toBeGreaterThan(0)
        expect(safe.lost).toBe(0)
        expect(fast.lastErrorAt).toBeLessThan(times.failedOver + 2000)
        expect(safe.lastErrorAt).toBeLessThan(times.replicated + 2000)
      }
    }), 30_000 * failovers)

  /** Kills a master, and brings it back when its replica has taken over. */
  const killOne = async (): Promise<Times> => {
    await until(async () =>
      (await statesOf(cluster.servers)).filter((state) => /state=online/.test(state)).length === 3
    )
    await sleep(500)
    const [master] = await masters()
    const others = cluster.servers.filter((server) => server !== master)
    const letGo = await cutOffReplicas(cluster, master!)
    await sleep(1000)
    const killed = Date.now()
    await master!.kill()
    await letGo()
    await until(async () =>
      (await statesOf(others)).every((state) => /cluster_state:ok/.test(state)) && (await masters()).length === 3
    )
    const failedOver = Date.now()
    await master!.restart()
    await until(async () => /master_link_status:up/.test(await ask(master!, (redis) => redis.info("replication"))))
    const replicated = Date.now()
    await sleep(2500)
    return { killed, failedOver, replicated }
  }

  const statesOf = (servers: ReadonlyArray<Server>) =>
    Promise.all(
      servers.map((server) =>
        ask(server, async (redis) => await redis.cluster("INFO") + await redis.info("replication"))
      )
    )
})
