/** The session's Layer, from the same variables as Flask's configuration. */
import * as Flask from "effect-session/flask"
import * as FlaskUrl from "effect-session/flask/Url"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { FlaskSession } from "./session.js"

const flag = (name: string, value: boolean) => Config.boolean(name).pipe(Config.withDefault(value))

const environment = Config.all({
  url: Config.redacted("SESSION_STORE"),
  prefix: Config.string("SESSION_KEY_PREFIX").pipe(Config.withDefault("session:")),
  idLength: Config.integer("SESSION_ID_LENGTH").pipe(Config.withDefault(32)),
  permanent: flag("SESSION_PERMANENT", true),
  lifetime: Config.integer("PERMANENT_SESSION_LIFETIME").pipe(Config.withDefault(2_678_400)),
  refreshEachRequest: flag("SESSION_REFRESH_EACH_REQUEST", true),
  useSigner: flag("SESSION_USE_SIGNER", false),
  secret: Config.redacted("SECRET_KEY").pipe(Config.withDefault(undefined)),
  fallbacks: Config.array(Config.redacted(), "SECRET_KEY_FALLBACKS").pipe(Config.withDefault([])),
  fileHash: Config.literal("sha256", "md5")("SESSION_FILE_HASH").pipe(Config.withDefault("sha256" as const)),
  serializationFormat: Config.literal("msgpack", "json")("SESSION_SERIALIZATION_FORMAT").pipe(
    Config.withDefault("msgpack" as const)
  )
}).pipe(
  Config.validate({
    message: "SESSION_USE_SIGNER needs SECRET_KEY",
    validation: ({ secret, useSigner }) => !useSigner || secret !== undefined
  })
)

export const FlaskSessions = (secure: boolean) =>
  Layer.unwrapEffect(
    Effect.map(environment, ({ fallbacks, fileHash, lifetime, prefix, secret, url, useSigner, ...options }) =>
      Flask.layer(FlaskSession, {
        ...options,
        lifetime: Duration.seconds(lifetime),
        cookie: { secure },
        secrets: useSigner && secret !== undefined ? [secret, ...fallbacks] : []
      }).pipe(
        Layer.provide(FlaskUrl.layer({ url, prefix, fileHash }))
      ))
  )
