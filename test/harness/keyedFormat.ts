/**
 * A second format, as small as can be: the id is the store's key, the record
 * is the payload in JSON, nothing else is kept, and an empty object is no record. It proves that the engine
 * knows nothing of the native record.
 */
import { randomBytes } from "node:crypto"
import type { Payload } from "../../src/schema/Payload.js"
import type { SessionFormat } from "../../src/schema/SessionFormat.js"
import type { SessionId } from "../../src/schema/SessionId.js"
import { failure } from "../../src/SessionError.js"

const lifetime = 60_000

export const keyedFormat = <A>(payload: Payload<A>): SessionFormat<A> => {
  const idOf = (key: string): SessionId => ({ key, ref: `ref of ${key}` })
  return {
    parse: (value) => /^[0-9a-f]{32}$/.test(value) ? idOf(value) : undefined,
    create: () => idOf(randomBytes(16).toString("hex")),
    renew: undefined,
    print: (id) => id.key,
    read: (stored, _, now) => {
      if (stored.expiresAt <= now) {
        return { _tag: "Missing" }
      }
      try {
        const data: unknown = JSON.parse(Buffer.from(stored.data).toString())
        const snapshot = { stored, ...payload.decode(data), createdAt: undefined, persistent: false, record: undefined }
        return { _tag: "Current", snapshot }
      } catch (cause) {
        throw failure("Corrupt", cause)
      }
    },
    write: ({ now, pending }) => {
      const text = JSON.stringify(payload.encode(pending.value, pending.source))
      return text === "{}" ? undefined : {
        data: Buffer.from(text),
        expiresAt: now + lifetime,
        value: pending.value,
        source: pending.source,
        createdAt: undefined,
        persistent: false,
        record: undefined
      }
    },
    deadlineAt: (_, now) => now + lifetime,
    idleTimeout: () => lifetime,
    // without tokens, only bytes that are still those of before tell anything
    fateOf: (stored, _, base) => Buffer.compare(stored.data, base.stored.data) === 0 ? "not done" : "unknown",
    isAsNewAs: () => false
  }
}
