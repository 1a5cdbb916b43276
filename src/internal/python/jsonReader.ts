/**
 * JSON as msgspec reads it: RFC 8259, strictly, with integers of any size.
 *
 * @internal
 */

import { uniqueBy, uniqueEntries } from "./hash.js"
import { checkBytes, defaultLimits, type Limits, maxIntegerDigits } from "./limits.js"
import { malformed, type PythonCodecError, tooDeep, tooLarge } from "./PythonCodecError.js"
import type { TopLevelEntry } from "./TopLevel.js"
import { readUtf8 } from "./utf8.js"
import { PyDict, type PyEntry, PyFloat, type PyValue } from "./Value.js"

const quote = 0x22
const comma = 0x2c
const minus = 0x2d
const colon = 0x3a
const openList = 0x5b
const backslash = 0x5c
const closeList = 0x5d
const openObject = 0x7b
const closeObject = 0x7d

const number = /^-?(?:0|[1-9]\d*)((?:\.\d+)?(?:[eE][+-]?\d+)?)$/

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39

/** `0-9`, `+`, `-`, `.`, `e`, `E` */
const isOfNumber = (byte: number | undefined): boolean =>
  isDigit(byte) || byte === 0x2b || byte === minus || byte === 0x2e || byte === 0x45 || byte === 0x65

class JsonReader {
  private at = 0
  private depth = 0
  private nodes = 0
  private readonly bytes: Buffer

  constructor(bytes: Uint8Array, private readonly limits: Limits) {
    checkBytes(bytes, limits)
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  whole(): PyValue {
    this.skipSpace()
    const value = this.value()
    this.end()
    return value
  }

  topLevel(): ReadonlyArray<TopLevelEntry> {
    this.skipSpace()
    if (this.bytes[this.at] !== openObject) throw malformed("the outermost value is no object")
    const entries: Array<TopLevelEntry> = []
    this.sequence(closeObject, () => entries.push(this.topLevelEntry()))
    this.end()
    return uniqueBy(entries, ({ key }) => key, (first, last) => ({ ...last, key: first.key, rawKey: first.rawKey }))
  }

  private topLevelEntry(): TopLevelEntry {
    const keyStart = this.at
    const key = this.key()
    const rawKey = this.bytes.subarray(keyStart, this.at)
    this.separator()
    const start = this.at
    const value = this.value()
    return { key, value, rawKey, rawValue: this.bytes.subarray(start, this.at) }
  }

  private end(): void {
    this.skipSpace()
    if (this.at < this.bytes.length) throw this.unexpected()
  }

  private value(): PyValue {
    if (++this.nodes > this.limits.maxNodes) throw tooLarge(`more than ${this.limits.maxNodes} values`)
    const byte = this.bytes[this.at]
    switch (byte) {
      case quote:
        return this.text()
      case openObject:
        return this.object()
      case openList:
        return this.list()
      case 0x74:
        return this.literal("true", true)
      case 0x66:
        return this.literal("false", false)
      case 0x6e:
        return this.literal("null", null)
    }
    if (isDigit(byte) || byte === minus) return this.number()
    throw this.unexpected()
  }

  private literal<A>(text: string, value: A): A {
    if (this.bytes.toString("latin1", this.at, this.at + text.length) !== text) throw this.unexpected()
    this.at += text.length
    return value
  }

  private list(): ReadonlyArray<PyValue> {
    const items: Array<PyValue> = []
    this.sequence(closeList, () => items.push(this.value()))
    return items
  }

  private object(): PyDict {
    const entries: Array<PyEntry> = []
    this.sequence(closeObject, () => {
      const key = this.key()
      this.separator()
      entries.push([key, this.value()])
    })
    return new PyDict(uniqueEntries(entries))
  }

  /** What is between two brackets: elements, with a comma between each two. */
  private sequence(close: number, element: () => void): void {
    if (++this.depth > this.limits.maxDepth) throw tooDeep(this.limits)
    this.at++
    this.skipSpace()
    if (this.bytes[this.at] !== close) {
      element()
      this.skipSpace()
      while (this.bytes[this.at] === comma) {
        this.at++
        this.skipSpace()
        element()
        this.skipSpace()
      }
    }
    if (this.bytes[this.at] !== close) throw this.unexpected()
    this.at++
    this.depth--
  }

  private key(): string {
    if (this.bytes[this.at] !== quote) throw this.unexpected()
    return this.text()
  }

  private separator(): void {
    this.skipSpace()
    if (this.bytes[this.at] !== colon) throw this.unexpected()
    this.at++
    this.skipSpace()
  }

  private text(): string {
    const start = ++this.at
    let hasEscapes = false
    for (let byte = this.bytes[this.at]; byte !== quote; byte = this.bytes[this.at]) {
      if (byte === undefined || byte < 0x20) throw this.unexpected()
      if (byte === backslash) {
        hasEscapes = true
        this.at++
      }
      this.at++
    }
    const text = readUtf8(this.bytes, start, this.at)
    this.at++
    return hasEscapes ? this.unescape(text) : text
  }

  private unescape(text: string): string {
    const unescaped = parseText(text)
    if (unescaped === undefined) throw malformed(`a bad escape before byte ${this.at}`)
    if (!unescaped.isWellFormed()) throw malformed(`half a surrogate pair before byte ${this.at}`)
    return unescaped
  }

  private number(): bigint | PyFloat {
    const start = this.at
    while (isOfNumber(this.bytes[this.at])) this.at++
    const text = this.bytes.toString("latin1", start, this.at)
    const match = number.exec(text)
    if (match === null) throw malformed(`a bad number at byte ${start}`)
    if (match[1] === "") return integer(text)
    const value = Number(text)
    if (!Number.isFinite(value)) throw malformed("a number out of range")
    return new PyFloat(value)
  }

  private skipSpace(): void {
    for (;;) {
      const byte = this.bytes[this.at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return
      this.at++
    }
  }

  private unexpected(): PythonCodecError {
    const isCut = this.at >= this.bytes.length
    return malformed(isCut ? `cut off after ${this.bytes.length} bytes` : `an unexpected character at byte ${this.at}`)
  }
}

/** Leaves the escapes to `JSON.parse`, which takes the same ones. It also takes half a surrogate pair. */
const parseText = (text: string): string | undefined => {
  try {
    return JSON.parse(`"${text}"`) as string // a JSON text in quotes is a string
  } catch {
    return undefined
  }
}

const integer = (text: string): bigint => {
  const digits = text.startsWith("-") ? text.length - 1 : text.length
  if (digits > maxIntegerDigits) throw malformed("an integer out of range")
  return BigInt(text)
}

export const decode = (bytes: Uint8Array, limits = defaultLimits): PyValue => new JsonReader(bytes, limits).whole()

export const splitTopLevel = (bytes: Uint8Array, limits = defaultLimits): ReadonlyArray<TopLevelEntry> =>
  new JsonReader(bytes, limits).topLevel()
