import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { expect, it } from "vitest"
import { driverVersions, loadDriver } from "../../src/internal/driver.js"

const load = (from: () => Promise<unknown>) =>
  Effect.runPromise(Effect.flip(loadDriver("some-driver", "effect-session/layers/Some", from)))

it("names the package to install when the driver is missing", async () => {
  const require = createRequire(import.meta.url)
  expect(await load(async () => require("some-driver"))).toMatchObject({
    _tag: "SessionConfigError",
    message: "effect-session/layers/Some needs the package \"some-driver\": npm install some-driver"
  })
})

const missing = (message: string) => () =>
  Promise.reject(Object.assign(new Error(message), { code: "ERR_MODULE_NOT_FOUND" }))

for (
  const [message, name] of [
    ["Cannot find package '@scope/peer' imported from /app/node_modules/some-driver/index.js", "@scope/peer"],
    ["Cannot find package 'peer' imported from /app/x.js", "peer"],
    ["Cannot find module '@scope/peer/file'\nRequire stack:\n- /app/x.js", "@scope/peer"],
    ["Cannot find module '/app/node_modules/some-driver/gone.js' imported from /app/x.js", "some-driver"],
    ["Cannot find module './gone.js'", "some-driver"]
  ] as const
) {
  it(`names ${name}: ${message.slice(0, 40)}`, async () => {
    expect((await load(missing(message))).message).toMatch(`needs the package "${name}": npm install ${name}`)
  })
}

it("passes on what a driver that is there throws", async () => {
  const failure = new Error("broken")
  const error = await load(() => Promise.reject(failure))
  expect(error).toMatchObject({ cause: failure, message: expect.stringContaining("cannot load") })
})

it("the hint names the version that fits Effect 3 when a driver is missing", async () => {
  const error = await load(missing("Cannot find package '@effect/sql-pg' imported from /app/x.js"))
  expect(error.message).toMatch(/npm install @effect\/sql-pg@0\.53$/)
})

it("each version of a hint is one of the peer dependencies", () => {
  const { peerDependencies, peerDependenciesMeta } = JSON.parse(fs.readFileSync("package.json", "utf8"))
  for (const [name, version] of Object.entries(driverVersions)) {
    expect(peerDependencies[name].split(" || ").some((range: string) => range.startsWith(`^${version}.`)), name).toBe(
      true
    )
  }
  const drivers = Object.keys(peerDependenciesMeta).filter((name) => !name.includes("vitest"))
  expect(Object.keys(driverVersions)).toEqual(expect.arrayContaining(drivers))
})
