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
    await expect(load(missing(message))).rejects.toThrow(`needs the package "${name}": npm install ${name}`)
  })
}

it("passes on what a driver that is there throws", async () => {
  const failure = new Error("broken")
  await expect(load(() => Promise.reject(failure))).rejects.toBe(failure)
})
