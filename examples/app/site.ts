/** The pages: forms by POST, each answered with a redirect. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { SessionError } from "effect-session"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import * as Body from "./body.js"
import { type Html, html } from "./html.js"
import { page, type Visitor } from "./layout.js"
import { AppSession, type CartLine } from "./session.js"
import { icon, style } from "./style.js"

type Handle = typeof AppSession.Service
type State = Effect.Effect.Success<Handle["value"]>

const teas = [
  { id: "assam", name: "Assam", taste: "malty, for cold mornings" },
  { id: "jasmine", name: "Jasmine pearls", taste: "a garden in the evening" },
  { id: "mint", name: "Mountain mint", taste: "clear as the air up there" },
  { id: "rooibos", name: "Rooibos", taste: "warm, and lets you sleep" }
]

const nameOf = (product: string) => teas.find(({ id }) => id === product)?.name ?? product

const plural = (count: number, one: string, many = `${one}s`) => `${count} ${count === 1 ? one : many}`

const show = (path: string, title: string, visitor: Visitor, content: Html) => page(path, title, content, { visitor })

const saveOrDrop = (session: Handle) => Effect.tapError(session.save, () => Effect.ignore(session.reload))

/** The second sign-in of a double click lost to the first: the browser goes on with the cookie that the first has set. */
const saveSignIn = (session: Handle) =>
  Effect.catchIf(saveOrDrop(session), (error) => error.reason === "Gone", () => Effect.void)

/**
 * Answers a form: commits what `change` recorded and sends the browser on. The
 * library would commit by itself, and answer a failure with JSON; for a page
 * of our own we save here, and drop what could not be saved.
 */
const action = <A, I, E>(
  path: HttpRouter.PathInput,
  fields: Schema.Schema<A, I>,
  next: string,
  change: (session: Handle, input: A) => Effect.Effect<unknown, E>,
  save: (session: Handle) => Effect.Effect<void, SessionError> = saveOrDrop
) =>
  HttpRouter.post(
    path,
    Effect.gen(function*() {
      const input = yield* Body.form(fields)
      const session = yield* AppSession
      yield* change(session, input)
      yield* save(session)
      return HttpServerResponse.redirect(next, { status: 303 })
    })
  )

const Text = (maxLength: number) =>
  Schema.compose(Schema.Trim, Schema.String.pipe(Schema.minLength(1), Schema.maxLength(maxLength)))

// The start

const farewellOf = (s: State): readonly [string | undefined, State] => {
  const { farewell, ...rest } = s
  return farewell === undefined ? [undefined, s] : [farewell, rest]
}

const start = Effect.gen(function*() {
  const session = yield* AppSession
  const farewell = yield* session.transact(farewellOf) // writes only when there is one
  const s = yield* session.value
  return show(
    "/",
    s.user === undefined ? "Welcome" : `Welcome, ${s.user}`,
    s,
    html`
    ${farewell === undefined ? undefined : html`<p class="notice" role="status">${farewell}</p>`}
    <p class="lead">A small tea room that remembers you for as long as you like, and forgets you when you ask.</p>
    <div class="cards">
      <a class="card" href="/shop"><h2>Shop</h2><p>${
      s.cart.length === 0 ? "Your cart is empty." : `${plural(s.cart.length, "kind")} of tea in your cart.`
    }</p></a>
      <a class="card" href="/notes"><h2>Notes</h2><p>${
      s.notes.length === 0 ? "Nothing written down yet." : `${plural(s.notes.length, "note")} kept for you.`
    }</p></a>
      <a class="card" href="/visits"><h2>Visits</h2><p>${
      s.visits === 0 ? "Not counted yet." : `Counted ${plural(s.visits, "time")}.`
    }</p></a>
    </div>`
  )
})

// Visits

const visits = Effect.gen(function*() {
  const session = yield* AppSession
  const count = yield* session.transact((s) => [s.visits + 1, { ...s, visits: s.visits + 1 }])
  return show(
    "/visits",
    "Visits",
    yield* session.value,
    html`
    <p class="count"><b>${count}</b> ${count === 1 ? "visit" : "visits"} to this page</p>
    <p>Open it in several tabs at once: every one of them gets a number of its own.</p>
    <p><a class="button" href="/visits">Visit again</a></p>`
  )
})

// Notes

const notes = Effect.gen(function*() {
  const session = yield* AppSession
  const s = yield* session.value
  return show(
    "/notes",
    "Notes",
    s,
    html`
    <form class="row" method="post" action="/notes/add">
      <label for="text">A note to yourself</label>
      <input id="text" name="text" required maxlength="200" autocomplete="off">
      <button>Keep</button>
    </form>
    ${
      s.notes.length === 0 ?
        html`<p class="empty">Nothing written down yet.</p>` :
        html`<ul class="list">${
          s.notes.map(({ id, text }) =>
            html`<li><span>${text}</span>
        <form method="post" action="/notes/remove">
          <input type="hidden" name="id" value="${id}">
          <button class="quiet" aria-label="Remove the note “${text}”">Remove</button>
        </form></li>`
          )
        }</ul>`
    }`
  )
})

const addNote = action("/notes/add", Schema.Struct({ text: Text(200) }), "/notes", (session, { text }) => {
  const note = { id: randomUUID(), text } // outside of the function, which may run again
  return session.update((s) => ({ ...s, notes: [...s.notes, note] }))
})

const removeNote = action(
  "/notes/remove",
  Schema.Struct({ id: Schema.String }),
  "/notes",
  (session, { id }) => session.update((s) => ({ ...s, notes: s.notes.filter((note) => note.id !== id) }))
)

// Shop

const shop = Effect.gen(function*() {
  const session = yield* AppSession
  const s = yield* session.value
  return show(
    "/shop",
    "Shop",
    s,
    html`
    <ul class="cards products">${
      teas.map(({ id, name, taste }) =>
        html`<li class="card"><h2>${name}</h2><p>${taste}</p>
        <form method="post" action="/cart/add">
          <input type="hidden" name="product" value="${id}">
          <button aria-label="Add ${name} to the cart">Add to cart</button>
        </form></li>`
      )
    }</ul>
    <h2>Your cart</h2>
    ${
      s.cart.length === 0 ?
        html`<p class="empty">Still empty.</p>` :
        html`<ul class="list">${
          s.cart.map(({ product, quantity }) =>
            html`<li><span>${quantity} × ${nameOf(product)}</span>
        <form method="post" action="/cart/remove">
          <input type="hidden" name="product" value="${product}">
          <button class="quiet" aria-label="Remove ${nameOf(product)} from the cart">Remove</button>
        </form></li>`
          )
        }</ul>`
    }
    ${
      s.user === undefined
        ? html`<p class="hint"><a href="/sign-in">Sign in</a> when you like: the cart comes along.</p>`
        : undefined
    }`
  )
})

const Product = Schema.Struct({ product: Schema.Literal(...teas.map(({ id }) => id)) })

const withOneMore = (cart: ReadonlyArray<CartLine>, product: string): ReadonlyArray<CartLine> =>
  cart.some((line) => line.product === product)
    ? cart.map((line) => line.product === product ? { ...line, quantity: line.quantity + 1 } : line)
    : [...cart, { product, quantity: 1 }]

const addToCart = action(
  "/cart/add",
  Product,
  "/shop",
  (session, { product }) => session.update((s) => ({ ...s, cart: withOneMore(s.cart, product) }))
)

const removeFromCart = action(
  "/cart/remove",
  Schema.Struct({ product: Schema.String }),
  "/shop",
  (session, { product }) => session.update((s) => ({ ...s, cart: s.cart.filter((line) => line.product !== product) }))
)

// Account

const signInForm = Effect.gen(function*() {
  const session = yield* AppSession
  return show(
    "/sign-in",
    "Sign in",
    yield* session.value,
    html`
    <p class="lead">A name is enough. What is in your cart stays there.</p>
    <form class="row" method="post" action="/sign-in">
      <label for="name">Your name</label>
      <input id="name" name="name" required maxlength="40" autocomplete="username" autocapitalize="words">
      <button>Sign in</button>
    </form>`
  )
})

const signIn = action(
  "/sign-in",
  Schema.Struct({ name: Text(40) }),
  "/",
  (session, { name }) =>
    Effect.gen(function*() {
      const user = yield* session.get("user")
      if (user !== undefined && user !== name) {
        yield* session.clear // somebody else sits at this computer now
      }
      yield* session.regenerate
      yield* session.update((s) => ({ ...s, user: name }))
    }),
  saveSignIn
)

const signOut = action("/sign-out", Schema.Struct({}), "/", (session) =>
  Effect.gen(function*() {
    const user = yield* session.get("user")
    yield* session.destroy
    yield* session.set("farewell", user === undefined ? "You are signed out." : `Goodbye, ${user}. Come back soon!`)
  }))

// Files

const asset = (body: string, contentType: string) =>
  Effect.succeed(HttpServerResponse.text(body, { contentType, headers: { "cache-control": "max-age=3600" } }))

export const site = HttpRouter.empty.pipe(
  HttpRouter.get("/", start),
  HttpRouter.get("/visits", visits),
  HttpRouter.get("/notes", notes),
  addNote,
  removeNote,
  HttpRouter.get("/shop", shop),
  addToCart,
  removeFromCart,
  HttpRouter.get("/sign-in", signInForm),
  signIn,
  signOut,
  HttpRouter.get("/style.css", asset(style, "text/css; charset=utf-8")),
  HttpRouter.get("/icon.svg", asset(icon, "image/svg+xml"))
)
