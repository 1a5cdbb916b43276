/**
 * JSON, byte for byte as msgspec writes it.
 *
 * @internal
 */

import { ByteWriter } from "./ByteWriter.js"
import { floatKeyText, floatText } from "./float.js"
import { defaultLimits, type Limits, maxIntegerDigits } from "./limits.js"
import type { Path } from "./PythonCodecError.js"
import { textOf } from "./text.js"
import type { RawEntry } from "./TopLevel.js"
import { Trail } from "./Trail.js"
import { isList, type PyDict, type PyValue, typeName } from "./Value.js"

const needsEscape = /["\\\u0000-\u001f]/

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")

const integerLimit = 10n ** BigInt(maxIntegerDigits)

class JsonWriter {
  out = ""
  private readonly trail: Trail

  constructor(limits: Limits, path: Path | undefined) {
    this.trail = new Trail(limits, path)
  }

  value(value: PyValue): void {
    this.write(value)
    this.trail.checkSize(this.out.length)
  }

  finish(): Uint8Array {
    const bytes = new Uint8Array(Buffer.from(this.out, "utf8"))
    this.trail.checkSize(bytes.length)
    return bytes
  }

  private write(value: PyValue): void {
    switch (typeof value) {
      case "string":
        return this.text(value)
      case "bigint":
        return this.append(this.integer(value))
      case "boolean":
        return this.append(value ? "true" : "false")
    }
    if (value === null) return this.append("null")
    if (isList(value)) return this.list(value)
    if (value instanceof Uint8Array) return this.binary(value)
    switch (value._tag) {
      case "float":
        return this.append(Number.isFinite(value.value) ? floatText(value.value) : "null")
      case "tuple":
      case "set":
      case "frozenset":
        return this.list(value.items)
      case "dict":
        return this.object(value)
      case "ext":
        throw this.trail.notRepresentable("a msgpack extension in JSON")
      default:
        return this.append(`"${textOf(value)}"`)
    }
  }

  key(key: PyValue): void {
    switch (typeof key) {
      case "string":
        return this.text(key)
      case "bigint":
        return this.append(`"${this.integer(key)}"`)
    }
    if (key instanceof Uint8Array) return this.binary(key)
    if (key === null || typeof key === "boolean" || isList(key)) throw this.badKey(key)
    switch (key._tag) {
      case "float":
        return this.append(`"${floatKeyText(key.value)}"`)
      case "datetime":
      case "date":
      case "time":
      case "timedelta":
      case "decimal":
      case "uuid":
        return this.append(`"${textOf(key)}"`)
      default:
        throw this.badKey(key)
    }
  }

  private badKey(key: PyValue) {
    return this.trail.notRepresentable(`a ${typeName(key)} as a key in JSON`)
  }

  private append(text: string): void {
    this.out += text
  }

  private text(value: string): void {
    this.trail.checkSize(value.length)
    if (!value.isWellFormed()) throw this.trail.notRepresentable("a str with half a surrogate pair")
    this.append(needsEscape.test(value) ? JSON.stringify(value) : `"${value}"`)
  }

  private binary(value: Uint8Array): void {
    this.trail.checkSize(value.length)
    this.append(`"${base64(value)}"`)
  }

  private integer(value: bigint): string {
    if (value >= integerLimit || value <= -integerLimit) {
      throw this.trail.notRepresentable(`an int of more than ${maxIntegerDigits} digits`)
    }
    return String(value)
  }

  private list(items: ReadonlyArray<PyValue>): void {
    this.append("[")
    for (let index = 0; index < items.length; index++) {
      if (index > 0) this.append(",")
      this.trail.enter(index)
      this.value(items[index]!)
      this.trail.leave()
    }
    this.append("]")
  }

  private object({ entries }: PyDict): void {
    this.append("{")
    for (let index = 0; index < entries.length; index++) {
      const [key, value] = entries[index]!
      if (index > 0) this.append(",")
      this.trail.enter(key)
      this.key(key)
      this.append(":")
      this.value(value)
      this.trail.leave()
    }
    this.append("}")
  }
}

export const encode = (value: PyValue, limits = defaultLimits, path?: Path): Uint8Array => {
  const writer = new JsonWriter(limits, path)
  writer.value(value)
  return writer.finish()
}

export const encodeKey = (key: PyValue, limits = defaultLimits, path?: Path): Uint8Array => {
  const writer = new JsonWriter(limits, path)
  writer.key(key)
  return writer.finish()
}

export const joinTopLevel = (entries: ReadonlyArray<RawEntry>): Uint8Array => {
  const out = new ByteWriter()
  out.u8(0x7b)
  entries.forEach(({ rawKey, rawValue }, index) => {
    if (index > 0) out.u8(0x2c)
    out.raw(rawKey)
    out.u8(0x3a)
    out.raw(rawValue)
  })
  out.u8(0x7d)
  return out.finish()
}
