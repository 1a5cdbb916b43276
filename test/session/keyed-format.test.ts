/** The engine on a format whose id is the key, without tokens, verifiers or lifetimes of its own. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { CommitQueue } from "../../src/internal/session/CommitQueue.js"
import { KeepAlive } from "../../src/internal/session/KeepAlive.js"
import { Outage } from "../../src/internal/session/Outage.js"
import { RequestSession } from "../../src/internal/session/RequestSession.js"
import { SessionHandle } from "../../src/internal/session/SessionHandle.js"
import type { Settings } from "../../src/internal/session/Settings.js"
import { SharedLoads } from "../../src/internal/session/SharedLoads.js"
import * as Memory from "../../src/layers/Memory.js"
import * as Payload from "../../src/schema/Payload.js"
import type { CookieChange } from "../../src/SessionCookie.js"
import { SessionStore, SessionStoreError } from "../../src/SessionStore.js"
import { outcome } from "../handle/world.js"
import { keyedFormat } from "../harness/keyedFormat.js"

interface Value {
  readonly count?: number | undefined
}
const initial: Value = {}
const payload = Payload.make(Schema.Struct({ count: Schema.optional(Schema.Number) }), () => initial)

/** Sessions over a memory store, each call of which passes through `on`. */
const make = (on: Partial<SessionStore["Type"]> | ((store: SessionStore["Type"]) => Partial<SessionStore["Type"]>)) =>
  Effect.map(Memory.make(), (services) => {
    const memory = Context.get(services, SessionStore)
    const store = { ...memory, ...(typeof on === "function" ? on(memory) : on) }
    const settings: Settings<Value> = {
      store,
      format: keyedFormat(payload),
      payload,
      onCorrupt: "anonymous",
      cookieName: "id",
      maxCookies: 4,
      keepAlive: new KeepAlive(Runtime.defaultRuntime),
      outage: new Outage("test"),
      shared: { commits: new CommitQueue(), loads: new SharedLoads() }
    }
    const open = (cookie?: string): Opened => {
      const session = new RequestSession(settings, cookie === undefined ? [] : [cookie])
      return Object.assign(new SessionHandle(session), { finish: session.finish, change: () => session.cookieChange })
    }
    return { memory, open }
  })

type Opened = SessionHandle<Value> & {
  readonly finish: RequestSession<Value>["finish"]
  readonly change: () => CookieChange
}

const increment = (session: Opened) => session.update((value) => ({ count: (value.count ?? 0) + 1 }))

const cookieOf = (session: Opened): string => {
  const change = session.change()
  return change._tag === "Set" ? Redacted.value(change.value) : change._tag
}

/** A new session with one increment in it. Returns its cookie. */
const begin = (open: (cookie?: string) => Opened) =>
  Effect.gen(function*() {
    const session = open()
    yield* increment(session)
    yield* session.finish
    return cookieOf(session)
  })

const rule = (name: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scoped(name, () => Effect.withRandom(body, Random.fixed([0])))

describe("a format whose id is the key", () => {
  rule(
    "stores, loads and replays",
    Effect.gen(function*() {
      const { open } = yield* make({})
      const cookie = yield* begin(open)
      const [one, other] = [open(cookie), open(cookie)]
      yield* increment(one)
      yield* increment(other)
      yield* one.finish
      yield* other.finish
      expect(yield* open(cookie).value).toEqual({ count: 3 })
    })
  )

  rule(
    "moves the record to a new key at regenerate",
    Effect.gen(function*() {
      const { memory, open } = yield* make({})
      const cookie = yield* begin(open)
      const session = open(cookie)
      yield* session.regenerate
      yield* increment(session)
      yield* session.finish
      const next = cookieOf(session)
      expect(next).not.toBe(cookie)
      expect(yield* open(next).value).toEqual({ count: 2 })
      expect(yield* memory.load(cookie)).toEqual(Option.none())
    })
  )

  rule(
    "replays a regenerate on the value that another request has stored meanwhile",
    Effect.gen(function*() {
      const { open } = yield* make({})
      const cookie = yield* begin(open)
      const session = open(cookie)
      yield* session.regenerate
      yield* increment(session)
      const other = open(cookie)
      yield* increment(other)
      yield* other.finish
      yield* session.finish
      expect(yield* open(cookieOf(session)).value).toEqual({ count: 3 })
      expect(yield* open(cookie).isNew).toBe(true)
    })
  )

  rule(
    "does not bring back a session that was logged out during regenerate",
    Effect.gen(function*() {
      const keys: Array<string> = []
      const { memory, open } = yield* make((memory) => ({
        insert: (key, data, expiresAt) => {
          keys.push(key)
          const logout = keys.length > 1 ? memory.remove(keys[0]!) : Effect.void
          return Effect.zipLeft(memory.insert(key, data, expiresAt), logout)
        }
      }))
      const cookie = yield* begin(open)
      const session = open(cookie)
      yield* session.regenerate
      expect(yield* outcome(session.finish)).toBe("Gone")
      expect(cookieOf(session)).toBe("Keep")
      expect(keys).toHaveLength(2)
      expect(yield* Effect.forEach(keys, (key) => memory.load(key))).toEqual([Option.none(), Option.none()])
    })
  )

  rule(
    "is unknown when the removal of the old record has no answer, and nothing is left of the new one",
    Effect.gen(function*() {
      const keys: Array<string> = []
      let fail = true
      const { memory, open } = yield* make((memory) => ({
        insert: (key, data, expiresAt) => {
          keys.push(key)
          return memory.insert(key, data, expiresAt)
        },
        remove: (key, version) => {
          const lost = fail && key === keys[0]
          fail = false
          const removed = memory.remove(key, version)
          return lost
            ? Effect.zipRight(removed, new SessionStoreError({ reason: "Timeout", operation: "remove" }))
            : removed
        }
      }))
      const cookie = yield* begin(open)
      const session = open(cookie)
      yield* session.regenerate
      expect(yield* outcome(session.finish)).toBe("unknown")
      expect(yield* Effect.forEach(keys, (key) => memory.load(key))).toEqual([Option.none(), Option.none()])
    })
  )

  rule(
    "is unknown when a write has no answer and the record has changed",
    Effect.gen(function*() {
      const { open } = yield* make((memory) => ({
        replace: (key, version, data, expiresAt) =>
          Effect.zipRight(
            memory.replace(key, version, data, expiresAt),
            new SessionStoreError({ reason: "Timeout", operation: "replace" })
          )
      }))
      const cookie = yield* begin(open)
      const session = open(cookie)
      yield* increment(session)
      expect(yield* outcome(session.finish)).toBe("unknown")
    })
  )

  rule(
    "writes again when a write without an answer was not done",
    Effect.gen(function*() {
      let calls = 0
      const { open } = yield* make((memory) => ({
        replace: (key, version, data, expiresAt) =>
          ++calls === 1
            ? new SessionStoreError({ reason: "Unavailable", operation: "replace" })
            : memory.replace(key, version, data, expiresAt)
      }))
      const cookie = yield* begin(open)
      const session = open(cookie)
      yield* increment(session)
      yield* session.finish
      expect(yield* open(cookie).value).toEqual({ count: 2 })
    })
  )

  rule(
    "ends at destroy",
    Effect.gen(function*() {
      const { open } = yield* make({})
      const cookie = yield* begin(open)
      const session = open(cookie)
      yield* session.destroy
      expect(cookieOf(session)).toBe("Clear")
      expect(yield* open(cookie).isNew).toBe(true)
    })
  )

  describe("an emptied session", () => {
    const empty = (session: Opened) => session.update(() => ({}))

    rule(
      "is removed, and its cookie cleared",
      Effect.gen(function*() {
        const { memory, open } = yield* make({})
        const cookie = yield* begin(open)
        const session = open(cookie)
        yield* empty(session)
        yield* session.finish
        expect(cookieOf(session)).toBe("Clear")
        expect(yield* memory.load(cookie)).toEqual(Option.none())
      })
    )

    rule(
      "is not stored when it was never there",
      Effect.gen(function*() {
        const { open } = yield* make({ insert: () => Effect.die("an insert") })
        const session = open()
        yield* increment(session)
        yield* empty(session)
        yield* session.finish
        expect(cookieOf(session)).toBe("Keep")
      })
    )

    rule(
      "is kept when another request has put something there meanwhile",
      Effect.gen(function*() {
        const { open } = yield* make({})
        const cookie = yield* begin(open)
        const session = open(cookie)
        yield* session.update(({ count = 0 }) => count === 1 ? {} : { count: count + 10 })
        const other = open(cookie)
        yield* increment(other)
        yield* other.finish
        yield* session.finish
        expect(yield* open(cookie).value).toEqual({ count: 12 })
        expect(cookieOf(session)).toBe("Keep")
      })
    )

    rule(
      "has gone when the reply to its removal was lost",
      Effect.gen(function*() {
        const { memory, open } = yield* make((memory) => ({
          remove: (key, version) =>
            Effect.zipRight(
              memory.remove(key, version),
              new SessionStoreError({ reason: "Timeout", operation: "remove" })
            )
        }))
        const cookie = yield* begin(open)
        const session = open(cookie)
        yield* empty(session)
        yield* session.finish
        expect(cookieOf(session)).toBe("Clear")
        expect(yield* memory.load(cookie)).toEqual(Option.none())
      })
    )

    rule(
      "begins anew when the same request writes again",
      Effect.gen(function*() {
        const { open } = yield* make({})
        const cookie = yield* begin(open)
        const session = open(cookie)
        yield* empty(session)
        yield* session.save
        yield* increment(session)
        yield* session.finish
        expect(cookieOf(session)).not.toBe(cookie)
        expect(yield* open(cookieOf(session)).value).toEqual({ count: 1 })
      })
    )
  })
})
