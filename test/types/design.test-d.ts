// The example that the library was designed from, as it stands.
import { Effect, Layer, Schema } from "effect"
import { Session } from "effect-session"
import * as SessionStoreRedis from "effect-session/layers/Redis"

const CartItem = Schema.Struct({ sku: Schema.String })
type CartItem = typeof CartItem.Type
declare const item: CartItem

export class AppSession extends Session.Tag<AppSession>()("app/AppSession", {
  userId: Schema.optional(Schema.String),
  cart: Schema.optionalWith(Schema.Array(CartItem), { default: () => [] })
}) {}

const addToCart = (item: CartItem) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.update((s) => ({ ...s, cart: [...s.cart, item] }))
    return yield* session.get("userId")
  })

export const logout = Effect.gen(function*() {
  const session = yield* Session
  yield* session.destroy
})

export const Sessions = AppSession.layer({ idleTimeout: "30 minutes" }).pipe(
  Layer.provide(SessionStoreRedis.layer({ url: "redis://localhost" }))
)

export const userId = addToCart(item).pipe(Effect.provide(AppSession.layerTest({ userId: "u1" })))
