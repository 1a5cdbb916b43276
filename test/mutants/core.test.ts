/**
 * The library keeps every law, each mutant breaks the law named for it, and
 * guards, mutants and laws are all accounted for.
 */
import { afterAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as TestContext from "effect/TestContext"
import * as esbuild from "esbuild"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { CoreMutant } from "./core.js"
import { coreMutants } from "./core.js"
import type { Lib } from "./laws.js"
import { laws } from "./laws.js"

const here = path.dirname(fileURLToPath(import.meta.url))
const root = path.resolve(here, "../..")
const src = path.join(root, "src")

// in the project, so that a mutant finds its dependencies
const directory = path.join(root, `node_modules/.cache/mutants-${process.pid}`)

afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

/** The library in one file, with a mutation in it. */
const libOf = async (id: string, mutant?: CoreMutant): Promise<Lib> => {
  const outfile = path.join(directory, `${id}.mjs`)
  await esbuild.build({
    entryPoints: [path.join(here, "lib.ts")],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    logLevel: "silent",
    plugins: mutant === undefined ? [] : [{
      name: "mutation",
      setup: (build) => {
        build.onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
          if (file !== path.join(src, mutant.file)) return undefined
          return { contents: mutated(fs.readFileSync(file, "utf8"), mutant), loader: "ts" }
        })
      }
    }]
  })
  return await import(/* @vite-ignore */ pathToFileURL(outfile).href) as Lib // the entry is lib.ts
}

const mutated = (text: string, { find, replace }: CoreMutant): string => {
  const [before, after, ...more] = text.split(find)
  if (after === undefined || more.length > 0) throw new Error(`"${find}" is there ${more.length + 1} times`)
  return before + replace + after
}

/** "kept", or how it was broken. A law that does not come to an end is broken, too. */
const verdictOf = (lib: Lib, law: string): Promise<string> => {
  const check = laws[law]
  if (check === undefined) throw new Error(`there is no law "${law}"`)
  const run = Effect.suspend(() => check(lib)).pipe(
    Effect.scoped,
    Effect.provide(TestContext.TestContext),
    Effect.withRandom(Random.fixed([0])),
    Effect.matchCause({ onSuccess: () => "kept", onFailure: (cause) => `broken: ${cause}` })
  )
  return Promise.race([
    Effect.runPromise(run),
    new Promise<string>((resolve) => setTimeout(() => resolve("broken: no end"), 5000).unref())
  ])
}

describe("the library keeps the law that", () => {
  const library = libOf("library")
  it.for(Object.keys(laws))("%s", async (law) => {
    expect(await verdictOf(await library, law)).toBe("kept")
  })
})

describe("a mutant is killed by its law alone:", () => {
  it.for(coreMutants.map((mutant, i) => ({ ...mutant, i })))("$guard, by: $law ($i)", async ({ i, ...mutant }) => {
    expect(await verdictOf(await libOf(`${i}`, mutant), mutant.law)).toMatch(/^broken/)
  })
})

it("every law kills a mutant", () => {
  const killing = new Set(coreMutants.map(({ law }) => law))
  expect(Object.keys(laws).filter((law) => !killing.has(law))).toEqual([])
})

it("every guard in the source has a mutant, and every mutant its guard there", () => {
  const files = fs.readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))
  const marked = files.flatMap((file) =>
    Array.from(
      fs.readFileSync(path.join(src, file), "utf8").matchAll(/\/\/ guard: (.*)$/gm),
      ([, name]) => `${file}: ${name}`
    )
  )
  const known = new Set(coreMutants.map(({ file, guard }) => `${file}: ${guard}`))
  expect(marked.sort()).toEqual([...known].sort())
})
