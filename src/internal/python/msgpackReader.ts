/**
 * MessagePack as msgspec reads it.
 *
 * @internal
 */

import { fromInstant } from "./datetime.js"
import { floatFromBits, floatFromBits32 } from "./float.js"
import { uniqueBy, uniqueEntries } from "./hash.js"
import { checkBytes, defaultLimits, type Limits } from "./limits.js"
import { malformed, tooDeep, tooLarge } from "./PythonCodecError.js"
import type { TopLevelEntry } from "./TopLevel.js"
import { readUtf8 } from "./utf8.js"
import { PyDict, type PyEntry, PyExt, PyTuple, type PyValue } from "./Value.js"

class MsgpackReader {
  private at = 0
  private depth = 0
  private nodes = 0
  private readonly bytes: Buffer

  constructor(bytes: Uint8Array, private readonly limits: Limits) {
    checkBytes(bytes, limits)
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  whole(): PyValue {
    const value = this.value(false)
    this.end()
    return value
  }

  topLevel(): ReadonlyArray<TopLevelEntry> {
    const count = this.mapLength()
    if (count === undefined) throw malformed("the outermost value is no map")
    const entries: Array<TopLevelEntry> = []
    this.deeper()
    for (let index = 0; index < count; index++) {
      const start = this.at
      const key = this.value(true)
      const middle = this.at
      const value = this.value(false)
      const rawKey = this.bytes.subarray(start, middle)
      entries.push({ key, value, rawKey, rawValue: this.bytes.subarray(middle, this.at) })
    }
    this.end()
    return uniqueBy(entries, ({ key }) => key, (first, last) => ({ ...last, key: first.key, rawKey: first.rawKey }))
  }

  private end(): void {
    if (this.at < this.bytes.length) throw malformed(`trailing bytes from ${this.at} on`)
  }

  /** The length of the map that begins here, if one does. */
  private mapLength(): number | undefined {
    const head = this.u8()
    if ((head & 0xf0) === 0x80) return head & 0x0f
    if (head === 0xde) return this.u16()
    return head === 0xdf ? this.u32() : undefined
  }

  private value(isKey: boolean): PyValue {
    if (++this.nodes > this.limits.maxNodes) throw tooLarge(`more than ${this.limits.maxNodes} values`)
    const head = this.u8()
    if (head < 0x80) return BigInt(head)
    if (head >= 0xe0) return BigInt(head - 0x100)
    if (head < 0x90) return this.map(head & 0x0f)
    if (head < 0xa0) return this.array(head & 0x0f, isKey)
    if (head < 0xc0) return this.text(head & 0x1f)
    return this.long(head, isKey)
  }

  private long(head: number, isKey: boolean): PyValue {
    switch (head) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return this.binary(this.u8())
      case 0xc5:
        return this.binary(this.u16())
      case 0xc6:
        return this.binary(this.u32())
      case 0xc7:
        return this.extension(this.u8())
      case 0xc8:
        return this.extension(this.u16())
      case 0xc9:
        return this.extension(this.u32())
      case 0xca:
        return floatFromBits32(this.u32())
      case 0xcb:
        return floatFromBits(this.u64())
      case 0xcc:
        return BigInt(this.u8())
      case 0xcd:
        return BigInt(this.u16())
      case 0xce:
        return BigInt(this.u32())
      case 0xcf:
        return this.u64()
      case 0xd0:
        return BigInt.asIntN(8, BigInt(this.u8()))
      case 0xd1:
        return BigInt.asIntN(16, BigInt(this.u16()))
      case 0xd2:
        return BigInt(this.u32() | 0)
      case 0xd3:
        return BigInt.asIntN(64, this.u64())
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.extension(1 << (head - 0xd4))
      case 0xd9:
        return this.text(this.u8())
      case 0xda:
        return this.text(this.u16())
      case 0xdb:
        return this.text(this.u32())
      case 0xdc:
        return this.array(this.u16(), isKey)
      case 0xdd:
        return this.array(this.u32(), isKey)
      case 0xde:
        return this.map(this.u16())
      case 0xdf:
        return this.map(this.u32())
      default:
        throw malformed(`the byte ${head.toString(16)} at ${this.at - 1}`)
    }
  }

  /** An array in the place of a key is a tuple, because a list has no hash. `uniqueEntries` refuses other such keys. */
  private array(length: number, isKey: boolean): PyValue {
    const items: Array<PyValue> = []
    this.deeper()
    for (let index = 0; index < length; index++) items.push(this.value(isKey))
    this.depth--
    return isKey ? new PyTuple(items) : items
  }

  private map(length: number): PyValue {
    const entries: Array<PyEntry> = []
    this.deeper()
    for (let index = 0; index < length; index++) entries.push([this.value(true), this.value(false)])
    this.depth--
    return new PyDict(uniqueEntries(entries))
  }

  private deeper(): void {
    if (++this.depth > this.limits.maxDepth) throw tooDeep(this.limits)
  }

  private text(length: number): string {
    const start = this.take(length)
    return readUtf8(this.bytes, start, this.at)
  }

  private binary(length: number): Uint8Array {
    const start = this.take(length)
    return new Uint8Array(this.bytes.subarray(start, this.at))
  }

  private extension(length: number): PyValue {
    const code = (this.u8() << 24) >> 24
    if (code === -1) return this.timestamp(length)
    return new PyExt(code, this.binary(length))
  }

  private timestamp(length: number): PyValue {
    switch (length) {
      case 4:
        return this.instant(this.u32(), 0)
      case 8: {
        const both = this.u64()
        return this.instant(Number(both & 0x3ffffffffn), Number(both >> 34n))
      }
      case 12: {
        const nanos = this.u32()
        return this.instant(Number(BigInt.asIntN(64, this.u64())), nanos)
      }
      default:
        throw malformed(`a timestamp of ${length} bytes`)
    }
  }

  /** Rounds to microseconds, half of one up. */
  private instant(seconds: number, nanos: number): PyValue {
    if (nanos > 999_999_999) throw malformed("a timestamp's nanoseconds out of range")
    const micros = Math.floor((nanos + 500) / 1000)
    const carry = micros === 1e6 ? 1 : 0
    const value = fromInstant({ seconds: seconds + carry, microsecond: micros - carry * 1e6 })
    if (value === undefined) throw malformed("a timestamp outside the years 1 to 9999")
    return value
  }

  /** Moves over `size` bytes, and returns where they begin. */
  private take(size: number): number {
    const start = this.at
    this.at += size
    if (this.at > this.bytes.length) throw malformed(`cut off after ${this.bytes.length} bytes`)
    return start
  }

  private u8(): number {
    return this.bytes[this.take(1)]!
  }

  private u16(): number {
    return this.bytes.readUInt16BE(this.take(2))
  }

  private u32(): number {
    return this.bytes.readUInt32BE(this.take(4))
  }

  private u64(): bigint {
    return this.bytes.readBigUInt64BE(this.take(8))
  }
}

export const decode = (bytes: Uint8Array, limits = defaultLimits): PyValue => new MsgpackReader(bytes, limits).whole()

export const splitTopLevel = (bytes: Uint8Array, limits = defaultLimits): ReadonlyArray<TopLevelEntry> =>
  new MsgpackReader(bytes, limits).topLevel()
