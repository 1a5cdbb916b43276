/** Sessions in Flask-Session's format, over a memory store whose bytes can be seen. */
import { describe, expect, it } from "@effect/vitest"
import { Session, type SessionError, SessionStore } from "effect-session"
import * as Flask from "effect-session/flask"
import * as Memory from "effect-session/layers/Memory"
import * as CountingStore from "effect-session/testing/CountingStore"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import * as fs from "node:fs"
import { inspect } from "node:util"

class AppSession extends Session.Tag<AppSession>()("test/FlaskSession", {
  user: Schema.optional(Schema.String),
  n: Schema.optional(Schema.Number),
  ...Flask.FlashFields
}) {}

class DictSession extends Session.Tag<DictSession>()("test/FlaskDict", Flask.Dict, { initial: Flask.emptyDict }) {}

// the memory store's sweep would wake for every minute of the days that the tests let pass
const Unswept = Layer.scopedContext(
  Effect.clockWith((clock) => Effect.withClock(Memory.make(), { ...clock, sleep: () => Effect.never }))
)

const Store = CountingStore.layer.pipe(Layer.provide(Unswept))

const withApp = (options?: Flask.Options) =>
  Flask.layer(AppSession, { cookie: { secure: false }, ...options }).pipe(Layer.provideMerge(Store))

const withDict = (options?: Flask.Options) =>
  Flask.layer(DictSession, { cookie: { secure: false }, ...options }).pipe(Layer.provideMerge(Store))

const sid = "BpG2XvK2IoiQcj6a4mZjGkgnkRYus6sZ9RS8IIQfxZ0"
const lifetime = 2_678_400_000

const stored = (key: string) => Effect.flatMap(SessionStore, (store) => store.load(key))

const hexAt = (key: string) =>
  Effect.map(
    stored(key),
    Option.match({ onNone: () => "none", onSome: ({ data }) => Buffer.from(data).toString("hex") })
  )

const put = (hex: string, key = sid, expiresAt = lifetime) =>
  Effect.flatMap(SessionStore, (store) => store.insert(key, Buffer.from(hex, "hex"), expiresAt))

const open = (...cookies: ReadonlyArray<string>) => Effect.map(AppSession.Manager, (manager) => manager.open(cookies))

const openDict = (...cookies: ReadonlyArray<string>) =>
  Effect.map(DictSession.Manager, (manager) => manager.open(cookies))

const cookieOf = (opened: Session.Opened<unknown>) =>
  Effect.map(opened.cookie, (change) => change._tag === "Set" ? Redacted.value(change.value) : change._tag)

const expiryOf = (opened: Session.Opened<unknown>) =>
  Effect.map(opened.cookie, (change) => change._tag === "Set" ? Option.getOrNull(change.expiresAt) : change._tag)

const reasonOf = <A, E, R>(effect: Effect.Effect<A, E | SessionError, R>) =>
  Effect.map(Effect.either(effect), (it) => Either.isLeft(it) ? (it.left as SessionError).reason : "none")

const fixture = (name: string) =>
  JSON.parse(fs.readFileSync(new URL(`../fixtures/flask-session/${name}.json`, import.meta.url), "utf8"))

const layered = (name: string, layer: ReturnType<typeof withApp>) => ({
  effect: (body: Effect.Effect<void, unknown, Layer.Layer.Success<typeof layer>>) =>
    it.effect(name, () => Effect.provide(body, layer))
})

const test = (name: string, options?: Flask.Options) => layered(name, withApp(options)).effect

const dictTest = (name: string, options?: Flask.Options) =>
(
  body: Effect.Effect<void, unknown, Layer.Layer.Success<ReturnType<typeof withDict>>>
) => it.effect(name, () => Effect.provide(body, withDict(options)))

const login = (user: string) => (session: typeof AppSession.Service) => session.set("user", user)

const write = (
  cookie: string | undefined,
  body: (session: typeof AppSession.Service) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function*() {
    const opened = yield* open(...cookie === undefined ? [] : [cookie])
    yield* body(opened.handle)
    yield* opened.finish
    return opened
  })

describe("records", () => {
  test("a new session is stored as Flask-Session stores it")(Effect.gen(function*() {
    const cookie = yield* cookieOf(yield* write(undefined, login("alice")))
    expect(cookie).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(yield* hexAt(cookie)).toBe("82aa5f7065726d616e656e74c3a475736572a5616c696365")
    expect(Option.map(yield* stored(cookie), ({ expiresAt }) => expiresAt)).toEqual(Option.some(lifetime))
  }))

  test("a new session has no _permanent when permanent is false", { permanent: false })(Effect.gen(function*() {
    const opened = yield* write(undefined, login("alice"))
    expect(yield* hexAt(yield* cookieOf(opened))).toBe("81a475736572a5616c696365")
    expect(yield* expiryOf(opened)).toBeNull()
  }))

  test("a session is written as JSON when that is configured", { serializationFormat: "json" })(
    Effect.gen(function*() {
      const cookie = yield* cookieOf(yield* write(undefined, login("alice")))
      expect(Buffer.from(yield* hexAt(cookie), "hex").toString()).toBe(`{"_permanent":true,"user":"alice"}`)
    })
  )

  test("a key that the request did not change keeps its bytes, whatever the schema knows of it")(
    Effect.gen(function*() {
      // {"7": float32 1.5, "n": 1.0, None: datetime, "user": "alice"}
      const rest = "a137ca3fc00000" + "a16ecb3ff0000000000000" + "c0d7ffa1dcd42065937d25"
      yield* put(`84${rest}a475736572a5616c696365`)
      yield* write(sid, login("bob"))
      expect(yield* hexAt(sid)).toBe(`84a137ca3fc00000a16ecb3ff0000000000000a475736572a3626f62c0d7ffa1dcd42065937d25`)
    })
  )

  test("a read changes no byte")(Effect.gen(function*() {
    const hex = "de0002a16eca3fc00000a475736572a5616c696365"
    yield* put(hex)
    yield* TestClock.adjust("20 days")
    const opened = yield* write(sid, (session) => Effect.asVoid(session.value))
    expect(yield* hexAt(sid)).toBe(hex)
    expect(Option.map(yield* stored(sid), ({ expiresAt }) => expiresAt)).toEqual(
      Option.some(20 * 86_400_000 + lifetime)
    )
    expect(yield* cookieOf(opened)).toBe("Keep") // no _permanent
  }))

  test("a refresh sends the cookie of a permanent session again")(Effect.gen(function*() {
    yield* put("82aa5f7065726d616e656e74c3a475736572a5616c696365")
    yield* TestClock.adjust("20 days")
    const opened = yield* write(sid, (session) => Effect.asVoid(session.value))
    expect(yield* cookieOf(opened)).toBe(sid)
    expect(yield* expiryOf(opened)).toBe(20 * 86_400_000 + lifetime)
  }))

  test("a read moves nothing when refreshEachRequest is false", { refreshEachRequest: false })(
    Effect.gen(function*() {
      yield* put("82aa5f7065726d616e656e74c3a475736572a5616c696365")
      yield* TestClock.adjust("30 days")
      const opened = yield* write(sid, (session) => Effect.asVoid(session.value))
      expect(Option.map(yield* stored(sid), ({ expiresAt }) => expiresAt)).toEqual(Option.some(lifetime))
      expect(yield* cookieOf(opened)).toBe("Keep")
    })
  )

  test("a pickle of a release before 0.7 is read, and rewritten as msgpack")(Effect.gen(function*() {
    const [{ hex }] = fixture("pickle").filter((it: { name: string }) => it.name === "simple")
    yield* put(hex)
    expect(yield* (yield* open(sid)).handle.get("user")).toBe("alice")
    yield* write(sid, login("bob"))
    expect(yield* hexAt(sid)).toBe("82aa5f7065726d616e656e74c3a475736572a3626f62")
  }))

  test("setLifetime changes _permanent in its place")(Effect.gen(function*() {
    yield* put("82aa5f7065726d616e656e74c3a475736572a5616c696365")
    const opened = yield* write(sid, (session) => session.setLifetime({ persistent: false }))
    expect(yield* hexAt(sid)).toBe("82aa5f7065726d616e656e74c2a475736572a5616c696365")
    expect(yield* expiryOf(opened)).toBeNull()
  }))

  test("setLifetime takes no timeouts, which Flask has no place for")(Effect.gen(function*() {
    yield* put("81a475736572a5616c696365")
    const { finish, handle } = yield* open(sid)
    yield* handle.setLifetime({ idleTimeout: "1 hour" })
    expect(yield* reasonOf(finish)).toBe("Encode")
    expect(yield* hexAt(sid)).toBe("81a475736572a5616c696365")
  }))

  test("a session without keys is deleted, and its cookie cleared")(Effect.gen(function*() {
    yield* put("82aa5f7065726d616e656e74c3a475736572a5616c696365")
    const opened = yield* write(sid, (session) => session.update(() => ({})))
    expect(yield* hexAt(sid)).toBe("none")
    expect(yield* cookieOf(opened)).toBe("Clear")
  }))

  test("a session is not emptied while keys are left that the schema does not know")(Effect.gen(function*() {
    yield* put("82a475736572a5616c6963650102")
    yield* write(sid, (session) => session.update(() => ({})))
    expect(yield* hexAt(sid)).toBe("810102")
  }))

  test("clear drops every key but _permanent")(Effect.gen(function*() {
    yield* put("83aa5f7065726d616e656e74c2a475736572a5616c6963650102")
    yield* write(sid, (session) => Effect.zipRight(session.clear, session.set("n", 1)))
    expect(yield* hexAt(sid)).toBe("82aa5f7065726d616e656e74c2a16e01")
  }))

  test("a regenerate moves the record to a new id")(Effect.gen(function*() {
    yield* put("82a475736572a5616c6963650102")
    const opened = yield* write(sid, (session) => session.regenerate)
    expect(yield* hexAt(yield* cookieOf(opened))).toBe("82a475736572a5616c6963650102")
    expect(yield* hexAt(sid)).toBe("none")
  }))

  for (const [what, hex] of [["empty", ""], ["null", "c0"]] as const) {
    test(`an ${what} record is no session`)(Effect.gen(function*() {
      yield* put(hex)
      expect(yield* (yield* open(sid)).handle.isNew).toBe(true)
    }))
  }
})

describe("records that cannot be read", () => {
  const foreign = "80049525000000000000008c05706f736978948c0673797374656d9493948c0a746f756368202f746d70948594529494 2e"
    .replace(" ", "")

  test("are left alone, and the request goes on as a new session")(Effect.gen(function*() {
    yield* put(foreign)
    const opened = yield* write(sid, login("mallory"))
    expect(yield* hexAt(sid)).toBe(foreign)
    expect(yield* cookieOf(opened)).not.toBe(sid)
  }))

  test("fail when that is asked for", { onCorrupt: "fail" })(Effect.gen(function*() {
    yield* put(foreign)
    expect(yield* reasonOf((yield* open(sid)).handle.value)).toBe("Corrupt")
    expect(yield* hexAt(sid)).toBe(foreign)
  }))
})

describe("ids", () => {
  for (const [length, pattern] of [[8, /^[\w-]{11}$/], [16, /^[\w-]{22}$/], [96, /^[\w-]{128}$/]] as const) {
    test(`${length} bytes are ${pattern}`, { idLength: length })(Effect.gen(function*() {
      const cookie = yield* cookieOf(yield* write(undefined, login("alice")))
      expect(cookie).toMatch(pattern)
      expect(yield* (yield* open(cookie)).handle.get("user")).toBe("alice")
    }))
  }

  test("UUIDs of releases before 0.6 open their sessions")(Effect.gen(function*() {
    const uuid = "12345678-1234-5678-1234-567812345678"
    yield* put("81a475736572a5616c696365", uuid)
    expect(yield* (yield* open(uuid)).handle.get("user")).toBe("alice")
  }))

  test("anything else is refused before the store is asked")(Effect.gen(function*() {
    const others = [
      "",
      "short",
      `${sid}.`,
      `${sid}\r\n`,
      `../${sid}`,
      "x".repeat(129),
      `${sid}é`,
      `"${sid}"`,
      `${sid}.sig`
    ]
    for (const cookie of others) {
      expect(yield* (yield* open(cookie)).handle.isNew).toBe(true)
    }
    expect((yield* Effect.flatMap(CountingStore.StoreCounts, ({ counts }) => counts)).load).toBe(0)
  }))

  test("an unknown id is never adopted")(Effect.gen(function*() {
    expect(yield* cookieOf(yield* write(sid, login("alice")))).not.toBe(sid)
    expect(yield* hexAt(sid)).toBe("none")
  }))

  test("an id is shown to nobody")(Effect.gen(function*() {
    yield* put("81a475736572a5616c696365")
    const { handle } = yield* open(sid)
    const ref = Option.getOrThrow(yield* handle.ref)
    expect(ref).toMatch(/^[\w-]{22}$/)
    expect(inspect(handle, { depth: 20, showHidden: true }) + JSON.stringify(handle)).not.toContain(sid)
  }))
})

describe("signed ids", () => {
  const vectors: ReadonlyArray<{ secret: string; sid: string; signed: string }> = fixture("signer")

  for (const { secret, sid, signed } of vectors) {
    const secrets = ["another", Redacted.make(secret)]
    test(`${signed} opens a session`, { secrets })(Effect.gen(function*() {
      yield* put("81a475736572a5616c696365", sid)
      expect(yield* (yield* open(signed)).handle.get("user")).toBe("alice")
    }))
  }

  const { secret, sid: id, signed } = vectors[0]!

  test("the first secret signs new ids", { secrets: [secret, "another"] })(Effect.gen(function*() {
    yield* put("82aa5f7065726d616e656e74c3a475736572a5616c696365", id)
    yield* TestClock.adjust("1 second")
    expect(yield* cookieOf(yield* write(signed, login("bob")))).toBe(signed)
  }))

  test("an id without a good signature is refused before the store is asked", { secrets: [secret] })(
    Effect.gen(function*() {
      for (const cookie of [id, `${id}.`, `${signed}=`, signed.slice(0, -1), vectors[1]!.signed, `.${signed}`]) {
        expect(yield* (yield* open(cookie)).handle.isNew).toBe(true)
      }
      expect((yield* Effect.flatMap(CountingStore.StoreCounts, ({ counts }) => counts)).load).toBe(0)
    })
  )
})

describe("flash messages", () => {
  test("are stored as Flask stores them")(Effect.gen(function*() {
    yield* put("81a475736572a5616c696365")
    yield* write(sid, (session) => Flask.flash(session, "hi", "info"))
    expect(yield* hexAt(sid)).toBe("82a475736572a5616c696365a85f666c61736865739192a4696e666fa26869")
  }))

  test("are shown once, of two tabs in one")(Effect.gen(function*() {
    yield* put("82a475736572a5616c696365a85f666c61736865739192a4696e666fa26869")
    const tabs = [yield* open(sid), yield* open(sid)]
    yield* Effect.forEach(tabs, ({ handle }) => handle.value)
    const shown = yield* Effect.forEach(tabs, ({ handle }) => Flask.takeFlashes(handle))
    expect(shown).toEqual([[["info", "hi"]], []])
    expect(yield* hexAt(sid)).toBe("81a475736572a5616c696365")
  }))
})

describe("Flask.Dict", () => {
  const { PyDict, PyFloat } = Flask.Python

  dictTest("has every key but _permanent, in order and with its type")(Effect.gen(function*() {
    yield* put("84a137cb3ff0000000000000" + "aa5f7065726d616e656e74c3" + "0102" + "a130c0")
    expect(yield* (yield* openDict(sid)).handle.value).toEqual(
      new PyDict([["7", new PyFloat(1)], [1n, 2n], ["0", null]])
    )
  }))

  dictTest("keeps the bytes of what did not change, and _permanent in its place")(Effect.gen(function*() {
    yield* put("84a137ca3fc00000" + "aa5f7065726d616e656e74c3" + "0102" + "a130c0")
    const { finish, handle } = yield* openDict(sid)
    yield* handle.update((dict) => dict.set("0", 300n).set("__proto__", "x"))
    yield* finish
    expect(yield* hexAt(sid)).toBe(
      "85a137ca3fc00000" + "aa5f7065726d616e656e74c3" + "0102" + "a130cd012c" + "a95f5f70726f746f5f5fa178"
    )
  }))

  for (
    const [what, value] of [["2^64", 2n ** 64n], ["half a surrogate pair", "\ud800"], [
      "a list as a key",
      undefined
    ]] as const
  ) {
    dictTest(`${what} is refused, and the record stays`)(Effect.gen(function*() {
      yield* put("81a475736572a5616c696365")
      const { finish, handle } = yield* openDict(sid)
      yield* handle.update((dict) =>
        value === undefined ? new PyDict([[[1n], 1n]]) : dict.set("deep", [new PyDict([["x", value]])])
      )
      expect(yield* reasonOf(finish)).toBe("Encode")
      expect(yield* hexAt(sid)).toBe("81a475736572a5616c696365")
    }))
  }
})

describe("removeAgainAfter", () => {
  const removeAgainAfter = ["5 seconds", "30 seconds"] as const

  for (
    const [what, end] of [
      ["a logout", (session: typeof AppSession.Service) => session.destroy],
      ["a login", (session: typeof AppSession.Service) => session.regenerate],
      ["an emptied session", (session: typeof AppSession.Service) => session.update(() => ({}))]
    ] as const
  ) {
    test(`ends again what Flask has written back after ${what}`, { removeAgainAfter })(Effect.gen(function*() {
      const hex = "81a475736572a5616c696365"
      yield* put(hex)
      yield* write(sid, end)
      for (const wait of ["5 seconds", "25 seconds"] as const) {
        yield* put(hex) // by a request of Flask that was in flight
        yield* TestClock.adjust(wait)
        expect(yield* hexAt(sid)).toBe("none")
      }
    }))
  }

  test("leaves a session alone that goes on", { removeAgainAfter })(Effect.gen(function*() {
    yield* put("81a475736572a5616c696365")
    yield* write(sid, login("bob"))
    yield* TestClock.adjust("1 minute")
    expect(yield* hexAt(sid)).not.toBe("none")
  }))
})

describe("options", () => {
  const wrong: ReadonlyArray<Flask.Options> = [
    { lifetime: 999 },
    { lifetime: "4000 days" },
    { idLength: 7 },
    { idLength: 97 },
    { idLength: 20.5 },
    { secrets: [""] },
    { removeAgainAfter: ["5 seconds", 0] },
    { cookie: { name: "a b" } }
  ]
  for (const options of wrong) {
    it.effect(`${JSON.stringify(options)} is refused`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(Layer.provide(Flask.layer(AppSession, options), Store)))
        expect(error._tag).toBe("SessionConfigError")
        expect(error.message).toContain(error.option)
      }).pipe(Effect.scoped))
  }
})
