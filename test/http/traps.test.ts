/** What the platform does that a session cannot mend, and what it does by a WebSocket. */
import { NodeHttpServer } from "@effect/platform-node"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { SessionHttp } from "effect-session"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as http from "node:http"
import * as net from "node:net"
import { expect, it } from "vitest"
import { AppSession, handlers, Probe } from "./app.js"
import { observe } from "./observed.js"

const sessionsOf = (probe: Probe) => AppSession.layer().pipe(Layer.provide(probe.layer), Layer.orDie)

it("trap 7: raw(new Response()) has one cookie of several, fromWeb has them all", async () => {
  const send = (handler: typeof handlers.write) =>
    HttpApp.toWebHandlerLayer(
      SessionHttp.middleware(AppSession)(
        Effect.map(handler, HttpServerResponse.unsafeSetCookie("theme", "dark"))
      ),
      sessionsOf(new Probe())
    ).handler(new Request("http://localhost/"))
  expect((await send(handlers["write-raw-response"])).headers.getSetCookie()).toHaveLength(1)
  expect((await send(handlers["write-from-web"])).headers.getSetCookie()).toHaveLength(2)
})

it("withPreResponseHandler around the middleware loses the cookie, and a warning says so", async () => {
  const probe = new Probe()
  const app = HttpApp.withPreResponseHandler(
    SessionHttp.middleware(AppSession)(handlers.write),
    (_, response) => Effect.succeed(response)
  )
  const response = await HttpApp.toWebHandlerLayer(app, sessionsOf(probe)).handler(new Request("http://localhost/"))
  expect([response.status, response.headers.getSetCookie(), probe.operations]).toEqual([200, [], ["insert"]])
})

it("RFC-13: duplicates of the cookie are reported where the session is used", async () => {
  const observed = observe()
  const router = HttpRouter.empty.pipe(
    HttpRouter.get("/none", handlers.none),
    HttpRouter.get("/read", handlers.read),
    HttpRouter.use(SessionHttp.middleware(AppSession))
  )
  const { handler } = HttpApp.toWebHandlerLayer(router, Layer.merge(sessionsOf(new Probe()), observed.layer))
  const reports = async (path: string, cookie: string) => {
    const before = observed.logs.length
    await handler(new Request(`http://localhost${path}`, { headers: { cookie } }))
    return observed.logs.slice(before).filter((line) => line.includes("more than one cookie")).length
  }
  const twice = "__Host-id=a; __Host-id=b"
  expect(await reports("/none", twice)).toBe(0)
  expect(await reports("/read", "__Host-id=a")).toBe(0)
  expect(await reports("/read", twice)).toBeGreaterThan(0)
})

// ---------------------------------------------------------------------------
// WebSocket
// ---------------------------------------------------------------------------

/** Opens a WebSocket by hand and answers the head and the first text frame. */
const upgrade = (port: number, path: string, cookie: string) =>
  new Promise<{ readonly head: string; readonly text: string }>((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: ${cookie}\r\n\r\n`
      )
    })
    let received = ""
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1")
      const end = received.indexOf("\r\n\r\n")
      const frame = end === -1 ? "" : received.slice(end + 4)
      if (frame.length > 2 && frame.length >= 2 + frame.charCodeAt(1)) {
        socket.destroy()
        resolve({ head: received.slice(0, end), text: frame.slice(2, 2 + frame.charCodeAt(1)) })
      }
    })
    socket.on("error", reject)
    socket.on("close", () => reject(new Error(`closed after: ${received}`)))
  })

it("RFC-18: a WebSocket reads and saves its session, and cannot set a cookie", () =>
  Effect.gen(function*() {
    const probe = new Probe()
    const talk = Effect.gen(function*() {
      const session = yield* AppSession
      yield* session.update((value) => ({ ...value, n: value.n + 1 }))
      const saved = yield* session.save.pipe(
        Effect.match({ onFailure: (error) => error.reason, onSuccess: () => "saved" })
      )
      const socket = yield* HttpServerRequest.upgrade
      const write = yield* socket.writer
      const text = `${saved} ${yield* session.get("n")}`
      yield* Effect.fork(write(text)) // waits for the socket, which opens when it runs
      yield* Effect.ignore(socket.run(() => {}))
      return HttpServerResponse.empty()
    }).pipe(Effect.scoped)
    const router = HttpRouter.empty.pipe(
      HttpRouter.get("/socket", talk),
      HttpRouter.get("/write", handlers.write),
      HttpRouter.get("/read", handlers.read),
      HttpRouter.use(SessionHttp.middleware(AppSession))
    )
    const context = yield* Layer.build(
      HttpServer.serve(router).pipe(
        Layer.provideMerge(NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })),
        Layer.provide(sessionsOf(probe))
      )
    )
    const { address } = Context.get(context, HttpServer.HttpServer)
    const port = address._tag === "TcpAddress" ? address.port : 0
    const get = (path: string, cookie?: string) =>
      fetch(`http://127.0.0.1:${port}${path}`, cookie === undefined ? {} : { headers: { cookie } })

    yield* Effect.promise(async () => {
      const cookie = (await get("/write")).headers.getSetCookie()[0]!.split(";")[0]!
      const { head, text } = await upgrade(port, "/socket", cookie)
      expect(head).toContain("101 Switching Protocols")
      expect(head.toLowerCase()).not.toContain("set-cookie")
      expect(text).toBe("saved 2")
      expect(await (await get("/read", cookie)).text()).toBe("2")

      const anonymous = await upgrade(port, "/socket", "a=b")
      expect(anonymous.head.toLowerCase()).not.toContain("set-cookie")
      expect(await (await get("/read", cookie)).text()).toBe("2") // and the server lives
    })
  }).pipe(Effect.scoped, Effect.runPromise))
