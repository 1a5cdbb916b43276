/** Reads the environment and serves. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { app } from "./app.js"
import { flaskApp } from "./flask/app.js"
import { FlaskSessions } from "./flask/layer.js"
import { AppSession, codec, cookie } from "./session.js"
import { Store } from "./store.js"

const environment = Config.all({
  port: Config.integer("PORT").pipe(
    Config.validate({
      message: "PORT has to be between 0 and 65535",
      validation: (port) => port >= 0 && port < 65_536
    }),
    Config.withDefault(3000)
  ),
  idleTimeout: Config.duration("SESSION_IDLE_TIMEOUT").pipe(Config.withDefault("30 minutes")),
  /** Where the public finds the site; without https the cookie cannot be Secure. */
  origin: Config.url("ORIGIN").pipe(
    Config.validate({
      message: "ORIGIN has to look like https://example.com",
      validation: (url) => /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`
    }),
    Config.withDefault(undefined)
  ),
  /** `flask` shares the sessions of a Flask app. */
  format: Config.literal("native", "flask")("SESSION_FORMAT").pipe(Config.withDefault("native" as const))
})

const printAddress = HttpServer.addressWith((address) =>
  address._tag === "TcpAddress" ? Console.log(`Listening on http://localhost:${address.port}`) : Effect.void
)

const Main = Layer.unwrapEffect(Effect.map(environment, ({ format, idleTimeout, origin, port }) => {
  const secure = origin?.protocol === "https:"
  const Server = NodeHttpServer.layer(createServer, { port })
  const Print = Layer.effectDiscard(printAddress)
  // the sessions come before the server, so that they close after the last request
  return format === "flask"
    ? Print.pipe(
      Layer.provide(HttpServer.serve(flaskApp(origin))),
      Layer.provide(Server),
      Layer.provide(FlaskSessions(secure))
    )
    : Print.pipe(
      Layer.provide(HttpServer.serve(app(origin))),
      Layer.provide(Server),
      Layer.provide(AppSession.layer({ idleTimeout, codec, cookie: cookie(secure) })),
      Layer.provide(Store)
    )
}))

const problem = (error: Layer.Layer.Error<typeof Main>) => {
  if (ConfigError.isConfigError(error)) return String(error)
  const cause = error.cause as NodeJS.ErrnoException & { readonly port?: number } | undefined
  return cause?.code === "EADDRINUSE"
    ? `port ${cause.port} is in use. Set another one, PORT=${cause.port! + 1}, or PORT=0 for any free port.`
    : error.message || String(cause)
}

Layer.launch(Main).pipe(
  Effect.tapError((error) => Console.error(`Cannot start: ${problem(error)}`)),
  Effect.tapDefect((defect) => Console.error(Cause.pretty(defect))),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
