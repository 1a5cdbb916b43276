/** A store that goes away under the running app: 503 in time, nobody signed out, and all well when it is back. */
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type App, type Call, call, newSession, startApp, until, valuesOf } from "../app.js"
import { canStart, type Server, startPostgres, startRedis } from "../backends.js"

/** Milliseconds that a request waits for the store at most, by default; and what a busy machine may add. */
const timeout = 2000
const margin = 1500

const stores = [
  // what was acknowledged has to be there again after a kill -9
  { name: "redis", start: () => startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] }) },
  { name: "postgres", start: () => startPostgres() }
] as const

for (const { name, start } of stores) {
  describe.skipIf(!canStart(name))(name, () => {
    let server: Server
    let app: App
    beforeAll(async () => {
      server = await start()
      app = await startApp({ SESSION_STORE: server.url })
    })
    afterAll(async () => {
      await app?.stop()
      await server?.stop()
    })

    const inTime = async (target: string, options?: Call) => {
      const started = performance.now()
      const answer = await call(app, target, options)
      expect(performance.now() - started).toBeLessThan(timeout + margin)
      return answer
    }

    const isBack = (cookie: string) => until(async () => (await call(app, "/api/session", { cookie })).status === 200)

    const whileItIsAway = async (cookie: string) => {
      const refused = await Promise.all([
        inTime("/api/session", { cookie }),
        inTime("/api/increment", { cookie, json: { key: "n" } }),
        inTime("/api/ticket", { cookie, json: { key: "n" } }),
        inTime("/api/login", { cookie, json: { user: "ada" } }),
        inTime("/api/logout", { cookie, method: "POST" }),
        inTime("/", { cookie }),
        inTime("/notes/add", { cookie, form: { text: "now?" } })
      ])
      for (const answer of refused) {
        expect([answer.status, answer.cookie]).toEqual([503, undefined])
        expect(answer.text).not.toMatch(/ECONN|127\.0\.0\.1/) // what the driver says is not for visitors
      }
      const served = await Promise.all([
        inTime("/"),
        inTime("/shop"),
        inTime("/api/session"),
        inTime("/api/none"),
        inTime("/api/none", { cookie })
      ])
      expect(served.map(({ status }) => status)).toEqual(Array(5).fill(200))
    }

    for (
      const { away, back, what } of [
        { what: "F-G1: killed", away: () => server.kill(), back: () => server.restart() },
        { what: "F-G3: frozen", away: () => server.kill("SIGSTOP"), back: () => server.kill("SIGCONT") }
      ]
    ) {
      it(`${what}: 503 in time, the cookie stays, and it recovers by itself`, { timeout: 90_000 }, async () => {
        const cookie = await newSession(app, { n: 1 })
        const late = call(app, "/api/increment", { cookie, json: { key: "n", delayMs: 500 } })
        await sleep(250)
        await away()
        // it had read its session: one timeout to write, one to find out what became of it
        const { cookie: set, status } = await late
        expect([status, set]).toEqual([503, undefined])
        await whileItIsAway(cookie)
        await back()
        await isBack(cookie)
        const { n } = await valuesOf(app, cookie)
        expect((await call(app, "/api/ticket", { cookie, json: { key: "n" } })).body).toEqual({ value: n + 1 })
      })
    }
  })
}
