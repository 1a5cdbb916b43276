import * as Data from "effect/Data"

/** A request that is not served: the status, and why, for whoever sent it. */
export class Refused extends Data.TaggedError("Refused")<{
  readonly status: number
  readonly message: string
}> {}
