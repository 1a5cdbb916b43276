/**
 * Sweeps a million expired sessions while live ones are read and written, in
 * PostgreSQL or in MariaDB. Says what a request's load and replace took before,
 * during and after, and that no live session went. Takes some minutes.
 *
 *     node ../scripts/with-servers.mjs node sweep.mjs [postgres | mysql]
 */
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql"
import { SessionScan, SessionStore, SessionSweeper } from "effect-session"
import * as Sql from "effect-session/layers/Sql"
import { Effect, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { fixed, setting, table } from "./lib/stats.mjs"

const expired = setting("BENCH_EXPIRED", 1_000_000)
const alive = setting("BENCH_ALIVE", 10_000)
/** Operations a second, in pairs of load and replace. */
const rate = setting("BENCH_RATE", 200)
const seconds = setting("BENCH_SECONDS", 15)

const name = `bench_${process.pid}`
const backends = {
  postgres: {
    client: () => PgClient.layer({ url: Redacted.make(process.env.DATABASE_URL) }),
    numbers: (count) => `generate_series(1, ${count}) AS n(i)`,
    key: (prefix) => `'${prefix}' || i`,
    data: "convert_to(repeat(md5(i::text), 18), 'UTF8')"
  },
  mysql: {
    client: () => MysqlClient.layer({ url: Redacted.make(process.env.MYSQL_URL) }),
    numbers: (count) => `(SELECT CAST(seq AS SIGNED) AS i FROM seq_1_to_${count}) AS n`,
    key: (prefix) => `CONCAT('${prefix}', i)`,
    data: "REPEAT(MD5(i), 18)"
  }
}
const chosen = process.argv[2] ?? "postgres"
const backend = backends[chosen]

/** The deadlines of the dead lie in the past hour, those of the living in the next, well behind the end of this. */
const fill = (prefix, count, direction) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql.unsafe(
      `INSERT INTO ${name} SELECT ${backend.key(prefix)}, ${backend.data}, 'v',
        ${Date.now()} + ${direction} * (600000 + (i % 3000) * 1000) FROM ${backend.numbers(count)}`
    ))

/** One load and one replace of a live session after the other, at a steady rate. Answers their milliseconds. */
const load = (until) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const times = []
    const pairs = []
    const started = performance.now()
    const pair = (i) =>
      Effect.gen(function*() {
        const key = `alive${1 + (i * 7919) % alive}`
        const begun = performance.now()
        const stored = Option.getOrThrow(yield* store.load(key))
        yield* store.replace(key, stored.version, stored.data, stored.expiresAt + 1)
        times.push(performance.now() - begun)
      })
    for (let i = 0; !until(performance.now() - started); i++) {
      yield* Effect.sleep(Math.max(0, started + i * (2000 / rate) - performance.now()))
      pairs.push(yield* Effect.fork(pair(i)))
    }
    yield* Fiber.joinAll(pairs)
    return times.sort((a, b) => a - b)
  })

const forSeconds = load((millis) => millis > seconds * 1000)

const program = Effect.gen(function*() {
  const { sweep } = yield* SessionSweeper
  yield* fill("dead", expired, -1)
  yield* fill("alive", alive, 1)
  yield* load((millis) => millis > 3000)
  const before = yield* forSeconds
  let swept = false
  const during = yield* Effect.fork(load(() => swept))
  const started = performance.now()
  const count = yield* sweep
  swept = true
  const took = (performance.now() - started) / 1000
  const times = [before, yield* Fiber.join(during), yield* forSeconds]
  const { entries } = yield* SessionScan
  const left = yield* Stream.runCount(entries)
  console.log(`${chosen}: ${count} swept in ${fixed(took)} s, ${left} of ${alive} live sessions left\n`)
  const at = (sorted, share) => fixed(sorted[Math.floor(share * (sorted.length - 1))], 2)
  console.log(table(
    ["load + replace, ms", "pairs", "p50", "p99", "max"],
    ["before", "during", "after"].map((when, i) => [
      when,
      times[i].length,
      ...[0.5, 0.99, 1].map((share) => at(times[i], share))
    ])
  ))
}).pipe(
  Effect.ensuring(
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.ignore(Effect.zipRight(sql`DROP TABLE ${sql(name)}`, sql`DROP TABLE ${sql(`${name}_migrations`)}`)))
  )
)

const stores = Sql.layer({ table: name })
await Effect.runPromise(Effect.provide(program, Layer.provideMerge(stores, backend.client())))
