import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as MongoDb from "../../src/layers/MongoDb.js"
import * as Redis from "../../src/layers/Redis.js"
import { redisUrl } from "../backends.js"

const linesOf = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => lines.push(`${logLevel.label} ${[message].flat().join(" ")}`))
    yield* Effect.scoped(Layer.build(layer)).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    return lines
  })

describe("a store whose server does not answer at start", () => {
  it.live("Redis: one warning names the address and no password", () =>
    Effect.gen(function*() {
      const lines = yield* linesOf(Redis.layer({ url: "redis://me:hunter2@127.0.0.1:1", timeout: 300 }))
      expect(lines).toHaveLength(1)
      expect(lines[0]).toMatch(/^WARN Redis does not answer at 127\.0\.0\.1:1\..* 503/)
      expect(lines[0]).not.toMatch(/hunter2/)
    }))

  it.live("a cluster: the warning names its nodes", () =>
    Effect.gen(function*() {
      const lines = yield* linesOf(Redis.layer({ url: "redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout: 300 }))
      expect(lines[0]).toContain("127.0.0.1:1, 127.0.0.1:2")
    }))

  it.live("MongoDB: one warning", () =>
    Effect.gen(function*() {
      const lines = yield* linesOf(MongoDb.layer({ url: "mongodb://me:hunter2@127.0.0.1:1/x", timeout: 300 }))
      expect(lines).toHaveLength(1)
      expect(lines[0]).toMatch(/^WARN MongoDB does not answer/)
    }))

  it.live.skipIf(redisUrl === undefined)("Redis that answers: no line", () =>
    Effect.gen(function*() {
      expect(yield* linesOf(Redis.layer({ url: redisUrl! }))).toEqual([])
    }))
})
