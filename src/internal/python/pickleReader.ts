/**
 * Python's pickle, protocols 0 to 5, read as data. It is a stack machine that
 * imports nothing and calls nothing: what is not on the list of
 * `pickleClasses.ts` is an error with its name.
 *
 * @internal
 */

import { floatFromBits } from "./float.js"
import { checkBytes, defaultLimits, type Limits, maxIntegerBytes } from "./limits.js"
import { call, global, newObject, setState } from "./pickleClasses.js"
import { finish } from "./pickleFinish.js"
import { Container, type ContainerKind, type PickleNode } from "./pickleNodes.js"
import { refusedOpcodes } from "./pickleOpcodes.js"
import { ascii, parseFloatText, parseInteger, parseIntegerOrBoolean, parseString, parseUnicode } from "./pickleText.js"
import { malformed, tooLarge, unsupported } from "./PythonCodecError.js"
import { readUtf8OrSurrogates } from "./utf8.js"
import type { PyValue } from "./Value.js"

class PickleReader {
  private at = 0
  private opcodes = 0
  /** Items and characters that calls have copied, which a pickle of a few bytes can ask for again and again. */
  private copied = 0
  private readonly bytes: Buffer
  private readonly stack: Array<PickleNode> = []
  private readonly marks: Array<number> = []
  private readonly memo = new Map<number, PickleNode>()

  constructor(bytes: Uint8Array, private readonly limits: Limits) {
    checkBytes(bytes, limits)
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Bytes behind the STOP opcode are ignored, as Python does. */
  read(): PyValue {
    for (let opcode = this.u8(); opcode !== 0x2e; opcode = this.u8()) {
      if (++this.opcodes > this.limits.maxNodes) throw tooLarge(`more than ${this.limits.maxNodes} opcodes`)
      this.step(opcode)
    }
    return finish(this.pop(), this.limits)
  }

  private step(opcode: number): void {
    switch (opcode) {
      case 0x28: // MARK
        this.marks.push(this.stack.length)
        return
      case 0x80: // PROTO
        return this.protocol(this.u8())
      case 0x95: // FRAME
        return this.frame()
      case 0x4e: // NONE
        return this.push(null)
      case 0x88: // NEWTRUE
        return this.push(true)
      case 0x89: // NEWFALSE
        return this.push(false)
      case 0x49: // INT
        return this.push(parseIntegerOrBoolean(this.line()))
      case 0x4c: // LONG
        return this.push(parseInteger(this.line().replace(/L$/, "")))
      case 0x4b: // BININT1
        return this.push(BigInt(this.u8()))
      case 0x4d: // BININT2
        return this.push(BigInt(this.u16()))
      case 0x4a: // BININT
        return this.push(BigInt(this.u32() | 0))
      case 0x8a: // LONG1
        return this.push(this.long(this.u8()))
      case 0x8b: // LONG4
        return this.push(this.long(this.u32()))
      case 0x46: // FLOAT
        return this.push(parseFloatText(this.line()))
      case 0x47: // BINFLOAT
        return this.push(floatFromBits(this.bytes.readBigUInt64BE(this.take(8))))
      default:
        return this.stepText(opcode)
    }
  }

  private stepText(opcode: number): void {
    switch (opcode) {
      case 0x53: // STRING
        return this.push(parseString(this.line()))
      case 0x54: // BINSTRING
        return this.push(this.asciiText(this.u32()))
      case 0x55: // SHORT_BINSTRING
        return this.push(this.asciiText(this.u8()))
      case 0x56: // UNICODE
        return this.push(parseUnicode(this.line()))
      case 0x8c: // SHORT_BINUNICODE
        return this.push(this.text(this.u8()))
      case 0x58: // BINUNICODE
        return this.push(this.text(this.u32()))
      case 0x8d: // BINUNICODE8
        return this.push(this.text(this.length8()))
      case 0x43: // SHORT_BINBYTES
        return this.push(this.binary(this.u8()))
      case 0x42: // BINBYTES
        return this.push(this.binary(this.u32()))
      case 0x8e: // BINBYTES8
        return this.push(this.binary(this.length8()))
      default:
        return this.stepContainer(opcode)
    }
  }

  private stepContainer(opcode: number): void {
    switch (opcode) {
      case 0x5d: // EMPTY_LIST
        return this.pushContainer("list", [])
      case 0x6c: // LIST
        return this.pushContainer("list", this.popToMark())
      case 0x61: // APPEND
        return this.extend("list", [this.pop()])
      case 0x65: // APPENDS
        return this.extend("list", this.popToMark())
      case 0x7d: // EMPTY_DICT
        return this.pushContainer("dict", [])
      case 0x64: // DICT
        return this.pushContainer("dict", even(this.popToMark()))
      case 0x73: { // SETITEM
        const value = this.pop()
        return this.extend("dict", [this.pop(), value])
      }
      case 0x75: // SETITEMS
        return this.extend("dict", even(this.popToMark()))
      case 0x29: // EMPTY_TUPLE
        return this.pushContainer("tuple", [])
      case 0x74: // TUPLE
        return this.pushContainer("tuple", this.popToMark())
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.pushContainer("tuple", this.popMany(opcode - 0x84))
      case 0x8f: // EMPTY_SET
        return this.pushContainer("set", [])
      case 0x90: // ADDITEMS
        return this.extend("set", this.popToMark())
      case 0x91: // FROZENSET
        return this.pushContainer("frozenset", this.popToMark())
      default:
        return this.stepMemo(opcode)
    }
  }

  private stepMemo(opcode: number): void {
    switch (opcode) {
      case 0x94: // MEMOIZE
        return this.put(this.memo.size)
      case 0x70: // PUT
        return this.put(Number(parseInteger(this.line())))
      case 0x71: // BINPUT
        return this.put(this.u8())
      case 0x72: // LONG_BINPUT
        return this.put(this.u32())
      case 0x67: // GET
        return this.get(Number(parseInteger(this.line())))
      case 0x68: // BINGET
        return this.get(this.u8())
      case 0x6a: // LONG_BINGET
        return this.get(this.u32())
      default:
        return this.stepObject(opcode)
    }
  }

  private stepObject(opcode: number): void {
    switch (opcode) {
      case 0x63: { // GLOBAL
        const module = this.line()
        return this.push(global(module, this.line()))
      }
      case 0x93: { // STACK_GLOBAL
        const name = this.pop()
        const module = this.pop()
        if (typeof name !== "string" || typeof module !== "string") throw malformed("a global whose name is no str")
        return this.push(global(module, name))
      }
      case 0x52: { // REDUCE
        const args = this.popArguments()
        return this.push(call(this.pop(), args))
      }
      case 0x81: { // NEWOBJ
        const args = this.popArguments()
        return this.push(newObject(this.pop(), args))
      }
      case 0x62: { // BUILD
        const state = this.pop()
        return setState(this.top(), state)
      }
      case 0x69: { // INST
        const module = this.line()
        throw unsupported(`the opcode INST of the global ${JSON.stringify(`${module}.${this.line()}`.slice(0, 200))}`)
      }
      default: {
        const name = refusedOpcodes.get(opcode)
        if (name !== undefined) throw unsupported(`the opcode ${name}`)
        throw malformed(`the opcode ${opcode.toString(16)} at byte ${this.at - 1}`)
      }
    }
  }

  private protocol(version: number): void {
    if (version > 5) throw unsupported(`the pickle protocol ${version}`)
  }

  /** A frame is only a hint for readers of streams. */
  private frame(): void {
    const length = this.length8()
    if (this.at + length > this.bytes.length) throw this.cut()
  }

  private push(node: PickleNode): void {
    this.stack.push(node)
  }

  private pushContainer(kind: ContainerKind, items: Array<PickleNode>): void {
    this.push(new Container(kind, items))
  }

  private pop(): PickleNode {
    const node = this.top()
    this.stack.length--
    return node
  }

  private top(): PickleNode {
    const fence = this.marks.at(-1) ?? 0
    if (this.stack.length <= fence) throw malformed("the stack is empty")
    return this.stack[this.stack.length - 1]! as PickleNode // `null` is a node
  }

  private popMany(count: number): Array<PickleNode> {
    const fence = this.marks.at(-1) ?? 0
    if (this.stack.length - count < fence) throw malformed("the stack is empty")
    return this.stack.splice(this.stack.length - count)
  }

  private popToMark(): Array<PickleNode> {
    const mark = this.marks.pop()
    if (mark === undefined) throw malformed("no mark")
    return this.stack.splice(mark)
  }

  private popArguments(): ReadonlyArray<PickleNode> {
    const args = this.pop()
    if (!(args instanceof Container) || args.kind !== "tuple") throw malformed("arguments that are no tuple")
    for (const arg of args.items) this.copied += lengthOf(arg)
    this.copied += args.items.length
    if (this.copied > this.limits.maxBytes) throw tooLarge(`calls of more than ${this.limits.maxBytes} items`)
    return args.items
  }

  private extend(kind: ContainerKind, items: ReadonlyArray<PickleNode>): void {
    const target = this.top()
    if (!(target instanceof Container) || target.kind !== kind) throw malformed(`items of a ${kind} that is none`)
    for (const item of items) target.items.push(item)
  }

  private put(index: number): void {
    this.memo.set(index, this.top())
  }

  private get(index: number): void {
    const node = this.memo.get(index)
    if (node === undefined) throw malformed("a memo entry that does not exist")
    this.push(node)
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at)
    if (end === -1) throw this.cut()
    const text = this.bytes.toString("latin1", this.at, end)
    this.at = end + 1
    return text
  }

  private text(length: number): string {
    const start = this.take(length)
    return readUtf8OrSurrogates(this.bytes, start, this.at)
  }

  private asciiText(length: number): string {
    const start = this.take(length)
    return ascii(this.bytes.toString("latin1", start, this.at))
  }

  private binary(length: number): Uint8Array {
    const start = this.take(length)
    return new Uint8Array(this.bytes.subarray(start, this.at))
  }

  /** Two's complement, the lowest byte first. */
  private long(length: number): bigint {
    if (length > maxIntegerBytes) throw malformed("an integer out of range")
    const bytes = this.binary(length).reverse()
    if (length === 0) return 0n
    return BigInt.asIntN(length * 8, BigInt(`0x${Buffer.from(bytes).toString("hex")}`))
  }

  private length8(): number {
    return Number(this.bytes.readBigUInt64LE(this.take(8)))
  }

  private take(size: number): number {
    const start = this.at
    this.at += size
    if (this.at > this.bytes.length) throw this.cut()
    return start
  }

  private cut() {
    return malformed(`cut off after ${this.bytes.length} bytes`)
  }

  private u8(): number {
    return this.bytes[this.take(1)]!
  }

  private u16(): number {
    return this.bytes.readUInt16LE(this.take(2))
  }

  private u32(): number {
    return this.bytes.readUInt32LE(this.take(4))
  }
}

const even = (items: Array<PickleNode>): Array<PickleNode> => {
  if (items.length % 2 === 1) throw malformed("a key without a value")
  return items
}

const lengthOf = (node: PickleNode): number => {
  if (node instanceof Container) return node.items.length
  return typeof node === "string" || node instanceof Uint8Array ? node.length : 0
}

export const readPickle = (bytes: Uint8Array, limits = defaultLimits): PyValue => new PickleReader(bytes, limits).read()
