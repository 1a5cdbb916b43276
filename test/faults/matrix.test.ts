/**
 * Faults of real servers as a visitor sees them: what is answered, what is
 * still there afterwards, and that nobody has to restart anything.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import * as SqlClient from "@effect/sql/SqlClient"
import { type Session, type SessionError, SessionHttp } from "effect-session"
import * as SessionStoreUrl from "effect-session/layers/Url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import { Redis } from "ioredis"
import * as fs from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { until } from "../app.js"
import { canStart, type Server, startMemcached, startMySql, startPostgres, startRedis } from "../backends.js"
import { AppSession, type Handler, handlers, type Teapot } from "../http/app.js"
import { type Proxy, startProxy } from "../proxy.js"

/** Milliseconds that an operation may take. */
const timeout = 500

interface Answer {
  readonly status: number
  readonly body: string
  /** What a browser would send from now on; undefined when no cookie was set. */
  readonly cookie: string | undefined
}

interface App {
  readonly send: (path: keyof typeof handlers, cookie?: string, signal?: AbortSignal) => Promise<Answer>
  readonly stop: () => Promise<void>
}

const start = async (url: string): Promise<App> => {
  let router: HttpRouter.HttpRouter<SessionError | Teapot, AppSession | Session> = HttpRouter.empty
  for (const [name, handler] of Object.entries<Handler>(handlers)) router = HttpRouter.all(router, `/${name}`, handler)
  const runtime = ManagedRuntime.make(
    AppSession.layer().pipe(
      Layer.provide(SessionStoreUrl.layer(url)),
      Layer.provideMerge(Logger.remove(Logger.defaultLogger))
    )
  )
  const app = router.pipe(HttpRouter.use(SessionHttp.middleware(AppSession)))
  const handle = HttpApp.toWebHandlerRuntime(await runtime.runtime())(app)
  return {
    send: async (path, cookie, signal) => {
      const headers = cookie === undefined ? {} : { cookie }
      const response = await handle(new Request(`http://localhost/${path}`, { headers, signal: signal ?? null }))
      return {
        status: response.status,
        body: await response.text(),
        cookie: response.headers.getSetCookie()[0]?.split(";")[0]
      }
    },
    stop: () => runtime.dispose()
  }
}

interface World {
  readonly server: Server
  readonly proxy: Proxy
  readonly app: App
}

interface Row {
  /** The row of SECURITY-BAR, and the fault. */
  readonly name: string
  /** Causes it, and answers how it is mended. */
  readonly cause: (world: World) => Promise<() => unknown>
  /** What is answered meanwhile, to one who reads and to one who writes. */
  readonly read: string
  readonly write: string
}

/** "200", or status and reason of an error that says nothing else. */
const saysOf = ({ body, cookie, status }: Answer) => {
  if (status === 200) return "200"
  expect(cookie).toBe(undefined)
  const { _tag, applied, reason, ...rest } = JSON.parse(body)
  expect([_tag, rest]).toEqual(["SessionError", {}])
  return `${status} ${reason}${applied === "unknown" ? " unknown" : ""}`
}

const rows = (
  name: Parameters<typeof canStart>[0],
  startServer: () => Promise<Server>,
  urlOf: (url: string) => string,
  all: ReadonlyArray<Row>,
  more: (world: () => World) => void = () => {}
) =>
  describe.skipIf(!canStart(name))(name, () => {
    let world: World
    beforeAll(async () => {
      const server = await startServer()
      const proxy = await startProxy(server.port)
      const url = urlOf(server.url.replace(`:${server.port}`, `:${proxy.port}`))
      world = { server, proxy, app: await start(`${url}timeout=${timeout}`) }
    })
    afterAll(async () => {
      await world?.app.stop()
      await world?.proxy.close()
      await world?.server.stop()
    })

    for (const { cause, name, read, write } of all) {
      it(name, async () => {
        const { app } = world
        const { cookie } = await app.send("write")
        const left = (await app.send("write")).cookie
        expect(saysOf(await app.send("destroy", left))).toBe("200")
        const mend = await cause(world)
        let certain = 1
        let most = 1
        try {
          const wrote = await app.send("write", cookie)
          expect(saysOf(wrote)).toMatch(new RegExp(`^(${write})$`))
          certain += wrote.status === 200 ? 1 : 0
          most += wrote.status === 200 || saysOf(wrote).endsWith("unknown") ? 1 : 0
          expect(saysOf(await app.send("read", cookie))).toMatch(new RegExp(`^(${read})$`))
          // who has no session, or does not use it, notices nothing
          for (const answer of [await app.send("none", cookie), await app.send("read")]) expect(answer.status).toBe(200)
        } finally {
          await mend()
        }
        await until(async () => (await app.send("read", cookie)).status === 200)
        expect(certain <= Number((await app.send("read", cookie)).body)).toBe(true)
        expect(Number((await app.send("read", cookie)).body)).toBeLessThanOrEqual(most)
        expect((await app.send("read", left)).body).toBe("0")
        expect(saysOf(await app.send("write", cookie))).toBe("200")
      })
    }
    more(() => world)
  })

const network: ReadonlyArray<Row> = [
  {
    name: "F-G2: connections are refused",
    cause: async ({ proxy }) => {
      await proxy.refuse()
      return proxy.normal
    },
    read: "503 Unavailable|503 Throttled|503 Timeout",
    write: "503 Unavailable|503 Throttled|503 Timeout"
  },
  {
    name: "F-G3: the network swallows everything",
    cause: async ({ proxy }) => {
      proxy.hang()
      return proxy.normal
    },
    read: "503 Timeout|503 Unavailable|503 Throttled",
    write: "503 Timeout|503 Unavailable|503 Throttled"
  },
  {
    name: "F-G4: a store that is slow, and in time",
    cause: async ({ proxy }) => {
      proxy.delay(100)
      return proxy.normal
    },
    read: "200",
    write: "200"
  },
  {
    name: "F-G4: a store that is too slow",
    cause: async ({ proxy }) => {
      proxy.delay(4 * timeout)
      return proxy.normal
    },
    read: "503 Timeout|503 Unavailable|503 Throttled",
    write: "503 Timeout|503 Unavailable|503 Throttled"
  },
  {
    name: "F-G1 F-R9 F-S2: every connection is cut",
    cause: async ({ proxy }) => {
      proxy.cut()
      return () => {}
    },
    read: "200",
    write: "200|503 Unavailable"
  }
]

const redis = async <A>({ server }: World, use: (admin: Redis) => Promise<A>) => {
  const admin = new Redis(server.url)
  try {
    return await use(admin)
  } finally {
    admin.disconnect()
  }
}

rows("redis", () => startRedis({ args: ["--enable-protected-configs", "yes"] }), (url) => `${url}?`, [
  ...network,
  {
    name: "F-R4: the scripts are flushed",
    cause: (world) => redis(world, (admin) => admin.script("FLUSH")).then(() => () => {}),
    read: "200",
    write: "200"
  },
  {
    name: "F-R5: out of memory: nothing is stored, and what is there can be read",
    cause: async (world) => {
      await redis(world, (admin) => admin.config("SET", "maxmemory", "1"))
      return () => redis(world, (admin) => admin.config("SET", "maxmemory", "0"))
    },
    read: "200",
    write: "503 Rejected"
  },
  {
    name: "F-R7: snapshots fail, and Redis takes no writes for it (MISCONF)",
    cause: async (world) => {
      const dir = await redis(world, async (admin) => {
        const [, dir] = await admin.config("GET", "dir") as [string, string]
        fs.mkdirSync(`${dir}/gone`)
        await admin.config("SET", "dir", `${dir}/gone`)
        await admin.config("SET", "save", "3600 1")
        fs.rmdirSync(`${dir}/gone`)
        await admin.bgsave().catch(() => {})
        return dir
      })
      await until(() => redis(world, async (admin) => /bgsave_status:err/.test(await admin.info("persistence"))))
      return () =>
        redis(world, async (admin) => {
          await admin.config("SET", "dir", dir)
          await admin.config("SET", "save", "")
        })
    },
    read: "200",
    write: "503 Rejected"
  },
  {
    name: "F-R9: clients are killed",
    cause: (world) => redis(world, (admin) => admin.client("KILL", "TYPE", "normal")).then(() => () => {}),
    read: "200",
    write: "200|503 Unavailable"
  }
], (world) => {
  it("F-R11: another's value in the place of a record is nobody's session, and stays as it is", async () => {
    const { cookie } = await world().app.send("write")
    await redis(world(), async (admin) => {
      const keys = await admin.keys("session:*")
      for (const key of keys) {
        await admin.del(key)
        await admin.rpush(key, "another's")
      }
      expect(await world().app.send("read", cookie)).toEqual({ status: 200, body: "0", cookie: undefined })
      for (const key of keys) expect(await admin.lrange(key, 0, -1)).toEqual(["another's"])
      await admin.del(...keys)
    })
  })

  it("F-G7: of clients that go away at any moment, each increment is done once or not at all", async () => {
    const { app } = world()
    const { cookie } = await app.send("write")
    const answers = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
      const controller = new AbortController()
      setTimeout(() => controller.abort(), i % 20)
      return app.send("write", cookie, controller.signal).catch(() => undefined)
    }))
    const done = answers.filter((answer) => answer?.status === 200).length
    // what was interrupted may still be on its way
    await sleep(100)
    const stored = Number((await app.send("read", cookie)).body) - 1
    expect(stored).toBeGreaterThanOrEqual(done)
    expect(stored).toBeLessThanOrEqual(100)
    expect(await app.send("write", cookie)).toMatchObject({ status: 200 })
    expect(Number((await app.send("read", cookie)).body)).toBe(stored + 2)
  })
})

/** Runs statements on a connection of its own. */
const query = (client: Layer.Layer<SqlClient.SqlClient, unknown>, ...statements: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement))).pipe(
    Effect.provide(client),
    Effect.runPromise
  )

/** Keeps statements' locks until it is mended. */
const lock = async (client: Layer.Layer<SqlClient.SqlClient, unknown>, statement: string) => {
  const runtime = ManagedRuntime.make(client)
  const sql = await runtime.runPromise(SqlClient.SqlClient)
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const locked = new Promise<void>((resolve, reject) => {
    runtime.runPromise(sql.withTransaction(
      sql.unsafe(statement).pipe(
        Effect.tap(() => Effect.sync(resolve)),
        Effect.zipRight(Effect.promise(() => released))
      )
    )).catch(reject)
  })
  await locked
  return async () => {
    release()
    await runtime.dispose()
  }
}

const pg = ({ server }: World) => PgClient.layer({ url: Redacted.make(server.url) })

rows("postgres", () => startPostgres(), (url) => `${url}?`, [
  ...network,
  {
    name: "F-S2: the backends are terminated",
    cause: async (world) => {
      await query(pg(world), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
      return () => {}
    },
    read: "200|503 Unavailable",
    write: "200|503 Unavailable"
  },
  {
    name: "F-S3: the database takes no writes",
    cause: async (world) => {
      const set = (statement: string) => query(pg(world), statement, "SELECT pg_reload_conf()", "SELECT pg_sleep(0.2)")
      await set("ALTER SYSTEM SET default_transaction_read_only = on")
      return () => set("ALTER SYSTEM RESET default_transaction_read_only")
    },
    read: "200",
    write: "503 Rejected"
  }
], (world) => {
  it("F-G5: 200 requests, ten connections, none of them free: each is answered in time, and all is well at once", async () => {
    const { app } = world()
    const { cookie } = await app.send("write")
    const release = await lock(pg(world()), `LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE`)
    const started = performance.now()
    const answers = await Promise.all(Array.from({ length: 200 }, () => app.send("read", cookie)))
    const millis = performance.now() - started
    await release()
    expect(answers.map(saysOf).filter((says) => !/^503 (Throttled|Timeout)$/.test(says))).toEqual([])
    expect(millis).toBeLessThan(timeout + 3000)
    await until(async () => (await app.send("write", cookie)).status === 200)
    expect((await app.send("read", cookie)).body).toBe("2")
  })
})

rows("mysql", () => startMySql(), (url) => `${url}?`, [
  ...network,
  {
    name: "F-S1: another holds the row's lock",
    cause: ({ server }) =>
      lock(MysqlClient.layer({ url: Redacted.make(server.url) }), "SELECT * FROM sessions FOR UPDATE"),
    read: "200",
    write: "503 Timeout unknown|503 Timeout|503 Throttled"
  }
])

rows("memcached", () => startMemcached(), (url) => `${url}?`, network, (world) => {
  it("F-C0: an evicted session is over: nobody's, and one that had read it is told", async () => {
    const { app, server } = world()
    const { cookie } = await app.send("write")
    const flush = () =>
      new Promise<void>((resolve) => {
        const socket = net.connect(server.port, "127.0.0.1", () => socket.end("flush_all\r\n"))
        socket.resume().on("close", () => resolve())
      })
    // evicted between the load and the write of a request
    const held = world().proxy.hold((request) => request.toString("latin1").startsWith("ms "), flush)
    expect(saysOf(await app.send("write", cookie))).toBe("409 Gone")
    await held.release()
    expect(await app.send("read", cookie)).toEqual({ status: 200, body: "0", cookie: undefined })
  })
})

describe("DynamoDB", () => {
  it("F-D1: throttled: 503, and what does not use the session goes on", async () => {
    const server = http.createServer((_, response) => {
      const body = JSON.stringify({ __type: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException" })
      response.writeHead(400, { "content-type": "application/x-amz-json-1.0" }).end(body)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as net.AddressInfo // it listens on a port
    const app = await start(`dynamodb://eu-central-1/sessions?endpoint=http://127.0.0.1:${port}&createTable=false`)
    try {
      const cookie = `__Host-id=${Buffer.alloc(40, 1).toString("base64url")}`
      for (const path of ["read", "write", "regenerate", "destroy"] as const) {
        expect(saysOf(await app.send(path, cookie))).toBe("503 Throttled")
      }
      expect(saysOf(await app.send("write"))).toBe("503 Throttled")
      expect(saysOf(await app.send("none", cookie))).toBe("200")
    } finally {
      await app.stop()
      server.closeAllConnections()
      server.close()
    }
  })
})
