/** Looks into ids and records of the native format, as a test may and an application may not. */
import { type NativeId, nativeIds } from "../../src/schema/SessionId.js"
import * as SessionRecord from "../../src/schema/SessionRecord.js"

export type Record = SessionRecord.SessionRecord & { readonly payload: Uint8Array }

export const native = (tag: string, cookieName = "__Host-id") => {
  const ids = nativeIds(`${tag}\0${cookieName}`)
  return {
    ...ids,
    /** The id of a cookie that must be one. */
    idOf: (cookie: string): NativeId => {
      const id = ids.parse(cookie)
      if (id === undefined) throw new Error("not an id")
      return id
    },
    decode: (data: Uint8Array): Record => {
      const { payload, record } = SessionRecord.decode(data)
      return { ...record, payload }
    },
    encode: ({ payload, ...record }: Record): Uint8Array => SessionRecord.encode(record, payload)
  }
}
