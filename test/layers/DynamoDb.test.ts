import {
  CreateTableCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand
} from "@aws-sdk/client-dynamodb"
import { afterAll, describe, expect, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as http from "node:http"
import type * as net from "node:net"
import { inspect } from "node:util"
import * as DynamoDb from "../../src/layers/DynamoDb.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionStore, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"
import { dynamoDbUrl, startDynamoDb } from "../backends.js"

const makeStore = (options: DynamoDb.Options) => Effect.map(DynamoDb.make(options), Context.get(SessionStore))

const own = {
  region: "eu-central-1",
  credentials: { accessKeyId: "id", secretAccessKey: "the-secret-key" }
}

const clientAt = (endpoint: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new DynamoDBClient({ ...own, endpoint, maxAttempts: 1 })),
    (client) => Effect.sync(() => client.destroy())
  )

/** The name of a table that goes with the scope. */
const newTable = (client: DynamoDBClient) =>
  Effect.acquireRelease(
    Effect.sync(() => `sessions-${randomUUID()}`),
    (TableName) => Effect.promise(() => client.send(new DeleteTableCommand({ TableName })).catch(() => {}))
  )

/** A store over a client that tells which commands it was given. */
const observed = Effect.gen(function*() {
  const client = yield* clientAt(dynamoDbUrl ?? "")
  const commands: Array<{ readonly name: string; readonly input: object }> = []
  client.middlewareStack.add((next, { commandName }) => (args) => {
    commands.push({ name: String(commandName), input: args.input })
    return next(args)
  }, { step: "initialize" })
  const table = yield* newTable(client)
  const context = yield* Layer.build(DynamoDb.layerClient({ client, table, createTable: true }))
  const store = yield* Effect.provide(SessionStore, context)
  const item = (id: string) =>
    Effect.promise(async () =>
      (await client.send(new GetItemCommand({ TableName: table, Key: { id: { S: id } } }))).Item
    )
  return { client, commands, item, store, table }
})

/** Answers every request alike, or never, and counts them. */
const stub = (answer: (response: http.ServerResponse, target: string) => unknown) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const requests: Array<string> = []
        const server = http.createServer((request, response) => {
          // "DynamoDB_20120810.GetItem"
          const target = String(request.headers["x-amz-target"]).split(".")[1]!
          requests.push(target)
          request.resume().on("end", () => answer(response, target))
        })
        await once(server.listen(0, "127.0.0.1"), "listening")
        return { requests, server }
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    ({ requests, server }) => ({
      requests,
      // It listens on a port.
      endpoint: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`
    })
  )

const fails = (status: number, type: string) => (response: http.ServerResponse) =>
  response.writeHead(status, { "content-type": "application/x-amz-json-1.0" }).end(
    JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: "no" })
  )

const data = Buffer.from("the-data-of-a-session")
const soon = () => Date.now() + 60_000

const reasonOf = <A>(effect: Effect.Effect<A, SessionStoreError>) => Effect.map(Effect.flip(effect), (e) => e.reason)

const insert = (store: SessionStore["Type"], key: string) =>
  Effect.map(store.insert(key, data, soon()), Option.getOrThrow)

const inspectAll = (value: unknown) => inspect(value, { showHidden: true, depth: 10 })

describe.skipIf(dynamoDbUrl === undefined)("DynamoDB", () => {
  const endpoint = dynamoDbUrl ?? ""
  const table = `sessions-${randomUUID()}`

  afterAll(async () => {
    const client = new DynamoDBClient({ ...own, endpoint })
    await client.send(new DeleteTableCommand({ TableName: table })).catch(() => {})
    client.destroy()
  })

  storeLaws(DynamoDb.layer({ ...own, endpoint, table, createTable: true }), {
    maxBytes: 399 * 1024,
    scans: true,
    multiProcess: true,
    unreachable: DynamoDb.layer({ ...own, endpoint: "http://127.0.0.1:1", table })
  })

  it.scopedLive("each operation is one request, and reads are consistent", () =>
    Effect.gen(function*() {
      const { commands, store } = yield* observed
      commands.length = 0
      const version = yield* insert(store, "key")
      yield* store.replace("key", version, data, soon())
      const current = Option.getOrThrow(yield* store.load("key"))
      expect(yield* store.touch("key", current, soon())).toBe(true)
      expect(yield* store.remove("key", current.version)).toBe(true)
      expect(commands.map(({ name }) => name)).toEqual([
        "PutItemCommand",
        "PutItemCommand",
        "GetItemCommand",
        "UpdateItemCommand",
        "DeleteItemCommand"
      ])
      expect(commands[2]!.input).toMatchObject({ ConsistentRead: true })
    }))

  it.scopedLive("F-D4: the server's deadline is in seconds, and a minute late", () =>
    Effect.gen(function*() {
      const { item, store } = yield* observed
      const deleteAt = Effect.map(item("key"), (item) => Number(item?.deleteAt?.N))
      const expectNear = (actual: number, expiresAt: number) => {
        expect(actual).toBeGreaterThanOrEqual(expiresAt / 1000 + 60)
        expect(actual).toBeLessThan(expiresAt / 1000 + 70)
      }
      const start = Date.now()
      const version = Option.getOrThrow(yield* store.insert("key", data, start + 1_000_000))
      expectNear(yield* deleteAt, start + 1_000_000)
      yield* store.replace("key", version, data, start + 2_000_000)
      expectNear(yield* deleteAt, start + 2_000_000)
      yield* store.touch("key", Option.getOrThrow(yield* store.load("key")), start + 500_000)
      expectNear(yield* deleteAt, start + 500_000)
    }))

  it.scoped("under a clock that starts at 0, the server's deadline is still to come", () =>
    Effect.gen(function*() {
      const { item, store } = yield* observed
      yield* store.insert("key", data, 60_000)
      const stored = yield* item("key")
      expect(stored?.expiresAt).toEqual({ N: "60000" })
      expect(Number(stored?.deleteAt?.N)).toBeGreaterThanOrEqual(Date.now() / 1000)
    }))

  it.scopedLive("F-D6: what is too large is not sent, and what the item can hold is kept", () =>
    Effect.gen(function*() {
      const { commands, store } = yield* observed
      const limit = 399 * 1024
      const key = "k".repeat(512)
      expect(Option.isSome(yield* store.insert(key, new Uint8Array(limit), soon()))).toBe(true)
      commands.length = 0
      const error = yield* Effect.flip(store.insert("other", new Uint8Array(limit + 1), soon()))
      expect(error).toMatchObject({ reason: "TooLarge", limit, actual: limit + 1 })
      expect(commands).toEqual([])
    }))

  it.scopedLive("creating a table sets its time to live, and goes without where there is none", () =>
    Effect.gen(function*() {
      const { client, commands, table } = yield* observed
      const { Table } = yield* Effect.promise(() => client.send(new DescribeTableCommand({ TableName: table })))
      expect(Table?.KeySchema).toEqual([{ AttributeName: "id", KeyType: "HASH" }])
      expect(commands).toContainEqual({
        name: "UpdateTimeToLiveCommand",
        input: { TableName: table, TimeToLiveSpecification: { AttributeName: "deleteAt", Enabled: true } }
      })
    }))

  it.scopedLive("H-23: a key is a value, whatever it looks like", () =>
    Effect.gen(function*() {
      const { store } = yield* observed
      const keys = [":now", ":expected", "#n", "id", "NULL", "' OR 1=1 --", "1e3", "1000", "a.b[0]", "é", "ключ", "\0"]
      for (const key of keys) yield* store.insert(key, Buffer.from(`data of ${key}`), soon())
      for (const key of keys) {
        const found = Option.getOrThrow(yield* store.load(key))
        expect(Buffer.from(found.data).toString()).toBe(`data of ${key}`)
      }
      for (const key of ["", "k".repeat(2049)]) {
        expect(yield* reasonOf(store.load(key))).toBe("Rejected")
        expect(yield* reasonOf(store.insert(key, data, soon()))).toBe("Rejected")
      }
    }))

  it.scopedLive("what others keep there is corrupt, and no write takes its place", () =>
    Effect.gen(function*() {
      const { client, item, store, table } = yield* observed
      const foreign = { id: { S: "key" }, data: { S: "text" }, version: { S: "v" } }
      yield* Effect.promise(() => client.send(new PutItemCommand({ TableName: table, Item: foreign })))
      expect(yield* reasonOf(store.load("key"))).toBe("Corrupt")
      expect(yield* store.insert("key", data, soon())).toEqual(Option.none())
      expect(yield* store.replace("key", Version("v"), data, soon())).toEqual(Option.none())
      expect(yield* store.remove("key")).toBe(false)
      expect(yield* item("key")).toEqual(foreign)
    }))

  it.scopedLive("a table that is missing, or is another's, fails the Layer", () =>
    Effect.gen(function*() {
      const client = yield* clientAt(endpoint)
      const other = yield* newTable(client)
      yield* Effect.promise(() =>
        client.send(
          new CreateTableCommand({
            TableName: other,
            AttributeDefinitions: [{ AttributeName: "number", AttributeType: "N" }],
            KeySchema: [{ AttributeName: "number", KeyType: "HASH" }],
            BillingMode: "PAY_PER_REQUEST"
          })
        )
      )
      for (const table of [other, `missing-${randomUUID()}`]) {
        const error = yield* Effect.flip(DynamoDb.make({ ...own, endpoint, table }))
        expect(error).toMatchObject({ _tag: "SessionConfigError", option: "table" })
      }
    }))

  it.scopedLive("options from Config", () =>
    Effect.gen(function*() {
      const { client, item, table } = yield* observed
      yield* Effect.flatMap(SessionStore, (store) => insert(store, "key")).pipe(
        Effect.provide(DynamoDb.layerConfig({
          endpoint: Config.string("ENDPOINT"),
          table: Config.string("TABLE"),
          region: Config.succeed(own.region),
          credentials: Config.succeed(own.credentials)
        })),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["ENDPOINT", endpoint], ["TABLE", table]])))
      )
      expect(yield* item("key")).toMatchObject({ data: { B: new Uint8Array(data) } })
      // A client brought along stays open.
      yield* Effect.promise(() => client.send(new DescribeTableCommand({ TableName: table })))
    }))
})

describe.skipIf(dynamoDbUrl === undefined)("a reply that the app's client has changed", () => {
  it.scopedLive.each<readonly [string, (output: object) => unknown]>([
    ["nothing", () => undefined],
    ["text", () => "QUEUED"],
    [
      "plain values",
      () => ({ $metadata: {}, Item: { id: "key", data: new Uint8Array(1), version: "v", expiresAt: 1e15 } })
    ],
    ["no output", () => ({})],
    ["an item that is none", () => ({ $metadata: {}, Item: null })]
  ])("a load is Unavailable when a middleware makes %s of it", ([, change]) =>
    Effect.gen(function*() {
      const { client, store } = yield* observed
      const version = yield* insert(store, "key")
      client.middlewareStack.add((next) => async (args) => {
        const result = await next(args)
        return { ...result, output: change(result.output) as typeof result.output }
      }, { step: "initialize", priority: "high", name: "changed" })
      expect(yield* reasonOf(store.load("key"))).toBe("Unavailable")
      // A write is known by its output alone.
      if (typeof change({}) !== "object" || !("$metadata" in (change({}) as object))) {
        expect(yield* reasonOf(store.insert("other", data, soon()))).toBe("Unavailable")
        expect(yield* reasonOf(store.remove("key", version))).toBe("Unavailable")
      }
      client.middlewareStack.remove("changed")
    }), 20_000)
})

describe("a DynamoDB that fails", () => {
  const table = "sessions"

  const operations = (
    store: SessionStore["Type"]
  ): ReadonlyArray<readonly [string, Effect.Effect<unknown, SessionStoreError>]> => [
    ["GetItem", store.load("the-key")],
    ["PutItem", store.insert("the-key", data, soon())],
    ["PutItem", store.replace("the-key", Version("v"), data, soon())],
    ["UpdateItem", store.touch("the-key", { data, version: Version("v"), expiresAt: soon() }, soon())],
    ["DeleteItem", store.remove("the-key")]
  ]

  const stall = () => {}
  const drop = (response: http.ServerResponse) => response.destroy()

  it.scopedLive.each<
    readonly [string, (response: http.ServerResponse) => unknown, SessionStoreError["reason"], number]
  >([
    [
      "F-D1: ProvisionedThroughputExceededException",
      fails(400, "ProvisionedThroughputExceededException"),
      "Throttled",
      1
    ],
    ["F-D1: ThrottlingException", fails(400, "ThrottlingException"), "Throttled", 1],
    ["F-D1: RequestLimitExceeded", fails(400, "RequestLimitExceeded"), "Throttled", 1],
    ["F-D3: TransactionConflictException", fails(400, "TransactionConflictException"), "Throttled", 1],
    ["F-D6: ExpiredTokenException", fails(400, "ExpiredTokenException"), "Rejected", 1],
    ["AccessDeniedException", fails(400, "AccessDeniedException"), "Rejected", 1],
    ["InternalServerError", fails(500, "InternalServerError"), "Unavailable", 2],
    ["a connection that is dropped", drop, "Unavailable", 2],
    ["no answer", stall, "Timeout", 1]
  ])("%s", ([, answer, reason, loads]) =>
    Effect.gen(function*() {
      const { endpoint, requests } = yield* stub(answer)
      const store = yield* makeStore({ ...own, endpoint, table, timeout: "300 millis" })
      for (const [target, operation] of operations(store)) {
        requests.length = 0
        const error = yield* Effect.flip(operation)
        expect(error.reason).toBe(reason)
        // No write is sent a second time.
        expect(requests).toEqual(Array(target === "GetItem" ? loads : 1).fill(target))
        const shown = inspectAll(error) + inspectAll(error.cause)
        for (const secret of ["the-key", data.toString(), "the-secret-key"]) expect(shown).not.toContain(secret)
      }
    }))

  it.scopedLive.each<readonly [string, (target: string) => (response: http.ServerResponse) => unknown, Array<string>]>([
    ["at once", () => stall, ["CreateTable"]],
    [
      "when it is asked for the table",
      (target) => target === "CreateTable" ? fails(400, "ResourceInUseException") : stall,
      ["CreateTable", "DescribeTable"]
    ]
  ])(
    "a server that hangs %s while its table is to be created fails the Layer in time",
    ([, answer, asked]) =>
      Effect.gen(function*() {
        const { endpoint, requests } = yield* stub((response, target) => answer(target)(response))
        const options = { ...own, endpoint, table, timeout: "300 millis", createTable: true } as const
        const error = yield* Effect.flip(Effect.timeout(DynamoDb.make(options), "5 seconds"))
        expect(error).toMatchObject({ _tag: "SessionConfigError", option: "createTable" })
        expect(requests).toEqual(asked)
      })
  )

  it.scopedLive("a table that is there after a while", () =>
    Effect.gen(function*() {
      const states = ["ResourceNotFoundException", "CREATING", "ACTIVE"]
      const { endpoint, requests } = yield* stub((response, target) => {
        if (target !== "DescribeTable") return response.end("{}")
        const state = states.shift()
        if (state === "ResourceNotFoundException") return fails(400, state)(response)
        return response.end(JSON.stringify({ Table: { TableStatus: state } }))
      })
      yield* makeStore({ ...own, endpoint, table, createTable: true })
      expect(requests).toEqual([
        "CreateTable",
        ...Array(3).fill("DescribeTable"),
        "UpdateTimeToLive",
        "GetItem"
      ])
    }))

  it.scopedLive("opens no connection when its scope has closed", () =>
    Effect.gen(function*() {
      const { endpoint, requests } = yield* stub((response) => response.end("{}"))
      const store = yield* Effect.scoped(makeStore({ ...own, endpoint, table }))
      requests.length = 0
      for (const [, operation] of operations(store)) expect(yield* reasonOf(operation)).toBe("Unavailable")
      expect(requests).toEqual([])
    }))

  it.scopedLive("F-D2: a condition that failed, without the item: stale", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* stub(fails(400, "ConditionalCheckFailedException"))
      const store = yield* makeStore({ ...own, endpoint, table })
      expect(yield* store.insert("key", data, soon())).toEqual(Option.none())
      expect(yield* store.replace("key", Version("v"), data, soon())).toEqual(Option.none())
      expect(yield* store.touch("key", { data, version: Version("v"), expiresAt: soon() }, soon())).toBe(false)
      expect(yield* store.remove("key")).toBe(false)
    }))

  it.scopedLive("a server that is down: the Layer is built, and works when the server does", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => startDynamoDb()),
        (server) => Effect.promise(() => server.stop())
      )
      yield* Effect.promise(() => server.kill())
      const store = yield* makeStore({ ...own, endpoint: server.url, table })
      expect(yield* reasonOf(store.load("key"))).toBe("Unavailable")
      expect(yield* reasonOf(store.insert("key", data, soon()))).toBe("Unavailable")
      expect(yield* Effect.flip(DynamoDb.make({ ...own, endpoint: server.url, table, createTable: true })))
        .toMatchObject({ option: "createTable" })
      yield* Effect.promise(() => server.restart())
      yield* DynamoDb.make({ ...own, endpoint: server.url, table, createTable: true })
      yield* insert(store, "key")
    }))
})

describe("DynamoDB options", () => {
  it.scopedLive.each(["", "ab", "a b", "sessions;", "x".repeat(256)])(
    "refuses the table %j",
    (table) =>
      Effect.gen(function*() {
        expect(yield* Effect.flip(DynamoDb.make({ ...own, table }))).toMatchObject({ option: "table" })
      })
  )

  it.scopedLive.each([0, Infinity])("refuses a timeout of %s", (timeout) =>
    Effect.gen(function*() {
      expect(yield* Effect.flip(DynamoDb.make({ ...own, timeout }))).toMatchObject({ option: "timeout" })
    }))

  it.scopedLive("refuses a region that cannot be had", () =>
    Effect.gen(function*() {
      const region = () => Promise.reject(new Error("no region"))
      const exit = yield* Effect.exit(DynamoDb.make({ ...own, region }))
      expect(Exit.isFailure(exit) && inspectAll(exit)).toContain("AWS_REGION")
    }))
})
