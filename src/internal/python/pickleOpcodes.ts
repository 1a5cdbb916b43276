/**
 * A pickle's opcodes, by name. `pickleReader.ts` has those of all protocols
 * beside what it does with them.
 *
 * @internal
 */

/** Those that are refused. */
export const refusedOpcodes = new Map<number, string>([
  [0x30, "POP"],
  [0x31, "POP_MARK"],
  [0x32, "DUP"],
  [0x50, "PERSID"],
  [0x51, "BINPERSID"],
  [0x6f, "OBJ"],
  [0x82, "EXT1"],
  [0x83, "EXT2"],
  [0x84, "EXT4"],
  [0x92, "NEWOBJ_EX"],
  [0x96, "BYTEARRAY8"],
  [0x97, "NEXT_BUFFER"],
  [0x98, "READONLY_BUFFER"]
])

/** Those that are written. */
export const op = {
  mark: 0x28,
  emptyTuple: 0x29,
  stop: 0x2e,
  binBytes: 0x42,
  shortBinBytes: 0x43,
  binFloat: 0x47,
  binInt: 0x4a,
  binInt1: 0x4b,
  binInt2: 0x4d,
  none: 0x4e,
  reduce: 0x52,
  binUnicode: 0x58,
  append: 0x61,
  build: 0x62,
  appends: 0x65,
  binGet: 0x68,
  longBinGet: 0x6a,
  setItem: 0x73,
  tuple: 0x74,
  emptyDict: 0x7d,
  emptyList: 0x5d,
  setItems: 0x75,
  proto: 0x80,
  newObject: 0x81,
  tuple1: 0x85,
  newTrue: 0x88,
  newFalse: 0x89,
  long1: 0x8a,
  long4: 0x8b,
  shortBinUnicode: 0x8c,
  emptySet: 0x8f,
  addItems: 0x90,
  frozenSet: 0x91,
  stackGlobal: 0x93,
  memoize: 0x94,
  frame: 0x95
}
