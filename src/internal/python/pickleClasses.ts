/**
 * The classes and functions that a pickle may name, and what their calls stand
 * for. None of them is called: each entry builds a description.
 *
 * @internal
 */

import { decimalText } from "./decimal.js"
import { Container, Global, type PickleNode, UuidObject, Zone } from "./pickleNodes.js"
import { malformed, unsupported } from "./PythonCodecError.js"
import { PyDate, PyDateTime, PyDecimal, PyTime, PyTimeDelta, PyUuid } from "./Value.js"

type Args = ReadonlyArray<PickleNode>

const badCall = (name: string) => unsupported(`an unusual call of ${name}`)

const onlyNames = new Set(["builtins.object", "uuid.UUID"])

/** Python 2's names of two modules, which Python 3 writes in protocols 0 to 2. */
const renamed: Record<string, string> = { ["__builtin__"]: "builtins", copy_reg: "copyreg" }

export const global = (module: string, name: string): Global => {
  const full = `${Object.hasOwn(renamed, module) ? renamed[module] : module}.${name}`
  if (!calls.has(full) && !onlyNames.has(full)) throw unsupported(`the global ${quoted(full)}`)
  return new Global(full)
}

const quoted = (name: string): string => JSON.stringify(name.slice(0, 200))

export const call = (callee: PickleNode, args: Args): PickleNode => {
  if (!(callee instanceof Global)) throw malformed("a call of what is no global")
  const build = calls.get(callee.name)
  if (build === undefined) throw badCall(callee.name)
  return build(args)
}

const encodeLatin1 = ([text, encoding]: Args): Uint8Array => {
  if (typeof text !== "string" || encoding !== "latin1") throw badCall("_codecs.encode")
  if (/[^\u0000-\u00ff]/.test(text)) throw malformed("bytes beyond latin1")
  return new Uint8Array(Buffer.from(text, "latin1"))
}

const collect = (kind: "set" | "frozenset") => (args: Args): Container => {
  const [list] = args
  if (args.length !== 1 || !(list instanceof Container) || list.kind !== "list") throw badCall(`builtins.${kind}`)
  return new Container(kind, [...list.items])
}

const zoneOffset = (name: string, args: Args): number | null => {
  if (args.length === 1) return null
  const [, zone] = args
  if (args.length !== 2 || !(zone instanceof Zone)) throw badCall(name)
  return zone.offset
}

const stateOf = (name: string, args: Args, length: number): Uint8Array => {
  const [state] = args
  if (!(state instanceof Uint8Array) || state.length !== length) throw badCall(name)
  return state
}

/** The highest bit of a month or of an hour is the fold. */
const withoutFold = (byte: number): number => byte & 0x7f
const foldOf = (byte: number): 0 | 1 => byte >= 0x80 ? 1 : 0

const uint24 = (high: number, middle: number, low: number): number => (high << 16) | (middle << 8) | low

const dateTime = (args: Args): PyDateTime => {
  const offset = zoneOffset("datetime.datetime", args)
  const state = stateOf("datetime.datetime", args, 10)
  const [y1, y2, month, day, hour, minute, second, u1, u2, u3] = state as unknown as FullState
  const date = new PyDate((y1 << 8) | y2, withoutFold(month), day)
  return new PyDateTime(date, new PyTime(hour, minute, second, uint24(u1, u2, u3), offset, foldOf(month)))
}

/** Ten numbers: `stateOf` has checked the length. */
type FullState = [number, number, number, number, number, number, number, number, number, number]

const time = (args: Args): PyTime => {
  const offset = zoneOffset("datetime.time", args)
  const state = stateOf("datetime.time", args, 6)
  const [hour, minute, second, u1, u2, u3] = state as unknown as FullState
  return new PyTime(withoutFold(hour), minute, second, uint24(u1, u2, u3), offset, foldOf(hour))
}

const date = (args: Args): PyDate => {
  const [y1, y2, month, day] = stateOf("datetime.date", args, 4) as unknown as FullState
  return new PyDate((y1 << 8) | y2, month, day)
}

const timeDelta = (args: Args): PyTimeDelta => {
  if (args.length !== 3 || !args.every((arg) => typeof arg === "bigint")) throw badCall("datetime.timedelta")
  const [days, seconds, micros] = args.map(Number) as [number, number, number]
  return new PyTimeDelta(days, seconds, micros)
}

/** A zone's name, the second argument, is not kept. */
const timeZone = ([delta]: Args): Zone => {
  if (!(delta instanceof PyTimeDelta)) throw badCall("datetime.timezone")
  const offset = (delta.days * 86_400 + delta.seconds) * 1e6 + delta.microseconds
  if (Math.abs(offset) >= 86_400e6) throw malformed("a time zone of a day or more")
  return new Zone(offset)
}

const decimal = ([text]: Args): PyDecimal => {
  const normal = typeof text === "string" ? decimalText(text) : undefined
  if (normal === undefined) throw badCall("decimal.Decimal")
  return new PyDecimal(normal)
}

const isGlobal = (node: PickleNode | undefined, name: string): boolean => node instanceof Global && node.name === name

const reconstruct = ([type, base, state]: Args): UuidObject => {
  if (!isGlobal(type, "uuid.UUID") || !isGlobal(base, "builtins.object") || state !== null) {
    throw badCall("copyreg._reconstructor")
  }
  return new UuidObject()
}

const emptyBytes = (args: Args): Uint8Array => {
  if (args.length > 0) throw badCall("builtins.bytes")
  return new Uint8Array()
}

const calls = new Map<string, (args: Args) => PickleNode>([
  ["_codecs.encode", encodeLatin1],
  ["builtins.bytes", emptyBytes],
  ["builtins.set", collect("set")],
  ["builtins.frozenset", collect("frozenset")],
  ["copyreg._reconstructor", reconstruct],
  ["datetime.date", date],
  ["datetime.datetime", dateTime],
  ["datetime.time", time],
  ["datetime.timedelta", timeDelta],
  ["datetime.timezone", timeZone],
  ["decimal.Decimal", decimal]
])

/** `cls.__new__(cls)`, for UUIDs only. */
export const newObject = (type: PickleNode, args: Args): UuidObject => {
  if (isGlobal(type, "uuid.UUID") && args.length === 0) return new UuidObject()
  throw type instanceof Global ? badCall(type.name) : malformed("a new object of what is no class")
}

/** A UUID's state is its `int`, and at times `is_safe`. */
const maxStateItems = 4

/** Gives a UUID its value. Whether it was made safely is not kept. */
export const setState = (target: PickleNode | undefined, state: PickleNode): void => {
  if (!(target instanceof UuidObject)) throw unsupported("the state of an object")
  if (!(state instanceof Container) || state.kind !== "dict" || state.items.length > maxStateItems) {
    throw badCall("uuid.UUID")
  }
  const at = state.items.indexOf("int")
  const value = at % 2 === 0 ? state.items[at + 1] : undefined
  if (typeof value !== "bigint" || value < 0n || value >= 1n << 128n) throw badCall("uuid.UUID")
  target.value = new PyUuid(value.toString(16).padStart(32, "0").replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"))
}
