import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import * as Memory from "../../src/layers/Memory.js"
import { Session } from "../../src/Session.js"
import { SessionStore, SessionStoreError } from "../../src/SessionStore.js"

class AppSession extends Session.Tag<AppSession>()("test/outage", {
  count: Schema.optionalWith(Schema.Number, { default: () => 0 })
}) {}

const refused = Object.assign(new Error("connect ECONNREFUSED 10.0.0.1:6379"), {
  code: "ECONNREFUSED",
  syscall: "connect"
})
const leaking = Object.assign(new Error("duplicate entry hunter2"), { code: "ER_X" })

const setup = Effect.gen(function*() {
  const lines: Array<string> = []
  const fault: { current: SessionStoreError | undefined } = { current: undefined }
  const memory = Context.get(yield* Layer.build(Memory.layer()), SessionStore)
  const failing = <A>(operation: Effect.Effect<A, SessionStoreError>) =>
    Effect.suspend(() => fault.current === undefined ? operation : Effect.fail(fault.current))
  const store = SessionStore.of({
    load: (key) => fault.current?.operation === "touch" ? memory.load(key) : failing(memory.load(key)),
    insert: (...args) => failing(memory.insert(...args)),
    replace: (...args) => failing(memory.replace(...args)),
    touch: (...args) => failing(memory.touch(...args)),
    remove: (...args) => failing(memory.remove(...args))
  })
  const logger = Logger.make(({ logLevel, message }) => {
    const text = [message].flat().join(" ")
    if (text.includes("the store")) lines.push(`${logLevel.label} ${text}`)
  })
  const layer = AppSession.layer().pipe(Layer.provide(Layer.succeed(SessionStore, store)))
  const manager = Context.get(yield* Layer.build(layer), AppSession.Manager)
  const cookie = Redacted.value(yield* manager.issue({ count: 1 }))
  const logged = Logger.replace(Logger.defaultLogger, logger)
  const read = Effect.suspend(() => manager.open(cookie).handle.value).pipe(Effect.exit, Effect.provide(logged))
  const login = manager.issue({ count: 2 }).pipe(Effect.exit, Effect.provide(logged))
  const touched = Effect.suspend(() => {
    const { finish, handle } = manager.open(cookie)
    return Effect.zipRight(handle.value, finish)
  }).pipe(Effect.exit, Effect.provide(logged))
  return { fault, lines, login, read, touched }
})

describe("an outage of the store", () => {
  it.scoped("is logged once every 30 seconds with tag, reason and cause, and its end once", () =>
    Effect.gen(function*() {
      const { fault, lines, read } = yield* setup
      fault.current = new SessionStoreError({ reason: "Unavailable", operation: "load", cause: refused })
      yield* Effect.replicateEffect(read, 20)
      expect(lines).toHaveLength(1)
      expect(lines[0]).toMatch(
        /^WARN Session test\/outage: .* load is Unavailable \(connect ECONNREFUSED 10\.0\.0\.1:6379\)/
      )
      yield* TestClock.adjust("31 seconds")
      yield* Effect.replicateEffect(read, 20)
      expect(lines).toHaveLength(2)
      fault.current = undefined
      yield* Effect.replicateEffect(read, 20)
      expect(lines.slice(2)).toEqual(["INFO Session test/outage: the store works again."])
    }))

  it.scoped("is logged when only writes fail, and a later write ends it", () =>
    Effect.gen(function*() {
      const { fault, lines, login, read } = yield* setup
      fault.current = new SessionStoreError({ reason: "Timeout", operation: "insert" })
      yield* login
      expect(lines).toHaveLength(1)
      fault.current = undefined
      yield* read // a read says nothing of writes
      expect(lines).toHaveLength(1)
      yield* login
      expect(lines[1]).toMatch(/^INFO/)
    }))

  it.scoped("is logged once when deadlines alone cannot be moved, whatever the number of requests", () =>
    Effect.gen(function*() {
      const { fault, lines, touched } = yield* setup
      yield* TestClock.adjust("10 minutes")
      fault.current = new SessionStoreError({ reason: "Rejected", operation: "touch" })
      yield* Effect.replicateEffect(touched, 20)
      expect(lines).toEqual([expect.stringMatching(/touch is Rejected.*may expire early/)])
      fault.current = undefined
      yield* touched
      expect(lines[1]).toMatch(/^INFO .*works again/)
    }))

  it.scoped("is logged without the message of an error that may hold values", () =>
    Effect.gen(function*() {
      const { fault, lines, read } = yield* setup
      fault.current = new SessionStoreError({ reason: "Unavailable", operation: "load", cause: leaking })
      yield* read
      expect(lines[0]).toContain("(ER_X)")
      expect(lines[0]).not.toContain("hunter2")
    }))

  it.scoped("a payload that is too large or a record that does not decode is none", () =>
    Effect.gen(function*() {
      const { fault, lines, login, read } = yield* setup
      fault.current = new SessionStoreError({ reason: "TooLarge", operation: "insert", limit: 1, actual: 2 })
      yield* login
      fault.current = new SessionStoreError({ reason: "Corrupt", operation: "load" })
      yield* read
      expect(lines).toEqual([])
    }))
})
