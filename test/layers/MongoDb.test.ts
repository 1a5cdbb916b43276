import { afterAll, describe, expect, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import type { CommandStartedEvent, MongoClientOptions } from "mongodb"
import { MongoClient, MongoNetworkError, MongoServerError, MongoWriteConcernError } from "mongodb"
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { inspect } from "node:util"
import * as MongoDb from "../../src/layers/MongoDb.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionStore, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"
import { canStart, mongoDbUrl, startMongoDb } from "../backends.js"

const makeStore = (options: MongoDb.Options) => Effect.map(MongoDb.make(options), Context.get(SessionStore))

const clientAt = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      new MongoClient(url, { retryWrites: false, serverSelectionTimeoutMS: 5000, monitorCommands: true })
    ),
    (client) => Effect.promise(() => client.close(true))
  )

interface Found {
  readonly _id: string
  readonly [field: string]: unknown
}

/** A database that goes with the scope, and a store in it over a client that tells its commands. */
const observed = Effect.gen(function*() {
  const client = yield* clientAt(mongoDbUrl ?? "")
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => `test-${randomUUID()}`),
    (name) => Effect.promise(() => client.db(name).dropDatabase())
  )
  const context = yield* Layer.build(MongoDb.layerClient({ client, database }))
  const store = yield* Effect.provide(SessionStore, context)
  const commands: Array<CommandStartedEvent> = []
  client.on("commandStarted", (event) => commands.push(event))
  const collection = client.db(database).collection<Found>("sessions")
  return { client, collection, commands, database, store }
})

const server = Effect.acquireRelease(
  Effect.promise(() => startMongoDb()),
  (server) => Effect.promise(() => server.stop())
)

const data = Buffer.from("the-data-of-a-session")
const soon = () => Date.now() + 60_000

const reasonOf = <A>(effect: Effect.Effect<A, SessionStoreError>) => Effect.map(Effect.flip(effect), (e) => e.reason)

const insert = (store: SessionStore["Type"], key: string) =>
  Effect.map(store.insert(key, data, soon()), Option.getOrThrow)

const inspectAll = (value: unknown) => inspect(value, { showHidden: true, depth: 10 })

const operations = (store: SessionStore["Type"]): ReadonlyArray<Effect.Effect<unknown, SessionStoreError>> => [
  store.load("the-key"),
  store.insert("the-key", data, soon()),
  store.replace("the-key", Version("v"), data, soon()),
  store.touch("the-key", { data, version: Version("v"), expiresAt: soon() }, soon()),
  store.remove("the-key")
]

describe.skipIf(mongoDbUrl === undefined)("MongoDB", () => {
  const url = mongoDbUrl ?? ""
  const database = `test-${randomUUID()}`

  afterAll(async () => {
    const client = new MongoClient(url)
    await client.db(database).dropDatabase()
    await client.close()
  })

  storeLaws(MongoDb.layer({ url, database }), {
    maxBytes: 16 * 1024 * 1024 - 2048,
    scans: true,
    multiProcess: true,
    unreachable: MongoDb.layer({ url: "mongodb://127.0.0.1:1", database, timeout: "500 millis" })
  })

  it.scopedLive("each operation is one command, a write asks for a majority, a read for the primary", () =>
    Effect.gen(function*() {
      const { commands, store } = yield* observed
      const version = yield* insert(store, "key")
      expect(yield* store.insert("key", data, soon())).toEqual(Option.none())
      yield* store.replace("key", version, data, soon())
      const current = Option.getOrThrow(yield* store.load("key"))
      expect(yield* store.touch("key", current, soon())).toBe(true)
      expect(yield* store.remove("key", current.version)).toBe(true)
      expect(commands.map(({ commandName }) => commandName)).toEqual([
        "update",
        "update",
        "update",
        "find",
        "update",
        "delete"
      ])
      for (const { command, commandName } of commands) {
        if (commandName !== "find") expect(command.writeConcern).toEqual({ w: "majority" })
        // "primary" is what a command without one asks for.
        expect(command.$readPreference ?? { mode: "primary" }).toEqual({ mode: "primary" })
        expect(command.txnNumber).toBeUndefined()
      }
    }))

  it.scopedLive("F-M2: the deadline is a number in the document, the broom's a date with a TTL index", () =>
    Effect.gen(function*() {
      const { collection, store } = yield* observed
      const found = Effect.promise(() => collection.findOne({ _id: "key" }))
      const expectNear = (document: Found | null, expiresAt: number) => {
        expect(document?.expiresAt).toBe(expiresAt)
        const deleteAt = (document?.deleteAt as Date).getTime()
        expect(deleteAt).toBeGreaterThanOrEqual(expiresAt + 60_000)
        expect(deleteAt).toBeLessThan(expiresAt + 70_000)
      }
      const start = Date.now()
      const version = Option.getOrThrow(yield* store.insert("key", data, start + 1_000_000))
      expectNear(yield* found, start + 1_000_000)
      yield* store.replace("key", version, data, start + 2_000_000)
      expectNear(yield* found, start + 2_000_000)
      yield* store.touch("key", Option.getOrThrow(yield* store.load("key")), start + 500_000)
      expectNear(yield* found, start + 500_000)
      expect(yield* Effect.promise(() => collection.indexes())).toContainEqual(
        expect.objectContaining({ key: { deleteAt: 1 }, expireAfterSeconds: 0 })
      )
    }))

  it.scoped("under a clock that starts at 0, the broom's date is still to come", () =>
    Effect.gen(function*() {
      const { collection, store } = yield* observed
      yield* store.insert("key", data, 60_000)
      const found = yield* Effect.promise(() => collection.findOne({ _id: "key" }))
      expect(found?.expiresAt).toBe(60_000)
      expect((found?.deleteAt as Date).getTime()).toBeGreaterThan(Date.now())
    }))

  it.scopedLive("F-M3: what is too large is not sent, and what a document can hold is kept", () =>
    Effect.gen(function*() {
      const { commands, store } = yield* observed
      const limit = 16 * 1024 * 1024 - 2048
      expect(Option.isSome(yield* store.insert("k".repeat(1024), new Uint8Array(limit), soon()))).toBe(true)
      commands.length = 0
      const error = yield* Effect.flip(store.insert("key", new Uint8Array(limit + 1), soon()))
      expect(error).toMatchObject({ reason: "TooLarge", limit, actual: limit + 1 })
      expect(commands).toEqual([])
    }))

  it.scopedLive("H-20: a key that looks like an operator or a path is a value", () =>
    Effect.gen(function*() {
      const { store } = yield* observed
      yield* insert(store, "victim")
      const keys = [
        ...["{\"$ne\":null}", "{\"$gt\":\"\"}", "{\"$where\":\"sleep(9999)\"}", "{\"$regex\":\"(a+)+$\"}"],
        ...["{\"_bsontype\":\"ObjectID\"}", "[\"victim\"]", "[$ne]=1", "$ne", "a.b", "__proto__.x", "", "\0"]
      ]
      for (const key of keys) expect(yield* store.load(key)).toEqual(Option.none())
      for (const key of keys) yield* store.insert(key, Buffer.from(`data of ${key}`), soon())
      for (const key of keys) {
        const found = Option.getOrThrow(yield* store.load(key))
        expect(Buffer.from(found.data).toString()).toBe(`data of ${key}`)
        expect(yield* store.remove(key)).toBe(true)
      }
      expect(Option.isSome(yield* store.load("victim"))).toBe(true)
    }))

  it.scopedLive("REG-E6: an operator in place of a key or version, past the types, matches nothing", () =>
    Effect.gen(function*() {
      const { store } = yield* observed
      const version = yield* insert(store, "victim")
      const current = Option.getOrThrow(yield* store.load("victim"))
      for (const operator of [{ $ne: null }, { $gt: "" }, { $regex: ".*" }, { $exists: true }]) {
        const smuggled = operator as never
        for (const [key, expected] of [[smuggled, version], ["victim", smuggled]] as const) {
          expect(yield* store.replace(key, expected, data, soon())).toEqual(Option.none())
          expect(yield* store.touch(key, { ...current, version: expected }, soon() + 1)).toBe(false)
          expect(yield* store.remove(key, expected)).toBe(false)
        }
        expect(yield* store.load(smuggled)).toEqual(Option.none())
        expect(yield* store.remove(smuggled)).toBe(false)
      }
      expect(yield* store.load("victim")).toEqual(Option.some(current))
    }))

  it.scopedLive("what others keep there is corrupt, and no insert takes its place", () =>
    Effect.gen(function*() {
      const { collection, store } = yield* observed
      const text = { _id: "text", data: "text", version: "v", expiresAt: soon() }
      const untimed = { _id: "untimed", data, version: "v" }
      yield* Effect.promise(() => collection.insertMany([text, untimed]))
      expect(yield* reasonOf(store.load("text"))).toBe("Corrupt")
      expect(yield* store.insert("text", data, soon())).toEqual(Option.none())
      expect(yield* store.insert("untimed", data, soon())).toEqual(Option.none())
      expect(yield* store.remove("untimed")).toBe(false)
      expect(yield* Effect.promise(() => collection.findOne({ _id: "text" }))).toEqual(text)
    }))

  it.scopedLive("options from Config", () =>
    Effect.gen(function*() {
      const { client, collection, database } = yield* observed
      yield* Effect.flatMap(SessionStore, (store) => insert(store, "key")).pipe(
        Effect.provide(MongoDb.layerConfig({
          url: Config.redacted("URL"),
          database: Config.string("DATABASE"),
          collection: Config.succeed("others")
        })),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["URL", url], ["DATABASE", database]])))
      )
      expect(yield* Effect.promise(() => client.db(database).collection("others").countDocuments())).toBe(1)
      // A client brought along stays open.
      expect(yield* Effect.promise(() => collection.countDocuments())).toBe(0)
    }))
})

describe.skipIf(!canStart("mongodb"))("a MongoDB of one's own", () => {
  it.scopedLive("F-G1: killed: unavailable; back again: everything acknowledged is there", () =>
    Effect.gen(function*() {
      const mongo = yield* server
      const store = yield* makeStore({ url: mongo.url })
      yield* insert(store, "the-key")
      yield* Effect.promise(() => mongo.kill())
      const reasons = yield* Effect.forEach(operations(store), reasonOf, { concurrency: "unbounded" })
      expect(reasons).toEqual(Array(5).fill("Unavailable"))
      yield* Effect.promise(() => mongo.restart())
      const found = yield* Effect.retry(store.load("the-key"), { times: 5 })
      expect(Option.getOrThrow(found).data).toEqual(data)
    }))

  it.scopedLive("F-G3: frozen: every operation ends in time, and so does the Layer", () =>
    Effect.gen(function*() {
      const mongo = yield* server
      yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* makeStore({ url: mongo.url })
        yield* insert(store, "the-key")
        yield* Effect.promise(() => mongo.kill("SIGSTOP"))
        expect(yield* reasonOf(store.load("the-key"))).toBe("Timeout")
        // From now on there is no connection to be had.
        for (const reason of yield* Effect.forEach(operations(store), reasonOf, { concurrency: "unbounded" })) {
          expect(["Timeout", "Unavailable", "Throttled"]).toContain(reason)
        }
      }))
    }))

  it.scoped("F-G2: down at the start: the Layer is built, and the index comes later", () =>
    Effect.gen(function*() {
      const mongo = yield* server
      yield* Effect.promise(() => mongo.kill())
      const store = yield* makeStore({ url: mongo.url, database: "app", timeout: "1 second" })
      expect(yield* reasonOf(store.load("the-key"))).toBe("Unavailable")
      yield* Effect.promise(() => mongo.restart())
      yield* TestClock.adjust("10 seconds")
      const client = yield* clientAt(mongo.url)
      const indexed = async (): Promise<boolean> => {
        const indexes = await client.db("app").collection("sessions").indexes().catch(() => [])
        return indexes.some(({ expireAfterSeconds }) => expireAfterSeconds === 0) || sleep(50).then(indexed)
      }
      expect(yield* Effect.promise(indexed)).toBe(true)
    }))
})

/** What the emulator cannot do: a client whose every command fails. */
const failing = (error: Error) => clientOf(() => Promise.reject(error))

const replying = (reply: unknown) => clientOf(() => Promise.resolve(reply))

const clientOf = (fails: () => Promise<unknown>) => {
  const collection = {
    collectionName: "sessions",
    createIndex: fails,
    deleteOne: fails,
    findOne: fails,
    replaceOne: fails,
    updateOne: fails
  }
  // Only what the store calls.
  return { connect: () => Promise.resolve(), db: () => ({ collection: () => collection }) } as unknown as MongoClient
}

const serverError = (code: number) => new MongoServerError({ code, message: "no" })

describe("a MongoDB that fails", () => {
  it.scopedLive.each<readonly [string, Error, SessionStoreError["reason"]]>([
    ["F-M1: stepped down", serverError(189), "Unavailable"],
    ["F-M1: not primary", serverError(10107), "Unavailable"],
    [
      "F-M1: written, but not by a majority",
      new MongoWriteConcernError({ ok: 1, writeConcernError: { code: 64, errmsg: "timed out" } }),
      "Unavailable"
    ],
    ["F-M3: write conflict", serverError(112), "Throttled"],
    ["out of time on the server", serverError(50), "Timeout"],
    ["no rights", serverError(13), "Rejected"],
    ["a wrong password", serverError(18), "Rejected"],
    ["a lost connection", new MongoNetworkError("lost"), "Unavailable"]
  ])("%s", ([, error, reason]) =>
    Effect.gen(function*() {
      const context = yield* Layer.build(MongoDb.layerClient({ client: failing(error), createIndex: false }))
      const store = yield* Effect.provide(SessionStore, context)
      for (const operation of operations(store)) expect(yield* reasonOf(operation)).toBe(reason)
    }))

  it.scopedLive("that refuses the index fails the Layer, and says what to do", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(MongoDb.layerClient({ client: failing(serverError(13)) })))
      expect(error.option).toBe("createIndex")
      expect(error.message).toContain("db.sessions.createIndex({ deleteAt: 1 }, { expireAfterSeconds: 0 })")
    }))
})

describe("a reply that the app's client has changed", () => {
  const formats: ReadonlyArray<MongoClientOptions> = [
    { raw: true },
    { promoteValues: false },
    { promoteBuffers: false },
    { useBigInt64: true },
    { promoteLongs: false }
  ]
  for (const options of formats) {
    it.scopedLive.skipIf(!mongoDbUrl)(
      `every operation does what it should when the client has ${JSON.stringify(options)}`,
      () =>
        Effect.gen(function*() {
          const client = yield* Effect.acquireRelease(
            Effect.sync(() => new MongoClient(mongoDbUrl!, { retryWrites: false, ...options })),
            (client) => Effect.promise(() => client.close(true))
          )
          const database = `test-${randomUUID()}`
          yield* Effect.addFinalizer(() =>
            Effect.promise(async () => {
              const admin = new MongoClient(mongoDbUrl!)
              await admin.db(database).dropDatabase()
              await admin.close(true)
            })
          )
          const context = yield* Layer.build(MongoDb.layerClient({ client, database }))
          const store = Context.get(context, SessionStore)
          const version = yield* insert(store, "key")
          expect(Option.isNone(yield* store.insert("key", data, soon()))).toBe(true)
          const found = Option.getOrThrow(yield* store.load("key"))
          expect(Buffer.from(found.data)).toEqual(data)
          expect(yield* store.touch("key", found, soon())).toBe(true)
          expect(Option.isNone(yield* store.replace("key", Version("other"), data, soon()))).toBe(true)
          expect(yield* store.remove("key", version)).toBe(true)
          expect(yield* store.load("key")).toEqual(Option.none())
        }),
      20_000
    )
  }

  it.scopedLive("every operation is Unavailable when the client replies with something else", () =>
    Effect.gen(function*() {
      for (const reply of [undefined, Buffer.from("raw"), "text", {}]) {
        const context = yield* Layer.build(MongoDb.layerClient({ client: replying(reply), createIndex: false }))
        const store = Context.get(context, SessionStore)
        for (const operation of operations(store)) expect(yield* reasonOf(operation)).toBe("Unavailable")
      }
    }))
})

describe("MongoDB options", () => {
  it.scopedLive.each([
    "not a url",
    "http://:a-secret@localhost",
    "mongodb://me:a-secret@",
    "mongodb://me:a-secret@h/?x=1"
  ])(
    "refuses %s",
    (url) =>
      Effect.gen(function*() {
        for (const given of [url, Redacted.make(url)]) {
          const exit = yield* Effect.exit(MongoDb.make({ url: given }))
          expect(Exit.isFailure(exit)).toBe(true)
          expect(inspectAll(exit)).toContain("SessionConfigError")
          expect(inspectAll(exit)).not.toContain("a-secret")
        }
      })
  )

  it.scopedLive.each<readonly [string, Omit<MongoDb.Options, "url">]>([
    ["database", { database: "a.b" }],
    ["database", { database: "" }],
    ["collection", { collection: "system.users" }],
    ["collection", { collection: "a$b" }],
    ["collection", { collection: "" }],
    ["timeout", { timeout: 0 }],
    ["timeout", { timeout: Infinity }]
  ])("refuses a %s: %j", ([option, options]) =>
    Effect.gen(function*() {
      expect(yield* Effect.flip(MongoDb.make({ url: "mongodb://localhost", ...options }))).toMatchObject({ option })
    }))
})
