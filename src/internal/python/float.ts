/**
 * Floats: their text in JSON, and their eight bytes.
 *
 * @internal
 */
import { PyFloat } from "./Value.js"

/** The bits of Python's own NaN, and of the one that JS writes. */
export const plainNan = 0x7ff8000000000000n

/**
 * msgspec's text of a finite float: the shortest digits that read back as the
 * same float, always with a point or an exponent. `1.0`, `0.00001`, `1e16`.
 */
export const floatText = (value: number): string => {
  if (Object.is(value, -0)) return "-0.0"
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-5 || size >= 1e16)) return value.toExponential().replace("+", "")
  return Number.isInteger(value) ? `${value}.0` : String(value)
}

/** The text of a float as the key of a JSON object, where msgspec writes no `null`. */
export const floatKeyText = (value: number): string => {
  if (Number.isNaN(value)) return "nan"
  if (Number.isFinite(value)) return floatText(value)
  return value > 0 ? "inf" : "-inf"
}

const view = new DataView(new ArrayBuffer(8))

export const floatBits = ({ nanBits, value }: PyFloat): bigint => {
  if (nanBits !== undefined) return nanBits
  if (Number.isNaN(value)) return plainNan
  view.setFloat64(0, value)
  return view.getBigUint64(0)
}

export const floatFromBits = (bits: bigint): PyFloat => {
  view.setBigUint64(0, bits)
  const value = view.getFloat64(0)
  return Number.isNaN(value) && bits !== plainNan ? new PyFloat(NaN, bits) : new PyFloat(value)
}

/** The float64 of a float32's four bytes. A NaN keeps its sign and payload, and becomes a quiet one. */
export const floatFromBits32 = (bits: number): PyFloat => {
  view.setUint32(0, bits)
  const value = view.getFloat32(0)
  if (!Number.isNaN(value)) return new PyFloat(value)
  const sign = BigInt(bits >>> 31) << 63n
  return floatFromBits(sign | plainNan | (BigInt(bits & 0x7fffff) << 29n))
}
