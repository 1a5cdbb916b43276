/**
 * Hostile names: what an app configures is refused or carried, and what a
 * caller passes as a store's key is refused, or one key like any other. The
 * core's own keys are 64 hex digits, always.
 */
import { PgClient } from "@effect/sql-pg"
import { describe, expect, it } from "@effect/vitest"
import { SessionStore } from "effect-session"
import * as DynamoDb from "effect-session/layers/DynamoDb"
import * as FileSystem from "effect-session/layers/FileSystem"
import * as Memcached from "effect-session/layers/Memcached"
import * as Memory from "effect-session/layers/Memory"
import * as MongoDb from "effect-session/layers/MongoDb"
import * as Redis from "effect-session/layers/Redis"
import * as Sql from "effect-session/layers/Sql"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Redis as RedisClient } from "ioredis"
import { MongoClient } from "mongodb"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { dynamoDbUrl, memcachedUrl, mongoDbUrl, postgresUrl, redisUrl } from "../backends.js"

type Store = SessionStore["Type"]

const own = randomBytes(6).toString("hex")
const soon = () => Date.now() + 60_000
const data = Buffer.from("canary")

// ---------------------------------------------------------------------------
// keys
// ---------------------------------------------------------------------------

const files = [
  "../x",
  "..%2fx",
  "%2e%2e%2fx",
  "..%252fx",
  "..\\x",
  "....//x",
  "x/../../y",
  "./x",
  "x/",
  "../".repeat(100),
  "/etc/passwd",
  "C:\\x",
  "\\\\host\\share",
  "file:///x",
  "~root",
  "CON",
  "NUL",
  "x:ads",
  "x.",
  "x ",
  "-rf",
  "n".repeat(255),
  "n".repeat(256),
  "\u00e9",
  "e\u0301"
]
const memcached = [
  "k\r\nset x 0 0 1\r\n1",
  "k\r\nflush_all",
  "k\ndelete x",
  "k\rget x",
  "k%0d%0aflush_all",
  "k%250d%250aflush_all",
  "k k",
  "k\tk",
  "k\0",
  "k\x7f",
  "k\xe9",
  "k S5 T0 b",
  "k noreply",
  "\x80\x01\0\x05",
  "k".repeat(180),
  "k".repeat(250),
  "k".repeat(251)
]
const queries = [
  "{\"$ne\":null}",
  "{\"$gt\":\"\"}",
  "{\"$where\":\"sleep(9999)\"}",
  "$where",
  "a.b",
  "__proto__.x",
  "' OR '1'='1",
  "'; DROP TABLE sessions;--",
  "\\' ",
  "\"",
  "`",
  "%",
  "_",
  "0",
  "abc",
  "ABC",
  "abc ",
  "\u{1f36a}",
  ":v",
  "#n",
  "attribute_exists(id)",
  "*",
  "?",
  "[a-z]",
  "{tag}",
  "return redis.call('FLUSHALL')"
]

/** Every key in its turn, each its own record or refused, and a canary that nothing moves. */
const keysAreKeys = (store: Store, keys: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const canary = `canary-${own}`
    const version = Option.getOrThrow(yield* store.insert(canary, data, soon()))
    const stored = new Map<string, Buffer>()
    for (const key of keys.map((key) => key + own).concat(keys.slice(0, 1))) {
      const bytes = Buffer.from(`data of ${key}`)
      const inserted = yield* Effect.either(store.insert(key, bytes, soon()))
      if (Either.isLeft(inserted)) {
        expect([key, inserted.left.reason]).toEqual([key, "Rejected"])
        expect([key, Either.isLeft(yield* Effect.either(store.load(key)))]).toEqual([key, true])
        expect([key, Either.isLeft(yield* Effect.either(store.remove(key)))]).toEqual([key, true])
      } else {
        expect([key, Option.isSome(inserted.right)]).toEqual([key, true])
        stored.set(key, bytes)
      }
    }
    for (const [key, bytes] of stored) {
      const found = Option.getOrThrow(yield* store.load(key))
      expect([key, Buffer.from(found.data).equals(bytes)]).toEqual([key, true])
    }
    for (const key of stored.keys()) {
      expect([key, yield* store.remove(key)]).toEqual([key, true])
    }
    expect(Option.getOrThrow(yield* store.load(canary))).toMatchObject({ version })
    expect(yield* store.remove(canary)).toBe(true)
    return stored.size
  })

const built = <E>(layer: Layer.Layer<SessionStore, E>) =>
  Effect.map(Layer.build(layer as Layer.Layer<SessionStore>), Context.get(SessionStore))

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "names-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

const all = [...files, ...memcached, ...queries]

it.scopedLive("the same for the memory store, to compare with", () =>
  Effect.gen(function*() {
    expect(yield* keysAreKeys(yield* built(Memory.layer()), all)).toBe(all.length + 1)
  }))

it.scopedLive("H-13 H-14 H-16 REG-E2 REG-E3 ASVS-5.3.2: paths, devices and twins as keys of the file store", () =>
  Effect.gen(function*() {
    const outer = yield* temporary
    const directory = path.join(outer, "inner", "sessions")
    fs.mkdirSync(path.dirname(directory), { mode: 0o700 })
    const store = yield* built(FileSystem.layer({ directory }))
    yield* keysAreKeys(store, all)
    expect(fs.readdirSync(outer)).toEqual(["inner"])
    expect(fs.readdirSync(path.dirname(directory))).toEqual(["sessions"])
    for (const name of fs.readdirSync(directory, { recursive: true })) {
      expect(String(name)).toMatch(/^[0-9a-f./-]+$/)
    }
  }))

describe.skipIf(memcachedUrl === undefined)("memcached", () => {
  it.scopedLive("H-17 H-18 H-19 REG-E1 ASVS-1.3.9: line breaks, odd bytes and flags as keys", () =>
    Effect.gen(function*() {
      const servers = memcachedUrl!.replace(/^memcached:\/\//, "")
      const store = yield* built(Memcached.layer({ servers, prefix: `${own}:` }))
      const carried = yield* keysAreKeys(store, all)
      expect(carried).toBeGreaterThan(20)
      expect(carried).toBeLessThan(all.length)
    }))

  it.effect("H-17 H-18 H-19 REG-E1 ASVS-1.3.9: a prefix that the protocol cannot carry is refused", () =>
    Effect.gen(function*() {
      for (
        const prefix of [
          ...["a b", "a\r\n", "a\n", "a\t", "\0", "\x7f", "\xe9", "\u{1f36a}", "a S5 T0 ", "a noreply "],
          "a".repeat(187)
        ]
      ) {
        const error = yield* Effect.flip(Effect.scoped(Memcached.make({ servers: "localhost", prefix })))
        expect([prefix, error.option, error.message.includes(prefix)]).toEqual([prefix, "prefix", false])
      }
    }))
})

describe.skipIf(mongoDbUrl === undefined)("MongoDB", () => {
  it.scopedLive("H-20 REG-E6 ASVS-1.2.4: operators and paths as keys", () =>
    Effect.gen(function*() {
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => new MongoClient(mongoDbUrl!)),
        (client) => Effect.promise(() => client.db(`names_${own}`).dropDatabase().finally(() => client.close()))
      )
      const store = yield* built(MongoDb.layerClient({ client, database: `names_${own}` }))
      expect(yield* keysAreKeys(store, all)).toBe(all.length + 1)
    }))

  it.effect("H-20 ASVS-1.2.4: names of databases and collections are checked", () =>
    Effect.gen(function*() {
      const url = "mongodb://127.0.0.1:1"
      for (const name of ["", "$where", "a$b", "a b", "a\0b", "a/b", "a\"b", "system.users", ".a", "a.", "a..b", "é"]) {
        const error = yield* Effect.flip(Effect.scoped(MongoDb.make({ url, collection: name })))
        expect([name, error.option]).toEqual([name, "collection"])
      }
      for (const name of ["", "$a", "a.b", "a b", "a\0b", "a/b", "a\\b", "a\"b", "n".repeat(64)]) {
        const error = yield* Effect.flip(Effect.scoped(MongoDb.make({ url, database: name })))
        expect([name, error.option]).toEqual([name, "database"])
      }
    }))
})

describe.skipIf(postgresUrl === undefined)("PostgreSQL", () => {
  it.scopedLive("H-21 ASVS-1.2.4 REG-E5: quotes, patterns and look-alikes as keys", () =>
    Effect.gen(function*() {
      const sql = PgClient.layer({ url: Redacted.make(postgresUrl!) })
      const client = yield* Effect.map(Layer.build(Layer.orDie(sql)), Context.get(PgClient.PgClient))
      const table = `names_${own}`
      yield* Effect.addFinalizer(() => Effect.orDie(client.unsafe(`DROP TABLE IF EXISTS ${table}`)))
      const store = yield* built(Layer.provide(Sql.layer({ table }), Layer.orDie(sql)))
      yield* keysAreKeys(store, all)
    }))

  it("H-21 REG-E5 ASVS-1.2.4: names of tables and schemas are checked", () => {
    const hostile = [
      "",
      "a b",
      "a;b",
      "a\"b",
      "a'b",
      "a`b",
      "a\0b",
      "sessions; DROP TABLE users",
      "public.sessions",
      "1a",
      "é",
      "a-b",
      "n".repeat(64)
    ]
    for (const name of hostile) {
      for (const options of [{ table: name }, { schema: name }]) {
        const error = Option.getOrThrow(Either.getLeft(Sql.ddl("pg", options)))
        expect([name, error.option]).toEqual([name, Object.keys(options)[0]])
      }
    }
    expect(Either.getOrThrow(Sql.ddl("pg", { table: "select" }))).toContain("\"select\"") // quoted, and so no keyword
  })
})

describe.skipIf(redisUrl === undefined)("Redis", () => {
  it.scopedLive("H-22 ASVS-1.2.4: line breaks, patterns, tags and Lua as keys", () =>
    Effect.gen(function*() {
      const store = yield* built(Redis.layer({ url: redisUrl!, prefix: `${own}:` }))
      expect(yield* keysAreKeys(store, all)).toBe(all.length + 1)
    }))

  it.scopedLive("H-22: any prefix is carried, and no two of them share a record", () =>
    Effect.gen(function*() {
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => new RedisClient(redisUrl!)),
        (client) => Effect.promise(() => client.quit())
      )
      const prefixes = [
        "\r\n",
        "*",
        "?",
        "[a-z]",
        "{tag}",
        "{",
        "}",
        "\0",
        "é",
        "\u{1f36a}",
        "'..redis.call('FLUSHALL')..'"
      ]
        .map((prefix) => own + prefix)
      const stores = yield* Effect.forEach(prefixes, (prefix) => built(Redis.layer({ url: redisUrl!, prefix })))
      for (const [index, store] of stores.entries()) {
        yield* store.insert("key", Buffer.from(prefixes[index]!), soon())
      }
      for (const [index, store] of stores.entries()) {
        expect(Buffer.from(Option.getOrThrow(yield* store.load("key")).data).toString()).toBe(prefixes[index])
        expect(yield* Effect.promise(() => client.exists(`${prefixes[index]}key`))).toBe(1)
        expect(yield* store.remove("key")).toBe(true)
      }
    }))
})

describe.skipIf(dynamoDbUrl === undefined)("DynamoDB", () => {
  it.effect("H-23 ASVS-1.2.4: names of tables are checked", () =>
    Effect.gen(function*() {
      for (const table of ["", "ab", "a b c", "a\"b", "a'b", "a;b", "tábla", "#n", ":v:", "a/b", "n".repeat(256)]) {
        const error = yield* Effect.flip(Effect.scoped(DynamoDb.make({ region: "local", table })))
        expect([table, error.option]).toEqual([table, "table"])
      }
    }))
})
