import { LibsqlClient } from "@effect/sql-libsql"
import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Sql from "../../src/layers/Sql.js"
import type { SessionStoreError } from "../../src/SessionStore.js"
import { SessionScan, SessionStore, SessionSweeper } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"

const bytes = new Uint8Array([0, 1, 128, 255])
const never = 2 ** 52

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-sqlite-"))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

let files = 0
const newFile = () => `file:${path.join(folder, `${++files}.db`)}`

/** A client of its own each time it is built, as of another process. */
const client = (url: string) => LibsqlClient.layer({ url })

const query = (text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe<Record<string, unknown>>(text, params))

const layerTest = (options: Sql.Options = {}) =>
  Layer.suspend(() => Sql.layer(options).pipe(Layer.provideMerge(client(newFile()))))

const reasonOf = <A>(effect: Effect.Effect<A, SessionStoreError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const buildError = (options: Sql.Options) => Effect.flip(Effect.scoped(Layer.build(Sql.layer(options))))

const fill = (count: number, expiresAt: number, prefix: string) =>
  query(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
    INSERT INTO sessions SELECT '${prefix}' || i, x'00', 'v', ${expiresAt} FROM n`
  )

describe("Sql on SQLite", () => {
  describe("the table", () => {
    it.effect("eight clients at once create it once", () =>
      Effect.gen(function*() {
        const url = newFile()
        yield* Effect.forEach(
          Array.from({ length: 8 }),
          () => Layer.build(Layer.fresh(Layer.provide(Sql.layer(), client(url)))),
          { concurrency: "unbounded" }
        )
        expect(
          yield* Effect.provide(query("SELECT name FROM sqlite_master WHERE type = 'index' AND sql > ''"), client(url))
        )
          .toEqual([{ name: "sessions_expires_at_idx" }])
      }).pipe(Effect.scoped))

    it.effect("the printed definition executes, after which no creation is needed", () =>
      Effect.gen(function*() {
        const missing = yield* buildError({ createTable: false })
        const printed = yield* Sql.ddl("sqlite")
        expect(missing.message).toContain(printed)
        for (const statement of printed.split(";\n").slice(0, -1)) yield* query(statement)
        yield* Layer.build(Sql.layer({ createTable: false }))
      }).pipe(Effect.scoped, Effect.provide(Layer.suspend(() => client(newFile())))))

    it.effect("the log is written back by 100 pages, or as somebody has chosen", () =>
      Effect.gen(function*() {
        yield* Layer.build(Sql.layer())
        expect(yield* query("PRAGMA wal_autocheckpoint")).toEqual([{ wal_autocheckpoint: 100 }])
        yield* query("PRAGMA wal_autocheckpoint = 500")
        yield* Layer.build(Layer.fresh(Sql.layer()))
        expect(yield* query("PRAGMA wal_autocheckpoint")).toEqual([{ wal_autocheckpoint: 500 }])
      }).pipe(Effect.scoped, Effect.provide(Layer.suspend(() => client(newFile())))))

    const columns = { "\"key\"": "TEXT PRIMARY KEY", data: "BLOB", version: "TEXT", expires_at: "INTEGER" }
    const wrong: Readonly<Record<string, readonly [change: Partial<typeof columns>, says: string]>> = {
      "without a primary key": [{ "\"key\"": "TEXT" }, "\"key\" has to be the primary key, or unique"],
      "with a wider unique key": [
        { "\"key\"": "TEXT", expires_at: "INTEGER, UNIQUE (\"key\", version)" },
        "\"key\" has to be the primary key, or unique"
      ],
      "with keys that are numbers": [{ "\"key\"": "NUMERIC PRIMARY KEY" }, "of another type: key."],
      "with deadlines that are text": [{ expires_at: "TEXT", version: "INT" }, "of another type: version, expires_at."]
    }
    for (const [name, [change, says]] of Object.entries(wrong)) {
      it.effect(`a table ${name} is refused`, () =>
        Effect.gen(function*() {
          const definition = Object.entries({ ...columns, ...change }).map((column) => column.join(" ")).join(", ")
          yield* query(`CREATE TABLE sessions (${definition})`)
          const error = yield* buildError({})
          expect(error).toMatchObject({ _tag: "SessionConfigError", option: "table" })
          expect(error.message).toContain(says)
        }).pipe(Effect.provide(Layer.suspend(() => client(newFile())))))
    }

    it.effect("a table in an attached file is looked at there", () =>
      Effect.gen(function*() {
        yield* query(`ATTACH '${newFile().replace("file:", "")}' AS other`)
        const store = Context.get(yield* Layer.build(Sql.layer({ schema: "other" })), SessionStore)
        expect(Option.isSome(yield* store.insert("k", bytes, never))).toBe(true)
        expect((yield* query("SELECT 1 FROM other.sessions")).length).toBe(1)
      }).pipe(Effect.scoped, Effect.provide(Layer.suspend(() => client(newFile())))))

    it.effect("a foreign table is explained", () =>
      Effect.gen(function*() {
        yield* query("CREATE TABLE sessions (id TEXT)")
        expect((yield* buildError({})).message).toContain("cannot be read (Rejected)")
      }).pipe(Effect.provide(Layer.suspend(() => client(newFile())))))
  })

  describe("operations", () => {
    it.effect("an expired row is invisible to all five, and inserted over; the same deadline is a touch", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const version = Option.getOrThrow(yield* store.insert("k", bytes, 1000))
        const stored = Option.getOrThrow(yield* store.load("k"))
        expect(yield* store.touch("k", stored, 1000)).toBe(true)
        yield* TestClock.adjust(1000)
        expect(yield* store.load("k")).toEqual(Option.none())
        expect(yield* store.replace("k", version, bytes, 9000)).toEqual(Option.none())
        expect(yield* store.touch("k", stored, 9000)).toBe(false)
        expect(yield* store.remove("k")).toBe(false)
        expect((yield* query("SELECT 1 FROM sessions")).length).toBe(1)
        expect(Option.isSome(yield* store.insert("k", bytes, 9000))).toBe(true)
        expect(yield* store.insert("k", bytes, 9000)).toEqual(Option.none())
      }).pipe(Effect.provide(layerTest())))

    it.effect("keys that differ in case, in trailing spaces or by an accent are different records", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const keys = ["key", "KEY", "key ", "kéy", "key' OR '1'='1", "0", "00"]
        for (const [i, key] of keys.entries()) yield* store.insert(key, new Uint8Array([i]), never)
        for (const [i, key] of keys.entries()) {
          expect(Option.getOrThrow(yield* store.load(key)).data).toEqual(new Uint8Array([i]))
        }
      }).pipe(Effect.provide(layerTest())))

    for (const intMode of ["bigint", "string"] as const) {
      it.effect(`integers as ${intMode} are understood`, () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          yield* store.insert("k", bytes, never)
          expect(Option.getOrThrow(yield* store.load("k")).expiresAt).toBe(never)
        }).pipe(Effect.provide(Layer.suspend(() =>
          Sql.layer().pipe(Layer.provide(LibsqlClient.layer({ url: newFile(), intMode })))
        ))))
    }
  })

  describe("transactions of the handler", () => {
    it.live("the same client's: refused at once and with the reason, before and after it all is well", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient.SqlClient
        yield* store.insert("k", bytes, never)
        // With a minute to go, a wait for the own connection would be one for the test's end.
        const errors = yield* sql.withTransaction(Effect.all([
          Effect.flip(store.load("k")),
          Effect.flip(store.insert("other", bytes, never)),
          Effect.flip(store.remove("k"))
        ]))
        expect(errors.map(({ reason }) => reason)).toEqual(["Rejected", "Rejected", "Rejected"])
        expect(String(errors[0]!.cause)).toContain("cannot be used inside of a transaction")
        expect(yield* store.load("other")).toEqual(Option.none())
        expect(yield* store.remove("k")).toBe(true)
      }).pipe(Effect.provide(layerTest({ timeout: "1 minute" }))))

    it.live("another request's: waits for its end", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient.SqlClient
        const [begun, release] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const transaction = yield* Effect.fork(
          sql.withTransaction(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(release)))
        )
        yield* Deferred.await(begun)
        const insertion = yield* Effect.fork(store.insert("k", bytes, never))
        yield* Effect.yieldNow()
        yield* Deferred.succeed(release, undefined)
        expect(Option.isSome(yield* Fiber.join(insertion))).toBe(true)
        yield* Fiber.join(transaction)
      }).pipe(Effect.provide(layerTest())))

    it.live("another request's: a load does not wait for it, and reads what is committed", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient.SqlClient
        const version = Option.getOrThrow(yield* store.insert("k", bytes, never))
        yield* store.load("k")
        const [begun, release] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const transaction = yield* Effect.fork(sql.withTransaction(Effect.gen(function*() {
          yield* query("UPDATE sessions SET version = 'theirs'")
          yield* Deferred.succeed(begun, undefined)
          yield* Deferred.await(release)
        })))
        yield* Deferred.await(begun)
        expect(Option.getOrThrow(yield* store.load("k")).version).toBe(version)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(transaction)
        expect(Option.getOrThrow(yield* store.load("k")).version).toBe("theirs")
      }).pipe(Effect.provide(layerTest({ timeout: "1 minute" }))))

    it.live("another client's on another file: does not matter, and what was written stays", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* Effect.map(Layer.build(Layer.fresh(client(newFile()))), Context.get(SqlClient.SqlClient))
        yield* sql.withTransaction(Effect.zipRight(store.insert("k", bytes, never), Effect.fail("roll back"))).pipe(
          Effect.flip
        )
        expect(Option.isSome(yield* store.load("k"))).toBe(true)
      }).pipe(Effect.scoped, Effect.provide(layerTest())))
  })

  it.effect("the sweep goes in batches, leaves the living, and counts", () =>
    Effect.gen(function*() {
      const { sweep } = yield* SessionSweeper
      yield* fill(2500, 0, "dead")
      yield* fill(10, 1, "alive")
      const counts = yield* Effect.all([sweep, sweep], { concurrency: "unbounded" })
      expect(counts[0] + counts[1]).toBe(2500)
      expect((yield* query("SELECT 1 FROM sessions")).length).toBe(10)
    }).pipe(Effect.provide(layerTest())))

  it.effect("the scan lists the living in pages", () =>
    Effect.gen(function*() {
      const { entries } = yield* SessionScan
      yield* fill(250, never, "alive")
      yield* fill(50, 0, "dead")
      const listed = Chunk.toReadonlyArray(yield* Stream.runCollect(entries))
      expect(listed.length).toBe(250)
      expect(new Set(listed.map(({ key }) => key)).size).toBe(250)
      expect(listed[0]).toEqual({ key: "alive1", data: new Uint8Array([0]), expiresAt: never })
    }).pipe(Effect.provide(layerTest())))

  it.effect("the scan passes over rows that are none of ours, however many", () =>
    Effect.gen(function*() {
      const { entries } = yield* SessionScan
      yield* fill(10, never, "alive")
      yield* query(`UPDATE sessions SET data = 'text' WHERE key = 'alive3'`)
      yield* query(`UPDATE sessions SET expires_at = 'late' WHERE key = 'alive4'`)
      yield* query(
        `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 249)
        INSERT INTO sessions SELECT CAST(x'ff' || char(i + 256) AS BLOB), x'00', 'v', ${never} FROM n`
      )
      const listed = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(entries, 1000)))
      expect(listed.map(({ key }) => key)).toEqual(
        ["alive1", "alive10", "alive2", "alive5", "alive6", "alive7", "alive8", "alive9"]
      )
    }).pipe(Effect.provide(layerTest())))

  describe("errors", () => {
    it.effect("a connection waits for a file in use as long as `timeout` says", () =>
      Effect.gen(function*() {
        yield* Effect.flatMap(SessionStore, (store) => store.load("k"))
        expect(yield* query("PRAGMA busy_timeout")).toEqual([{ timeout: 300 }])
      }).pipe(Effect.provide(layerTest({ timeout: 300 }))))

    it.effect("so does the one that the client opens after a transaction", () =>
      Effect.gen(function*() {
        const url = newFile()
        const ours = yield* Layer.build(Layer.provideMerge(Sql.layer({ timeout: 300 }), client(url)))
        const store = Context.get(ours, SessionStore)
        const other = Context.get(yield* Layer.build(Layer.fresh(client(url))), SqlClient.SqlClient)
        yield* Context.get(ours, SqlClient.SqlClient).withTransaction(Effect.void)
        expect(yield* Effect.provide(query("PRAGMA busy_timeout"), ours)).toEqual([{ timeout: 0 }])
        // The clock of the test stands still while the process does.
        const started = performance.now()
        const error = yield* other.withTransaction(Effect.flip(store.insert("k", bytes, never)))
        expect(error).toMatchObject({ reason: "Throttled", cause: { code: "SQLITE_BUSY" } })
        expect(performance.now() - started).toBeGreaterThanOrEqual(300)
        expect(Option.isSome(yield* store.insert("k", bytes, never))).toBe(true)
      }).pipe(Effect.scoped))

    it.effect("but no longer than 5 seconds", () =>
      Effect.gen(function*() {
        yield* Effect.flatMap(SessionStore, (store) => store.load("k"))
        expect(yield* query("PRAGMA busy_timeout")).toEqual([{ timeout: 5000 }])
      }).pipe(Effect.provide(layerTest({ timeout: "1 minute" }))))

    it.live("a file that another process writes is waited for, then Throttled, and nothing was done", () =>
      Effect.gen(function*() {
        const url = newFile()
        const impatient = Layer.provideMerge(Layer.effectDiscard(query("PRAGMA busy_timeout = 100")), client(url))
        const store = Context.get(yield* Layer.build(Layer.provide(Sql.layer(), impatient)), SessionStore)
        const other = Context.get(yield* Layer.build(Layer.fresh(client(url))), SqlClient.SqlClient)
        const error = yield* other.withTransaction(Effect.flip(store.insert("k", bytes, never)))
        expect(error).toMatchObject({ reason: "Throttled", cause: { code: "SQLITE_BUSY" } })
        expect(yield* store.load("k")).toEqual(Option.none())
      }).pipe(Effect.scoped))

    describe("after a file that was in use, what is acknowledged is committed", () => {
      /** A store, and the same file as another process has it. */
      const setting = Effect.gen(function*() {
        const url = newFile()
        const ours = yield* Layer.build(Layer.provideMerge(Sql.layer({ timeout: 50 }), client(url)))
        const theirs = yield* Layer.build(Layer.fresh(Layer.provideMerge(Sql.layer(), client(url))))
        const store = Context.get(ours, SessionStore)
        yield* store.insert("mine", bytes, never)
        yield* store.insert("yours", bytes, never)
        const they = (text: string) => Effect.provide(query(text), theirs)
        const inUse = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.acquireUseRelease(they("BEGIN IMMEDIATE"), () => effect, () => Effect.orDie(they("ROLLBACK")))
        return { ours, theirs, store, inUse }
      })
      type Setting = Effect.Effect.Success<typeof setting>

      const meetings: Readonly<Record<string, (setting: Setting) => Effect.Effect<unknown, unknown>>> = {
        "a write": ({ store }) => Effect.flip(store.insert("new", bytes, never)),
        "a logout": ({ store }) => Effect.flip(store.remove("mine")),
        "several at once": ({ store }) =>
          Effect.forEach(["mine", "new", "other"], (key) => Effect.flip(store.remove(key)), {
            concurrency: "unbounded"
          }),
        "the sweep": ({ ours }) => Effect.flip(Context.get(ours, SessionSweeper).sweep),
        "a statement of the application": ({ ours }) =>
          Effect.flip(Effect.provide(query("DELETE FROM sessions WHERE version = 'x' RETURNING 1"), ours))
      }
      for (const [name, meet] of Object.entries(meetings)) {
        it.live(`by ${name}`, () =>
          Effect.gen(function*() {
            const { inUse, ours, store, theirs } = yield* setting
            const others = Context.get(theirs, SessionStore)
            for (const key of ["mine", "again"]) {
              yield* inUse(meet({ inUse, ours, store, theirs }))
              // What is acknowledged is seen by others,
              expect(yield* store.remove(key)).toBe(true)
              expect(yield* others.load(key)).toEqual(Option.none())
              expect(Option.isSome(yield* store.insert("again", bytes, never))).toBe(true)
              expect(Option.isSome(yield* others.load("again"))).toBe(true)
              // and what they do is seen here.
              expect(yield* others.remove("yours")).toBe(true)
              expect(yield* store.load("yours")).toEqual(Option.none())
              yield* store.insert("yours", bytes, never)
            }
          }).pipe(Effect.scoped))
      }

      it.live("also what the application writes next", () =>
        Effect.gen(function*() {
          const { inUse, ours, store, theirs } = yield* setting
          yield* inUse(Effect.flip(store.remove("mine")))
          yield* Effect.provide(query("DELETE FROM sessions WHERE key = 'mine'"), ours)
          expect(yield* Context.get(theirs, SessionStore).load("mine")).toEqual(Option.none())
        }).pipe(Effect.scoped))

      it.live("also of many at once, none of which waits for another", () =>
        Effect.gen(function*() {
          const { inUse, ours, store, theirs } = yield* setting
          yield* inUse(Effect.flip(Effect.provide(query("DELETE FROM sessions"), ours)))
          const keys = Array.from({ length: 20 }, (_, i) => `key${i}`)
          yield* Effect.forEach(
            keys,
            (key, i) => Effect.zipRight(Effect.repeatN(Effect.yieldNow(), i), store.insert(key, bytes, never)),
            { concurrency: "unbounded" }
          )
          yield* Effect.forEach(keys, (key) => Effect.flatten(Context.get(theirs, SessionStore).load(key)))
        }).pipe(Effect.scoped))

      it.live("or else it fails as Unavailable, and says what to do", () =>
        Effect.gen(function*() {
          const { inUse, ours, store, theirs } = yield* setting
          // What the type does not tell.
          const { sdk } = Context.get(ours, SqlClient.SqlClient) as unknown as {
            readonly sdk: { transaction: unknown }
          }
          yield* inUse(Effect.flip(store.remove("mine")))
          expect(yield* store.remove("mine")).toBe(true)
          yield* inUse(Effect.flip(Effect.provide(query("DELETE FROM sessions"), ours)))
          sdk.transaction = () => Promise.reject(new Error("no other connection"))
          for (let i = 0; i < 2; i++) {
            const error = yield* Effect.flip(store.remove("yours"))
            expect(error).toMatchObject({ reason: "Unavailable" })
            expect(String(error.cause)).toContain("build the client anew")
          }
          expect(Option.isSome(yield* Context.get(theirs, SessionStore).load("yours"))).toBe(true)
        }).pipe(Effect.scoped))
    })

    it.effect("a table that was dropped and a file that may not be written are Rejected", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        yield* query("PRAGMA query_only = 1")
        expect(yield* reasonOf(store.insert("k", bytes, never))).toBe("Rejected")
        yield* query("PRAGMA query_only = 0")
        yield* query("DROP TABLE sessions")
        expect(yield* reasonOf(store.load("k"))).toBe("Rejected")
      }).pipe(Effect.provide(layerTest())))
  })

  // Last: the `layer` of @effect/vitest takes `it.effect` over, for the rest of the file.
  const url = newFile()
  storeLaws(Sql.layer().pipe(Layer.provide(client(url))), { sweeps: true, scans: true, multiProcess: true })
})
