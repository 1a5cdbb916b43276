/** Hundreds of updates of one session at once, by HTTP. bench/contention.mjs does it with thousands. */
import { Redis } from "ioredis"
import { describe, expect, it } from "vitest"
import { type App, call, newSession, startApp, valuesOf } from "../app.js"
import { canStart, startRedis } from "../backends.js"

const requests = 500

describe.skipIf(!canStart("redis"))("Redis", () => {
  it(
    "F-CC1: 500 updates of one session at once: each 200 is in the value, the rest are conflicts",
    { timeout: 60_000 },
    async () => {
      const server = await startRedis()
      const admin = new Redis(server.url)
      let app: App | undefined
      try {
        app = await startApp({ SESSION_STORE: server.url })
        const cookie = await newSession(app)
        await admin.config("RESETSTAT")
        const answers = await Promise.all(
          Array.from({ length: requests }, () => call(app!, "/api/increment", { cookie, json: { key: "n" } }))
        )
        const loads = Number(/cmdstat_hgetall:calls=(\d+)/.exec(await admin.info("commandstats"))![1])
        const won = answers.filter(({ status }) => status === 200).length
        const lost = answers.filter(({ body, status }) => status === 409 && body.reason === "Conflict").length
        expect(await valuesOf(app, cookie)).toEqual({ n: won })
        expect(won + lost).toBe(requests)
        expect(won).toBeGreaterThanOrEqual(0.6 * requests)
        expect(answers.filter(({ cookie }) => cookie !== undefined)).toEqual([])
        // who had to wait in line goes on from what the one before has stored
        expect(loads).toBeLessThan(1.5 * requests)
      } finally {
        await app?.stop()
        admin.disconnect()
        await server.stop()
      }
    }
  )
})
