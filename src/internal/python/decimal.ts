/** @internal */

const shape = /^([+-]?)(?:(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,18}))?|(Inf(?:inity)?|s?NaN\d*))$/i

/**
 * What `str(Decimal(text))` returns in Python, or `undefined` if the text is no
 * plain decimal number. Spaces, underscores and a bare point, which Python
 * takes but never writes, are refused.
 */
export const decimalText = (text: string): string | undefined => {
  const match = shape.exec(text)
  if (match === null) return undefined
  const [, sign = "", whole = "", fraction = "", exponentText = "0", special] = match
  const minus = sign === "-" ? "-" : ""
  if (special !== undefined) return minus + specialText(special)
  const digits = (whole + fraction).replace(/^0+(?=\d)/, "")
  const exponent = Number(exponentText) - fraction.length
  const adjusted = exponent + digits.length - 1
  if (!Number.isSafeInteger(exponent)) return undefined
  if (exponent > 0 || adjusted < -6) return minus + scientific(digits, adjusted)
  return minus + positional(digits, exponent)
}

const specialText = (text: string): string => {
  const lower = text.toLowerCase()
  if (lower.startsWith("inf")) return "Infinity"
  const payload = lower.replace(/^s?nan0*/, "")
  return `${lower.startsWith("s") ? "sNaN" : "NaN"}${payload}`
}

const scientific = (digits: string, adjusted: number): string =>
  `${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ""}E${adjusted < 0 ? "" : "+"}${adjusted}`

const positional = (digits: string, exponent: number): string => {
  if (exponent === 0) return digits
  const padded = digits.padStart(1 - exponent, "0")
  return `${padded.slice(0, exponent)}.${padded.slice(exponent)}`
}
