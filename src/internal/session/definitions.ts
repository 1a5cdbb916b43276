/**
 * What each session's tag was defined by, for Layers of other formats.
 *
 * @internal
 */
import type * as Schema from "effect/Schema"

export interface Definition {
  readonly id: string
  readonly schema: Schema.Schema.AnyNoContext
  readonly initial: () => unknown
}

const definitions = new WeakMap<object, Definition>()

/** Remembers a definition by the tag's `Manager`, which a class that extends the tag inherits. */
export const addDefinition = (manager: object, definition: Definition): void => {
  definitions.set(manager, definition)
}

/** Undefined for a tag that `Session.Tag` has not made. */
export const definitionOf = (manager: object): Definition | undefined => definitions.get(manager)
