/**
 * Requests that race for one session, by HTTP, through two processes of the
 * example app on every backend that allows two; and once more where every round
 * trip to the store takes 50 ms longer.
 */
import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
import * as Dynamo from "@aws-sdk/client-dynamodb"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { MongoClient } from "mongodb"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { StoreSpec } from "./app-main.js"
import { type Answer, type App, call, newSession, startStores, temporaryDirectory, valuesOf } from "./app.js"
import { canStart, dynamoDbUrl, memcachedUrl, mongoDbUrl, mysqlUrl, postgresUrl, redisUrl } from "./backends.js"
import { startProxy } from "./proxy.js"
import { startCluster, type Topology } from "./redis-topologies.js"

const times = <A>(count: number, f: (i: number) => Promise<A>) =>
  Promise.all(Array.from({ length: count }, (_, i) => f(i)))

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

interface Backend {
  readonly name: string
  readonly processes: number
  readonly before?: () => Promise<unknown>
  /** The store, reached at another address than its own. */
  readonly url: (address?: string) => string
  /** `host:port` of its server; where there is none, operations are delayed instead. */
  readonly server?: string
  readonly after?: () => Promise<unknown>
}

const own = `races_${process.pid}`
const files = temporaryDirectory()
afterAll(files.remove)

/** A URL at another address, with one more parameter. */
const rewrite = (text: string, parameter: string, address?: string) => {
  const url = new URL(text)
  if (address !== undefined) url.host = address
  return `${url.href}${url.search === "" ? "?" : "&"}${parameter}`
}

const onServer = (
  name: string,
  url: string | undefined,
  parameter: string,
  after?: (url: string) => Promise<unknown>
): ReadonlyArray<Backend> =>
  url === undefined ? [] : [{
    name,
    processes: 2,
    server: new URL(url).host,
    url: (address) => rewrite(url, parameter, address),
    ...(after && { after: () => after(url) })
  }]

const drop = (client: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`DROP TABLE ${own}`)
  }).pipe(Effect.provide(client), Effect.runPromise)

let cluster: Topology

const backends: ReadonlyArray<Backend> = [
  { name: "memory", processes: 1, url: () => "memory:" },
  { name: "KeyValueStore", processes: 1, url: () => `kv:${files.directory}/kv` },
  { name: "file", processes: 2, url: () => `file:${files.directory}/file` },
  { name: "SQLite", processes: 2, url: () => `sqlite:${files.directory}/sqlite` },
  ...onServer("Redis", redisUrl, `prefix=${own}:`),
  ...(canStart("redis")
    ? [{
      name: "Redis Cluster",
      processes: 2,
      before: async () => {
        cluster = await startCluster()
      },
      url: () => cluster.url,
      after: () => cluster.stop()
    }]
    : []),
  ...onServer("memcached", memcachedUrl, `prefix=${own}:`),
  ...onServer("MongoDB", mongoDbUrl, `collection=${own}`, async (url) => {
    const client = new MongoClient(url)
    await client.db().dropCollection(own)
    await client.close()
  }),
  ...onServer(
    "PostgreSQL",
    postgresUrl,
    `table=${own}`,
    (url) => drop(PgClient.layer({ url: Redacted.make(url) }))
  ),
  ...onServer("MariaDB", mysqlUrl, `table=${own}`, (url) => drop(MysqlClient.layer({ url: Redacted.make(url) }))),
  ...(dynamoDbUrl === undefined ? [] : [{
    name: "DynamoDB",
    processes: 2,
    server: new URL(dynamoDbUrl).host,
    url: (address = new URL(dynamoDbUrl!).host) => `dynamodb://eu-central-1/${own}?endpoint=http://${address}`,
    after: async () => {
      const client = new DynamoDBClient({
        region: "eu-central-1",
        endpoint: dynamoDbUrl!,
        credentials: { accessKeyId: "local", secretAccessKey: "local" }
      })
      await client.send(new Dynamo.DeleteTableCommand({ TableName: own }))
    }
  }])
]

/** The store as it is, and one that is far away. */
const distances = [
  { where: "near", delay: 0 },
  { where: "50 ms away", delay: 50 }
] as const

for (const backend of backends) {
  describe(`${backend.name}, ${backend.processes} process(es), one cookie`, () => {
    const servers: Array<{ readonly close: () => Promise<unknown> }> = []
    /** By distance, then by process. */
    let apps: ReadonlyArray<ReadonlyArray<App>> = []

    const specAt = async (delay: number): Promise<StoreSpec> => {
      if (delay === 0) return { url: backend.url() }
      if (backend.server === undefined) return { url: backend.url(), delay }
      const proxy = await startProxy(Number(backend.server.split(":")[1]))
      servers.push(proxy)
      proxy.delay(delay)
      return { url: backend.url(proxy.address) }
    }

    beforeAll(async () => {
      await backend.before?.()
      const specs = await Promise.all(distances.map(({ delay }) => specAt(delay)))
      const processes = await times(backend.processes, () => startStores(specs))
      apps = distances.map((_, i) => processes.map((servers) => servers[i]!))
      servers.push(...processes.map(([app]) => ({ close: app!.stop })))
    })
    afterAll(async () => {
      for (const server of servers.reverse()) await server.close()
      await backend.after?.()
    })

    /** The same test over each distance, all at once: most of it is waiting. */
    const race = (what: string, test: (app: (i: number) => App) => Promise<unknown>) =>
      distances.forEach(({ where }, distance) =>
        it.concurrent(`${what}, ${where}`, { timeout: 60_000 }, async () => {
          await test((i) => apps[distance]![i % backend.processes]!)
        })
      )

    describe("requests at the same time", () => {
      race("20 increments at once end at 20", async (app) => {
        const cookie = await newSession(app(0))
        const answers = await times(
          20,
          (i) => call(app(i), "/api/increment", { cookie, json: { key: "n", delayMs: 100 } })
        )
        expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
        expect(await valuesOf(app(0), cookie)).toEqual({ n: 20 })
      })

      race("20 tickets at once answer 1 … 20, each once", async (app) => {
        const cookie = await newSession(app(0))
        const answers = await times(20, (i) => call(app(i), "/api/ticket", { cookie, json: { key: "n" } }))
        expect(answers.map(({ body }) => body.value).sort((a, b) => a - b)).toEqual(upTo(20))
        expect(await valuesOf(app(1), cookie)).toEqual({ n: 20 })
      })

      race("of 20 naive increments at once, what is acknowledged is stored and the rest is 409", async (app) => {
        const cookie = await newSession(app(0))
        const answers = await times(
          20,
          (i) => call(app(i), "/api/naive", { cookie, json: { key: "n", delayMs: 100 } })
        )
        const done = answers.filter(({ status }) => status === 200)
        expect(done.length).toBeGreaterThan(0)
        expect(answers.filter(({ status }) => status === 409).length).toBe(20 - done.length)
        expect(await valuesOf(app(0), cookie)).toEqual({ n: done.length })
      })

      race("a login repeated with the old cookie works, without the old data", async (app) => {
        const cookie = await newSession(app(0))
        const first = await call(app(0), "/api/login", { cookie, json: { user: "ada" } })
        const second = await call(app(1), "/api/login", { cookie, json: { user: "ada" } })
        expect([first.status, second.status]).toEqual([200, 200])
        expect(await valuesOf(app(1), first.cookie!)).toEqual({ n: 0, user: "ada" })
        expect(await valuesOf(app(0), second.cookie!)).toEqual({ user: "ada" })
      })

      race("of two logins at once, one takes the data along", async (app) => {
        await times(10, async () => {
          const cookie = await newSession(app(0))
          const logins = await times(2, (i) => call(app(i), "/api/login", { cookie, json: { user: `user ${i}` } }))
          for (const { cookie, status } of logins) {
            expect([status, cookie === undefined]).toEqual(status === 200 ? [200, false] : [409, true])
          }
          const cookies = logins.flatMap(({ cookie }) => cookie ?? [])
          const found = await Promise.all([cookie, ...cookies].map((cookie) => valuesOf(app(1), cookie)))
          expect(found.filter((value) => "n" in value)).toHaveLength(1)
        })
      })
    })

    describe("requests that come late", () => {
      /**
       * Ends a session while an increment of it waits, and answers what the
       * increment said. On a busy machine either may come too late for the other;
       * then once more, with more time.
       */
      const endDuringIncrement = async <A>(
        app: (i: number) => App,
        i: number,
        end: (app: App, cookie: string) => Promise<A>,
        delayMs = 2000
      ): Promise<{ readonly cookie: string; readonly ended: A; readonly late: Answer }> => {
        const cookie = await newSession(app(i), { n: 5 })
        const sent = performance.now()
        const increment = call(app(i), "/api/increment", { cookie, json: { key: "n", delayMs } })
        await call(app(i), "/api/session", { cookie })
        await sleep(200)
        const ended = await end(app(i + 1), cookie)
        const inTime = performance.now() - sent < delayMs
        const late = await increment
        return inTime && late.body.value !== 1 // it starts at 1 where it found no session
          ? { cookie, ended, late }
          : endDuringIncrement(app, i, end, delayMs * 2)
      }

      race("50 logouts during a slow increment stay logouts", async (app) => {
        await times(50, async (i) => {
          const { cookie, ended, late } = await endDuringIncrement(
            app,
            i,
            (app, cookie) => call(app, "/api/logout", { cookie, method: "POST" })
          )
          expect([ended.status, ended.cookie]).toEqual([200, ""])
          expect([late.status, late.cookie]).toEqual([409, undefined])
          expect((await call(app(i), "/api/session", { cookie })).body).toEqual({ value: {}, isNew: true })
        })
      })

      race("50 logins during a slow increment are not overwritten", async (app) => {
        await times(50, async (i) => {
          const { cookie, ended, late } = await endDuringIncrement(
            app,
            i,
            (app, cookie) => call(app, "/api/login", { cookie, json: { user: "ada" } })
          )
          expect(ended.status).toBe(200)
          expect([late.status, late.cookie]).toEqual([409, undefined])
          expect(await valuesOf(app(i), ended.cookie!)).toEqual({ n: 5, user: "ada" })
          expect(await valuesOf(app(i), cookie)).toEqual({})
        })
      })
    })
  })
}
