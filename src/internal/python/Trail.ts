/**
 * Where a writer is in a value: for the path of its errors, and for its limits.
 *
 * @internal
 */

import { floatKeyText } from "./float.js"
import type { Limits } from "./limits.js"
import { type Path, PythonCodecError, tooDeep, tooLarge } from "./PythonCodecError.js"
import { type PyValue, typeName } from "./Value.js"

export class Trail {
  private readonly segments: Array<PyValue | number> = []
  private readonly startDepth: number

  constructor(private readonly limits: Limits, private readonly start: Path = []) {
    this.startDepth = start.length
  }

  /** Goes to a dict's value (by its key) or to an item (by its index). */
  enter(segment: PyValue | number): void {
    this.segments.push(segment)
    if (this.segments.length + this.startDepth > this.limits.maxDepth) throw tooDeep(this.limits, this.path)
  }

  leave(): void {
    this.segments.pop()
  }

  checkSize(written: number): void {
    if (written > this.limits.maxBytes) throw tooLarge(`more than ${this.limits.maxBytes} bytes`, this.path)
  }

  notRepresentable(detail: string): PythonCodecError {
    return new PythonCodecError("NotRepresentable", detail, this.path)
  }

  get path(): Path {
    return [...this.start, ...this.segments.map(segmentText)]
  }
}

/** A key as a segment of a path: a str as it is, other simple keys as Python shows them. */
export const segmentText = (segment: PyValue | number): string | number => {
  if (typeof segment === "number" || typeof segment === "string") return segment
  if (segment === null) return "None"
  if (typeof segment === "boolean") return segment ? "True" : "False"
  if (typeof segment === "bigint") return String(segment)
  if ("_tag" in segment && segment._tag === "float") return floatKeyText(segment.value)
  return `<${typeName(segment)}>`
}
