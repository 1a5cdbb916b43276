/**
 * The bytes of a record and the dict that they stand for.
 *
 * @internal
 */

import { json } from "../python/json.js"
import { msgpack } from "../python/msgpack.js"
import { readPickle } from "../python/pickleReader.js"
import { writePickle } from "../python/pickleWriter.js"
import { malformed, PythonCodecError } from "../python/PythonCodecError.js"
import { type Codec, encodeKeeping, type TopLevelEntry } from "../python/TopLevel.js"
import { PyDict } from "../python/Value.js"

/** How records are written. Flask-Session writes pickle only to cachelib's caches. */
export type Encoding = "msgpack" | "json" | "pickle"

export interface FlaskRecord {
  readonly dict: PyDict
  /** The stored bytes of each key. None if the record is to be written in another encoding. */
  readonly entries: () => ReadonlyArray<TopLevelEntry>
}

const noEntries = (): ReadonlyArray<TopLevelEntry> => []

export const emptyRecord: FlaskRecord = { dict: new PyDict([]), entries: noEntries }

const codecs: { readonly [encoding in "msgpack" | "json"]: Codec } = { msgpack, json }

/** As Flask-Session reads: the configured encoding, the other one, and pickle for what releases before 0.7 wrote. */
const readOrders: { readonly [encoding in Encoding]: ReadonlyArray<Encoding> } = {
  msgpack: ["msgpack", "json", "pickle"],
  json: ["json", "msgpack", "pickle"],
  pickle: ["pickle"]
}

/** Undefined for bytes that stand for no session. Throws a `PythonCodecError`. */
export const readRecord = (bytes: Uint8Array, encoding: Encoding): FlaskRecord | undefined => {
  if (bytes.length === 0) {
    return undefined
  }
  const errors: Array<PythonCodecError> = []
  for (const candidate of readOrders[encoding]) {
    try {
      const record = readAs(bytes, candidate)
      return candidate === encoding ? record : { ...record, entries: noEntries }
    } catch (error) {
      if (!(error instanceof PythonCodecError)) {
        throw error
      }
      errors.push(error)
    }
  }
  // another encoding's bytes are malformed: any other reason says more
  throw errors.find(({ reason }) => reason !== "Malformed") ?? errors[0]!
}

const readAs = (bytes: Uint8Array, encoding: Encoding): FlaskRecord => {
  if (encoding === "pickle") {
    const dict = readPickle(bytes)
    if (!(dict instanceof PyDict)) {
      throw malformed("a pickle of something other than a dict")
    }
    return { dict, entries: noEntries }
  }
  const entries = codecs[encoding].splitTopLevel(bytes)
  return { dict: new PyDict(entries.map(({ key, value }) => [key, value])), entries: () => entries }
}

/** Throws a `PythonCodecError` that names the path of what cannot be written. */
export const writeRecord = (dict: PyDict, previous: FlaskRecord, encoding: Encoding): Uint8Array =>
  encoding === "pickle" ? writePickle(dict) : encodeKeeping(codecs[encoding], previous.entries(), dict)

/** What was just written, for the next write of the same request. */
export const writtenRecord = (dict: PyDict, data: Uint8Array, encoding: Encoding): FlaskRecord => ({
  dict,
  entries: encoding === "pickle" ? noEntries : () => codecs[encoding].splitTopLevel(data)
})
