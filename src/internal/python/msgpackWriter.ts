/**
 * MessagePack, byte for byte as msgspec writes it.
 *
 * @internal
 */

import { ByteWriter } from "./ByteWriter.js"
import { utcInstant } from "./datetime.js"
import { isHashable } from "./hash.js"
import { defaultLimits, type Limits } from "./limits.js"
import { type Path, PythonCodecError } from "./PythonCodecError.js"
import { textOf } from "./text.js"
import type { RawEntry } from "./TopLevel.js"
import { Trail } from "./Trail.js"
import { utf8Length } from "./utf8.js"
import { isList, type PyDateTime, type PyDict, type PyExt, type PyFloat, type PyValue } from "./Value.js"

/** The heads of a type: the one that holds a small length, if there is one, and those of 8, 16 and 32 bits. */
interface Heads {
  readonly small: number
  readonly smallMax: number
  readonly u8?: number
  readonly u16: number
  readonly u32: number
}

const text: Heads = { small: 0xa0, smallMax: 31, u8: 0xd9, u16: 0xda, u32: 0xdb }
const binary: Heads = { small: 0, smallMax: -1, u8: 0xc4, u16: 0xc5, u32: 0xc6 }
const extension: Heads = { small: 0, smallMax: -1, u8: 0xc7, u16: 0xc8, u32: 0xc9 }
const array: Heads = { small: 0x90, smallMax: 15, u16: 0xdc, u32: 0xdd }
const map: Heads = { small: 0x80, smallMax: 15, u16: 0xde, u32: 0xdf }

const writeHead = (out: ByteWriter, heads: Heads, length: number): void => {
  if (length <= heads.smallMax) return out.u8(heads.small | length)
  if (heads.u8 !== undefined && length <= 0xff) {
    out.u8(heads.u8)
    return out.u8(length)
  }
  if (length <= 0xffff) {
    out.u8(heads.u16)
    return out.u16(length)
  }
  out.u8(heads.u32)
  out.u32(length)
}

class MsgpackWriter {
  readonly out = new ByteWriter()
  private readonly trail: Trail

  constructor(limits: Limits, path: Path | undefined) {
    this.trail = new Trail(limits, path)
  }

  value(value: PyValue): void {
    this.write(value)
    this.trail.checkSize(this.out.length)
  }

  private write(value: PyValue): void {
    switch (typeof value) {
      case "string":
        return this.text(value)
      case "bigint":
        return this.integer(value)
      case "boolean":
        return this.out.u8(value ? 0xc3 : 0xc2)
    }
    if (value === null) return this.out.u8(0xc0)
    if (isList(value)) return this.array(value)
    if (value instanceof Uint8Array) return this.binary(value)
    switch (value._tag) {
      case "float":
        return this.float(value)
      case "tuple":
      case "set":
      case "frozenset":
        return this.array(value.items)
      case "dict":
        return this.map(value)
      case "datetime":
        return value.time.offset === null ? this.text(textOf(value)) : this.timestamp(value)
      case "ext":
        return this.extension(value)
      default:
        return this.text(textOf(value))
    }
  }

  key(key: PyValue): void {
    this.value(key)
    if (!isHashable(key)) throw this.trail.notRepresentable("a key that has no hash in Python")
  }

  private text(value: string): void {
    this.trail.checkSize(value.length)
    const length = utf8Length(value)
    if (length === undefined) throw this.trail.notRepresentable("a str with half a surrogate pair")
    writeHead(this.out, text, length)
    this.out.utf8(value, length)
  }

  private binary(value: Uint8Array): void {
    this.trail.checkSize(value.length)
    writeHead(this.out, binary, value.length)
    this.out.raw(value)
  }

  /** The shortest form, and the unsigned one for everything that is not negative. */
  private integer(value: bigint): void {
    if (value < -0x8000000000000000n || value > 0xffffffffffffffffn) {
      throw this.trail.notRepresentable("an int beyond 64 bits")
    }
    if (value > 0xffffffffn || value < -0x80000000n) {
      this.out.u8(value < 0n ? 0xd3 : 0xcf)
      return this.out.u64(BigInt.asUintN(64, value))
    }
    return value < 0n ? this.negative(Number(value)) : this.positive(Number(value))
  }

  private positive(value: number): void {
    if (value < 0x80) return this.out.u8(value)
    if (value <= 0xff) {
      this.out.u8(0xcc)
      return this.out.u8(value)
    }
    if (value <= 0xffff) {
      this.out.u8(0xcd)
      return this.out.u16(value)
    }
    this.out.u8(0xce)
    this.out.u32(value)
  }

  private negative(value: number): void {
    if (value >= -0x20) return this.out.u8(value & 0xff)
    if (value >= -0x80) {
      this.out.u8(0xd0)
      return this.out.u8(value & 0xff)
    }
    if (value >= -0x8000) {
      this.out.u8(0xd1)
      return this.out.u16(value & 0xffff)
    }
    this.out.u8(0xd2)
    this.out.u32(value >>> 0)
  }

  private float({ nanBits, value }: PyFloat): void {
    this.out.u8(0xcb)
    if (nanBits === undefined) return this.out.f64(value)
    this.out.u64(nanBits)
  }

  private array(items: ReadonlyArray<PyValue>): void {
    writeHead(this.out, array, items.length)
    for (let index = 0; index < items.length; index++) {
      this.trail.enter(index)
      this.value(items[index]!)
      this.trail.leave()
    }
  }

  private map({ entries }: PyDict): void {
    writeHead(this.out, map, entries.length)
    for (const [key, value] of entries) {
      this.trail.enter(key)
      this.key(key)
      this.value(value)
      this.trail.leave()
    }
  }

  private timestamp(value: PyDateTime): void {
    const { microsecond, seconds } = this.instant(value)
    const nanos = microsecond * 1000
    if (seconds < 0 || seconds >= 2 ** 34) return this.timestamp96(seconds, nanos)
    if (nanos !== 0 || seconds >= 2 ** 32) {
      this.out.u16(0xd7ff)
      return this.out.u64((BigInt(nanos) << 34n) | BigInt(seconds))
    }
    this.out.u16(0xd6ff)
    this.out.u32(seconds)
  }

  private timestamp96(seconds: number, nanos: number): void {
    this.out.u8(0xc7)
    this.out.u16(0x0cff)
    this.out.u32(nanos)
    this.out.u64(BigInt.asUintN(64, BigInt(seconds)))
  }

  private instant(value: PyDateTime) {
    try {
      return utcInstant(value)
    } catch (error) {
      throw error instanceof PythonCodecError ? this.trail.notRepresentable(error.detail) : error
    }
  }

  private extension({ code, data }: PyExt): void {
    this.trail.checkSize(data.length)
    const fixed = [1, 2, 4, 8, 16].indexOf(data.length)
    if (fixed >= 0) this.out.u8(0xd4 + fixed)
    else writeHead(this.out, extension, data.length)
    this.out.u8(code & 0xff)
    this.out.raw(data)
  }
}

export const encode = (value: PyValue, limits = defaultLimits, path?: Path): Uint8Array => {
  const writer = new MsgpackWriter(limits, path)
  writer.value(value)
  return writer.out.finish()
}

export const encodeKey = (key: PyValue, limits = defaultLimits, path?: Path): Uint8Array => {
  const writer = new MsgpackWriter(limits, path)
  writer.key(key)
  return writer.out.finish()
}

export const joinTopLevel = (entries: ReadonlyArray<RawEntry>): Uint8Array => {
  const out = new ByteWriter()
  writeHead(out, map, entries.length)
  for (const { rawKey, rawValue } of entries) {
    out.raw(rawKey)
    out.raw(rawValue)
  }
  return out.finish()
}
