/**
 * The kit's own test: the reference keeps every law, every mutant breaks the
 * laws named for it, and no law is idle.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestContext from "effect/TestContext"
import { SessionScan, SessionStore, SessionStoreError, SessionSweeper, SingleProcess } from "../../src/SessionStore.js"
import { LawBroken } from "../../src/testing/laws/Law.js"
import type { Capabilities } from "../../src/testing/StoreLaws.js"
import { lawsOf } from "../../src/testing/StoreLaws.js"
import { moreStoreMutants } from "./more-stores.js"
import type { Records } from "./reference.js"
import { maxBytes, reference } from "./reference.js"
import type { StoreMutant } from "./stores.js"
import { slowReference, storeMutants as firstStoreMutants } from "./stores.js"

const storeMutants = [...firstStoreMutants, ...moreStoreMutants]

const layerOf = (mutant: Partial<StoreMutant>) => {
  const shared: Records = new Map()
  return Layer.effectContext(Effect.sync(() => {
    const parts = reference(mutant.alone ? new Map() : shared, mutant.rules)
    const context = Context.make(SessionStore, { ...parts.store, ...mutant.store?.(parts) }).pipe(
      Context.add(SessionSweeper, { sweep: mutant.sweep?.(parts) ?? parts.sweep }),
      Context.add(SessionScan, { entries: mutant.entries?.(parts) ?? parts.entries })
    )
    return mutant.singleProcess ? Context.add(context, SingleProcess, true) : context
  }))
}

const down = (operation: SessionStoreError["operation"]) => () =>
  Effect.fail(new SessionStoreError({ reason: "Unavailable", operation }))

const outage = (changes: Partial<SessionStore["Type"]> = {}) =>
  Layer.succeed(SessionStore, {
    load: down("load"),
    insert: down("insert"),
    replace: down("replace"),
    touch: down("touch"),
    remove: down("remove"),
    ...changes
  })

const laws = (mutant: Partial<StoreMutant>) => {
  const capabilities: Capabilities = {
    sweeps: true,
    scans: true,
    multiProcess: true,
    anyKey: true,
    maxBytes,
    unreachable: outage(mutant.outage),
    slowWrites: Layer.sync(SessionStore, () => (mutant.slowWrites ?? slowReference)(reference(new Map()))),
    seed: 1
  }
  const layer = layerOf(mutant)
  return lawsOf(layer, capabilities).map(({ check, name }) => ({
    name,
    run: check.pipe(
      Effect.scoped,
      Effect.provide(layer),
      Effect.provide(TestContext.TestContext),
      Effect.either
    )
  }))
}

const lawNames = laws({}).map(({ name }) => name)

const lawNamed = (name: string, mutant: Partial<StoreMutant>) => {
  const found = laws(mutant).find((law) => law.name === name)
  if (found === undefined) throw new Error(`there is no law "${name}"`)
  return found
}

describe("the reference store", () => {
  for (const name of lawNames) {
    it.live(`keeps the law that ${name}`, () =>
      Effect.map(lawNamed(name, {}).run, (result) => expect(result).toMatchObject({ _tag: "Right" })))
  }
})

describe("a mutant of a store is killed by its law alone", () => {
  for (const mutant of storeMutants) {
    for (const name of mutant.laws) {
      it.live(`${mutant.name}: ${name}`, () =>
        Effect.map(lawNamed(name, mutant).run, (result) => {
          expect(result).toMatchObject({ _tag: "Left", left: expect.any(LawBroken) })
        }))
    }
  }
})

it("every law kills a mutant, and every mutant has a name and a law of its own", () => {
  const killing = new Set(storeMutants.flatMap(({ laws }) => laws))
  expect(lawNames.filter((name) => !killing.has(name))).toEqual([])
  expect(new Set(storeMutants.map(({ name }) => name)).size).toBe(storeMutants.length)
  expect(storeMutants.filter(({ laws }) => laws.length === 0)).toEqual([])
})
