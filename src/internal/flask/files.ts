/**
 * Files of cachelib's `FileSystemCache`: 4 bytes with the deadline, in whole
 * seconds, and a pickle. A file is never changed, only replaced by a rename.
 *
 * cachelib takes each file of its directory for an entry, unless its name ends
 * in `.__wz_cache`, and locks nothing. The lock here is among processes of ours.
 *
 * **The lock** of a file is a directory beside it. Its holder puts what it
 * stages into a folder of its own within, reads the file, and renames. A lock
 * that is older than `lease` is renamed away by the next writer. Its holder, if
 * it still lives, can then rename nothing more: the path of its staged file is
 * gone, and the folder's name never returns. So between the holder's look at the
 * file and its rename no other process of ours has written.
 *
 * @internal
 */

import { readFileSync, renameSync } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { randomBytes } from "../crypto.js"

export interface CacheFile {
  /** In seconds since the epoch. 0: never. */
  readonly expires: number
  readonly data: Buffer
}

const headerSize = 4
const suffix = ".__wz_cache"

/** Milliseconds that a holder may take for what are a few system calls. */
const lease = 500

/** Above this a file is not read. */
export const maxBytes = 16 * 1024 * 1024

/** The file is none of cachelib's, was cut, or is too large. */
export class CorruptFile extends Error {}

const token = () => randomBytes(8).toString("hex")

const temporary = (directory: string) => path.join(directory, `tmp${token()}${suffix}`)

/** Entries, as cachelib lists them. */
export const isEntry = (name: string, countFile: string): boolean => !name.endsWith(suffix) && name !== countFile

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants

/** Undefined if there is no file. Opens no link, and does not wait at a pipe. */
export const readCacheFile = async (file: string): Promise<CacheFile | undefined> => {
  const handle = await fs.open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(absent)
  if (handle === undefined) {
    return undefined
  }
  try {
    const stats = await handle.stat()
    if (!stats.isFile() || stats.size < headerSize || stats.size > headerSize + maxBytes) {
      throw new CorruptFile("This is no file of cachelib, or it was cut or is too large.")
    }
    const bytes = await handle.readFile()
    return { expires: bytes.readUInt32LE(0), data: bytes.subarray(headerSize) }
  } finally {
    await handle.close()
  }
}

const encode = ({ data, expires }: { readonly expires: number; readonly data: Uint8Array }): Buffer => {
  const header = Buffer.alloc(headerSize)
  header.writeUInt32LE(Math.min(expires, 0xffffffff))
  return Buffer.concat([header, data])
}

/** Creates the file. False if one is there. */
export const createCacheFile = async (
  file: string,
  content: { readonly expires: number; readonly data: Uint8Array }
): Promise<boolean> => {
  const staged = temporary(path.dirname(file))
  try {
    await fs.writeFile(staged, encode(content), { flag: "wx", mode: 0o600 })
    await fs.link(staged, file)
    return true
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false
    throw error
  } finally {
    await fs.rm(staged, { force: true })
  }
}

/** What becomes of a file: another content, none, or what it was. */
export type Next = { readonly expires: number; readonly data: Uint8Array } | "remove" | "keep"

type Decide = (current: CacheFile) => Next

/**
 * Changes a file to what `decide` makes of it, while no other process of ours
 * can. Returns whether it was changed: a file that is missing never is.
 */
export const changeCacheFile = (file: string, decide: Decide): Promise<boolean> => {
  const change = (queues.get(file) ?? Promise.resolve()).then(() => changeLocked(file, decide))
  const end = change.then(() => {}, () => {})
  queues.set(file, end)
  void end.then(() => {
    if (queues.get(file) === end) queues.delete(file)
  })
  return change
}

/** The changes of a file within this process come one after the other, and need not poll for the lock. */
const queues = new Map<string, Promise<void>>()

const changeLocked = async (file: string, decide: Decide): Promise<boolean> => {
  const lock = `${file}.lock${suffix}`
  while (true) {
    await acquire(lock)
    try {
      return await changeUnder(lock, file, decide)
    } catch (error) {
      // Flask wrote or removed the file at this moment, or another process took the lock away. Look again.
      if (!(error instanceof Changed) && codeOf(error) !== "ENOENT") throw error
    }
  }
}

const changeUnder = async (lock: string, file: string, decide: Decide): Promise<boolean> => {
  const own = path.join(lock, token())
  await fs.mkdir(own)
  try {
    const current = await readCacheFile(file)
    const next = current === undefined ? "keep" : decide(current)
    if (current === undefined || next === "keep") return false
    const staged = path.join(own, "file")
    if (next !== "remove") {
      await fs.writeFile(staged, encode(next), { flag: "wx", mode: 0o600 })
    }
    // Flask takes no lock, so the last look and the rename are as close together as can be.
    if (!isStill(file, current)) throw new Changed()
    if (next === "remove") renameSync(file, staged)
    else renameSync(staged, file)
    return true
  } finally {
    // If the lock was taken away, this folder has gone with it, and the lock of that name belongs to another process.
    const isOwner = await fs.rm(own, { recursive: true }).then(() => true, () => false)
    if (isOwner) await fs.rmdir(lock).catch(() => {})
  }
}

const isStill = (file: string, seen: CacheFile): boolean => readFileSync(file).equals(encode(seen))

/** Flask has written the file since it was read. */
class Changed extends Error {}

/** Waits for the lock. A lock that is too old is taken away from its holder. */
const acquire = async (lock: string): Promise<void> => {
  const start = performance.now()
  while (true) {
    const isMade = await fs.mkdir(lock, { mode: 0o700 }).then(() => true, (error) => {
      if (codeOf(error) !== "EEXIST") throw error
      return false
    })
    if (isMade) return
    if (performance.now() - start > lease && await isOld(lock)) {
      const away = temporary(path.dirname(lock))
      await fs.rename(lock, away).catch(absent)
      await fs.rm(away, { recursive: true, force: true })
    }
    await pause(1 + Math.random() * 4)
  }
}

const isOld = async (lock: string): Promise<boolean> => {
  const stats = await fs.lstat(lock).catch(absent)
  return stats !== undefined && Date.now() - stats.ctimeMs > lease
}

/** Adds to the number of files that cachelib has counted. It counts only if it has a threshold. */
export const addToCount = (countFile: string, delta: number): Promise<boolean> =>
  changeCacheFile(countFile, (current) => {
    const count = countOf(current.data)
    return count === undefined ? "keep" : { expires: 0, data: pickledCount(Math.max(0, count + delta)) }
  })

/** Pickles of the small numbers that a count is: `K`, `M` and `J` hold 1, 2 and 4 bytes. */
const countOf = (data: Buffer): number | undefined => {
  const start = data[0] === 0x80 ? (data[2] === 0x95 ? 11 : 2) : 0
  switch (data[start]) {
    case 0x4b:
      return data[start + 1]
    case 0x4d:
      return data.length >= start + 3 ? data.readUInt16LE(start + 1) : undefined
    case 0x4a:
      return data.length >= start + 5 ? data.readInt32LE(start + 1) : undefined
    default:
      return undefined
  }
}

const pickledCount = (count: number): Buffer => {
  const bytes = Buffer.from([0x80, 5, 0x4a, 0, 0, 0, 0, 0x2e])
  bytes.writeInt32LE(count, 3)
  return bytes
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error ? String(error.code) : undefined

const absent = (error: unknown): undefined => {
  if (codeOf(error) === "ENOENT") return undefined
  throw error
}
