import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { redisUrl } from "../backends.js"
import { Browser, missing, type Process, startExample, startFlask } from "./live.js"
import { sharing } from "./sharing.js"

sharing({ name: "Redis", url: redisUrl })

describe.skipIf(!redisUrl || missing !== undefined)("Flask with the interface of docs/flask.md, which compares", () => {
  const variables = {
    SESSION_STORE: redisUrl!,
    SESSION_KEY_PREFIX: `flask-comparing-${process.pid}:`,
    COMPARING: "true"
  }
  let flask: Process
  let ours: Process
  beforeAll(async () => {
    ;[flask, ours] = await Promise.all([startFlask(variables), startExample(variables)])
  }, 60_000)
  afterAll(() => Promise.all([flask?.stop(), ours?.stop()]))

  const login = async () => {
    const browser = new Browser()
    await browser.send(`${flask.url}/flask/set`, { key: "user", value: "'alice'" })
    return browser
  }
  const set = (browser: Browser, delayMs = 0) =>
    browser.send(`${flask.url}/flask/set`, { key: "x", value: "5", delayMs })
  const read = (browser: Browser, ms: number) => browser.send(`${flask.url}/flask/repr?ms=${ms}`)
  const increment = (browser: Browser) => browser.send(`${ours.url}/api/increment`, { key: "n" })
  const logout = (browser: Browser) => browser.send(`${ours.url}/api/logout`, {})

  it("a slow write of Flask does not overwrite what ours wrote meanwhile", async () => {
    const browser = await login()
    const slow = set(browser.copy(), 400)
    await sleep(200)
    await increment(browser)
    const { setCookie, status } = await slow
    expect({ status, setCookie }).toEqual({ status: 409, setCookie: [] })
    expect((await read(browser, 0)).json.value).toBe("{'user': 'alice', 'n': 1}")
    expect((await set(browser)).status).toBe(200)
  })

  it("a slow read of Flask neither overwrites nor fails", async () => {
    const browser = await login()
    const slow = read(browser.copy(), 400)
    await sleep(200)
    await increment(browser)
    expect((await slow).status).toBe(200)
    expect((await read(browser, 0)).json.value).toBe("{'user': 'alice', 'n': 1}")
  })

  it("a slow request of Flask does not bring back what ours has logged out", async () => {
    const browser = await login()
    const slow = [set(browser.copy(), 400), read(browser.copy(), 400)]
    await sleep(200)
    const copy = browser.copy()
    await logout(browser)
    expect((await Promise.all(slow)).map(({ status }) => status)).toEqual([409, 200])
    expect((await read(copy, 0)).json.value).toBe("{}")
  })

  it("is the code of the guide", () => {
    const read = (file: string) => fs.readFileSync(new URL(file, import.meta.url), "utf8")
    const [, code = "-"] = /(WRITE = [^]*)$/.exec(read("comparing.py")) ?? []
    expect(read("../../docs/flask.md").replace(/^ {3}/gm, "")).toContain(code)
  })

  it("Flask's own logins and logouts work", async () => {
    const browser = await login()
    await browser.send(`${flask.url}/flask/login`, { user: "bob" })
    expect((await read(browser, 0)).json.value).toBe("{'user': 'bob'}")
    await browser.send(`${flask.url}/flask/logout`, {})
    expect(browser.sid).toBeUndefined()
  })
})
