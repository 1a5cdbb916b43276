/** What makes no sense is refused at the start, by name, and without a password in the message. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Cluster, Redis as Client } from "ioredis"
import { inspect } from "node:util"
import * as Redis from "../../src/layers/Redis.js"
import { parseAddress } from "../../src/redis/Address.js"

const refused = (layer: Layer.Layer<never, { readonly option: string; readonly message: string }>) =>
  Effect.flip(Effect.scoped(Layer.build(layer)))

describe("where Redis is", () => {
  it.effect.each<readonly [string, object]>([
    ["redis://a", { host: "a", port: 6379 }],
    ["REDIS://a:1/2", { host: "a", port: 1, db: 2 }],
    ["redis://[::1]:1\n", { host: "::1", port: 1 }],
    ["redis://u%40:p%2F%3a@a", { host: "a", port: 6379, username: "u@", password: "p/:" }],
    ["redis://:p:@:@a/?db=1&family=6", { host: "a", port: 6379, password: "p:@:", db: 1, family: 6 }],
    ["rediss://u@a", { host: "a", port: 6379, username: "u", secure: true }],
    ["redis://a?tls=true", { host: "a", port: 6379, secure: true }],
    ["redis+cluster://:p@a,b:2,[::1]:3", {
      password: "p",
      cluster: [{ host: "a", port: 6379 }, { host: "b", port: 2 }, { host: "::1", port: 3 }]
    }],
    ["rediss+cluster://a/0", { cluster: [{ host: "a", port: 6379 }], secure: true }],
    ["redis+sentinel://:p@a,b:2/my%20master/3?sentinelPassword=q", {
      password: "p",
      sentinelPassword: "q",
      name: "my master",
      db: 3,
      sentinels: [{ host: "a", port: 26379 }, { host: "b", port: 2 }]
    }],
    ["rediss+sentinel://a/m", { name: "m", sentinels: [{ host: "a", port: 26379 }], secure: true }]
  ])("%s", ([url, address]) =>
    Effect.gen(function*() {
      expect(yield* parseAddress(url)).toEqual(address)
    }))

  it.effect.each([
    "",
    "redis:",
    "redis://",
    "redis:///0",
    "redis:localhost",
    "a-secret",
    "http://:a-secret@localhost",
    "redis://:a-secret@",
    "redis://:a-secret@local host",
    "redis://:a-secret%ZZ@localhost",
    "redis://:a-secret@a:99999",
    "redis://:a-secret@a,b",
    "redis://:a-secret@a/one",
    "redis://user:1/a-secret@a",
    "redis://user:1?a-secret@a",
    "redis://user:1#a-secret@a",
    "redis://:a-secret@a?maxRetriesPerRequest=20",
    "redis://:a-secret@a?constructor=1",
    "redis://:a-secret@a?tls=yes",
    "redis+cluster://:a-secret@a,,b",
    "redis+cluster://:a-secret@a,b/1",
    "redis+cluster://:a-secret@a,b?db=1",
    "redis+sentinel://:a-secret@a,b",
    "redis+sentinel://:a-secret@a,b/",
    "redis+sentinel://:a-secret@a,b/main/one",
    "redis+sentinel://:a-secret@a,b/main/1/2",
    "redis+cluster+sentinel://:a-secret@a"
  ])("refuses %s", (url) =>
    Effect.gen(function*() {
      for (const given of [url, Redacted.make(url)]) {
        const error = yield* refused(Redis.layer({ url: given }))
        expect(error).toMatchObject({ _tag: "SessionConfigError", option: "url" })
        expect(inspect(error, { showHidden: true, depth: 10 })).not.toContain("a-secret")
      }
    }))

  it.effect.each([
    undefined,
    {},
    { url: undefined },
    { port: 6380 },
    { host: "" },
    { cluster: [] },
    { sentinels: [], name: "main" },
    { host: undefined as never, password: "of an environment without a host" }
  ])("no guess at localhost from %o", (options) =>
    Effect.gen(function*() {
      expect((yield* refused(Redis.layer(options))).option).toBe("url")
    }))

  it.effect("a cluster's database but 0", () =>
    Effect.gen(function*() {
      expect((yield* refused(Redis.layer({ cluster: [{ host: "a" }], db: 1 }))).option).toBe("db")
    }))

  it.effect("sentinels without a master's name", () =>
    Effect.gen(function*() {
      expect((yield* refused(Redis.layer({ sentinels: [{ host: "a" }] }))).option).toBe("options")
    }))
})

describe("how long to wait", () => {
  const wait = (options: Redis.Wait) => Redis.layer({ host: "127.0.0.1", port: 1, timeout: "1 second", wait: options })

  it.effect.each([0, -1, 1.5, NaN, Infinity])("refuses %s replicas", (replicas) =>
    Effect.gen(function*() {
      expect((yield* refused(wait({ replicas }))).option).toBe("wait.replicas")
    }))

  it.effect.each([0, 1000, Infinity])("refuses to wait %s for them", (timeout) =>
    Effect.gen(function*() {
      expect((yield* refused(wait({ replicas: 1, timeout }))).option).toBe("wait.timeout")
    }))
})

describe("a client brought along", () => {
  const bounds = { commandTimeout: 1000, maxRetriesPerRequest: 0 }
  const redis = (options: object) => new Client({ lazyConnect: true, ...bounds, ...options })
  const cluster = (options: object) =>
    new Cluster([{ host: "127.0.0.1", port: 1 }], {
      lazyConnect: true,
      retryDelayOnFailover: 0,
      redisOptions: bounds,
      ...options
    })
  const closed = () => {
    const client = redis({})
    client.disconnect()
    return client
  }

  it.effect.each<readonly [string, () => unknown]>([
    ["client", () => undefined],
    ["client", () => null],
    ["client", () => "redis://localhost"],
    ["client", () => ({ hGetAll: () => {}, evalSha: () => {} })],
    ["client", () => redis({}).pipeline()],
    ["client", () => closed()],
    ["commandTimeout", () => redis({ commandTimeout: undefined })],
    ["maxRetriesPerRequest", () => redis({ maxRetriesPerRequest: 20 })],
    ["maxRetriesPerRequest", () => redis({ maxRetriesPerRequest: null })],
    ["keyPrefix", () => redis({ keyPrefix: "app:" })],
    ["readOnly", () => redis({ readOnly: true })],
    ["role", () => redis({ sentinels: [{ host: "127.0.0.1", port: 1 }], name: "main", role: "slave" })],
    ["retryDelayOnFailover", () => cluster({ retryDelayOnFailover: undefined })],
    ["scaleReads", () => cluster({ scaleReads: "all" })],
    ["keyPrefix", () => cluster({ keyPrefix: "app:" })],
    ["keyPrefix", () => cluster({ redisOptions: { ...bounds, keyPrefix: "app:" } })],
    ["redisOptions.db", () => cluster({ redisOptions: { ...bounds, db: 1 } })],
    ["redisOptions.commandTimeout", () => cluster({ redisOptions: {} })],
    [
      "redisOptions.maxRetriesPerRequest",
      () => cluster({ clusterNodeRetryStrategy: () => 100, redisOptions: { commandTimeout: 1000 } })
    ]
  ])("F-R10: is refused for its %s", ([option, client]) =>
    Effect.gen(function*() {
      // It comes from JavaScript, or through an `any`.
      const error = yield* refused(Redis.layerClient({ client: client() as Redis.Client }))
      expect(error).toMatchObject({ _tag: "SessionConfigError", option })
    }))

  it.effect.each<readonly [string, () => Redis.Client]>([
    ["Redis", () => redis({})],
    ["Redis with auto-pipelining", () => redis({ enableAutoPipelining: true })],
    ["Cluster", () => cluster({})],
    ["Cluster that tries its nodes again", () => cluster({ clusterNodeRetryStrategy: () => 100, redisOptions: bounds })]
  ])("is taken: a %s", ([, client]) => Effect.scoped(Layer.build(Redis.layerClient({ client: client() }))))
})
