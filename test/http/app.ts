/** One application, for every way into HTTP: the session, its handlers, and a store that can be watched and broken. */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import {
  Session,
  type SessionError,
  SessionStore,
  SessionStoreError,
  type SessionStoreErrorReason
} from "effect-session"
import * as Memory from "effect-session/layers/Memory"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

export class AppSession extends Session.Tag<AppSession>()("test/AppSession", {
  n: Schema.optionalWith(Schema.Number, { default: () => 0 }),
  user: Schema.optional(Schema.String)
}) {}

/** A typed failure that knows its response, in HttpApi and outside it. */
export class Teapot extends Schema.TaggedError<Teapot>("test/Teapot")(
  "Teapot",
  {},
  HttpApiSchema.annotations({ status: 418 })
) {
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.unsafeJson({ _tag: "Teapot" }, { status: 418 }))
  }
}

type Operation = "load" | "insert" | "replace" | "touch" | "remove"

/** Its sweep would wake for every minute of the days that a test lets pass. */
const unswept = Layer.scopedContext(
  Effect.clockWith((clock) => Effect.withClock(Memory.make(), { ...clock, sleep: () => Effect.never }))
)

/** A memory store that counts what it is asked, and fails where it is told to. */
export class Probe {
  readonly operations: Array<Operation> = []
  failing: Partial<Record<Operation, SessionStoreErrorReason | "Defect">> = {}

  /** Fails the next operation of the kind alone. */
  failingOnce: Probe["failing"] = {}

  readonly #keys = new Set<string>()
  #store: SessionStore["Type"] | undefined

  readonly layer: Layer.Layer<SessionStore> = Layer.effect(
    SessionStore,
    Effect.map(SessionStore, (store) => {
      this.#store = store
      const watch = <A>(operation: Operation, effect: Effect.Effect<A, SessionStoreError>) =>
        Effect.suspend(() => {
          this.operations.push(operation)
          const reason = this.failing[operation] ?? this.failingOnce[operation]
          delete this.failingOnce[operation]
          if (reason === undefined) {
            return effect
          }
          return reason === "Defect"
            ? Effect.dieMessage("the store has a bug")
            : Effect.fail(new SessionStoreError({ reason, operation, cause: new Error("the driver's secret text") }))
        })
      return SessionStore.of({
        load: (key) => watch("load", store.load(key)),
        insert: (key, data, expiresAt) => watch("insert", store.insert(this.#keyOf(key), data, expiresAt)),
        replace: (key, expected, data, expiresAt) => watch("replace", store.replace(key, expected, data, expiresAt)),
        touch: (key, current, expiresAt) => watch("touch", store.touch(key, current, expiresAt)),
        remove: (key, expected) => watch("remove", store.remove(key, expected))
      })
    })
  ).pipe(Layer.provide(unswept), Layer.orDie)

  #keyOf(key: string) {
    this.#keys.add(key)
    return key
  }

  /** The store itself, for what happens behind the app's back. */
  get store(): SessionStore["Type"] {
    return this.#store!
  }

  /** The live records by key, unwatched; versions and deadlines as text. */
  readonly records: Effect.Effect<Record<string, string>> = Effect.suspend(() =>
    Effect.forEach(this.#keys, (key) => Effect.map(this.store.load(key), (found) => [key, found] as const))
  ).pipe(
    Effect.map((all) =>
      Object.fromEntries(all.flatMap(([key, found]) =>
        found._tag === "None"
          ? []
          : [[key, `${found.value.version} ${found.value.expiresAt} ${Buffer.from(found.value.data).toString("hex")}`]]
      ))
    ),
    Effect.orDie
  )

  /** What the store was asked while `body` ran. */
  async during<A>(body: () => Promise<A>): Promise<readonly [A, ReadonlyArray<Operation>]> {
    const before = this.operations.length
    const result = await body()
    return [result, this.operations.slice(before)]
  }

  async broken<A>(failing: Probe["failing"], body: () => Promise<A>): Promise<A> {
    this.failing = failing
    try {
      return await body()
    } finally {
      this.failing = {}
    }
  }
}

/** What handlers tell the test: `x:hook` after the session's own hook ran. */
export const events: Array<string> = []

export const happened = async (event: string, times = 1): Promise<void> => {
  for (let i = 0; i < 500; i++) {
    if (events.filter((other) => other === event).length >= times) {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`"${event}" did not happen ${times} time(s), but: ${events.join(", ")}`)
}

export type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  SessionError | Teapot,
  AppSession | Session
>

const bump = Effect.flatMap(AppSession, (session) => session.update((value) => ({ ...value, n: value.n + 1 })))
const text = HttpServerResponse.text
const bytes = (text: string) => new TextEncoder().encode(text)

const hooked = (name: string) =>
  HttpApp.appendPreResponseHandler((_, response) =>
    Effect.sync(() => {
      events.push(`${name}:hook`)
      return response
    })
  )

/** Two fibers of which one fails, and the other is interrupted for it. */
const failInParallel = Effect.all([Effect.fail(new Teapot()), Effect.never], { concurrency: "unbounded" })

/** Changes the session while the body is on its way, and sends what became of it. */
const writeInStream = (session: typeof AppSession.Service) =>
  HttpServerResponse.stream(Stream.fromEffect(
    Effect.zipRight(session.update((value) => ({ ...value, n: value.n + 1 })), session.get("n")).pipe(
      Effect.match({ onFailure: (error) => bytes(error.reason), onSuccess: (n) => bytes(String(n)) })
    )
  ))

export const handlers = {
  "none": Effect.succeed(text("ok")),
  "read": Effect.gen(function*() {
    const session = yield* AppSession
    return text(String(yield* session.get("n")))
  }),
  "read-304": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.value
    return HttpServerResponse.empty({ status: 304, headers: { etag: "\"1\"" } })
  }),
  "is-new": Effect.gen(function*() {
    const session = yield* Session
    return text(String(yield* session.isNew))
  }),
  "ref": Effect.gen(function*() {
    const session = yield* AppSession
    return HttpServerResponse.unsafeJson(yield* session.ref)
  }),
  "write": Effect.zipRight(bump, Effect.succeed(text("written"))),
  "write-own-headers": Effect.zipRight(
    bump,
    Effect.succeed(
      text("written", {
        headers: {
          "Vary": "Accept-Encoding",
          "Cache-Control": "public, max-age=60",
          "ETag": "\"e\"",
          "X-Own": "1",
          "X-Two": "a, b",
          "Content-Language": "en"
        }
      }).pipe(HttpServerResponse.unsafeSetCookie("theme", "dark", { path: "/" }))
    )
  ),
  "write-vary-star": Effect.zipRight(bump, Effect.succeed(text("written", { headers: { vary: "*" } }))),
  "write-vary-cookie": Effect.zipRight(bump, Effect.succeed(text("written", { headers: { vary: "accept, cookie" } }))),
  "write-204": Effect.zipRight(bump, Effect.succeed(HttpServerResponse.empty())),
  "write-redirect": Effect.zipRight(bump, Effect.succeed(HttpServerResponse.redirect("/read", { status: 303 }))),
  "write-404": Effect.zipRight(bump, Effect.succeed(text("no such thing", { status: 404 }))),
  "write-raw": Effect.zipRight(bump, Effect.succeed(HttpServerResponse.raw("raw", { contentType: "text/plain" }))),
  "write-raw-response": Effect.zipRight(bump, Effect.succeed(HttpServerResponse.raw(new Response("web")))),
  "write-from-web": Effect.zipRight(
    bump,
    Effect.sync(() => HttpServerResponse.fromWeb(new Response("web", { headers: { "set-cookie": "theme=dark" } })))
  ),
  "write-stream": Effect.zipRight(
    bump,
    Effect.succeed(HttpServerResponse.stream(Stream.make("a", "b", "c").pipe(Stream.map(bytes))))
  ),
  "stream-endless": Effect.zipRight(
    Effect.zipRight(bump, hooked("stream-endless")),
    Effect.succeed(
      HttpServerResponse.stream(
        Stream.concat(Stream.make(bytes("first")), Stream.never).pipe(
          Stream.ensuring(Effect.sync(() => events.push("stream-endless:closed")))
        )
      )
    )
  ),
  "stream-write": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.get("n")
    return writeInStream(session)
  }),
  "stream-first-use": Effect.map(AppSession, (session) => writeInStream(session)),
  "write-own-cookie": Effect.zipRight(
    bump,
    Effect.succeed(HttpServerResponse.unsafeSetCookie(text("written"), "__Host-id", "mine", { path: "/x" }))
  ),
  "write-in-parallel": Effect.gen(function*() {
    const session = yield* AppSession
    const later = Effect.zipRight(Effect.yieldNow(), bump)
    yield* Effect.all([bump, later, session.set("user", "u"), later], { concurrency: "unbounded" })
    return text(`${yield* session.get("n")} ${yield* session.get("user")}`)
  }),
  "write-with-failing-hook": Effect.gen(function*() {
    yield* bump
    let runs = 0
    yield* HttpApp.appendPreResponseHandler((_, response) =>
      runs++ === 0 ? Effect.dieMessage("another's hook") : Effect.succeed(response)
    )
    return text("written")
  }),
  "set-destroy-write": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.set("user", "u")
    yield* session.save
    yield* session.regenerate
    yield* session.destroy
    yield* session.set("n", 7)
    return text("all")
  }),
  "destroy": Effect.gen(function*() {
    const session = yield* Session
    yield* session.destroy
    return text("bye")
  }),
  "regenerate": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.regenerate
    yield* session.set("user", "me")
    return text("in")
  }),
  "remember": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.setLifetime({ persistent: true, idleTimeout: "10 days", absoluteTimeout: "500 days" })
    yield* session.set("user", "me")
    return text("remembered")
  }),
  "forever": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.setLifetime({ persistent: true, idleTimeout: "500 days", absoluteTimeout: "500 days" })
    yield* session.set("user", "me")
    return text("remembered")
  }),
  "expires-at": Effect.gen(function*() {
    const session = yield* AppSession
    return HttpServerResponse.unsafeJson(yield* session.expiresAt)
  }),
  "fail": Effect.zipRight(bump, Effect.fail(new Teapot())),
  "fail-in-parallel": Effect.zipRight(bump, Effect.as(failInParallel, text("never"))),
  "die": Effect.zipRight(bump, Effect.dieMessage("a defect")),
  "die-respondable": Effect.zipRight(bump, Effect.die(new Teapot())),
  "fail-mute": Effect.zipRight(bump, Effect.fail("a failure without a response" as never)),
  "die-with-response": Effect.zipRight(bump, Effect.die(text("thrown", { status: 403 }))),
  "save-die": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.update((value) => ({ ...value, n: value.n + 1 }))
    yield* session.save
    yield* session.update((value) => ({ ...value, n: value.n + 100 }))
    return yield* Effect.dieMessage("a defect after save")
  }),
  "save": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.set("n", 5)
    yield* session.save
    return text("saved")
  }),
  "transact": Effect.gen(function*() {
    const session = yield* AppSession
    yield* session.set("n", 5)
    return text(String(yield* session.transact((value) => [value.n, { ...value, n: value.n + 1 }])))
  }),
  "interrupt": Effect.zipRight(bump, Effect.interrupt),
  "hang": Effect.gen(function*() {
    yield* hooked("hang")
    yield* bump
    events.push("hang:waiting")
    return yield* Effect.never
  })
} satisfies Record<string, Handler>

export type Name = keyof typeof handlers
