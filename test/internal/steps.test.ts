import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Steps from "../../src/internal/steps.js"

const effects: Record<string, Effect.Effect<number, string>> = {
  "an exit that succeeded": Effect.succeed(1),
  "an exit that failed": Effect.fail("no"),
  "an exit that died": Effect.die("defect"),
  "an effect that succeeds": Effect.map(Effect.yieldNow(), () => 1),
  "an effect that fails": Effect.zipRight(Effect.yieldNow(), Effect.fail("no")),
  "an effect that dies": Effect.zipRight(Effect.yieldNow(), Effect.die("defect"))
}

describe.each(Object.entries(effects))("a step on %s", (_, effect) => {
  const same = <A>(step: Effect.Effect<A, string>, combinator: Effect.Effect<A, string>) =>
    Effect.gen(function*() {
      expect(yield* Effect.exit(step)).toEqual(yield* Effect.exit(combinator))
    })

  it.effect("andThen is flatMap", () =>
    same(Steps.andThen(effect, (n) => Effect.succeed(n + 1)), Effect.flatMap(effect, (n) => Effect.succeed(n + 1))))

  it.effect("matchCause is matchCauseEffect", () => {
    const onFailure = (cause: unknown) => Effect.succeed(cause)
    const onSuccess = (n: number) => Effect.succeed<unknown>(n + 1)
    return same(
      Steps.matchCause(effect, onFailure, onSuccess),
      Effect.matchCauseEffect(effect, { onFailure, onSuccess })
    )
  })

  it.effect("matchError is matchEffect", () => {
    const onFailure = (error: string) => Effect.succeed<unknown>(`${error}!`)
    const onSuccess = (n: number) => Effect.succeed<unknown>(n + 1)
    return same(Steps.matchError(effect, onFailure, onSuccess), Effect.matchEffect(effect, { onFailure, onSuccess }))
  })
})

describe("a step", () => {
  it("continues at once after an exit", () => {
    const next = Steps.andThen(Effect.succeed(1), (n) => Effect.succeed(n + 1))
    expect(Exit.isExit(next)).toBe(true)
    expect(next).toEqual(Exit.succeed(2))
  })
})
