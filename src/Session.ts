/**
 * The application's session: a typed handle that a handler asks for, and the
 * Layer that gives it one.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import { addDefinition } from "./internal/session/definitions.js"
import * as SessionManager from "./internal/session/Manager.js"
import * as Memory from "./layers/Memory.js"
import * as Payload from "./schema/Payload.js"
import * as PayloadCodec from "./schema/PayloadCodec.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type * as SessionCookie from "./SessionCookie.js"
import type { SessionError } from "./SessionError.js"
import type { SessionStore } from "./SessionStore.js"

/**
 * The session of a request, for code that must not know its payload: log out,
 * change the id at login, show when it ends.
 *
 * An application defines its own, typed session with `Session.Tag`:
 *
 * ```ts
 * import { Session } from "effect-session"
 * import { Effect, Schema } from "effect"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/AppSession", {
 *   userId: Schema.optional(Schema.String),
 *   visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
 * }) {}
 *
 * const visit = Effect.gen(function*() {
 *   const session = yield* AppSession
 *   yield* session.update((s) => ({ ...s, visits: s.visits + 1 }))
 *   return yield* session.get("visits")
 * })
 *
 * const logout = Effect.gen(function*() {
 *   const session = yield* Session
 *   yield* session.destroy
 * })
 * ```
 *
 * Of two `set`s only the key being set is guarded: neither `set("b", f(a))` nor
 * an `update` that closes over a value read earlier notices that `a` changed
 * meanwhile. Read inside `update`, or use `transact`.
 *
 * @since 0.1.0
 * @category tags
 */
export class Session extends Context.Tag("effect-session/Session")<Session, Session.Any>() {
  /**
   * Defines a session: by its fields or a `Schema.Struct`, each field
   * `Schema.optional` or with a default, so that an empty session is a value
   * too; or by any schema and an `initial` value. Schemas must need no services,
   * decode and encode synchronously, and encode to plain data.
   *
   * The id is part of every store key: two tags never share a record.
   *
   * @since 0.1.0
   */
  static readonly Tag = <Self>(): Session.Define<Self> => define as unknown as Session.Define<Self> // one function behind two signatures
}

/**
 * @since 0.1.0
 */
export declare namespace Session {
  /**
   * What every session can do, whatever its payload. The first use of any
   * member loads the session; a request that uses none costs nothing.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Any {
    /** Whether there was no session at the first use; true again after `destroy`. */
    readonly isNew: Effect.Effect<boolean, SessionError>
    /** A name of the session that is safe to show and to log; none without a record. It survives `regenerate`. */
    readonly ref: Effect.Effect<Option.Option<string>, SessionError>
    /** When the session ends if it is not used; none without a record. */
    readonly expiresAt: Effect.Effect<Option.Option<DateTime.Utc>, SessionError>
    /** When the session began; none without a record. */
    readonly createdAt: Effect.Effect<Option.Option<DateTime.Utc>, SessionError>
    /**
     * A new id for the same session, for login and every change of privilege.
     * Takes effect with the commit, which ends the old id and restarts the
     * absolute lifetime. On a new session there is nothing to do.
     *
     * Late requests under an id that it ended are told `Gone` for 30 seconds,
     * and those of the last four ids only.
     */
    readonly regenerate: Effect.Effect<void, SessionError>
    /**
     * Ends the session at once: when it returns, the record is gone. What was
     * recorded is dropped; a later write makes a new session.
     */
    readonly destroy: Effect.Effect<void, SessionError>
    /** Commits what was recorded so far, to learn now whether it holds. */
    readonly save: Effect.Effect<void, SessionError>
    /** Drops what was recorded, forgets what was read, and loads again. */
    readonly reload: Effect.Effect<void, SessionError>
  }

  /**
   * A session with a payload.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Handle<A> extends Any {
    /** The present value, with this request's own changes in it. */
    readonly value: Effect.Effect<A, SessionError>
    /**
     * Records a pure function. It runs again on a fresh value when somebody
     * else has written meanwhile, so that no update is lost. One that returns
     * its argument records nothing.
     */
    readonly update: (f: (value: A) => A) => Effect.Effect<void, SessionError>
    /**
     * Runs `f` on the value, commits, and answers what `f` said about the value
     * that was really stored. For decisions that must hold: spend a coupon
     * once, answer the new count. `f` is pure, like any updater: it may run
     * more than once, so draw random codes before it.
     */
    readonly transact: <B>(f: (value: A) => readonly [B, A]) => Effect.Effect<B, SessionError>
    /** Back to the initial value; the id and the lifetimes stay. */
    readonly clear: Effect.Effect<void, SessionError>
    /**
     * Lifetimes of this session alone ("remember me"), with the next commit.
     * Throws a `SessionConfigError` for what is no duration from 1 millisecond
     * to 10 years: a programmer's mistake, a defect in a handler.
     */
    readonly setLifetime: (lifetime: Lifetime) => Effect.Effect<void, SessionError>
  }

  /**
   * A session defined by fields.
   *
   * @since 0.1.0
   * @category models
   */
  export interface StructHandle<A> extends Handle<A> {
    /** One field of the present value. */
    readonly get: <K extends keyof A>(key: K) => Effect.Effect<A[K], SessionError>
    /**
     * Sets one field. When this request has read the field and somebody else
     * has changed it meanwhile, the commit fails with `Conflict` rather than
     * overwrite; a field never read is the last writer's.
     */
    readonly set: <K extends keyof A>(key: K, value: A[K]) => Effect.Effect<void, SessionError>
  }

  /**
   * Lifetimes of one session. `absoluteTimeout` counts from the commit.
   * `persistent`: whether the cookie outlives the browser. What is left out
   * stays as it was.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Lifetime {
    readonly idleTimeout?: Duration.DurationInput
    readonly absoluteTimeout?: Duration.DurationInput
    readonly persistent?: boolean
  }

  /**
   * - `idleTimeout`: a session not used for so long ends; default 30 minutes. The
   *   deadline moves with each write, and with a read once per tenth of it: a
   *   session that is only read may end up to a tenth early, never late.
   * - `absoluteTimeout`: a session ends after so long, used or not; default 24
   *   hours. Whichever of the two is shorter ends it.
   * - `persistent`: whether cookies outlive the browser; default false.
   * - `cookie`: see `SessionCookie.Options`.
   * - `codec`: how payloads become bytes; default `PayloadCodec.msgpack()`.
   * - `onCorrupt`: what a request does whose record cannot be decoded: go on as
   *   `"anonymous"` and log a warning (default), or `"fail"` with 500. The
   *   record is left alone either way.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Options {
    readonly idleTimeout?: Duration.DurationInput
    readonly absoluteTimeout?: Duration.DurationInput
    readonly persistent?: boolean
    readonly cookie?: SessionCookie.Options
    readonly codec?: PayloadCodec.PayloadCodec
    readonly onCorrupt?: "anonymous" | "fail"
  }

  /**
   * One opened session: the handle, and what the edge does with it.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Opened<H> {
    readonly handle: H
    /** Whether any member of the handle has been used. */
    readonly isUsed: Effect.Effect<boolean>
    /**
     * Commits what was recorded, or moves the deadline when that is due; once.
     * Changes made later are written through.
     */
    readonly finish: Effect.Effect<void, SessionError>
    /** Forgets what was recorded. */
    readonly discard: Effect.Effect<void>
    /** What has to be done about the cookie by now. */
    readonly cookie: Effect.Effect<SessionCookie.CookieChange>
  }

  /**
   * What opens the sessions of one tag, as a requirement.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Manager<in out Self> {
    readonly "~self": Types.Invariant<Self>
    /** The cookie's rules, for the edge. */
    readonly cookie: SessionCookie.SessionCookie
  }

  /**
   * What opens the sessions of one tag, as a service. The HTTP middleware uses
   * it, and so can jobs, sockets and tests.
   *
   * @since 0.1.0
   * @category models
   */
  export interface ManagerOf<in out Self, A, H> extends Manager<Self> {
    /** Opens the session of a cookie's value; without one a new session. No I/O: the first use loads. */
    readonly open: (cookieValue?: string | ReadonlyArray<string>) => Opened<H>
    /** Stores a new session and answers its cookie's value. */
    readonly issue: (value: A) => Effect.Effect<Redacted.Redacted<string>, SessionError>
  }

  /**
   * A field of a session: a schema without services, or a property of one.
   *
   * @since 0.1.0
   * @category models
   */
  export type PlainFields = {
    readonly [key: PropertyKey]:
      | Schema.Schema.AnyNoContext
      // a property signature is invariant in what it holds; only its services matter here
      | Schema.PropertySignature<
        Schema.PropertySignature.Token,
        any,
        PropertyKey,
        Schema.PropertySignature.Token,
        any,
        boolean,
        never
      >
  }

  /**
   * What defines a session without an `initial` value: its fields, or a
   * `Schema.Struct` of them.
   *
   * @since 0.1.0
   * @category models
   */
  export type Definition = PlainFields | Schema.Schema.AnyNoContext

  /**
   * The fields of a definition.
   *
   * @since 0.1.0
   * @category models
   */
  export type FieldsOf<D> = D extends Schema.Schema.Any
    ? D extends { readonly fields: infer Fields extends PlainFields; readonly records: readonly [] } ? Fields : never
    : D extends PlainFields ? D
    : never

  /**
   * The names of the fields that have neither `Schema.optional` nor a default.
   *
   * @since 0.1.0
   * @category models
   */
  export type FieldsWithoutDefault<Fields extends PlainFields> = {
    [K in keyof Fields]: Partial<Schema.Struct.Encoded<Pick<Fields, K>>> extends Schema.Struct.Encoded<Pick<Fields, K>>
      ? never
      : K
  }[keyof Fields]

  /**
   * Accepts a definition whose empty session is a value. The compiler's message
   * for any other names what is missing.
   *
   * @since 0.1.0
   * @category models
   */
  export type EmptyDecodes<D> = [FieldsOf<D>] extends [never]
    ? { readonly "pass { initial: value } as the third argument: only a Schema.Struct can do without": never }
    : FieldsWithoutDefault<FieldsOf<D>> extends infer Lacking extends PropertyKey ? [Lacking] extends [never] ? unknown
      : D extends Schema.Schema.Any ? {
          readonly "give these fields Schema.optional or a default, or pass { initial: value } as the third argument":
            Lacking
        }
      : { readonly [K in Lacking]: `${Exclude<K, symbol>} needs Schema.optional or a default` }
    : unknown

  /**
   * A session's tag: the service a handler asks for, and the Layers behind it.
   *
   * @since 0.1.0
   * @category models
   */
  export interface TagClass<Self, Id extends string, A, I, Init, H> extends Context.Tag<Self, H> {
    new(_: never): Context.TagClassShape<Id, H>
    readonly key: Id
    readonly schema: Schema.Schema<A, I>
    /** The service that opens this session; `layer` provides it. */
    readonly Manager: Context.Tag<Manager<Self>, ManagerOf<Self, A, H>>
    /** Sessions over the store of the context. Fails when an option is wrong. */
    readonly layer: (options?: Options) => Layer.Layer<Manager<Self>, SessionConfigError, SessionStore>
    /** `layer`, with options from the `ConfigProvider`. */
    readonly layerConfig: (
      options: Config.Config.Wrap<Options>
    ) => Layer.Layer<Manager<Self>, SessionConfigError | ConfigError.ConfigError, SessionStore>
    /**
     * The real handle on a private memory store, for tests of handlers: new and
     * empty, or with `initial` stored in it.
     */
    readonly layerTest: (initial?: Init) => Layer.Layer<Self | Session>
  }

  /**
   * @since 0.1.0
   * @category models
   */
  export interface Define<Self> {
    <const Id extends string, D extends Definition>(
      id: Id,
      definition: D & EmptyDecodes<D>
    ): TagClass<
      Self,
      Id,
      Types.Simplify<Schema.Struct.Type<FieldsOf<D>>>,
      Types.Simplify<Schema.Struct.Encoded<FieldsOf<D>>>,
      Partial<Types.Simplify<Schema.Struct.Type<FieldsOf<D>>>>,
      StructHandle<Types.Simplify<Schema.Struct.Type<FieldsOf<D>>>>
    >
    <const Id extends string, A, I>(
      id: Id,
      schema: Schema.Schema<A, I>,
      options: { readonly initial: A }
    ): TagClass<Self, Id, A, I, A, Handle<A>>
  }
}

// ---------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------

type AnyValue = Record<PropertyKey, unknown>

const define = (
  id: string,
  definition: Schema.Struct.Fields | Schema.Schema<AnyValue>,
  options?: { readonly initial: AnyValue }
) => {
  // PlainFields and the overload promise a schema without services
  const schema = (
    Schema.isSchema(definition) ? definition : Schema.Struct(definition as Schema.Struct.Fields)
  ) as Schema.Schema<AnyValue>
  const decodeEmpty = Schema.decodeUnknownSync(schema)
  const initial = options === undefined ? () => decodeEmpty({}) : Payload.copies(schema, options.initial)
  const Tag = Context.Tag(id)<unknown, Session.StructHandle<AnyValue>>()
  const Manager = Context.GenericTag<Session.ManagerOf<unknown, AnyValue, Session.StructHandle<AnyValue>>>(
    `${id}/Manager`
  )
  const make = (options: Session.Options = {}) => {
    const codec = options.codec ?? PayloadCodec.msgpack()
    return SessionManager.make(id, Payload.make(schema, initial, { tag: id, codec: codec.traits }), {
      ...options,
      codec
    })
  }

  const layerTest = (value?: AnyValue) =>
    Layer.effectContext(Effect.gen(function*() {
      const manager = yield* make()
      const cookie = value === undefined
        ? undefined
        : yield* manager.issue(options === undefined ? { ...initial(), ...value } : value)
      const { handle } = manager.open(cookie && Redacted.value(cookie))
      return Context.make(Tag, handle).pipe(Context.add(Session, handle))
    })).pipe(Layer.provide(Memory.layer()), Layer.orDie) // the defaults are legal

  addDefinition(Manager, { id, schema, initial })
  return Object.assign(Tag, {
    schema,
    Manager,
    layer: (options?: Session.Options) => Layer.effect(Manager, make(options)),
    layerConfig: (options: Config.Config.Wrap<Session.Options>) =>
      Layer.effect(Manager, Effect.flatMap(Config.unwrap(options), make)),
    layerTest
  })
}
