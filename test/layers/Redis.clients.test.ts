/** What an app does to ioredis, or to its server, around the store. */
import { afterEach, describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Command, Redis as Client } from "ioredis"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as Redis from "../../src/layers/Redis.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionScan, SessionStore } from "../../src/SessionStore.js"
import { canStart, redisUrl, startRedis } from "../backends.js"

const data = Buffer.from("the-data-of-a-session")
const soon = () => Date.now() + 60_000

const clientOf = (options: object = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => new Client(redisUrl!, { maxRetriesPerRequest: 0, commandTimeout: 5000, ...options })),
    (client) => Effect.sync(() => client.disconnect())
  )

/** Each operation on a session that is there. */
const operations = (services: Context.Context<SessionStore | SessionScan>, prefix: string) =>
  Effect.gen(function*() {
    const store = Context.get(services, SessionStore)
    const scan = Context.get(services, SessionScan)
    const version = Option.getOrThrow(yield* store.insert("key", data, soon()))
    const current = Option.getOrThrow(yield* store.load("key"))
    // Another client ends it, for this one may be of no use by then.
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        const admin = new Client(redisUrl!)
        await admin.del(`${prefix}key`)
        admin.disconnect()
      })
    )
    return {
      load: store.load("key"),
      "load of nothing": store.load("other"),
      insert: store.insert("key", data, soon()),
      replace: store.replace("key", version, data, soon()),
      touch: store.touch("key", current, soon()),
      remove: store.remove("key", version),
      scan: Stream.runCollect(scan.entries)
    }
  })

describe.skipIf(!redisUrl)("a reply that the app's client has changed", () => {
  const brought = (options: object = {}) =>
    Effect.gen(function*() {
      const client = yield* clientOf(options)
      const prefix = `clients-${randomUUID()}:`
      const services = yield* Layer.build(Redis.layerClient({ client, prefix }))
      return { client, all: yield* operations(services, prefix) }
    })

  // ioredis has no public way to take a transformer back.
  const { reply } = (Command as unknown as { readonly _transformer: { readonly reply: Record<string, unknown> } })
    ._transformer
  const before = { ...reply }
  afterEach(() => {
    for (const name of Object.keys(reply)) delete reply[name]
    Object.assign(reply, before)
  })

  type Operations = Effect.Effect.Success<ReturnType<typeof operations>>

  const expectUnavailable = (all: Operations, ...names: ReadonlyArray<keyof Operations>) =>
    Effect.forEach(names, (name) =>
      Effect.gen(function*() {
        const exit = yield* Effect.either(all[name] as Effect.Effect<unknown, SessionStoreError>)
        expect([name, exit]).toMatchObject([name, { _tag: "Left", left: { reason: "Unavailable" } }])
      }))

  it.scopedLive("every operation is Unavailable after a MULTI without pipeline", () =>
    Effect.gen(function*() {
      const { all, client } = yield* brought()
      yield* Effect.promise(() => client.multi({ pipeline: false }) as unknown as Promise<unknown>)
      yield* expectUnavailable(all, "load", "load of nothing", "insert", "replace", "touch", "remove", "scan")
    }))

  it.scopedLive.each<readonly [string, (reply: Array<Buffer>) => unknown]>([
    ["pairs", (reply) => reply.map((it, i) => [it, reply[i + 1]])],
    ["a Map", (reply) => new Map([["data", reply[1]]])],
    ["null for nothing", (reply) => reply.length === 0 ? null : reply],
    ["text", (reply) => reply.join()],
    ["an object of text", (reply) => ({ version: String(reply[1]), expiresAt: "9", data: "x" })]
  ])("a load is Unavailable when a transformer makes %s of a hash", ([, transform]) =>
    Effect.gen(function*() {
      const { all } = yield* brought()
      Command.setReplyTransformer("hgetall", transform)
      yield* expectUnavailable(all, "load", "load of nothing", "scan")
    }))

  it.scopedLive.each<readonly [string, (reply: unknown) => unknown]>([
    ["an object", (reply) => ({ reply })],
    ["a list", (reply) => [reply]],
    ["a boolean", (reply) => reply === 1],
    ["nothing", () => undefined],
    ["text", () => "OK"]
  ])("a write is Unavailable when a transformer makes %s of a number", ([, transform]) =>
    Effect.gen(function*() {
      const { all } = yield* brought()
      for (const name of ["evalsha", "eval"]) Command.setReplyTransformer(name, transform)
      yield* expectUnavailable(all, "insert", "replace", "touch", "remove")
    }))

  it.scopedLive("a listing is Unavailable when a transformer changes a page of SCAN", () =>
    Effect.gen(function*() {
      const { all } = yield* brought()
      Command.setReplyTransformer("scan", () => "QUEUED")
      yield* expectUnavailable(all, "scan")
    }))

  it.scopedLive.each<readonly [string, object]>([
    ["showFriendlyErrorStack", { showFriendlyErrorStack: true }],
    ["stringNumbers", { stringNumbers: true }],
    ["enableAutoPipelining", { enableAutoPipelining: true }]
  ])("every operation does what it should with %s", ([, options]) =>
    Effect.gen(function*() {
      const { all } = yield* brought(options)
      expect(Option.isSome(yield* all.load)).toBe(true)
      expect(Option.isNone(yield* all["load of nothing"])).toBe(true)
      expect(Option.isNone(yield* all.insert)).toBe(true)
      expect(yield* all.touch).toBe(true)
      expect((yield* all.scan).length).toBe(1)
      expect(yield* all.remove).toBe(true)
    }))
})

describe.skipIf(!canStart("redis"))("the rights of a Redis user", () => {
  const docs = fs.readFileSync("docs/backends.md", "utf8")
  const [, rights = ""] = /ACL SETUSER sessions (.*)/.exec(docs) ?? []

  it.scopedLive("every operation works with the rights that docs/backends.md names, in a database, with wait", () =>
    Effect.gen(function*() {
      const master = yield* Effect.acquireRelease(
        Effect.promise(() => startRedis()),
        (it) => Effect.promise(() => it.stop())
      )
      const replica = yield* Effect.acquireRelease(
        Effect.promise(() => startRedis({ args: ["--replicaof", "127.0.0.1", String(new URL(master.url).port)] })),
        (it) => Effect.promise(() => it.stop())
      )
      const admin = new Client(master.url)
      yield* Effect.addFinalizer(() => Effect.sync(() => admin.disconnect()))
      yield* Effect.promise(() => admin.call("ACL", "SETUSER", "sessions", ...rights.trim().split(" ")))
      expect(replica.url).toBeDefined()
      yield* Effect.promise(async () => {
        while (!/state=online/.test(await admin.info("replication"))) await new Promise((f) => setTimeout(f, 50))
      })
      const url = `${master.url.replace("//", "//sessions:password@")}/2`
      for (const wait of [undefined, { replicas: 1, writes: "all", timeout: "4 seconds" } as const]) {
        const services = yield* Redis.make({ url, wait, timeout: "5 seconds" })
        const store = Context.get(services, SessionStore)
        const version = Option.getOrThrow(yield* store.insert("key", data, soon()))
        const next = Option.getOrThrow(yield* store.replace("key", version, data, soon()))
        const current = Option.getOrThrow(yield* store.load("key"))
        expect(current.version).toBe(next)
        expect(yield* store.touch("key", current, soon())).toBe(true)
        expect((yield* Stream.runCollect(Context.get(services, SessionScan).entries)).length).toBe(1)
        expect(yield* store.remove("key")).toBe(true)
      }
      // No more than that: other keys are not its own.
      const user = new Client(url)
      yield* Effect.addFinalizer(() => Effect.sync(() => user.disconnect()))
      const refused = yield* Effect.promise(() => user.hset("other", "a", "b").catch((error: Error) => error.message))
      expect(refused).toMatch(/NOPERM/)
    }))
})
