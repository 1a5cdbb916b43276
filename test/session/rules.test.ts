/** The library keeps every rule. Stryker removes their guards one by one (`npm run mutation`). */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as lib from "./lib.js"
import { rules } from "./rules.js"

describe("a rule that must not be lost:", () => {
  for (const [rule, check] of Object.entries(rules)) {
    // without jitter: under the TestClock nothing would end it
    it.scoped(rule, () => Effect.withRandom(check(lib), Random.fixed([0])))
  }
})
