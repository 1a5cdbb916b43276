/**
 * The app under test, whole: what its handlers do with the session, through
 * the router, the middleware and a web handler; and browsers that send
 * requests and keep the cookies they get.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as SessionHttp from "../../src/http/SessionHttp.js"
import * as PayloadCodec from "../../src/schema/PayloadCodec.js"
import type { NativeId } from "../../src/schema/SessionId.js"
import { Session } from "../../src/Session.js"
import { SessionStore } from "../../src/SessionStore.js"
import { native } from "../harness/native.js"
import { clock, drain, gate, scheduler, sentBySource, sentOf, type Simulation, store } from "./simulation.js"

export class App extends Session.Tag<App>()("model/App", {
  /** The names of the writes that were done, in order. */
  done: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
  /** The name of the last guarded set. */
  slot: Schema.optionalWith(Schema.String, { default: () => "" })
}) {}

export type Value = typeof App.schema.Type

export const initial: Value = { done: [], slot: "" }

export const codec = PayloadCodec.msgpack()

export const format = native("model/App")

export const kinds = ["read", "update", "guarded", "transact", "decide", "login", "logout", "save", "flash"] as const

/**
 * What a request does: `read` the value; `update` it; read `slot` and set it;
 * `transact`; `decide` by what is there whether to write at all; `login` with
 * a new id; `logout`; `save` in the middle; sign out and leave a `flash`
 * message.
 */
export type Kind = typeof kinds[number]

export interface Browser {
  cookie: string | undefined
  /** What it had before: late requests carry it. */
  former: string | undefined
}

/** A request, and all that is to be known to judge it. */
export interface Sent {
  readonly name: string
  readonly kind: Kind
  readonly slow: boolean
  readonly cookie: string | undefined
  readonly id: NativeId | undefined
  readonly sentAt: number
  /** What had happened by then. */
  readonly sentTick: number
  /** What the web handler listens with to the client going away. */
  onAbort: () => void
  /** What it meant to write, by name. */
  readonly writes: ReadonlyArray<string>
  verdict: "current" | "ended" | "none"
  /** What its last load found for its id. */
  expected: Value
  seen: Value | undefined
  answer: Value | undefined
  /** How many writes it found; it wrote if there was room. */
  found: number
  saved: boolean
  destroyed: boolean
  /** The handler came to its end. */
  finished: boolean
  aborted: boolean
  calls: number
  staleRemoves: number
  lastReply: number
  readonly faults: { load: number; refused: number; lost: number }
  status: number | undefined
}

/** Writes that leave no room for those who decide. */
export const enough = 2

const add = (name: string) => (value: Value): Value => ({ ...value, done: [...value.done, name] })

type Handle = Session.StructHandle<Value>

const handle = (session: Handle, sent: Sent) =>
  Effect.gen(function*() {
    const [first = "", second = ""] = sent.writes
    switch (sent.kind) {
      case "read":
        sent.seen = yield* session.value
        break
      case "update":
        yield* session.update(add(first))
        break
      case "guarded":
        sent.seen = { ...initial, slot: yield* session.get("slot") }
        yield* session.set("slot", first)
        break
      case "transact":
        sent.answer = yield* session.transact((value) => [add(first)(value), add(first)(value)])
        break
      case "decide":
        sent.found = yield* session.transact((value) => [
          value.done.length,
          value.done.length < enough ? add(first)(value) : value
        ])
        break
      case "login":
        yield* session.regenerate
        yield* session.update(add(first))
        break
      case "logout":
        yield* session.destroy
        sent.destroyed = true
        break
      case "save":
        yield* session.update(add(first))
        yield* session.save
        sent.saved = true
        yield* session.update(add(second))
        break
      case "flash":
        yield* session.destroy
        sent.destroyed = true
        yield* session.update(add(first))
        break
    }
    if (sent.slow) {
      yield* gate
    }
    sent.finished = true
    return HttpServerResponse.text("ok")
  })

const app = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      return yield* handle(yield* App, sentOf(request))
    })
  ),
  SessionHttp.middleware(App)
)

/** Jitter is always half, and decides nothing: the test says who wakes first. */
const services = Layer.mergeAll(
  Layer.setClock(clock),
  Layer.setRandom(Random.fixed([0.5])),
  Layer.setTracerEnabled(false),
  Logger.minimumLogLevel(LogLevel.None)
)

const webHandler = (options: Session.Options) =>
  HttpApp.toWebHandlerRuntime(
    Effect.runSync(Effect.scoped(Layer.toRuntime(
      App.layer(options).pipe(Layer.provide(Layer.succeed(SessionStore, store)), Layer.provideMerge(services))
    ))).pipe(Runtime.setFiberRef(FiberRef.currentScheduler, scheduler))
  )(app)

/** Two processes, each with a cookie that ends with the browser, and with one that each touch prolongs. */
const webHandlers = [{}, {}].map(() => [webHandler({}), webHandler({ persistent: true })] as const)

/** As much of a web `Request` as is read: a real one, with its signal, costs more than all the rest. */
const webRequest = (cookie: string | undefined, sent: Sent): Request => {
  const request: Partial<Request> = {
    method: "GET",
    url: "http://localhost/",
    headers: new Headers(cookie === undefined ? {} : { cookie: `__Host-id=${cookie}` }),
    signal: {
      addEventListener: (_: string, listener: unknown) => {
        sent.onAbort = listener as () => void // the platform listens with a function
      }
    } as AbortSignal
  }
  return request as Request
}

/** The requests of one run. */
export class Requests {
  readonly all: Array<Sent> = []
  /** Every cookie that was ever set. */
  readonly cookies = new Set<string>()
  private answering = 0

  constructor(private readonly simulation: Simulation, private readonly persistent: boolean) {}

  send(
    kind: Kind,
    browser: Browser,
    options: { readonly slow?: boolean; readonly cookie?: string | undefined; readonly process?: 0 | 1 } = {}
  ): Sent {
    const name = `${kind}#${this.all.length}`
    const cookie = "cookie" in options ? options.cookie : browser.cookie
    const sent: Sent = {
      name,
      kind,
      slow: options.slow ?? false,
      cookie,
      id: cookie === undefined ? undefined : format.idOf(cookie),
      sentAt: this.simulation.now,
      sentTick: this.simulation.rules.tick,
      onAbort: () => {},
      writes: kind === "read" || kind === "logout" ? [] : kind === "save" ? [name, `${name}'`] : [name],
      verdict: "none",
      expected: initial,
      seen: undefined,
      answer: undefined,
      found: 0,
      saved: false,
      destroyed: false,
      finished: false,
      aborted: false,
      calls: 0,
      staleRemoves: 0,
      lastReply: 0,
      faults: { load: 0, refused: 0, lost: 0 },
      status: undefined
    }
    this.all.push(sent)
    this.simulation.story.push(
      `${name} sent${sent.slow ? " (slow)" : ""}${
        cookie === undefined ? " without a cookie" : ` with ${cookie.slice(-6)}`
      }`
    )
    const request = webRequest(cookie, sent)
    sentBySource.set(request, sent)
    webHandlers[options.process ?? 0]![this.persistent ? 1 : 0](request).then((response) =>
      this.answered(sent, browser, response)
    )
    drain()
    return sent
  }

  abort(sent: Sent): void {
    this.simulation.story.push(`${sent.name} aborted`)
    sent.aborted = true
    sent.onAbort()
    drain()
  }

  private async answered(sent: Sent, browser: Browser, response: Response): Promise<void> {
    this.answering++
    const header = response.headers.get("set-cookie")
    const cookie = header === null ? undefined : /^__Host-id=([^;]*)/.exec(header)?.[1]
    if (cookie !== undefined) {
      browser.former = browser.cookie ?? browser.former
      browser.cookie = cookie === "" ? undefined : cookie
    }
    if (cookie !== undefined && cookie !== "") {
      this.cookies.add(cookie)
    }
    sent.status = response.status
    const tick = this.simulation.rules.tick
    const text = response.status === 200 ? "" : await response.text()
    const error = text === "" ? undefined : JSON.parse(text) as { reason: string; applied?: string }
    this.simulation.story.push(
      `${sent.name} answered ${response.status}${error === undefined ? "" : ` ${error.reason} ${error.applied ?? ""}`}${
        cookie === undefined ? "" : cookie === "" ? ", cookie cleared" : `, cookie ${cookie.slice(-6)}`
      }`
    )
    if (tick !== this.simulation.rules.tick) {
      throw new Error("the world moved while an answer was read")
    }
    this.simulation.rules.answered(sent, error, cookie)
    this.answering--
  }

  /** Lets answers that are due arrive; takes no real time. */
  async settle(): Promise<void> {
    await undefined
    await undefined
    for (let i = 0; this.answering > 0; i++) {
      await (i < 100 ? undefined : new Promise((resolve) => setImmediate(resolve)))
    }
  }
}
