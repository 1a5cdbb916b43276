/**
 * Values by key, as the JSON API keeps them: a list of pairs, because as the
 * keys of an object `__proto__` and its like would not be data.
 */
import * as Schema from "effect/Schema"

export const Values = Schema.Array(Schema.Tuple(Schema.String, Schema.Unknown))
export type Values = typeof Values.Type

export const get = (values: Values, key: string): unknown => values.find(([name]) => name === key)?.[1]

export const set = (values: Values, key: string, value: unknown): Values =>
  values.some(([name]) => name === key)
    ? values.map((pair) => pair[0] === key ? [key, value] : pair)
    : [...values, [key, value]]

/** The number at `key`, 0 when there is nothing; undefined when it is no number. */
export const count = (values: Values, key: string): number | undefined => {
  const value = get(values, key) ?? (values.some(([name]) => name === key) ? null : 0)
  return typeof value === "number" ? value : undefined
}

/** Defines properties of its own, whatever they are called. */
export const toObject = (values: Values): Record<string, unknown> => Object.fromEntries(values)
