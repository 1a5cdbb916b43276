/** Sweeps beside touches. */
import { PgClient } from "@effect/sql-pg"
import { describe, expect, it } from "@effect/vitest"
import { SessionStore, SessionSweeper } from "effect-session"
import * as FileSystem from "effect-session/layers/FileSystem"
import * as Memory from "effect-session/layers/Memory"
import * as Sql from "effect-session/layers/Sql"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { postgresUrl } from "../backends.js"

const data = Buffer.from("data")

/** Records that expire while they are touched one after the other, and two sweepers are at work. */
const sweepBesideTouches = (layer: Layer.Layer<SessionStore | SessionSweeper, unknown>) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Layer.orDie(layer))
    const store = Context.get(context, SessionStore)
    const { sweep } = Context.get(context, SessionSweeper)
    const real = yield* Effect.clock
    let now = 0
    const clock = { ...real, currentTimeMillis: Effect.sync(() => now), unsafeCurrentTimeMillis: () => now }

    yield* Effect.gen(function*() {
      const keys = Array.from({ length: 120 }, () => randomBytes(32).toString("hex"))
      const inserted = yield* Effect.forEach(keys, (key) => store.insert(key, data, 1000), { concurrency: 16 })
      now = 999
      let touched = 0
      const touch = (key: string, index: number) =>
        Effect.suspend(() => {
          if (++touched === keys.length / 2) now = 1000
          const current = { data, version: Option.getOrThrow(inserted[index]!), expiresAt: 1000 }
          return Effect.zipLeft(store.touch(key, current, 2000), Effect.promise(() => new Promise(setImmediate)))
        })
      const sweeping = Effect.iterate(0, {
        while: () => touched < keys.length,
        body: (sum) =>
          Effect.map(Effect.zipLeft(sweep, Effect.promise(() => new Promise(setImmediate))), (count) => sum + count)
      })
      const [revived] = yield* Effect.all([Effect.forEach(keys, touch, { concurrency: 4 }), sweeping, sweeping], {
        concurrency: "unbounded"
      })
      expect(revived).toContain(true)
      expect(revived).toContain(false)
      yield* sweep
      expect(yield* Effect.forEach(keys, (key) => Effect.map(store.load(key), Option.isSome))).toEqual(revived)
      now = 2000
      yield* sweep
      now = 0 // what is gone is gone, whatever the clock says then
      expect(yield* Effect.forEach(keys, (key) => Effect.map(store.load(key), Option.isSome))).not.toContain(true)
    }).pipe(Effect.withClock(clock))
  })

it.scopedLive("REG-B11: in memory, no record that a touch has revived is swept", () =>
  sweepBesideTouches(Memory.layer()))

it.scopedLive("REG-B11: of the file store, no record that a touch has revived is swept", () =>
  Effect.gen(function*() {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "sweep-"))),
      (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
    )
    yield* Effect.scoped(sweepBesideTouches(FileSystem.layer({ directory })))
  }))

describe.skipIf(postgresUrl === undefined)("PostgreSQL", () => {
  it.scopedLive("REG-B11: no record that a touch has revived is swept", () =>
    Effect.gen(function*() {
      const client = PgClient.layer({ url: Redacted.make(postgresUrl!) })
      const table = `sweep_${randomBytes(6).toString("hex")}`
      const sql = Context.get(yield* Layer.build(Layer.orDie(client)), PgClient.PgClient)
      yield* Effect.addFinalizer(() => Effect.orDie(sql.unsafe(`DROP TABLE IF EXISTS ${table}`)))
      yield* Effect.scoped(sweepBesideTouches(Layer.provide(Sql.layer({ table }), client)))
    }))
})
