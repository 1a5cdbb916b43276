/**
 * Whoever is interrupted leaves no half of anything behind.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { SessionStoreError, Stored } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import type { Keyed } from "../histories.js"
import { expectLive, hex, inMillis, live, load, minute, moments, newData, removed, second } from "./given.js"
import { turns } from "./late.js"
import type { Law, Store } from "./Law.js"
import { law } from "./Law.js"

const interrupted = (
  name: string,
  given: Effect.Effect<Keyed, SessionStoreError, SessionStore | Scope.Scope>,
  write: (store: Store, record: Keyed, data: Uint8Array) => Effect.Effect<unknown, SessionStoreError>,
  written: (data: Uint8Array, record: Keyed) => Option.Option<Pick<Stored, "data" | "expiresAt">>
): Law =>
  law(
    `${name} that is interrupted at any point is done or not done, and the store serves on`,
    Effect.gen(function*() {
      const store = yield* SessionStore
      const bystander = yield* live()
      const undisturbed = yield* given
      const started = performance.now()
      yield* write(store, undisturbed, newData())
      const usual = performance.now() - started
      for (const moment of [...moments, ...[0.2, 0.4, 0.6, 0.8, 1, 1.2].map((share) => wait(share * usual))]) {
        const record = yield* given
        const before = Option.map(yield* store.load(record.key), stateOf)
        const data = newData()
        const fiber = yield* Effect.fork(write(store, record, data))
        yield* moment
        yield* Fiber.interrupt(fiber)
        const found = Option.map(yield* store.load(record.key), stateOf)
        expect([before, Option.map(written(data, record), stateOf)]).toContainEqual(found)
        yield* expectLive(bystander)
        yield* overwrite(record.key)
      }
    })
  )

const stateOf = ({ data, expiresAt }: Pick<Stored, "data" | "expiresAt">) => `${hex(data)} ${expiresAt}`

/** Turns of the event loop for as long, and no longer than a store may take. */
const wait = (millis: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const end = performance.now() + Math.min(millis, 50)
    const again: Effect.Effect<void> = Effect.suspend(() =>
      performance.now() < end ? Effect.zipRight(turns(1), again) : Effect.void
    )
    return again
  })

/** What was interrupted may still arrive at the server, so this is tried again; it must not stay locked. */
const overwrite = (key: string) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const found = yield* store.load(key)
    const expiresAt = yield* inMillis(minute)
    return Option.isNone(found)
      ? yield* store.insert(key, newData(), expiresAt)
      : yield* store.replace(key, found.value.version, newData(), expiresAt)
  }).pipe(
    Effect.repeat({ until: Option.isSome, times: 5 }),
    Effect.map((version) => expect(Option.isSome(version)).toBe(true))
  )

export const interruption: ReadonlyArray<Law> = [
  interrupted(
    "an insert",
    removed,
    (store, { expiresAt, key }, data) => store.insert(key, data, expiresAt + second),
    (data, { expiresAt }) => Option.some({ data, expiresAt: expiresAt + second })
  ),

  interrupted(
    "a replace",
    live(),
    (store, { expiresAt, key, version }, data) => store.replace(key, version, data, expiresAt + second),
    (data, { expiresAt }) => Option.some({ data, expiresAt: expiresAt + second })
  ),

  interrupted(
    "a touch",
    live(),
    (store, record) => store.touch(record.key, record, record.expiresAt + second),
    (_, { data, expiresAt }) => Option.some({ data, expiresAt: expiresAt + second })
  ),

  interrupted("a remove", live(), (store, { key, version }) => store.remove(key, version), Option.none),

  law(
    "loads that are interrupted, however many, leave the store able",
    Effect.gen(function*() {
      const record = yield* live()
      for (let i = 0; i < 200; i++) {
        const fiber = yield* Effect.fork(load(record.key))
        yield* moments[i % moments.length]!
        yield* Fiber.interrupt(fiber)
      }
      yield* expectLive(record)
    })
  )
]
