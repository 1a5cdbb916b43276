/** The README's first app, with another store, port and a slow login, ended by SIGTERM. */
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest"
import { type App, call, startBundle, temporaryDirectory } from "./app.js"
import { bundle } from "./bundle.js"

const firstExample = () => {
  const readme = fs.readFileSync(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8")
  return /^```ts\n([\s\S]*?)^```/m.exec(readme)![1]!
}

/** Replaces a text that the README must still have. */
const replace = (text: string, from: string, to: string) => {
  if (!text.includes(from)) throw new Error(`The README has no ${from} any more`)
  return text.replace(from, to)
}

const printAddress = `() => {
  const server = createServer()
  return server.on("listening", () => console.log("Listening on http://localhost:" + server.address().port))
}`

const program = () =>
  [
    ["SessionStoreMemory.layer()", "SlowStore"],
    ["(createServer, { port: 3000 })", `(${printAddress}, { port: 0 })`],
    [
      "yield* session.regenerate",
      `yield* session.get("userId")
      yield* Effect.sleep(Number(process.env.DELAY))
      yield* session.regenerate`
    ],
    [
      "const login = ",
      `import * as SessionStoreUrl from "effect-session/layers/Url"
      const SlowStore = SessionStoreUrl.layer(process.env.SESSION_STORE).pipe(
        Layer.tap(() => Effect.sleep("300 millis")),
        Layer.tap(() => Effect.sync(() => console.log("the store is ready")))
      )
      const login = `
    ]
  ].reduce((text, [from, to]) => replace(text, from!, to!), firstExample())

const login = async (app: App, presented = "") => {
  const answer = await call(app, "/login", { method: "POST", headers: { cookie: presented } })
  return {
    status: answer.status,
    text: answer.text,
    location: answer.headers.get("location"),
    cookie: answer.headers.getSetCookie()[0]?.split(";")[0] ?? ""
  }
}

const me = async (app: App, cookie = "") => (await call(app, "/me", { headers: { cookie } })).text

describe("the README's app", () => {
  const files = temporaryDirectory()
  afterAll(files.remove)
  let main: string
  beforeAll(async () => {
    main = await bundle({ contents: program() })
  })

  for (const store of ["redis", "files"] as const) {
    const url = () => store === "redis" ? inject("urls").redis : `file:${files.directory}/sessions`

    it(`SIGTERM loses no login that the app has begun: ${store}`, async ({ skip }) => {
      const SESSION_STORE = url() ?? skip()
      const app = await startBundle(main, { SESSION_STORE, DELAY: "500" })
      const logins = Array.from({ length: 50 }, () => login(app))
      // Connections are accepted in their order: these answers come after the logins have begun.
      await me(app)
      await me(app)
      const code = await app.stop()
      const answers = await Promise.all(logins)
      expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(new Set(["200 welcome"]))
      expect(new Set(answers.map(({ cookie }) => cookie)).size).toBe(50)
      expect([code, app.output()]).toEqual([0, expect.not.stringMatching(/WARN|ERROR/)])

      const again = await startBundle(main, { SESSION_STORE, DELAY: "0" })
      const users = await Promise.all(answers.map(({ cookie }) => me(again, cookie)))
      expect(new Set(users)).toEqual(new Set(["ada"]))
      await again.stop()
    })

    it(`a login that lost to its own double click redirects and sets no cookie: ${store}`, async ({ skip }) => {
      const app = await startBundle(main, { SESSION_STORE: url() ?? skip(), DELAY: "300" })
      const { cookie: presented } = await login(app)
      const answers = await Promise.all([login(app, presented), login(app, presented), login(app, presented)])
      const [won, ...lost] = answers.sort((a, b) => a.status - b.status)
      expect(won).toMatchObject({ status: 200, text: "welcome" })
      for (const answer of lost) expect(answer).toMatchObject({ status: 303, location: "/me", cookie: "" })
      expect([await me(app, won!.cookie), await me(app, presented)]).toEqual(["ada", "nobody"])
      await app.stop()
    })

    it(`the port opens when the store is ready: ${store}`, async ({ skip }) => {
      const SESSION_STORE = url() ?? skip()
      const app = await startBundle(main, { SESSION_STORE, DELAY: "0" })
      expect(app.output()).toMatch(/the store is ready[\s\S]*Listening on/)
      expect(await me(app)).toBe("nobody")
      await app.stop()
    })
  }
})
