/**
 * A store's Layer that is provided to each request is built and closed in an
 * uninterruptible region.
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import { Session, SessionHttp, type SessionStore } from "effect-session"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import * as http from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import * as FileSystem from "../../src/layers/FileSystem.js"
import * as Memory from "../../src/layers/Memory.js"
import * as MongoDb from "../../src/layers/MongoDb.js"
import * as Observed from "../../src/layers/Observed.js"
import * as Url from "../../src/layers/Url.js"

class AppSession extends Session.Tag<AppSession>()("per-request/AppSession", {
  visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
}) {}

const handler = Effect.gen(function*() {
  const session = yield* AppSession
  // A commit of its own: at the end of the request the store has been closed.
  const visits = yield* session.transact(({ visits }) => [visits + 1, { visits: visits + 1 }])
  return HttpServerResponse.text(String(visits))
})

const appOn = (store: Layer.Layer<SessionStore, unknown>) =>
  SessionHttp.middleware(AppSession)(handler).pipe(
    Effect.provide(AppSession.layer().pipe(Layer.provide(store))),
    Effect.catchAll(() => HttpServerResponse.text("failed", { status: 500 }))
  )

const stores: ReadonlyArray<readonly [string, (directory: string) => Layer.Layer<SessionStore, unknown>]> = [
  ["memory", () => Memory.layer()],
  ["a directory", (directory) => FileSystem.layer({ directory })],
  ["memory by URL", () => Url.layer("memory:")],
  ["a directory by URL", (directory) => Url.layer(`file:${directory}`)],
  ["SQLite by URL", (directory) => Url.layer(`sqlite:${path.join(directory, "sessions.db")}`)],
  ["an observed store", () => Observed.layer({ onEvent: () => Effect.void }).pipe(Layer.provide(Memory.layer()))]
]

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "per-request-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
)

describe("a store's Layer that is provided to each request", () => {
  it.scopedLive.each(stores)("answers from a web handler: %s", ([, store]) =>
    Effect.gen(function*() {
      const send = HttpApp.toWebHandler(appOn(store(yield* temporary)))
      for (let request = 0; request < 3; request++) {
        const response = yield* Effect.promise(() => send(new Request("http://localhost/")))
        expect([response.status, yield* Effect.promise(() => response.text())]).toEqual([200, "1"])
      }
    }))

  it.scopedLive.each(stores)("answers from HttpServer.serve: %s", ([, store]) =>
    Effect.gen(function*() {
      const server = NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })
      const app = HttpServer.serve(appOn(store(yield* temporary)))
      const { address } = Context.get(yield* Layer.build(Layer.provideMerge(app, server)), HttpServer.HttpServer)
      const port = address._tag === "TcpAddress" ? address.port : 0
      for (let request = 0; request < 3; request++) {
        const response = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/`))
        expect([response.status, yield* Effect.promise(() => response.text())]).toEqual([200, "1"])
      }
    }))

  it.live("closes while MongoDB is down and its index is still to be created", () =>
    Effect.gen(function*() {
      const store = MongoDb.layer({ url: "mongodb://127.0.0.1:1", timeout: "200 millis" })
      const send = HttpApp.toWebHandler(appOn(store))
      const response = yield* Effect.promise(() => send(new Request("http://localhost/")))
      expect(response.status).toBe(500)
    }))
})
