/** Against Python's own msgspec and pickle, on random values. `PYTHON_SEED` repeats a run. */
import { json } from "effect-session/internal/python/json"
import { msgpack } from "effect-session/internal/python/msgpack"
import { readPickle } from "effect-session/internal/python/pickleReader"
import { writePickle } from "effect-session/internal/python/pickleWriter"
import { PythonCodecError } from "effect-session/internal/python/PythonCodecError"
import { fromTagged, toTagged } from "effect-session/internal/python/tagged"
import type { PyValue } from "effect-session/internal/python/Value"
import * as FastCheck from "effect/FastCheck"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { canStartPython, type Python, startPython } from "./python.js"
import { comparable, fromHex, mutate, toHex } from "./support.js"
import { msgspecValues, pickledValues } from "./values.js"

interface Answer<A> {
  readonly ok?: A
  readonly error?: string
}

const seed = Number(process.env.PYTHON_SEED ?? Date.now() % 2 ** 31)

const sample = (values: FastCheck.Arbitrary<PyValue>, count: number): ReadonlyArray<PyValue> =>
  FastCheck.sample(values, { seed, numRuns: count })

const batches = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / 500) }, (_, index) => items.slice(index * 500, index * 500 + 500))

const refused = Symbol("refused")

/** What a codec returns, or `refused` when it fails with its own error. Any other error fails the test. */
const attempt = <A>(run: () => A): A | typeof refused => {
  try {
    return run()
  } catch (error) {
    if (error instanceof PythonCodecError) return refused
    throw error
  }
}

const orRefused = <A>({ error, ok }: Answer<A>): A | typeof refused => error === undefined ? ok! : refused

const isRefused = (value: unknown): boolean => value === refused

const formats = { msgpack, json }
const names = ["msgpack", "json"] as const

describe.skipIf(!canStartPython)("Python (skipped when it is missing)", () => {
  let python: Python

  beforeAll(async () => {
    python = await startPython()
    console.info(`PYTHON_SEED=${seed}`)
  }, 120_000)

  afterAll(() => python?.stop())

  it(
    "msgpack and JSON are written and read as msgspec does, on 10,000 random values",
    { timeout: 300_000 },
    async () => {
      const figures = { values: 0, refusedToWrite: 0, read: 0, mutants: 0, mutantsRead: 0 }
      for (const values of batches(sample(msgspecValues, 10_000))) {
        figures.values += values.length
        const written = await python.ask<Record<typeof names[number], Answer<string>>>("encode", values.map(toTagged))
        const documents: Array<{ format: typeof names[number]; hex: string }> = []
        values.forEach((value, index) => {
          for (const format of names) {
            const theirs = orRefused(written[index]![format])
            const ours = attempt(() => toHex(formats[format].encode(value)))
            expect(ours, `seed ${seed}: ${format} of ${JSON.stringify(toTagged(value))}`).toBe(theirs)
            if (typeof ours === "string") documents.push({ format, hex: ours }, { format, hex: mutate(ours, index) })
            else figures.refusedToWrite++
          }
        })
        const read = await python.ask<Answer<unknown>>("decode", documents)
        documents.forEach(({ format, hex }, index) => {
          const theirs = orRefused(read[index]!)
          const ours = attempt(() => toTagged(formats[format].decode(fromHex(hex))))
          const message = `seed ${seed}: ${format} ${hex} ${format === "json" ? fromHex(hex).toString() : ""}`
          if (isRefused(theirs) || isRefused(ours)) expect(ours, message).toBe(theirs)
          else expect(comparable(ours), message).toEqual(comparable(theirs))
          if (index % 2 === 0) figures.read++
          else figures.mutants++
          if (index % 2 === 1 && !isRefused(theirs)) figures.mutantsRead++
        })
      }
      console.info("msgspec:", JSON.stringify(figures))
      expect(figures.values).toBe(10_000)
      expect(figures.refusedToWrite).toBeGreaterThan(10)
    }
  )

  it(
    "pickles of six protocols are read, and rewritten as msgpack, as Flask-Session does",
    { timeout: 300_000 },
    async () => {
      const figures = { values: 0, pickles: 0, rewritten: 0, refusedToRewrite: 0 }
      for (const values of batches(sample(pickledValues, 2000))) {
        figures.values += values.length
        const answers = await python.ask<Dump>("dump", values.map(toTagged))
        for (const { msgpack: rewritten, pickles, value } of answers) {
          pickles.forEach((hex, protocol) => {
            const message = `seed ${seed}: protocol ${protocol}: ${hex}`
            const ours = readPickle(fromHex(hex))
            expect(comparable(toTagged(ours)), message).toEqual(comparable(value))
            figures.pickles++
            if (hasSetWithOrder(value)) return
            const theirs = orRefused(rewritten[protocol]!)
            expect(attempt(() => toHex(msgpack.encode(ours))), message).toBe(theirs)
            if (isRefused(theirs)) figures.refusedToRewrite++
            else figures.rewritten++
          })
        }
      }
      console.info("pickle, read:", JSON.stringify(figures))
      expect(figures.pickles).toBe(12_000)
    }
  )

  it("pickles that are written here are read by Python as the same values", { timeout: 120_000 }, async () => {
    for (const values of batches(sample(pickledValues, 2000))) {
      const answers = await python.ask<Answer<unknown>>("load", values.map((value) => toHex(writePickle(value))))
      answers.forEach(({ error, ok }, index) => {
        const tagged = toTagged(values[index]!)
        const message = `seed ${seed}: ${JSON.stringify(tagged)}`
        expect(error, message).toBeUndefined()
        expect(comparable(ok), message).toEqual(comparable(tagged))
        expect(comparable(toTagged(readPickle(writePickle(values[index]!)))), message).toEqual(comparable(tagged))
      })
    }
  })

  it("tagged values are read back as they were", () => {
    for (const value of sample(pickledValues, 1000)) {
      const tagged = toTagged(value)
      expect(toTagged(fromTagged(JSON.parse(JSON.stringify(tagged))))).toEqual(tagged)
    }
  })
})

interface Dump {
  readonly pickles: ReadonlyArray<string>
  readonly value: unknown
  readonly msgpack: ReadonlyArray<Answer<string>>
}

/** Whether Python may show a set in another order after it was pickled. */
const hasSetWithOrder = (tagged: unknown): boolean => {
  if (Array.isArray(tagged)) return tagged.some(hasSetWithOrder)
  if (typeof tagged !== "object" || tagged === null || !("v" in tagged) || !Array.isArray(tagged.v)) return false
  const isSet = "t" in tagged && (tagged.t === "set" || tagged.t === "frozenset")
  return isSet && tagged.v.length > 1 || tagged.v.some(hasSetWithOrder)
}
