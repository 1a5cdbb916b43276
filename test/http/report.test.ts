/** A commit that only a programmer can mend says where it is wrong, to the log. */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { expect, it } from "@effect/vitest"
import { Session, type SessionError, SessionHttp } from "effect-session"
import * as Memory from "effect-session/layers/Memory"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Faults from "../faults.js"

class App extends Session.Tag<App>()("app/App", {
  cart: Schema.optionalWith(Schema.Array(Schema.Struct({ price: Schema.Number })), { default: () => [] })
}) {}

type Handle = Session.StructHandle<typeof App.schema.Type>

/** What is logged when the handler meets a session, and a store that is stale at first. */
const logOf = (handler: (session: Handle) => Effect.Effect<void, SessionError>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause, message }) => void lines.push(`${String(message)} ${Cause.pretty(cause)}`))
    const faults = Faults.make()
    const context = yield* Layer.build(App.layer().pipe(Layer.provide(faults.layer), Layer.provide(Memory.layer())))
    const manager = Context.get(context, App.Manager)
    const cookie = Redacted.value(yield* manager.issue({ cart: [] }))
    faults.script("replace", () => Effect.succeed(Option.none()) as Effect.Effect<never>)
    const send = HttpApp.toWebHandlerRuntime(
      yield* Effect.runtime<never>().pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    )(
      Effect.flatMap(App, handler).pipe(
        Effect.as(HttpServerResponse.text("ok")),
        SessionHttp.middleware(App),
        Effect.provide(context)
      )
    )
    const request = new Request("http://localhost/", { headers: { cookie: `__Host-id=${cookie}` } })
    const { status } = yield* Effect.promise(() => send(request))
    return { status, log: lines.join("\n") }
  })

it.scoped("a value that does not fit: by its path, without the value", () =>
  Effect.gen(function*() {
    const { log, status } = yield* logOf((session) => session.set("cart", [{ price: "4242 4242" as never }]))
    expect(status).toBe(500)
    expect(log).toContain("nothing was stored: The session's value cannot be encoded (at cart.0.price")
    expect(log).not.toContain("4242")
  }))

it.scoped("an updater that throws when it is run again: with what it threw", () =>
  Effect.gen(function*() {
    let runs = 0
    const { log, status } = yield* logOf((session) =>
      session.update((value) => {
        if (++runs > 1) throw new Error("no more than one")
        return { ...value, cart: [{ price: 1 }] }
      })
    )
    expect(status).toBe(500)
    expect(log).toContain("An updater threw")
    expect(log).toContain("no more than one")
  }))
