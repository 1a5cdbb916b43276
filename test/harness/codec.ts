/** A codec whose errors are values: what a session fails with when the codec throws. */
import * as Either from "effect/Either"
import type { PayloadCodec } from "../../src/schema/PayloadCodec.js"
import { failure, isInstance, type SessionError } from "../../src/SessionError.js"

const attempt = <A>(reason: "Encode" | "Corrupt", body: () => A): Either.Either<A, SessionError> =>
  Either.try({ try: body, catch: (cause) => isInstance(cause) ? cause : failure(reason, cause) })

export const either = (codec: PayloadCodec) => ({
  encode: (value: unknown) => attempt("Encode", () => codec.encode(value)),
  decode: (bytes: Uint8Array) => attempt("Corrupt", () => codec.decode(bytes))
})

export type EitherCodec = ReturnType<typeof either>
