/**
 * Replies as Redis gives them. A client that was brought may have changed one:
 * a reply transformer, or `QUEUED` after the app's own MULTI without pipeline.
 * Such a reply says nothing about the session, and is an error.
 *
 * @internal
 */

/** The fields of a hash; none when there is no hash. */
export type Hash = Partial<Record<string, Buffer>>

const changed = (command: string) =>
  new Error(
    `The client changed the reply to ${command}: by a reply transformer, or a MULTI without pipeline. ` +
      "Give the sessions a client of their own."
  )

/** The reply to `HGETALL`, as buffers. */
export const hashOf = (reply: unknown): Hash => {
  if (!isPlainObject(reply) || !Object.values(reply).every(Buffer.isBuffer)) throw changed("HGETALL")
  return reply as Hash // as was just seen
}

/** A number, or its text from a client with `stringNumbers`. */
export const countOf = (reply: unknown): number => {
  if (!/^\d+$/.test(String(reply)) || typeof reply === "object") throw changed("a script or WAIT")
  return Number(reply)
}

/** The reply to `SCAN`. */
export const pageOf = (reply: unknown): readonly [cursor: string, keys: ReadonlyArray<string>] => {
  const [cursor, keys]: ReadonlyArray<unknown> = Array.isArray(reply) ? reply : []
  if (!/^\d+$/.test(String(cursor)) || !Array.isArray(keys)) throw changed("SCAN")
  return [String(cursor), keys.map(String)]
}

/** The reply to `SELECT`. */
export const checkOk = (reply: unknown): void => {
  if (String(reply) !== "OK") throw changed("SELECT")
}

const isPlainObject = (reply: unknown): reply is object =>
  typeof reply === "object" && reply !== null && [Object.prototype, null].includes(Object.getPrototypeOf(reply))
