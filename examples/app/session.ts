/**
 * What this site remembers of a visitor. Every field has a default or is
 * optional, so a visitor without a session has a value too, and costs nothing.
 */
import { PayloadCodec, Session } from "effect-session"
import * as Schema from "effect/Schema"
import { Values } from "./values.js"

export const Note = Schema.Struct({ id: Schema.String, text: Schema.String })
export type Note = typeof Note.Type

export const CartLine = Schema.Struct({ product: Schema.String, quantity: Schema.Number })
export type CartLine = typeof CartLine.Type

export class AppSession extends Session.Tag<AppSession>()("example/AppSession", {
  user: Schema.optional(Schema.String),
  visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
  notes: Schema.optionalWith(Schema.Array(Note), { default: () => [] }),
  cart: Schema.optionalWith(Schema.Array(CartLine), { default: () => [] }),
  /** What the JSON API stores. */
  values: Schema.optionalWith(Values, { default: () => [] })
}) {}

/** Half a surrogate pair is a legal string in JSON; msgpack, the default, has no place for it. */
export const codec = PayloadCodec.json()

/** In development the cookie has a name of its own: browsers share cookies between all ports of localhost. */
export const cookie = (secure: boolean) => secure ? { secure } : { secure, name: "tea-id" }
