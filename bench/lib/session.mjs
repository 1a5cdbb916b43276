/** This library, with the defaults of its options. */
import { Effect, Layer, Redacted, Schema } from "effect"
import { Session, SessionHttp } from "../../dist/index.js"
import * as Memory from "../../dist/layers/Memory.js"
import * as Sql from "../../dist/layers/Sql.js"
import { login, shop } from "./payload.mjs"
import { inPostgres, pgPool } from "./postgres.mjs"

const CartItem = Schema.Struct({
  sku: Schema.String,
  title: Schema.String,
  price: Schema.Number,
  quantity: Schema.Number
})

/** The session of all comparisons with others, and of a shop. */
export class Shop extends Session.Tag()("effect-session/bench/Shop", {
  userId: Schema.optional(Schema.String),
  name: Schema.optional(Schema.String),
  locale: Schema.optional(Schema.String),
  roles: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
  cart: Schema.optionalWith(Schema.Array(CartItem), { default: () => [] }),
  count: Schema.optionalWith(Schema.Number, { default: () => 0 })
}) {}

/** Next to nothing in it, so that what is left is the library and not the schema. */
export class Login extends Session.Tag()("effect-session/bench/Login", {
  userId: Schema.optional(Schema.String),
  count: Schema.optionalWith(Schema.Number, { default: () => 0 })
}) {}

/** The sessions of a tag, in a memory store with these options or in the PostgreSQL of `BENCH_STORE`. */
export const layer = (tag, memory) => tag.layer().pipe(Layer.provideMerge(inPostgres ? postgres : Memory.layer(memory)))

const postgres = Layer.suspend(() => Sql.layerPool({ table: "bench_effect_session", pool: pgPool() }))

export const withSession = SessionHttp.middleware

/** The `Cookie` header of a new session with the payload in it. */
export const newCookie = (tag) =>
  Effect.gen(function*() {
    const manager = yield* tag.Manager
    return `${manager.cookie.name}=${Redacted.value(yield* manager.issue(tag === Login ? login : shop))}`
  })
