/**
 * Keys are opaque: each names one record, and no other.
 *
 * @internal
 */

import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { SessionStore } from "../../SessionStore.js"
import { expectAbsent, expectLive, insertAt, ownKey, randomKey } from "./given.js"
import type { Law } from "./Law.js"
import { law } from "./Law.js"

/** Every key has a record, and half of them go without the others. */
const areDistinct = (keys: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const records = yield* Effect.forEach(keys, (key) => Effect.flatMap(ownKey(key), (key) => insertAt(key)))
    yield* Effect.forEach(records, expectLive)
    const gone = records.filter((_, i) => i % 2 === 0)
    for (const { key, version } of gone) expect(yield* store.remove(key, version)).toBe(true)
    yield* Effect.forEach(gone, ({ key }) => expectAbsent(key))
    yield* Effect.forEach(records.filter((_, i) => i % 2 === 1), expectLive)
  })

/** So that nobody else has them. */
const own = (make: (id: string) => ReadonlyArray<string>) =>
  Effect.suspend(() => areDistinct(make(randomKey().slice(0, 24))))

/** What a file system, memcached, MongoDB, SQL, Redis and DynamoDB might take for something else. */
const hostile = (id: string): ReadonlyArray<string> => [
  ...[
    id,
    `./${id}`,
    `a/../${id}`,
    `//${id}`,
    `../${id}`,
    `..%2f${id}`,
    `%2e%2e/${id}`,
    `..\\${id}`,
    `/${id}`,
    `${id}/`,
    `${id}/..`,
    `${id}.`
  ],
  ...[`~${id}`, `C:\\${id}`, `file:///${id}`, `-rf${id}`, `NUL${id}`, `${id}:x`, `${id}%00`, `${id}%0d%0aflush_all`],
  ...[`{"$ne":"${id}"}`, `$where${id}`, `${id}.a`, `[${id}]`, `__proto__${id}`, `${id}.constructor`],
  ...[`'OR'${id}'='${id}`, `';DROP/**/TABLE/**/s;--${id}`, `"${id}"`, `\`${id}\``, `\\'${id}`, `${id}%`, `${id}_`],
  ...[`*${id}`, `${id}*`, `${id}?`, `{${id}}`, `\${${id}}`, `:v${id}`, `#n${id}`, `@${id}`, `<${id}>`, `${id},${id}`]
]

/** Beyond what the core and its neighbours make: white space, control characters, Unicode, length. */
const wild = (id: string): ReadonlyArray<string> => [
  ...[`${id} `, ` ${id}`, `${id}\t`, `${id}\r\nflush_all`, `k ${id} S5 T0 b`, `${id}\0`, `${id}\0.txt`, `${id}\x7f`],
  ...[`${id}é`, `${id}e\u0301`, `${id}ｅ`, `${id}\u212a`, `${id}K`, `${id}ı`, `${id}🍪`, `${id}\u200d`, `\u202e${id}`],
  ...[`${id}${"x".repeat(1000)}`, `${id}${"x".repeat(1000)}y`]
]

export const keys: ReadonlyArray<Law> = [
  law(
    "keys that differ in one character only are records of their own",
    own((id) => [`${id}a`, `${id}b`, `a${id}`, `b${id}`, `${id}`, `${id}ab`])
  ),

  law("keys that differ in case only are records of their own", own((id) => [`${id}a`, `${id}A`, `A${id}`, `a${id}`])),

  law(
    "keys that read as one number are records of their own",
    own((id) => {
      const digits = BigInt(`0x${id}`).toString().padStart(60, "1")
      return [`0e${digits}0`, `0e${digits}1`, `${digits}`, `0${digits}`, `+${digits}`, `${digits}.0`, `${digits}e0`]
    })
  ),

  law("keys that read as paths, queries, patterns or commands are records of their own", own(hostile)),

  law(
    "keys of white space, control characters, any Unicode and 1000 characters are records of their own",
    own(wild),
    ({ anyKey }) => anyKey === true
  ),

  law(
    "keys of 100 characters that differ in the last are records of their own",
    own((id) => ["a", "b"].map((end) => `${id}${"k".repeat(75)}${end}`))
  ),

  law(
    "keys with what stores append to keys are records of their own",
    own((id) =>
      [".lock", ":lock", ".tmp", ":ttl", ":expires", ":version", ".meta", ":meta", ".json", ".bak", "~", "/data"]
        .flatMap(
          (end, i) => [`${id}${i}`, `${id}${i}${end}`]
        )
    )
  ),

  // By CRC-32, times 31, times 33.
  law(
    "keys that hash alike in 32 bits are records of their own",
    own((id) => ["plumless", "buckeroo", "Aa", "BB", "Ab", "BA"].map((end) => `${id}${end}`))
  ),

  law(
    "keys that every object of JavaScript has are keys like others",
    areDistinct(["__proto__", "constructor", "toString", "hasOwnProperty"]),
    // Where nobody else has them.
    ({ sweeps }) => sweeps === true
  )
]
