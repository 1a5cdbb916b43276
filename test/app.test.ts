import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  type App,
  call,
  failToStart,
  newSession,
  startApp,
  startAppFromSource,
  startStores,
  temporaryDirectory,
  valuesOf
} from "./app.js"

const times = <A>(count: number, f: (i: number) => Promise<A>) =>
  Promise.all(Array.from({ length: count }, (_, i) => f(i)))

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
      const isUsed = !/none|css|svg/.test(target)
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

  it("a cart survives signing in, signing out ends all", async () => {
    const { cookie, open } = browser()
    await open("/cart/add", { product: "assam" })
    expect(await open("/cart/add", { product: "assam" })).toContain("2 × Assam")
    const before = cookie()
    expect(await open("/sign-in", { name: " Ada <b> " })).toContain("Welcome, Ada &lt;b&gt;</h1>")
    expect(cookie()).not.toBe(before)
    expect(await open("/shop")).toContain("2 × Assam")
    expect(await open("/sign-out", {})).toContain("You are signed out.")
    expect(cookie()).toBe("")
    expect(await open("/")).not.toContain("signed out")
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

  it("a sign-in that lost to its own double click redirects and sets no cookie", async () => {
    const [slow] = await startStores([{ url: "memory:", delay: 300 }]) // both load before either commits
    const cookie = await newSession(slow!)
    const signIn = () => call(slow!, "/sign-in", { cookie, form: { name: "Ada" } })
    const answers = await Promise.all([signIn(), signIn()])
    expect(answers.map(({ headers, status }) => `${status} ${headers.get("location")}`)).toEqual(["303 /", "303 /"])
    const cookies = answers.flatMap((answer) => answer.cookie ?? [])
    expect(cookies).toHaveLength(1)
    expect((await call(slow!, "/", { cookie: cookies[0] })).text).toContain("Welcome, Ada")
    await slow!.stop()
  })

  it("visits are counted, each once", async () => {
    const { cookie, open } = browser()
    await open("/visits", {})
    await times(9, () => call(app, "/visits", { cookie: cookie(), form: {} }))
    expect(await open("/visits", {})).toContain("<b>11</b> visits")
  })

  const pages = ["/", "/shop", "/notes", "/visits", "/sign-in"]

  it("a GET of a page writes nothing", async () => {
    const { cookie, open } = browser()
    await open("/cart/add", { product: "mint" })
    const { directory, remove } = temporaryDirectory()
    const onFiles = await startApp({ SESSION_STORE: `file:${directory}` })
    const { cookie: own } = await call(onFiles, "/cart/add", { form: { product: "mint" } })
    const records = () =>
      fs.readdirSync(directory, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name, parentPath }) => `${name} ${fs.readFileSync(path.join(parentPath, name)).toString("base64")}`)
    const before = records()
    expect(before).not.toEqual([])
    for (const page of [...pages, "/?done=signed-out", "/nope"]) {
      expect([page, (await call(app, page, { cookie: cookie() })).cookie]).toEqual([page, undefined])
      await call(onFiles, page, { cookie: own })
      await call(onFiles, page)
    }
    expect(records()).toEqual(before)
    await onFiles.stop()
    remove()
  })

  it("no page is kept by a cache, and signing out clears the cache", async () => {
    const { cookie, open } = browser()
    await open("/sign-in", { name: "Ada" })
    for (const page of [...pages, "/nope"]) {
      const { headers } = await call(app, page, { cookie: cookie() })
      expect([page, headers.get("cache-control")]).toEqual([page, "no-store"])
    }
    const { headers } = await call(app, "/sign-out", { cookie: cookie(), form: {} })
    expect(headers.get("clear-site-data")).toBe("\"cache\"")
  })

  it("a page of an error names who is signed in", async () => {
    const { cookie, open } = browser()
    await open("/sign-in", { name: "Ada" })
    const failures = [
      await call(app, "/nope", { cookie: cookie() }),
      await call(app, "/cart/add", { cookie: cookie(), form: { product: "coffee" } }),
      await call(app, "/notes/add", { cookie: cookie(), form: { text: " " } }),
      await call(app, "/sign-in", { cookie: cookie(), form: { name: "" } }),
      await call(app, "/notes/add", {
        cookie: cookie(),
        form: { text: "x" },
        headers: { "sec-fetch-site": "cross-site" }
      })
    ]
    expect(failures.map(({ status }) => status)).toEqual([404, 422, 422, 422, 403])
    for (const { text } of failures) expect(text).toContain("<b>Ada</b>")
  })

  it("a rejected note keeps its text, and the page says why", async () => {
    const { cookie, open } = browser()
    await open("/notes/add", { text: "first" })
    const long = `<long> ${"x".repeat(200)}`
    const answer = await call(app, "/notes/add", { cookie: cookie(), form: { text: long } })
    expect(answer.status).toBe(422)
    expect(answer.text).toContain(`value="${long.replace("<long>", "&lt;long&gt;")}"`)
    expect(answer.text).toContain("A note has room for 200 characters, and this one has 207. Please shorten it.")
    expect(answer.text).toContain("first")
    expect(await open("/notes")).not.toContain("long")
    expect((await call(app, "/notes/add", { form: { text: "  " } })).text).toContain(
      "Nothing is written in this note yet."
    )
  })

  it("a note that does not fit into the session keeps its text", async () => {
    const { cookie, open } = browser()
    const notes = Array.from({ length: 17 }, (_, i) => ({ key: `${i}`, value: "x".repeat(60_000) }))
    await open("/visits", {})
    for (const json of notes) await call(app, "/api/set", { cookie: cookie(), json })
    for (let n = 20_000; n > 100; n = Math.floor(n / 2)) {
      for (let i = 0; i < 2; i++) {
        await call(app, "/api/set", { cookie: cookie(), json: { key: `${n}-${i}`, value: "x".repeat(n) } })
      }
    }
    const answer = await call(app, "/notes/add", { cookie: cookie(), form: { text: "y".repeat(200) } })
    expect(answer.status).toBe(413)
    expect(answer.text).toContain(`value="${"y".repeat(200)}"`)
    expect(answer.text).toContain("There is no room for this note.")
  })

  it("Keep, Add and Remove are confirmed on the next page", async () => {
    const { open } = browser()
    const kept = await open("/notes/add", { text: "one" })
    expect(kept).toMatch(/role="status">Your note is kept\./)
    const id = /name="id" value="([^"]+)"/.exec(kept)![1]!
    expect(await open("/notes/remove", { id })).toMatch(/role="status">Removed\./)
    expect(await open("/cart/add", { product: "mint" })).toMatch(/role="status">In your cart\./)
    expect(await open("/cart/remove", { product: "mint" })).toMatch(/role="status">Removed\./)
    expect(await open("/notes?done=__proto__")).not.toContain("role=\"status\"")
  })

  it("borders of inputs and buttons have a contrast of 3:1 in both colour schemes", async () => {
    const { text } = await call(app, "/style.css")
    const schemes = [...text.matchAll(/--paper: [\s\S]*?\}/g)].map(([scheme]) =>
      Object.fromEntries([...scheme.matchAll(/--([\w-]+): (#\w{6})/g)].map(([, name, colour]) => [name!, colour!]))
    )
    expect(schemes).toHaveLength(2)
    const luminance = (colour: string) => {
      const [r, g, b] = [1, 3, 5].map((at) => {
        const part = parseInt(colour.slice(at, at + 2), 16) / 255
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
      })
      return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
    }
    for (const scheme of schemes) {
      for (const ground of ["paper", "sheet"]) {
        for (const border of ["edge", "leaf"]) {
          const [dark, light] = [luminance(scheme[border]!), luminance(scheme[ground]!)].sort((a, b) => a - b)
          expect((light! + 0.05) / (dark! + 0.05)).toBeGreaterThan(3)
        }
      }
    }
    for (const [, rule] of text.matchAll(/^(?:input|button)[^{]*\{([^}]*)\}/gm)) expect(rule).not.toContain("--line")
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

it("a store that does not answer is a 503 with Retry-After, on pages and in the API", async () => {
  const app = await startApp({ SESSION_STORE: "redis://127.0.0.1:1" })
  for (const target of ["/api/session", "/notes"]) {
    const { headers, status } = await call(app, target, { cookie: "A".repeat(54) })
    expect([target, status, headers.get("retry-after")]).toEqual([target, 503, "5"])
  }
  await app.stop()
})

describe("the environment", () => {
  it("without any: sessions in ./.sessions that a restart does not end, and a warning", async () => {
    const { directory, remove } = temporaryDirectory()
    const first = await startAppFromSource({}, directory)
    const answer = await call(first, "/api/set", { json: { key: "n", value: 1 } })
    await first.stop()
    expect(fs.readdirSync(path.join(directory, ".sessions"))).not.toEqual([])
    expect(answer.headers.get("set-cookie")).toMatch(/^tea-id=[\w-]{54}; Path=\/; HttpOnly; SameSite=Lax$/)
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

  it("the app names a port that is in use, and the variable for another", async () => {
    const app = await startApp({ SESSION_STORE: "memory:" })
    const { code, output } = await failToStart({ SESSION_STORE: "memory:", PORT: new URL(app.url).port })
    expect(code).toBe(1)
    expect(output).toMatch(
      /^Cannot start: port \d+ is in use\. Set another one, PORT=\d+, or PORT=0 for any free port\.\n$/m
    )
    await app.stop()
  })

  for (
    const [variable, value, says] of [
      ["SESSION_STORE", "oracle://u:hunter2@host/db", /A store's URL begins with one of memory: file: redis:/],
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
