import { serve } from "@hono/node-server"
import { Hono } from "hono"
import { MemoryStore, sessionMiddleware } from "hono-sessions"
import { payload } from "../lib/payload.mjs"

const listen = (app) =>
  new Promise((resolve) =>
    serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => resolve(port))
  )

const bare = () => {
  let count = 0
  return new Hono().get("/", (context) => context.json({ count: ++count }))
}

const withSession = () =>
  new Hono()
    .use(sessionMiddleware({ store: new MemoryStore(), autoExtendExpiration: false }))
    .get("/login", (context) => {
      const session = context.get("session")
      for (const [key, value] of Object.entries(payload)) {
        session.set(key, value)
      }
      return context.json({})
    })
    .get("/", (context) => {
      const session = context.get("session")
      session.set("count", session.get("count") + 1)
      return context.json({ count: session.get("count") })
    })

export const start = async () => ({
  bare: await listen(bare()),
  session: await listen(withSession())
})
