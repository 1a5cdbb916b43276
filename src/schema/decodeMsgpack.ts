/**
 * Decodes MessagePack that may come from anywhere: one pass, bounded in depth,
 * and data only.
 *
 * msgpackr, which encodes, allocates by declared lengths and revives classes
 * when it decodes. Its input would have to be checked first, and checking
 * already visits every value.
 *
 * @internal
 */

import { isUtf8 } from "node:buffer"

/**
 * The value in `bytes`. Throws for anything but one complete value, no deeper
 * than `maxDepth`, with text in UTF-8 and text as keys. Of the extensions only
 * msgpackr's `undefined` is allowed.
 */
export const decodeMsgpack = (bytes: Uint8Array, maxDepth: number): unknown => {
  const reader = new Reader(bytes)
  const value = reader.value(maxDepth)
  if (!reader.isAtEnd) {
    throw new Error("trailing bytes")
  }
  return value
}

class Reader {
  private readonly input: Buffer
  /** The whole input as text of one character a byte: a slice of it costs a fifth of a call into the buffer. */
  private readonly all: string | undefined
  private at = 0

  constructor(bytes: Uint8Array) {
    this.input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.all = bytes.length <= maxSliced ? this.input.toString("latin1") : undefined
  }

  get isAtEnd(): boolean {
    return this.at === this.input.length
  }

  value(depth: number): unknown {
    if (depth < 0) {
      throw new Error("nested too deep")
    }
    const type = this.byte()
    if (type <= 0x7f) return type
    if (type <= 0x8f) return this.map(type & 0x0f, depth - 1)
    if (type <= 0x9f) return this.array(type & 0x0f, depth - 1)
    if (type <= 0xbf) return this.text(type & 0x1f)
    if (type >= 0xe0) return type - 0x100
    return this.typed(type, depth)
  }

  private typed(type: number, depth: number): unknown {
    switch (type) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return this.binary(this.byte())
      case 0xc5:
        return this.binary(this.uint(2))
      case 0xc6:
        return this.binary(this.uint(4))
      case 0xca:
        return this.input.readFloatBE(this.skip(4))
      case 0xcb:
        return this.input.readDoubleBE(this.skip(8))
      case 0xcc:
        return this.byte()
      case 0xcd:
        return this.uint(2)
      case 0xce:
        return this.uint(4)
      case 0xcf:
        return this.input.readBigUInt64BE(this.skip(8))
      case 0xd0:
        return this.input.readInt8(this.skip(1))
      case 0xd1:
        return this.input.readInt16BE(this.skip(2))
      case 0xd2:
        return this.input.readInt32BE(this.skip(4))
      case 0xd3:
        return this.input.readBigInt64BE(this.skip(8))
      case 0xd4: // fixext 1: msgpackr's `undefined` is type 0, byte 0
        if (this.uint(2) !== 0) {
          throw new Error("an extension")
        }
        return undefined
      case 0xd9:
        return this.text(this.byte())
      case 0xda:
        return this.text(this.uint(2))
      case 0xdb:
        return this.text(this.uint(4))
      case 0xdc:
        return this.array(this.uint(2), depth - 1)
      case 0xdd:
        return this.array(this.uint(4), depth - 1)
      case 0xde:
        return this.map(this.uint(2), depth - 1)
      case 0xdf:
        return this.map(this.uint(4), depth - 1)
      default: // never used (c1), or an extension
        throw new Error("not data")
    }
  }

  private array(length: number, depth: number): Array<unknown> {
    const items: Array<unknown> = [] // never by the declared length: it may be a lie
    for (let i = 0; i < length; i++) {
      items.push(this.value(depth))
    }
    return items
  }

  private map(length: number, depth: number): Record<string, unknown> {
    const map: Record<string, unknown> = {}
    for (let i = 0; i < length; i++) {
      const key = this.key()
      const value = this.value(depth)
      if (key === "__proto__") {
        Object.defineProperty(map, key, { value, configurable: true, enumerable: true, writable: true })
      } else {
        map[key] = value
      }
    }
    return map
  }

  private key(): string {
    const type = this.byte()
    const size = type >= 0xa0 && type <= 0xbf
      ? type & 0x1f
      : type === 0xd9
      ? this.byte()
      : type === 0xda
      ? this.uint(2)
      : type === 0xdb
      ? this.uint(4)
      : -1
    if (size < 0) {
      throw new Error("a key is not text")
    }
    return size <= maxKnownKey ? this.knownKey(size) : this.text(size)
  }

  /** The same few keys come again and again. A lookup is cheaper than a new string. */
  private knownKey(size: number): string {
    const { input } = this
    const start = this.skip(size)
    let hash = size
    for (let i = start; i < this.at; i++) {
      hash = hash * 31 + input[i]! | 0
    }
    const slot = (hash ^ hash >>> 8) & (knownKeys.length - 1)
    const known = knownKeys[slot]!
    if (isSpelled(input, start, size, known)) {
      return known
    }
    this.at = start
    const key = this.text(size)
    if (key.length === size) { // ASCII
      knownKeys[slot] = key
    }
    return key
  }

  private text(size: number): string {
    const { input } = this
    const start = this.skip(size)
    for (let i = start; i < this.at; i++) {
      if (input[i]! > 0x7f) {
        return this.unicode(start)
      }
    }
    return this.all === undefined ? input.toString("latin1", start, this.at) : this.all.slice(start, this.at)
  }

  private unicode(start: number): string {
    if (!isUtf8(this.input.subarray(start, this.at))) {
      throw new Error("text is not UTF-8")
    }
    return this.input.toString("utf8", start, this.at)
  }

  private binary(size: number): Uint8Array {
    const start = this.skip(size)
    return new Uint8Array(this.input.subarray(start, this.at))
  }

  private byte(): number {
    return this.input[this.skip(1)]!
  }

  private uint(size: number): number {
    return this.input.readUIntBE(this.skip(size), size)
  }

  /** Moves on by `size` bytes. Returns where they begin. */
  private skip(size: number): number {
    const start = this.at
    this.at += size
    if (this.at > this.input.length) {
      throw new Error("truncated")
    }
    return start
  }
}

/** A slice keeps the whole text alive, so the text must be small. */
const maxSliced = 4096

const maxKnownKey = 32

/** The last key that was read at each hash. */
const knownKeys: Array<string> = new Array<string>(256).fill("")

const isSpelled = (input: Uint8Array, start: number, size: number, text: string): boolean => {
  if (text.length !== size) {
    return false
  }
  for (let i = 0; i < size; i++) {
    if (input[start + i] !== text.charCodeAt(i)) {
      return false
    }
  }
  return true
}
