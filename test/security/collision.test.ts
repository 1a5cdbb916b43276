/** A generator that repeats itself, once. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { expect, vi } from "vitest"
import type * as Crypto from "../../src/internal/crypto.js"
import { bytesOf, makeWorld } from "./world.js"

const next = vi.hoisted((): { bytes: Uint8Array | undefined } => ({ bytes: undefined }))

vi.mock("../../src/internal/crypto.js", async (importOriginal) => {
  const original = await importOriginal<typeof Crypto>()
  return {
    ...original,
    randomBytes: (size: number) => {
      const bytes = next.bytes
      if (bytes === undefined || size !== bytes.length) {
        return original.randomBytes(size)
      }
      next.bytes = undefined
      return Buffer.from(bytes)
    }
  }
})

it.scoped("REG-A7: a new id that is taken already harms nobody: its owner keeps all, the newcomer gets another", () =>
  Effect.gen(function*() {
    const { count, issue, node, probe } = yield* makeWorld
    const send = yield* node()
    const owner = yield* issue({ n: 7 })
    const before = yield* probe.records
    next.bytes = bytesOf(owner)
    const newcomer = yield* send("/write")
    expect(next.bytes).toBeUndefined() // it was drawn
    expect([newcomer.status, newcomer.cookie === owner]).toEqual([200, false])
    expect(probe.operations).toEqual(["insert", "insert", "insert"])
    expect(yield* probe.records).toMatchObject(before)
    expect([(yield* send("/read", owner)).body, (yield* send("/read", newcomer.cookie)).body]).toEqual(["7", "1"])
    expect(yield* count).toBe(2)
  }))
