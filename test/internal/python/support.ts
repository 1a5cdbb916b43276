import { PythonCodecError, type Reason } from "effect-session/internal/python/PythonCodecError"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"

export const fromHex = (hex: string): Buffer => Buffer.from(hex, "hex")

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** A recorded file of `test/fixtures/flask-session`. */
export const fixture = <A>(name: string): A => {
  const file = fileURLToPath(new URL(`../../fixtures/flask-session/${name}`, import.meta.url))
  return JSON.parse(fs.readFileSync(file, "utf8"))
}

/**
 * A tagged value of which only what counts is left: of a float its bytes, and
 * no order within a set.
 */
export const comparable = (tagged: unknown): unknown => {
  if (Array.isArray(tagged)) return tagged.map(comparable)
  if (typeof tagged !== "object" || tagged === null) return tagged
  const { fold: _fold, t, v, ...rest } = tagged as Record<string, unknown>
  if (t === "float") return { t, hex: rest.hex }
  if (!Array.isArray(v)) return { t, v, ...rest }
  const items = v.map(comparable)
  return t === "set" || t === "frozenset" ? { t, v: items.sort(byText) } : { t, v: items }
}

const byText = (a: unknown, b: unknown): number => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1

/** Cuts, flips, repeats or inserts a byte. */
export const mutate = (hex: string, choice: number): string => {
  const bytes = fromHex(hex)
  if (bytes.length === 0) return hex
  const at = choice * 7919 % bytes.length
  switch (choice % 4) {
    case 0:
      return toHex(bytes.subarray(0, at))
    case 1:
      bytes[at]! ^= 1 << (choice >> 2) % 8
      return toHex(bytes)
    case 2:
      return toHex(Buffer.concat([bytes.subarray(0, at), Buffer.from([choice >> 2 & 0xff]), bytes.subarray(at)]))
    default:
      return toHex(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]))
  }
}

/** The error of a codec. Anything else that is thrown, or nothing, fails the test. */
export const failure = (run: () => unknown): PythonCodecError => {
  try {
    run()
  } catch (error) {
    if (error instanceof PythonCodecError) return error
    throw error
  }
  throw new Error("did not fail")
}

export const reasonOf = (run: () => unknown): Reason => failure(run).reason
