/** This library, with the defaults of its options. */
import { Effect, Layer, Redacted, Schema } from "effect"
import { Session, SessionHttp } from "../../dist/index.js"
import * as Memory from "../../dist/layers/Memory.js"
import { payload } from "./payload.mjs"

const CartItem = Schema.Struct({
  sku: Schema.String,
  title: Schema.String,
  price: Schema.Number,
  quantity: Schema.Number
})

export class BenchSession extends Session.Tag()("effect-session/bench", {
  userId: Schema.optional(Schema.String),
  name: Schema.optional(Schema.String),
  locale: Schema.optional(Schema.String),
  roles: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
  cart: Schema.optionalWith(Schema.Array(CartItem), { default: () => [] }),
  count: Schema.optionalWith(Schema.Number, { default: () => 0 })
}) {}

export const withSession = SessionHttp.middleware(BenchSession)

/** Options of the memory store, if any. */
export const layer = (memory) => BenchSession.layer().pipe(Layer.provideMerge(Memory.layer(memory)))

/** The `Cookie` header of a new session with the payload in it. */
export const newCookie = Effect.gen(function*() {
  const manager = yield* BenchSession.Manager
  return `${manager.cookie.name}=${Redacted.value(yield* manager.issue(payload))}`
})
