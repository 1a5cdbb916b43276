/** The frame around every page, and the page for what went wrong. */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { type Html, html } from "./html.js"

export interface Visitor {
  readonly user?: string | undefined
  readonly cart: ReadonlyArray<{ readonly quantity: number }>
}

const somebody: Visitor = { cart: [] }

const headers = {
  "cache-control": "no-store", // every page has its visitor's name in it
  "content-security-policy":
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff"
}

export const page = (
  path: string,
  title: string,
  content: Html,
  { visitor = somebody, status = 200 }: { readonly visitor?: Visitor; readonly status?: number } = {}
) => {
  const items = visitor.cart.reduce((sum, { quantity }) => sum + quantity, 0)
  const link = (to: string, label: string | Html) =>
    to === path ? html`<a href="${to}" aria-current="page">${label}</a>` : html`<a href="${to}">${label}</a>`

  const document = html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title} · Leaf &amp; Kettle</title>
  <link rel="icon" href="/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/style.css">
</head>
<body>
  <a class="skip" href="#content">Skip to the content</a>
  <header>
    <a class="brand" href="/"><img src="/icon.svg" alt="" width="28" height="28">Leaf &amp; Kettle</a>
    <nav aria-label="Pages">
      ${
    link(
      "/shop",
      items === 0 ? "Shop" : html`Shop <span class="badge">${items}<span class="unseen"> in the cart</span></span>`
    )
  }
      ${link("/notes", "Notes")}
      ${link("/visits", "Visits")}
    </nav>
    ${
    visitor.user === undefined
      ? html`<div class="account">${link("/sign-in", "Sign in")}</div>`
      : html`<form class="account" method="post" action="/sign-out">
          <span><span class="hello">Hello, </span><b>${visitor.user}</b></span>
          <button class="quiet">Sign out</button>
        </form>`
  }
  </header>
  <main id="content">
    <h1>${title}</h1>
    ${content}
  </main>
  <footer>An example of <b>effect-session</b>. Everything here lives in your session; nothing is for sale.</footer>
</body>
</html>`
  return HttpServerResponse.text(document.text, { status, contentType: "text/html; charset=utf-8", headers })
}

/** `visitor`: who is signed in, where that is known. */
export const problem = (
  status: number,
  title: string,
  text: string,
  visitor: Visitor = somebody
) =>
  page("", title, html`<p class="lead">${text}</p><p><a class="button" href="/">To the start</a></p>`, {
    status,
    visitor
  })
