import Koa from "koa"
import session from "koa-session"
import { listen } from "../lib/listen.mjs"
import { payload } from "../lib/payload.mjs"

const bare = () => {
  let count = 0
  const app = new Koa()
  app.use((context) => {
    context.body = { count: ++count }
  })
  return app
}

const memoryStore = () => {
  const sessions = new Map()
  return {
    get: async (key) => sessions.get(key),
    set: async (key, value) => void sessions.set(key, value),
    destroy: async (key) => void sessions.delete(key)
  }
}

const withSession = () => {
  const app = new Koa()
  app.keys = ["a secret of the benchmark only"]
  app.use(session({ store: memoryStore(), maxAge: "session" }, app))
  app.use((context) => {
    if (context.path === "/login") {
      Object.assign(context.session, payload)
      context.body = {}
      return
    }
    context.session.count += 1
    context.body = { count: context.session.count }
  })
  return app
}

export const start = async () => ({
  bare: await listen(bare().callback()),
  session: await listen(withSession().callback())
})
