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
import type { SessionStoreError } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import type { Keyed } from "../histories.js"
import { dataOf, expectLive, hex, inMillis, live, minute, moments, newData, removed, second } from "./given.js"
import type { Law, Store } from "./Law.js"
import { law } from "./Law.js"

const interrupted = (
  name: string,
  given: Effect.Effect<Keyed, SessionStoreError, SessionStore | Scope.Scope>,
  write: (store: Store, record: Keyed, data: Uint8Array) => Effect.Effect<unknown, SessionStoreError>,
  written: (data: Uint8Array, record: Keyed) => Option.Option<Uint8Array>
): Law =>
  law(
    `${name} that is interrupted at any point is done or not done, and the store serves on`,
    Effect.gen(function*() {
      const store = yield* SessionStore
      const bystander = yield* live()
      for (const moment of moments) {
        const record = yield* given
        const before = Option.map(yield* store.load(record.key), dataOf)
        const data = newData()
        const fiber = yield* Effect.fork(write(store, record, data))
        yield* moment
        yield* Fiber.interrupt(fiber)
        const found = Option.map(yield* store.load(record.key), dataOf)
        expect([before, Option.map(written(data, record), hex)]).toContainEqual(found)
        yield* expectLive(bystander)
        yield* overwrite(record.key)
      }
    })
  )

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
    (store, { expiresAt, key }, data) => store.insert(key, data, expiresAt),
    Option.some
  ),

  interrupted(
    "a replace",
    live(),
    (store, { expiresAt, key, version }, data) => store.replace(key, version, data, expiresAt),
    Option.some
  ),

  interrupted(
    "a touch",
    live(),
    (store, record) => store.touch(record.key, record, record.expiresAt + second),
    (_, record) => Option.some(record.data)
  ),

  interrupted("a remove", live(), (store, { key, version }) => store.remove(key, version), Option.none)
]
