/**
 * The opcodes that are refused, by name. `pickleReader.ts` has the others.
 *
 * @internal
 */
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
