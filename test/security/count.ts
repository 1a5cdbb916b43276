/**
 * Vitest's last word, whatever reporters there are: how many claimed rows of
 * the bar had a test that passed. In CI one without is an error; a run of some
 * of the tests is not held to it.
 */
import type { TestProject } from "vitest/node"
import { idsIn, rows } from "../../scripts/security.mjs"

/** Rows with a test that passed, by the full names of tests. */
const passedRows = ({ vitest }: TestProject): ReadonlySet<string> => {
  const passed = new Set<string>()
  for (const module of vitest.state.getTestModules()) {
    for (const test of module.children.allTests("passed")) {
      idsIn(test.fullName).forEach((id) => passed.add(id))
    }
  }
  return passed
}

const ranEverything = async ({ vitest }: TestProject): Promise<boolean> =>
  vitest.config.testNamePattern === undefined &&
  vitest.state.getTestModules().length >= (await vitest.globTestSpecifications()).length

export default (project: TestProject) => async () => {
  const passed = passedRows(project)
  const claimed = rows.filter((row) => row.not === undefined)
  const untested = claimed.filter((row) => !passed.has(row.id)).map((row) => row.id)
  const complete = await ranEverything(project)
  const count = `${claimed.length} rows claimed, ${claimed.length - untested.length} tested`
  console.log(
    `\nSECURITY-BAR: ${count}${complete ? "" : " in this part of the tests"}, ${
      rows.length - claimed.length
    } listed with a reason`
  )
  if (complete && untested.length > 0) {
    console.log(`SECURITY-BAR: without a test that passed: ${untested.join(", ")}`)
    if (process.env.CI) process.exitCode = 1
  }
}
