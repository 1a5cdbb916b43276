import { createRequire } from "node:module"
import { expect, it } from "vitest"
import { loadDriver } from "../../src/internal/driver.js"

const load = (from: () => Promise<unknown>) => loadDriver("some-driver", "effect-session/layers/Some", from)

it("names the package to install when the driver is missing", async () => {
  const require = createRequire(import.meta.url)
  await expect(load(async () => require("some-driver"))).rejects.toThrow(
    "effect-session/layers/Some needs the package \"some-driver\": npm install some-driver"
  )
})

it("passes on what a driver that is there throws", async () => {
  const failure = new Error("broken")
  await expect(load(() => Promise.reject(failure))).rejects.toBe(failure)
})
