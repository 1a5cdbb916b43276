/**
 * The one error of this folder. Its message names types, globals and offsets,
 * never a stored value.
 *
 * @internal
 */

/**
 * - `Malformed`: the bytes are not of the format, or were cut.
 * - `Unsupported`: a pickle asks for a class, a function or an opcode that is not on the list.
 * - `NotRepresentable`: the format has no form for this value.
 * - `TooLarge`, `TooDeep`: a limit of `Limits` was passed.
 * - `Cycle`: a value contains itself.
 */
export type Reason = "Malformed" | "Unsupported" | "NotRepresentable" | "TooLarge" | "TooDeep" | "Cycle"

/** The way from the outermost value to the faulty one: list indexes as numbers, dict keys as text. */
export type Path = ReadonlyArray<string | number>

export class PythonCodecError extends Error {
  override readonly name = "PythonCodecError"

  constructor(readonly reason: Reason, readonly detail: string, readonly path: Path = []) {
    super(path.length === 0 ? detail : `${detail} (at ${pathText(path)})`)
  }
}

const pathText = (path: Path): string =>
  path.map((segment) => typeof segment === "number" ? `[${segment}]` : `[${JSON.stringify(segment)}]`).join("")

export const malformed = (detail: string): PythonCodecError => new PythonCodecError("Malformed", detail)

export const unsupported = (detail: string): PythonCodecError => new PythonCodecError("Unsupported", detail)

export const tooLarge = (detail: string, path?: Path): PythonCodecError =>
  new PythonCodecError("TooLarge", detail, path)

export const tooDeep = (limits: { readonly maxDepth: number }, path?: Path): PythonCodecError =>
  new PythonCodecError("TooDeep", `nested deeper than ${limits.maxDepth}`, path)
