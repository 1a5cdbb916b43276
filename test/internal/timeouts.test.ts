import * as fs from "node:fs"
import { afterEach, expect, it, vi } from "vitest"
import { startTimeout } from "../../src/internal/timeouts.js"

afterEach(() => {
  vi.restoreAllMocks()
})

/** Lengths that no other test of this file uses. */
let length = 20
const newLength = () => ++length

/** Counts the timers of a length that are set from now on. */
const countTimers = () => {
  const setTimeout = vi.spyOn(globalThis, "setTimeout")
  return (millis: number) => setTimeout.mock.calls.filter(([, delay]) => delay === millis).length
}

const timedOut = (millis: number) => new Promise<void>((resolve) => startTimeout(millis, resolve))

const block = (millis: number) => {
  for (const start = performance.now(); performance.now() - start < millis;);
}

it("a thousand waits of one length share one timer, and those of another length have their own", () => {
  const [millis, other] = [newLength(), newLength()]
  const timers = countTimers()
  const cancels = Array.from({ length: 1000 }, () => startTimeout(millis, () => {}))
  cancels.push(startTimeout(other, () => {}))
  expect([timers(millis), timers(other)]).toEqual([1, 1])
  cancels.forEach((cancel) => cancel())
})

it("waits end in the order in which they started, each once", async () => {
  const millis = newLength()
  const ended: Array<number> = []
  for (let i = 0; i < 100; i++) startTimeout(millis, () => ended.push(i))
  await timedOut(millis)
  await timedOut(millis)
  expect(ended).toEqual(Array.from({ length: 100 }, (_, i) => i))
})

it("a wait that is cancelled does not end, whether it is the first one or not", async () => {
  const millis = newLength()
  const ended: Array<number> = []
  const cancels = [0, 1, 2, 3].map((i) => startTimeout(millis, () => ended.push(i)))
  cancels[0]!()
  cancels[2]!()
  cancels[2]!()
  await timedOut(millis)
  expect(ended).toEqual([1, 3])
})

it("a wait that another one's callback cancels does not end", async () => {
  const millis = newLength()
  const ended: Array<number> = []
  startTimeout(millis, () => cancel())
  const cancel = startTimeout(millis, () => ended.push(1))
  await timedOut(millis)
  expect(ended).toEqual([])
})

it("a wait that starts in a callback, or later than the timer, ends as well", async () => {
  const millis = newLength()
  const nested = new Promise<void>((resolve) => startTimeout(millis, () => startTimeout(millis, resolve)))
  await new Promise((resolve) => setTimeout(resolve, millis / 2))
  await Promise.all([nested, timedOut(millis)])
})

it("a wait never ends before its time", async () => {
  const millis = newLength()
  const early: Array<number> = []
  const wait = () => {
    const start = performance.now()
    return new Promise<void>((resolve) =>
      startTimeout(millis, () => {
        if (performance.now() - start < millis) early.push(performance.now() - start)
        resolve()
      })
    )
  }
  const waits: Array<Promise<void>> = []
  for (let i = 0; i < 30; i++) {
    waits.push(wait())
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(waits)
  expect(early).toEqual([])
})

it("a reply that arrived while the event loop was blocked comes before the timeout", async () => {
  const millis = newLength()
  const events: Array<string> = []
  const reply = new Promise<void>((resolve) => {
    const cancel = startTimeout(millis, () => events.push("timeout"))
    fs.stat(".", () => {
      cancel()
      events.push("reply")
      resolve()
    })
  })
  block(5 * millis)
  await reply
  await timedOut(millis)
  expect(events).toEqual(["reply"])
})

it("a timer of waits that have all been cancelled is not set again", async () => {
  const millis = newLength()
  startTimeout(millis, () => {})()
  await new Promise((resolve) => setTimeout(resolve, 3 * millis))
  const timers = countTimers()
  startTimeout(millis, () => {})()
  startTimeout(millis, () => {})()
  expect(timers(millis)).toBe(1)
})

it("waits do not keep the process running", () => {
  const millis = newLength()
  const setTimeout = vi.spyOn(globalThis, "setTimeout")
  startTimeout(millis, () => {})()
  expect(setTimeout.mock.results.map(({ value }) => value.hasRef())).toEqual([false])
})
