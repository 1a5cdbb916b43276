import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { performance } from "node:perf_hooks"
import { bounded, timeIsUp } from "../../src/internal/bounded.js"

const busy = (millis: number) =>
  Effect.sync(() => {
    for (const start = performance.now(); performance.now() - start < millis;);
  })

it.live("an answer that arrived while the process was busy is not late", () =>
  Effect.gen(function*() {
    const asking = yield* Effect.fork(bounded(10, () => fs.promises.stat(".")))
    yield* Effect.yieldNow()
    yield* busy(100)
    expect((yield* asking).isDirectory()).toBe(true)
  }))

it.live("one that does not come is, and is told to stop", () =>
  Effect.gen(function*() {
    let signal: AbortSignal | undefined
    const error = yield* Effect.flip(bounded(10, (given) => {
      signal = given
      return new Promise(() => {})
    }))
    expect(error).toBe(timeIsUp)
    expect(signal?.aborted).toBe(true)
  }))

it.live("a timeout inside of a span is recognised as one", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(bounded(10, () => new Promise(() => {}))).pipe(Effect.withSpan("request"))
    expect(error === timeIsUp).toBe(true)
  }))
