/**
 * What a handler holds: the members of a session, and nothing to look into.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { maxTimeout } from "../schema/SessionFormat.js"
import type { Session } from "../Session.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { SessionError } from "../SessionError.js"
import type { Lifetime } from "./Log.js"
import type { CookieChange, RequestSession } from "./RequestSession.js"

type Result<A> = Effect.Effect<A, SessionError>

/** The engine is out of reach: an id must not get into a log by way of `inspect`. */
export class SessionHandle<A> implements Session.StructHandle<A> {
  readonly #session: RequestSession<A>

  constructor(session: RequestSession<A>) {
    this.#session = session
  }

  get isNew() {
    return this.#session.isNew
  }
  get ref() {
    return this.#session.ref
  }
  get createdAt() {
    return this.#session.createdAt
  }
  get expiresAt() {
    return this.#session.expiresAt
  }
  get value() {
    return this.#session.value
  }
  get<K extends keyof A>(key: K): Result<A[K]> {
    return this.#session.get(key) as Result<A[K]> // the engine does not know the fields' types
  }
  set<K extends keyof A>(key: K, value: A[K]): Result<void> {
    return this.#session.set(key, value)
  }
  update(f: (value: A) => A): Result<void> {
    return this.#session.update(f)
  }
  transact<B>(f: (value: A) => readonly [B, A]): Result<B> {
    return this.#session.transact(f)
  }
  get clear() {
    return this.#session.clear
  }
  setLifetime(lifetime: Session.Lifetime): Result<void> {
    return this.#session.setLifetime(inMillis(lifetime))
  }
  get regenerate() {
    return this.#session.regenerate
  }
  get destroy() {
    return this.#session.destroy
  }
  get save() {
    return this.#session.save
  }
  get reload() {
    return this.#session.reload
  }
}

/** What the edge holds: the handle, and the end of the request. */
export class OpenedSession<A> implements Session.Opened<Session.StructHandle<A>> {
  readonly #session: RequestSession<A>
  readonly handle: SessionHandle<A>

  constructor(session: RequestSession<A>) {
    this.#session = session
    this.handle = new SessionHandle(session)
  }

  isUsed(): boolean {
    return this.#session.used
  }
  get finish(): Result<void> {
    return this.#session.finish
  }
  discard(): void {
    this.#session.discard()
  }
  get cookie(): CookieChange {
    return this.#session.cookie
  }
}

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
