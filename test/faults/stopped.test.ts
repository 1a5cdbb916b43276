/** The app that is killed, or stopped, while requests are on their way, beside another process that goes on. */
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, describe, expect, it } from "vitest"
import { type App, call, newSession, startStores, temporaryDirectory, valuesOf } from "../app.js"
import { redisUrl } from "../backends.js"

const files = temporaryDirectory()
afterAll(files.remove)

const stores = {
  file: `file:${files.directory}/file`,
  SQLite: `sqlite:${files.directory}/sqlite`,
  ...(redisUrl === undefined ? {} : { Redis: `${redisUrl}/?prefix=stopped_${process.pid}:` })
}

const startOn = async (url: string): Promise<App> => (await startStores([{ url }]))[0]!

/**
 * Increments that go on until the app is gone. Who comes while the platform's
 * server closes may get no answer, and keeps it from closing.
 */
const flood = (app: App, cookie: string) => {
  const counts = { sent: 0, acknowledged: 0 }
  const send = async (): Promise<void> => {
    counts.sent++
    const increment = call(app, "/api/increment", { cookie, json: { key: "n" }, patience: 2000 })
    const answer = await increment.catch(() => undefined)
    if (answer === undefined) return
    counts.acknowledged += answer.status === 200 ? 1 : 0
    return send()
  }
  return { counts, ended: Promise.all(Array.from({ length: 8 }, send)) }
}

describe.each(Object.entries(stores))("on %s", (_, url) => {
  it("F-G8 killed at any moment: what it acknowledged is there, and of the ids around a login one opens", async () => {
    const witness = await startOn(url)
    try {
      for (const moment of [5, 20, 60]) {
        const app = await startOn(url)
        const [counter, user] = [await newSession(app), await newSession(app)]
        const { counts, ended } = flood(app, counter)
        await sleep(100)
        const login = call(app, "/api/login", { cookie: user, json: { user: "ada" } }).catch(() => undefined)
        await sleep(moment)
        await app.kill()
        await ended

        const { n } = await valuesOf(witness, counter)
        expect(n).toBeGreaterThanOrEqual(counts.acknowledged)
        expect(n).toBeLessThanOrEqual(counts.sent)
        // no lock of the dead is left for long, and nothing is half done
        const next = await call(witness, "/api/increment", { cookie: counter, json: { key: "n" } })
        expect([next.status, next.body.value]).toEqual([200, n + 1])

        const fresh = (await login)?.cookie
        const former = await call(witness, "/api/increment", { cookie: user, json: { key: "n" } })
        if (fresh === undefined) {
          expect([200, 409]).toContain(former.status)
        } else {
          expect(former.status).toBe(409)
          expect(await valuesOf(witness, fresh)).toEqual({ n: 0, user: "ada" })
        }
      }
    } finally {
      await witness.stop()
    }
  })

  it("F-G9 stopped under load: it ends by itself, and what it acknowledged is there", async () => {
    const [app, witness] = [await startOn(url), await startOn(url)]
    try {
      const cookie = await newSession(app)
      const { counts, ended } = flood(app, cookie)
      await sleep(200)
      const stopped = await Promise.race([app.stop(), sleep(10_000, "still there")])
      await ended
      expect(stopped).not.toBe("still there")
      const { n } = await valuesOf(witness, cookie)
      expect(counts.acknowledged).toBeGreaterThan(0)
      expect(n).toBeGreaterThanOrEqual(counts.acknowledged)
      expect(n).toBeLessThanOrEqual(counts.sent)
    } finally {
      await Promise.all([app.kill(), witness.stop()])
    }
  })
})
