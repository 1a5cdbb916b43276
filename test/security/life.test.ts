/** How sessions begin, change hands and end, seen from outside: requests, answers, and what is stored. */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import { Session, SessionStore } from "effect-session"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"
import { AppSession, type Handler } from "../http/app.js"
import { type Answer, bytesOf, forged, idOf, makeWorld, type Send, unknown } from "./world.js"

const text = HttpServerResponse.text

/** What a handler reads while it waits: `slow` writes after the gate has opened. */
const gated = Effect.map(
  Effect.all([Deferred.make<void>(), Deferred.make<void>()]),
  ([arrived, gate]) => ({
    arrived: Deferred.await(arrived),
    open: Deferred.succeed(gate, undefined),
    slow: Effect.gen(function*() {
      const session = yield* AppSession
      yield* session.get("n")
      yield* Deferred.succeed(arrived, undefined)
      yield* Deferred.await(gate)
      yield* session.update((value) => ({ ...value, n: value.n + 1 }))
      return text("late")
    }) satisfies Handler
  })
)

const loginAs = (user: string): Handler =>
  Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.clear
    yield* session.regenerate
    yield* session.set("user", user)
    return text("in")
  })

const whole: Handler = Effect.flatMap(AppSession, (session) => Effect.map(session.value, HttpServerResponse.unsafeJson))

const statuses = (answers: ReadonlyArray<Answer>) => answers.map(({ status }) => status)

describe("beginning", () => {
  it.scoped("OW-11 REG-A3 NI-01: no id is adopted: not an unknown one, nor one that ended or expired", () =>
    Effect.gen(function*() {
      const { count, issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const [live, destroyed, expired] = [yield* issue(), yield* issue(), yield* issue()]
      yield* send("/destroy", destroyed)
      yield* TestClock.adjust("29 minutes")
      yield* send("/write", live)
      yield* TestClock.adjust("1 minutes")
      for (const cookie of [unknown, destroyed, expired, forged(live)]) {
        const [answer, operations] = yield* Effect.promise(() =>
          probe.during(() => Effect.runPromise(send("/write", cookie)))
        )
        expect(operations).toEqual(["load", "insert"])
        expect(bytesOf(answer.cookie).subarray(0, 16)).not.toEqual(bytesOf(cookie).subarray(0, 16))
        expect((yield* send("/is-new", cookie)).body).toBe("true")
        expect((yield* send("/read", answer.cookie)).body).toBe("1")
      }
      expect(yield* count).toBe(5)
    }))

  it.scoped("RFC-17: a cookie that the browser lost is the start of another session, and no error", () =>
    Effect.gen(function*() {
      const { node } = yield* makeWorld
      const send = yield* node()
      const first = yield* send("/write")
      expect((yield* send("/read")).body).toBe("0")
      const second = yield* send("/write")
      expect([second.status, idOf(second.cookie) === idOf(first.cookie)]).toEqual([200, false])
      expect((yield* send("/read", first.cookie)).body).toBe("1")
    }))

  it.scopedLive(
    "REG-E7 H-36: 5,000 requests without a session store nothing and get no cookie",
    () =>
      Effect.gen(function*() {
        const { count, node, probe } = yield* makeWorld
        const send = yield* node()
        for (let i = 0; i < 1000; i++) {
          const guess = `__Host-id=${String(i).padStart(54, "A").slice(0, 53)}A`
          for (const [path, cookie] of [["/none"], ["/read"], ["/destroy"], ["/read", guess]] as const) {
            expect((yield* send(path, cookie)).headers.getSetCookie()).toEqual([])
          }
          yield* send("/destroy", "__Host-id=bogus")
        }
        expect(yield* count).toBe(0)
        expect(new Set(probe.operations)).toEqual(new Set(["load"]))
        expect(probe.operations).toHaveLength(1000) // the guesses
      }),
    30_000
  )

  it.scoped("H-36: a user who regenerates without end has one record, and it does not grow", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      let cookie = yield* issue()
      const sizes = new Set<number>()
      for (let i = 0; i < 50; i++) {
        cookie = (yield* send("/regenerate", cookie)).cookie!
        const records = Object.values(yield* probe.records)
        expect(records).toHaveLength(1)
        sizes.add(records[0]!.split(" ")[2]!.length)
      }
      expect(sizes.size).toBeLessThan(12) // until its rings of four and eight are full
    }))

  it.scoped("REG-A8: an insert that is refused is no success: the session is stored under another id", () =>
    Effect.gen(function*() {
      const { count, node, probe } = yield* makeWorld
      const send = yield* node()
      const { insert } = probe.store
      const refused: Array<string> = []
      Object.assign(probe.store, {
        insert: (...args: Parameters<typeof insert>) =>
          refused.push(args[0]) <= 3 ? Effect.succeed(Option.none()) : insert(...args)
      })
      const answer = yield* send("/write")
      expect([answer.status, (yield* send("/read", answer.cookie)).body]).toEqual([200, "1"])
      expect(new Set(refused).size).toBe(4)
      expect(yield* count).toBe(1)
    }))

  it.scoped("REG-E8: a store that takes no insert is asked a bounded number of times, then it is a conflict without a cookie", () =>
    Effect.gen(function*() {
      const { node, probe } = yield* makeWorld
      const send = yield* node()
      let asked = 0
      Object.assign(probe.store, { insert: () => Effect.sync(() => (asked++, Option.none())) })
      const answer = yield* send("/write")
      expect([answer.status, answer.cookie]).toEqual([409, undefined])
      expect(asked).toBe(32)
    }))

  it.scoped("OW-16: a record whose deadline is no number is no session", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 5 })
      const { load } = probe.store
      Object.assign(probe.store, {
        load: (key: string) => Effect.map(load(key), Option.map((stored) => ({ ...stored, expiresAt: NaN })))
      })
      expect((yield* send("/read", cookie)).body).not.toBe("5")
    }))
})

describe("login", () => {
  it.scoped("OW-13 ASVS-7.2.4 REG-A4: gives a new id, and the old one opens nothing, on any node", () =>
    Effect.gen(function*() {
      const { count, issue, node } = yield* makeWorld
      const [a, b] = [yield* node(), yield* node({ whole })]
      const before = yield* issue({ n: 7 })
      const { cookie } = yield* a("/regenerate", before)
      expect(idOf(cookie)).not.toBe(idOf(before))
      expect(JSON.parse((yield* b("/whole", before)).body)).toEqual({ n: 0 })
      expect(JSON.parse((yield* b("/whole", cookie)).body)).toEqual({ n: 7, user: "me" })
      expect(yield* count).toBe(1)
    }))

  it.scoped("OW-14 REG-A4: as somebody else leaves nothing of the last user, neither data nor id", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const send = yield* node({ whole, "login-b": loginAs("b") })
      const a = yield* issue({ n: 7, user: "a" })
      const { cookie: b } = yield* send("/login-b", a)
      expect(JSON.parse((yield* send("/whole", b)).body)).toEqual({ n: 0, user: "b" })
      expect(JSON.parse((yield* send("/whole", a)).body)).toEqual({ n: 0 })
    }))

  it.scoped("REG-A5: that cannot be stored changes nothing: the old id lives, no cookie is set", () =>
    Effect.gen(function*() {
      const { count, issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const before = yield* issue({ n: 7 })
      probe.failing = { replace: "Rejected" }
      const failed = yield* send("/regenerate", before)
      probe.failing = {}
      expect([failed.status, failed.cookie]).toEqual([503, undefined])
      expect((yield* send("/read", before)).body).toBe("7")
      const { cookie } = yield* send("/regenerate", before)
      expect([(yield* send("/read", before)).body, (yield* send("/read", cookie)).body]).toEqual(["0", "7"])
      expect(yield* count).toBe(1)
    }))

  it.scoped("REG-A6: of 100 at once, each of which saw the session, one wins and 99 are told", () =>
    Effect.gen(function*() {
      const { count, issue, node, probe } = yield* makeWorld
      const { arrived, open, slow } = yield* gated
      const race = Effect.gen(function*() {
        yield* (yield* AppSession).regenerate
        return yield* slow
      })
      const send = yield* node({ race })
      const cookie = yield* issue()
      const racing = yield* Effect.fork(
        Effect.all(Array.from({ length: 100 }, () => send("/race", cookie)), { concurrency: "unbounded" })
      )
      yield* arrived
      while (probe.operations.length < 100) { // until all have loaded
        yield* Effect.promise(() => new Promise(setImmediate))
      }
      yield* open
      const answers = yield* Fiber.join(racing)
      expect(statuses(answers).sort()).toEqual([200, ...Array(99).fill(409)])
      expect(answers.flatMap(({ cookie }) => cookie ?? [])).toHaveLength(1)
      expect(yield* count).toBe(1)
    }).pipe(Effect.withRandom(Random.fixed([0]))))
})

describe("logout", () => {
  it.scoped("ASVS-7.4.1 REG-B9 NI-03 NI-14: is known to every node with its next request", () =>
    Effect.gen(function*() {
      const { count, issue, node } = yield* makeWorld
      const [a, b] = [yield* node(), yield* node()]
      const cookie = yield* issue({ n: 1 })
      expect((yield* b("/read", cookie)).body).toBe("1")
      expect((yield* a("/destroy", cookie)).status).toBe(200)
      expect((yield* b("/read", cookie)).body).toBe("0")
      expect(yield* count).toBe(0)
    }))

  it.scoped("OW-20 NI-03: that fails in the store is an error: the cookie stays, and so does the session", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      probe.failing = { remove: "Unavailable" }
      const failed = yield* send("/destroy", cookie).pipe(Effect.fork)
      yield* TestClock.adjust("1 minute")
      const answer = yield* Fiber.join(failed)
      probe.failing = {}
      expect([answer.status, answer.headers.getSetCookie()]).toEqual([503, []])
      expect((yield* send("/read", cookie)).body).toBe("1")
      expect((yield* send("/destroy", cookie)).headers.getSetCookie()).toHaveLength(1)
      expect((yield* send("/read", cookie)).body).toBe("0")
    }))

  const underASlowRequest = (end: (send: Send, cookie: string) => Effect.Effect<unknown>) =>
    Effect.gen(function*() {
      const { count, issue, node, probe } = yield* makeWorld
      const { arrived, open, slow } = yield* gated
      const send = yield* node({ slow })
      const cookie = yield* issue({ n: 1 })
      const running = yield* Effect.fork(send("/slow", cookie))
      yield* arrived
      yield* end(send, cookie)
      yield* open
      const late = yield* Fiber.join(running)
      expect([late.status, late.headers.getSetCookie()]).toEqual([409, []])
      expect(probe.operations).not.toContain("touch")
      expect(yield* count).toBe(0)
      expect((yield* send("/read", cookie)).body).toBe("0")
    })

  it.scoped("REG-B1 REG-B3: under a slow request: that is told, stores nothing under any id, and sets no cookie", () =>
    underASlowRequest((send, cookie) => send("/destroy", cookie)))

  it.scoped("REG-B2: so is a request under which the session expired", () =>
    underASlowRequest(() => TestClock.adjust("31 minutes")))

  it.scoped("REG-B2: a touch that is due finds the session gone, and does not bring it back", () =>
    Effect.gen(function*() {
      const { count, issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue()
      yield* TestClock.adjust("10 minutes")
      const { touch } = probe.store
      Object.assign(probe.store, {
        touch: (...args: Parameters<typeof touch>) => Effect.zipRight(send("/destroy", cookie), touch(...args))
      })
      expect((yield* send("/read", cookie)).status).toBe(200)
      expect(probe.operations).toContain("touch")
      expect(yield* count).toBe(0)
    }))

  for (
    const [name, after] of Object.entries({
      "a defect": Effect.dieMessage("a listener has a bug"),
      "a failure": Effect.fail("no response" as never),
      "an interruption": Effect.interrupt
    })
  ) {
    it.scoped(`REG-B7: ${name} after it does not undo it, and the cookie is cleared`, () =>
      Effect.gen(function*() {
        const { count, issue, node } = yield* makeWorld
        const out = Effect.zipRight(Effect.flatMap(Session, (session) => session.destroy), after)
        const send = yield* node({ out })
        const answer = yield* send("/out", yield* issue())
        expect(answer.status).toBeGreaterThanOrEqual(500)
        expect(answer.cookie).toBe("__Host-id=")
        expect(yield* count).toBe(0)
      }))
  }

  it.scoped("REG-B10: by an id that nobody vouches for removes nothing", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const [live, other] = [yield* issue({ n: 1 }), yield* issue({ n: 2 })]
      const before = yield* probe.records
      for (const cookie of [forged(live), unknown, `${live}; ${other}`, `${live}=`]) {
        expect((yield* send("/destroy", cookie)).cookie).toBe("__Host-id=")
      }
      expect(probe.operations).not.toContain("remove")
      expect(yield* probe.records).toEqual(before)
    }))
})

describe("deadlines", () => {
  it.scoped("OW-16 ASVS-7.3.1 NI-05: a store that hands out what is past its idle deadline is not believed", () =>
    Effect.gen(function*() {
      const { issue, probe } = yield* makeWorld
      const cookie = yield* issue({ n: 1 })
      const [key] = Object.keys(yield* probe.records) as [string]
      const stored = yield* probe.store.load(key)
      const keeper = Layer.succeed(SessionStore, { ...probe.store, load: () => Effect.succeed(stored) })
      const context = yield* Layer.build(Layer.provide(AppSession.layer(), keeper))
      const isNew = Effect.suspend(() => Context.get(context, AppSession.Manager).open(idOf(cookie)).handle.isNew)
      yield* TestClock.adjust("1799 seconds")
      expect(yield* isNew).toBe(false)
      yield* TestClock.adjust("2 seconds")
      expect(yield* isNew).toBe(true)
    }))

  it.scoped("OW-17 ASVS-7.3.2 NI-13 REG-B5: used every quarter of an hour, read or written, a session ends at its 24 hours", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue()
      for (let use = 1; use < 24 * 4; use++) {
        yield* TestClock.adjust("15 minutes")
        expect((yield* send(use % 2 === 0 ? "/write" : "/read", cookie)).status).toBe(200)
      }
      expect((yield* send("/read", cookie)).body).toBe("47")
      yield* TestClock.adjust("15 minutes")
      expect((yield* send("/read", cookie)).body).toBe("0")
    }))

  it.scoped("REG-B5: a record put back after its end opens nothing", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      const [key] = Object.keys(yield* probe.records) as [string]
      const { data } = Option.getOrThrow(yield* probe.store.load(key))
      yield* TestClock.adjust("24 hours")
      yield* probe.store.insert(key, data, Number.MAX_SAFE_INTEGER)
      expect((yield* send("/read", cookie)).body).toBe("0")
    }))

  it.scoped("OW-19: what a client says about lifetimes changes none", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      const longer = `${cookie}; Max-Age=99999999; Expires=Fri, 31 Dec 9999 23:59:59 GMT; idleTimeout=99999999`
      const headers = { "expires": "Fri, 31 Dec 9999 23:59:59 GMT", "date": "Thu, 01 Jan 1970 00:00:00 GMT" }
      expect(JSON.parse((yield* send("/expires-at", longer, { headers })).body).value).toBe("1970-01-01T00:30:00.000Z")
      yield* TestClock.adjust("30 minutes")
      expect((yield* send("/read", longer, { headers })).body).toBe("0")
    }))
})

describe("at once", () => {
  it.scopedLive("REG-B12 ASVS-15.4.1 ASVS-15.4.2: 200 increments: each 200 is in the value, the rest are conflicts", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const [a, b] = [yield* node(), yield* node()]
      const cookie = yield* issue()
      const answers = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => i % 2 === 0 ? a : b),
        (send) => send("/write", cookie),
        { concurrency: "unbounded" }
      )
      const done = statuses(answers).filter((status) => status === 200).length
      expect(new Set(statuses(answers))).toEqual(done === 200 ? new Set([200]) : new Set([200, 409]))
      expect(Number((yield* a("/read", cookie)).body)).toBe(done)
    }))

  it.scoped("REG-B12: two requests that set different keys both have their way", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const { arrived, open, slow } = yield* gated
      const name = Effect.flatMap(AppSession, (session) => Effect.as(session.set("user", "u"), text("named")))
      const send = yield* node({ slow, name, whole })
      const cookie = yield* issue()
      const running = yield* Effect.fork(send("/slow", cookie))
      yield* arrived
      yield* send("/name", cookie)
      yield* open
      expect((yield* Fiber.join(running)).status).toBe(200)
      expect(JSON.parse((yield* send("/whole", cookie)).body)).toEqual({ n: 1, user: "u" })
    }))

  it.scopedLive("ASVS-15.4.3: requests cut off while they wait for their turn hold up nobody", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const { replace } = probe.store
      Object.assign(probe.store, {
        replace: (...args: Parameters<typeof replace>) => Effect.zipRight(Effect.sleep(1), replace(...args))
      })
      const send = yield* node()
      const cookie = yield* issue()
      yield* Effect.forEach(Array.from({ length: 60 }, (_, i) => i), (i) =>
        Effect.promise(() => {
          const controller = new AbortController()
          if (i % 2 === 0) setTimeout(() => controller.abort(), i / 2)
          return Effect.runPromise(send("/write", cookie, { signal: controller.signal })).catch(() => "cut off")
        }), { concurrency: "unbounded" })
      expect((yield* send("/write", cookie)).status).toBe(200)
    }))

  it.scoped("REG-E8: a store that never agrees is asked a bounded number of times, then it is a conflict", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue()
      Object.assign(probe.store, { replace: () => Effect.succeed(Option.none()) })
      const answer = yield* send("/write", cookie)
      expect([answer.status, JSON.parse(answer.body)]).toMatchObject([409, { reason: "Conflict" }])
      expect(probe.operations.filter((operation) => operation === "replace").length).toBeLessThanOrEqual(32)
    }).pipe(Effect.withRandom(Random.fixed([0]))))
})

describe("a store that fails", () => {
  const reasons = { Unavailable: 503, Timeout: 503, Throttled: 503, Rejected: 503, TooLarge: 413 } as const
  for (const [reason, status] of Object.entries(reasons)) {
    it.scoped(`ASVS-16.5.1 ASVS-16.5.3: ${reason} on load is ${status}, a general text and no anonymous session`, () =>
      Effect.gen(function*() {
        const { issue, node, probe } = yield* makeWorld
        let entered = false
        const secret = Effect.gen(function*() {
          yield* (yield* AppSession).get("user")
          entered = true
          return text("within")
        })
        const send = yield* node({ secret })
        const cookie = yield* issue({ n: 1 })
        probe.failing = { load: reason as keyof typeof reasons }
        const answer = yield* send("/secret", cookie)
        expect([answer.status, answer.headers.getSetCookie(), entered]).toEqual([status, [], false])
        expect(Object.keys(JSON.parse(answer.body)).sort().filter((key) => key !== "limit" && key !== "actual"))
          .toEqual(reason === "TooLarge" ? ["_tag", "reason"] : ["_tag", "applied", "reason"])
        expect(answer.body).not.toContain("driver")
        expect(answer.body).not.toContain(Object.keys(yield* probe.records)[0])
        probe.failing = {}
        expect((yield* send("/read", cookie)).body).toBe("1")
      }))
  }

  it.scoped("ASVS-16.5.2: what does not use the session goes on, and so do visitors without a cookie who only read", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue()
      probe.failing = { load: "Unavailable", insert: "Unavailable" }
      expect(statuses([yield* send("/none", cookie), yield* send("/none"), yield* send("/read")])).toEqual([
        200,
        200,
        200
      ])
    }))
})
