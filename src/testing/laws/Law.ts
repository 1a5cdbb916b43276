/**
 * What a law is: a sentence, and an Effect that fails when it is broken.
 *
 * @internal
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SessionStore } from "../../SessionStore.js"
import type { Capabilities } from "../StoreLaws.js"

export interface Law {
  /** A sentence, which names the law in the whole kit. */
  readonly name: string
  /** Whether a store that can do this much is held to it. */
  readonly binds: (capabilities: Capabilities) => boolean
  /** Fails with `LawBroken`. Time is the `TestClock`'s. */
  readonly check: (given: Given) => Effect.Effect<void, LawBroken, SessionStore | Scope.Scope>
}

export type Store = SessionStore["Type"]

/** What a law may know of the store under test. */
export interface Given {
  readonly capabilities: Capabilities
  /** Stores that share their records: the one under test alone, or two further builds of its layer. */
  readonly stores: Effect.Effect<ReadonlyArray<Store>, never, SessionStore | Scope.Scope>
}

export class LawBroken extends Error {
  constructor(readonly law: string, cause: unknown) {
    super(`The law is broken that ${law}. ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    this.name = "LawBroken"
  }
}

type Check = Effect.Effect<unknown, unknown, SessionStore | Scope.Scope>

export const law = (
  name: string,
  check: Check | ((given: Given) => Check),
  binds: Law["binds"] = () => true
): Law => ({
  name,
  binds,
  check: (given) =>
    Effect.suspend(() => typeof check === "function" ? check(given) : check).pipe(
      Effect.asVoid,
      Effect.catchAllCause((cause) => Effect.fail(new LawBroken(name, Cause.squash(cause))))
    )
})
