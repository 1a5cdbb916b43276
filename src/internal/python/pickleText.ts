/**
 * Text and numbers of the older protocols, which are lines of ASCII.
 *
 * @internal
 */

import { maxIntegerDigits } from "./limits.js"
import { malformed } from "./PythonCodecError.js"
import { PyFloat } from "./Value.js"

export const parseInteger = (text: string): bigint => {
  if (!/^[+-]?\d+$/.test(text)) throw malformed("a bad integer")
  if (text.length > maxIntegerDigits + 1) throw malformed("an integer out of range")
  return BigInt(text.startsWith("+") ? text.slice(1) : text)
}

/** `I01` and `I00` are True and False. */
export const parseIntegerOrBoolean = (text: string): bigint | boolean =>
  text === "01" || text === "00" ? text === "01" : parseInteger(text)

const special: Record<string, number> = { nan: NaN, inf: Infinity, "-inf": -Infinity }

export const parseFloatText = (text: string): PyFloat => {
  if (Object.hasOwn(special, text)) return new PyFloat(special[text]!)
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw malformed("a bad float")
  return new PyFloat(Number(text))
}

/** Python's raw-unicode-escape. */
export const parseUnicode = (text: string): string =>
  text.replace(/\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\s\S]?))/g, (escape, short, long, other) => {
    if (other === undefined) return character(short ?? long)
    if (other === "u" || other === "U") throw malformed("a bad escape")
    return escape
  })

const character = (hex: string): string => {
  const code = Number.parseInt(hex, 16)
  if (code > 0x10ffff) throw malformed("a bad escape")
  return String.fromCodePoint(code)
}

const escapes: Record<string, string> = {
  ["\n"]: "",
  "\\": "\\",
  "'": "'",
  "\"": "\"",
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v"
}

/** Python 2's `repr` of a str. As in Python 3's reader, it has to be ASCII. */
export const parseString = (text: string): string => {
  const match = /^(['"])([\s\S]*)\1$/.exec(text)
  if (match === null) throw malformed("a str without quotes")
  const value = match[2]!.replace(/\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|([\s\S]))/g, (escape, hex, octal, other) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16))
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff)
    return escapes[other] ?? escape
  })
  return ascii(value)
}

export const ascii = (text: string): string => {
  if (/[^\u0000-\u007f]/.test(text)) throw malformed("a Python 2 str that is not ASCII")
  return text
}
