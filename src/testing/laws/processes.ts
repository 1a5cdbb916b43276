/**
 * What a store for several processes may not say of itself.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { SessionStore, SingleProcess } from "../../SessionStore.js"
import { expectLive, live } from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

export const processes: ReadonlyArray<Law> = [
  law(
    "a store of several processes is not marked as one of a single process",
    // The type says so too, unless the Layer's type was widened.
    Effect.map(Effect.serviceOption(SingleProcess), (marker) => expect(Option.isNone(marker)).toBe(true))
  ),

  law("a record of one process is there for the others", ({ stores }) =>
    Effect.gen(function*() {
      const [one, other] = yield* stores
      const record = yield* Effect.provideService(live(), SessionStore, one!)
      yield* Effect.provideService(expectLive(record), SessionStore, other!)
      yield* expectLive(record)
      const ours = yield* live()
      yield* Effect.provideService(expectLive(ours), SessionStore, one!)
    }))
]
