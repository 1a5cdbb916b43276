/**
 * A buffer that grows.
 *
 * @internal
 */

import { shortText } from "./utf8.js"

export class ByteWriter {
  private bytes = Buffer.allocUnsafe(512)
  length = 0

  /** Makes room for `size` more bytes, and returns where they begin. */
  private claim(size: number): number {
    const start = this.length
    this.length += size
    if (this.length > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.length))
      this.bytes.copy(larger, 0, 0, start)
      this.bytes = larger
    }
    return start
  }

  u8(value: number): void {
    const at = this.claim(1)
    this.bytes[at] = value
  }

  u16(value: number): void {
    const at = this.claim(2)
    this.bytes.writeUInt16BE(value, at)
  }

  u32(value: number): void {
    const at = this.claim(4)
    this.bytes.writeUInt32BE(value, at)
  }

  u64(value: bigint): void {
    const at = this.claim(8)
    this.bytes.writeBigUInt64BE(value, at)
  }

  u16le(value: number): void {
    const at = this.claim(2)
    this.bytes.writeUInt16LE(value, at)
  }

  u32le(value: number): void {
    const at = this.claim(4)
    this.bytes.writeUInt32LE(value, at)
  }

  u64le(value: bigint): void {
    const at = this.claim(8)
    this.bytes.writeBigUInt64LE(value, at)
  }

  f64(value: number): void {
    const at = this.claim(8)
    this.bytes.writeDoubleBE(value, at)
  }

  raw(bytes: Uint8Array): void {
    const at = this.claim(bytes.length)
    this.bytes.set(bytes, at)
  }

  /** Text whose length in UTF-8 is known. */
  utf8(text: string, byteLength: number): void {
    const at = this.claim(byteLength)
    if (byteLength > shortText || byteLength !== text.length) {
      this.bytes.write(text, at, "utf8")
      return
    }
    for (let index = 0; index < byteLength; index++) this.bytes[at + index] = text.charCodeAt(index)
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return new Uint8Array(this.bytes.subarray(0, this.length))
  }
}
