import connectPgSimple from "connect-pg-simple"
import express from "express"
import session from "express-session"
import { listen } from "../lib/listen.mjs"
import { payload } from "../lib/payload.mjs"
import { inPostgres, pgPool } from "../lib/postgres.mjs"

/** In memory, unless `BENCH_STORE` says otherwise. */
const store = () => {
  const Store = connectPgSimple(session)
  return new Store({
    pool: pgPool(),
    tableName: "bench_express_session",
    createTableIfMissing: true,
    pruneSessionInterval: false
  })
}

const bare = () => {
  let count = 0
  return express().get("/", (_, response) => response.json({ count: ++count }))
}

const withSession = () =>
  express()
    .use(session({
      secret: "a secret of the benchmark only",
      resave: false,
      saveUninitialized: false,
      ...inPostgres && { store: store() }
    }))
    .get("/login", (request, response) => {
      Object.assign(request.session, payload)
      response.json({})
    })
    .get("/", (request, response) => {
      request.session.count += 1
      response.json({ count: request.session.count })
    })

export const start = async () => ({
  bare: await listen(bare()),
  session: await listen(withSession())
})
