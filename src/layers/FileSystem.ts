/**
 * Sessions in the files of one directory, shared by all processes of one host.
 *
 * For a local POSIX file system with hard and symbolic links; not for NFS or
 * Windows.
 *
 * ```ts
 * import * as SessionStoreFileSystem from "effect-session/layers/FileSystem"
 *
 * const Store = SessionStoreFileSystem.layer({ directory: "/var/lib/app/sessions" })
 * ```
 *
 * **Protocol.** A record is one file that is never changed, only replaced as a
 * whole, so a reader needs no lock and sees the old record or the new one. Each
 * file carries a random `revision` of its own. Four kinds of names stand beside
 * each other in `aa/bb/`, the first two bytes of the hash:
 *
 * - `hash`: the record.
 * - `hash.random.new`: a *tool* that replaces the record, by `rename` onto it.
 * - `hash.random.old`: a tool that removes the record: a directory into which
 *   the record is renamed.
 * - `hash.revision.n`: the n-th *claim* on a revision: a symbolic link that
 *   names the claimant's tool.
 *
 * To create is one `link` of a tool to `hash`, which fails when anything is
 * there. To move a record on from revision R: (1) make a tool; (2) take the first
 * free claim on R, after having seen that the tool of every earlier claim is
 * gone, or else having deleted it, after `lease`; (3) look whether the record
 * still is R; (4) rename, which uses up the tool and fails without it.
 *
 * **Why at most one rename succeeds per revision**, wherever processes are
 * killed or stopped, for however long. A claim on R is deleted only after the
 * record was seen to be no longer R, and a revision never returns. So while the
 * record is R, claims are in a line, each with one holder, and before the holder
 * of claim n+1 looked (3), the tool of claim n was gone, for good: its name is
 * random. Say the holder of n renamed it before: then n+1 sees another revision
 * and gives up. Say it did not: then it never can. A claim that is taken once
 * the record is no longer R fails at (3). Hence a late writer changes nothing and
 * revives nothing, a clock is needed for progress only, and what a crash leaves
 * behind (a tool, claims) is in nobody's way: claims on the current revision
 * cost the next writer the lease, once. `sweep` removes the rest.
 *
 * **Durable.** A tool is synced before it is used, the directory before a write
 * is answered.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import * as path from "node:path"
import { equalBytes, randomBytes, sha256 } from "../internal/crypto.js"
import { sweepForever } from "../internal/sweep.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Entry, SessionStoreErrorReason, Stored } from "../SessionStore.js"
import { SessionScan, SessionStore, SessionStoreError, SessionSweeper, Version } from "../SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Where the files are. It belongs to this store alone, and is created with
   * mode 0700 if it is missing. An existing directory must belong to the user of
   * the process, and only that user may write to it. The owner of a mounted volume
   * is often root: name a directory inside the volume. If another directory takes
   * its place (a lost mount), every operation is `Rejected` until the first one is
   * back.
   */
  readonly directory: string
  /**
   * The most bytes of data in one record: 16 MiB by default, at most 1 GiB.
   * Writing more is `TooLarge`; a file with more is `Corrupt`, and not read.
   */
  readonly maxBytes?: number | undefined
  /**
   * Whether a write is answered only once it is on the disk; true by default.
   * Without, a write takes about half the time, and a crash of the process still
   * harms nothing; but after a power failure the last writes may be undone,
   * logouts included, and records may be `Corrupt`.
   */
  readonly durable?: boolean | undefined
  /**
   * How often expired records are removed: 10 minutes by default, jittered, at
   * least one second. A sweep opens every record, which takes about 0.2 ms each.
   * `Duration.infinity` leaves it to your own call of `SessionSweeper`, in one
   * process of many for instance.
   */
  readonly sweepInterval?: Duration.DurationInput | undefined
}

/**
 * Makes the store, tries it out on a record of its own, and sweeps it in the
 * background until the scope closes.
 *
 * Fails with `SessionConfigError` when an option is out of its bounds, and when
 * the directory cannot be created, is no directory, belongs to somebody else,
 * is writable by others, or does not bear a write.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Context.Context<SessionStore | SessionSweeper | SessionScan>, SessionConfigError, Scope.Scope> {
  const { durable, maxBytes, sweepInterval } = yield* checkOptions(options)
  const root = yield* openRoot(options.directory)

  /** Fails unless the root still is the directory that it was. */
  const checkRoot = call<fs.BigIntStats>((done) => fs.lstat(root.directory, { bigint: true }, done)).pipe(
    Effect.flatMap(({ dev, ino }) =>
      dev === root.dev && ino === root.ino ? Effect.void : fail("the directory was replaced")
    ),
    // An ENOENT of the root is an outage, one of a file is an answer.
    Effect.mapError((fault) => ({ ...fault, code: undefined }))
  )

  /**
   * Before a write: the root is the same, and no symbolic link leads out of it.
   * False when the record's directory is not there.
   */
  const enter = (slot: Slot): Effect.Effect<boolean, Fault> =>
    checkRoot.pipe(
      Effect.andThen(call<string>((done) => fs.realpath.native(slot.directory, done))),
      Effect.flatMap((real) =>
        real === slot.directory ? Effect.succeed(true) : fail("a link leads out of the directory")
      ),
      Effect.catchIf((fault) => fault.code === "ENOENT", () => Effect.succeed(false))
    )

  const sync = (directory: string): Effect.Effect<void, Fault> => durable ? syncDirectory(directory) : Effect.void

  const makeDirectories = (slot: Slot) =>
    Effect.gen(function*() {
      const parent = path.dirname(slot.directory)
      yield* makeDirectory(parent)
      yield* makeDirectory(slot.directory)
      yield* sync(parent)
      yield* sync(root.directory)
    })

  /** Writes a file whose rename replaces the record. */
  const makeReplacer = (tool: string, bytes: Uint8Array) =>
    Effect.acquireUseRelease(
      call<number>((done) => fs.open(tool, createFlags, 0o600, done)),
      (fd) => Effect.andThen(writeAll(fd, bytes), durable ? call<void>((done) => fs.fsync(fd, done)) : Effect.void),
      close
    )

  /** Puts the finished replacer in the place of `revision`. */
  const replaceBy = (tool: string, slot: Slot, revision: string) =>
    move(slot, revision, tool, call<void>((done) => fs.rename(tool, slot.record, done)), sync(slot.directory))

  /** Removes `revision`. */
  const bury = (slot: RecordFile, revision: string): Effect.Effect<boolean, Fault> => {
    const tool = `${slot.record}.${token()}.old`
    return Effect.ensuring(
      Effect.andThen(
        call<void>((done) => fs.mkdir(tool, 0o700, done)),
        move(
          slot,
          revision,
          tool,
          call<void>((done) => fs.rename(slot.record, buried(tool), done)),
          sync(slot.directory)
        )
      ),
      discard(tool)
    )
  }

  const insert = Effect.fnUntraced(function*(key: string, data: Uint8Array, expiresAt: number) {
    const now = yield* Clock.currentTimeMillis
    const slot = makeSlot(root.directory, key)
    const version = token()
    if (slot.key.length > maxKeyBytes) return yield* fail("the key is too long")
    const bytes = encode(slot, { revision: token(), version, expiresAt }, data)
    const attempt = Effect.suspend(() => {
      const tool = `${slot.record}.${token()}.new`
      return Effect.gen(function*() {
        if (!(yield* enter(slot))) yield* makeDirectories(slot)
        yield* makeReplacer(tool, bytes)
        if (yield* linkNew(tool, slot.record)) {
          yield* Effect.mapError(sync(slot.directory), afterCommit)
          return decided(true)
        }
        const current = yield* readHeader(slot, maxBytes)
        if (Option.isNone(current)) return undecided
        if (current.value.expiresAt > now) return decided(false)
        return (yield* replaceBy(tool, slot, current.value.revision)) ? decided(true) : undecided
      }).pipe(Effect.ensuring(discard(tool)))
    })
    return (yield* untilDecided(attempt)) ? Option.some(Version(version)) : Option.none()
  })

  const replace = Effect.fnUntraced(function*(key: string, expected: Version, data: Uint8Array, expiresAt: number) {
    const now = yield* Clock.currentTimeMillis
    const slot = makeSlot(root.directory, key)
    const version = token()
    const attempt = Effect.gen(function*() {
      yield* enter(slot)
      const current = yield* readHeader(slot, maxBytes)
      if (!isLive(current, now, expected)) return decided(false)
      return yield* rewrite(slot, current.value, { version, expiresAt }, data)
    })
    return (yield* untilDecided(attempt)) ? Option.some(Version(version)) : Option.none()
  })

  const touch = Effect.fnUntraced(function*(key: string, { version }: Stored, expiresAt: number) {
    const now = yield* Clock.currentTimeMillis
    const slot = makeSlot(root.directory, key)
    const attempt = Effect.gen(function*() {
      yield* enter(slot)
      const current = yield* readRecord(slot, maxBytes)
      if (!isLive(current, now, version)) return decided(false)
      return yield* rewrite(slot, current.value, { version, expiresAt }, current.value.data)
    })
    return yield* untilDecided(attempt)
  })

  const rewrite = Effect.fnUntraced(function*(
    slot: Slot,
    current: Header,
    change: Pick<Header, "version" | "expiresAt">,
    data: Uint8Array
  ) {
    const tool = `${slot.record}.${token()}.new`
    return yield* Effect.ensuring(
      Effect.andThen(
        makeReplacer(tool, encode(slot, { revision: token(), ...change }, data)),
        replaceBy(tool, slot, current.revision)
      ),
      discard(tool)
    ).pipe(Effect.map((done) => done ? decided(true) : undecided))
  })

  const remove = Effect.fnUntraced(function*(key: string, expected?: Version) {
    const now = yield* Clock.currentTimeMillis
    const slot = makeSlot(root.directory, key)
    const attempt = Effect.gen(function*() {
      yield* enter(slot)
      const current = yield* readHeader(slot, maxBytes)
      if (!isLive(current, now, expected)) return decided(false)
      return (yield* bury(slot, current.value.revision)) ? decided(true) : undecided
    })
    return yield* untilDecided(attempt)
  })

  const load = Effect.fnUntraced(function*(key: string) {
    const now = yield* Clock.currentTimeMillis
    const slot = makeSlot(root.directory, key)
    const found = yield* readRecord(slot, maxBytes)
    // Last, so that a root that was lost meanwhile is not taken for a missing record.
    yield* checkRoot
    return isLive(found, now)
      ? Option.some<Stored>({
        data: found.value.data,
        version: Version(found.value.version),
        expiresAt: found.value.expiresAt
      })
      : Option.none()
  })

  const checkSize = (operation: "insert" | "replace", data: Uint8Array) =>
    data.length <= maxBytes
      ? Effect.void
      : new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })

  const store = SessionStore.of({
    load: (key) => storeOperation("load", load(key)),
    insert: (key, data, expiresAt) =>
      Effect.andThen(checkSize("insert", data), storeOperation("insert", insert(key, data, expiresAt))),
    replace: (key, expected, data, expiresAt) =>
      Effect.andThen(checkSize("replace", data), storeOperation("replace", replace(key, expected, data, expiresAt))),
    touch: (key, current, expiresAt) => storeOperation("touch", touch(key, current, expiresAt)),
    remove: (key, expected) => storeOperation("remove", remove(key, expected))
  })

  /** One of the 65,536 directories that hold files. */
  const sweepDirectory = Effect.fnUntraced(function*(directory: string, now: number) {
    let swept = 0
    const entries = yield* list(directory)
    for (const { name } of entries) {
      const slot = { hash: name.slice(0, 64), directory, record: path.join(directory, name.slice(0, 64)) }
      if (isRecord.test(name)) {
        if (yield* sweepRecord(slot, now)) swept++
      } else if (isLeftover.test(name)) {
        yield* sweepLeftover(slot, path.join(directory, name))
      }
    }
    if (entries.length === 0) yield* Effect.ignore(call<void>((done) => fs.rmdir(directory, done)))
    return swept
  })

  const sweepRecord = Effect.fnUntraced(
    function*(slot: RecordFile, now: number) {
      const current = yield* readHeader(slot, maxBytes)
      return Option.isSome(current) && !(current.value.expiresAt > now) && (yield* bury(slot, current.value.revision))
    },
    Effect.catchIf(isPassing, () => Effect.succeed(false)),
    Effect.uninterruptible
  )

  /** A tool may go at any time, a claim only when its revision has passed. */
  const sweepLeftover = Effect.fnUntraced(
    function*(slot: RecordFile, leftover: string) {
      const { mtimeMs } = yield* call<fs.Stats>((done) => fs.lstat(leftover, done))
      if (Date.now() - mtimeMs < leftoverAge) return
      if (isTool.test(leftover)) return yield* discard(leftover)
      const current = yield* readHeader(slot, maxBytes)
      if (Option.isSome(current) && leftover.startsWith(`${slot.record}.${current.value.revision}.`)) return
      yield* discard(leftover)
    },
    Effect.catchIf(isPassing, () => Effect.void),
    Effect.uninterruptible
  )

  const sweeper = SessionSweeper.of({
    sweep: Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      let swept = 0
      yield* checkRoot
      for (const outer of yield* listDirectories(root.directory)) {
        for (const inner of yield* listDirectories(outer)) {
          swept += yield* sweepDirectory(inner, now)
        }
      }
      return swept
    }).pipe(Effect.mapError(toStoreError("sweep")))
  })

  /** None for a file that has just gone, has expired or is none of ours. */
  const readEntry = Effect.fnUntraced(
    function*(file: RecordFile) {
      const found = yield* readRecord(file, maxBytes)
      const now = yield* Clock.currentTimeMillis
      return isLive(found, now)
        ? Option.some<Entry>({ key: found.value.key, data: found.value.data, expiresAt: found.value.expiresAt })
        : Option.none()
    },
    Effect.catchIf(isPassing, () => Effect.succeedNone),
    Effect.uninterruptible
  )

  const listRecords = (directory: string) =>
    Effect.map(list(directory), (entries) =>
      entries
        .filter(({ name }) => isRecord.test(name))
        .map(({ name }): RecordFile => ({ hash: name, directory, record: path.join(directory, name) })))

  // One directory of the fan-out after the other: of a million records, some 15 at a time.
  const scan = SessionScan.of({
    entries: Stream.execute(checkRoot).pipe(
      Stream.concat(Stream.fromIterableEffect(listDirectories(root.directory))),
      Stream.mapEffect(listDirectories),
      Stream.mapConcat((directories) => directories),
      Stream.mapEffect(listRecords),
      Stream.mapConcat((files) => files),
      Stream.mapEffect(readEntry),
      Stream.filterMap((entry) => entry),
      // A root that was lost meanwhile is not one without records.
      Stream.concat(Stream.execute(checkRoot)),
      Stream.mapError(toStoreError("scan"))
    )
  })

  yield* tryOut(store)
  if (Duration.isFinite(sweepInterval)) yield* Effect.forkScoped(sweepForever(sweeper, sweepInterval))
  return Context.make(SessionStore, store).pipe(Context.add(SessionSweeper, sweeper), Context.add(SessionScan, scan))
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SessionStore | SessionSweeper | SessionScan, SessionConfigError> =>
  Layer.scopedContext(make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionSweeper | SessionScan, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scopedContext(Effect.flatMap(Config.unwrap(options), make))

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

const misconfigured = (option: keyof Options, message: string, cause?: unknown) =>
  new SessionConfigError({ option, message, cause })

const checkOptions = Effect.fnUntraced(function*(options: Options) {
  const maxBytes = options.maxBytes ?? 16 * 1024 * 1024
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1 || maxBytes > 1024 ** 3) {
    return yield* misconfigured("maxBytes", "The largest record must be a whole number of bytes from 1 to 1 GiB.")
  }
  const sweepInterval = Option.getOrElse(
    Duration.decodeUnknown(options.sweepInterval ?? "10 minutes"),
    () => Duration.zero
  )
  if (Duration.lessThan(sweepInterval, "1 second")) {
    return yield* misconfigured(
      "sweepInterval",
      "The interval must be a duration of at least 1 second, or Duration.infinity to switch it off."
    )
  }
  return { durable: options.durable ?? true, maxBytes, sweepInterval }
})

/** Creates the directory when it is missing, and says which one it is. */
const openRoot = Effect.fnUntraced(function*(given: string) {
  const name = given.trim() // a secret from a file often ends in a newline
  if (process.geteuid === undefined) {
    return yield* misconfigured("directory", "The file store needs a POSIX file system: it does not run on Windows.")
  }
  if (name === "" || name.includes("\0")) {
    return yield* misconfigured("directory", "The directory needs a name.")
  }
  const cannot = (cause: Fault) =>
    misconfigured(
      "directory",
      `The directory cannot be created or opened${cause.code === undefined ? "" : ` (${cause.code})`}. ` +
        "The user of the process needs write permission in the directory above it.",
      cause.cause
    )
  yield* call<unknown>((done) => fs.mkdir(name, { recursive: true, mode: 0o700 }, done)).pipe(Effect.mapError(cannot))
  const directory = yield* call<string>((done) => fs.realpath.native(name, done)).pipe(Effect.mapError(cannot))
  const stats = yield* call<fs.BigIntStats>((done) => fs.lstat(directory, { bigint: true }, done)).pipe(
    Effect.mapError(cannot)
  )
  if (!stats.isDirectory()) {
    return yield* misconfigured("directory", "There is something else than a directory under this name.")
  }
  if (Number(stats.uid) !== process.geteuid() || (Number(stats.mode) & writableByOthers) !== 0) {
    return yield* misconfigured(
      "directory",
      "The directory must belong to the user of the process, and only that user may write to it: " +
        "use chown, and chmod 700. If it is a mounted volume, whose owner is root, name a directory inside it, " +
        "like /volume/sessions. The store creates that directory."
    )
  }
  return { directory, dev: stats.dev, ino: stats.ino }
})

/** A file system that is read-only, full or without links is found when the Layer is built. */
const tryOut = Effect.fnUntraced(
  function*(store: SessionStore["Type"]) {
    const key = `try out ${token()}`
    yield* store.insert(key, new Uint8Array(), (yield* Clock.currentTimeMillis) + 60_000)
    yield* store.remove(key)
  },
  Effect.mapError((error) =>
    misconfigured("directory", "A record cannot be written to and removed from the directory.", error)
  )
)

// -----------------------------------------------------------------------------
// names
// -----------------------------------------------------------------------------

interface RecordFile {
  readonly hash: string
  readonly directory: string
  /** The path of the record; its tools and claims add a suffix. */
  readonly record: string
}

interface Slot extends RecordFile {
  readonly key: Buffer
}

/**
 * Any key will do: only its hash becomes a name. Of the UTF-16 units, since
 * UTF-8 maps all unpaired surrogates to one character.
 */
const makeSlot = (root: string, key: string): Slot => {
  const bytes = Buffer.from(key, "utf16le")
  const hash = sha256(bytes).toString("hex")
  const directory = path.join(root, hash.slice(0, 2), hash.slice(2, 4))
  return { key: bytes, hash, directory, record: path.join(directory, hash) }
}

/** 64 random bits in lower case: names must differ on file systems that fold case. */
const token = (): string => randomBytes(8).toString("hex")

const isFanOut = /^[0-9a-f]{2}$/
const isRecord = /^[0-9a-f]{64}$/
const isTool = /[0-9a-f]{64}\.[0-9a-f]{16}\.(new|old)$/
const isLeftover = /^[0-9a-f]{64}\.[0-9a-f]{16}\.(new|old|[0-9]+)$/

/** Where a `.old` tool puts the record. */
const buried = (tool: string): string => path.join(tool, "record")

// -----------------------------------------------------------------------------
// claims
// -----------------------------------------------------------------------------

/** How long, in milliseconds, a claimant may take for its two steps. */
const lease = 500

/** From what age, in milliseconds, tools and claims count as left behind. */
const leftoverAge = 60 * 60 * 1000

/**
 * Lets `tool` do `act` while the record is `revision` and nobody else can move
 * it. False when it was not done.
 */
const move = Effect.fnUntraced(function*(
  slot: RecordFile,
  revision: string,
  tool: string,
  act: Effect.Effect<void, Fault>,
  sync: Effect.Effect<void, Fault>
) {
  const claims = yield* claim(slot, revision, tool)
  // Only a sight of something else, or of nothing, lets the claims go: a failure must not.
  const current = yield* readHeader(slot, Infinity)
  const same = Option.isSome(current) && current.value.revision === revision
  if (same) {
    yield* act
    yield* Effect.mapError(sync, afterCommit)
  }
  yield* Effect.forEach(claims, discard, { discard: true })
  return same
})

/** Takes the first free claim, and answers the names of all up to it. */
const claim = Effect.fnUntraced(function*(slot: RecordFile, revision: string, tool: string) {
  const claims: Array<string> = []
  while (true) {
    const name = `${slot.record}.${revision}.${claims.length + 1}`
    claims.push(name)
    if (yield* linkSymbolic(path.basename(tool), name)) return claims
    yield* outlast(slot, name)
  }
})

/** Comes back when the tool of a rival's claim is gone, or sees to it after the lease. */
const outlast = Effect.fnUntraced(function*(slot: RecordFile, name: string) {
  const rival = path.join(slot.directory, yield* call<string>((done) => fs.readlink(name, done)))
  if (!rival.startsWith(slot.record) || !isTool.test(rival)) return yield* fail("this is no claim of ours")
  const until = performance.now() + lease
  while (yield* exists(rival)) {
    if (performance.now() > until) return yield* disable(rival)
    yield* pause(1 + Math.random() * 4)
  }
})

/**
 * Deletes the tool under its owner's hands. A `.old` tool that is not empty has
 * done its work, and can do no more.
 */
const disable = (tool: string): Effect.Effect<void, Fault> =>
  tool.endsWith(".old")
    ? passing(call((done) => fs.rmdir(tool, done)), "ENOENT", "ENOTEMPTY", "EEXIST")
    : passing(call((done) => fs.unlink(tool, done)), "ENOENT")

/** Cleans up, as well as it can: the sweep comes later. */
const discard = (name: string): Effect.Effect<void> =>
  name.endsWith(".old")
    ? Effect.zipRight(
      Effect.ignore(call<void>((done) => fs.unlink(buried(name), done))),
      Effect.ignore(call<void>((done) => fs.rmdir(name, done)))
    )
    : Effect.ignore(call<void>((done) => fs.unlink(name, done)))

/** By the real clock: this waits for another process, which no test clock drives. */
const pause = (millis: number) =>
  Effect.async<void>((resume) => {
    setTimeout(() => resume(Effect.void), millis)
  })

/**
 * Tries until it knows. Undecided is an attempt that another process got ahead
 * of, and so is one that missed a file in the middle (`ENOENT`): its tool or
 * directory was taken away. That the root is there, every attempt checks first.
 */
const untilDecided = (attempt: Effect.Effect<Option.Option<boolean>, Fault>): Effect.Effect<boolean, Fault> =>
  attempt.pipe(
    Effect.catchIf(
      (fault) => fault.code === "ENOENT" && fault.reason !== "Unavailable",
      () => Effect.succeed(undecided)
    ),
    Effect.flatMap(Option.match({ onNone: () => untilDecided(attempt), onSome: Effect.succeed }))
  )

const undecided = Option.none<boolean>()
const decided = Option.some<boolean>

// -----------------------------------------------------------------------------
// records
// -----------------------------------------------------------------------------

/**
 * What stands before the data, 100 bytes, integers big-endian: magic and format
 * version (8), hash of the key (32), revision (8), version (8), expiresAt
 * (8, a double), length of the data (4) and of the key (4), checksum of the
 * data (16), checksum of all that (12). Checksums are the first bytes of a
 * SHA-256. Behind the data stands the key, which its hash vouches for.
 */
interface Header {
  readonly revision: string
  readonly version: string
  readonly expiresAt: number
}

const headerSize = 100
const maxKeyBytes = 1024 * 1024
const magic = Buffer.from("effsess\x01", "latin1")

const encode = ({ hash, key }: Slot, header: Header, data: Uint8Array): Uint8Array => {
  const bytes = Buffer.alloc(headerSize + data.length + key.length)
  magic.copy(bytes)
  bytes.write(hash, 8, "hex")
  bytes.write(header.revision, 40, "hex")
  bytes.write(header.version, 48, "hex")
  bytes.writeDoubleBE(header.expiresAt, 56)
  bytes.writeUInt32BE(data.length, 64)
  bytes.writeUInt32BE(key.length, 68)
  sha256(data).copy(bytes, 72, 0, 16)
  sha256(bytes.subarray(0, 88)).copy(bytes, 88, 0, 12)
  bytes.set(data, headerSize)
  bytes.set(key, headerSize + data.length)
  return bytes
}

/** None when these are not the bytes of this record in a file of `size`. */
const decode = (bytes: Buffer, hash: string, size: number): Option.Option<Header> => {
  const sound = bytes.length >= headerSize
    && magic.equals(bytes.subarray(0, 8))
    && equalBytes(sha256(bytes.subarray(0, 88)).subarray(0, 12), bytes.subarray(88, headerSize))
    && bytes.toString("hex", 8, 40) === hash
    && headerSize + bytes.readUInt32BE(64) + bytes.readUInt32BE(68) === size
  return sound
    ? Option.some({
      revision: bytes.toString("hex", 40, 48),
      version: bytes.toString("hex", 48, 56),
      expiresAt: bytes.readDoubleBE(56)
    })
    : Option.none()
}

const isLive = <A extends Header>(
  found: Option.Option<A>,
  now: number,
  expected?: string
): found is Option.Some<A> =>
  Option.isSome(found)
  && found.value.expiresAt > now
  && (expected === undefined || found.value.version === expected)

/** The record without its data, which stays unread and unchecked. None: no file. */
const readHeader = (slot: RecordFile, maxBytes: number): Effect.Effect<Option.Option<Header>, Fault> =>
  readFile(
    slot,
    maxBytes,
    (fd, size) =>
      Effect.flatMap(
        readBytes(fd, headerSize),
        (bytes) => Effect.mapError(decode(bytes, slot.hash, size), () => corrupt)
      )
  )

const readRecord = (slot: RecordFile, maxBytes: number) =>
  readFile(slot, maxBytes, (fd, size) =>
    Effect.flatMap(readBytes(fd, size), (bytes) => {
      const header = decode(bytes, slot.hash, size)
      if (Option.isNone(header)) return Effect.fail(corrupt)
      const behind = headerSize + bytes.readUInt32BE(64)
      const data = new Uint8Array(bytes.buffer, bytes.byteOffset + headerSize, behind - headerSize)
      const key = bytes.subarray(behind)
      return data.length <= maxBytes
          && equalBytes(sha256(data).subarray(0, 16), bytes.subarray(72, 88))
          && sha256(key).toString("hex") === slot.hash
        ? Effect.succeed({ ...header.value, data, key: key.toString("utf16le") })
        : Effect.fail(corrupt)
    }))

/**
 * Opens the record's file for `use`, unless it is a link, a pipe, a device,
 * somebody else's or open to others, or over the limit. Never blocks at a pipe.
 */
const readFile = <A>(
  slot: RecordFile,
  maxBytes: number,
  use: (fd: number, size: number) => Effect.Effect<A, Fault>
): Effect.Effect<Option.Option<A>, Fault> =>
  Effect.acquireUseRelease(
    call<number>((done) => fs.open(slot.record, readFlags, done)),
    (fd) =>
      Effect.flatMap(call<fs.Stats>((done) => fs.fstat(fd, done)), (stats) =>
        stats.isFile()
          && stats.uid === process.geteuid!()
          && (stats.mode & writableByOthers) === 0
          && stats.size >= headerSize
          && stats.size - headerSize <= maxBytes + maxKeyBytes
          ? use(fd, stats.size)
          : Effect.fail(corrupt)),
    close
  ).pipe(
    Effect.asSome,
    Effect.catchIf((fault) => fault.code === "ENOENT", () => Effect.succeedNone),
    Effect.mapError((fault) => fault.code === "ELOOP" || fault.code === "ENXIO" ? corrupt : fault)
  )

// -----------------------------------------------------------------------------
// system calls
// -----------------------------------------------------------------------------

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants
const createFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
const readFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
const writableByOthers = 0o022

/** A system call that failed. */
interface Fault {
  readonly reason: SessionStoreErrorReason
  readonly code: string | undefined
  readonly cause?: unknown
}

const corrupt: Fault = { reason: "Corrupt", code: undefined }

const fail = (message: string): Effect.Effect<never, Fault> =>
  Effect.fail({ reason: "Rejected", code: undefined, cause: new Error(message) })

/** The write is in its place, but may not be on the disk. */
const afterCommit = (fault: Fault): Fault => ({ ...fault, reason: "Unavailable" })

const call = <A>(
  run: (done: (error: NodeJS.ErrnoException | null, value?: A) => void) => void
): Effect.Effect<A, Fault> =>
  Effect.async((resume) =>
    run((error, value) =>
      resume(
        error === null
          // The callback of this call has this value, which for a void call is undefined.
          ? Effect.succeed(value as A)
          : Effect.fail({ reason: reasonOf(error), code: error.code, cause: error })
      )
    )
  )

const reasonOf = ({ code }: NodeJS.ErrnoException): SessionStoreErrorReason =>
  code === "EMFILE" || code === "ENFILE" ? "Throttled" : "Rejected"

const passing = (effect: Effect.Effect<void, Fault>, ...codes: ReadonlyArray<string>): Effect.Effect<void, Fault> =>
  Effect.catchIf(effect, ({ code }) => code !== undefined && codes.includes(code), () => Effect.void)

/** What the sweep passes over: a file that has just gone, and one that is not ours. */
function isPassing(fault: Fault): boolean {
  return fault.code === "ENOENT" || fault.reason === "Corrupt"
}

const toStoreError = (operation: SessionStoreError["operation"]) => ({ cause, reason }: Fault) =>
  new SessionStoreError({ reason, operation, cause })

/** Whole or not at all: half a write would leave a tool and a claim behind. */
const storeOperation = <A>(
  operation: SessionStoreError["operation"],
  effect: Effect.Effect<A, Fault>
): Effect.Effect<A, SessionStoreError> => Effect.uninterruptible(Effect.mapError(effect, toStoreError(operation)))

const close = (fd: number) => Effect.ignore(call<void>((done) => fs.close(fd, done)))

const exists = (name: string) =>
  Effect.as(call<fs.Stats>((done) => fs.lstat(name, done)), true).pipe(
    Effect.catchIf((fault) => fault.code === "ENOENT", () => Effect.succeed(false))
  )

/** False when there is something already. */
const unlessExists = (effect: Effect.Effect<void, Fault>) =>
  Effect.as(effect, true).pipe(Effect.catchIf((fault) => fault.code === "EEXIST", () => Effect.succeed(false)))

const linkNew = (from: string, to: string) => unlessExists(call((done) => fs.link(from, to, done)))

const linkSymbolic = (target: string, name: string) => unlessExists(call((done) => fs.symlink(target, name, done)))

const makeDirectory = Effect.fnUntraced(function*(name: string) {
  if (yield* unlessExists(call((done) => fs.mkdir(name, 0o700, done)))) return
  const stats = yield* call<fs.Stats>((done) => fs.lstat(name, done))
  if (!stats.isDirectory()) yield* fail("there is no directory, but something else")
})

const syncDirectory = (name: string): Effect.Effect<void, Fault> =>
  Effect.acquireUseRelease(
    call<number>((done) => fs.open(name, O_RDONLY, done)),
    (fd) => call<void>((done) => fs.fsync(fd, done)),
    close
  ).pipe(
    // A sweep has removed it, empty: then that is what has to last.
    Effect.catchIf((fault) => fault.code === "ENOENT", () => syncDirectory(path.dirname(name)))
  )

const writeAll = (fd: number, bytes: Uint8Array): Effect.Effect<void, Fault> =>
  Effect.flatMap(
    call<number>((done) => fs.write(fd, bytes, 0, bytes.length, null, done)),
    (written) => written < bytes.length ? writeAll(fd, bytes.subarray(written)) : Effect.void
  )

/** The first `size` bytes, fewer where the file ends. */
const readBytes = Effect.fnUntraced(function*(fd: number, size: number) {
  const bytes = Buffer.allocUnsafeSlow(size)
  let length = 0
  while (length < size) {
    const read = yield* call<number>((done) => fs.read(fd, bytes, length, size - length, length, done))
    if (read === 0) break
    length += read
  }
  return bytes.subarray(0, length)
})

const list = (directory: string) =>
  call<Array<fs.Dirent>>((done) => fs.readdir(directory, { withFileTypes: true }, done)).pipe(
    Effect.catchIf((fault) => fault.code === "ENOENT", () => Effect.succeed([]))
  )

const listDirectories = (directory: string) =>
  Effect.map(list(directory), (entries) =>
    entries
      .filter((entry) => isFanOut.test(entry.name) && entry.isDirectory())
      .map((entry) => path.join(directory, entry.name)))
