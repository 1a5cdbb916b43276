/**
 * Sessions that a Flask app with Flask-Session 0.8 shares: the same cookie, the
 * same records, in the same store. Both apps may run for years, or a team moves
 * one route at a time. `docs/flask.md` is the guide.
 *
 * ```ts
 * import { Session } from "effect-session"
 * import * as Flask from "effect-session/flask"
 * import * as FlaskRedis from "effect-session/flask/Redis"
 * import { Layer, Schema } from "effect"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/AppSession", {
 *   user: Schema.optional(Schema.String),
 *   ...Flask.FlashFields,
 *   ...Flask.LoginFields
 * }) {}
 *
 * const Sessions = Flask.layer(AppSession).pipe(
 *   Layer.provide(FlaskRedis.layer({ url: "redis://localhost" }))
 * )
 * ```
 *
 * Keys that the schema does not name stay as they are, byte for byte. The key
 * `_permanent` is no field: `setLifetime({ persistent })` sets it. Use
 * `Schema.optional` rather than defaults: a default is written as a key, and
 * Flask-Session deletes only a session without keys.
 *
 * What differs from the native format: a record knows no lifetimes of its own,
 * no creation time and no retired ids; `setLifetime` takes `persistent` only;
 * the ids lie in the store as they are.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { millisOf } from "./internal/bounded.js"
import * as Contents from "./internal/flask/contents.js"
import { flaskFormat } from "./internal/flask/format.js"
import { flaskIds, idLengths } from "./internal/flask/ids.js"
import { Pickled } from "./internal/flask/marker.js"
import { dictPayload, structPayload } from "./internal/flask/payload.js"
import { removingAgain } from "./internal/flask/removeAgain.js"
import { defaultLimits } from "./internal/python/limits.js"
import { fromPlain, toPlain } from "./internal/python/plain.js"
import { PyDict } from "./internal/python/Value.js"
import { definitionOf } from "./internal/session/definitions.js"
import * as SessionManager from "./internal/session/Manager.js"
import type { Session } from "./Session.js"
import { SessionConfigError } from "./SessionConfigError.js"
import * as SessionCookie from "./SessionCookie.js"
import { SessionStore } from "./SessionStore.js"

/** @since 0.1.0 */
export * as Python from "./flask/Python.js"

/**
 * The same values as in Flask's configuration. Both apps have to agree on all
 * of them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * `SESSION_COOKIE_NAME`, `_DOMAIN`, `_PATH`, `_SECURE` and `_SAMESITE`. The
   * name is `"session"` by default. `secure` is true by default, unlike
   * Flask's. Give the path and the domain that Flask has, or the browser keeps
   * two cookies. `HttpOnly` always.
   */
  readonly cookie?: SessionCookie.Options
  /** `PERMANENT_SESSION_LIFETIME`: from 1 second to 10 years, a number in milliseconds; 31 days by default. */
  readonly lifetime?: Duration.DurationInput
  /** `SESSION_PERMANENT`: whether a new session gets `_permanent`, and its cookie outlives the browser; true by default. */
  readonly permanent?: boolean
  /**
   * `SESSION_REFRESH_EACH_REQUEST`: whether a request that reads moves the
   * deadline, and sends the cookie of a permanent session again; true by
   * default. It does so when a tenth of the lifetime has passed.
   */
  readonly refreshEachRequest?: boolean
  /**
   * `SESSION_SERIALIZATION_FORMAT`: how records are written; `"msgpack"` by
   * default. Both are read, and the pickles of releases before 0.7. `"pickle"`
   * is for cachelib, whose files are nothing else: the default over
   * `effect-session/flask/CacheLib`. Name it if a decorator stands between.
   */
  readonly serializationFormat?: "msgpack" | "json" | "pickle"
  /** `SESSION_ID_LENGTH`: bytes of a new id, 8 to 96; 32 by default. Below 16 a warning is logged. */
  readonly idLength?: number
  /**
   * `SECRET_KEY` and its fallbacks, for `SESSION_USE_SIGNER`. The first secret
   * signs, each of them verifies. Without any, ids are not signed, which is the
   * default.
   */
  readonly secrets?: ReadonlyArray<string | Redacted.Redacted<string>>
  /**
   * Removes the id of a session that has ended again, after each of these
   * durations, 1 millisecond to 24 days; by default not at all. A request of
   * Flask that was in flight at a logout writes the session back. This turns a
   * revival for the whole lifetime into one of seconds: name the time that the
   * longest request of Flask takes, like `["5 seconds", "30 seconds"]`. The
   * process has to live as long.
   */
  readonly removeAgainAfter?: ReadonlyArray<Duration.DurationInput>
  /**
   * What a request does whose record cannot be decoded: go on as
   * `"anonymous"` and log a warning (default), or `"fail"` with 500. The
   * record is left alone either way.
   */
  readonly onCorrupt?: "anonymous" | "fail"
}

/**
 * Sessions of a tag over a store of Flask's. Fails when an option is wrong.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <Self, Id extends string, A, I, Init, H>(
  tag: Session.TagClass<Self, Id, A, I, Init, H>,
  options: Options = {}
): Layer.Layer<Session.Manager<Self>, SessionConfigError, SessionStore> =>
  // the engine's handle has the members of every kind of handle; the tag's type says which of them apply
  Layer.scoped(
    tag.Manager,
    make(tag.Manager, options) as Effect.Effect<
      Session.ManagerOf<Self, A, H>,
      SessionConfigError,
      SessionStore | Scope.Scope
    >
  )

/**
 * `layer`, with options from the `ConfigProvider`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = <Self, Id extends string, A, I, Init, H>(
  tag: Session.TagClass<Self, Id, A, I, Init, H>,
  options: Config.Config.Wrap<Options>
): Layer.Layer<Session.Manager<Self>, SessionConfigError | ConfigError.ConfigError, SessionStore> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer(tag, options)))

const make = Effect.fnUntraced(function*(tagsManager: object, options: Options) {
  const definition = definitionOf(tagsManager)
  if (definition === undefined) {
    return yield* wrong("tag", "has to be a tag that Session.Tag has made")
  }
  const delays = yield* Effect.forEach(options.removeAgainAfter ?? [], delayOf)
  const given = yield* SessionStore
  const store = delays.length === 0 ? given : yield* removingAgain(given, delays)
  const isPickled = Option.isSome(yield* Effect.serviceOption(Pickled))
  const cookie = yield* SessionCookie.make({ name: "session", ...options.cookie })
  // Flask-Session, too, writes nothing but pickle to cachelib, whatever its configuration says
  const encoding = isPickled ? "pickle" : options.serializationFormat ?? "msgpack"
  const { id: tag } = definition
  const parts = { tag, cookie, onCorrupt: options.onCorrupt, store }
  const settings = {
    encoding,
    ids: flaskIds(yield* idLengthOf(options), yield* secretsOf(options)),
    lifetime: yield* lifetimeOf(options),
    permanent: options.permanent ?? true,
    refreshEachRequest: options.refreshEachRequest ?? true
  } as const
  if ((definition.schema as unknown) === Dict) {
    const payload = dictPayload(tag, definition.initial as () => PyDict) // what its schema says
    const format = flaskFormat({ ...settings, contents: Contents.dictContents })
    return yield* SessionManager.makeWith({ ...parts, payload, format })
  }
  const payload = structPayload(definition, {
    name: encoding,
    maxBytes: defaultLimits.maxBytes,
    bigints: true,
    bytes: encoding !== "json"
  })
  const format = flaskFormat({ ...settings, contents: Contents.structContents(payload) })
  return yield* SessionManager.makeWith({ ...parts, payload, format })
})

const wrong = (option: string, message: string) => new SessionConfigError({ option, message: `${option} ${message}` })

const idLengthOf = ({ idLength = 32 }: Options) => {
  if (!Number.isInteger(idLength) || idLength < idLengths.min || idLength > idLengths.max) {
    return wrong("idLength", `has to be a whole number of bytes from ${idLengths.min} to ${idLengths.max}`)
  }
  return idLength < idLengths.safe
    ? Effect.as(
      Effect.logWarning(`Session: idLength is below ${idLengths.safe} bytes, so that ids can be guessed`),
      idLength
    )
    : Effect.succeed(idLength)
}

const secretsOf = ({ secrets = [] }: Options) => {
  const texts = secrets.map((secret) => Redacted.isRedacted(secret) ? Redacted.value(secret) : secret)
  return texts.every((text) => text !== "")
    ? Effect.succeed(texts)
    : wrong("secrets", "has an empty one: leave it out, or give Flask's SECRET_KEY")
}

const delayOf = (input: Duration.DurationInput) => {
  const millis = millisOf(input)
  return millis !== undefined && millis >= 1 && millis < 2 ** 31
    ? Effect.succeed(millis)
    : wrong("removeAgainAfter", "has to list durations from 1 millisecond to 24 days, like \"5 seconds\"")
}

const maxLifetime = 10 * 366 * 86_400_000

const lifetimeOf = ({ lifetime = "31 days" }: Options) => {
  const millis = millisOf(lifetime)
  return millis !== undefined && millis >= 1000 && millis <= maxLifetime
    ? Effect.succeed(Math.floor(millis))
    : wrong("lifetime", "has to be a duration from 1 second to 10 years, like \"31 days\"")
}

// ---------------------------------------------------------------------------
// schemas
// ---------------------------------------------------------------------------

/**
 * A session as Flask's dict itself: every key of any type, in its order, with
 * Python's types kept apart. For `Session.Tag` with `{ initial: emptyDict }`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Dict: Schema.Schema<PyDict> = Schema.declare((value): value is PyDict => value instanceof PyDict, {
  identifier: "Flask.Dict"
})

/**
 * The value of a session without keys.
 *
 * @since 0.1.0
 * @category constants
 */
export const emptyDict: PyDict = new PyDict([])

/**
 * Flask's flash messages: pairs of a category and a message. Spread it into the
 * fields of a session.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FlashFields = {
  _flashes: Schema.optional(Schema.Array(Schema.Tuple(Schema.String, Schema.Unknown)))
}

/**
 * What Flask-Login keeps of a user: `_user_id`, whether the login is `_fresh`,
 * and `_id`, a hash of the client's address and browser. Read only: Flask-Login
 * makes `_id`, and signs the remember-me cookie.
 *
 * @since 0.1.0
 * @category schemas
 */
export const LoginFields = {
  _user_id: Schema.optional(Schema.String),
  _fresh: Schema.optional(Schema.Boolean),
  _id: Schema.optional(Schema.String)
}

/**
 * Flask-WTF's secret against forged requests. Its forms hold the signed form of
 * this text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CsrfFields = {
  csrf_token: Schema.optional(Schema.String)
}

// ---------------------------------------------------------------------------
// flash messages
// ---------------------------------------------------------------------------

/**
 * A flash message: its category and its text.
 *
 * @since 0.1.0
 * @category models
 */
export type FlashMessage = readonly [category: string, message: unknown]

interface Flashing {
  readonly _flashes?: ReadonlyArray<FlashMessage> | undefined
}

/**
 * Adds a message that the next page shows, on either side. The category is
 * `"message"` by default, as Flask's.
 *
 * @since 0.1.0
 * @category flash messages
 */
export const flash = <A extends Flashing | PyDict, E>(
  session: { readonly update: (f: (value: A) => A) => Effect.Effect<void, E> },
  message: unknown,
  category = "message"
): Effect.Effect<void, E> =>
  session.update((value) => {
    const flashes: ReadonlyArray<FlashMessage> = [...flashesOf(value), [category, message]]
    // each branch makes the kind of value that it was given
    return (value instanceof PyDict
      ? value.set("_flashes", fromPlain(flashes, value.get("_flashes")))
      : { ...value, _flashes: flashes }) as A
  })

/**
 * Takes all messages out of the session and returns them. Of two tabs that ask
 * at once, one gets them.
 *
 * @since 0.1.0
 * @category flash messages
 */
export const takeFlashes = <A extends Flashing | PyDict, E>(
  session: {
    readonly transact: <B>(f: (value: A) => readonly [B, A]) => Effect.Effect<B, E>
  }
): Effect.Effect<ReadonlyArray<FlashMessage>, E> =>
  session.transact((value) => {
    if (value instanceof PyDict) {
      return [flashesOf(value), value.delete("_flashes") as A] // a dict, too
    }
    const { _flashes, ...rest } = value as Flashing
    return _flashes === undefined ? [[], value] : [_flashes, rest as A] // `_flashes` is optional in A
  })

const flashesOf = (value: Flashing | PyDict): ReadonlyArray<FlashMessage> => {
  if (!(value instanceof PyDict)) {
    return value._flashes ?? []
  }
  const flashes = toPlain(value.get("_flashes") ?? [])
  // Flask's own form; an app that stores something else there sees no messages
  return Array.isArray(flashes) ? flashes.filter((each) => Array.isArray(each) && each.length === 2) : []
}
