import cookie from "@fastify/cookie"
import session from "@fastify/session"
import fastify from "fastify"
import { payload } from "../lib/payload.mjs"

const listen = async (app) => {
  await app.listen({ port: 0, host: "127.0.0.1" })
  return app.server.address().port
}

const bare = () => {
  let count = 0
  return fastify().get("/", async () => ({ count: ++count }))
}

const withSession = async () => {
  const app = fastify()
  await app.register(cookie)
  await app.register(session, {
    secret: "a secret of the benchmark only, long enough",
    saveUninitialized: false,
    cookie: { secure: false }
  })
  app.get("/login", async (request) => {
    Object.assign(request.session, payload)
    return {}
  })
  app.get("/", async (request) => {
    request.session.count += 1
    return { count: request.session.count }
  })
  return app
}

export const start = async () => ({
  bare: await listen(bare()),
  session: await listen(await withSession())
})
