/**
 * What a session adds to a request, in Effect operations and bytes. Neither
 * depends on the machine. A request over the bound costs too much; a request
 * far below it lets the bound be lowered.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, beforeAll, describe, it } from "vitest"

interface Cost {
  readonly operations: number
  readonly bytes: number
}
type Kind = "idle" | "read" | "write"
type Costs = Record<"memory" | "asynchronous", Record<Kind, Cost>>

/** Bytes vary by 5 % from run to run, because V8 optimizes at different times. */
const bounds: Costs = {
  memory: {
    idle: { operations: 5, bytes: 9_000 },
    read: { operations: 11, bytes: 16_500 },
    write: { operations: 11, bytes: 20_500 }
  },
  asynchronous: {
    idle: { operations: 5, bytes: 9_000 },
    read: { operations: 17, bytes: 20_500 },
    write: { operations: 27, bytes: 29_500 }
  }
}

const measure = fileURLToPath(new URL("./measure.mjs", import.meta.url))

describe("the cost of a session, over the bare request", () => {
  let costs: Costs
  beforeAll(async () => {
    const flags = ["--expose-gc", "--min-semi-space-size=128", "--max-semi-space-size=128"]
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, measure])
    costs = JSON.parse(stdout.split("\n").find((line) => line.startsWith("{"))!)
  }, 120_000)

  for (const store of ["memory", "asynchronous"] as const) {
    for (const kind of ["idle", "read", "write"] as const) {
      it(`on the ${store} store, "${kind}" stays within its operations and bytes`, () => {
        const { bytes, operations } = costs[store][kind]
        assert.isAtMost(operations, bounds[store][kind].operations)
        assert.isAtMost(bytes, bounds[store][kind].bytes)
        assert.isAtLeast(bytes, 1_000, "the measurement has failed")
      })
    }
  }
})
