/** What holds between a Flask app and the example app on one store. */
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Browser, missing, type Process, startExample, startFlask, type Variables } from "./live.js"

export interface Backend {
  readonly name: string
  /** The example app's `SESSION_STORE`. Undefined if the server could not be had. */
  readonly url: string | undefined
  /** Records are pickles, which hold every value. */
  readonly isPickled?: boolean
  /** How many of 60 races may be lost, where no conditional write exists. */
  readonly lost?: number
  /** Bytes of the largest record. */
  readonly largest?: number
  /** The precision of a deadline in seconds. */
  readonly precision?: number
}

interface World {
  readonly flask: Process
  readonly ours: Process
  /** A second process of ours. */
  readonly other: Process
}

const pickles: ReadonlyArray<{ readonly protocol: number; readonly name: string; readonly hex: string }> = JSON.parse(
  fs.readFileSync(new URL("../fixtures/flask-session/pickle.json", import.meta.url), "utf8")
)

const randomId = () => Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url")

const withId = (sid: string) => {
  const browser = new Browser()
  browser.cookies.set("session", sid)
  return browser
}

export const sharing = (backend: Backend): void => {
  const reason = backend.url === undefined ? "no server" : missing
  describe.skipIf(reason !== undefined)(
    `Flask and the example app on ${backend.name}${reason === undefined ? "" : `: skipped, ${reason}`}`,
    () => {
      const prefix = `flask-${process.pid}-${Math.floor(performance.now())}:`

      const variables = (more: Variables = {}): Variables => ({
        SESSION_STORE: backend.url!,
        SESSION_KEY_PREFIX: prefix,
        ...more
      })

      const started: Array<Process> = []
      const start = async (more?: Variables): Promise<World> => {
        const flask = await startFlask(variables(more)) // makes the table
        const [ours, other] = await Promise.all([startExample(variables(more)), startExample(variables(more))])
        started.push(flask, ours, other)
        return { flask, ours, other }
      }
      afterAll(async () => {
        await new Browser().send(`${world.flask.url}/flask/drop`, {})
        await Promise.all(started.map((process) => process.stop()))
      })

      let world: World
      beforeAll(async () => {
        world = await start()
      }, 120_000)

      const flask = (browser: Browser, path: string, body?: unknown) =>
        browser.send(`${world.flask.url}/flask/${path}`, body)
      const ours = (browser: Browser, path: string, body?: unknown) =>
        browser.send(`${world.ours.url}/api/${path}`, body)
      const other = (browser: Browser, path: string, body?: unknown) =>
        browser.send(`${world.other.url}/api/${path}`, body)

      interface Raw {
        readonly hex: string
        readonly expiry: number
      }
      const raw = async (sid: string): Promise<Raw | null> =>
        (await new Browser().send(`${world.flask.url}/flask/raw?sid=${sid}`)).json
      const putRaw = (sid: string, hex: string, lifetime = 3600) =>
        new Browser().send(`${world.flask.url}/flask/raw?sid=${sid}`, { hex, lifetime })

      const loggedInByFlask = async () => {
        const browser = new Browser()
        await flask(browser, "set", { key: "user", value: "'alice'" })
        return browser
      }

      // ---------------------------------------------------------------------

      it("a login of Flask is read, changed and ended by ours", async () => {
        const browser = await loggedInByFlask()
        expect((await ours(browser, "session")).json).toEqual({ value: { user: "alice" }, isNew: false })
        expect((await ours(browser, "increment", { key: "n" })).json).toEqual({ value: 1 })
        expect((await flask(browser, "repr")).json.value).toBe("{'user': 'alice', 'n': 1}")
        const copy = browser.copy()
        await ours(browser, "logout", {})
        expect(browser.sid).toBeUndefined()
        expect((await flask(copy, "get?key=user")).json.value).toBeNull()
        expect(await raw(copy.sid ?? "x")).toBeNull()
      })

      it("a login of ours is read, changed and ended by Flask", async () => {
        const browser = new Browser()
        await ours(browser, "set", { key: "cart", value: [1, 2.5, "x", null, { "7": true, a: "b" }] })
        const anonymous = browser.sid!
        await ours(browser, "login", { user: "bob" })
        expect(browser.sid).not.toBe(anonymous)
        expect(await raw(anonymous)).toBeNull()
        await flask(browser, "set", { key: "f", value: "1.0" })
        expect((await flask(browser, "repr")).json.value).toBe(
          "{'cart': [1, 2.5, 'x', None, {'7': True, 'a': 'b'}], 'user': 'bob', 'f': 1.0}"
        )
        expect((await ours(browser, "increment", { key: "f" })).json).toEqual({ value: 2 })
        expect((await flask(browser, "repr")).json.value).toContain("'f': 2.0")
        const copy = browser.copy()
        await flask(browser, "logout", {})
        expect(browser.sid).toBeUndefined()
        expect((await ours(copy, "session")).json).toEqual({ value: {}, isNew: true })
      })

      it("an id that Flask renews is followed, and the old one is dead", async () => {
        const browser = await loggedInByFlask()
        const before = browser.copy()
        await flask(browser, "login", { user: "carol" })
        expect((await ours(browser, "session")).json.value).toEqual({ user: "carol" })
        expect((await ours(before, "session")).json.isNew).toBe(true)
      })

      it("a message that one side flashes is shown once by the other", async () => {
        const browser = await loggedInByFlask()
        await flask(browser, "flash", { message: "from Flask", category: "info" })
        const tabs = await Promise.all([ours(browser, "flashed"), other(browser, "flashed")])
        const messages = tabs.map(({ json }) => json.messages).sort((a, b) => a.length - b.length)
        expect(messages).toEqual([[], [["info", "from Flask"]]])
        expect((await flask(browser, "flashed")).json.messages).toEqual([])
        await ours(browser, "flash", { message: "from ours" })
        expect((await flask(browser, "flashed")).json.messages).toEqual([["message", "from ours"]])
        expect((await ours(browser, "flashed")).json.messages).toEqual([])
      })

      it("Python's values stay what they are while ours changes another key", async () => {
        const browser = await loggedInByFlask()
        const values = [
          "1.0",
          "-0.0",
          "2**53 + 1",
          "-2**63",
          "[1, 1.0, True, None, b'\\x00\\xff']",
          "{'10': 1, '9': 2, '__proto__': {'x': []}}",
          "{1: 'int', None: 'none', 2.5: 'float'}",
          "datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)",
          "'\\u2028 \\U0001f600'",
          "float('inf')"
        ]
        for (const [index, value] of values.entries()) await flask(browser, "set", { key: `k${index}`, value })
        const before = (await flask(browser, "repr")).json.value
        expect((await ours(browser, "increment", { key: "k3" })).status).toBe(200)
        await ours(browser, "set", { key: "user", value: "bob" })
        expect((await flask(browser, "repr")).json.value).toBe(
          before.replace("-9223372036854775808", "-9223372036854775807").replace("'alice'", "'bob'")
        )
      })

      it("a read of ours changes no byte", async () => {
        const browser = await loggedInByFlask()
        await flask(browser, "set", { key: "f", value: "[1.0, {'z': 1, 'a': 2}]" })
        const before = (await raw(browser.sid!))!
        await ours(browser, "session")
        await ours(browser, "typed")
        expect((await raw(browser.sid!))!.hex).toBe(before.hex)
      })

      it("a refresh moves the deadline and the cookie, and no byte", async () => {
        const browser = await loggedInByFlask()
        const { hex } = (await raw(browser.sid!))!
        await putRaw(browser.sid!, hex, 2_678_400 * 0.4)
        const before = (await raw(browser.sid!))!
        const { setCookie } = await ours(browser, "session")
        const after = (await raw(browser.sid!))!
        expect(setCookie.join()).toContain(`session=${browser.sid}`)
        expect(after.hex).toBe(before.hex)
        expect(after.expiry - before.expiry).toBeGreaterThan(2_678_400 * 0.5)
      })

      it("the deadline is where Flask puts it", async () => {
        const [one, two] = [new Browser(), new Browser()]
        await Promise.all([
          flask(one, "set", { key: "a", value: "1" }),
          ours(two, "set", { key: "a", value: 1 })
        ])
        const [byFlask, byOurs] = [await raw(one.sid!), await raw(two.sid!)]
        expect(byOurs!.hex).toBe(byFlask!.hex)
        expect(Math.abs(byOurs!.expiry - byFlask!.expiry)).toBeLessThan(backend.precision ?? 2)
      })

      describe("a slow write of ours", () => {
        const slowIncrement = async (browser: Browser, between: (browser: Browser) => Promise<unknown>) => {
          const tab = browser.copy()
          const increment = ours(tab, "increment", { key: "n", delayMs: 400 })
          await sleep(200)
          await between(browser)
          return { answer: await increment, tab }
        }

        it("is replayed over what Flask has set meanwhile", async () => {
          const browser = await loggedInByFlask()
          const { answer } = await slowIncrement(browser, () => flask(browser, "set", { key: "x", value: "5" }))
          expect(answer.status).toBe(200)
          expect((await flask(browser, "repr")).json.value).toBe("{'user': 'alice', 'x': 5, 'n': 1}")
        })

        it("does not bring back what Flask has logged out meanwhile", async () => {
          const browser = await loggedInByFlask()
          const sid = browser.sid!
          const { answer } = await slowIncrement(browser, () => flask(browser, "logout", {}))
          expect(answer.status).toBe(409)
          expect(answer.setCookie).toEqual([])
          expect(await raw(sid)).toBeNull()
        })

        it("does not follow a login of Flask", async () => {
          const browser = await loggedInByFlask()
          const sid = browser.sid!
          const { answer } = await slowIncrement(browser, () => flask(browser, "login", { user: "carol" }))
          expect(answer.status).toBe(409)
          expect(answer.setCookie).toEqual([])
          expect(await raw(sid)).toBeNull()
          expect((await flask(browser, "repr")).json.value).toBe("{'user': 'carol'}")
        })

        it("is refused when it rests on a number that Flask has changed", async () => {
          const browser = await loggedInByFlask()
          const naive = ours(browser.copy(), "naive", { key: "n", delayMs: 400 })
          await sleep(200)
          await flask(browser, "set", { key: "n", value: "7" })
          expect((await naive).status).toBe(409)
          expect((await flask(browser, "get?key=n")).json.value).toBe(7)
        })
      })

      it("a slow read of ours neither revives nor undoes", async () => {
        const browser = await loggedInByFlask()
        const sid = browser.sid!
        const reads = [ours(browser.copy(), "slow?ms=500"), ours(browser.copy(), "slow?ms=900")]
        await sleep(200)
        await flask(browser, "set", { key: "x", value: "5" })
        await reads[0]
        expect((await flask(browser, "get?key=x")).json.value).toBe(5)
        await flask(browser, "logout", {})
        await reads[1]
        expect(await raw(sid)).toBeNull()
      })

      it("20 increments and 20 tickets through two processes of ours end at 20", async () => {
        const browser = await loggedInByFlask()
        const all = Array.from({ length: 20 }, (_, i) => {
          const [one, two] = i % 2 === 0 ? [ours, other] : [other, ours]
          return [one(browser.copy(), "increment", { key: "n" }), two(browser.copy(), "ticket", { key: "t" })] as const
        })
        const tickets = await Promise.all(all.map(([, ticket]) => ticket))
        expect((await Promise.all(all.map(([increment]) => increment))).map(({ status }) => status)).toEqual(
          Array(20).fill(200)
        )
        expect(tickets.map(({ json }) => json.value).sort((a, b) => a - b)).toEqual(
          Array.from({ length: 20 }, (_, i) => i + 1)
        )
        expect((await flask(browser, "repr")).json.value).toMatch(/'n': 20/)
      }, 60_000)

      describe("races", () => {
        const rounds = Array.from({ length: 60 }, (_, i) => i)

        it("Flask's set beside an increment: ours overwrites nothing of Flask's", async () => {
          let lost = 0
          for (const round of rounds) {
            const browser = await loggedInByFlask()
            const [set, increment] = await Promise.all([
              flask(browser.copy(), "set", { key: "x", value: `${round}` }),
              ours(browser.copy(), "increment", { key: "n" })
            ])
            expect([set.status, increment.status]).toEqual([200, 200])
            if ((await flask(browser, "get?key=x")).json.value !== round) lost++
          }
          expect(lost).toBeLessThanOrEqual(backend.lost ?? 0)
        }, 60_000)

        it("Flask's logout beside an increment: the session stays dead", async () => {
          let revived = 0
          for (const _ of rounds) {
            const browser = await loggedInByFlask()
            const sid = browser.sid!
            const [, increment] = await Promise.all([
              flask(browser.copy(), "logout", {}),
              ours(browser.copy(), "increment", { key: "n" })
            ])
            if (await raw(sid) !== null) revived++
            if (increment.status === 409) expect(increment.setCookie).toEqual([])
          }
          expect(revived).toBeLessThanOrEqual(backend.lost ?? 0)
        }, 60_000)

        it("a login of ours beside Flask's set: one id opens the session", async () => {
          for (const _ of rounds) {
            const browser = await loggedInByFlask()
            const tab = browser.copy()
            const [login] = await Promise.all([
              ours(tab, "login", { user: "dave" }),
              flask(browser.copy(), "set", { key: "x", value: "1" })
            ])
            expect([200, 409]).toContain(login.status)
            if (login.status === 200) expect((await ours(tab, "session")).json.value.user).toBe("dave")
          }
        }, 60_000)
      })

      it.skipIf(backend.isPickled).each(pickles)(
        "a pickle of protocol $protocol ($name) is rewritten as Flask rewrites it",
        async ({ hex, name }) => {
          const [one, two] = [randomId(), randomId()]
          await Promise.all([putRaw(one, hex), putRaw(two, hex)])
          if (name === "rich") {
            // its "big" is 2^70, which msgpack does not hold
            expect((await ours(withId(two), "set", { key: "k", value: 1 })).status).toBe(500)
            expect((await raw(two))!.hex).toBe(hex)
          }
          const byFlask = await flask(withId(one), "set", { key: "big", value: "1" })
          const byOurs = await ours(withId(two), "set", { key: "big", value: 1 })
          expect([byFlask.status, byOurs.status]).toEqual([200, 200])
          expect((await raw(two))!.hex).toBe((await raw(one))!.hex)
        }
      )

      it("the scenario of Flask-Session's own tests", async () => {
        const browser = new Browser()
        const get = async () => (await ours(browser, "session")).json.value.value ?? "no value set"
        expect(await get()).toBe("no value set")
        expect((await ours(browser, "none")).vary).toBeNull()
        await ours(browser, "set", { key: "value", value: "42" })
        expect(await get()).toBe("42")
        expect((await ours(browser, "session")).vary).toBe("Cookie")
        await ours(browser, "set", { key: "value", value: "43" })
        expect(await get()).toBe("43")
        await ours(browser, "delete", { key: "value" })
        expect(await get()).toBe("no value set")
        expect(browser.sid).toBeUndefined() // nothing is left, so that the record and the cookie go
      })

      it("signed ids, no _permanent, JSON and short ids work alike on both sides", async () => {
        const outer = world
        const secrets = { SESSION_USE_SIGNER: "true", SECRET_KEY: "new", SECRET_KEY_FALLBACKS: "old,test-secret-key" }
        world = await start({
          ...secrets,
          SESSION_PERMANENT: "false",
          SESSION_ID_LENGTH: "16",
          SESSION_SERIALIZATION_FORMAT: "json",
          SESSION_REFRESH_EACH_REQUEST: "false",
          PERMANENT_SESSION_LIFETIME: "100"
        })
        try {
          const browser = await loggedInByFlask()
          expect(browser.sid).toMatch(/^[\w-]{22}\.[\w-]{27}$/)
          expect((await ours(browser, "session")).json.value).toEqual({ user: "alice" })
          const { setCookie } = await ours(browser, "login", { user: "bob" })
          expect(setCookie.join()).not.toMatch(/expires|max-age/i)
          expect((await flask(browser, "get?key=user")).json.value).toBe("bob")
          const [sid] = browser.sid!.split(".")
          expect((await raw(sid!))!.expiry - Date.now() / 1000).toBeLessThan(102)
          const forged = new Browser()
          forged.cookies.set("session", `${browser.sid!.slice(0, -2)}AA`)
          expect((await ours(forged, "session")).json.isNew).toBe(true)
        } finally {
          world = outer
        }
      }, 60_000)

      describe("a hostile record", () => {
        const pickle = (text: string) => Buffer.from(text, "latin1").toString("hex")
        const doubling = () => {
          const lines = Array.from({ length: 60 }, (_, i) => `p${i}\n0(g${i}\ng${i}\nl`)
          return pickle(`(dp999\nVa\n(l${lines.join("")}s.`)
        }
        const records: ReadonlyArray<readonly [string, string]> = [
          ["a pickle that doubles", doubling()],
          ["a pickle that calls os.system", pickle("cos\nsystem\n(S'true'\ntR.")],
          ["a pickle of another class", pickle("\x80\x02}U\x01acposix\nuname\ns.")],
          ["a pickle without an end", pickle("(dp0\nVuser\np1\nValice")],
          [
            "a pickle that builds an object",
            pickle("\x80\x02ccopy_reg\n_reconstructor\nc__main__\nA\nc__builtin__\nobject\nN\x87R}b.")
          ],
          ["a cut record", "82aa5f7065726d616e656e74c3a475736572a5616c69"],
          ["a record with something behind it", "81a475736572a5616c696365c0"],
          ["lists nested 100,000 deep", `81a161${"91".repeat(100_000)}c0`],
          ["a map that claims 2^32 entries", "dfffffffff"],
          ["bytes that claim 2^32", "81a161c6ffffffff00"],
          ["bad UTF-8", "81a161a2c328"],
          ["JSON nested 100,000 deep", Buffer.from(`{"a":${"[".repeat(100_000)}`).toString("hex")],
          ["text", Buffer.from("hello").toString("hex")],
          ["a list", "93010203"]
        ]
        const fitting = records.filter(([, hex]) => hex.length / 2 <= (backend.largest ?? Infinity))
        it.each(fitting)("that is %s is answered, is not overwritten, and the app lives", async (_, hex) => {
          const sid = randomId()
          const browser = withId(sid)
          await putRaw(sid, hex)
          const before = await raw(sid)
          for (const [path, body] of [["session"], ["increment", { key: "n" }], ["login", { user: "eve" }]] as const) {
            const answer = await ours(browser.copy(), path, body)
            expect(answer.status === 200 || answer.status >= 500).toBe(true)
            expect(answer.json.value?.user).toBeUndefined()
          }
          expect((await raw(sid))?.hex).toBe(before?.hex)
          expect((await ours(new Browser(), "session")).status).toBe(200)
        }, 8_000)
      })

      it.skipIf(backend.isPickled)("what cannot be stored is refused, and the record stays", async () => {
        const browser = await loggedInByFlask()
        const { hex } = (await raw(browser.sid!))!
        for (
          const [path, body] of [
            ["typed", { key: "big", value: { t: "int", v: "18446744073709551616" } }],
            ["set", { key: "half", value: "\ud800" }]
          ] as const
        ) {
          expect((await ours(browser, path, body)).status).toBeGreaterThanOrEqual(400)
          expect((await raw(browser.sid!))!.hex).toBe(hex)
        }
      })
    }
  )
}
