/**
 * `load` and `replace` at a million stored sessions beside a thousand, on the
 * persistent backends: five runs each, in turns. Takes some minutes.
 *
 *     node ../scripts/with-servers.mjs node million.mjs [backend ...]
 */
import { SessionStore } from "effect-session"
import * as FileSystem from "effect-session/layers/FileSystem"
import * as Redis from "effect-session/layers/Redis"
import * as Sql from "effect-session/layers/Sql"
import { LibsqlClient } from "@effect/sql-libsql"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql"
import { Context, Effect, Layer, ManagedRuntime, Option, Redacted } from "effect"
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fixed, median, setting, table } from "./lib/stats.mjs"

const sizes = { few: setting("BENCH_FEW", 1000), many: setting("BENCH_MANY", 1_000_000) }
const runs = setting("BENCH_ROUNDS", 5)
const operations = setting("BENCH_OPERATIONS", 4000)
const concurrency = 8

const { DATABASE_URL, MYSQL_URL, REDIS_URL } = process.env
const own = `bench_${process.pid}`
const folder = path.join(tmpdir(), own)

const key = (i) => createHash("sha256").update(String(i)).digest("hex")
const data = randomBytes(600)
const expiresAt = Date.now() + 24 * 3_600_000

/** By the store's own `insert`. */
const insertAll = (count) =>
  Effect.flatMap(SessionStore, (store) =>
    Effect.forEach(
      Array.from({ length: count }, (_, i) => i),
      (i) => store.insert(key(i), data, expiresAt),
      { concurrency: 256, discard: true }
    ))

/** In the server, where the numbers and the hash come from. */
const insertSelected = (columns, numbers) => (name, count) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql.unsafe(`INSERT INTO ${name} SELECT ${columns}, ${expiresAt} FROM ${numbers(count - 1)}`))

/** By statements of 500 rows. */
const insertRows = (name, count) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.forEach(
      Array.from({ length: Math.ceil(count / 500) }, (_, batch) => batch * 500),
      (first) =>
        sql`INSERT INTO ${sql(name)} ${
          sql.insert(Array.from({ length: Math.min(500, count - first) }, (_, i) => ({
            key: key(first + i),
            data,
            version: randomBytes(8).toString("hex"),
            expires_at: expiresAt
          })))
        }`,
      { discard: true }
    ))

const sqlBackend = (available, client, insert) => ({
  available,
  layer: (size) => {
    const name = `${own}_${size}`
    return Layer.provideMerge(Sql.layer({ table: name }), client(name))
  },
  fill: (size, count) => insert(`${own}_${size}`, count),
  clear: (size) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.forEach(["", "_migrations"], (end) => sql`DROP TABLE IF EXISTS ${sql(`${own}_${size}${end}`)}`))
})

const backends = {
  redis: {
    available: REDIS_URL !== undefined,
    layer: (size) => Redis.layer({ url: REDIS_URL, prefix: `${own}:${size}:` }),
    fill: (_, count) => insertAll(count),
    clear: () => Effect.void
  },
  postgres: sqlBackend(
    DATABASE_URL !== undefined,
    () => PgClient.layer({ url: Redacted.make(DATABASE_URL) }),
    insertSelected(
      "encode(sha256(convert_to(i::text, 'UTF8')), 'hex'), convert_to(repeat('data', 150), 'UTF8'), md5(i::text)",
      (last) => `generate_series(0, ${last}) AS n(i)`
    )
  ),
  mysql: sqlBackend(
    MYSQL_URL !== undefined,
    () => MysqlClient.layer({ url: Redacted.make(MYSQL_URL) }),
    // In the order of the keys: else InnoDB reads a page for each.
    insertSelected(
      "k, REPEAT('data', 150), MD5(k)",
      (last) => `(SELECT SHA2(seq, 256) AS k FROM seq_0_to_${last} ORDER BY k) AS n`
    )
  ),
  sqlite: sqlBackend(true, (name) => LibsqlClient.layer({ url: `file:${folder}-${name}.db` }), insertRows),
  file: {
    available: true,
    layer: (size) => FileSystem.layer({ directory: `${folder}-${size}` }),
    fill: (size, count) =>
      Effect.provide(insertAll(count), FileSystem.layer({ directory: `${folder}-${size}`, durable: false })),
    clear: () => Effect.void
  }
}

/** Milliseconds of each operation, on sessions at random, some at once as in a server. */
const measure = (store, count) =>
  Effect.gen(function*() {
    const [loads, replaces] = [[], []]
    const timed = (times, effect) =>
      Effect.suspend(() => {
        const start = performance.now()
        return Effect.tap(effect, Effect.sync(() => times.push(performance.now() - start)))
      })
    // Each fiber has keys of its own: nobody is to be too late.
    yield* Effect.forEach(Array.from({ length: concurrency }, (_, i) => i), (fiber) =>
      Effect.gen(function*() {
        for (let done = 0; done < operations / concurrency; done++) {
          const id = key(Math.floor(Math.random() * (count / concurrency)) * concurrency + fiber)
          const { version } = Option.getOrThrow(yield* timed(loads, store.load(id)))
          Option.getOrThrow(yield* timed(replaces, store.replace(id, version, data, expiresAt)))
        }
      }), { concurrency: "unbounded", discard: true })
    return { load: loads, replace: replaces }
  })

const percentile = (times, share) => [...times].sort((a, b) => a - b)[Math.floor(share * times.length)]

const compare = async (name) => {
  const { clear, fill, layer } = backends[name]
  const sides = {}
  for (const [size, count] of Object.entries(sizes)) {
    const runtime = ManagedRuntime.make(Layer.orDie(layer(size)))
    const start = performance.now()
    await runtime.runPromise(fill(size, count))
    console.error(`${name}: ${count} sessions in ${fixed((performance.now() - start) / 1000)} s`)
    sides[size] = { runtime, count, store: Context.get(await runtime.runPromise(Effect.context()), SessionStore) }
  }
  const results = { few: [], many: [] }
  for (let run = 0; run <= runs; run++) {
    for (const size of run % 2 === 0 ? ["few", "many"] : ["many", "few"]) {
      const { count, runtime, store } = sides[size]
      const times = await runtime.runPromise(measure(store, count))
      // The first run warms up.
      if (run > 0) results[size].push(times)
    }
  }
  for (const [size, { runtime }] of Object.entries(sides)) {
    await runtime.runPromise(clear(size))
    await runtime.dispose()
  }
  return ["load", "replace"].flatMap((operation) =>
    [["p50", 0.5, 1.25], ["p99", 0.99, 1.5]].map(([title, share, limit]) => {
      const of = (size) => median(results[size].map((times) => percentile(times[operation], share)))
      return { name: `${name} ${operation} ${title}`, few: of("few"), many: of("many"), ratio: of("many") / of("few"), limit }
    })
  )
}

const chosen = process.argv.slice(2)
const rows = []
try {
  for (const [name, { available }] of Object.entries(backends)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue
    if (available) rows.push(...await compare(name))
    else console.error(`without ${name}`)
  }
} finally {
  for (const file of await fs.readdir(tmpdir())) {
    if (file.startsWith(own)) await fs.rm(path.join(tmpdir(), file), { recursive: true, force: true })
  }
}

console.log(`Milliseconds, ${runs} runs of ${operations} operations, ${concurrency} at once, medians of the runs\n`)
console.log(table(
  ["", `at ${sizes.few}`, `at ${sizes.many}`, "ratio", "at most", ""],
  rows.map(({ few, limit, many, name, ratio }) => [
    name,
    fixed(few, 3),
    fixed(many, 3),
    fixed(ratio, 2),
    limit,
    ratio <= limit ? "met" : "MISSED"
  ])
))
console.log(JSON.stringify({ million: rows }))
process.exit()
