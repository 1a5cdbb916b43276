/**
 * Values of a row. Drivers differ in how they return blobs, integers and text.
 *
 * @internal
 */

export type Row = Readonly<Record<string, unknown>>

/** The bytes, in an array of their own: a Buffer is a view of a pool that others share. */
export const bytesOf = (value: unknown): Uint8Array | undefined =>
  value instanceof Uint8Array || value instanceof ArrayBuffer ? new Uint8Array(value) : undefined

export const textOf = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  const bytes = bytesOf(value)
  return bytes === undefined ? undefined : Buffer.from(bytes).toString()
}

export const integerOf = (value: unknown): number | undefined => {
  const number = typeof value === "number" || typeof value === "bigint" || typeof value === "string"
    ? Number(value)
    : NaN
  return Number.isSafeInteger(number) ? number : undefined
}
