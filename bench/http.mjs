/**
 * What a session costs over HTTP: CPU time of the server process a request,
 * read-modify-write minus the same route without a session.
 *
 *     node http.mjs [server ...]
 *     BENCH_STORE=postgres node ../scripts/with-servers.mjs node http.mjs effect-session express
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { anyCookie, connect } from "./lib/client.mjs"
import { fixed, median, percent, setting, spread, table } from "./lib/stats.mjs"

const all = {
  "effect-session": "effect-session",
  express: "express-session",
  fastify: "@fastify/session",
  koa: "koa-session",
  hono: "hono-sessions"
}
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(all)
const rounds = setting("BENCH_ROUNDS", 9)
const requests = setting("BENCH_REQUESTS", 20_000)
const connections = setting("BENCH_CONNECTIONS", 16)

const start = async (name) => {
  const child = fork(fileURLToPath(new URL("lib/child.mjs", import.meta.url)), [name], {
    env: { ...process.env, NODE_ENV: "production" }
  })
  const [ports] = await once(child, "message")
  const cpu = async () => {
    child.send("cpu")
    const [message] = await once(child, "message")
    return message.cpu
  }
  return { name, ports, cpu, bare: [], session: [], stop: () => child.disconnect() }
}

/** CPU microseconds a request of the server, over fresh connections and sessions. */
const measure = async (server, variant, total) => {
  const clients = await connect(server.ports[variant], connections, variant === "bare" ? anyCookie : undefined)
  try {
    const before = await server.cpu()
    await clients.load(total)
    const used = await server.cpu() - before
    if (variant === "session") {
      clients.verify()
    }
    return used / total
  } finally {
    clients.close()
  }
}

const servers = await Promise.all(names.map(start))
for (const server of servers) {
  await measure(server, "bare", requests)
  await measure(server, "session", requests)
}
for (let round = 0; round < rounds; round++) {
  // What drifts during a round hits both variants alike.
  const order = round % 2 === 0 ? ["bare", "session"] : ["session", "bare"]
  for (const server of servers) {
    for (const variant of order) {
      server[variant].push(await measure(server, variant, requests))
    }
  }
}
servers.forEach((server) => server.stop())

const results = servers.map(({ name, bare, session }) => {
  const differences = session.map((micros, round) => micros - bare[round])
  return {
    name: all[name],
    bare: median(bare),
    readModifyWrite: median(session),
    difference: median(differences),
    spread: spread(differences)
  }
})
const ours = results.find(({ name }) => name === "effect-session")

console.log(
  `HTTP: CPU µs of the server a request, ${connections} connections, ${rounds} rounds of ${requests} requests, medians\n`
)
console.log(table(
  ["", "bare", "read-modify-write", "difference", "spread", "ours / theirs"],
  results.map((result) => [
    result.name,
    fixed(result.bare),
    fixed(result.readModifyWrite),
    fixed(result.difference),
    percent(result.spread),
    ours === undefined || result === ours ? "" : fixed(ours.difference / result.difference, 2)
  ])
))
console.log(JSON.stringify({ http: results }))
