/**
 * What a pickle's stack and memo hold while it is read. Containers can still
 * grow, and may contain themselves.
 *
 * @internal
 */
import type { PyDate, PyDateTime, PyDecimal, PyFloat, PyTime, PyTimeDelta, PyUuid } from "./Value.js"

export type Leaf =
  | null
  | boolean
  | bigint
  | string
  | Uint8Array
  | PyFloat
  | PyDateTime
  | PyDate
  | PyTime
  | PyTimeDelta
  | PyDecimal

export type PickleNode = Leaf | Container | Global | Zone | UuidObject

export type ContainerKind = "list" | "tuple" | "set" | "frozenset" | "dict"

export class Container {
  /** Of a dict: a key, its value, the next key, and so on. */
  constructor(readonly kind: ContainerKind, readonly items: Array<PickleNode>) {}
}

/** The name of a class or function. It is never imported or called. */
export class Global {
  constructor(readonly name: string) {}
}

/** A `datetime.timezone`: microseconds east of UTC. */
export class Zone {
  constructor(readonly offset: number) {}
}

/** A UUID gets its value after it was made. */
export class UuidObject {
  value: PyUuid | undefined
}
