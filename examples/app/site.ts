/** The pages: forms by POST, each answered with a redirect. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import * as Body from "./body.js"
import { type Html, html } from "./html.js"
import { page, type Visitor } from "./layout.js"
import { Refused } from "./refused.js"
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

/** What has just been done, as a page says it; the code of it is in the page's address. */
const notices: Record<string, string> = {
  added: "In your cart.",
  kept: "Your note is kept.",
  removed: "Removed.",
  "signed-out": "You are signed out. Come back soon!"
}

const notice = Effect.map(HttpServerRequest.ParsedSearchParams, ({ done }) => {
  const text = typeof done === "string" && Object.hasOwn(notices, done) ? notices[done] : undefined
  return text === undefined ? undefined : html`<p class="notice" role="status">${text}</p>`
})

const redirect = (next: string) => HttpServerResponse.redirect(next, { status: 303 })

/** Reads a form. What a schema says of it is for programmers; a visitor of the pages gets a sentence. */
const form = <A, I>(fields: Schema.Schema<A, I>, problem: string) =>
  Effect.mapError(
    Body.form(fields),
    (error) => error.status === 422 ? new Refused({ status: 422, message: problem }) : error
  )

/**
 * Answers a form: commits what `change` recorded and sends the browser on. The
 * library would commit by itself, and answer a failure with JSON; for a page
 * of our own we save here. `app.ts` drops what could not be saved.
 */
const action = <A, I, E>(
  path: HttpRouter.PathInput,
  fields: Schema.Schema<A, I>,
  next: string,
  change: (session: Handle, input: A) => Effect.Effect<unknown, E>
) =>
  HttpRouter.post(
    path,
    Effect.gen(function*() {
      const input = yield* form(fields, "The form did not arrive as it was. Please go back and send it again.")
      const session = yield* AppSession
      yield* change(session, input)
      yield* session.save
      return redirect(next)
    })
  )

// The start

const start = Effect.gen(function*() {
  const session = yield* AppSession
  const s = yield* session.value
  const done = yield* notice
  return show(
    "/",
    s.user === undefined ? "Welcome" : `Welcome, ${s.user}`,
    s,
    html`
    ${done}
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
  const s = yield* session.value
  return show(
    "/visits",
    "Visits",
    s,
    html`
    <p class="count"><b>${s.visits}</b> ${s.visits === 1 ? "visit" : "visits"} counted</p>
    <p>Count from several tabs at once: none is lost.</p>
    <form method="post" action="/visits"><button>Count a visit</button></form>`
  )
})

const countVisit = action(
  "/visits",
  Schema.Struct({}),
  "/visits",
  (session) => session.update((s) => ({ ...s, visits: s.visits + 1 }))
)

// Notes

/** `draft`: a note that was not kept, and why. */
const notesPage = (s: State, top: Html | undefined, draft?: { readonly text: string; readonly problem: string }) =>
  html`
    ${top}
    <form class="row" method="post" action="/notes/add">
      <label for="text">A note to yourself</label>
      ${draft && html`<p class="problem" id="problem" role="alert">${draft.problem}</p>`}
      <input id="text" name="text" value="${draft?.text}" required maxlength="${maxNote}" autocomplete="off"${
    draft && html` aria-invalid="true" aria-describedby="problem"`
  }>
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

const notes = Effect.gen(function*() {
  const session = yield* AppSession
  const s = yield* session.value
  return show("/notes", "Notes", s, notesPage(s, yield* notice))
})

const maxNote = 200

const problemOfNote = (text: string) => {
  if (text === "") return "Nothing is written in this note yet."
  return text.length <= maxNote
    ? undefined
    : `A note has room for ${maxNote} characters, and this one has ${text.length}. Please shorten it.`
}

/** Keeps the text in the form when the note could not be kept. */
const refuseNote = (text: string, problem: string, status: number) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    yield* Effect.ignore(session.reload)
    const s = yield* session.value
    return HttpServerResponse.setStatus(show("/notes", "Notes", s, notesPage(s, undefined, { text, problem })), status)
  })

const keepNote = (text: string) =>
  Effect.gen(function*() {
    const session = yield* AppSession
    const note = { id: randomUUID(), text } // outside of the function, which may run again
    yield* session.update((s) => ({ ...s, notes: [...s.notes, note] }))
    yield* session.save
    return redirect("/notes?done=kept")
  }).pipe(
    Effect.catchIf((error) => error.reason === "TooLarge", () =>
      refuseNote(text, "There is no room for this note. Please remove something first.", 413)),
    Effect.catchIf((error) =>
      error.reason === "Conflict", () =>
      refuseNote(text, "Something else changed at the same moment. Please keep it again.", 409))
  )

const addNote = HttpRouter.post(
  "/notes/add",
  Effect.gen(function*() {
    const { text } = yield* form(
      Schema.Struct({ text: Schema.Trim }),
      "The note did not arrive. Please write it again."
    )
    const problem = problemOfNote(text)
    return yield* problem === undefined ? keepNote(text) : refuseNote(text, problem, 422)
  })
)

const removeNote = action(
  "/notes/remove",
  Schema.Struct({ id: Schema.String }),
  "/notes?done=removed",
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
    ${yield* notice}
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
  "/shop?done=added",
  (session, { product }) => session.update((s) => ({ ...s, cart: withOneMore(s.cart, product) }))
)

const removeFromCart = action(
  "/cart/remove",
  Schema.Struct({ product: Schema.String }),
  "/shop?done=removed",
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

const Name = Schema.compose(Schema.Trim, Schema.String.pipe(Schema.minLength(1), Schema.maxLength(40)))

/** The second sign-in of a double click lost to the first: the browser goes on with the cookie that the first has set. */
const saveSignIn = (session: Handle) =>
  Effect.catchIf(session.save, (error) => error.reason === "Gone", () => Effect.ignore(session.reload))

const signIn = HttpRouter.post(
  "/sign-in",
  Effect.gen(function*() {
    const { name } = yield* form(
      Schema.Struct({ name: Name }),
      "A name has 1 to 40 characters. Please go back and change it."
    )
    const session = yield* AppSession
    const user = yield* session.get("user")
    if (user !== undefined && user !== name) {
      yield* session.clear // somebody else sits at this computer now
    }
    yield* session.regenerate
    yield* session.update((s) => ({ ...s, user: name }))
    yield* saveSignIn(session)
    return redirect("/")
  })
)

/** The browser drops its cache, so that Back shows nothing of the one who was signed in. */
const signOut = HttpRouter.post(
  "/sign-out",
  Effect.flatMap(AppSession, (session) => session.destroy).pipe(
    Effect.as(HttpServerResponse.setHeader(redirect("/?done=signed-out"), "clear-site-data", "\"cache\""))
  )
)

// Files

const asset = (body: string, contentType: string) =>
  Effect.succeed(HttpServerResponse.text(body, { contentType, headers: { "cache-control": "max-age=3600" } }))

export const site = HttpRouter.empty.pipe(
  HttpRouter.get("/", start),
  HttpRouter.get("/visits", visits),
  countVisit,
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
