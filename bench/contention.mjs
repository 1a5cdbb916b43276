/**
 * Thousands of updates of one session, all at once, by HTTP. Ends with 1 when
 * one that was acknowledged is not in the final value exactly once, when one
 * that was not is anything but a conflict, or when too few had their way.
 *
 *     node ../scripts/with-servers.mjs node contention.mjs [redis|postgres ...]
 */
import { startCounter } from "./lib/counter.mjs"
import { fixed, setting, table } from "./lib/stats.mjs"

const requests = setting("BENCH_REQUESTS", 5000)
const processes = setting("BENCH_PROCESSES", 1)
const target = 0.6

const urls = {
  redis: `${process.env.REDIS_URL}?prefix=contention:`,
  postgres: `${process.env.DATABASE_URL}?table=contention`
}

const measure = async (name) => {
  const servers = await Promise.all(Array.from({ length: processes }, () => startCounter(urls[name])))
  const counts = async () => Promise.all(servers.map(async (server) => (await server.report()).counts))
  const sum = (all, operation) => all.reduce((total, one) => total + one[operation], 0)
  try {
    const { cookie } = await servers[0].send("POST", "/increment")
    const before = await counts()
    const start = performance.now()
    const answers = await Promise.all(
      Array.from({ length: requests }, (_, i) =>
        servers[i % processes].send("POST", "/increment", cookie).catch((error) => ({ status: error.code })))
    )
    const seconds = (performance.now() - start) / 1000
    const after = await counts()
    const { n } = JSON.parse((await servers[0].send("GET", "/value", cookie)).body)
    await servers[0].send("POST", "/logout", cookie)
    const won = answers.filter(({ status }) => status === 200).map(({ millis }) => millis).sort((a, b) => a - b)
    const conflicts = answers.filter(({ body, status }) => status === 409 && JSON.parse(body).reason === "Conflict")
    const others = [...new Set(answers.map(({ status }) => status))].filter((status) => status !== 200 && status !== 409)
    return {
      name,
      won: won.length,
      conflicts: conflicts.length,
      others,
      stored: n - 1,
      p50: won[Math.floor(won.length * 0.5)],
      p99: won[Math.floor(won.length * 0.99)],
      loads: sum(after, "load") - sum(before, "load"),
      replaces: sum(after, "replace") - sum(before, "replace"),
      seconds,
      passed: n - 1 === won.length && won.length + conflicts.length === requests && won.length >= target * requests
    }
  } finally {
    for (const server of servers) server.stop()
  }
}

const results = []
for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(urls)) {
  results.push(await measure(name))
}

console.log(`${requests} updates of one session at once, ${processes} process(es)`)
console.log(table(
  ["store", "200", "409", "other", "stored", "p50 s", "p99 s", "loads", "replaces", "all s", ""],
  results.map(({ conflicts, loads, name, others, p50, p99, passed, replaces, seconds, stored, won }) => [
    name,
    won,
    conflicts,
    others.length === 0 ? "none" : others.join(" "),
    stored,
    fixed(p50 / 1000),
    fixed(p99 / 1000),
    loads,
    replaces,
    fixed(seconds),
    passed ? "met" : "MISSED"
  ])
))
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
