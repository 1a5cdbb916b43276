/** The JSON API on a session that Flask shares. A key of the API is a key of Flask's session. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as Flask from "effect-session/flask"
import { Python } from "effect-session/flask"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Shapes from "../api.js"
import { Refused } from "../refused.js"
import { countAt, plusOne, sameAt, toJson, toObject } from "./json.js"
import { FlaskSession } from "./session.js"

const Flash = Schema.Struct({
  message: Schema.Unknown,
  category: Schema.optionalWith(Schema.String, { default: () => "message" })
})

const Typed = Schema.Struct({ key: Schema.String, value: Schema.Unknown })

const show = Effect.gen(function*() {
  const session = yield* FlaskSession
  return { value: toObject(yield* session.value), isNew: yield* session.isNew }
})

const showTyped = Effect.gen(function*() {
  const session = yield* FlaskSession
  return { value: Python.toTagged(yield* session.value) }
})

const put = (key: string, value: Python.PyValue) =>
  Effect.flatMap(FlaskSession, (session) => session.update((dict) => dict.set(key, value)))

const set = ({ key, value }: typeof Shapes.KeyAndValue.Type) => Effect.as(put(key, Python.fromPlain(value)), { value })

const setTyped = ({ key, value }: typeof Typed.Type) =>
  Effect.try({
    try: () => Python.fromTagged(value),
    catch: () => new Refused({ status: 422, message: "value: this is no tagged value." })
  }).pipe(
    Effect.flatMap((tagged) => put(key, tagged)),
    Effect.as({ ok: true })
  )

const remove = ({ key }: typeof Shapes.Key.Type) =>
  Effect.as(Effect.flatMap(FlaskSession, (session) => session.update((dict) => dict.delete(key))), { ok: true })

/** The number at a key, as this request sees it. */
const countOf = (key: string) =>
  Effect.gen(function*() {
    const session = yield* FlaskSession
    return countAt(yield* session.value, key) ?? (yield* Shapes.notANumber(key))
  })

const increment = ({ delayMs, key }: typeof Shapes.KeyAndDelay.Type) =>
  Effect.gen(function*() {
    const session = yield* FlaskSession
    yield* countOf(key)
    yield* session.update((dict) => {
      const count = countAt(dict, key)
      return count === undefined ? dict : dict.set(key, plusOne(count))
    })
    yield* Effect.sleep(delayMs)
    const value = yield* countOf(key)
    yield* session.save
    yield* countOf(key) // another request may have put something else there meanwhile, and nothing was added
    return { value: toJson(value) }
  })

/** Reads, waits and writes, unless the key has changed meanwhile. */
const naive = ({ delayMs, key }: typeof Shapes.KeyAndDelay.Type) =>
  Effect.gen(function*() {
    const session = yield* FlaskSession
    const seen = yield* session.value
    const next = plusOne(yield* countOf(key))
    yield* Effect.sleep(delayMs)
    const isSet = yield* session.transact((dict) =>
      sameAt(dict, seen, key) ? [true, dict.set(key, next)] : [false, dict]
    )
    return isSet
      ? { value: toJson(next) }
      : yield* new Refused({ status: 409, message: "Another request has changed this value meanwhile." })
  })

const ticket = ({ key }: typeof Shapes.Key.Type) =>
  Effect.gen(function*() {
    const session = yield* FlaskSession
    const value = yield* session.transact<bigint | Python.PyFloat | undefined>((dict) => {
      const count = countAt(dict, key)
      return count === undefined ? [undefined, dict] : [plusOne(count), dict.set(key, plusOne(count))]
    })
    return { value: toJson(value ?? (yield* Shapes.notANumber(key))) }
  })

const login = ({ user }: typeof Shapes.User.Type) =>
  Effect.gen(function*() {
    const session = yield* FlaskSession
    yield* session.regenerate
    yield* session.update((dict) => dict.set("user", user))
    return { user }
  })

const logout = Effect.gen(function*() {
  const session = yield* FlaskSession
  yield* session.destroy
  return { loggedOut: true }
})

const slow = ({ ms }: typeof Shapes.Delay.Type) => Effect.zipLeft(show, Effect.sleep(ms))

const flash = ({ category, message }: typeof Flash.Type) =>
  Effect.as(Effect.flatMap(FlaskSession, (session) => Flask.flash(session, message, category)), { ok: true })

const flashed = Effect.gen(function*() {
  const messages = yield* Flask.takeFlashes(yield* FlaskSession)
  return { messages: toJson(Python.fromPlain(messages)) }
})

export const api = HttpRouter.empty.pipe(
  Shapes.get("/none", Effect.succeed({ ok: true })),
  Shapes.get("/session", show),
  Shapes.getWith("/slow", Shapes.Delay, slow),
  Shapes.post("/set", Shapes.KeyAndValue, set),
  Shapes.post("/delete", Shapes.Key, remove),
  Shapes.post("/increment", Shapes.KeyAndDelay, increment),
  Shapes.post("/naive", Shapes.KeyAndDelay, naive),
  Shapes.post("/ticket", Shapes.Key, ticket),
  Shapes.post("/login", Shapes.User, login),
  Shapes.postEmpty("/logout", logout),
  Shapes.post("/flash", Flash, flash),
  Shapes.get("/flashed", flashed),
  Shapes.get("/typed", showTyped),
  Shapes.post("/typed", Typed, setTyped),
  HttpRouter.prefixAll("/api")
)
