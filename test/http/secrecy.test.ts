/** OW-24, gate 23: neither an id nor a driver's text is ever told to a log, a span, an error or a client. */
import { NodeHttpServer } from "@effect/platform-node"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { causeOf, Session, SessionHttp } from "effect-session"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import * as http from "node:http"
import { inspect } from "node:util"
import { expect, it } from "vitest"
import { AppSession, handlers, type Name, Probe } from "./app.js"
import { observe } from "./observed.js"

const bytes = (text: string) => new TextEncoder().encode(text)

/**
 * A handler that tells what it can reach of the session. Not the request: the
 * platform prints its `cookie` header, under the Node server.
 */
const gossip = Effect.gen(function*() {
  const session = yield* AppSession
  const agnostic = yield* Session
  const manager = yield* AppSession.Manager
  yield* session.update((value) => ({ ...value, n: value.n + 1 }))
  yield* session.save
  const things = [session, agnostic, manager, manager.open("A".repeat(54)), yield* session.value, yield* session.ref]
  for (const thing of things) {
    yield* Effect.logTrace(thing).pipe(
      Effect.annotateLogs({ thing }),
      Effect.withSpan("gossip", { attributes: { thing } })
    )
  }
  return HttpServerResponse.text("gossip")
})

const failingStream = Effect.zipRight(
  handlers.write,
  Effect.succeed(HttpServerResponse.stream(
    Stream.concat(Stream.make(bytes("first")), Stream.fromEffect(Effect.delay(Effect.fail(new Error("torn")), 5)))
  ))
)

const printResponse = Effect.gen(function*() {
  const session = yield* AppSession
  yield* session.update((value) => ({ ...value, n: value.n + 1 }))
  const error = yield* Effect.flip(Effect.zipRight(session.save, Effect.void)).pipe(Effect.option)
  return HttpServerResponse.unsafeJson(error)
})

it("OW-24 ASVS-16.2.5 REG-A12: in the whole life of a request, whatever becomes of it", () =>
  Effect.gen(function*() {
    const observed = observe()
    const probe = new Probe()
    let router: HttpRouter.HttpRouter<unknown, AppSession | Session | Session.Manager<AppSession>> = HttpRouter.empty
    const all = { ...handlers, gossip, "failing-stream": failingStream, "print-response": printResponse }
    for (const [name, handler] of Object.entries(all)) {
      router = HttpRouter.all(router, `/${name}`, Effect.withSpan(handler, name))
    }
    const app = HttpServer.serve(
      router.pipe(HttpRouter.use(SessionHttp.middleware(AppSession))),
      HttpMiddleware.logger
    )
    const context = yield* Layer.build(
      app.pipe(
        Layer.provideMerge(NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })),
        Layer.provide(AppSession.layer().pipe(Layer.provide(probe.layer))),
        Layer.provide(observed.layer)
      )
    )
    const { address } = Context.get(context, HttpServer.HttpServer)
    const port = address._tag === "TcpAddress" ? address.port : 0

    const ids: Array<string> = []
    const bodies: Array<string> = []
    const send = (path: Name | keyof typeof all | "nowhere", cookie?: string) =>
      Effect.promise(async () => {
        const response = await fetch(`http://127.0.0.1:${port}/${path}`, {
          redirect: "manual",
          ...(cookie === undefined ? {} : { headers: { cookie } })
        })
        for (const line of response.headers.getSetCookie()) {
          ids.push(/^__Host-id=([^;]*)/.exec(line)?.[1] ?? "")
        }
        bodies.push(await response.text().catch(() => ""))
        return response.headers.getSetCookie()[0]?.split(";")[0]
      })

    const cookie = yield* send("write")
    const quiet: ReadonlyArray<keyof typeof all> = ["hang", "stream-endless", "write-raw-response"]
    const paths = (Object.keys(all) as Array<keyof typeof all>).filter((path) => !quiet.includes(path))
    for (const path of [...paths, "nowhere"] as const) {
      yield* send(path)
      yield* send(path, cookie)
      yield* send(path, `__Host-id=${"u".repeat(54)}`)
      yield* send(path, `${cookie}; ${cookie}`)
    }
    for (const reason of ["Unavailable", "Timeout", "Throttled", "Rejected", "TooLarge", "Corrupt"] as const) {
      probe.failing = { load: reason, insert: reason, replace: reason, touch: reason, remove: reason }
      for (const path of ["read", "write", "destroy", "regenerate", "save-die", "print-response"] as const) {
        yield* send(path)
        yield* send(path, cookie)
      }
      probe.failing = {}
    }
    yield* Effect.sleep(50)

    const secrets = [...new Set(ids)].filter((id) => id.length === 54)
    expect(secrets.length).toBeGreaterThan(20)
    expect(observed.logs.length).toBeGreaterThan(100)
    expect(observed.spans.length).toBeGreaterThan(100)
    const said = observed.text()
    expect(said).toContain("torn") // the stream's failure was told
    expect(said).toContain("http.request.header.cookie") // and that there was a cookie
    const told = `${said}\n${bodies.join("\n")}`
    for (const secret of [...secrets, "u".repeat(54)]) {
      const selector = Buffer.from(secret, "base64url").subarray(0, 16)
      const verifier = Buffer.from(secret, "base64url").subarray(16)
      for (const half of [selector, verifier]) {
        for (const encoding of ["hex", "base64url", "base64"] as const) {
          expect(told).not.toContain(half.toString(encoding).slice(0, 20))
        }
      }
      expect(told).not.toContain(createHash("sha256").update(verifier).digest("hex"))
      expect(told).not.toContain(secret)
    }
    expect(bodies.join("\n")).not.toContain("the driver's secret text")
  }).pipe(Effect.scoped, Effect.runPromise), 60_000)

it("ASVS-16.5.1: a session's error prints neither its cause nor a stack into JSON, and causeOf has the cause", () =>
  Effect.gen(function*() {
    const probe = new Probe()
    probe.failing = { insert: "Unavailable" }
    const error = yield* Effect.gen(function*() {
      const { handle } = (yield* AppSession.Manager).open()
      yield* handle.set("n", 1)
      return yield* Effect.flip(handle.save)
    }).pipe(Effect.provide(AppSession.layer().pipe(Layer.provide(probe.layer))))
    expect(JSON.stringify(error)).not.toContain("secret")
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("secret")
    expect(String(error)).not.toContain("secret")
    expect(Object.keys({ ...error })).not.toContain("cause")
    expect(inspect(causeOf(error))).toContain("SessionStoreError")
  }).pipe(Effect.runPromise))
