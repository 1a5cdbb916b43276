/**
 * Minutes of random faults on Redis and on PostgreSQL, while many clients
 * increment, sign in and sign out through two processes. Ends with 1 when an
 * acknowledged update is lost or done twice, a session that ended comes back,
 * a failure sets a cookie or is no 503 or 409, or heap, sockets or fibers grow.
 *
 *     node soak-faults.mjs [redis|postgres ...]        BENCH_MINUTES=10
 */
import { transformSync } from "esbuild"
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { startPostgres, startRedis } from "../scripts/servers.mjs"
import { startCounter } from "./lib/counter.mjs"
import { fixed, setting } from "./lib/stats.mjs"

const minutes = setting("BENCH_MINUTES", 10)
const workers = setting("BENCH_WORKERS", 16)
const processes = 2
/** What a flat process may hold more in the end than in the beginning. */
const slack = { heap: 15, sockets: 4, fibers: 4 }

/** The tests' own proxy; Node 20 does not read TypeScript. */
const proxySource = fs.readFileSync(new URL("../test/proxy.ts", import.meta.url), "utf8")
const { code } = transformSync(proxySource, { loader: "ts", format: "esm" })
const { startProxy } = await import(`data:text/javascript,${encodeURIComponent(code)}`)

const stores = {
  // what was acknowledged has to be there again after a kill -9
  redis: {
    start: () => startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] }),
    isWrite: (request) => /\b(evalsha|eval)\r\n/.test(request.toString("latin1"))
  },
  postgres: {
    start: () => startPostgres(),
    isWrite: (request) => /\b(INSERT INTO|UPDATE|DELETE FROM)\b/.test(request.toString("latin1"))
  }
}

const between = (low, high) => low + Math.random() * (high - low)
const pick = (items) => items[Math.floor(Math.random() * items.length)]
const count = (counts, name) => counts[name] = (counts[name] ?? 0) + 1

/** Every fault mends itself. */
const faults = ({ isWrite }, server, proxy) => ({
  kill: async () => {
    await server.kill()
    await sleep(between(100, 1500))
    await server.restart()
  },
  freeze: async () => {
    await server.kill("SIGSTOP")
    await sleep(between(200, 3000))
    await server.kill("SIGCONT")
  },
  refuse: async () => {
    await proxy.refuse()
    await sleep(between(100, 1500))
    await proxy.normal()
  },
  hang: async () => {
    proxy.hang()
    await sleep(between(500, 3000))
    await proxy.normal()
  },
  delay: async () => {
    proxy.delay(between(20, 300))
    await sleep(between(500, 2000))
    await proxy.normal()
  },
  cut: async () => proxy.cut(),
  loseReply: async () => {
    await Promise.race([proxy.loseReply(isWrite), sleep(1000)])
    await proxy.normal()
  },
  loseRequest: async () => {
    await Promise.race([proxy.loseRequest(isWrite), sleep(1000)])
    await proxy.normal()
  }
})

const soak = async (name) => {
  const store = stores[name]
  const server = await store.start()
  const proxy = await startProxy(server.port)
  const url = server.url.replace(`:${server.port}`, `:${proxy.port}`)
  const apps = await Promise.all(Array.from({ length: processes }, () => startCounter(url, { maxSockets: workers })))
  const send = (...request) => pick(apps).send(...request)
  const answers = {}
  const happened = {}
  const violations = []
  const broken = (what, ...details) => violations.push(`${what} ${JSON.stringify(details)}`)

  /** What is known of each session; `ended` are cookies that must open nothing any more. */
  let sessions = []
  const ended = []

  const request = async (method, path, cookie) => {
    const answer = await send(method, path, cookie)
    const error = answer.status === 200 ? undefined : JSON.parse(answer.body)
    count(answers, error === undefined ? "200" : `${answer.status} ${error.reason} ${error.applied ?? ""}`.trim())
    if (error && (answer.cookie !== undefined || !/^(503|409)$/.test(answer.status))) {
      broken("a failure", method, path, answer.status, answer.body, answer.cookie)
    }
    return { ...answer, error }
  }

  const begin = async () => {
    const { cookie, error } = await request("POST", "/increment")
    return error ? undefined : { cookie, done: 1, unknown: 0, pending: 0, isOver: false, isBusy: false }
  }

  const increment = async (session) => {
    session.pending++
    const { cookie, error } = await request("POST", "/increment", session.cookie)
    session.pending--
    if (error === undefined) {
      session.done++
      if (cookie !== undefined && !session.isOver) broken("a session was lost", session)
    } else if (error.applied === "unknown") session.unknown++
  }

  const read = async (session) => {
    const { cookie, done, isBusy } = session
    const { body, error } = await request("GET", "/value", cookie)
    if (error || isBusy || session.isBusy || session.isOver || session.cookie !== cookie) return
    const { n } = JSON.parse(body)
    if (n < done || n > session.done + session.unknown + session.pending) broken("a value", n, done, session)
  }

  const login = async (session) => {
    if (session.isBusy) return
    session.isBusy = true
    const old = session.cookie
    const { cookie, error } = await request("POST", "/login", old)
    if (error === undefined) {
      session.cookie = cookie
      ended.push(old)
    } else if (error.applied === "unknown" || error.reason === "Gone") session.isOver = true
    session.isBusy = false
  }

  const logout = async (session) => {
    if (session.isBusy) return
    session.isBusy = session.isOver = true
    const { error } = await request("POST", "/logout", session.cookie)
    if (error === undefined) ended.push(session.cookie)
  }

  const look = async (cookie) => {
    const { body, error } = await request("GET", "/value", cookie)
    if (!error && JSON.parse(body).n !== 0) broken("an ended session is back", body)
  }

  const step = async (i) => {
    const session = sessions[i % sessions.length]
    if (session === undefined || session.isOver) {
      const fresh = await begin()
      if (fresh) sessions[i % sessions.length] = fresh
      return sleep(fresh ? 0 : 50)
    }
    const chance = Math.random()
    if (chance < 0.7) await increment(session)
    else if (chance < 0.88) await read(session)
    else if (chance < 0.92 && ended.length > 0) await look(pick(ended))
    else if (chance < 0.98) await login(session)
    else await logout(session)
    await sleep(between(0, 20))
  }

  let isOn = true
  const work = async (i) => {
    while (isOn) await step(i)
  }
  const workFor = async (body) => {
    isOn = true
    const working = Promise.all(Array.from({ length: workers }, (_, i) => work(i)))
    working.catch((error) => broken("a client", String(error)))
    await body()
    isOn = false
    await working
  }

  /** As much as there will ever be at once, and then what is left of it at rest. */
  const held = async () => {
    const crowd = apps.flatMap((app) => Array.from({ length: 2 * workers }, () => app.send("GET", "/value", sessions[0].cookie)))
    await Promise.all(crowd)
    await sleep(500)
    const reports = await Promise.all(apps.map((app) => app.report()))
    const sum = (key) => reports.reduce((total, report) => total + report[key], 0)
    return { heap: sum("heap"), sockets: sum("sockets"), fibers: sum("fibers") }
  }

  try {
    sessions = await Promise.all(Array.from({ length: workers / 2 }, begin))
    const calm = () => sleep(minutes < 1 ? 1000 : 10_000)
    await workFor(calm)
    const before = await held()
    const breaks = faults(store, server, proxy)
    await workFor(async () => {
      for (const deadline = Date.now() + minutes * 60_000; Date.now() < deadline;) {
        const fault = pick(Object.keys(breaks))
        count(happened, fault)
        await breaks[fault]()
        await sleep(between(300, 1500))
      }
      await calm()
    })
    const after = await held()

    let sure = 0
    for (const session of sessions.filter(({ isOver }) => !isOver)) {
      const { n } = JSON.parse((await send("GET", "/value", session.cookie)).body)
      if (n < session.done || n > session.done + session.unknown) broken("the end", n, session)
      sure++
    }
    for (const cookie of ended) await look(cookie)
    for (const key of Object.keys(slack)) {
      if (after[key] > before[key] + slack[key]) broken(`${key} grew`, before, after)
    }
    console.log(`${name}: ${minutes} minute(s), ${processes} processes, ${workers} clients`)
    console.log(`  faults   ${JSON.stringify(happened)}`)
    console.log(`  answers  ${JSON.stringify(answers)}`)
    console.log(`  sessions ${ended.length} ended and looked at, ${sure} counted at the end`)
    for (const key of Object.keys(slack)) console.log(`  ${key.padEnd(8)} ${fixed(before[key])} → ${fixed(after[key])}`)
    for (const violation of violations.slice(0, 20)) console.log(`  BROKEN   ${violation}`)
    console.log(violations.length === 0 ? "  passed" : `  FAILED: ${violations.length} invariant(s) broken`)
    return violations.length === 0
  } finally {
    for (const app of apps) app.stop()
    await proxy.close()
    await server.stop()
  }
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(stores)
const passed = await Promise.all(names.map(soak))
process.exitCode = passed.every(Boolean) ? 0 : 1
