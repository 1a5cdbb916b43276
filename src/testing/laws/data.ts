/**
 * Bytes come back as they went in.
 *
 * @internal
 */
import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import { SessionStore, SessionStoreError } from "../../SessionStore.js"
import {
  expectAbsent,
  expectData,
  expectLive,
  inMillis,
  insertAt,
  live,
  load,
  minute,
  newData,
  newKey,
  replace
} from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

const mebibyte = 1024 * 1024

const comesBack = (data: Uint8Array) =>
  Effect.gen(function*() {
    const inserted = yield* insertAt(yield* newKey, minute, data)
    yield* expectData(inserted.key, data)
    const replaced = yield* replace(yield* live(), minute, data)
    yield* expectData(replaced.key, data)
  })

/** Of one, two, three and four bytes, composed and decomposed, and a BOM in front. */
const text = "\ufeff1e3 null 'a' \\u0041\r\n\t\0é e\u0301 ß 会话 \u2028 🍪"

export const data: ReadonlyArray<Law> = [
  law("every byte value comes back", comesBack(Uint8Array.from({ length: 256 }, (_, i) => 255 - i))),

  law("text of every kind comes back byte by byte", comesBack(Buffer.from(text))),

  law("no bytes at all are data", comesBack(new Uint8Array(0))),

  law(
    "a part of a larger buffer is stored without its surroundings",
    Effect.suspend(() => comesBack(randomBytes(64).subarray(7, 23)))
  ),

  law(
    "a mebibyte comes back, or as much as the store can hold",
    ({ capabilities: { maxBytes = mebibyte } }) => comesBack(randomBytes(Math.min(mebibyte, maxBytes)))
  ),

  law(
    "a shorter replacement leaves nothing of the longer data",
    Effect.gen(function*() {
      const shorter = newData().subarray(0, 3)
      const { key } = yield* replace(yield* live(), minute, shorter)
      yield* expectData(key, shorter)
    })
  ),

  law(
    "what a caller does to its bytes afterwards does not reach the record",
    Effect.gen(function*() {
      const data = newData()
      const given = Uint8Array.from(data)
      const { key } = yield* insertAt(yield* newKey, minute, data)
      const { key: other } = yield* replace(yield* live(), minute, data)
      data.fill(0)
      yield* expectData(key, given)
      yield* expectData(other, given)
    })
  ),

  law(
    "what a caller does to loaded bytes does not reach the record",
    Effect.gen(function*() {
      const record = yield* live()
      const given = Uint8Array.from(record.data)
      Option.getOrThrow(yield* load(record.key)).data.fill(0)
      yield* expectData(record.key, given)
    })
  ),

  law(
    "one byte over the limit is TooLarge, with both sizes, and what was there stays",
    ({ capabilities }) =>
      Effect.gen(function*() {
        const limit = capabilities.maxBytes!
        const store = yield* SessionStore
        const tooMuch = randomBytes(limit + 1)
        const record = yield* live()
        const key = yield* newKey
        const deadline = yield* inMillis(minute)
        const errors = [
          yield* Effect.flip(store.insert(key, tooMuch, deadline)),
          yield* Effect.flip(store.replace(record.key, record.version, tooMuch, deadline))
        ]
        for (const error of errors) {
          expect(error).toBeInstanceOf(SessionStoreError)
          expect(error).toMatchObject({ reason: "TooLarge", limit, actual: limit + 1 })
        }
        expect(errors.map(({ operation }) => operation)).toEqual(["insert", "replace"])
        yield* expectAbsent(key)
        yield* expectLive(record)
      }),
    ({ maxBytes }) => maxBytes !== undefined
  )
]
