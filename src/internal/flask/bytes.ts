/**
 * What the stores of Flask's records share: the version of a record is its own
 * bytes. The same bytes under the same id are the same state, so that a refresh
 * by Flask is no conflict.
 *
 * @internal
 */
import { Version } from "../../SessionStore.js"

/** ioredis and others would send a plain `Uint8Array` as text. */
export const asBuffer = (data: Uint8Array): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

export const versionOf = (data: Uint8Array): Version => Version(asBuffer(data).toString("latin1"))

/** The bytes that a version stands for. */
export const bytesOf = (version: Version): Buffer => Buffer.from(version, "latin1")

/** The deadline of a record that the server keeps for ever: the last moment that a `Date` can name. */
export const forever = 8.64e15
