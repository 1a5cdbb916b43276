/**
 * The payloads of Flask's sessions.
 *
 * @internal
 */
import * as Payload from "../../schema/Payload.js"
import type { Traits } from "../../schema/PayloadCodec.js"
import { PythonCodecError } from "../python/PythonCodecError.js"
import type { PyDict } from "../python/Value.js"
import type { Definition } from "../session/definitions.js"

/** Where and why a value has no form in Flask's encoding. Undefined for other causes. */
const describeCodec = (tag: string, cause: unknown): string | undefined =>
  cause instanceof PythonCodecError ? `: ${tag}: ${cause.message}` : undefined

export const structPayload = ({ id, initial, schema }: Definition, traits: Traits): Payload.Payload<unknown> => {
  const payload = Payload.make(schema, initial, { tag: id, codec: traits })
  return { ...payload, describe: (cause) => describeCodec(id, cause) ?? payload.describe(cause) }
}

/** A value that is the dict itself. It has no fields. */
export const dictPayload = (tag: string, initial: () => PyDict): Payload.Payload<PyDict> => ({
  initial,
  keys: [],
  decode: (data) => ({ value: data as PyDict, source: undefined }), // what its own `encode` returned
  encode: (value) => value,
  sourceOf: () => undefined,
  sameField: () => true,
  problems: () => [],
  describe: (cause) => describeCodec(tag, cause) ?? `: ${tag}: failed`
})
