/**
 * Finds what is no plain data in a value, before a codec encodes it.
 *
 * @internal
 */

/** Where a value is no plain data, and what kind of value is there. */
export interface Problem {
  readonly path: Array<PropertyKey>
  readonly kind: string
  /** The schema that encodes such a value. */
  readonly remedy: string | undefined
}

/**
 * A value that a codec does not carry: its place and its kind, and never the
 * value. A path may hold keys of records, which are data of the user.
 *
 * @internal
 */
export class NotPlainData extends Error {
  readonly path: ReadonlyArray<PropertyKey>

  constructor(problem: Problem, codec: string) {
    super(
      `${problem.kind}, which ${codec} does not carry; ${problem.remedy ?? "let the schema encode it to plain data"}`
    )
    this.name = "NotPlainData"
    this.path = problem.path
  }
}

export const tooLarge: Problem = { path: [], kind: "more than the limit", remedy: undefined }

/** What was found out about a value on the way through it. */
export class Inspection {
  illFormedText = false
  toJsonKey = false

  constructor(
    readonly isLeaf: (value: unknown) => boolean,
    /** What is left of the largest size. A node takes a byte or more, so this bounds the work too. */
    public left: number
  ) {}
}

/** The first thing that is not plain data. Visits no more nodes than the size allows. */
export const inspectValue = (found: Inspection, value: unknown, depth: number): Problem | undefined => {
  found.left--
  if (found.isLeaf(value)) {
    if (typeof value === "string") {
      inspectText(found, value)
    } else if (value instanceof Uint8Array) {
      found.left -= value.length
    }
    return found.left < 0 ? tooLarge : undefined
  }
  if (typeof value !== "object" || value === null) {
    return problemOf(value)
  }
  // guard: encoding is bounded in depth
  if (depth === 0) {
    return { path: [], kind: "arrays and objects nested too deep (or in a circle)", remedy: undefined }
  }
  if (Array.isArray(value)) {
    return inspectArray(found, value, depth - 1)
  }
  const prototype = Object.getPrototypeOf(value)
  // guard: plain objects only
  if (prototype !== Object.prototype && prototype !== null) {
    return problemOf(value)
  }
  return inspectObject(found, value as Record<string, unknown>, depth - 1)
}

const inspectText = (found: Inspection, text: string): void => {
  found.left -= text.length
  if (!text.isWellFormed()) {
    found.illFormedText = true
  }
}

const inspectArray = (found: Inspection, array: ReadonlyArray<unknown>, depth: number): Problem | undefined => {
  if (array.length > found.left) {
    found.left -= array.length // a sparse array is longer than its elements are many
    return tooLarge
  }
  for (let i = 0; i < array.length; i++) {
    const problem = inspectValue(found, array[i], depth)
    if (problem !== undefined) {
      return at(i, problem)
    }
  }
  return found.left < 0 ? tooLarge : undefined
}

const inspectObject = (found: Inspection, object: Record<string, unknown>, depth: number): Problem | undefined => {
  for (const key of Object.keys(object)) {
    const item = object[key]
    if (item === undefined) {
      found.left-- // JSON has no such property, and it is work all the same
      if (!found.isLeaf(item)) {
        continue
      }
    }
    inspectText(found, key)
    if (key === "toJSON") {
      found.toJsonKey = true // msgpackr calls what it takes for a method
    }
    const problem = item === undefined ? undefined : inspectValue(found, item, depth)
    if (problem !== undefined) {
      return at(key, problem)
    }
  }
  return found.left < 0 ? tooLarge : undefined
}

const at = (key: PropertyKey, problem: Problem): Problem => {
  if (problem !== tooLarge) {
    problem.path.unshift(key)
  }
  return problem
}

const problemOf = (value: unknown): Problem => {
  const name = kindOf(value)
  const kind = value === undefined ? name : `${/^[AEIO]/i.test(name) ? "an" : "a"} ${name}`
  return { path: [], kind, remedy: remedies[name] }
}

/** The name of a value's class or type. */
export const kindOf = (value: unknown): string => {
  if (typeof value !== "object" || value === null) {
    return typeof value === "number" ? "number that is not finite" : typeof value
  }
  const { constructor } = Object.getPrototypeOf(value) as { readonly constructor?: unknown }
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "class instance"
}

const remedies: Readonly<Record<string, string>> = {
  Date: "use Schema.Date",
  Map: "use Schema.Map",
  Set: "use Schema.Set",
  URL: "use Schema.URL",
  Uint8Array: "use Schema.Uint8ArrayFromBase64",
  Buffer: "use Schema.Uint8ArrayFromBase64",
  bigint: "use Schema.BigInt",
  undefined: "use null"
}
