import { describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Redis as Client } from "ioredis"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as net from "node:net"
import { performance } from "node:perf_hooks"
import { inspect } from "node:util"
import * as Redis from "../../src/layers/Redis.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionScan, SessionStore, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"
import { canStart, redisUrl, startRedis } from "../backends.js"

/** A client with the options that the documentation of `layerClient` asks for. */
const clientAt = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new Client(url, { maxRetriesPerRequest: 0, commandTimeout: 2000, connectTimeout: 2000 })),
    (client) => Effect.promise(() => client.quit())
  )

/** A server of the test's own, to be counted, filled, killed or frozen. */
const server = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis({ args })),
    (server) => Effect.promise(() => server.stop())
  )

/** Stands between, to do something else with each reply than to pass it on. */
const proxyTo = (port: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const sockets = new Set<net.Socket>()
        const pass = (reply: Buffer, socket: net.Socket): unknown => socket.write(reply)
        const state = { onReply: pass }
        const proxy = net.createServer((socket) => {
          const redis = net.connect(port, "127.0.0.1")
          socket.pipe(redis).on("data", (reply) => state.onReply(reply, socket))
          for (const end of [socket, redis]) sockets.add(end.on("error", () => {}))
        })
        await once(proxy.listen(0, "127.0.0.1"), "listening")
        return { proxy, sockets, state }
      }),
      ({ proxy, sockets }) =>
        Effect.sync(() => {
          proxy.close()
          for (const socket of sockets) socket.destroy()
        })
    ),
    ({ proxy, state }) => ({
      // It listens on a port.
      url: `redis://127.0.0.1:${(proxy.address() as net.AddressInfo).port}`,
      onReply: (onReply: typeof state.onReply) => {
        state.onReply = onReply
      }
    })
  )

const storeAt = (url: string, options?: Redis.Options) =>
  Effect.map(Redis.make({ url, timeout: "500 millis", ...options }), Context.get(SessionStore))

const bytes = (text: string) => Buffer.from(text)
const data = bytes("the-data-of-a-session")
const soon = () => Date.now() + 60_000

const insert = (store: SessionStore["Type"], key: string) =>
  Effect.map(store.insert(key, data, soon()), Option.getOrThrow)

const reasonOf = <A>(effect: Effect.Effect<A, SessionStoreError>) => Effect.map(Effect.flip(effect), (e) => e.reason)

const inspectAll = (value: unknown) => inspect(value, { showHidden: true, depth: 10 })

const recovered = (store: SessionStore["Type"], key = "any") =>
  Effect.retry(store.load(key), Schedule.spaced("50 millis").pipe(Schedule.upTo("4 seconds")))

describe.skipIf(redisUrl === undefined)("Redis", () => {
  const prefix = `${randomUUID()}:`

  storeLaws(Redis.layer({ url: redisUrl, prefix }), {
    name: "a connection of its own",
    multiProcess: true,
    scans: true,
    unreachable: Redis.layer({ url: "redis://127.0.0.1:1" })
  })

  const BroughtAlong = Layer.unwrapScoped(
    Effect.map(clientAt(redisUrl ?? ""), (client) => Redis.layerClient({ client, prefix }))
  )
  storeLaws(BroughtAlong, { name: "a client brought along" })
})

describe.skipIf(!canStart("redis"))("a Redis of one's own", () => {
  it.scopedLive("a client brought along: binary data, keys under the prefix, and it stays open", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const client = yield* clientAt(url)
      const all = Uint8Array.from({ length: 256 }, (_, i) => i)
      const found = yield* Effect.gen(function*() {
        const store = yield* SessionStore
        yield* store.insert("key", all.subarray(3), soon())
        return Option.getOrThrow(yield* store.load("key"))
      }).pipe(Effect.provide(Redis.layerClient({ client, prefix: "mine:" })))
      expect([...found.data]).toEqual([...all.subarray(3)])
      expect(yield* Effect.promise(() => client.keys("*"))).toEqual(["mine:key"])
    }))

  it.scopedLive("options from Config", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const client = yield* clientAt(url)
      yield* Effect.flatMap(SessionStore, (store) => insert(store, "key")).pipe(
        Effect.provide(Redis.layerConfig({ url: Config.redacted("URL"), prefix: Config.string("PREFIX") })),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["URL", url], ["PREFIX", "app:"]])))
      )
      expect(yield* Effect.promise(() => client.keys("*"))).toEqual(["app:key"])
    }))

  it.scopedLive("F-R4: each operation is one command, and a lost script costs one more", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const store = yield* storeAt(url)
      const admin = yield* clientAt(url)
      const commands = Effect.gen(function*() {
        const stats = yield* Effect.promise(() => admin.info("commandstats"))
        yield* Effect.promise(() => admin.config("RESETSTAT"))
        const calls = [...stats.matchAll(/cmdstat_(eval|evalsha|hgetall|script\S*):calls=(\d+)/g)]
        return calls.map(([, name, calls]) => `${name} ${calls}`).sort()
      })
      const round = (key: string) =>
        Effect.gen(function*() {
          const version = yield* insert(store, key)
          yield* store.replace(key, version, data, soon())
          const current = Option.getOrThrow(yield* store.load(key))
          expect(yield* store.touch(key, current, soon())).toBe(true)
          expect(yield* store.remove(key)).toBe(true)
        })
      yield* round("first")
      yield* commands
      yield* round("second")
      expect(yield* commands).toEqual(["evalsha 4", "hgetall 1"])
      yield* Effect.promise(() => admin.script("FLUSH"))
      yield* commands
      yield* round("third")
      expect(yield* commands).toEqual(["eval 4", "evalsha 4", "hgetall 1"])
    }))

  it.scopedLive("the server's TTL is the deadline and a minute, moved by replace and touch", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const store = yield* storeAt(url)
      const admin = yield* clientAt(url)
      const left = Effect.promise(() => admin.pttl("session:key"))
      const near = (seconds: number) => (millis: number) => {
        expect(millis).toBeLessThanOrEqual(seconds * 1000 + 61_000)
        expect(millis).toBeGreaterThan(seconds * 1000 + 50_000)
      }
      const inSeconds = (seconds: number) => Date.now() + seconds * 1000 + 0.5
      const version = Option.getOrThrow(yield* store.insert("key", data, inSeconds(1000)))
      near(1000)(yield* left)
      yield* store.replace("key", version, data, inSeconds(2000))
      near(2000)(yield* left)
      const current = Option.getOrThrow(yield* store.load("key"))
      yield* store.touch("key", current, inSeconds(500))
      near(500)(yield* left)
    }))

  it.scopedLive("F-R5: out of memory: writes are rejected, load and remove work", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const store = yield* storeAt(url)
      const admin = yield* clientAt(url)
      const version = yield* insert(store, "key")
      yield* Effect.promise(() => admin.config("SET", "maxmemory", "1"))
      expect(yield* reasonOf(store.insert("other", data, soon()))).toBe("Rejected")
      expect(yield* reasonOf(store.replace("key", version, data, soon()))).toBe("Rejected")
      const current = Option.getOrThrow(yield* store.load("key"))
      expect(current.version).toBe(version)
      expect(yield* store.remove("key", version)).toBe(true)
    }))

  it.scopedLive("a replica and a client without rights: rejected", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const admin = yield* clientAt(url)
      const store = yield* storeAt(url)
      yield* Effect.promise(() => admin.replicaof("127.0.0.1", 1))
      expect(yield* reasonOf(store.insert("key", data, soon()))).toBe("Rejected")
      yield* Effect.promise(() => admin.replicaof("NO", "ONE"))
      yield* recovered(store)
      yield* Effect.promise(() =>
        admin.acl("SETUSER", "weak", "on", ">pw", "~*", "+info", "+ping", "+client", "+hello")
      )
      const weak = yield* storeAt(url, { url: url.replace("//", "//weak:pw@") })
      expect(yield* reasonOf(weak.load("key"))).toBe("Rejected")
    }))

  it.scopedLive("F-G12: a wrong password: rejected, and in no error", () =>
    Effect.gen(function*() {
      const { url } = yield* server("--requirepass", "right-password")
      const store = yield* storeAt(url.replace("//", "//:wrong-password@"))
      const error = yield* Effect.flip(store.load("key"))
      expect(error.reason).toBe("Rejected")
      expect(inspectAll(error.cause)).toContain("WRONGPASS")
      expect(inspectAll(error)).not.toContain("wrong-password")
    }))

  const brought = (url: string) =>
    Effect.gen(function*() {
      const client = new Client(url, { maxRetriesPerRequest: 0, commandTimeout: 500 })
      client.on("error", () => {})
      yield* Effect.addFinalizer(() => Effect.sync(() => client.disconnect()))
      return Context.get(yield* Layer.build(Redis.layerClient({ client })), SessionStore)
    })

  it.scopedLive.each<readonly [string, (url: string) => ReturnType<typeof storeAt>]>([
    ["a connection of its own", (url) => storeAt(url)],
    ["a client brought along", brought]
  ])("a database that the server refuses is an error, and never database 0: %s", ([, at]) =>
    Effect.gen(function*() {
      const redis = yield* server("--databases", "4")
      const admin = yield* clientAt(redis.url)
      expect(yield* Effect.flip(at(`${redis.url}/4`))).toMatchObject({ _tag: "SessionConfigError", option: "db" })

      // refused on a later connection
      const set = (...rules: ReadonlyArray<string>) => Effect.promise(() => admin.acl("SETUSER", "app", ...rules))
      yield* set("on", ">pw", "~*", "+@all")
      const store = yield* at(`${redis.url.replace("//", "//app:pw@")}/3`)
      yield* insert(store, "key")
      yield* set("-select")
      yield* Effect.promise(() => admin.client("KILL", "USER", "app"))
      yield* Effect.sleep("300 millis")
      expect(yield* reasonOf(store.insert("other", data, soon()))).toBe("Rejected")
      expect(yield* reasonOf(store.load("key"))).toBe("Rejected")
      yield* set("+select")
      expect(Option.getOrThrow(yield* store.load("key")).data).toEqual(data)

      // refused by a server that was not there before
      yield* Effect.promise(() => redis.kill())
      const late = yield* at(`${redis.url}/4`)
      yield* Effect.promise(() => redis.restart())
      yield* Effect.sleep("1 second")
      expect(yield* reasonOf(late.insert("key", data, soon()))).toBe("Rejected")
      expect(yield* Effect.promise(() => admin.keys("*"))).toEqual([])
    }))

  it.scopedLive("a deadline that is none, and one beyond all times", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const store = yield* storeAt(url)
      const admin = yield* clientAt(url)
      for (const never of [Infinity, Number.MAX_VALUE, 1e21, 8.64e15]) {
        yield* Effect.promise(() => admin.flushall())
        const version = Option.getOrThrow(yield* store.insert("key", data, never))
        expect(Option.isSome(yield* store.replace("key", version, data, never))).toBe(true)
        expect(yield* store.touch("key", Option.getOrThrow(yield* store.load("key")), never)).toBe(true)
        expect(yield* Effect.promise(() => admin.pttl("session:key"))).toBeGreaterThan(8e15)
      }
      yield* store.insert("past", data, -Infinity)
      yield* store.insert("none", data, NaN)
      yield* Effect.sleep("20 millis")
      expect(yield* Effect.promise(() => admin.exists("session:past", "session:none"))).toBe(0)
    }))

  it.scopedLive("F-R11: what others keep there is corrupt, and stays as it is", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const store = yield* storeAt(url)
      const admin = yield* clientAt(url)
      yield* Effect.promise(async () => {
        await admin.set("session:text", "text")
        await admin.rpush("session:list", "item")
        await admin.hset("session:hash", { field: "value" })
        await admin.hset("session:torn", { version: "v", expiresAt: "later", data: "d" })
      })
      const dump = (key: string) => Effect.promise(() => admin.dumpBuffer(`session:${key}`))
      for (const key of ["text", "list", "hash", "torn"]) {
        const before = yield* dump(key)
        const current = { data, version: Version("v"), expiresAt: soon() }
        expect(yield* reasonOf(store.load(key))).toBe("Corrupt")
        expect(yield* reasonOf(store.insert(key, data, soon()))).toBe("Corrupt")
        expect(yield* reasonOf(store.replace(key, Version("v"), data, soon()))).toBe("Corrupt")
        expect(yield* reasonOf(store.touch(key, current, soon()))).toBe("Corrupt")
        expect(yield* reasonOf(store.remove(key))).toBe("Corrupt")
        expect(yield* dump(key)).toEqual(before)
      }
    }))

  it.scopedLive("F-G1: a killed server: unavailable at once, and well again with the server", () =>
    Effect.gen(function*() {
      const redis = yield* server()
      // So long that a test that waits for it fails.
      const store = yield* storeAt(redis.url, { timeout: "1 minute" })
      yield* insert(store, "key")
      yield* Effect.promise(() => redis.kill("SIGSTOP"))
      const inFlight = yield* Effect.fork(Effect.flip(store.insert("other", data, soon())))
      yield* Effect.sleep("50 millis")
      yield* Effect.promise(() => redis.kill())
      expect((yield* inFlight).reason).toBe("Unavailable")
      const error = yield* Effect.flip(store.load("key"))
      expect(error.reason).toBe("Unavailable")
      yield* Effect.sleep("100 millis")
      expect(inspect((yield* Effect.flip(store.load("key"))).cause)).toContain("ECONNREFUSED")
      yield* Effect.promise(() => redis.restart())
      expect(yield* recovered(store)).toEqual(Option.none())
      expect(yield* store.load("other")).toEqual(Option.none())
    }))

  it.scopedLive("F-G2: a server that is down at the start: the Layer is built, and recovers", () =>
    Effect.gen(function*() {
      const redis = yield* server()
      yield* Effect.promise(() => redis.kill())
      const store = yield* storeAt(redis.url)
      expect(yield* reasonOf(store.load("key"))).toBe("Unavailable")
      yield* Effect.promise(() => redis.restart())
      yield* recovered(store)
      yield* insert(store, "key")
    }))

  it.scopedLive("F-G3: a frozen server: every request ends in time, no reply is mistaken, and it recovers", () =>
    Effect.gen(function*() {
      const redis = yield* server()
      const store = yield* storeAt(redis.url)
      const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`)
      const loadAll = (pause: number) =>
        Effect.forEach(keys, (key, i) =>
          store.load(key).pipe(
            Effect.map((stored) => ({ key, found: Option.getOrThrow(stored).data.toString() })),
            Effect.either,
            Effect.timed,
            Effect.delay(i * pause)
          ), { concurrency: "unbounded" })
      yield* Effect.forEach(keys, (key) => store.insert(key, bytes(key), soon()), { concurrency: "unbounded" })
      yield* Effect.promise(() => redis.kill("SIGSTOP"))
      // Some go out, some queue behind them, some come while it reconnects, some after the thaw.
      const loading = yield* Effect.fork(loadAll(20))
      yield* Effect.sleep("1500 millis")
      yield* Effect.promise(() => redis.kill("SIGCONT"))
      const ended = yield* loading
      expect(ended.filter(([took]) => Duration.toMillis(took) > 1000)).toEqual([])
      const [first] = ended.map(([, result]) => Either.flip(result))
      expect(first).toMatchObject({ right: { reason: "Timeout" } })
      yield* recovered(store)
      const answers = [...ended, ...yield* loadAll(0)].flatMap(([, result]) =>
        Either.isRight(result) ? [result.right] : []
      )
      expect(answers.length).toBeGreaterThanOrEqual(keys.length)
      expect(answers.filter(({ found, key }) => found !== key)).toEqual([])
    }))

  it.scopedLive("a frozen server costs one new connection, however many wait for it", () =>
    Effect.gen(function*() {
      const redis = yield* server()
      const warnings: Array<Error> = []
      const note = (warning: Error) => warnings.push(warning)
      yield* Effect.acquireRelease(
        Effect.sync(() => process.on("warning", note)),
        () => Effect.sync(() => process.off("warning", note))
      )
      const store = yield* storeAt(redis.url)
      yield* Effect.promise(() => redis.kill("SIGSTOP"))
      const loads = yield* Effect.forEach(Array.from({ length: 30 }), () => reasonOf(store.load("key")), {
        concurrency: "unbounded"
      })
      expect(new Set(loads)).toEqual(new Set(["Timeout"]))
      expect(warnings).toEqual([])
      yield* Effect.promise(() => redis.kill("SIGCONT"))
      yield* recovered(store)
      // once more: it is not replaced once for all
      yield* Effect.promise(() => redis.kill("SIGSTOP"))
      expect(yield* reasonOf(store.load("key"))).toBe("Timeout")
      yield* Effect.sleep("200 millis")
      expect(yield* reasonOf(store.load("key"))).toBe("Unavailable")
      yield* Effect.promise(() => redis.kill("SIGCONT"))
    }))

  it.scopedLive("an answer that arrived while the process was busy is not late", () =>
    Effect.gen(function*() {
      const store = yield* storeAt((yield* server()).url, { timeout: "300 millis" })
      yield* insert(store, "first") // knows the script
      const insertion = yield* Effect.fork(store.insert("key", data, soon()))
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(() => setImmediate(resolve))))
      for (const start = performance.now(); performance.now() - start < 400;);
      expect(Option.isSome(yield* insertion)).toBe(true)
    }))

  it.scopedLive("a connection that went silent is replaced", () =>
    Effect.gen(function*() {
      const { port } = yield* server()
      const proxy = yield* proxyTo(port)
      const store = yield* storeAt(proxy.url)
      yield* insert(store, "key")
      proxy.onReply(() => {})
      expect(yield* reasonOf(store.load("key"))).toBe("Timeout")
      proxy.onReply((reply, socket) => socket.write(reply))
      yield* recovered(store)
    }))

  it.scopedLive("F-G6: a write whose reply is lost fails, was done, and is not sent again", () =>
    Effect.gen(function*() {
      const { port, url } = yield* server()
      const proxy = yield* proxyTo(port)
      const store = yield* storeAt(proxy.url)
      yield* insert(store, "key")
      const admin = yield* clientAt(url)
      yield* Effect.promise(() => admin.config("RESETSTAT"))
      proxy.onReply((_, socket) => socket.destroy())
      expect(yield* reasonOf(store.insert("other", data, soon()))).toBe("Unavailable")
      proxy.onReply((reply, socket) => socket.write(reply))
      expect(Option.getOrThrow(yield* recovered(store, "other")).data).toEqual(data)
      expect(yield* Effect.promise(() => admin.info("commandstats"))).toMatch(/cmdstat_evalsha:calls=1,/)
    }))

  it.scopedLive("releasing does not wait for a dead server", () =>
    Effect.gen(function*() {
      const redis = yield* server()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* storeAt(redis.url)
        yield* Effect.promise(() => redis.kill("SIGSTOP"))
      }))
      yield* Effect.promise(() => redis.kill())
      yield* Effect.scoped(storeAt(redis.url))
    }))

  it.scopedLive("an error holds nothing of the session", () =>
    Effect.gen(function*() {
      const { url } = yield* server("--rename-command", "EVALSHA", "", "--rename-command", "HGETALL", "")
      const store = yield* storeAt(url)
      const key = randomUUID()
      const operations: ReadonlyArray<Effect.Effect<unknown, SessionStoreError>> = [
        store.insert(key, data, soon()),
        store.load(key),
        store.remove(key)
      ]
      for (const operation of operations) {
        const error = yield* Effect.flip(operation)
        const shown = inspectAll(error) + inspectAll(error.cause)
        expect(shown).toContain("unknown command")
        expect(shown).not.toContain(key)
        expect(shown).not.toContain(data.toString())
        expect(shown).not.toContain(inspect(data).slice(8, 40))
      }
    }))

  /** A master, and a replica of it. */
  const pair = Effect.gen(function*() {
    const master = yield* server("--repl-diskless-sync-delay", "0")
    const replica = yield* server("--replicaof", "127.0.0.1", String(master.port))
    const admin = yield* clientAt(master.url)
    // online is not yet in step
    yield* Effect.promise(async () => {
      await admin.set("in step?", "")
      return admin.wait(1, 100)
    }).pipe(Effect.repeat({ until: (replicas) => replicas === 1, schedule: Schedule.spaced("20 millis") }))
    yield* Effect.promise(() => admin.del("in step?"))
    return { master, replica, admin }
  })

  it.scopedLive("wait: a removal that no replica has is no logout, and is one when it has", () =>
    Effect.gen(function*() {
      const { master, replica } = yield* pair
      const store = yield* storeAt(master.url, { timeout: "2 seconds", wait: { replicas: 1 } })
      yield* insert(store, "key")
      yield* insert(store, "other")
      expect(yield* store.remove("key")).toBe(true)
      yield* insert(store, "key")
      yield* Effect.promise(() => replica.kill("SIGSTOP"))
      expect(yield* reasonOf(store.remove("key"))).toBe("Timeout")
      // It is gone from the master, but a failover would bring it back.
      expect(yield* reasonOf(store.load("key"))).toBe("Timeout")
      expect(yield* reasonOf(store.remove("key"))).toBe("Timeout")
      expect(yield* reasonOf(store.insert("key", data, soon()))).toBe("Timeout")
      expect(Option.isSome(yield* store.load("other"))).toBe(true)
      yield* insert(store, "third")
      yield* Effect.promise(() => replica.kill("SIGCONT"))
      expect(yield* recovered(store, "key")).toEqual(Option.none())
      expect(yield* store.remove("key")).toBe(false)
      const replicated = yield* storeAt(replica.url)
      expect(yield* replicated.load("key")).toEqual(Option.none())
      expect(Option.isSome(yield* replicated.load("other"))).toBe(true)
    }))

  it.scopedLive("wait for every write: none is answered that no replica has", () =>
    Effect.gen(function*() {
      const { admin, master, replica } = yield* pair
      const client = yield* clientAt(master.url)
      const layer = Redis.layerClient({ client, wait: { replicas: 1, writes: "all" } })
      const store = Context.get(yield* Layer.build(layer), SessionStore)
      const version = yield* insert(store, "key")
      const replaced = Option.getOrThrow(yield* store.replace("key", version, data, soon()))
      const current = Option.getOrThrow(yield* store.load("key"))
      expect(yield* store.touch("key", current, soon())).toBe(true)
      yield* Effect.promise(() => replica.kill("SIGSTOP"))
      expect(yield* reasonOf(store.insert("other", data, soon()))).toBe("Timeout")
      expect(yield* reasonOf(store.replace("key", replaced, data, soon()))).toBe("Timeout")
      expect(yield* reasonOf(store.load("key"))).toBe("Timeout")
      expect(yield* reasonOf(store.touch("key", current, soon()))).toBe("Timeout")
      const left = yield* Effect.promise(() => admin.pttl("session:key"))
      yield* Effect.promise(() => replica.kill("SIGCONT"))
      const { version: found } = Option.getOrThrow(yield* recovered(store, "key"))
      expect([version, replaced]).not.toContain(found)
      expect(yield* Effect.promise(() => admin.pttl("session:key"))).toBeLessThanOrEqual(left)
      expect(Option.isSome(yield* store.load("other"))).toBe(true)
    }))

  const entriesAt = (url: string, prefix?: string) =>
    Effect.map(Redis.make({ url, prefix }), (context) => Context.get(context, SessionScan).entries)

  it.scopedLive("lists what is live under the very prefix, and nothing else", () =>
    Effect.gen(function*() {
      const { url } = yield* server("--rename-command", "KEYS", "")
      const admin = yield* clientAt(url)
      const prefix = "we*ird[a-z]?\\^{}:"
      const store = yield* storeAt(url, { prefix })
      const keys = Array.from({ length: 1000 }, (_, i) => `key-${i}-é*`)
      const deadline = soon()
      yield* Effect.forEach(keys, (key) => store.insert(key, bytes(key), deadline), { concurrency: 50 })
      yield* store.insert("expired", data, Date.now() - 1)
      for (const other of ["we-ird-a-x-:", "we-irda?\\^{}:", "we*irda?\\^{}:", "we*ird[a-z]x\\^{}:", ""]) {
        yield* insert(yield* storeAt(url, { prefix: other }), "key")
      }
      yield* Effect.promise(async () => {
        await admin.set(`${prefix}text`, "text")
        await admin.hset(`${prefix}hash`, { field: "value" })
      })
      const entries = Chunk.toReadonlyArray(yield* Stream.runCollect(yield* entriesAt(url, prefix)))
      const found = new Map(entries.map((entry) => [entry.key, entry]))
      expect([...found.keys()].sort()).toEqual([...keys].sort())
      for (const [key, entry] of found) expect(entry).toEqual({ key, data: bytes(key), expiresAt: deadline })
    }))

  it.scopedLive("lists in batches, as it is pulled; a server started anew meanwhile is an error", () =>
    Effect.gen(function*() {
      const redis = yield* server()
      const admin = yield* clientAt(redis.url)
      const store = yield* storeAt(redis.url)
      const keys = Array.from({ length: 1000 }, (_, i) => `key-${i}`)
      const fill = Effect.forEach(keys, (key) => store.insert(key, data, soon()), { concurrency: "unbounded" })
      yield* fill
      const entries = yield* entriesAt(redis.url)
      yield* Effect.promise(() => admin.config("RESETSTAT"))
      yield* Stream.runDrain(Stream.take(entries, 10))
      const stats = yield* Effect.promise(() => admin.info("commandstats"))
      expect(Number(/cmdstat_hgetall:calls=(\d+)/.exec(stats)![1])).toBeLessThan(700)
      const restart = yield* Effect.once(Effect.gen(function*() {
        yield* Effect.promise(() => redis.restart())
        yield* recovered(store)
        yield* fill
        yield* Effect.sleep("600 millis")
      }))
      expect(yield* reasonOf(Stream.runForEach(entries, () => restart))).toBe("Unavailable")
    }))

  it.scopedLive("lists for who may not ask which server it is", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const admin = yield* clientAt(url)
      const rules = ["on", ">pw", "~session:*", "+@read", "+@write", "+@connection", "+@scripting"]
      yield* Effect.promise(() => admin.acl("SETUSER", "app", ...rules))
      const own = url.replace("//", "//app:pw@")
      yield* insert(yield* storeAt(own), "key")
      const entries = yield* Stream.runCollect(yield* entriesAt(own))
      expect(Chunk.toReadonlyArray(entries).map(({ key }) => key)).toEqual(["key"])
    }))

  it.scopedLive("a client brought along that answers numbers as text", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const client = new Client(url, { maxRetriesPerRequest: 0, commandTimeout: 2000, stringNumbers: true })
      const store = Context.get(yield* Layer.build(Redis.layerClient({ client })), SessionStore)
      yield* insert(store, "key")
      expect(yield* store.remove("key")).toBe(true)
      yield* Effect.promise(() => client.quit())
    }))

  it.scopedLive("fewer replicas than the server wants: rejected", () =>
    Effect.gen(function*() {
      const { url } = yield* server("--min-replicas-to-write", "1")
      const store = yield* storeAt(url)
      expect(yield* reasonOf(store.insert("key", data, soon()))).toBe("Rejected")
    }))
})

describe("Redis options", () => {
  it.effect.each([0, Infinity])("refuses a timeout of %s", (timeout) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Redis.make({ host: "127.0.0.1", timeout })))
      expect(error.option).toBe("timeout")
    }))
})
