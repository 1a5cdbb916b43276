import { fromPlain, toPlain } from "effect-session/internal/python/plain"
import {
  PyDate,
  PyDateTime,
  PyDict,
  PyFloat,
  PySet,
  PyTime,
  PyTuple,
  type PyValue
} from "effect-session/internal/python/Value"
import { expect, it } from "vitest"
import { failure, reasonOf } from "./support.js"

const dict = (...entries: ReadonlyArray<readonly [PyValue, PyValue]>) => new PyDict(entries)

it("numbers: safe integers are ints, all others floats; bigints stay", () => {
  expect(fromPlain([1, -0, 1.5, 2 ** 53, NaN, 2n ** 70n])).toEqual([
    1n,
    new PyFloat(-0),
    new PyFloat(1.5),
    new PyFloat(2 ** 53),
    new PyFloat(NaN),
    2n ** 70n
  ])
  expect(toPlain([1n, new PyFloat(1), 2n ** 53n])).toEqual([1, 1, 2n ** 53n])
})

it("a dict of str keys is an object with its own __proto__, any other a Map", () => {
  const plain = toPlain(dict(["__proto__", 1n], ["", 2n], ["7", 3n]))
  expect(Object.entries(plain as object)).toEqual([["7", 3], ["__proto__", 1], ["", 2]])
  expect(Object.getPrototypeOf(plain)).toBe(Object.prototype)
  expect(toPlain(dict([1n, "a"], [null, "b"]))).toEqual(new Map<unknown, string>([[1, "a"], [null, "b"]]))
})

it("what did not change keeps its Python type and its order", () => {
  const previous = dict(
    ["b", new PyFloat(1)],
    ["7", [new PyFloat(2), dict(["x", new PyFloat(3)])]],
    ["t", new PyTuple([1n])],
    ["gone", 1n]
  )
  const { gone: _, ...rest } = toPlain(previous) as Record<string, unknown>
  expect(fromPlain({ new: 1, ...rest }, previous)).toEqual(
    dict(["b", new PyFloat(1)], ["7", [new PyFloat(2), dict(["x", new PyFloat(3)])]], ["t", new PyTuple([1n])], [
      "new",
      1n
    ])
  )
  expect(fromPlain({ b: 2 }, previous)).toEqual(dict(["b", 2n]))
})

it("a Date is an aware datetime, a Set a set, a Map a dict", () => {
  expect(fromPlain(new Date("2024-01-02T03:04:05.678Z"))).toEqual(
    new PyDateTime(new PyDate(2024, 1, 2), new PyTime(3, 4, 5, 678_000, 0))
  )
  expect(fromPlain(new Set([1, 1n, 2]))).toEqual(new PySet([1n, 2n]))
  expect(fromPlain(new Map<unknown, unknown>([[null, 1], [1, 2]]))).toEqual(dict([null, 1n], [1n, 2n]))
})

it.each([
  ["undefined", undefined],
  ["a function", () => 1],
  ["a symbol", Symbol("s")],
  ["an instance", new (class A {})()],
  ["an invalid Date", new Date(NaN)],
  ["a key without a hash", new Map([[[], 1]])]
])("%s is refused with its path", (_, value) => {
  const error = failure(() => fromPlain({ a: [value] }))
  expect(error.reason).toBe("NotRepresentable")
  expect(error.path).toEqual(["a", 0])
})

it("an object within itself is too deep", () => {
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  expect(reasonOf(() => fromPlain(cycle))).toBe("TooDeep")
})
