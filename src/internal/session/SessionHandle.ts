/**
 * What a handler holds: the members of a session, and nothing to look into.
 *
 * @internal
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { type Lifetime, maxTimeout } from "../../schema/SessionRecord.js"
import { ownField } from "../../schema/values.js"
import type { Session } from "../../Session.js"
import { SessionConfigError } from "../../SessionConfigError.js"
import type { CookieChange } from "../../SessionCookie.js"
import type { SessionError } from "../../SessionError.js"
import type { CurrentFiber } from "../fiber.js"
import type { RequestSession } from "./RequestSession.js"

type Result<A> = Effect.Effect<A, SessionError>

/** The engine is out of reach: an id must not get into a log by way of `inspect`. */
export class SessionHandle<A> implements Session.StructHandle<A> {
  readonly #session: RequestSession<A>

  constructor(session: RequestSession<A>) {
    this.#session = session
  }

  get isNew(): Result<boolean> {
    return this.#session.use((session) => Effect.succeed(session.startedNew))
  }
  get ref(): Result<Option.Option<string>> {
    return this.#session.use(({ current }) =>
      Effect.succeed(Option.map(Option.fromNullable(current), ({ id }) => id.ref))
    )
  }
  get createdAt(): Result<Option.Option<DateTime.Utc>> {
    return this.#session.use(({ current }) => Effect.succeed(timeOf(current?.snapshot.createdAt)))
  }
  get expiresAt(): Result<Option.Option<DateTime.Utc>> {
    return this.#session.use(({ current }) => Effect.succeed(timeOf(current?.snapshot.stored.expiresAt)))
  }
  get value(): Result<A> {
    return this.#session.use((session) => Effect.succeed(session.read(undefined)))
  }
  get<K extends keyof A>(key: K): Result<A[K]> {
    // the engine does not know the fields' types
    return this.#session.use((session) => Effect.succeed(ownField(session.read(key), key) as A[K]))
  }
  set<K extends keyof A>(key: K, value: A[K]): Result<void> {
    return this.#session.use((session, call) => session.add(call, { _tag: "Set", key, value }))
  }
  update(f: (value: A) => A): Result<void> {
    return this.#session.use((session, call) => session.add(call, { _tag: "Update", f }))
  }
  transact<B>(f: (value: A) => readonly [B, A]): Result<B> {
    return this.#session.use((session, call) => session.transact(call, f))
  }
  get clear(): Result<void> {
    return this.#session.use((session, call) => session.clear(call))
  }
  setLifetime(lifetime: Session.Lifetime): Result<void> {
    return this.#session.use((session, call) =>
      session.add(call, { _tag: "SetLifetime", lifetime: inMillis(lifetime) })
    )
  }
  get regenerate(): Result<void> {
    return this.#session.use((session, call) => session.regenerate(call))
  }
  get destroy(): Result<void> {
    return this.#session.use((session, call) => session.destroy(call))
  }
  get save(): Result<void> {
    return this.#session.use((session, call) => session.save(call))
  }
  get reload(): Result<void> {
    return this.#session.reload
  }
}

/** What opens a session holds: the handle, and what the HTTP layer needs besides. */
export class OpenedSession<H> implements Session.Opened<H> {
  readonly #session: RequestSession<unknown>
  readonly handle: H

  constructor(session: RequestSession<unknown>, handle: H) {
    this.#session = session
    this.handle = handle
  }

  get isUsed(): Effect.Effect<boolean> {
    return Effect.sync(() => this.wasUsed)
  }
  get finish(): Result<void> {
    return this.#session.finish
  }
  get discard(): Effect.Effect<void> {
    return Effect.sync(() => this.drop())
  }
  get cookie(): Effect.Effect<CookieChange> {
    return Effect.sync(() => this.change)
  }

  /** `isUsed`, at once. */
  get wasUsed(): boolean {
    return this.#session.isUsed
  }
  /** `cookie`, at once. */
  get change(): CookieChange {
    return this.#session.cookieChange
  }
  /** `discard`, at once. */
  drop(): void {
    this.#session.discard()
  }
  /** `finish`, in the fiber that runs. */
  finishIn(fiber: CurrentFiber): Result<void> {
    return this.#session.finishIn(fiber)
  }
  /** The response head is on its way: no cookie can be set any more, and changes are written through. */
  sendHead(): void {
    this.#session.sendHead()
  }
}

/** The internals of what a manager has opened. */
export const internalsOf = <H>(opened: Session.Opened<H>): OpenedSession<H> => {
  if (opened instanceof OpenedSession) {
    return opened
  }
  throw new Error("The session was opened by something else than the manager of a session's tag")
}

/** Stores `value` as a new session. Returns its cookie's value. */
export const issue = <A>(
  session: RequestSession<A>,
  value: A
): Effect.Effect<Redacted.Redacted<string>, SessionError> => {
  const handle = new SessionHandle(session)
  const written = Effect.zipRight(
    handle.setLifetime({}), // a write even when `value` is the initial one
    handle.update(() => value)
  )
  return Effect.map(Effect.zipRight(written, handle.save), () => {
    const { value } = session.cookieChange as Extract<CookieChange, { _tag: "Set" }> // a new session always sets its cookie
    return value
  })
}

const timeOf = (millis: number | undefined): Option.Option<DateTime.Utc> =>
  Option.map(Option.fromNullable(millis), (time) => DateTime.unsafeMake(time))

const inMillis = ({ absoluteTimeout, idleTimeout, persistent }: Session.Lifetime): Lifetime => ({
  ...(absoluteTimeout === undefined ? {} : { absoluteTimeout: timeout("absoluteTimeout", absoluteTimeout) }),
  ...(idleTimeout === undefined ? {} : { idleTimeout: timeout("idleTimeout", idleTimeout) }),
  ...(persistent === undefined ? {} : { persistent })
})

/** Checks a lifetime, in milliseconds. Throws a `SessionConfigError`. */
export const timeout = (option: string, input: Duration.DurationInput): number => {
  const millis = Option.match(Duration.decodeUnknown(input), {
    onNone: () => NaN,
    onSome: (duration) => Math.round(Duration.toMillis(duration))
  })
  // guard: lifetimes have bounds
  if (millis >= 1 && millis <= maxTimeout) {
    return millis
  }
  throw new SessionConfigError({
    option,
    message: `${option} has to be a duration from 1 millisecond to 10 years, like "30 minutes"`
  })
}
