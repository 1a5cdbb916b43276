import * as Reactivity from "@effect/experimental/Reactivity"
import { PgClient } from "@effect/sql-pg"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Statement from "@effect/sql/Statement"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as String from "effect/String"
import * as TestClock from "effect/TestClock"
import { execFileSync } from "node:child_process"
import { chownSync, readFileSync, statSync } from "node:fs"
import { randomToken } from "../../src/internal/crypto.js"
import * as Sql from "../../src/layers/Sql.js"
import * as SessionStoreUrl from "../../src/layers/Url.js"
import type { SessionConfigError } from "../../src/SessionConfigError.js"
import { SessionScan, SessionStore, SessionStoreError, SessionSweeper } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"
import { canStart, postgresUrl, type Server, startPgBouncer, startPostgres } from "../backends.js"
import { type Proxy as ServerProxy, startProxy } from "../proxy.js"
import { layerPg, Pool, type Runner, runners } from "./sqlPools.js"

const bytes = new Uint8Array([0, 1, 128, 255])
const never = 2 ** 52
const freshTable = () => `t_${Buffer.from(randomToken()).toString("hex")}`

/** A `SqlClient`, and beside it a pool of `pg` with the same options. */
const client = (url: string, options: { maxConnections?: number; connectTimeout?: number; ssl?: object } = {}) =>
  Layer.merge(
    PgClient.layer({ url: Redacted.make(url), ...options }),
    layerPg({
      connectionString: url,
      ...(options.maxConnections && { max: options.maxConnections }),
      ...(options.connectTimeout && { connectionTimeoutMillis: options.connectTimeout }),
      ...(options.ssl && { ssl: options.ssl })
    })
  )

class Table extends Context.Tag("test/Table")<Table, string>() {}

class Proxy extends Context.Tag("test/Proxy")<Proxy, ServerProxy>() {}

/** The log of its migrations too. */
const dropTable = (table: string) =>
  query("SELECT tablename FROM pg_tables WHERE starts_with(lower(tablename), lower($1))", [table]).pipe(
    Effect.flatMap(Effect.forEach(({ tablename }) => query(`DROP TABLE "${tablename}"`))),
    Effect.orDie
  )

/** A table's name, and its removal when the scope closes. */
const scopedTable = Effect.acquireRelease(
  Effect.sync(freshTable),
  (table) => dropTable(table)
)

/** The store in a table of its own. */
const layerTestOver = (layer: Runner) => (options: Sql.Options = {}) =>
  Layer.unwrapScoped(
    Effect.map(scopedTable, (table) => Layer.merge(layer({ table, ...options }), Layer.succeed(Table, table)))
  )

const layerTest = layerTestOver(runners.SqlClient)

const query = (text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe<Record<string, unknown>>(text, params))

/** A client that writes down each statement, BEGIN and COMMIT included, and counts connections. */
class Traffic extends Context.Tag("test/Traffic")<Traffic, {
  readonly statements: Array<readonly [text: string, params: ReadonlyArray<unknown>]>
  connections: number
}>() {}

/** A pool that does the same. */
const notedPool = (pool: Pool["Type"], traffic: Traffic["Type"]): Sql.PgPool => {
  const { connect, on, removeListener } = pool as Sql.PgPool // of `pg` in this file
  return {
    on: on.bind(pool),
    removeListener: removeListener.bind(pool),
    connect: (callback) =>
      connect.call(pool, (error, client, release) => {
        traffic.connections++
        if (client === undefined) return callback(error, client, release)
        const noted = Object.create(client, {
          query: {
            value: (query: { readonly text: string; readonly values: ReadonlyArray<unknown> }, done: () => void) => {
              traffic.statements.push([query.text, query.values])
              client.query(query, done)
            }
          }
        })
        callback(error, noted, release)
      })
  }
}

/** Runs a statement on the pool. */
const onPool = (text: string) =>
  Effect.flatMap(Pool, (pool) =>
    Effect.promise(() =>
      (pool as unknown as { // of `pg` in this file
        readonly query: (text: string) => Promise<{ readonly rows: ReadonlyArray<Record<string, unknown>> }>
      }).query(text)
    ).pipe(Effect.map(({ rows }) => rows)))

/** How many statements the connection of the pool has prepared. */
const preparedStatements = Effect.map(
  onPool("SELECT count(*)::int AS n FROM pg_prepared_statements WHERE name LIKE 'effect_session_%'"),
  ([row]) => row!.n
)

/** A connection of the pool, kept until the scope closes. */
const lease = Effect.flatMap(Pool, (pool) =>
  Effect.acquireRelease(
    Effect.async<() => void, unknown>((resume) =>
      (pool as Sql.PgPool).connect((error, client, release) =>
        // of `pg` in this file
        resume(client === undefined ? Effect.fail(error) : Effect.succeed(release))
      )
    ),
    (release) => Effect.sync(release)
  ))

const layerTraffic = Layer.effectContext(Effect.gen(function*() {
  const inner = yield* SqlClient.SqlClient
  const traffic: Traffic["Type"] = { statements: [], connections: 0 }
  const note = (text: string, params: ReadonlyArray<unknown>) => traffic.statements.push([text, params])
  const acquirer = Effect.map(inner.reserve, (connection): Connection => {
    traffic.connections++
    return {
      execute: (text, params, transform) => (note(text, params), connection.execute(text, params, transform)),
      executeRaw: (text, params) => (note(text, params), connection.executeRaw(text, params)),
      executeStream: (
        text,
        params,
        transform
      ) => (note(text, params), connection.executeStream(text, params, transform)),
      executeValues: (text, params) => (note(text, params), connection.executeValues(text, params)),
      executeUnprepared: (
        text,
        params,
        transform
      ) => (note(text, params), connection.executeUnprepared(text, params, transform))
    }
  })
  const sql = yield* SqlClient.make({ acquirer, compiler: PgClient.makeCompiler(), spanAttributes: [] })
  return Context.make(SqlClient.SqlClient, sql).pipe(
    Context.add(Traffic, traffic),
    Context.add(Pool, notedPool(yield* Pool, traffic))
  )
})).pipe(Layer.provide(Reactivity.layer))

const reasonOf = <A>(effect: Effect.Effect<A, SessionStoreError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const buildError = (options: Sql.Options) =>
  Effect.flip(Effect.scoped(Layer.build(Sql.layer(options)))) as Effect.Effect<
    SessionConfigError,
    unknown,
    SqlClient.SqlClient
  >

/** Holds the row locked, in a transaction of its own, until `release` is done. */
const lockRow = (table: string, key: string, release: Deferred.Deferred<void>) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const locked = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(sql.withTransaction(Effect.gen(function*() {
      yield* sql`SELECT 1 FROM ${sql(table)} WHERE key = ${key} FOR UPDATE`
      yield* Deferred.succeed(locked, undefined)
      yield* Deferred.await(release)
    })))
    yield* Deferred.await(locked)
    return fiber
  })

describe.skipIf(postgresUrl === undefined)("Sql on PostgreSQL", () => {
  const layerClient = client(postgresUrl!)
  const isolated = (level: string) =>
    client(withParameter(postgresUrl!, "options", `-c default_transaction_isolation=${level.replace(" ", "\\ ")}`))
  const layerStore = layerTest().pipe(Layer.provideMerge(layerClient))

  it.effect("another database is refused", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.make({
        acquirer: Effect.die("not to be used"),
        compiler: Statement.makeCompiler({
          dialect: "clickhouse",
          placeholder: () => "?",
          onIdentifier: (name) => name,
          onRecordUpdate: () => ["", []],
          onCustom: () => ["", []]
        }),
        spanAttributes: []
      })
      expect((yield* buildError({}).pipe(Effect.provideService(SqlClient.SqlClient, sql))).option).toBe("SqlClient")
    }).pipe(Effect.provide(Reactivity.layer)))

  describe("the table", () => {
    it.effect("hostile and malformed names are refused, and nothing is sent", () =>
      Effect.gen(function*() {
        const names = ["", "x; DROP TABLE y", "a\"b", "a.b", "1a", "a b", "é", "a\n", "a".repeat(64), "a\0"]
        const traffic = yield* Traffic
        for (const name of names) {
          for (const option of ["table", "schema"]) {
            const error = yield* buildError({ [option]: name })
            expect(error._tag).toBe("SessionConfigError")
            expect(error.option).toBe(option)
            expect(Either.isLeft(Sql.ddl("pg", { [option]: name }))).toBe(true)
          }
        }
        expect(traffic.statements).toEqual([])
      }).pipe(Effect.provide(layerTraffic.pipe(Layer.provide(layerClient)))))

    it.effect("durations that no timer can count are refused", () =>
      Effect.gen(function*() {
        expect((yield* buildError({ timeout: 0 })).option).toBe("timeout")
        expect((yield* buildError({ timeout: "30 days" })).option).toBe("timeout")
        expect((yield* buildError({ sweepInterval: "-1 seconds" as never })).option).toBe("sweepInterval")
      }).pipe(Effect.provide(layerClient)))

    it.effect("eight layers built at once create it once", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        yield* Effect.forEach(Array.from({ length: 8 }), () => Layer.build(Sql.layer({ table })), {
          concurrency: "unbounded"
        })
        const indexes = yield* query("SELECT 1 FROM pg_indexes WHERE tablename = $1", [table])
        expect(indexes.length).toBe(2)
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("the printed definition executes, after which no creation is needed", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        const missing = yield* buildError({ table, createTable: false })
        const printed = yield* Sql.ddl("pg", { table, schema: "public" })
        expect(missing.option).toBe("table")
        expect(missing.message).toContain(yield* Sql.ddl("pg", { table }))
        yield* query(printed)
        yield* Layer.build(Sql.layer({ table, schema: "public", createTable: false }))
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("a missing schema and a foreign table are explained", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        const schema = yield* buildError({ table, schema: "no_such_schema" })
        expect(schema.message).toContain(`"no_such_schema"."${table}"`)
        expect(schema.message).toContain("could not be created")
        yield* query(`CREATE TABLE "${table}" (key text, data bytea)`)
        expect((yield* buildError({ table })).message).toContain("cannot be read (Rejected)")
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    const columns = { key: "text PRIMARY KEY", data: "bytea", version: "text", expires_at: "bigint" }
    const wrong: Readonly<Record<string, readonly [change: Partial<typeof columns>, says: string]>> = {
      "without a primary key": [{ key: "text" }, "\"key\" has to be the primary key, or unique"],
      "with a wider primary key": [
        { key: "text", expires_at: "bigint, PRIMARY KEY (key, version)" },
        "\"key\" has to be the primary key, or unique"
      ],
      "with other columns": [
        { key: "varchar(10) PRIMARY KEY", data: "text", expires_at: "int" },
        "of another type: key, data, expires_at."
      ]
    }
    for (const [name, [change, says]] of Object.entries(wrong)) {
      it.effect(`a table ${name} is refused`, () =>
        Effect.gen(function*() {
          const table = yield* scopedTable
          const definition = Object.entries({ ...columns, ...change }).map((column) => column.join(" ")).join(", ")
          yield* query(`CREATE TABLE ${table} (${definition})`)
          for (const schema of [undefined, "public"]) {
            const error = yield* buildError({ table, schema })
            expect(error).toMatchObject({ _tag: "SessionConfigError", option: "table" })
            expect(error.message).toContain(says)
          }
        }).pipe(Effect.scoped, Effect.provide(layerClient)))
    }

    it.effect("a table whose key is unique otherwise will do, and so will a view of one", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        yield* query(
          `CREATE TABLE ${table} (id serial PRIMARY KEY, key varchar UNIQUE, data bytea, version text, expires_at bigint)`
        )
        yield* query(`CREATE VIEW ${table}_view AS SELECT key, data, version, expires_at FROM ${table}`)
        yield* Effect.addFinalizer(() => Effect.orDie(query(`DROP VIEW ${table}_view`)))
        for (const name of [table, `${table}_view`]) {
          const store = Context.get(yield* Layer.build(Layer.fresh(Sql.layer({ table: name }))), SessionStore)
          expect(Option.isSome(yield* store.insert(name, bytes, never))).toBe(true)
          expect(Option.isSome(yield* store.load(name))).toBe(true)
        }
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("names are quoted, and no transform of the client touches them", () =>
      Effect.gen(function*() {
        const table = `Order${yield* Table}`
        yield* Effect.addFinalizer(() => dropTable(table))
        const store = Context.get(yield* Layer.build(Sql.layer({ table })), SessionStore)
        yield* store.insert("k", bytes, never)
        expect((yield* query(`SELECT key FROM "${table}"`)).length).toBe(1)
        expect(Option.isSome(yield* store.load("k"))).toBe(true)
      }).pipe(
        Effect.scoped,
        Effect.provideService(Table, freshTable()),
        Effect.provide(PgClient.layer({
          url: Redacted.make(postgresUrl!),
          transformQueryNames: String.camelToSnake,
          transformResultNames: String.snakeToCamel
        }))
      ))

    it.effect("layerConfig reads the options", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(Sql.layerConfig({
          table: Config.string("TABLE"),
          createTable: Config.boolean("CREATE")
        })))
        expect(error).toMatchObject({ _tag: "SessionConfigError", option: "table" })
        expect(error.message).toContain("\"from_config\" is missing")
      }).pipe(
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["TABLE", "from_config"], ["CREATE", "false"]]))),
        Effect.scoped,
        Effect.provide(layerClient)
      ))
  })

  describe.each(Object.entries(runners))("over %s", (_, layer) => {
    const layerTest = layerTestOver(layer)
    const layerStore = layerTest().pipe(Layer.provideMerge(layerClient))

    describe("operations", () => {
      it.effect("one statement and one connection each", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const { statements, connections } = yield* Traffic
          const traffic = yield* Traffic
          expect(connections).toBeGreaterThan(0)
          const count = <A, E>(effect: Effect.Effect<A, E>) =>
            Effect.suspend(() => {
              statements.length = traffic.connections = 0
              return Effect.map(effect, (value) => {
                expect([statements.length, traffic.connections]).toEqual([1, 1])
                return value
              })
            })
          const inserted = Option.getOrThrow(yield* count(store.insert("k", bytes, never)))
          expect(yield* count(store.insert("k", bytes, never))).toEqual(Option.none())
          const replaced = Option.getOrThrow(yield* count(store.replace("k", inserted, bytes, never)))
          expect(yield* count(store.replace("k", inserted, bytes, never))).toEqual(Option.none())
          const stored = Option.getOrThrow(yield* count(store.load("k")))
          expect(stored.version).toBe(replaced)
          expect(yield* count(store.touch("k", stored, never + 1))).toBe(true)
          expect(yield* count(store.remove("k", inserted))).toBe(false)
          expect(yield* count(store.remove("k", replaced))).toBe(true)
          expect(yield* count(store.remove("k"))).toBe(false)
        }).pipe(Effect.provide(layerTest().pipe(Layer.provideMerge(layerTraffic), Layer.provide(layerClient)))))

      it.effect("an expired row is invisible to all five, and inserted over", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const version = Option.getOrThrow(yield* store.insert("k", bytes, 1000))
          yield* TestClock.adjust(999)
          const stored = Option.getOrThrow(yield* store.load("k"))
          yield* TestClock.adjust(1)
          expect(yield* store.load("k")).toEqual(Option.none())
          expect(yield* store.replace("k", version, bytes, 9000)).toEqual(Option.none())
          expect(yield* store.touch("k", stored, 9000)).toBe(false)
          expect(yield* store.remove("k")).toBe(false)
          expect((yield* query(`SELECT 1 FROM ${yield* Table}`)).length).toBe(1)
          const again = Option.getOrThrow(yield* store.insert("k", new Uint8Array([7]), 9000))
          expect(again).not.toBe(version)
          expect(yield* store.load("k")).toEqual(
            Option.some({ data: new Uint8Array([7]), version: again, expiresAt: 9000 })
          )
        }).pipe(Effect.provide(layerStore)))

      it.effect("a Clock with fractions of a millisecond is understood", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          yield* TestClock.adjust("250 micros")
          const version = Option.getOrThrow(yield* store.insert("k", bytes, 1.25))
          expect(Option.getOrThrow(yield* store.load("k")).version).toBe(version)
          yield* TestClock.adjust("2 millis")
          expect(yield* store.load("k")).toEqual(Option.none())
        }).pipe(Effect.provide(layerStore)))

      it.effect("bytes come back as they went in, in an array of their own", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const all = Uint8Array.from({ length: 256 }, (_, i) => i)
          const big = new Uint8Array(1 << 20).fill(0x5c)
          const view = Buffer.from("xx-inner-xx").subarray(3, 8)
          for (const [key, data] of Object.entries({ all, big, view, none: new Uint8Array(0) })) {
            yield* store.insert(key, data, never)
            const { data: loaded } = Option.getOrThrow(yield* store.load(key))
            expect(loaded.constructor).toBe(Uint8Array)
            expect(loaded.buffer.byteLength).toBe(data.length)
            expect(Buffer.compare(loaded, data)).toBe(0)
          }
        }).pipe(Effect.provide(layerStore)))

      it.effect("a row that is no record is Corrupt", () =>
        Effect.gen(function*() {
          const table = yield* scopedTable
          yield* query(`CREATE TABLE ${table} (key text PRIMARY KEY, data bytea, version text, expires_at bigint)`)
          yield* query(`INSERT INTO ${table} VALUES ('k', NULL, 'v', ${never})`)
          const store = Context.get(yield* Layer.build(layer({ table })), SessionStore)
          expect(yield* reasonOf(store.load("k"))).toBe("Corrupt")
        }).pipe(Effect.scoped, Effect.provide(layerClient)))

      it.effect("the scan passes over rows that are no records", () =>
        Effect.gen(function*() {
          const table = yield* scopedTable
          yield* query(`CREATE TABLE ${table} (key text UNIQUE, data bytea, version text, expires_at bigint)`)
          yield* query(`INSERT INTO ${table} SELECT NULL, '', 'v', ${never} FROM generate_series(1, 250)`)
          yield* query(`INSERT INTO ${table} SELECT 'n' || i, NULL, 'v', ${never} FROM generate_series(1, 250) i`)
          yield* query(`INSERT INTO ${table} VALUES ('k', '', 'v', ${never})`)
          const { entries } = Context.get(yield* Layer.build(layer({ table })), SessionScan)
          const listed = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(entries, 1000)))
          expect(listed.map(({ key }) => key)).toEqual(["k"])
        }).pipe(Effect.scoped, Effect.provide(layerClient)))

      for (const isolation of ["read committed", "repeatable read", "serializable"]) {
        it.effect(`of twenty that replace at once, one wins and nobody fails (${isolation})`, () =>
          Effect.gen(function*() {
            const store = yield* SessionStore
            expect(yield* query("SHOW default_transaction_isolation"))
              .toEqual([{ default_transaction_isolation: isolation }])
            let expected = Option.getOrThrow(yield* store.insert("k", bytes, never))
            for (let round = 0; round < 5; round++) {
              const answers = yield* Effect.forEach(
                Array.from({ length: 20 }),
                () => store.replace("k", expected, bytes, never),
                { concurrency: "unbounded" }
              )
              const winners = answers.filter(Option.isSome)
              expect(winners.length).toBe(1)
              expected = winners[0]!.value
            }
          }).pipe(Effect.provide(
            layerTest().pipe(Layer.provideMerge(isolated(isolation)))
          )))
      }
    })

    describe("the user's transaction", () => {
      it.effect("F-S6: rolls back without the session's write, which took another connection", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const table = yield* Table
          const traffic = yield* Traffic
          const sql = yield* SqlClient.SqlClient
          traffic.connections = 0
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* sql`INSERT INTO ${sql(table)} VALUES ('theirs', '', 'v', ${never})`
            expect(yield* store.load("theirs")).toEqual(Option.none())
            yield* store.insert("ours", bytes, never)
            expect(traffic.connections).toBe(3)
            return yield* Effect.fail("roll back")
          })).pipe(Effect.flip)
          expect(Option.isSome(yield* store.load("ours"))).toBe(true)
          expect(yield* store.load("theirs")).toEqual(Option.none())
        }).pipe(Effect.provide(layerTest().pipe(Layer.provideMerge(layerTraffic), Layer.provide(layerClient)))))

      it.effect("is not joined either when the Layer was built inside of one", () =>
        Effect.gen(function*() {
          const table = yield* scopedTable
          const sql = yield* SqlClient.SqlClient
          const scope = yield* Effect.scope
          const built = yield* Deferred.make<SessionStore["Type"]>()
          yield* sql.withTransaction(Effect.gen(function*() {
            const context = yield* Layer.buildWithScope(layer({ table }), scope)
            yield* Deferred.succeed(built, Context.get(context, SessionStore))
            return yield* Effect.fail("roll back")
          })).pipe(Effect.flip)
          const store = yield* Deferred.await(built)
          yield* store.insert("k", bytes, never)
          expect(Option.isSome(yield* store.load("k"))).toBe(true)
        }).pipe(Effect.scoped, Effect.provide(layerClient)))
    })

    describe("errors", () => {
      it.live("a statement that waits too long for a lock is a Timeout, and is cancelled on the server", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const release = yield* Deferred.make<void>()
          yield* store.insert("k", bytes, never)
          const fiber = yield* lockRow(yield* Table, "k", release)
          expect(yield* reasonOf(store.remove("k"))).toBe("Timeout")
          yield* query("SELECT 1 FROM pg_stat_activity WHERE query LIKE $1 AND state = 'active'", [
            `DELETE FROM "${yield* Table}"%`
          ]).pipe(Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced(20) }))
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(fiber)
          expect(Option.isSome(yield* store.load("k"))).toBe(true)
        }).pipe(Effect.provide(layerTest({ timeout: 200 }).pipe(Layer.provideMerge(layerClient)))))

      for (const parameter of ["statement_timeout", "lock_timeout"]) {
        it.live(`${parameter} of the server is a Timeout too`, () =>
          Effect.gen(function*() {
            const store = yield* SessionStore
            const release = yield* Deferred.make<void>()
            yield* store.insert("k", bytes, never)
            const fiber = yield* lockRow(yield* Table, "k", release)
            const error = yield* Effect.flip(store.remove("k"))
            expect(error.reason).toBe("Timeout")
            expect(error.cause).toMatchObject({ code: parameter === "lock_timeout" ? "55P03" : "57014" })
            yield* Deferred.succeed(release, undefined)
            yield* Fiber.join(fiber)
          }).pipe(Effect.provide(
            layerTest({ timeout: "1 minute" }).pipe(
              Layer.provideMerge(client(withParameter(postgresUrl!, parameter, "150")))
            )
          )))
      }

      it.live("a pool that is exhausted is Throttled, as far as it says so", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient.SqlClient
          const error = yield* Effect.flip(sql.withTransaction(Effect.andThen(lease, store.load("k")))).pipe(
            Effect.scoped
          )
          expect(error).toMatchObject({ reason: "Throttled" })
        }).pipe(Effect.provide(
          layerTest().pipe(
            Layer.provideMerge(client(postgresUrl!, { maxConnections: 1, connectTimeout: 150 }))
          )
        )))

      it.live("F-S2: a terminated backend is Unavailable, and the next operation is served", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const table = yield* Table
          const release = yield* Deferred.make<void>()
          yield* store.insert("k", bytes, never)
          const fiber = yield* lockRow(table, "k", release)
          const removal = yield* Effect.fork(reasonOf(store.remove("k")))
          yield* query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE $1 AND wait_event_type = 'Lock'",
            [`DELETE FROM "${table}"%`]
          ).pipe(Effect.repeat({ until: (rows) => rows.length === 1 }))
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
          yield* query("SELECT 1 FROM pg_stat_activity WHERE query LIKE $1 AND wait_event_type = 'Lock'", [
            `DELETE FROM "${table}"%`
          ]).pipe(Effect.repeat({ until: (rows) => rows.length === 1 }))
          yield* Fiber.interrupt(removal)
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(fiber)
          yield* Effect.repeat(store.load("k"), { until: Option.isNone })
        }).pipe(Effect.provide(layerTest({ timeout: "1 minute" }).pipe(Layer.provideMerge(layerClient)))))

      it.effect("F-S4: a table that was dropped is Rejected, and the cause is not enumerable", () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          yield* query(`DROP TABLE ${yield* Table}`)
          const error = yield* Effect.flip(store.load("k"))
          expect(error).toBeInstanceOf(SessionStoreError)
          expect(error.reason).toBe("Rejected")
          expect(error.cause).toMatchObject({ code: "42P01" })
          expect(JSON.stringify(error)).not.toContain("42P01")
        }).pipe(Effect.provide(layerStore)))

      it.effect("F-S3: a read-only server is Rejected for writes", () =>
        Effect.gen(function*() {
          const table = yield* Table
          yield* Layer.build(layer({ table })).pipe(Effect.provide(layerClient))
          const store = Context.get(yield* Layer.build(layer({ table })), SessionStore)
          expect(yield* reasonOf(store.insert("k", bytes, never))).toBe("Rejected")
          expect(yield* store.load("k")).toEqual(Option.none())
          yield* dropTable(table).pipe(Effect.provide(layerClient))
        }).pipe(
          Effect.scoped,
          Effect.provideService(Table, freshTable()),
          Effect.provide(client(withParameter(postgresUrl!, "options", "-c default_transaction_read_only=on")))
        ))
    })
  })

  describe("the sweep", () => {
    const fill = (count: number, expiresAt: number, prefix: string) =>
      Effect.flatMap(
        Table,
        (table) =>
          query(
            `INSERT INTO ${table} SELECT '${prefix}' || i, '', 'v', ${expiresAt} FROM generate_series(1, ${count}) i`
          )
      )

    it.effect("goes in batches of a thousand, leaves the living, and counts", () =>
      Effect.gen(function*() {
        const { sweep } = yield* SessionSweeper
        const { statements } = yield* Traffic
        yield* fill(2500, 0, "dead")
        yield* fill(10, 1, "alive")
        statements.length = 0
        expect(yield* sweep).toBe(2500)
        expect(statements.length).toBe(3)
        expect((yield* query(`SELECT 1 FROM ${yield* Table}`)).length).toBe(10)
        expect(yield* sweep).toBe(0)
      }).pipe(Effect.provide(layerTest().pipe(Layer.provideMerge(layerTraffic), Layer.provide(layerClient)))))

    it.effect("of several processes at once removes each record once", () =>
      Effect.gen(function*() {
        const { sweep } = yield* SessionSweeper
        yield* fill(4000, 0, "dead")
        const counts = yield* Effect.all([sweep, sweep, sweep], { concurrency: "unbounded" })
        expect(counts.reduce((a, b) => a + b)).toBe(4000)
      }).pipe(Effect.provide(layerStore)))

    it.effect("F-S7: steps over a record that is being written", () =>
      Effect.gen(function*() {
        const { sweep } = yield* SessionSweeper
        const release = yield* Deferred.make<void>()
        yield* fill(3, 0, "dead")
        const fiber = yield* lockRow(yield* Table, "dead2", release)
        expect(yield* sweep).toBe(2)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(fiber)
        expect(yield* sweep).toBe(1)
      }).pipe(Effect.provide(layerStore)))

    it.effect("finds the expired by the index", () =>
      Effect.gen(function*() {
        const { sweep } = yield* SessionSweeper
        const { statements } = yield* Traffic
        const table = yield* Table
        yield* fill(20_000, 1000, "alive")
        yield* fill(20, 0, "dead")
        yield* query(`ANALYZE ${table}`)
        statements.length = 0
        yield* sweep
        const [text, params] = statements[0]!
        const plan = yield* query(`EXPLAIN ${text}`, params)
        expect(JSON.stringify(plan)).toContain(`${table}_expires_at_idx`)
        expect(JSON.stringify(plan)).not.toContain("Seq Scan")
      }).pipe(Effect.provide(layerTest().pipe(Layer.provideMerge(layerTraffic), Layer.provide(layerClient)))))

    it.effect("runs in the background", () =>
      Effect.gen(function*() {
        yield* fill(3, 0, "dead")
        yield* TestClock.adjust("6 minutes")
        yield* Effect.flatMap(Table, (table) => query(`SELECT 1 FROM ${table}`)).pipe(
          Effect.repeat({ until: (rows) => rows.length === 0 })
        )
      }).pipe(Effect.provide(layerTest({ sweepInterval: "5 minutes" }).pipe(Layer.provideMerge(layerClient)))))
  })

  describe("a pool", () => {
    const layerTest = layerTestOver(runners.pool)
    const layerStore = layerTest().pipe(Layer.provideMerge(layerClient))

    it.effect("eight layers built at once create the table once, with its index and without a log", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        yield* Effect.forEach(Array.from({ length: 8 }), () => Layer.build(Layer.fresh(runners.pool({ table }))), {
          concurrency: "unbounded"
        })
        expect((yield* query("SELECT 1 FROM pg_indexes WHERE tablename = $1", [table])).length).toBe(2)
        expect(yield* query("SELECT 1 FROM pg_tables WHERE starts_with(tablename, $1)", [`${table}_`])).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(layerClient)))

    it.effect("keeps its statements prepared", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const version = Option.getOrThrow(yield* store.insert("k", bytes, never))
        yield* store.load("k")
        yield* store.replace("k", version, bytes, never)
        expect(yield* preparedStatements).toBe(4) // one of them read the columns of the table
      }).pipe(Effect.provide(layerTest().pipe(Layer.provideMerge(client(postgresUrl!, { maxConnections: 1 }))))))

    it.effect("prepares nothing with `prepare: false`", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        const pool = yield* Pool
        const context = yield* Layer.build(Sql.layerPool({ table, pool, prepare: false }))
        const store = Context.get(context, SessionStore)
        yield* store.insert("k", bytes, never)
        expect(Option.isSome(yield* store.load("k"))).toBe(true)
        expect(yield* preparedStatements).toBe(0)
      }).pipe(Effect.scoped, Effect.provide(client(postgresUrl!, { maxConnections: 1 }))))

    const losses = {
      "the statements were discarded": () => "DISCARD ALL",
      "a column changed its type": (table: string) => `ALTER TABLE ${table} ALTER COLUMN version TYPE varchar(60)`
    }
    for (const [name, statement] of Object.entries(losses)) {
      it.effect(`an operation succeeds after ${name}`, () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const version = Option.getOrThrow(yield* store.insert("k", bytes, never))
          yield* store.load("k")
          yield* onPool(statement(yield* Table))
          expect(Option.getOrThrow(yield* store.load("k")).version).toBe(version)
          expect(Option.isSome(yield* store.replace("k", version, bytes, never))).toBe(true)
          // On a new connection, because the driver would use the lost name again.
          expect(yield* preparedStatements).toBeGreaterThan(0)
        }).pipe(Effect.provide(layerTest().pipe(Layer.provideMerge(client(postgresUrl!, { maxConnections: 1 }))))))
    }

    it.effect("a failed statement gives its connection back", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        yield* query(`DROP TABLE ${yield* Table}`)
        const pool = (yield* Pool) as Sql.PgPool & { readonly totalCount: number; readonly idleCount: number }
        for (let i = 0; i < 20; i++) expect(yield* reasonOf(store.load("k"))).toBe("Rejected")
        expect([pool.totalCount, pool.idleCount]).toEqual([1, 1])
      }).pipe(Effect.provide(layerStore)))

    it.effect("an idle connection that is lost does not end the process", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const pool = (yield* Pool) as Sql.PgPool & { readonly totalCount: number }
        const [row] = yield* onPool("SELECT pg_backend_pid() AS pid")
        yield* query("SELECT pg_terminate_backend($1)", [row!.pid])
        yield* Effect.repeat(Effect.yieldNow(), { until: () => pool.totalCount === 0 })
        expect(yield* store.load("k")).toEqual(Option.none())
      }).pipe(Effect.provide(layerTest().pipe(Layer.provideMerge(client(postgresUrl!, { maxConnections: 1 }))))))

    it.effect("an idle connection that is lost after the store has closed does not end the process", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        yield* Effect.scoped(Layer.build(Layer.fresh(runners.pool({ table }))))
        const pool = (yield* Pool) as Sql.PgPool & {
          readonly totalCount: number
          readonly listenerCount: (event: "error") => number
        }
        expect(pool.listenerCount("error")).toBe(1)
        const [row] = yield* onPool("SELECT pg_backend_pid() AS pid")
        yield* query("SELECT pg_terminate_backend($1)", [row!.pid])
        yield* Effect.repeat(Effect.yieldNow(), { until: () => pool.totalCount === 0 })
      }).pipe(Effect.scoped, Effect.provide(client(postgresUrl!, { maxConnections: 1 }))))

    it.effect("stays open when the store closes", () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        yield* Effect.scoped(Layer.build(Layer.fresh(runners.pool({ table }))))
        expect(yield* onPool("SELECT 1 AS one")).toEqual([{ one: 1 }])
      }).pipe(Effect.scoped, Effect.provide(layerClient)))
  })

  // Last: the `layer` of @effect/vitest takes `it.effect` over, for the rest of the file.
  const lawful = { "read committed": runners.pool, serializable: runners.SqlClient }
  for (const [isolation, layer] of Object.entries(lawful)) {
    describe(isolation, () => {
      const table = freshTable()
      // What is swept and listed is the same under both.
      const all = isolation === "read committed"
      storeLaws(layer({ table }).pipe(Layer.provide(isolated(isolation))), {
        sweeps: all,
        scans: all,
        multiProcess: true
      })
      afterAll(() => Effect.runPromise(dropTable(table).pipe(Effect.asVoid, Effect.provide(layerClient))))
    })
  }
})

describe.skipIf(!canStart("postgres")).each(Object.entries(runners))(
  "Sql on a PostgreSQL that fails, over %s",
  (runner, layer) => {
    const layerTest = layerTestOver(layer)
    let server: Server
    beforeAll(async () => {
      server = await startPostgres()
    })
    afterAll(() => server?.stop())

    /** Repeats a load until it succeeds; the test's own time limits it. */
    const recovered = (store: SessionStore["Type"]) => Effect.retry(store.load("k"), Schedule.spaced(50))

    it.live("frozen: Timeout for all, what waited for the pool is never sent, and it recovers", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        yield* store.insert("k", bytes, never)
        yield* Effect.promise(() => server.kill("SIGSTOP"))
        const reasons = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => `frozen${i}`),
          (key) => reasonOf(store.insert(key, bytes, never)),
          { concurrency: "unbounded" }
        ).pipe(Effect.ensuring(Effect.promise(() => server.kill("SIGCONT"))))
        expect(new Set(reasons)).toEqual(new Set(["Timeout"]))
        expect(Option.isSome(yield* recovered(store))).toBe(true)
        const written = yield* query(`SELECT 1 FROM ${yield* Table} WHERE key LIKE 'frozen%'`)
        expect(written.length).toBeLessThanOrEqual(2)
      }).pipe(
        Effect.provide(
          Layer.suspend(() =>
            layerTest({ timeout: 300 }).pipe(Layer.provideMerge(client(server.url, { maxConnections: 2 })))
          )
        )
      ))

    it.live("silent connections: none stays in the pool, whatever becomes of the cancel", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient.SqlClient
        const proxy = yield* Proxy
        const connection = runner === "pool" ? lease : sql.reserve
        const everyConnection = Effect.scoped(Effect.all([connection, connection, connection]))
        for (let outage = 0; outage < 2; outage++) {
          yield* everyConnection
          proxy.hang()
          expect(yield* reasonOf(store.load("k"))).toBe("Timeout")
          yield* Effect.promise(() => proxy.normal())
          // The other two are idle until they are used. A load waits for the pool while a cancel takes its second.
          expect(yield* reasonOf(store.load("k"))).toBe("Timeout")
          expect(yield* reasonOf(store.load("k"))).toBe("Timeout")
          yield* Effect.sleep(1500)
          expect(yield* store.load("k")).toEqual(Option.none())
        }
        const loads = yield* Effect.all([store.load("a"), store.load("b"), store.load("c")], {
          concurrency: "unbounded"
        })
        expect(loads.every(Option.isNone)).toBe(true)
      }).pipe(Effect.provide(Layer.unwrapScoped(Effect.gen(function*() {
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => startProxy(server.port)),
          (proxy) => Effect.promise(() => proxy.close())
        )
        const url = server.url.replace(`:${server.port}`, `:${proxy.port}`)
        return layerTest({ timeout: 200 }).pipe(
          Layer.provideMerge(Layer.merge(
            client(url, { maxConnections: 3 }),
            runner === "pool" ? PgClient.layer({ url: Redacted.make(server.url) }) : Layer.empty
          )),
          Layer.merge(Layer.succeed(Proxy, proxy))
        )
      })))))

    it.live("killed: Unavailable, and it recovers on the same port", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const version = Option.getOrThrow(yield* store.insert("k", bytes, never))
        yield* Effect.promise(() => server.kill("SIGKILL"))
        expect(yield* reasonOf(store.load("k"))).toBe("Unavailable")
        expect(yield* reasonOf(store.replace("k", version, bytes, never))).toBe("Unavailable")
        yield* Effect.promise(() => server.restart())
        expect(Option.isSome(yield* recovered(store))).toBe(true)
        expect(Option.isSome(yield* store.replace("k", version, bytes, never))).toBe(true)
      }).pipe(Effect.provide(Layer.suspend(() => layerTest().pipe(Layer.provideMerge(client(server.url)))))))

    it.live("a role that may not create tables uses one that is there, and is told when it is not", () =>
      Effect.gen(function*() {
        const table = yield* Table
        yield* query(`CREATE ROLE limited LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO limited`)
        yield* Effect.gen(function*() {
          const store = Context.get(yield* Layer.build(layer({ table })), SessionStore)
          expect(Option.isSome(yield* store.insert("k", bytes, never))).toBe(true)
          expect((yield* buildError({ table: "elsewhere" })).message).toContain("could not be created")
        }).pipe(Effect.scoped, Effect.provide(client(server.url.replace("postgres@", "limited@"))))
      }).pipe(Effect.provide(Layer.suspend(() => layerTest().pipe(Layer.provideMerge(client(server.url)))))))

    it.live("F-G5: too many connections are Throttled", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        yield* query("ALTER ROLE crowded CONNECTION LIMIT 1").pipe(Effect.provide(client(server.url)))
        const results = yield* Effect.forEach(
          [1, 2, 3, 4],
          (i) => Effect.either(store.load(`k${i}`)),
          { concurrency: "unbounded" }
        )
        const reasons = results.filter(Either.isLeft).map(({ left }) => left.reason)
        expect(new Set(reasons)).toEqual(new Set(["Throttled"]))
      }).pipe(Effect.provide(Layer.unwrapEffect(Effect.gen(function*() {
        yield* query("CREATE ROLE crowded LOGIN; GRANT CREATE ON SCHEMA public TO crowded").pipe(
          Effect.provide(client(server.url))
        )
        return layerTest().pipe(Layer.provideMerge(client(server.url.replace("postgres@", "crowded@"))))
      })))))
  }
)

describe.skipIf(!canStart("postgres")).each(Object.entries(runners))(
  "Sql cancels a statement on PostgreSQL, over %s",
  (_, layer) => {
    let server: Server
    beforeAll(async () => {
      server = await startPostgres()
    })
    afterAll(() => server?.stop())

    /** Several writes time out while the row is locked; then none of them waits on the server, and none is applied. */
    const writesAreCancelled = (storeClient: Layer.Layer<SqlClient.SqlClient | Pool, unknown>) =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const table = yield* Table
        const version = Option.getOrThrow(yield* store.insert("k", bytes, never))
        const release = yield* Deferred.make<void>()
        const fiber = yield* lockRow(table, "k", release)
        const reasons = yield* Effect.forEach(
          [1, 2, 3, 4, 5],
          () => reasonOf(store.replace("k", version, new Uint8Array(1), never)),
          { concurrency: "unbounded" }
        )
        expect(new Set(reasons)).toEqual(new Set(["Timeout"]))
        yield* query("SELECT 1 FROM pg_stat_activity WHERE query LIKE $1 AND state = 'active'", [`UPDATE "${table}"%`])
          .pipe(Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced(20) }))
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(fiber)
        expect(Option.map(yield* store.load("k"), (stored) => stored.version)).toEqual(Option.some(version))
      }).pipe(
        Effect.provide(Layer.unwrapScoped(Effect.map(scopedTable, (table) =>
          Layer.merge(
            layer({ table, timeout: 300 }).pipe(Layer.provide(storeClient)),
            Layer.succeed(Table, table)
          )))),
        Effect.provide(Layer.fresh(client(server.url)))
      )

    it.live("through a unix socket", () =>
      Effect.suspend(() =>
        writesAreCancelled(Layer.merge(
          PgClient.layer({
            host: socketFolder(server),
            port: server.port,
            username: "postgres",
            database: "postgres",
            maxConnections: 5
          }),
          layerPg({ host: socketFolder(server), port: server.port, user: "postgres", database: "postgres", max: 5 })
        ))
      ))

    it.live("through TLS, and sends no key in the clear", () =>
      Effect.gen(function*() {
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => startProxy(server.port)),
          (proxy) => Effect.promise(() => proxy.close())
        )
        yield* enableTls(server)
        yield* writesAreCancelled(client(server.url.replace(`:${server.port}`, `:${proxy.port}`), {
          ssl: { rejectUnauthorized: false },
          maxConnections: 5
        }))
        expect(proxy.requests.filter((request) => request.readUInt32BE(0) === 16)).toEqual([])
      }).pipe(Effect.scoped))

    it.live.skipIf(!canStart("pgbouncer"))(
      "through a connection pooler, which made the process id up",
      () =>
        Effect.gen(function*() {
          const pooler = yield* Effect.acquireRelease(
            Effect.promise(() => startPgBouncer({ upstream: server.port })),
            (pooler) => Effect.promise(() => pooler.stop())
          )
          yield* writesAreCancelled(client(pooler.url, { maxConnections: 20 }))
        }).pipe(Effect.scoped)
    )

    it.live("sends the key of its own connection, and no process id by SQL", () =>
      Effect.gen(function*() {
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => startProxy(server.port)),
          (proxy) => Effect.promise(() => proxy.close())
        )
        yield* writesAreCancelled(
          client(server.url.replace(`:${server.port}`, `:${proxy.port}`), { maxConnections: 5 })
        )
        const cancels = proxy.requests.filter((request) =>
          request.length === 16 && request.readUInt32BE(4) === 80877102
        )
        expect(cancels.length).toBeGreaterThan(0)
        expect(proxy.requests.some((request) => request.includes("pg_cancel_backend"))).toBe(false)
      }).pipe(Effect.scoped))
  }
)

/** Where the server listens on a unix socket: beside its data. */
const socketFolder = (server: Server) =>
  readFileSync(`/proc/${server.pid}/cmdline`, "utf8").split("\0").find((_, i, args) => args[i - 1] === "-k")!

/** The certificate is made by openssl, and belongs to the server's user. */
const enableTls = (server: Server) =>
  Effect.gen(function*() {
    const folder = socketFolder(server)
    const [key, certificate] = [`${folder}/server.key`, `${folder}/server.crt`]
    const flags = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    execFileSync("openssl", [...flags, "-keyout", key, "-out", certificate], { stdio: "ignore" })
    const { gid, uid } = statSync(folder)
    for (const file of [key, certificate]) chownSync(file, uid, gid)
    for (const setting of [`ssl_key_file = '${key}'`, `ssl_cert_file = '${certificate}'`, "ssl = on"]) {
      yield* query(`ALTER SYSTEM SET ${setting}`)
    }
    yield* query("SELECT pg_reload_conf()")
    yield* query("SHOW ssl").pipe(
      Effect.repeat({ until: ([row]) => row?.ssl === "on", schedule: Schedule.spaced(20) })
    )
  }).pipe(Effect.provide(Layer.fresh(client(server.url))))

const withParameter = (url: string, name: string, value: string) => {
  const changed = new URL(url)
  changed.searchParams.set(name, value)
  return changed.href.replace(/\+/g, "%20")
}

describe.skipIf(!canStart("postgres") || !canStart("pgbouncer"))("A pool through PgBouncer in transaction mode", () => {
  let server: Server
  let pooler: Server
  beforeAll(async () => {
    server = await startPostgres()
    pooler = await startPgBouncer({ upstream: server.port })
  })
  afterAll(async () => {
    await pooler?.stop()
    await server?.stop()
  })

  for (const prepare of [true, false]) {
    it.live(`loses no statement, whichever backend runs it (prepare: ${prepare})`, () =>
      Effect.gen(function*() {
        const table = yield* scopedTable
        const pool = yield* Pool
        const store = Context.get(yield* Layer.build(Sql.layerPool({ table, pool, prepare })), SessionStore)
        const keys = Array.from({ length: 20 }, (_, i) => `k${i}`)
        yield* Effect.forEach(keys, (key) =>
          Effect.gen(function*() {
            let version = Option.getOrThrow(yield* store.insert(key, bytes, never))
            for (let i = 0; i < 10; i++) {
              expect(Option.getOrThrow(yield* store.load(key)).version).toBe(version)
              version = Option.getOrThrow(yield* store.replace(key, version, bytes, never))
            }
          }), { concurrency: "unbounded" })
      }).pipe(Effect.scoped, Effect.provide(Layer.suspend(() => client(pooler.url)))))
  }

  it.live("a URL with pgbouncer=true prepares nothing on the backends", () =>
    Effect.gen(function*() {
      const table = yield* scopedTable
      const url = `${pooler.url}?pgbouncer=true&table=${table}`
      const store = Context.get(yield* Layer.build(SessionStoreUrl.layer(url)), SessionStore)
      yield* Effect.forEach(Array.from({ length: 20 }, (_, i) => `k${i}`), (key) => store.insert(key, bytes, never), {
        concurrency: "unbounded"
      })
      // The same statement on each backend, while the others are busy.
      const counts = yield* Effect.forEach(
        Array.from({ length: 5 }),
        () =>
          query(
            "SELECT count(*)::int AS n, pg_sleep(0.2) FROM pg_prepared_statements WHERE strpos(statement, $1) > 0",
            [table]
          ),
        { concurrency: "unbounded" }
      )
      expect(counts.map(([row]) => row!.n)).toEqual([0, 0, 0, 0, 0])
    }).pipe(Effect.scoped, Effect.provide(Layer.suspend(() => client(pooler.url)))))
})
