import { MysqlClient } from "@effect/sql-mysql2"
import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { createPool as createPromisePool } from "mysql2/promise"
import { randomToken } from "../../src/internal/crypto.js"
import * as Sql from "../../src/layers/Sql.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionScan, SessionStore, SessionSweeper, Version } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"
import { canStart, mysqlUrl, type Server, startMySql } from "../backends.js"
import { layerMySql, Pool, type Runner, runners } from "./sqlPools.js"

const bytes = new Uint8Array([0, 1, 128, 255])
const never = 2 ** 52
const freshTable = () => `t_${Buffer.from(randomToken()).toString("hex")}`

/** A `SqlClient`, and beside it a pool of mysql2 with the same options. */
const client = (url: string, poolConfig: Record<string, unknown> = {}, maxConnections = 10) => {
  const { hostname, password, pathname, port, username } = new URL(url)
  const sqlClient = MysqlClient.layer({
    host: hostname,
    port: Number(port || 3306),
    username: decodeURIComponent(username),
    password: Redacted.make(decodeURIComponent(password)),
    database: pathname.slice(1),
    maxConnections,
    poolConfig: { maxIdle: maxConnections, ...poolConfig }
  })
  return Layer.merge(
    sqlClient,
    layerMySql(url, { connectionLimit: maxConnections, maxIdle: maxConnections, ...poolConfig })
  )
}

class Table extends Context.Tag("test/Table")<Table, string>() {}

const query = (text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe<Record<string, unknown>>(text, params))

/** The log of its migrations too. */
const dropTable = (table: string) => Effect.orDie(query(`DROP TABLE IF EXISTS ${table}, ${table}_migrations`))

const scopedTable = Effect.acquireRelease(Effect.sync(freshTable), dropTable)

/** The store in a table of its own. */
const layerTestOver = (layer: Runner) => (options: Sql.Options = {}) =>
  Layer.unwrapScoped(
    Effect.map(scopedTable, (table) => Layer.merge(layer({ table, ...options }), Layer.succeed(Table, table)))
  )

const layerTest = layerTestOver(runners.SqlClient)

const buildError = (options: Sql.Options) => Effect.flip(Effect.scoped(Layer.build(Sql.layer(options))))

const reasonOf = <A>(effect: Effect.Effect<A, SessionStoreError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const fill = (count: number, expiresAt: number, prefix: string) =>
  Effect.flatMap(
    Table,
    (table) =>
      query(`INSERT INTO ${table} SELECT CONCAT(?, seq), '', 'v', ? FROM seq_1_to_${count}`, [prefix, expiresAt])
  )

/** Holds the row locked, in a transaction of its own, until `release` is done. */
const lockRow = (table: string, key: string, release: Deferred.Deferred<void>) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const locked = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(sql.withTransaction(Effect.gen(function*() {
      yield* query(`SELECT 1 FROM ${table} WHERE \`key\` = ? FOR UPDATE`, [key])
      yield* Deferred.succeed(locked, undefined)
      yield* Deferred.await(release)
    })))
    yield* Deferred.await(locked)
    return fiber
  })

/** A connection of the pool, kept until the scope closes. */
const lease = Effect.flatMap(Pool, (pool) =>
  Effect.acquireRelease(
    Effect.async<{ readonly release: () => void }, unknown>((resume) =>
      (pool as Sql.MySqlPool).getConnection((error, connection) =>
        // of mysql2 in this file
        resume(error ? Effect.fail(error) : Effect.succeed(connection))
      )
    ),
    (connection) => Effect.sync(() => connection.release())
  ))

/** Until a statement on this table waits. */
const untilWaiting = (statement: string) =>
  query("SELECT 1 FROM information_schema.processlist WHERE info LIKE ? AND info NOT LIKE '%processlist%'", [
    `${statement}%`
  ]).pipe(Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced(10) }))

describe.skipIf(mysqlUrl === undefined)("Sql on MariaDB", () => {
  const layerClient = client(mysqlUrl!)
  const layerStore = layerTest().pipe(Layer.provideMerge(layerClient))

  describe("the table", () => {
    it.effect("eight layers built at once create it once", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        yield* Effect.forEach(Array.from({ length: 8 }), () => Layer.build(Sql.layer({ table })), {
          concurrency: "unbounded"
        })
        expect(yield* query(`SELECT migration_id, name FROM ${table}_migrations`))
          .toEqual([{ migration_id: 1, name: "create_table" }])
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("is created again after it was dropped", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        yield* Layer.build(Sql.layer({ table }))
        yield* query(`DROP TABLE ${table}`)
        const store = Context.get(yield* Layer.build(Sql.layer({ table })), SessionStore)
        expect(Option.isSome(yield* store.insert("k", bytes, never))).toBe(true)
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("the printed definition executes, after which no creation is needed", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        const missing = yield* buildError({ table, createTable: false })
        const printed = yield* Sql.ddl("mysql", { table })
        expect(missing.message).toContain(printed)
        yield* query(printed)
        yield* Layer.build(Sql.layer({ table, createTable: false }))
        expect(yield* query("SELECT 1 FROM information_schema.tables WHERE table_name = ?", [`${table}_migrations`]))
          .toEqual([])
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("columns that would truncate or fold keys are refused", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        const columns = { key: "varchar(255)", data: "blob", version: "varbinary(32)", expires_at: "int" }
        yield* query(
          `CREATE TABLE ${table} (${Object.entries(columns).map(([name, type]) => `\`${name}\` ${type}`).join(", ")})`
        )
        expect((yield* buildError({ table })).message).toContain("of another type: key, data, expires_at.")
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    for (
      const [name, keys] of Object.entries({
        "without a primary key": "",
        "with a unique key only": ", id int AUTO_INCREMENT PRIMARY KEY, UNIQUE (`key`)",
        "with a wider primary key": ", PRIMARY KEY (`key`, version)"
      })
    ) {
      it.effect(`a table ${name} is refused`, () =>
        Effect.gen(function*() {
          const table = yield* scopedTable
          yield* query(
            `CREATE TABLE ${table} (\`key\` varbinary(255) NOT NULL, data longblob, version varbinary(32), expires_at bigint${keys})`
          )
          expect((yield* buildError({ table })).message).toContain("The primary key has to be `key`, and nothing else.")
        }).pipe(Effect.scoped, Effect.provide(layerClient)))
    }
  })

  describe("a table that would lose or mix up records", () => {
    const faults: Readonly<Record<string, readonly [definition: string, says: string]>> = {
      "whose primary key is a prefix of the key": [", PRIMARY KEY (`key`(10))", "not a prefix"],
      "with another unique index": [", PRIMARY KEY (`key`), UNIQUE (data(4))", "No index but the primary key"],
      "with a column that the server counts": [
        ", n int AUTO_INCREMENT, PRIMARY KEY (`key`), INDEX (n)",
        "Columns that the server fills: n."
      ],
      "whose version is generated": [
        ", version varbinary(32) AS ('v') PERSISTENT, PRIMARY KEY (`key`)",
        "Columns that the server fills: version."
      ]
    }
    for (const [name, [definition, says]] of Object.entries(faults)) {
      it.effect(`a table ${name} is refused`, () =>
        Effect.gen(function*() {
          const table = yield* scopedTable
          const version = definition.includes("version") ? "" : "version varbinary(32) NOT NULL, "
          yield* query(
            `CREATE TABLE ${table} (\`key\` varbinary(255) NOT NULL, data longblob NOT NULL, ${version}expires_at bigint NOT NULL${definition})`
          )
          expect((yield* buildError({ table })).message).toContain(says)
        }).pipe(Effect.scoped, Effect.provide(layerClient)))
    }
  })

  it.effect("a generated column beside the four will do", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const table = yield* Table
      yield* query(`ALTER TABLE ${table} ADD seconds bigint AS (expires_at DIV 1000) PERSISTENT`)
      yield* Layer.build(Layer.fresh(Sql.layer({ table })))
      expect(Option.isSome(yield* store.insert("k", bytes, never))).toBe(true)
    }).pipe(Effect.scoped, Effect.provide(layerStore)))

  describe.each(Object.entries(runners))("over %s", (_, layer) => {
    const layerTest = layerTestOver(layer)
    const layerStore = layerTest().pipe(Layer.provideMerge(layerClient))

    describe("operations", () => {
      // Without FOUND_ROWS the server counts as changed only what is different afterwards.
      for (const flags of ["FOUND_ROWS", "-FOUND_ROWS"]) {
        it.effect(`say what they did, whatever the connection counts (${flags})`, () =>
          Effect.gen(function*() {
            const store = yield* SessionStore
            const version = Option.getOrThrow(yield* store.insert("k", bytes, 5000))
            const stored = Option.getOrThrow(yield* store.load("k"))
            expect(stored).toEqual({ data: bytes, version, expiresAt: 5000 })
            expect(yield* store.touch("k", stored, 5000)).toBe(true)
            expect(yield* store.touch("k", stored, 5000)).toBe(true)
            expect(yield* store.insert("k", bytes, 5000)).toEqual(Option.none())
            expect(yield* store.touch("other", stored, 5000)).toBe(false)
            const replaced = Option.getOrThrow(yield* store.replace("k", version, bytes, 5000))
            expect(yield* store.touch("k", stored, 5000)).toBe(false)
            yield* TestClock.adjust(5000)
            expect(yield* store.touch("k", { ...stored, version: replaced }, 9000)).toBe(false)
            expect(Option.isSome(yield* store.insert("k", bytes, 9000))).toBe(true)
            expect(yield* store.insert("k", bytes, 9000)).toEqual(Option.none())
          }).pipe(Effect.provide(layerTest().pipe(Layer.provide(client(mysqlUrl!, { flags }))))))
      }

      it.effect("keys that differ in case, in trailing spaces or by an accent are different records", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const keys = ["key", "KEY", "key ", "key\0", "kéy", "key' OR '1'='1", "key\\", "0", "00"]
          for (const [i, key] of keys.entries()) yield* store.insert(key, new Uint8Array([i]), never)
          for (const [i, key] of keys.entries()) {
            expect(Option.getOrThrow(yield* store.load(key)).data).toEqual(new Uint8Array([i]))
          }
          expect(yield* reasonOf(store.insert("k".repeat(256), bytes, never))).toBe("TooLarge")
          expect(yield* store.load("k".repeat(256))).toEqual(Option.none())
        }).pipe(Effect.provide(layerStore)))

      it.effect("data are never truncated, and what no packet holds is TooLarge", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          yield* query("SET GLOBAL sql_mode = ''")
          const data = Buffer.alloc(1 << 20, "x")
          yield* store.insert("k", data, never)
          const stored = Option.getOrThrow(yield* store.load("k"))
          expect(Buffer.compare(stored.data, data)).toBe(0)
          const [row] = yield* query("SELECT @@max_allowed_packet AS packet")
          const limit = Number(row!.packet) - 1024
          const fits = yield* store.replace("k", stored.version, new Uint8Array(limit), never)
          expect(Option.isSome(fits)).toBe(true)
          expect(yield* Effect.flip(store.replace("k", Option.getOrThrow(fits), new Uint8Array(limit + 1), never)))
            .toMatchObject({ reason: "TooLarge", limit, actual: limit + 1 })
        }).pipe(Effect.provide(layerStore)))
    })

    describe("errors", () => {
      it.effect("a lock that was waited for in vain is Throttled, and nothing was done", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const release = yield* Deferred.make<void>()
          yield* store.insert("k", bytes, never)
          const fiber = yield* lockRow(yield* Table, "k", release)
          const error = yield* Effect.flip(store.remove("k"))
          expect(error).toMatchObject({ reason: "Throttled", cause: { errno: 1205 } })
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(fiber)
          expect(Option.isSome(yield* store.load("k"))).toBe(true)
        }).pipe(
          Effect.ensuring(Effect.orDie(Effect.provide(query("SET GLOBAL innodb_lock_wait_timeout = 50"), layerClient))),
          // It holds for the connections that come after it.
          Effect.provide(Layer.unwrapEffect(Effect.as(
            Effect.provide(query("SET GLOBAL innodb_lock_wait_timeout = 1"), Layer.fresh(layerClient)),
            layerTest({ timeout: "1 minute" }).pipe(Layer.provideMerge(client(mysqlUrl!)))
          )))
        ))

      it.live("a deadlock is repeated until it is done", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const table = yield* Table
          const sql = yield* SqlClient.SqlClient
          const version = Option.getOrThrow(yield* store.insert("a", bytes, never))
          yield* store.insert("b", bytes, never)
          // Whoever holds more is spared: our single statement is the victim, if there is one.
          const attempts = yield* Effect.forEach(Array.from({ length: 5 }), (_, i) =>
            sql.withTransaction(Effect.gen(function*() {
              yield* query(`UPDATE ${table} SET data = ? WHERE \`key\` = 'b'`, [`${i}`])
              yield* Effect.yieldNow()
              yield* query(`UPDATE ${table} SET data = ? WHERE \`key\` = 'a'`, [`${i}`])
            })).pipe(Effect.either), { concurrency: "unbounded" }).pipe(
              Effect.zip(store.replace("a", version, bytes, never), { concurrent: true })
            )
          expect(Option.isSome(attempts[1])).toBe(true)
        }).pipe(Effect.provide(layerStore)))

      it.live("a statement that is killed is Unavailable, and the next one is served", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const table = yield* Table
          const release = yield* Deferred.make<void>()
          yield* store.insert("k", bytes, never)
          const fiber = yield* lockRow(table, "k", release)
          const removal = yield* Effect.fork(reasonOf(store.remove("k")))
          yield* untilWaiting(`DELETE FROM \`${table}\``)
          const [row] = yield* query("SELECT id FROM information_schema.processlist WHERE info LIKE ?", [
            `DELETE FROM \`${table}\`%`
          ])
          yield* query(`KILL ${row!.id}`)
          expect(yield* Fiber.join(removal)).toBe("Unavailable")
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(fiber)
          expect(yield* store.remove("k")).toBe(true)
        }).pipe(Effect.provide(layerStore)))

      it.live("a caller that is interrupted leaves at once, and the statement runs to its end", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const table = yield* Table
          const release = yield* Deferred.make<void>()
          yield* store.insert("k", bytes, never)
          const fiber = yield* lockRow(table, "k", release)
          const removal = yield* Effect.fork(store.remove("k"))
          yield* untilWaiting(`DELETE FROM \`${table}\``)
          yield* Fiber.interrupt(removal)
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(fiber)
          yield* Effect.repeat(store.load("k"), { until: Option.isNone })
        }).pipe(Effect.provide(layerTest({ timeout: "1 minute" }).pipe(Layer.provideMerge(layerClient)))))

      it.live("what waits for a connection until its time is up is never sent", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient.SqlClient
          yield* store.insert("k", bytes, never)
          const removal = Effect.scoped(Effect.zipRight(lease, reasonOf(store.remove("k"))))
          expect(yield* sql.withTransaction(removal)).toBe("Timeout")
          // The only connection is free again, and has nothing left to do before this.
          expect(Option.isSome(yield* store.load("k"))).toBe(true)
        }).pipe(Effect.provide(layerTest({ timeout: 150 }).pipe(Layer.provideMerge(client(mysqlUrl!, {}, 1))))))

      it.effect("a table that was dropped is Rejected", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          yield* query(`DROP TABLE ${yield* Table}`)
          expect(yield* Effect.flip(store.load("k"))).toMatchObject({ reason: "Rejected", cause: { errno: 1146 } })
        }).pipe(Effect.provide(layerStore)))
    })
  })

  describe("the sweep and the scan", () => {
    it.effect("the sweep leaves the living, and counts", () =>
      Effect.gen(function*() {
        const { sweep } = yield* SessionSweeper
        yield* fill(1234, 0, "dead")
        yield* fill(10, 1, "alive")
        const counts = yield* Effect.all([sweep, sweep], { concurrency: "unbounded" })
        expect(counts[0] + counts[1]).toBe(1234)
        expect(yield* query(`SELECT COUNT(*) AS n FROM ${yield* Table}`)).toEqual([{ n: 10 }])
      }).pipe(Effect.provide(layerStore)))

    it.effect("the sweep waits for nobody who writes another record, nor they for it", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const { sweep } = yield* SessionSweeper
        yield* fill(3, 0, "dead")
        yield* store.insert("next", bytes, 1)
        const release = yield* Deferred.make<void>()
        const fiber = yield* lockRow(yield* Table, "next", release)
        expect(yield* sweep).toBe(3)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(fiber)
      }).pipe(Effect.provide(layerStore)))

    it.effect("the scan lists the living in pages", () =>
      Effect.gen(function*() {
        const { entries } = yield* SessionScan
        yield* fill(250, never, "alive")
        yield* fill(50, 0, "dead")
        const listed = Chunk.toReadonlyArray(yield* Stream.runCollect(entries))
        expect(new Set(listed.map(({ key }) => key)).size).toBe(250)
        expect(listed[0]).toEqual({ key: "alive1", data: new Uint8Array(0), expiresAt: never })
        expect(listed.length).toBe(250)
      }).pipe(Effect.provide(layerStore)))

    it.effect("the scan passes over keys that are no text, however many", () =>
      Effect.gen(function*() {
        const { entries } = yield* SessionScan
        yield* fill(250, never, "alive")
        yield* query(
          `INSERT INTO ${yield* Table} SELECT CONCAT(x'ff', seq), '', 'v', ? FROM seq_1_to_250`,
          [never]
        )
        expect(Chunk.size(yield* Stream.runCollect(Stream.take(entries, 1000)))).toBe(250)
      }).pipe(Effect.provide(layerStore)))
  })

  describe("a pool", () => {
    const load = (pool: Sql.PoolOptions["pool"]) =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        const store = Context.get(yield* Layer.build(Sql.layerPool({ table, pool })), SessionStore)
        const version = Option.getOrThrow(yield* store.insert("k", bytes, never))
        expect(yield* store.load("k")).toEqual(Option.some({ data: bytes, version, expiresAt: never }))
        const tables = yield* query("SELECT 1 FROM information_schema.tables WHERE table_name LIKE ?", [`${table}%`])
        expect(tables).toHaveLength(1) // no log of migrations
      })

    it.effect("of mysql2/promise will do", () =>
      Effect.gen(function*() {
        const pool = yield* Effect.acquireRelease(
          Effect.sync(() => createPromisePool(mysqlUrl!)),
          (pool) => Effect.promise(() => pool.end())
        )
        yield* load(pool)
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("that reads rows in another way will do", () =>
      Effect.gen(function*() {
        yield* load(yield* Pool)
      }).pipe(
        Effect.scoped,
        Effect.provide(client(mysqlUrl!, {
          rowsAsArray: true,
          nestTables: true,
          typeCast: () => "theirs",
          supportBigNumbers: true,
          bigNumberStrings: true,
          namedPlaceholders: true
        }))
      ))

    it.effect("is not a single connection, of either driver", () =>
      Effect.gen(function*() {
        // What the types refuse.
        const connection = { execute: () => {} } as unknown as Sql.MySqlPool
        const pgClient = {
          connect: (callback: () => void) => callback(),
          on: () => {},
          removeListener: () => {}
        } as unknown as Sql.PgPool
        expect(yield* Effect.flip(Layer.build(Sql.layerPool({ pool: connection })))).toMatchObject({ option: "pool" })
        expect(String((yield* Effect.flip(Layer.build(Sql.layerPool({ pool: pgClient })))).cause)).toContain(
          "a Pool of pg"
        )
      }).pipe(Effect.scoped))

    it.effect("cannot do without prepared statements", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(Sql.layerPool({ pool: yield* Pool, prepare: false })))
        expect(error).toMatchObject({ _tag: "SessionConfigError", option: "prepare" })
      }).pipe(Effect.scoped, Effect.provide(layerClient)))
  })

  // Last: the `layer` of @effect/vitest takes `it.effect` over, for the rest of the file.
  const table = freshTable()
  storeLaws(runners.pool({ table }).pipe(Layer.provide(client(mysqlUrl!, {}, 5))), {
    sweeps: true,
    scans: true,
    multiProcess: true
  })
  // What is swept and listed is the same over both.
  storeLaws(runners.SqlClient({ table }).pipe(Layer.provide(client(mysqlUrl!, {}, 5))), {
    sweeps: false,
    scans: false,
    multiProcess: true
  })
  afterAll(() => Effect.runPromise(dropTable(table).pipe(Effect.asVoid, Effect.provide(layerClient))))
})

describe.skipIf(!canStart("mysql")).each(Object.entries(runners))(
  "Sql on a MariaDB that fails, over %s",
  (_, layer) => {
    const layerTest = layerTestOver(layer)
    let server: Server
    beforeAll(async () => {
      server = await startMySql()
    })
    afterAll(() => server?.stop())

    it.live("killed: Unavailable, and it recovers on the same port with what it had", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const version = Option.getOrThrow(yield* store.insert("k", bytes, never))
        yield* Effect.promise(() => server.kill("SIGKILL"))
        expect(yield* reasonOf(store.load("k"))).toBe("Unavailable")
        expect(yield* reasonOf(store.replace("k", version, bytes, never))).toBe("Unavailable")
        yield* Effect.promise(() => server.restart())
        yield* Effect.retry(store.load("k"), Schedule.spaced(50))
        expect(Option.isSome(yield* store.replace("k", version, bytes, never))).toBe(true)
      }).pipe(Effect.provide(Layer.suspend(() => layerTest().pipe(Layer.provideMerge(client(server.url)))))))

    it.live("a server that does not commit by itself is refused", () =>
      Effect.gen(function*() {
        const table = yield* Table
        yield* query("SET GLOBAL autocommit = 0")
        const error = yield* Effect.provide(buildError({ table }), Layer.fresh(client(server.url)))
        expect(error).toMatchObject({ _tag: "SessionConfigError" })
        expect(error.message).toContain("autocommit is off")
      }).pipe(
        Effect.ensuring(Effect.orDie(query("SET GLOBAL autocommit = 1"))),
        Effect.provide(Layer.suspend(() => layerTest().pipe(Layer.provideMerge(client(server.url)))))
      ))

    const longKey = "k".repeat(20)
    const narrowings = {
      key: "`key` varbinary(10) NOT NULL",
      data: "data varbinary(10) NOT NULL",
      version: "version varbinary(10) NOT NULL",
      expires_at: "expires_at int NOT NULL"
    }
    for (const [column, definition] of Object.entries(narrowings)) {
      it.effect(`a write that a narrowed column would cut fails and changes nothing: ${column}`, () =>
        Effect.gen(function*() {
          const table = yield* Table
          const store = yield* SessionStore
          yield* query("SET SESSION sql_mode = ''")
          expect(yield* query("SELECT @@sql_mode AS mode")).toEqual([{ mode: "" }])
          yield* query(`ALTER TABLE ${table} MODIFY ${definition}`)
          yield* query(`INSERT INTO ${table} VALUES ('k', 'old', 'v', 2147483647)`)
          const before = yield* query(`SELECT * FROM ${table}`)
          const data = new Uint8Array(20)
          const current = { data: bytes, version: Version("v"), expiresAt: 2147483647 }
          const key = column === "key" ? longKey : "other"
          const writes: Record<string, Effect.Effect<unknown, SessionStoreError>> = {
            insert: store.insert(key, data, never),
            ...column === "key" ? {} : { replace: store.replace("k", Version("v"), data, never) },
            ...column === "expires_at" ? { touch: store.touch("k", current, never) } : {}
          }
          for (const write of Object.values(writes)) expect((yield* Effect.either(write))._tag).toBe("Left")
          expect(yield* query(`SELECT * FROM ${table}`)).toEqual(before)
        }).pipe(
          Effect.provide(Layer.suspend(() => layerTest().pipe(Layer.provideMerge(client(server.url, {}, 1)))))
        ))
    }

    it.live("a user who may not create tables uses one that is there, and is told when it is not", () =>
      Effect.gen(function*() {
        const table = yield* Table
        yield* query("CREATE USER limited@'127.0.0.1'")
        yield* query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO limited@'127.0.0.1'`)
        yield* Effect.gen(function*() {
          const store = Context.get(yield* Layer.build(layer({ table })), SessionStore)
          expect(Option.isSome(yield* store.insert("k", bytes, never))).toBe(true)
          expect((yield* buildError({ table: "elsewhere" })).message).toMatch(/could not be created|cannot be read/)
        }).pipe(Effect.scoped, Effect.provide(client(server.url.replace("sessions@", "limited@"))))
        yield* query(`REVOKE INSERT ON ${table} FROM limited@'127.0.0.1'`)
        const store = Context.get(
          yield* Layer.build(
            layer({ table }).pipe(Layer.provide(client(server.url.replace("sessions@", "limited@"))))
          ),
          SessionStore
        )
        expect(yield* reasonOf(store.insert("other", bytes, never))).toBe("Rejected")
        yield* query("SET GLOBAL read_only = 1")
        expect(yield* reasonOf(store.remove("k"))).toBe("Rejected")
        yield* query("SET GLOBAL read_only = 0")
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.suspend(() => layerTest().pipe(Layer.provideMerge(client(server.url)))))
      ))
  }
)
