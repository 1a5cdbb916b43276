/**
 * Bytes come back as they went in.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
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
  replace,
  replaced
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
  ),

  law(
    "bytes come back whatever they begin and end with, and whatever they look like",
    Effect.gen(function*() {
      const edges = [0, 9, 10, 13, 32, 34, 48, 61, 255].map((byte) =>
        Uint8Array.from([byte, byte, ...newData(), byte, byte])
      )
      const texts = ["{\"a\": 1.0}", "\"\\u0041\"", "1e3", " 1", "null", "NULL", "[]", "QUJD", "4142", "0", "\r\n"]
      const magic = [[0x1f, 0x8b, 8, 0], [0x78, 0x9c, 1], [0x28, 0xb5, 0x2f, 0xfd], [0x50, 0x4b, 3, 4], [0, 0], [
        0xff,
        0xfe
      ]]
      yield* Effect.forEach(
        [...edges, ...texts.map((text) => Buffer.from(text)), ...magic.map((bytes) => Uint8Array.from(bytes))],
        comesBack
      )
    })
  ),

  law(
    "data of every size comes back, and leaves nothing where shorter data takes its place",
    ({ capabilities: { maxBytes = mebibyte } }) =>
      Effect.gen(function*() {
        let record = yield* live()
        for (const size of [255, 65_535, 65_537, 300_001, mebibyte - 1, 262_145, 70_001, 4096, 3, 0]) {
          const data = randomBytes(Math.min(size, maxBytes))
          record = yield* replace(record, minute, data)
          yield* expectData(record.key, data)
        }
      })
  ),

  law(
    "as much comes back as the store says that it can hold",
    ({ capabilities }) => comesBack(randomBytes(capabilities.maxBytes!)),
    ({ maxBytes }) => maxBytes !== undefined
  ),

  law(
    "what is too large leaves a live record alone, by an insert and under a stale version, too",
    ({ capabilities }) =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const tooMuch = randomBytes(capabilities.maxBytes! + 1)
        const { after, before } = yield* replaced
        const deadline = yield* inMillis(minute)
        const answers = [
          yield* Effect.either(store.insert(after.key, tooMuch, deadline)),
          yield* Effect.either(store.replace(after.key, before.version, tooMuch, deadline))
        ]
        // Which it sees first is the store's choice.
        for (const answer of answers) {
          if (Either.isLeft(answer)) expect(answer.left.reason).toBe("TooLarge")
          else expect(answer.right).toEqual(Option.none())
        }
        yield* expectLive(after)
      }),
    ({ maxBytes }) => maxBytes !== undefined
  ),

  law(
    "records of the same bytes are two, and the same bytes again have a deadline of their own",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const data = newData()
      const one = yield* insertAt(yield* newKey, minute, data)
      const other = yield* insertAt(yield* newKey, minute, data)
      expect(yield* store.remove(one.key)).toBe(true)
      yield* expectLive(other)
      const again = yield* replace(other, 2 * minute, data)
      yield* expectLive(again)
      yield* expectLive(yield* replace(again))
    })
  ),

  law(
    "what a caller does to the bytes of a record that it touched does not reach the record",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { key } = yield* live()
      const current = Option.getOrThrow(yield* store.load(key))
      const given = Uint8Array.from(current.data)
      expect(yield* store.touch(key, current, yield* inMillis(2 * minute))).toBe(true)
      current.data.fill(0)
      yield* expectData(key, given)
    })
  )
]
