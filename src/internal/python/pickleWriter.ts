/**
 * Python's pickle, protocol 5. Python reads the same values from it that it
 * would read from its own; the bytes may differ.
 *
 * @internal
 */

import { ByteWriter } from "./ByteWriter.js"
import { isHashable } from "./hash.js"
import { defaultLimits, type Limits, maxIntegerBytes } from "./limits.js"
import { op } from "./pickleOpcodes.js"
import type { Path } from "./PythonCodecError.js"
import { Trail } from "./Trail.js"
import { utf8Length, writeUtf8OrSurrogates } from "./utf8.js"
import { isList, type PyDate, type PyDict, type PyEntry, type PyFloat, PyTimeDelta, type PyValue } from "./Value.js"

class PickleWriter {
  readonly out = new ByteWriter()
  private readonly trail: Trail
  /** Where a str or a global was remembered. */
  private readonly memo = new Map<string, number>()
  private memoized = 0

  constructor(limits: Limits, path: Path | undefined) {
    this.trail = new Trail(limits, path)
  }

  value(value: PyValue): void {
    this.write(value)
    this.trail.checkSize(this.out.length)
  }

  private write(value: PyValue): void {
    switch (typeof value) {
      case "string":
        return this.text(value)
      case "bigint":
        return this.integer(value)
      case "boolean":
        return this.out.u8(value ? op.newTrue : op.newFalse)
    }
    if (value === null) return this.out.u8(op.none)
    if (isList(value)) return this.list(value)
    if (value instanceof Uint8Array) return this.binary(value)
    switch (value._tag) {
      case "float":
        return this.float(value)
      case "tuple":
        return this.tuple(value.items)
      case "set":
        return this.set(value.items)
      case "frozenset":
        return this.frozenSet(value.items)
      case "dict":
        return this.dict(value)
      case "ext":
        throw this.trail.notRepresentable("a msgpack extension in a pickle")
      case "datetime": {
        const { date, time } = value
        const state = [...dateBytes(date), time.hour, time.minute, time.second, ...microBytes(time.microsecond)]
        state[2] = date.month | foldBit(time.fold)
        return this.moment("datetime", state, time.offset)
      }
      case "time": {
        const state = [value.hour | foldBit(value.fold), value.minute, value.second, ...microBytes(value.microsecond)]
        return this.moment("time", state, value.offset)
      }
      case "date":
        return this.moment("date", dateBytes(value), null)
      case "timedelta":
        return this.reduce("datetime", "timedelta", () => this.timeDeltaArguments(value))
      case "decimal":
        return this.reduce("decimal", "Decimal", () => {
          this.text(value.text)
          this.tupleOf(1)
        })
      case "uuid":
        return this.uuid(BigInt(`0x${value.text.replaceAll("-", "")}`))
    }
  }

  private remember(key?: string): void {
    this.out.u8(op.memoize)
    if (key !== undefined) this.memo.set(key, this.memoized)
    this.memoized++
  }

  /** Writes a reference if the str or global was written before. */
  private recall(key: string): boolean {
    const index = this.memo.get(key)
    if (index === undefined) return false
    if (index <= 0xff) {
      this.out.u8(op.binGet)
      this.out.u8(index)
    } else {
      this.out.u8(op.longBinGet)
      this.out.u32le(index)
    }
    return true
  }

  private text(text: string): void {
    this.trail.checkSize(text.length)
    if (this.recall(`s${text}`)) return
    const length = utf8Length(text)
    if (length === undefined) {
      this.sized(op.shortBinUnicode, op.binUnicode, writeUtf8OrSurrogates(text))
    } else {
      this.head(op.shortBinUnicode, op.binUnicode, length)
      this.out.utf8(text, length)
    }
    this.remember(`s${text}`)
  }

  private binary(bytes: Uint8Array): void {
    this.trail.checkSize(bytes.length)
    this.sized(op.shortBinBytes, op.binBytes, bytes)
    this.remember()
  }

  private sized(short: number, long: number, bytes: Uint8Array): void {
    this.head(short, long, bytes.length)
    this.out.raw(bytes)
  }

  private head(short: number, long: number, length: number): void {
    this.out.u8(length <= 0xff ? short : long)
    if (length <= 0xff) this.out.u8(length)
    else this.out.u32le(length)
  }

  private integer(value: bigint): void {
    if (value < -0x80000000n || value > 0x7fffffffn) return this.long(value)
    const small = Number(value)
    if (small < 0 || small > 0xffff) {
      this.out.u8(op.binInt)
      return this.out.u32le(small >>> 0)
    }
    if (small <= 0xff) {
      this.out.u8(op.binInt1)
      return this.out.u8(small)
    }
    this.out.u8(op.binInt2)
    this.out.u16le(small)
  }

  /** Two's complement in the fewest bytes, the lowest first. */
  private long(value: bigint): void {
    const bits = (value < 0n ? -value - 1n : value).toString(2).length + 1
    const size = Math.ceil(bits / 8)
    if (size > maxIntegerBytes) throw this.trail.notRepresentable("an int of too many digits")
    const hex = BigInt.asUintN(size * 8, value).toString(16).padStart(size * 2, "0")
    this.head(op.long1, op.long4, size)
    this.out.raw(Buffer.from(hex, "hex").reverse())
  }

  private float({ nanBits, value }: PyFloat): void {
    this.out.u8(op.binFloat)
    if (nanBits === undefined) return this.out.f64(value)
    this.out.u64(nanBits)
  }

  private item(value: PyValue, index: number): void {
    this.trail.enter(index)
    this.value(value)
    this.trail.leave()
  }

  /*
   * Containers are written with loops and few functions between two levels:
   * `maxDepth` has to be reached before the end of the JS stack.
   */

  private list(items: ReadonlyArray<PyValue>): void {
    this.out.u8(op.emptyList)
    this.remember()
    if (items.length > 1) this.out.u8(op.mark)
    for (let index = 0; index < items.length; index++) this.item(items[index]!, index)
    if (items.length > 0) this.out.u8(items.length > 1 ? op.appends : op.append)
  }

  private dict({ entries }: PyDict): void {
    this.out.u8(op.emptyDict)
    this.remember()
    if (entries.length > 1) this.out.u8(op.mark)
    for (const entry of entries) this.entry(entry)
    if (entries.length > 0) this.out.u8(entries.length > 1 ? op.setItems : op.setItem)
  }

  private entry([key, value]: PyEntry): void {
    this.trail.enter(key)
    this.key(key)
    this.value(value)
    this.trail.leave()
  }

  private key(key: PyValue): void {
    this.value(key)
    if (!isHashable(key)) throw this.trail.notRepresentable("a key that has no hash in Python")
  }

  private set(items: ReadonlyArray<PyValue>): void {
    this.out.u8(op.emptySet)
    this.remember()
    if (items.length === 0) return
    this.out.u8(op.mark)
    this.members(items)
    this.out.u8(op.addItems)
  }

  private frozenSet(items: ReadonlyArray<PyValue>): void {
    this.out.u8(op.mark)
    this.members(items)
    this.out.u8(op.frozenSet)
    this.remember()
  }

  private members(items: ReadonlyArray<PyValue>): void {
    for (const [index, item] of items.entries()) {
      this.trail.enter(index)
      this.key(item)
      this.trail.leave()
    }
  }

  private tuple(items: ReadonlyArray<PyValue>): void {
    if (items.length > 3) this.out.u8(op.mark)
    for (const [index, item] of items.entries()) this.item(item, index)
    this.tupleOf(items.length)
  }

  /** Makes a tuple of what is on Python's stack. More than three items need a mark before them. */
  private tupleOf(length: number): void {
    if (length === 0) return this.out.u8(op.emptyTuple)
    this.out.u8(length > 3 ? op.tuple : op.tuple1 + length - 1)
    this.remember()
  }

  private global(module: string, name: string): void {
    if (this.recall(`g${module}.${name}`)) return
    this.text(module)
    this.text(name)
    this.out.u8(op.stackGlobal)
    this.remember(`g${module}.${name}`)
  }

  /** A call that Python makes when it reads. `args` leaves one tuple on its stack. */
  private reduce(module: string, name: string, args: () => void): void {
    this.global(module, name)
    args()
    this.out.u8(op.reduce)
    this.remember()
  }

  private moment(name: string, state: ReadonlyArray<number>, offset: number | null): void {
    this.reduce("datetime", name, () => {
      this.binary(Uint8Array.from(state))
      if (offset !== null) this.zone(offset)
      this.tupleOf(offset === null ? 1 : 2)
    })
  }

  private zone(offset: number): void {
    this.reduce("datetime", "timezone", () => {
      this.reduce("datetime", "timedelta", () => this.timeDeltaArguments(zoneDelta(offset)))
      this.tupleOf(1)
    })
  }

  private timeDeltaArguments({ days, microseconds, seconds }: PyTimeDelta): void {
    for (const part of [days, seconds, microseconds]) this.integer(BigInt(part))
    this.tupleOf(3)
  }

  private uuid(value: bigint): void {
    this.global("uuid", "UUID")
    this.out.u8(op.emptyTuple)
    this.out.u8(op.newObject)
    this.remember()
    this.out.u8(op.emptyDict)
    this.remember()
    this.text("int")
    this.integer(value)
    this.out.u8(op.setItem)
    this.out.u8(op.build)
  }
}

const dateBytes = ({ day, month, year }: PyDate): ReadonlyArray<number> => [year >> 8, year & 0xff, month, day]

const microBytes = (micros: number): ReadonlyArray<number> => [micros >> 16, (micros >> 8) & 0xff, micros & 0xff]

const foldBit = (fold: 0 | 1): number => fold << 7

const zoneDelta = (offset: number): PyTimeDelta => {
  const days = offset < 0 ? -1 : 0
  const rest = offset - days * 86_400e6
  return new PyTimeDelta(days, Math.floor(rest / 1e6), rest % 1e6)
}

export const writePickle = (value: PyValue, limits = defaultLimits, path?: Path): Uint8Array => {
  const body = new PickleWriter(limits, path)
  body.value(value)
  body.out.u8(op.stop)
  const payload = body.out.finish()
  const out = new ByteWriter()
  out.u8(op.proto)
  out.u8(5)
  if (payload.length >= 4) {
    out.u8(op.frame)
    out.u64le(BigInt(payload.length))
  }
  out.raw(payload)
  return out.finish()
}
