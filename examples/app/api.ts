/**
 * The JSON API: small calls to watch a session at work, also under
 * concurrency. Every answer is JSON.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Body from "./body.js"
import { Refused } from "./refused.js"
import { AppSession } from "./session.js"
import * as Values from "./values.js"

// What the calls take.

const Millis = Schema.Int.pipe(Schema.between(0, 60_000))

export const Key = Schema.Struct({ key: Schema.String })

export const KeyAndDelay = Schema.Struct({
  key: Schema.String,
  delayMs: Schema.optionalWith(Millis, { default: () => 0 })
})

export const Delay = Schema.Struct({
  ms: Schema.optionalWith(Schema.compose(Schema.NumberFromString, Millis), { default: () => 0 })
})

/** What cannot be told again: a number past the largest (1e999), or nesting beyond measure. */
const isExcessive = (value: unknown, depth = 32): boolean => {
  if (typeof value === "number") return !Number.isFinite(value)
  if (typeof value !== "object" || value === null) return false
  return depth === 0 || Object.values(value).some((item) => isExcessive(item, depth - 1))
}

export const KeyAndValue = Schema.Struct({
  key: Schema.String,
  value: Schema.Unknown.pipe(
    Schema.filter((value) =>
      value === undefined ? "is missing" : isExcessive(value) ? "a number is too large, or the nesting too deep" : true
    )
  )
})

export const User = Schema.Struct({ user: Schema.NonEmptyString })

// What they do.

const show = Effect.gen(function*() {
  const session = yield* AppSession
  const { values } = yield* session.value
  return { value: Values.toObject(values), isNew: yield* session.isNew }
})

export const notANumber = (key: string) =>
  new Refused({ status: 422, message: `What is stored at ${JSON.stringify(key)} is not a number.` })

/** The number at a key, as this request sees it. */
const countOf = (key: string) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    return Values.count(yield* session.get("values"), key) ?? (yield* notANumber(key))
  })

const set = ({ key, value }: typeof KeyAndValue.Type) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.update((s) => ({ ...s, values: Values.set(s.values, key, value) }))
    return { value }
  })

/** An update is a function: it runs again on what others have stored meanwhile, and none is lost. */
const increment = ({ delayMs, key }: typeof KeyAndDelay.Type) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    yield* countOf(key)
    yield* session.update((s) => {
      const count = Values.count(s.values, key)
      return count === undefined ? s : { ...s, values: Values.set(s.values, key, count + 1) }
    })
    yield* Effect.sleep(delayMs)
    const value = yield* countOf(key)
    yield* session.save
    yield* countOf(key) // somebody may have put something else there meanwhile, and nothing was added
    return { value }
  })

/** Read, wait, write: of several at once, all but the first to finish are told so with 409. */
const naive = ({ delayMs, key }: typeof KeyAndDelay.Type) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    const value = (yield* countOf(key)) + 1
    yield* Effect.sleep(delayMs)
    yield* session.set("values", Values.set(yield* session.get("values"), key, value))
    return { value }
  })

/** Answers the number that was really stored, so no two requests get the same. */
const ticket = ({ key }: typeof Key.Type) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    const value = yield* session.transact((s) => {
      const count = Values.count(s.values, key)
      return count === undefined
        ? [undefined, s]
        : [count + 1, { ...s, values: Values.set(s.values, key, count + 1) }]
    })
    return { value: value ?? (yield* notANumber(key)) }
  })

/** A new id at login, or whoever planted the old one would be logged in too. */
const login = ({ user }: typeof User.Type) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.regenerate
    yield* session.update((s) => ({ ...s, user, values: Values.set(s.values, "user", user) }))
    return { user }
  })

const logout = Effect.gen(function*() {
  const session = yield* AppSession
  yield* session.destroy
  return { loggedOut: true }
})

const slow = ({ ms }: typeof Delay.Type) => Effect.zipLeft(show, Effect.sleep(ms))

// Where they are found.

export const get = <E, R>(path: HttpRouter.PathInput, answer: Effect.Effect<unknown, E, R>) =>
  HttpRouter.get(path, Effect.map(answer, (value) => HttpServerResponse.unsafeJson(value)))

export const getWith = <A, I extends Readonly<Record<string, string | undefined>>, E, R>(
  path: HttpRouter.PathInput,
  schema: Schema.Schema<A, I>,
  answer: (input: A) => Effect.Effect<unknown, E, R>
) => get(path, Effect.flatMap(Body.query(schema), answer))

export const postEmpty = <E, R>(path: HttpRouter.PathInput, answer: Effect.Effect<unknown, E, R>) =>
  HttpRouter.post(path, Effect.map(answer, (value) => HttpServerResponse.unsafeJson(value)))

export const post = <A, I, E, R>(
  path: HttpRouter.PathInput,
  schema: Schema.Schema<A, I>,
  answer: (input: A) => Effect.Effect<unknown, E, R>
) =>
  HttpRouter.post(
    path,
    Body.json(schema).pipe(Effect.flatMap(answer), Effect.map((value) => HttpServerResponse.unsafeJson(value)))
  )

export const api = HttpRouter.empty.pipe(
  get("/none", Effect.succeed({ ok: true })),
  get("/session", show),
  getWith("/slow", Delay, slow),
  post("/set", KeyAndValue, set),
  post("/increment", KeyAndDelay, increment),
  post("/naive", KeyAndDelay, naive),
  post("/ticket", Key, ticket),
  post("/login", User, login),
  postEmpty("/logout", logout),
  HttpRouter.prefixAll("/api")
)
