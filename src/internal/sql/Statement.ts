/**
 * Statements whose text is fixed when the Layer is built. A text that never
 * changes is compiled once, and a driver can keep it prepared.
 *
 * @internal
 */

import { sha256Hex } from "../crypto.js"
import type { Row } from "./values.js"

/** What a driver returns. MySQL's drivers return counts for a write, and no rows. */
export interface Reply {
  readonly rows: ReadonlyArray<Row>
  readonly affectedRows?: number
  readonly insertId?: number
}

export interface Statement<Input, A> {
  readonly text: string
  /** The name of the prepared statement, on a server that has names. The same text has the same name. */
  readonly name: string
  /** The values of the placeholders, in their order. */
  readonly params: (input: Input) => ReadonlyArray<unknown>
  readonly result: (reply: Reply) => A
}

/** Text is SQL, and a function of the input is a parameter. */
type Part<Input> = string | ((input: Input) => unknown)

/** Writes statements as templates, with the placeholders of a database, counted from 1. */
export const template =
  (placeholder: (index: number) => string) =>
  <Input = void>(strings: TemplateStringsArray, ...parts: ReadonlyArray<Part<Input>>): Statement<Input, Reply> => {
    const params: Array<(input: Input) => unknown> = []
    const text = strings.reduce((text, next, i) => {
      const part = parts[i - 1]
      if (typeof part !== "function") return text + part + next
      params.push(part)
      return text + placeholder(params.length) + next
    })
    return {
      text,
      name: `effect_session_${sha256Hex(Buffer.from(text)).slice(0, 24)}`,
      params: (input) => params.map((param) => param(input)),
      result: (reply) => reply
    }
  }

/** The statement with another view of its reply. */
export const returns = <Input, A>(
  statement: Statement<Input, unknown>,
  result: (reply: Reply) => A
): Statement<Input, A> => ({ ...statement, result })
