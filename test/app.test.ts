import * as Reactivity from "@effect/experimental/Reactivity"
import { PgClient } from "@effect/sql-pg"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Answer, type App, call, failToStart, newSession, startApp, temporaryDirectory, valuesOf } from "./app.js"
import { postgresUrl, redisUrl } from "./backends.js"

const times = <A>(count: number, f: (i: number) => Promise<A>) =>
  Promise.all(Array.from({ length: count }, (_, i) => f(i)))

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

interface Backend {
  readonly name: string
  readonly processes: number
  /** The URL for the app; undefined when there is no such server. */
  readonly url: string | undefined
  readonly before?: () => Promise<unknown>
  readonly after?: () => unknown
}

const files = temporaryDirectory()

// a schema of our own, for the app's table has a fixed name
const schema = `example_${process.pid}`

const inPostgres = (statement: string) =>
  PgClient.make({ url: Redacted.make(postgresUrl!) }).pipe(
    Effect.flatMap((sql) => sql.unsafe(statement)),
    Effect.scoped,
    Effect.provide(Reactivity.layer),
    Effect.runPromise
  )

const withSearchPath = (text: string) => {
  const url = new URL(text)
  url.searchParams.set("options", `-c search_path=${schema}`)
  return url.href
}

const backends: ReadonlyArray<Backend> = [
  { name: "memory", processes: 1, url: "memory:" },
  { name: "file", processes: 2, url: `file:${files.directory}`, after: files.remove },
  { name: "Redis", processes: 2, url: redisUrl },
  {
    name: "PostgreSQL",
    processes: 2,
    url: postgresUrl && withSearchPath(postgresUrl),
    before: () => inPostgres(`CREATE SCHEMA ${schema}`),
    after: () => inPostgres(`DROP SCHEMA ${schema} CASCADE`)
  }
]

for (const backend of backends) {
  describe.skipIf(backend.url === undefined)(`${backend.name}, ${backend.processes} process(es), one cookie`, () => {
    const apps: Array<App> = []
    const app = (i: number) => apps[i % apps.length]!

    beforeAll(async () => {
      await backend.before?.()
      // short, so that what is left in a server that others use is soon gone
      const env = { SESSION_STORE: backend.url!, SESSION_IDLE_TIMEOUT: "1 minute" }
      apps.push(...await times(backend.processes, () => startApp(env)))
    })
    afterAll(async () => {
      await Promise.all(apps.map((app) => app.stop()))
      await backend.after?.()
    })

    it("20 increments at once end at 20", async () => {
      const cookie = await newSession(app(0))
      const answers = await times(
        20,
        (i) => call(app(i), "/api/increment", { cookie, json: { key: "n", delayMs: 100 } })
      )
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
      expect(await valuesOf(app(0), cookie)).toEqual({ n: 20 })
    })

    it("20 tickets at once answer 1 … 20, each once", async () => {
      const cookie = await newSession(app(0))
      const answers = await times(20, (i) => call(app(i), "/api/ticket", { cookie, json: { key: "n" } }))
      expect(answers.map(({ body }) => body.value).sort((a, b) => a - b)).toEqual(upTo(20))
      expect(await valuesOf(app(1), cookie)).toEqual({ n: 20 })
    })

    it("of 20 naive increments at once, what is acknowledged is stored and the rest is 409", async () => {
      const cookie = await newSession(app(0))
      const answers = await times(20, (i) => call(app(i), "/api/naive", { cookie, json: { key: "n", delayMs: 100 } }))
      const done = answers.filter(({ status }) => status === 200)
      expect(done.length).toBeGreaterThan(0)
      expect(answers.filter(({ status }) => status === 409).length).toBe(20 - done.length)
      expect(await valuesOf(app(0), cookie)).toEqual({ n: done.length })
    })

    /**
     * Ends a session while an increment of it waits, and answers what the
     * increment said. On a busy machine either may come too late for the other;
     * then once more, with more time.
     */
    const endDuringIncrement = async <A>(
      i: number,
      end: (app: App, cookie: string) => Promise<A>,
      delayMs = 2000
    ): Promise<{ readonly cookie: string; readonly ended: A; readonly late: Answer }> => {
      const cookie = await newSession(app(i), { n: 5 })
      const sent = performance.now()
      const increment = call(app(i), "/api/increment", { cookie, json: { key: "n", delayMs } })
      await call(app(i), "/api/session", { cookie })
      await sleep(200)
      const ended = await end(app(i + 1), cookie)
      const inTime = performance.now() - sent < delayMs
      const late = await increment
      return inTime && late.body.value !== 1 // it starts at 1 where it found no session
        ? { cookie, ended, late }
        : endDuringIncrement(i, end, delayMs * 2)
    }

    it("50 logouts during a slow increment stay logouts", { timeout: 60_000 }, async () => {
      await times(50, async (i) => {
        const { cookie, ended, late } = await endDuringIncrement(
          i,
          (app, cookie) => call(app, "/api/logout", { cookie, method: "POST" })
        )
        expect([ended.status, ended.cookie]).toEqual([200, ""])
        expect([late.status, late.cookie]).toEqual([409, undefined])
        expect((await call(app(i), "/api/session", { cookie })).body).toEqual({ value: {}, isNew: true })
      })
    })

    it("50 logins during a slow increment are not overwritten", { timeout: 60_000 }, async () => {
      await times(50, async (i) => {
        const { cookie, ended, late } = await endDuringIncrement(
          i,
          (app, cookie) => call(app, "/api/login", { cookie, json: { user: "ada" } })
        )
        expect(ended.status).toBe(200)
        expect([late.status, late.cookie]).toEqual([409, undefined])
        expect(await valuesOf(app(i), ended.cookie!)).toEqual({ n: 5, user: "ada" })
        expect(await valuesOf(app(i), cookie)).toEqual({})
      })
    })

    it("a login repeated with the old cookie works, without the old data", async () => {
      const cookie = await newSession(app(0))
      const first = await call(app(0), "/api/login", { cookie, json: { user: "ada" } })
      const second = await call(app(1), "/api/login", { cookie, json: { user: "ada" } })
      expect([first.status, second.status]).toEqual([200, 200])
      expect(await valuesOf(app(1), first.cookie!)).toEqual({ n: 0, user: "ada" })
      expect(await valuesOf(app(0), second.cookie!)).toEqual({ user: "ada" })
    })

    it("of two logins at once, one takes the data along", async () => {
      await times(10, async () => {
        const cookie = await newSession(app(0))
        const logins = await times(2, (i) => call(app(i), "/api/login", { cookie, json: { user: `user ${i}` } }))
        for (const { cookie, status } of logins) {
          expect([status, cookie === undefined]).toEqual(status === 200 ? [200, false] : [409, true])
        }
        const cookies = logins.flatMap(({ cookie }) => cookie ?? [])
        const found = await Promise.all([cookie, ...cookies].map((cookie) => valuesOf(app(1), cookie)))
        expect(found.filter((value) => "n" in value)).toHaveLength(1)
      })
    })
  })
}

describe("the API", () => {
  let app: App
  beforeAll(async () => {
    app = await startApp({ SESSION_STORE: "memory:" })
  })
  afterAll(() => app.stop())

  const key = (value: unknown) => ({ key: value })
  const bad: ReadonlyArray<readonly [path: string, json: unknown, status: number, says: RegExp]> = [
    ["/api/set", "", 400, /missing/],
    ["/api/set", "{", 400, /not JSON/],
    ["/api/set", "nonsense", 400, /not JSON/],
    ["/api/set", "[]", 422, /key/],
    ["/api/set", "null", 422, /null/],
    ["/api/set", key("n"), 422, /value: is missing/],
    ["/api/set", { value: 1 }, 422, /key/],
    ["/api/set", { key: 1, value: 1 }, 422, /key: Expected string/],
    ["/api/set", `{"key":"n","value":1e999}`, 422, /value: a number is too large/],
    ["/api/set", `{"key":"n","value":${"[".repeat(1000)}${"]".repeat(1000)}}`, 422, /value: .*nesting too deep/],
    ["/api/set", { key: "n", value: "x".repeat(64 * 1024) }, 413, /larger than 65536 bytes/],
    ["/api/increment", { key: "n", delayMs: "1" }, 422, /delayMs/],
    ["/api/increment", { key: "n", delayMs: -1 }, 422, /delayMs/],
    ["/api/increment", { key: "n", delayMs: 0.5 }, 422, /delayMs/],
    ["/api/increment", { key: "n", delayMs: 60_001 }, 422, /delayMs/],
    ["/api/increment", { key: "n", delayMs: null }, 422, /delayMs/],
    ["/api/increment", key("text"), 422, /"text" is not a number/],
    ["/api/naive", key("text"), 422, /"text" is not a number/],
    ["/api/ticket", key("text"), 422, /"text" is not a number/],
    ["/api/ticket", key("nothing"), 422, /"nothing" is not a number/],
    ["/api/ticket", {}, 422, /key: is missing/],
    ["/api/login", {}, 422, /user: is missing/],
    ["/api/login", { user: "" }, 422, /user/],
    ["/api/login", { user: ["ada"] }, 422, /user/]
  ]

  for (const [path, json, status, says] of bad) {
    const sent = typeof json === "string" ? json : JSON.stringify(json)
    it(`${path} refuses ${sent.slice(0, 60) || "nothing at all"}, and stores nothing`, async () => {
      const stored = { n: 1, text: "one", nothing: null }
      const cookie = await newSession(app, stored)
      const answer = await call(app, path, { cookie, json })
      expect([answer.status, answer.cookie]).toEqual([status, undefined])
      expect(answer.body.error).toMatch(says)
      expect(await valuesOf(app, cookie)).toEqual(stored)
    })
  }

  it("a refusal begins no session", async () => {
    const { cookie, status } = await call(app, "/api/increment", { json: { key: "n", delayMs: -1 } })
    expect([status, cookie]).toEqual([422, undefined])
  })

  it("answers 413 to a body of no announced length, before it ends", async () => {
    const status = await new Promise((resolve, reject) => {
      const request = http.request(`${app.url}/api/set`, { method: "POST" }, (response) => {
        resolve(response.statusCode)
        request.destroy()
      })
      request.once("error", reject)
      request.write("x".repeat(70_000)) // and no end
    })
    expect(status).toBe(413)
  })

  it("takes in text only", async () => {
    const answer = await fetch(`${app.url}/api/set`, { method: "POST", body: new Uint8Array([0x22, 0xff, 0x22]) })
    expect([answer.status, await answer.json()]).toEqual([400, { error: "The body is not UTF-8." }])
  })

  it("says in JSON what there is not", async () => {
    for (
      const [target, method] of [["/api", "GET"], ["/api/nope?x=1", "GET"], ["/api/set", "GET"], [
        "/api/session",
        "POST"
      ], [
        "/api/session",
        "PATCH"
      ]]
    ) {
      const { body, status } = await call(app, target!, { method: method! })
      expect([status, body]).toEqual([404, { error: `There is no ${method} ${target}.` }])
    }
  })

  it("bounds ?ms=", async () => {
    for (const ms of ["x", "-1", "1.5", "60001", "", "1&ms=2"]) {
      expect([ms, (await call(app, `/api/slow?ms=${ms}`)).status]).toEqual([ms, 422])
    }
    const cookie = await newSession(app)
    expect((await call(app, "/api/slow?ms=5", { cookie })).body).toEqual({ value: { n: 0 }, isNew: false })
    expect((await call(app, "/api/slow", { cookie })).status).toBe(200)
  })

  for (
    const hostile of ["__proto__", "constructor", "toString", "", "🫖", "\ud800", "a".repeat(5000), "\0", "0", "user"]
  ) {
    it(`takes ${JSON.stringify(hostile.slice(0, 20))} for a key like any other`, async () => {
      const { cookie } = await call(app, "/api/increment", { json: { key: hostile } })
      expect((await call(app, "/api/ticket", { cookie, json: { key: hostile } })).body).toEqual({ value: 2 })
      expect((await call(app, "/api/naive", { cookie, json: { key: hostile } })).body).toEqual({ value: 3 })
      const value = { deep: [hostile, JSON.parse(`{"__proto__":{"x":1}}`)] }
      await call(app, "/api/set", { cookie, json: { key: `${hostile}!`, value } })
      const { text } = await call(app, "/api/session", { cookie })
      const expected = Object.fromEntries([[hostile, 3], [`${hostile}!`, value]])
      expect(text).toBe(JSON.stringify({ value: expected, isNew: false }))
    })
  }

  it("tells an increment that what it adds to became a text meanwhile, and adds nothing", async () => {
    const cookie = await newSession(app)
    const increment = call(app, "/api/increment", { cookie, json: { key: "n", delayMs: 1500 } })
    await call(app, "/api/session", { cookie })
    await sleep(200)
    await call(app, "/api/set", { cookie, json: { key: "n", value: "text" } })
    const { body, status } = await increment
    expect([status, body]).toEqual([422, { error: "What is stored at \"n\" is not a number." }])
    expect(await valuesOf(app, cookie)).toEqual({ n: "text" })
  })

  it("keeps no more than fits", async () => {
    const cookie = await newSession(app)
    const answers: Array<number> = []
    for (let i = 0; i < 20; i++) {
      answers.push((await call(app, "/api/set", { cookie, json: { key: `${i}`, value: "x".repeat(60_000) } })).status)
    }
    expect(new Set(answers)).toEqual(new Set([200, 413]))
    expect(Object.keys(await valuesOf(app, cookie))).toHaveLength(1 + answers.filter((status) => status === 200).length)
  })

  it("refuses a POST from another site", async () => {
    const post = (headers: Record<string, string>) => call(app, "/api/set", { json: { key: "n", value: 1 }, headers })
    expect((await post({ "sec-fetch-site": "same-site" })).status).toBe(403)
    expect((await post({ "sec-fetch-site": "cross-site" })).body).toEqual({
      error: "This request comes from another site."
    })
    expect((await post({ origin: "https://evil.example" })).status).toBe(403)
    expect((await post({ origin: "null" })).status).toBe(403)
    expect((await post({ origin: app.url })).status).toBe(200)
    expect((await post({ "sec-fetch-site": "same-origin" })).status).toBe(200)
    expect((await call(app, "/sign-out", { form: {}, headers: { "sec-fetch-site": "cross-site" } })).status).toBe(403)
  })

  it("counts the session of a visitor without one as no session: no cookie", async () => {
    for (
      const target of [
        "/",
        "/shop",
        "/notes",
        "/sign-in",
        "/style.css",
        "/icon.svg",
        "/nope",
        "/api/none",
        "/api/session",
        "/api/slow"
      ]
    ) {
      const { cookie, headers } = await call(app, target)
      expect([target, cookie]).toEqual([target, undefined])
      const isUsed = !/none|nope|css|svg/.test(target)
      expect([target, headers.get("vary")]).toEqual([target, isUsed ? "Cookie" : null])
    }
  })
})

describe("the pages", () => {
  let app: App
  beforeAll(async () => {
    app = await startApp({ SESSION_STORE: "memory:" })
  })
  afterAll(() => app.stop())

  /** Follows the redirects, and keeps the cookie. */
  const browser = () => {
    let cookie: string | undefined
    const open = async (target: string, form?: Record<string, string>): Promise<string> => {
      const answer = await call(app, target, { cookie, ...(form && { form }) })
      cookie = answer.cookie ?? cookie
      if (answer.status !== 303) return answer.text
      return open(answer.headers.get("location")!)
    }
    return { open, cookie: () => cookie }
  }

  it("a cart survives signing in, signing out ends all, and the farewell is said once", async () => {
    const { cookie, open } = browser()
    await open("/cart/add", { product: "assam" })
    expect(await open("/cart/add", { product: "assam" })).toContain("2 × Assam")
    const before = cookie()
    expect(await open("/sign-in", { name: " Ada <b> " })).toContain("Welcome, Ada &lt;b&gt;</h1>")
    expect(cookie()).not.toBe(before)
    expect(await open("/shop")).toContain("2 × Assam")
    expect(await open("/sign-out", {})).toContain("Goodbye, Ada &lt;b&gt;.")
    expect(await open("/")).not.toContain("Goodbye")
    expect(await open("/shop")).toContain("Still empty")
  })

  it("somebody else who signs in gets nothing of it", async () => {
    const { open } = browser()
    await open("/sign-in", { name: "Ada" })
    await open("/notes/add", { text: "a secret" })
    expect(await open("/sign-in", { name: "Ada" })).toContain("1 note kept")
    await open("/sign-in", { name: "Bob" })
    expect(await open("/notes")).toContain("Nothing written down yet")
  })

  it("notes come and go", async () => {
    const { open } = browser()
    await open("/notes/add", { text: "<script>alert(1)</script>" })
    const page = await open("/notes/add", { text: "second" })
    expect(page).toContain("<span>&lt;script&gt;alert(1)&lt;/script&gt;</span>")
    const id = /name="id" value="([^"]+)"/.exec(page)![1]!
    const rest = await open("/notes/remove", { id })
    expect(rest).toContain("second")
    expect(rest).not.toContain("script")
  })

  it("visits are counted, each once", async () => {
    const { cookie, open } = browser()
    await open("/visits")
    await times(9, () => call(app, "/visits", { cookie: cookie() }))
    expect(await open("/visits")).toContain("<b>11</b> visits")
  })

  it("what is wrong with a form is said on a page", async () => {
    for (
      const [target, form] of [["/notes/add", { text: "  " }], ["/cart/add", { product: "coffee" }], [
        "/sign-in",
        {}
      ]] as const
    ) {
      const { cookie, headers, status } = await call(app, target, { form })
      expect([status, headers.get("content-type"), cookie]).toEqual([422, "text/html; charset=utf-8", undefined])
    }
  })

  it("a form of a session that ended meanwhile is answered with a page, and no cookie", async () => {
    const cookie = await newSession(app)
    await call(app, "/api/login", { cookie, json: { user: "ada" } })
    const answer = await call(app, "/notes/add", { cookie, form: { text: "late" } })
    expect([answer.status, answer.cookie]).toEqual([409, undefined])
    expect(answer.text).toContain("Signed out meanwhile")
    const signOut = await call(app, "/sign-out", { cookie, form: {} })
    expect([signOut.status, signOut.cookie]).toEqual([409, undefined])
  })
})

describe("the environment", () => {
  it("without any: sessions in ./.sessions that a restart does not end, and a warning", async () => {
    const { directory, remove } = temporaryDirectory()
    const first = await startApp({}, directory)
    const answer = await call(first, "/api/set", { json: { key: "n", value: 1 } })
    await first.stop()
    expect(fs.readdirSync(path.join(directory, ".sessions"))).not.toEqual([])
    expect(answer.headers.get("set-cookie")).toMatch(/^id=[\w-]{54}; Path=\/; HttpOnly; SameSite=Lax$/)
    expect(first.output()).toMatch(/cookie\.secure is false/)
    const second = await startApp({}, directory)
    expect(await valuesOf(second, answer.cookie!)).toEqual({ n: 1 })
    await second.stop()
    remove()
  })

  it("with an https origin: the cookie is __Host-id, and no warning", async () => {
    const app = await startApp({ SESSION_STORE: "memory:", ORIGIN: "https://tea.example" })
    const set = (origin: string) => call(app, "/api/set", { json: { key: "n", value: 1 }, headers: { origin } })
    expect((await set("https://tea.example")).headers.get("set-cookie")).toMatch(
      /^__Host-id=[\w-]{54}; Path=\/; HttpOnly; Secure; SameSite=Lax$/
    )
    expect((await set(app.url)).status).toBe(403)
    expect(app.output()).not.toMatch(/WARN/)
    await app.stop()
  })

  it("SESSION_IDLE_TIMEOUT ends what nobody uses", async () => {
    const app = await startApp({ SESSION_STORE: "memory:", SESSION_IDLE_TIMEOUT: "300 millis" })
    const cookie = await newSession(app)
    await sleep(400)
    expect((await call(app, "/api/session", { cookie })).body).toEqual({ value: {}, isNew: true })
    await app.stop()
  })

  it("an app that is stopped answers what it was asked, and was quiet all the time", async () => {
    const app = await startApp({ SESSION_STORE: "memory:" })
    const cookie = await newSession(app)
    const printed = app.output()
    const slow = call(app, "/api/increment", { cookie, json: { key: "n", delayMs: 1000 } })
    await call(app, "/api/session", { cookie })
    await sleep(200)
    await app.stop()
    expect([(await slow).status, (await slow).body]).toEqual([200, { value: 1 }])
    expect(app.output()).toBe(printed)
  })

  it("a port that is taken is an error that says so", async () => {
    const app = await startApp({ SESSION_STORE: "memory:" })
    const { code, output } = await failToStart({ SESSION_STORE: "memory:", PORT: new URL(app.url).port })
    expect(code).toBe(1)
    expect(output).toMatch(/Cannot start: .*EADDRINUSE/)
    await app.stop()
  })

  for (
    const [variable, value, says] of [
      ["SESSION_STORE", "mysql://u:hunter2@host/db", /SESSION_STORE has to be one of/],
      ["SESSION_STORE", "postgres://u:hunter2@127.0.0.1:1/db", /Failed to connect/],
      ["SESSION_STORE", "file:/dev/null/x", /directory/],
      ["SESSION_IDLE_TIMEOUT", "soon", /SESSION_IDLE_TIMEOUT/],
      ["PORT", "http", /PORT/],
      ["ORIGIN", "tea.example", /ORIGIN/]
    ] as const
  ) {
    it(`${variable}=${value} is an error that says so`, async () => {
      const { code, output } = await failToStart({ SESSION_STORE: "memory:", [variable]: value })
      expect(code).toBe(1)
      expect(output).toMatch(/^Cannot start: .*\n$/)
      expect(output).toMatch(says)
      expect(output).not.toContain("hunter2")
    })
  }
})
