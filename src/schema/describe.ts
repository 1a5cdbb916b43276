/**
 * Why a value does not encode or decode, for the log: where, and the kind of
 * value. Never a value, and no key of a record either: keys are data too.
 *
 * @internal
 */

import * as ParseResult from "effect/ParseResult"
import * as AST from "effect/SchemaAST"
import { kindOf, NotPlainData } from "./plainData.js"

/** A field that an updater returned and the schema does not know. */
export class UnknownField extends Error {
  constructor(readonly field: string) {
    super("an unknown field")
    this.name = "UnknownField"
  }
}

interface Place {
  readonly path: ReadonlyArray<string>
  readonly problem: string
}

/** A field's name in the app, by its name in the store: they differ under `Schema.fromKey`. */
export type FieldNames = ReadonlyMap<PropertyKey, PropertyKey>

/** One line: `(at cart.0.price): app/Tag: "cart.0.price" holds a string, expected number`. */
export const describe = (tag: string, ast: AST.AST, names: FieldNames, cause: unknown): string => {
  const { path, problem } = placeOf(ast, cause)
  if (path.length === 0) {
    return `: ${tag}: ${problem}`
  }
  const shown = pathOf(path, names)
  return ` (at ${shown}): ${tag}: "${shown}" ${problem}`
}

export const pathOf = ([first, ...rest]: ReadonlyArray<string>, names: FieldNames): string =>
  [first === undefined ? "" : String(names.get(first) ?? first), ...rest].join(".")

const placeOf = (ast: AST.AST, cause: unknown): Place => {
  if (cause instanceof UnknownField) {
    return { path: [printable(cause.field)], problem: "is no field of the schema" }
  }
  if (cause instanceof NotPlainData) {
    return { path: shownPath(AST.encodedAST(ast), cause.path), problem: `holds ${cause.message}` }
  }
  if (ParseResult.isParseError(cause)) {
    return locate(cause.issue, undefined)
  }
  return { path: [], problem: cause instanceof Error ? `failed with ${kindOf(cause)}` : "failed" }
}

/** The deepest of the places that an issue names. */
const locate = (issue: ParseResult.ParseIssue, parent: AST.AST | undefined): Place => {
  switch (issue._tag) {
    case "Pointer":
      return locatePointer(issue, parent)
    case "Composite":
      return [issue.issues].flat()
        .map((each) => locate(each as ParseResult.ParseIssue, issue.ast))
        .reduce((deepest, each) => each.path.length > deepest.path.length ? each : deepest)
    case "Refinement":
    case "Transformation":
      return locate(issue.issue, issue.ast)
    case "Type":
      return { path: [], problem: `holds ${nameOf(issue.actual)}, expected ${expected(issue.ast)}` }
    case "Missing":
      return { path: [], problem: "is missing" }
    case "Unexpected":
      return { path: [], problem: "is no field of the schema" }
    case "Forbidden":
      return { path: [], problem: "is not decoded and encoded synchronously, as a session's fields have to be" }
  }
}

const locatePointer = ({ issue, path }: ParseResult.Pointer, parent: AST.AST | undefined): Place => {
  const segments = [path].flat() as ReadonlyArray<PropertyKey>
  const inner = locate(issue, undefined)
  // the name of an unknown field is what the reader looks for
  const shown = issue._tag === "Unexpected"
    ? segments.map((segment) => printable(String(segment)))
    : shownPath(parent, segments)
  return { path: [...shown, ...inner.path], problem: inner.problem }
}

/** A path with `*` for each segment that no schema names. */
const shownPath = (ast: AST.AST | undefined, path: ReadonlyArray<PropertyKey>): ReadonlyArray<string> => {
  let at = ast
  return path.map((segment) => {
    const known = at === undefined ? undefined : stepInto(at, segment)
    at = known?.type
    return known?.named === true || typeof segment === "number" ? String(segment) : "*"
  })
}

interface Step {
  readonly type: AST.AST | undefined
  readonly named: boolean
}

const stepInto = (ast: AST.AST, segment: PropertyKey): Step | undefined => {
  switch (ast._tag) {
    case "TypeLiteral": {
      const property = ast.propertySignatures.find(({ name }) => name === segment)
      return property === undefined
        ? { type: ast.indexSignatures[0]?.type, named: false }
        : { type: property.type, named: true }
    }
    case "TupleType":
      return { type: ast.elements[Number(segment)]?.type ?? ast.rest[0]?.type, named: true }
    case "Union": {
      const steps = ast.types.flatMap((type) => stepInto(type, segment) ?? [])
      return steps.find(({ named }) => named) ?? steps[0]
    }
    case "Suspend":
      return stepInto(ast.f(), segment)
    case "Refinement":
    case "Transformation":
      return stepInto(ast.from, segment)
    default:
      return undefined
  }
}

const maxLength = 80

const printable = (text: string): string => JSON.stringify(text.slice(0, maxLength)).slice(1, -1)

/** What the schema says, which is no value. */
const expected = (ast: AST.AST): string => {
  const text = String(ast)
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text
}

const nameOf = (value: unknown): string => {
  if (value === null || value === undefined) {
    return String(value)
  }
  if (typeof value === "number") {
    return Number.isFinite(value) ? "a number" : "a number that is not finite"
  }
  const kind = Array.isArray(value) ? "array" : kindOf(value) === "Object" ? "object" : kindOf(value)
  return `${/^[AEIO]/i.test(kind) ? "an" : "a"} ${kind}`
}
