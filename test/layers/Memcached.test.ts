import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/TestClock"
import { execFileSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { inspect } from "node:util"
import * as Memcached from "../../src/layers/Memcached.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionStore, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"
import { canStart, memcachedUrl, startMemcached } from "../backends.js"

/** A server of the test's own, to be counted, filled, killed or frozen. */
const server = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(() => startMemcached({ args })),
    (server) => Effect.promise(() => server.stop())
  )

/** A socket that says what it is told, and answers what comes back. */
const say = (port: number, text: string) =>
  Effect.promise(async () => {
    const socket = net.connect(port, "127.0.0.1")
    socket.write(text)
    const [reply] = await once(socket, "data")
    socket.destroy()
    return String(reply)
  })

/** Stands between, writes down what is sent, and may do something else than to pass it on. */
const proxyTo = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<net.Socket>()
      const pass = (reply: Buffer, socket: net.Socket): unknown => socket.write(reply)
      const rewrite = (request: string) => request
      const proxy = { servers: "", port, sent: "", rewrite, pass, onReply: pass, close: () => {} }
      const listener = net.createServer((socket) => {
        const memcached = net.connect(proxy.port, "127.0.0.1")
        socket.on("data", (chunk) => {
          const text = chunk.toString("latin1")
          proxy.sent += text
          memcached.write(proxy.rewrite(text), "latin1")
        })
        socket.on("close", () => memcached.destroy())
        memcached.on("data", (reply) => proxy.onReply(reply, socket))
        for (const end of [socket, memcached]) sockets.add(end.on("error", () => {}))
      })
      await once(listener.listen(0, "127.0.0.1"), "listening")
      // It listens on a port.
      proxy.servers = `127.0.0.1:${(listener.address() as net.AddressInfo).port}`
      proxy.close = () => {
        listener.close()
        for (const socket of sockets) socket.destroy()
      }
      return proxy
    }),
    (proxy) => Effect.sync(proxy.close)
  )

/** A server that is none: answers everything with `text`. */
const impostor = (text: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const listener = net.createServer((socket) => socket.on("error", () => {}).on("data", () => socket.write(text)))
        await once(listener.listen(0, "127.0.0.1"), "listening")
        return listener
      }),
      (listener) => Effect.sync(() => listener.close())
    ),
    // It listens on a port.
    (listener) => `127.0.0.1:${(listener.address() as net.AddressInfo).port}`
  )

const storeAt = (servers: Memcached.Options["servers"], options?: Partial<Memcached.Options>) =>
  Memcached.make({ servers, timeout: "500 millis", ...options })

const bytes = (text: string) => Buffer.from(text)
const data = bytes("the-data-of-a-session")
const soon = () => Date.now() + 60_000
const day = 24 * 60 * 60 * 1000

const insert = (store: SessionStore["Type"], key: string, expiresAt = soon()) =>
  Effect.map(store.insert(key, data, expiresAt), Option.getOrThrow)

const reasonOf = <A>(effect: Effect.Effect<A, SessionStoreError>) => Effect.map(Effect.flip(effect), (e) => e.reason)

const inspectAll = (value: unknown) => inspect(value, { showHidden: true, depth: 10 })

const recovered = (store: SessionStore["Type"], key = "any") =>
  Effect.retry(store.load(key), Schedule.spaced("50 millis").pipe(Schedule.upTo("4 seconds")))

const laws = { touchMovesVersion: true, maxBytes: Memcached.maxBytes }

describe.skipIf(memcachedUrl === undefined)("Memcached", () => {
  const prefix = `${randomUUID()}:`
  storeLaws(Memcached.layer({ servers: memcachedUrl ?? "", prefix }), { ...laws, multiProcess: true })
})

describe.skipIf(!canStart("memcached"))("a memcached of one's own", () => {
  const Several = Layer.unwrapScoped(
    Effect.map(
      Effect.replicateEffect(server(), 3),
      (servers) => Memcached.layer({ servers: servers.map(({ url }) => url) })
    )
  )
  storeLaws(Several, { ...laws, name: "three servers" })

  it.scopedLive("each operation is one command, and a version of the past needs none", () =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server()).port)
      const store = yield* storeAt(proxy.servers)
      const commands = <A, E>(operation: Effect.Effect<A, E>) =>
        Effect.gen(function*() {
          proxy.sent = ""
          const answer = yield* operation
          return [answer, (proxy.sent.match(/^m[gsd] /gm) ?? []).map((command) => command.trim())] as const
        })
      const [version, inserting] = yield* commands(insert(store, "key"))
      expect(inserting).toEqual(["ms"])
      const [, replacing] = yield* commands(store.replace("key", version, data, soon()))
      expect(replacing).toEqual(["ms"])
      const [found, loading] = yield* commands(store.load("key"))
      expect(loading).toEqual(["mg"])
      const current = Option.getOrThrow(found)
      expect(yield* commands(store.touch("key", current, soon()))).toEqual([true, ["ms"]])
      expect(yield* commands(store.remove("key", current.version))).toEqual([false, ["md"]])
      expect(yield* commands(store.remove("key"))).toEqual([true, ["mg", "md"]])

      const past = yield* insert(store, "key", Date.now())
      expect(yield* commands(store.replace("key", past, data, soon()))).toEqual([Option.none(), []])
      expect(yield* commands(store.remove("key", past))).toEqual([false, []])
      const [, reinserting] = yield* commands(insert(store, "key"))
      expect(reinserting).toEqual(["ms", "mg", "ms"])
      expect(yield* commands(store.insert("key", data, soon()))).toEqual([Option.none(), ["ms", "mg"]])
    }))

  it.scopedLive("options from Config; the prefix is put before the key", () =>
    Effect.gen(function*() {
      const { port, url } = yield* server()
      yield* Effect.flatMap(SessionStore, (store) => insert(store, "key")).pipe(
        Effect.provide(Memcached.layerConfig({ servers: Config.string("SERVERS"), prefix: Config.string("PREFIX") })),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["SERVERS", url], ["PREFIX", "app:"]])))
      )
      expect(yield* say(port, "mg app:key\r\n")).toBe("HD\r\n")
    }))

  it.scopedLive("F-CN4: the server's TTL is the deadline and a minute, also beyond 30 days and beyond 2038", () =>
    Effect.gen(function*() {
      const { port, url } = yield* server()
      const store = yield* storeAt(url)
      for (const days of [1, 29.9995, 30, 31, 400]) {
        yield* insert(store, `in-${days}`, Date.now() + days * day)
        const left = Number(/^HD t(-?\d+)/.exec(yield* say(port, `mg session:in-${days} t\r\n`))?.[1])
        expect(left).toBeGreaterThan(days * 86_400 + 50)
        expect(left).toBeLessThanOrEqual(days * 86_400 + 62)
      }
      yield* insert(store, "never", Date.now() + 40_000 * day)
      expect(yield* say(port, "mg session:never t\r\n")).toBe("HD t-1\r\n")
      expect(Option.isSome(yield* store.load("never"))).toBe(true)
    }))

  it.scoped("a deadline of the application's Clock, decades before the server's", () =>
    Effect.gen(function*() {
      const store = yield* storeAt((yield* server()).url)
      yield* insert(store, "key", (yield* Clock.currentTimeMillis) + 31 * day)
      yield* TestClock.adjust(31 * day - 1)
      expect(Option.isSome(yield* store.load("key"))).toBe(true)
      yield* TestClock.adjust(1)
      expect(yield* store.load("key")).toEqual(Option.none())
    }))

  it.scopedLive("F-CN1: several servers: losing one loses its sessions and no other", () =>
    Effect.gen(function*() {
      const servers = yield* Effect.replicateEffect(server(), 3)
      const urls = servers.map(({ url }) => url)
      const store = yield* storeAt(urls)
      const keys = Array.from({ length: 300 }, () => randomUUID())
      yield* Effect.forEach(keys, (key) => insert(store, key), { concurrency: "unbounded" })
      const counts = yield* Effect.forEach(servers, ({ port }) =>
        Effect.map(say(port, "stats\r\n"), (stats) => Number(/curr_items (\d+)/.exec(stats)?.[1])))
      expect(counts.reduce((a, b) =>
        a + b
      )).toBe(300)
      expect(Math.min(...counts)).toBeGreaterThan(50)

      const found = (store: SessionStore["Type"]) =>
        Effect.forEach(keys, (key) =>
          Effect.match(store.load(key), { onFailure: ({ reason }) => reason, onSuccess: Option.isSome }))
      const count = (of: ReadonlyArray<unknown>, value: unknown) =>
        of.filter((one) => one === value).length
      yield* Effect.promise(() => servers[1]!.kill())
      const withoutOne = yield* found(store)
      expect(count(withoutOne, "Unavailable")).toBe(counts[1])
      expect(count(withoutOne, true)).toBe(300 - counts[1]!)

      const ofTwo = yield* found(yield* storeAt([urls[2]!, urls[0]!]))
      expect(ofTwo).toEqual(withoutOne.map((one) => one === true))
    }))

  it.scopedLive("F-G1: a killed server: unavailable at once, and well again with the server, without the sessions", () =>
    Effect.gen(function*() {
      const memcached = yield* server()
      // So long that a test that waits for it fails.
      const store = yield* storeAt(memcached.url, { timeout: "1 minute" })
      yield* insert(store, "key")
      yield* Effect.promise(() => memcached.kill("SIGSTOP"))
      yield* Effect.sleep("50 millis") // its threads do not stop at once
      const inFlight = yield* Effect.fork(Effect.flip(store.insert("other", data, soon())))
      yield* Effect.sleep("50 millis")
      yield* Effect.promise(() => memcached.kill())
      expect((yield* inFlight).reason).toBe("Unavailable")
      expect(yield* reasonOf(store.load("key"))).toBe("Unavailable")
      yield* Effect.sleep("100 millis")
      expect(inspect((yield* Effect.flip(store.load("key"))).cause)).toContain("ECONNREFUSED")
      yield* Effect.promise(() => memcached.restart())
      expect(yield* recovered(store, "key")).toEqual(Option.none())
      expect(yield* store.load("other")).toEqual(Option.none())
    }))

  it.scopedLive("a server started anew counts from 1 again: versions from before are stale", () =>
    Effect.gen(function*() {
      const memcached = yield* server()
      const store = yield* storeAt(memcached.url)
      const expiresAt = soon()
      const before = yield* insert(store, "key", expiresAt)
      yield* Effect.promise(() => memcached.restart())
      yield* recovered(store)
      const after = yield* insert(store, "key", expiresAt)
      // The server's own count cannot tell them apart.
      expect(after.split("-").at(-1)).toBe(before.split("-").at(-1))
      expect(yield* store.replace("key", before, bytes("old"), soon())).toEqual(Option.none())
      expect(yield* store.touch("key", { data: bytes("old"), version: before, expiresAt }, soon())).toBe(false)
      expect(yield* store.remove("key", before)).toBe(false)
      expect(Option.getOrThrow(yield* store.load("key"))).toMatchObject({ version: after })
    }))

  it.scopedLive("a server that is down at the start: the Layer is built, and recovers", () =>
    Effect.gen(function*() {
      const memcached = yield* server()
      yield* Effect.promise(() => memcached.kill())
      const store = yield* storeAt(memcached.url)
      expect(yield* reasonOf(store.load("key"))).toBe("Unavailable")
      yield* Effect.promise(() => memcached.restart())
      yield* recovered(store)
      yield* insert(store, "key")
    }))

  it.scopedLive("F-G3: a frozen server: every request ends in time, no reply is mistaken, and it recovers", () =>
    Effect.gen(function*() {
      const memcached = yield* server()
      const store = yield* storeAt(memcached.url)
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
      yield* Effect.promise(() => memcached.kill("SIGSTOP"))
      // Some go out, some queue behind them, some come while it reconnects, some after the thaw.
      const loading = yield* Effect.fork(loadAll(20))
      yield* Effect.sleep("1500 millis")
      yield* Effect.promise(() => memcached.kill("SIGCONT"))
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

  it.scopedLive("F-G6: a write whose reply is lost fails, was done, and is not sent again", () =>
    Effect.gen(function*() {
      const { port } = yield* server()
      const proxy = yield* proxyTo(port)
      const store = yield* storeAt(proxy.servers)
      proxy.onReply = (_, socket) => socket.destroy()
      expect(yield* reasonOf(store.insert("key", data, soon()))).toBe("Unavailable")
      proxy.onReply = proxy.pass
      expect(Option.getOrThrow(yield* recovered(store, "key")).data).toEqual(data)
      expect(yield* say(port, "stats\r\n")).toMatch(/cmd_set 1\r/)
    }))

  // An answer of the server follows each: whoever took the junk for it would hand it to the next.
  it.scopedLive.each([
    "HELLO\r\n",
    "\r\n",
    "HD\r\n",
    "EN\r\n",
    "HD O0\r\n",
    "HD O999999\r\n",
    "VA 5 c1\r\nother\r\n",
    "VA 99999999999 c1\r\n",
    "VA -1 c1\r\n",
    "VA 3 c1 O1\r\nother\r\n",
    "END\r\n",
    "STAT pid 1\r\n",
    "x".repeat(5000)
  ])("junk among the answers ends the connection, and crosses none: %j", (junk) =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server()).port)
      const store = yield* storeAt(proxy.servers)
      const keys = Array.from({ length: 10 }, (_, i) => `key-${i}`)
      yield* Effect.forEach(keys, (key) => store.insert(key, bytes(key), soon()))
      proxy.onReply = (reply, socket) => {
        proxy.onReply = proxy.pass
        socket.write(Buffer.concat([bytes(junk), reply]))
      }
      const broken = yield* Effect.forEach(keys, (key) => reasonOf(store.load(key)), { concurrency: "unbounded" })
      expect(new Set(broken)).toEqual(new Set(["Unavailable"]))
      yield* recovered(store)
      const found = yield* Effect.forEach(keys, (key) => store.load(key), { concurrency: "unbounded" })
      expect(found.map((stored) => Option.getOrThrow(stored).data.toString())).toEqual(keys)
    }))

  it.scopedLive("F-CN5: junk that reads as an error fails one, and what follows is not mistaken", () =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server()).port)
      const store = yield* storeAt(proxy.servers)
      const version = yield* insert(store, "key")
      proxy.onReply = (reply, socket) => {
        proxy.onReply = proxy.pass
        socket.write(Buffer.concat([bytes("SERVER_ERROR busy\r\n"), reply]))
      }
      const [first, second] = yield* Effect.all([reasonOf(store.load("none")), reasonOf(store.load("key"))], {
        concurrency: "unbounded"
      })
      expect([first, second]).toEqual(["Rejected", "Unavailable"])
      expect(Option.getOrThrow(yield* recovered(store, "key")).version).toBe(version)
    }))

  it.scopedLive.each(["HTTP/1.1 400 Bad Request\r\n\r\n", "END\r\n", "ERROR Too many open connections\r\n"])(
    "a server that answers %j is unavailable",
    (text) =>
      Effect.gen(function*() {
        const store = yield* storeAt(yield* impostor(text))
        expect(yield* reasonOf(store.load("key"))).toBe("Unavailable")
      })
  )

  it.scopedLive("who waits for a server that says nothing can be interrupted", () =>
    Effect.gen(function*() {
      const building = yield* Effect.fork(storeAt(yield* impostor(""), { timeout: "1 minute" }))
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(building)
    }))

  // SECURITY-BAR H-17 to H-19, REG-E1.
  it.scopedLive("a hostile key is rejected without being sent, and the connection stays in step", () =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server()).port)
      const store = yield* storeAt(proxy.servers, { prefix: "" })
      const version = yield* insert(store, "canary")
      proxy.sent = ""
      const breaks = ["k\r\nset x 0 0 1\r\n1", "k\r\nflush_all", "k\ndelete x", "k\rget x", "k\n", "k\r\n"]
      const characters = ["k k", "k\tk", "k\0", "k\x7f", "k\xe9", "k\u{1f36a}", "", " canary"]
      const flags = ["canary S5 T0 b", "canary noreply", "canary q", "\x80\x01\0\x05"]
      const long = ["k".repeat(251), "k".repeat(65_536)]
      const current = { data, version, expiresAt: soon() }
      for (const key of [...breaks, ...characters, ...flags, ...long]) {
        expect(yield* reasonOf(store.load(key))).toBe("Rejected")
        expect(yield* reasonOf(store.insert(key, data, soon()))).toBe("Rejected")
        expect(yield* reasonOf(store.replace(key, version, data, soon()))).toBe("Rejected")
        expect(yield* reasonOf(store.touch(key, current, soon()))).toBe("Rejected")
        expect(yield* reasonOf(store.remove(key))).toBe("Rejected")
      }
      expect(proxy.sent).toBe("")
      const [longest, other] = ["k".repeat(249) + "a", "k".repeat(249) + "b"]
      yield* insert(store, longest)
      expect(yield* store.load(other)).toEqual(Option.none())
      for (const encoded of ["k%0d%0aflush_all", "k%250d%250aflush_all"]) yield* insert(store, encoded)
      expect(Option.getOrThrow(yield* store.load("canary"))).toMatchObject({ version, data })
    }))

  it.scopedLive.each<readonly [kibibytes: number, ...options: ReadonlyArray<string>]>([
    [128, "-o", "slab_chunk_max=65536"],
    [2048]
  ])(
    "F-CN3: a session outlives a write that is larger than the largest item of its server: %s KiB",
    ([kibibytes, ...options]) =>
      Effect.gen(function*() {
        const proxy = yield* proxyTo((yield* server("-I", `${kibibytes}k`, ...options)).port)
        const store = yield* storeAt(proxy.servers)
        const limit = kibibytes * 1024 - 1012
        const tooMuch = Buffer.alloc(limit + 1)
        const old = yield* insert(store, "key")
        const version = Option.getOrThrow(yield* store.replace("key", old, data, soon()))
        proxy.sent = ""
        for (const expected of [version, old]) {
          const error = yield* Effect.flip(store.replace("key", expected, tooMuch, soon()))
          expect(error).toMatchObject({ reason: "TooLarge", limit, actual: limit + 1 })
        }
        expect(yield* reasonOf(store.insert("key", tooMuch, soon()))).toBe("TooLarge")
        expect(proxy.sent).toBe("")
        expect(Option.getOrThrow(yield* store.load("key"))).toMatchObject({ version, data })
        expect(Option.isSome(yield* store.insert("k".repeat(242), Buffer.alloc(limit), soon()))).toBe(true)
      })
  )

  it.scopedLive("how much a server takes is asked again with each connection", () =>
    Effect.gen(function*() {
      const small = yield* server("-I", "64k", "-o", "slab_chunk_max=32768")
      const proxy = yield* proxyTo((yield* server()).port)
      const store = yield* storeAt(proxy.servers)
      yield* store.insert("key", Buffer.alloc(100_000), soon())
      proxy.port = small.port
      proxy.onReply = (_, socket) => socket.destroy()
      yield* Effect.flip(store.load("key"))
      proxy.onReply = proxy.pass
      yield* recovered(store)
      const error = yield* Effect.flip(store.insert("key", Buffer.alloc(100_000), soon()))
      expect(error).toMatchObject({ reason: "TooLarge", limit: 64 * 1024 - 1012 })
    }))

  it.scopedLive("a server that does not tell its settings is taken to have the usual ones", () =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server("-I", "2m")).port)
      for (const question of ["stats nonsense", "version", "stats items", "verbosity"]) {
        proxy.rewrite = (request) => request.replace("stats settings", question)
        const store = yield* storeAt(proxy.servers)
        yield* insert(store, question.replace(" ", "-"))
        const error = yield* Effect.flip(store.insert("other", Buffer.alloc(Memcached.maxBytes + 1), soon()))
        expect(error).toMatchObject({ reason: "TooLarge", limit: Memcached.maxBytes })
      }
    }))

  it.scopedLive("too much for memcached is not sent", () =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server()).port)
      const store = yield* storeAt(proxy.servers)
      proxy.sent = ""
      const error = yield* Effect.flip(store.insert("key", Buffer.alloc(Memcached.maxBytes + 1), soon()))
      expect(error).toMatchObject({ reason: "TooLarge", limit: Memcached.maxBytes, actual: Memcached.maxBytes + 1 })
      expect(proxy.sent).toBe("")
      yield* store.insert("k".repeat(242), Buffer.alloc(Memcached.maxBytes), soon())
    }))

  it.scopedLive("F-CN3: a server that removes a session when it is out of memory is refused", () =>
    Effect.gen(function*() {
      const store = yield* storeAt((yield* server("-M")).url)
      const error = yield* Effect.flip(store.insert("key", data, soon()))
      expect(error.reason).toBe("Rejected")
      expect(inspect(error.cause)).toContain("without evictions (-M)")
    }))

  it.scopedLive("a server without tokens is refused, at the greeting or at its first reply", () =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server("-C")).port)
      for (const question of ["stats settings", "stats nonsense"]) {
        proxy.rewrite = (request) => request.replace("stats settings", question)
        const store = yield* storeAt(proxy.servers)
        const operations = [store.insert("key", data, soon()), store.insert("key", data, soon()), store.load("key")]
        for (const operation of operations) {
          const error = yield* Effect.flip<unknown, SessionStoreError, never>(operation)
          expect(error.reason).toBe("Rejected")
          expect(inspect(error.cause)).toContain("started without CAS")
        }
      }
    }))

  it.scopedLive("what others keep there is corrupt, and stays as it is", () =>
    Effect.gen(function*() {
      const { port, url } = yield* server()
      const store = yield* storeAt(url)
      for (const [key, value] of [["empty", ""], ["text", "text"], ["long", "a text that is long enough"]] as const) {
        yield* say(port, `ms session:${key} ${value.length}\r\n${value}\r\n`)
        expect(yield* reasonOf(store.load(key))).toBe("Corrupt")
        expect(yield* reasonOf(store.insert(key, data, soon()))).toBe("Corrupt")
        expect(yield* store.replace(key, Version("v"), data, soon())).toEqual(Option.none())
        expect(yield* reasonOf(store.remove(key))).toBe("Corrupt")
        expect(yield* say(port, `mg session:${key} v\r\n`)).toBe(`VA ${value.length}\r\n${value}\r\n`)
      }
    }))

  it.scopedLive("an error holds nothing of the session", () =>
    Effect.gen(function*() {
      const proxy = yield* proxyTo((yield* server()).port)
      const store = yield* storeAt(proxy.servers)
      const key = randomUUID()
      proxy.onReply = (_, socket) => socket.write("SERVER_ERROR no\r\n")
      const error = yield* Effect.flip(store.insert(key, data, soon()))
      const shown = inspectAll(error) + inspectAll(error.cause)
      expect(shown).toContain("SERVER_ERROR no")
      expect(shown).not.toContain(key)
      expect(shown).not.toContain(data.toString())
      expect(shown).not.toContain(inspect(data).slice(8, 40))
    }))

  it.scopedLive("TLS: the server's certificate is checked", () =>
    Effect.gen(function*() {
      const { cert, dir, key } = yield* certificate
      const { url } = yield* server("-Z", "-o", `ssl_chain_cert=${dir}/cert.pem,ssl_key=${key}`)
      const servers = url.replace("127.0.0.1", "localhost")
      const store = yield* storeAt(servers, { tls: { ca: cert } })
      yield* insert(store, "key")
      expect(Option.getOrThrow(yield* store.load("key")).data).toEqual(data)
      const stranger = yield* Effect.flip((yield* storeAt(servers, { tls: true })).load("key"))
      expect(stranger.reason).toBe("Unavailable")
      expect(inspect(stranger.cause)).toContain("self-signed")
      const plain = yield* storeAt(url)
      expect(yield* reasonOf(plain.load("key"))).toMatch(/Unavailable|Timeout/)
    }))
})

const certificate = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-tls-"))),
    (dir) => Effect.sync(() => fs.rmSync(dir, { recursive: true }))
  ),
  (dir) => {
    const key = path.join(dir, "key.pem")
    const file = path.join(dir, "cert.pem")
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    execFileSync("openssl", ["req", ...kind, ...subject, "-keyout", key, "-out", file], { stdio: "pipe" })
    return { cert: fs.readFileSync(file), dir, key }
  }
)

describe("Memcached options", () => {
  const refusal = (options: Memcached.Options) =>
    Effect.map(Effect.flip(Effect.scoped(Memcached.make(options))), ({ option }) => option)

  it.effect.each([
    "",
    ",",
    "a,,b",
    "a,a:11211",
    "a b",
    "a:0",
    "a:65536",
    "a:port",
    "user:password@a",
    "redis://a",
    "a/b",
    "a?b",
    "a\r\nflush_all"
  ])("refuses the servers %j", (servers) =>
    Effect.gen(function*() {
      expect(yield* refusal({ servers })).toBe("servers")
      expect(yield* refusal({ servers: [servers] })).toBe("servers")
    }))

  it.effect.each(["a b", "a\r\n", "a\n", "\t", "\0", "\x7f", "\xe9", "a".repeat(187)])(
    "refuses the prefix %j",
    (prefix) =>
      Effect.gen(function*() {
        expect(yield* refusal({ servers: "localhost", prefix })).toBe("prefix")
      })
  )

  it.effect.each([0, Infinity])("refuses a timeout of %s", (timeout) =>
    Effect.gen(function*() {
      expect(yield* refusal({ servers: "localhost", timeout })).toBe("timeout")
    }))

  it.effect("refuses options for TLS that Node refuses", () =>
    Effect.gen(function*() {
      expect(yield* refusal({ servers: "localhost", tls: { cert: "no certificate" } })).toBe("tls")
    }))
})
