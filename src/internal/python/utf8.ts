/**
 * Text from UTF-8, strictly: bad bytes are an error, never U+FFFD.
 *
 * @internal
 */

import { isUtf8 } from "node:buffer"
import { malformed } from "./PythonCodecError.js"

/** Up to this length a loop is faster than a call into Node. */
export const shortText = 24

/** The length of text in UTF-8, or `undefined` if it has half a surrogate pair. */
export const utf8Length = (text: string): number | undefined => {
  if (text.length <= shortText && isAscii(text)) return text.length
  return text.isWellFormed() ? Buffer.byteLength(text) : undefined
}

const isAscii = (text: string): boolean => {
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) >= 0x80) return false
  }
  return true
}

export const readUtf8 = (bytes: Buffer, start: number, end: number): string => {
  if (end - start <= shortText) {
    const text = readShortAscii(bytes, start, end)
    if (text !== undefined) return text
  }
  const text = bytes.toString("utf8", start, end)
  if (text.includes("\ufffd") && !isUtf8(bytes.subarray(start, end))) throw malformed("bad UTF-8")
  return text
}

const readShortAscii = (bytes: Buffer, start: number, end: number): string | undefined => {
  let text = ""
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    if (byte >= 0x80) return undefined
    text += String.fromCharCode(byte)
  }
  return text
}

const surrogate = /\xed[\xa0-\xbf][\x80-\xbf]/

/**
 * As `readUtf8`, but a surrogate may stand alone, as three bytes. Python's
 * pickle writes text so ("surrogatepass").
 */
export const readUtf8OrSurrogates = (bytes: Buffer, start: number, end: number): string => {
  const slice = bytes.subarray(start, end)
  if (isUtf8(slice)) return readUtf8(bytes, start, end)
  const parts = slice.toString("latin1").split(/(\xed[\xa0-\xbf][\x80-\xbf])/)
  return parts.map((part) => surrogate.test(part) ? surrogateOf(part) : wellFormedPart(part)).join("")
}

const surrogateOf = (part: string): string =>
  String.fromCharCode(0xd000 | ((part.charCodeAt(1) & 0x3f) << 6) | (part.charCodeAt(2) & 0x3f))

const wellFormedPart = (part: string): string => {
  const bytes = Buffer.from(part, "latin1")
  return readUtf8(bytes, 0, bytes.length)
}

/** UTF-8 in which a lone surrogate is three bytes. */
export const writeUtf8OrSurrogates = (text: string): Buffer => {
  if (text.isWellFormed()) return Buffer.from(text, "utf8")
  return Buffer.concat(Array.from(text, (char) => {
    const code = char.codePointAt(0)!
    if (code < 0xd800 || code > 0xdfff) return Buffer.from(char, "utf8")
    return Buffer.from([0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)])
  }))
}
