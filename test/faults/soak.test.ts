/** Twelve seconds of bench/soak-faults.mjs on each server; by itself it takes ten minutes. */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { canStart } from "../backends.js"

const soak = fileURLToPath(new URL("../../bench/soak-faults.mjs", import.meta.url))

describe.skipIf(!canStart("redis") || !canStart("postgres"))("random faults under load", () => {
  it("F-CC2: nothing acknowledged is lost or done twice, nothing that ended comes back, nothing grows", {
    timeout: 120_000
  }, async () => {
    const env = { ...process.env, BENCH_MINUTES: "0.2" }
    const output = await new Promise<string>((resolve) =>
      execFile(
        process.execPath,
        [soak],
        { env },
        (error, stdout, stderr) => resolve(error ? stdout + stderr : "passed")
      )
    )
    expect(output).toBe("passed")
  })
})
