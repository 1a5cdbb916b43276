import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { sweepForever } from "../../src/internal/sweep.js"
import * as FileSystem from "../../src/layers/FileSystem.js"
import { SessionStore, SessionStoreError, SessionSweeper, Version } from "../../src/SessionStore.js"
import * as Calls from "./file-calls.js"

const bytes = (text: string) => new Uint8Array(Buffer.from(text))
const text = (found: Option.Option<{ readonly data: Uint8Array }>) =>
  Option.getOrUndefined(Option.map(found, ({ data }) => Buffer.from(data).toString()))

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "file-store-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

const open = (options: FileSystem.Options) =>
  Effect.map(FileSystem.make({ sweepInterval: Duration.infinity, ...options }), (context) => ({
    ...Context.get(context, SessionStore),
    sweep: Context.get(context, SessionSweeper).sweep,
    directory: options.directory
  }))

/** A store on a directory of its own. */
const fresh = (options?: Partial<FileSystem.Options>) =>
  Effect.flatMap(temporary, (directory) => open({ directory, ...options }))

type Store = Effect.Effect.Success<ReturnType<typeof open>>

/** All paths below the directory, directories apart. */
const files = (directory: string): Array<string> =>
  fs.readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory() || entry.name.endsWith(".old"))
    .map((entry) => path.join(entry.parentPath, entry.name))

const record = (store: Store) => {
  const found = files(store.directory).filter((file) => /\/[0-9a-f]{64}$/.test(file))
  expect(found).toHaveLength(1)
  return found[0]!
}

const at = (now: number) => {
  const clock = Clock.make()
  return Effect.withClock({ ...clock, currentTimeMillis: Effect.succeed(now), unsafeCurrentTimeMillis: () => now })
}

const realTime = (millis: number) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))

const leave = Effect.addFinalizer(() => Effect.sync(() => Calls.setHook(undefined)))

/** The lease is over when next looked at. */
const hurry = Effect.acquireRelease(
  Effect.sync(() => {
    const { now } = performance
    let ahead = 0
    performance.now = () => now.call(performance) + (ahead += 1000)
    return now
  }),
  (now) => Effect.sync(() => void (performance.now = now))
)

/** As if what is left lying about were older than an hour. */
const age = (directory: string) => {
  const then = Date.now() / 1000 - 2 * 3600
  for (const file of files(directory)) fs.lutimesSync(file, then, then)
}

/**
 * Starts `operation` and stops it before call `step`. What it did is known by
 * `fiber`, once `resume` was called; `stopped` is false when it ended before.
 */
const stopping = <A, E>(operation: Effect.Effect<A, E>, step: number) =>
  Effect.gen(function*() {
    const stop = Calls.stopAt(step)
    const fiber = yield* Effect.forkDaemon(operation)
    const ended = Effect.runPromise(Fiber.await(fiber)).then(() => undefined)
    const stopped = yield* Effect.promise(() => Promise.race([stop, ended]))
    Calls.setHook(undefined)
    return {
      stopped: stopped !== undefined,
      name: stopped?.name,
      resume: Effect.suspend(() => {
        stopped?.resume()
        return Fiber.join(fiber)
      })
    }
  })

/** Runs `body` for step 1, 2, … until it says that the operation has no such step. */
const everyStep = <E, R>(body: (step: number) => Effect.Effect<boolean, E, R>) =>
  Effect.gen(function*() {
    let step = 1
    while (yield* body(step)) step++
    return step - 1
  })

beforeAll(() => Calls.install())

describe("the file store", () => {
  it.scoped("keeps a record over a restart", () =>
    Effect.gen(function*() {
      const first = yield* fresh()
      const version = Option.getOrThrow(yield* first.insert("a", bytes("one"), 1000))
      const second = yield* open({ directory: first.directory })
      expect(Option.getOrThrow(yield* second.load("a"))).toStrictEqual({ data: bytes("one"), version, expiresAt: 1000 })
    }))

  it.scoped("moves the deadline without data or version", () =>
    Effect.gen(function*() {
      const store = yield* fresh()
      yield* store.insert("a", bytes("one"), 1000)
      const stored = Option.getOrThrow(yield* store.load("a"))
      expect(yield* store.touch("a", { ...stored, data: bytes("forged") }, 2000)).toBe(true)
      expect(Option.getOrThrow(yield* store.load("a"))).toStrictEqual({ ...stored, expiresAt: 2000 })
    }))

  it.scoped("keeps the files to their owner, and leaves nothing of a removed record", () =>
    Effect.gen(function*() {
      const parent = yield* temporary
      const store = yield* open({ directory: path.join(parent, "deep", "sessions") })
      const version = Option.getOrThrow(yield* store.insert("a", bytes("one"), 1000))
      yield* store.replace("a", version, bytes("two"), 1000)
      for (const name of fs.readdirSync(parent, { recursive: true, encoding: "utf8" })) {
        const { mode } = fs.statSync(path.join(parent, name))
        expect(mode & 0o077, name).toBe(0)
      }
      expect(files(store.directory)).toEqual([record(store)])
      expect(yield* store.remove("a")).toBe(true)
      expect(files(store.directory)).toEqual([])
    }))

  it.scoped("H-13 H-14 H-16 REG-E2 REG-E3: a key is never a path, and no two are one", () =>
    Effect.gen(function*() {
      const parent = yield* temporary
      const store = yield* open({ directory: path.join(parent, "sessions"), durable: false })
      const keys = [
        "",
        ".",
        "..",
        "../x",
        "..%2fx",
        "%2e%2e%2fx",
        "..\\x",
        "....//x",
        "x/../../y",
        "./x",
        "x/",
        "../".repeat(100),
        "/etc/passwd",
        "C:\\x",
        "\\\\host\\share",
        "file:///x",
        "~root",
        "CON",
        "NUL",
        "x:ads",
        "x",
        "x.",
        "x ",
        "X",
        "-rf",
        "\0",
        "x\0",
        "\r\n",
        "\ud800",
        "\ud801",
        "\ufffd",
        "é",
        "e\u0301",
        "k".repeat(255),
        "k".repeat(256),
        "k".repeat(1e5),
        "a".repeat(64),
        "A".repeat(64),
        "__proto__"
      ]
      for (const key of keys) yield* store.insert(key, bytes(JSON.stringify(key)), 1000)
      for (const key of keys) expect(text(yield* store.load(key))).toBe(JSON.stringify(key))
      expect(files(store.directory)).toHaveLength(keys.length)
      for (const file of files(store.directory)) {
        expect(path.relative(store.directory, file)).toMatch(/^([0-9a-f]{2})\/([0-9a-f]{2})\/\1\2[0-9a-f]{60}$/)
      }
      expect(fs.readdirSync(parent)).toEqual(["sessions"])
      for (const key of keys) expect(yield* store.remove(key)).toBe(true)
    }))

  it.scoped("F-P1: refuses data over the limit before it writes, and a file over it before it reads", () =>
    Effect.gen(function*() {
      const store = yield* fresh({ maxBytes: 10 })
      const version = Option.getOrThrow(yield* store.insert("a", bytes("0123456789"), 1000))
      for (
        const write of [
          store.insert("b", bytes("01234567890"), 1000),
          store.replace("a", version, bytes("01234567890"), 1000)
        ]
      ) {
        expect(yield* Effect.flip(write)).toMatchObject({ reason: "TooLarge", limit: 10, actual: 11 })
      }
      const smaller = yield* open({ directory: store.directory, maxBytes: 9 })
      expect(yield* Effect.flip(smaller.load("a"))).toMatchObject({ reason: "Corrupt", operation: "load" })
      expect(text(yield* store.load("a"))).toBe("0123456789")
    }))

  const wrong: ReadonlyArray<readonly [string, Partial<FileSystem.Options>, (directory: string) => void, string]> = [
    ["no name", { directory: "" }, () => {}, "directory"],
    ["a NUL", { directory: "a\0b" }, () => {}, "directory"],
    ["a file", {}, (directory) => {
      fs.rmdirSync(directory)
      fs.writeFileSync(directory, "")
    }, "directory"],
    ["writable by others", {}, (directory) => fs.chmodSync(directory, 0o777), "directory"],
    ["no byte", { maxBytes: 0 }, () => {}, "maxBytes"],
    ["NaN bytes", { maxBytes: NaN }, () => {}, "maxBytes"],
    ["a gigabyte and one", { maxBytes: 2 ** 30 + 1 }, () => {}, "maxBytes"],
    ["a short interval", { sweepInterval: 999 }, () => {}, "sweepInterval"],
    ["a negative interval", { sweepInterval: -1 }, () => {}, "sweepInterval"]
  ]
  for (const [what, options, prepare, option] of wrong) {
    it.scoped(`refuses a configuration: ${what}`, () =>
      Effect.gen(function*() {
        const directory = yield* temporary
        prepare(directory)
        expect(yield* Effect.flip(open({ directory, ...options }))).toMatchObject({
          _tag: "SessionConfigError",
          option
        })
      }))
  }

  const isRoot = process.geteuid?.() === 0
  for (const mode of [0o2775, 0o777, 0o755]) {
    it.scoped.skipIf(!isRoot)(
      `a volume of another user with mode ${mode.toString(8)} is refused, and a directory inside it works`,
      () =>
        Effect.gen(function*() {
          const volume = yield* temporary
          fs.chownSync(volume, 12345, 12345)
          fs.chmodSync(volume, mode)
          const error = yield* Effect.flip(open({ directory: volume }))
          expect(error).toMatchObject({ _tag: "SessionConfigError", option: "directory" })
          expect(error.message).toContain("name a directory inside it")
          yield* open({ directory: path.join(volume, "sessions") })
        })
    )
  }

  it.scoped("drops white space around the name of the directory", () =>
    Effect.gen(function*() {
      const parent = yield* temporary
      yield* open({ directory: `${path.join(parent, "sessions")}\n` })
      expect(fs.readdirSync(parent)).toEqual(["sessions"])
    }))

  it.scoped("refuses a file system that bears no writes, or no links", () =>
    Effect.gen(function*() {
      yield* leave
      for (const [call, code] of [["mkdir", "EROFS"], ["open", "EROFS"], ["link", "EPERM"], ["symlink", "EPERM"]]) {
        const directory = yield* temporary
        Calls.setHook((name, args, proceed, fail) =>
          name === call && String(args[0]) !== directory ? fail(Calls.errno(code!)) : proceed()
        )
        expect(yield* Effect.flip(open({ directory })), call).toMatchObject({
          _tag: "SessionConfigError",
          option: "directory"
        })
        Calls.setHook(undefined)
        expect(files(directory).filter((file) => file.endsWith(".new"))).toEqual([])
      }
    }))

  it.scoped("reads its options from Config", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const layer = FileSystem.layerConfig({ directory: Config.string("SESSIONS"), durable: Config.boolean("DURABLE") })
      const provider = ConfigProvider.fromMap(new Map([["SESSIONS", directory], ["DURABLE", "false"]]))
      yield* Effect.provide(Effect.andThen(SessionStore, (store) => store.insert("a", bytes("one"), 1000)), layer).pipe(
        Effect.withConfigProvider(provider)
      )
      expect(files(directory)).toHaveLength(1)
      expect(yield* Effect.flip(Effect.scoped(Layer.build(layer)))).toSatisfy(ConfigError.isConfigError)
    }))
})

describe("kill -9 (F-F1): at every call, the record is the old or the new one, and can be written", () => {
  const operations: ReadonlyArray<
    readonly [
      string,
      (store: Store, version: Version) => Effect.Effect<unknown, SessionStoreError>,
      ReadonlyArray<string | undefined>
    ]
  > = [
    ["insert", (store) => store.insert("b", bytes("new"), 1000), [undefined, "new"]],
    ["insert over an expired record", (store) => store.insert("expired", bytes("new"), 1000), [undefined, "new"]],
    ["replace", (store, version) => store.replace("a", version, bytes("new"), 1000), ["old", "new"]],
    ["touch", (store, version) => store.touch("a", { data: bytes("old"), version, expiresAt: 1000 }, 2000), ["old"]],
    ["remove", (store) => store.remove("a"), ["old", undefined]]
  ]
  for (const [name, operation, outcomes] of operations) {
    const key = name === "insert" ? "b" : name.includes("expired") ? "expired" : "a"
    it.scoped(name, () =>
      Effect.gen(function*() {
        yield* leave
        yield* hurry
        const seen = new Set<string | undefined>()
        const steps = yield* everyStep((step) =>
          Effect.scoped(Effect.gen(function*() {
            const store = yield* fresh()
            const version = Option.getOrThrow(yield* store.insert("a", bytes("old"), 1000))
            if (key === "expired") yield* store.insert(key, bytes("past"), -1)
            const { stopped } = yield* stopping(operation(store, version), step)
            // Never resumed.
            const found = yield* store.load(key)
            expect(outcomes).toContain(text(found))
            seen.add(text(found))
            const written = Option.isSome(found)
              ? yield* store.replace(key, found.value.version, bytes("next"), 1000)
              : yield* store.insert(key, bytes("next"), 1000)
            expect(Option.isSome(written)).toBe(true)
            expect(text(yield* store.load(key))).toBe("next")
            age(store.directory)
            yield* store.sweep
            expect(files(store.directory).filter((file) => !/\/[0-9a-f]{64}$/.test(file))).toEqual([])
            expect(text(yield* store.load(key))).toBe("next")
            expect(yield* store.remove(key)).toBe(true)
            return stopped
          }))
        )
        expect(steps).toBeGreaterThan(10)
        expect(seen).toEqual(new Set(outcomes))
      }))
  }
})

describe("SIGSTOP (F-F6): a writer that wakes up late", () => {
  it.scoped("changes nothing after a removal, and nothing after a new insertion", () =>
    Effect.gen(function*() {
      yield* leave
      yield* hurry
      const late: ReadonlyArray<(store: Store, version: Version) => Effect.Effect<unknown, SessionStoreError>> = [
        (store, version) => store.replace("a", version, bytes("late"), 1000),
        (store, version) => store.touch("a", { data: bytes("old"), version, expiresAt: 1000 }, 2000),
        (store, version) => store.remove("a", version)
      ]
      for (const operation of late) {
        for (const again of [false, true]) {
          yield* everyStep((step) =>
            Effect.scoped(Effect.gen(function*() {
              const store = yield* fresh({ durable: false })
              const version = Option.getOrThrow(yield* store.insert("a", bytes("old"), 1000))
              const writer = yield* stopping(operation(store, version), step)
              yield* store.remove("a")
              if (again) yield* store.insert("a", bytes("again"), 1000)
              yield* writer.resume
              const found = yield* store.load("a")
              expect(text(found), `${step} ${writer.name}`).toBe(again ? "again" : undefined)
              if (Option.isSome(found)) expect(found.value.expiresAt).toBe(1000)
              return writer.stopped
            }))
          )
        }
      }
    }))

  it.scoped("and a rival in its place: exactly one of them wins", () =>
    Effect.gen(function*() {
      yield* leave
      yield* hurry
      let wins = 0
      const steps = yield* everyStep((step) =>
        Effect.scoped(Effect.gen(function*() {
          const store = yield* fresh({ durable: false })
          const version = Option.getOrThrow(yield* store.insert("a", bytes("old"), 1000))
          const writer = yield* stopping(store.replace("a", version, bytes("late"), 1000), step)
          const rival = yield* store.replace("a", version, bytes("rival"), 1000)
          const outcome = yield* writer.resume
          expect(Option.isSome(outcome)).toBe(Option.isNone(rival))
          const winner = Option.getOrThrow(Option.orElse(outcome, () => rival))
          expect(Option.getOrThrow(yield* store.load("a")).version).toBe(winner)
          if (Option.isSome(outcome)) wins++
          return writer.stopped
        }))
      )
      expect(wins).toBeGreaterThan(1)
      expect(wins).toBeLessThan(steps)
    }))

  it.scoped("two of them, stopped at any two calls, beside a third", () =>
    Effect.gen(function*() {
      yield* leave
      yield* hurry
      const store = yield* fresh({ durable: false })
      yield* everyStep((i) =>
        Effect.gen(function*() {
          let stopped = false
          yield* everyStep((j) =>
            Effect.gen(function*() {
              const key = `${i} ${j}`
              const version = Option.getOrThrow(yield* store.insert(key, bytes("old"), 1000))
              const first = yield* stopping(store.replace(key, version, bytes("first"), 1000), i)
              const second = yield* stopping(
                (i + j) % 2 === 0
                  ? store.remove(key, version)
                  : Effect.map(store.replace(key, version, bytes("second"), 1000), Option.isSome),
                j
              )
              stopped = first.stopped
              const third = yield* store.replace(key, version, bytes("third"), 1000)
              const outcomes = [Option.isSome(yield* first.resume), Option.isSome(third), yield* second.resume]
              expect(outcomes.filter((won) => won), key).toHaveLength(1)
              const found = text(yield* store.load(key))
              expect(Option.isSome(third) ? found === "third" : found !== "third", key).toBe(true)
              return second.stopped
            })
          )
          return stopped
        })
      )
    }), 60_000)

  it.scoped("one that is stopped again when it tries again", () =>
    Effect.gen(function*() {
      yield* leave
      yield* hurry
      const store = yield* fresh({ durable: false })
      const version = Option.getOrThrow(yield* store.insert("a", bytes("old"), 1000))
      const replaceBy = (data: string) => Effect.forkDaemon(store.replace("a", version, bytes(data), 1000))
      const isRename = (name: string) => name === "rename"

      let stop = Calls.stopWhen(isRename)
      const first = yield* replaceBy("first")
      let firstStopped = yield* Effect.promise(() => stop)
      // The second has just disabled it, and is about to take the next claim.
      stop = Calls.stopWhen((name, args) => name === "symlink" && String(args[1]).endsWith(".2"))
      const second = yield* replaceBy("second")
      const secondStopped = yield* Effect.promise(() => stop)

      stop = Calls.stopWhen(isRename)
      firstStopped.resume()
      firstStopped = yield* Effect.promise(() => stop)
      secondStopped.resume()
      const outcomes = [yield* Fiber.join(second)]
      firstStopped.resume()
      outcomes.push(yield* Fiber.join(first))
      expect(outcomes.map(Option.isSome)).toEqual([true, false])
      expect(text(yield* store.load("a"))).toBe("second")
    }))

  it.scoped("a reader meets the old record or the new one, never none", () =>
    Effect.gen(function*() {
      yield* leave
      const store = yield* fresh({ durable: false })
      let version = Option.getOrThrow(yield* store.insert("a", bytes("0"), 1000))
      const reader = yield* Effect.fork(Effect.forever(
        Effect.map(store.load("a"), (found) => {
          if (Option.isNone(found)) throw new Error("none")
        })
      ))
      for (let i = 0; i < 200; i++) {
        version = Option.getOrThrow(yield* store.replace("a", version, bytes(String(i)), 1000))
      }
      expect(Exit.isInterrupted(yield* Fiber.interrupt(reader))).toBe(true)
    }))
})

describe("system calls that fail (F-F3)", () => {
  it.scoped("at any call and in any way, the record is the old or the new one, and nothing is left", () =>
    Effect.gen(function*() {
      yield* leave
      yield* hurry
      const reasons = new Set<string>()
      const steps = yield* everyStep((step) =>
        Effect.scoped(Effect.gen(function*() {
          const store = yield* fresh()
          const version = Option.getOrThrow(yield* store.insert("a", bytes("old"), 1000))
          let calls = 0
          Calls.setHook((_name, _args, proceed, fail) => ++calls === step ? fail(Calls.errno("EIO")) : proceed())
          const result = yield* Effect.either(store.replace("a", version, bytes("new"), 1000))
          Calls.setHook(undefined)
          const found = text(yield* store.load("a"))
          if (Either.isRight(result)) expect(found).toBe("new")
          else {
            reasons.add(result.left.reason)
            expect(found).toBe(result.left.reason === "Rejected" ? "old" : "new")
          }
          expect(files(store.directory).filter((file) => file.endsWith(".new"))).toEqual([])
          const stored = Option.getOrThrow(yield* store.load("a"))
          expect(Option.isSome(yield* store.replace("a", stored.version, bytes("next"), 1000))).toBe(true)
          return calls >= step
        }))
      )
      expect(steps).toBeGreaterThan(10)
      // After the rename, only the sync of the directory can fail: perhaps applied.
      expect(reasons).toEqual(new Set(["Rejected", "Unavailable"]))
    }))

  const failures = [
    ["write", "ENOSPC", "Rejected"],
    ["write", "EDQUOT", "Rejected"],
    ["open", "EROFS", "Rejected"],
    ["open", "EACCES", "Rejected"],
    ["open", "EMFILE", "Throttled"],
    ["open", "ENFILE", "Throttled"],
    ["fsync", "EIO", "Rejected"],
    ["rename", "ENOSPC", "Rejected"]
  ] as const
  for (const [call, code, reason] of failures) {
    it.scoped(`${call}: ${code} is ${reason}, and the old record stays`, () =>
      Effect.gen(function*() {
        yield* leave
        const store = yield* fresh()
        const version = Option.getOrThrow(yield* store.insert("a", bytes("old"), 1000))
        Calls.setHook((name, _args, proceed, fail) => name === call ? fail(Calls.errno(code)) : proceed())
        const error = yield* Effect.flip(store.replace("a", version, bytes("new"), 1000))
        Calls.setHook(undefined)
        expect(error).toMatchObject({ _tag: "SessionStoreError", reason, operation: "replace" })
        expect(error.cause).toMatchObject({ code })
        expect(JSON.stringify(error)).not.toContain(code)
        expect(text(yield* store.load("a"))).toBe("old")
        expect(files(store.directory).filter((file) => file.endsWith(".new"))).toEqual([])
        expect(Option.isSome(yield* store.replace("a", version, bytes("new"), 1000))).toBe(true)
      }))
  }

  it.scoped("a write in pieces is written to its end", () =>
    Effect.gen(function*() {
      yield* leave
      const store = yield* fresh()
      Calls.setHook((name, args, proceed) => {
        if (name !== "write") return proceed()
        const [fd, buffer, , , , done] = args
        done(null, fs.writeSync(fd, buffer, 0, Math.min(50, buffer.length)))
      })
      yield* store.insert("a", bytes("0123456789".repeat(20)), 1000)
      Calls.setHook(undefined)
      expect(text(yield* store.load("a"))).toBe("0123456789".repeat(20))
    }))
})

describe("F-F2: what is answered is on the disk", () => {
  it.scoped("a tool is synced before its use, the directory after it", () =>
    Effect.gen(function*() {
      yield* leave
      const logOf = (store: Store, operation: Effect.Effect<unknown, SessionStoreError>) =>
        Effect.gen(function*() {
          const log: Array<string> = []
          const file = record(store)
          const leaf = path.dirname(file)
          Calls.setHook((name, args, proceed) => {
            if (name === "open" && args[0] !== file) log.push(args[0] === leaf ? "open directory" : "open tool")
            if (name === "fsync" || name === "link" || name === "rename") log.push(name)
            proceed()
          })
          yield* operation
          Calls.setHook(undefined)
          return log.join(", ")
        })
      const all = (store: Store) =>
        Effect.gen(function*() {
          yield* store.insert("a", bytes("one"), -1)
          const insert = yield* logOf(store, store.insert("a", bytes("two"), 1000))
          const { version } = Option.getOrThrow(yield* store.load("a"))
          const replace = yield* logOf(store, store.replace("a", version, bytes("three"), 1000))
          const touch = yield* logOf(store, store.touch("a", Option.getOrThrow(yield* store.load("a")), 2000))
          const remove = yield* logOf(store, store.remove("a"))
          return { insert, replace, touch, remove }
        })
      const written = "open tool, fsync, rename, open directory, fsync"
      expect(yield* all(yield* fresh())).toEqual({
        insert: written.replace("rename", "link, rename"),
        replace: written,
        touch: written,
        remove: "rename, open directory, fsync"
      })
      expect(yield* all(yield* fresh({ durable: false }))).toEqual({
        insert: "open tool, link, rename",
        replace: "open tool, rename",
        touch: "open tool, rename",
        remove: "rename"
      })
    }))

  it.scoped("new directories are synced from the inside out", () =>
    Effect.gen(function*() {
      yield* leave
      const store = yield* fresh()
      const log: Array<string> = []
      Calls.setHook((name, args, proceed) => {
        if (name === "open") {
          log.push(
            path.relative(store.directory, args[0]).replace(/[0-9a-f]{64}.*/, "tool").replace(/[0-9a-f]{2}/g, "xx")
          )
        }
        if (name === "fsync" || name === "link") log.push(name)
        proceed()
      })
      yield* store.insert("a", bytes("one"), 1000)
      expect(log).toEqual(["xx", "fsync", "", "fsync", "xx/xx/tool", "fsync", "link", "xx/xx", "fsync"])
    }))
})

describe("F-F8: the directory", () => {
  const attempts = (store: Store) =>
    [
      store.load("a"),
      store.load("never there"),
      store.insert("b", bytes("one"), 1000),
      store.replace("a", Version("0"), bytes("one"), 1000),
      store.remove("a"),
      store.sweep
    ] as const

  it.scoped("gone or another one is Rejected, never missing, until it is back", () =>
    Effect.gen(function*() {
      const parent = yield* temporary
      const directory = path.join(parent, "sessions")
      const aside = path.join(parent, "aside")
      const store = yield* open({ directory })
      yield* store.insert("a", bytes("one"), 1000)
      const impostors = [
        () => {},
        () => fs.mkdirSync(directory, { mode: 0o700 }),
        () => fs.symlinkSync(aside, directory),
        () => fs.writeFileSync(directory, "")
      ]
      for (const impostor of impostors) {
        fs.renameSync(directory, aside)
        impostor()
        const before = files(aside)
        for (const attempt of attempts(store)) {
          expect(yield* Effect.flip<unknown, SessionStoreError, never>(attempt)).toMatchObject({ reason: "Rejected" })
        }
        expect(files(aside)).toEqual(before)
        expect(files(parent).filter((file) => !file.startsWith(aside) && file !== directory)).toEqual([])
        fs.rmSync(directory, { recursive: true, force: true })
        fs.renameSync(aside, directory)
        expect(text(yield* store.load("a"))).toBe("one")
      }
    }))

  it.scoped("REG-E4: a link in place of an inner directory is not written through", () =>
    Effect.gen(function*() {
      const outside = yield* temporary
      const store = yield* fresh()
      yield* store.insert("a", bytes("one"), 1000)
      const inner = path.dirname(record(store))
      const victims = [path.dirname(inner), inner]
      for (const victim of victims) {
        for (const target of [outside, path.join(outside, "nowhere")]) {
          fs.renameSync(victim, `${victim}.aside`)
          fs.symlinkSync(target, victim)
          expect(yield* Effect.flip(store.insert("a", bytes("two"), 1000))).toMatchObject({ reason: "Rejected" })
          yield* store.sweep
          expect(fs.readdirSync(outside)).toEqual([])
          fs.unlinkSync(victim)
          fs.renameSync(`${victim}.aside`, victim)
        }
      }
      expect(text(yield* store.load("a"))).toBe("one")
    }))
})

describe("H-15 F-F4 REG-E4: what was planted or damaged is Corrupt, is left alone, and harms no other", () => {
  const damage: Record<string, (file: string, other: Buffer) => void> = {
    "zero length": (file) => fs.truncateSync(file, 0),
    "cut in the header": (file) => fs.truncateSync(file, 99),
    "cut to the header": (file) => fs.truncateSync(file, 100),
    "cut in the data": (file) => fs.truncateSync(file, 101),
    "cut in the key": (file) => fs.truncateSync(file, fs.statSync(file).size - 1),
    appended: (file) => fs.appendFileSync(file, "x"),
    swapped: (file, other) => fs.writeFileSync(file, other),
    foreign: (file) => fs.writeFileSync(file, `{"cookie":{"originalMaxAge":null}}`.repeat(10)),
    "4 GB, sparse": (file) => fs.truncateSync(file, 2 ** 32),
    "mode 0666": (file) => fs.chmodSync(file, 0o666),
    directory: (file) => (fs.unlinkSync(file), fs.mkdirSync(file)),
    "dangling link": (file) => (fs.unlinkSync(file), fs.symlinkSync("nowhere", file)),
    "link to the record itself": (
      file
    ) => (fs.renameSync(file, `${file}.aside`), fs.symlinkSync(`${file}.aside`, file)),
    "link to a directory": (file) => (fs.unlinkSync(file), fs.symlinkSync(path.dirname(file), file)),
    "hard link to another file": (file) => {
      fs.writeFileSync(`${file}.aside`, "secret".repeat(100), { mode: 0o600 })
      fs.unlinkSync(file)
      fs.linkSync(`${file}.aside`, file)
    },
    pipe: (file) => (fs.unlinkSync(file), execFileSync("mkfifo", ["-m", "600", file])),
    ...process.getuid?.() === 0 && { "of another user": (file: string) => fs.chownSync(file, 12345, 12345) }
  }
  for (const [name, spoil] of Object.entries(damage)) {
    it.scoped(name, () =>
      Effect.gen(function*() {
        const store = yield* fresh({ durable: false })
        yield* store.insert("other", bytes("other"), 1000)
        const other = record(store)
        const version = Option.getOrThrow(yield* store.insert("a", bytes("one"), 1000))
        const file = files(store.directory).find((file) => file !== other)!
        spoil(file, fs.readFileSync(other))
        const before = fs.lstatSync(file, { bigint: true })
        const attempts = [
          store.load("a"),
          store.insert("a", bytes("two"), 1000),
          store.touch("a", { data: bytes("one"), version, expiresAt: 1000 }, 2000),
          ...(name === "cut to the header" ? [] : [store.replace("a", version, bytes("two"), 1000), store.remove("a")])
        ]
        for (const attempt of attempts) {
          expect(yield* Effect.flip<unknown, SessionStoreError, never>(attempt)).toMatchObject({ reason: "Corrupt" })
        }
        yield* at(5000)(store.sweep)
        const after = fs.lstatSync(file, { bigint: true })
        expect([after.ino, after.mtimeNs, after.size]).toEqual([before.ino, before.mtimeNs, before.size])
        expect(yield* store.insert("other", bytes("two"), 1000)).not.toEqual(Option.none())
        expect(text(yield* store.load("other"))).toBe("two")
      }))
  }

  it.scoped("each single bit flipped", () =>
    Effect.gen(function*() {
      const store = yield* fresh({ durable: false })
      yield* store.insert("a", bytes("one"), 1000)
      const file = record(store)
      const sound = fs.readFileSync(file)
      for (let bit = 0; bit < sound.length * 8; bit++) {
        const flipped = Buffer.from(sound)
        flipped[bit >> 3]! ^= 1 << (bit & 7)
        fs.writeFileSync(file, flipped)
        expect(yield* Effect.flip(store.load("a")), `bit ${bit}`).toMatchObject({ reason: "Corrupt" })
      }
      fs.writeFileSync(file, sound)
      expect(text(yield* store.load("a"))).toBe("one")
    }))

  it.scoped("a claim that names a file outside does not get it deleted", () =>
    Effect.gen(function*() {
      yield* hurry
      const store = yield* fresh({ durable: false })
      const version = Option.getOrThrow(yield* store.insert("a", bytes("one"), 1000))
      const file = record(store)
      const revision = fs.readFileSync(file).toString("hex", 40, 48)
      const precious = path.join(store.directory, "precious.new")
      fs.writeFileSync(precious, "")
      fs.symlinkSync("../../precious.new", `${file}.${revision}.1`)
      expect(yield* Effect.flip(store.replace("a", version, bytes("two"), 1000))).toMatchObject({ reason: "Rejected" })
      expect(fs.existsSync(precious)).toBe(true)
    }))
})

describe("sweep", () => {
  it.scoped("removes what has expired, and only that", () =>
    Effect.gen(function*() {
      const store = yield* fresh({ durable: false })
      for (let i = 0; i < 20; i++) yield* store.insert(`${i}`, bytes("x"), i < 8 ? 10 : 1000)
      fs.writeFileSync(path.join(store.directory, "README"), "not ours")
      yield* TestClock.adjust(10)
      expect(yield* store.sweep).toBe(8)
      expect(files(store.directory)).toHaveLength(13)
      expect(yield* store.sweep).toBe(0)
      yield* TestClock.adjust(1000)
      // Two at once count each record once.
      const counts = yield* Effect.all([store.sweep, store.sweep], { concurrency: 2 })
      expect(counts[0] + counts[1]).toBe(12)
      yield* store.sweep
      expect(fs.readdirSync(store.directory, { recursive: true }).filter((name) => String(name).includes("/"))).toEqual(
        []
      )
    }))

  it.scoped("removes tools and passed claims after an hour, never before", () =>
    Effect.gen(function*() {
      const store = yield* fresh({ durable: false })
      yield* store.insert("a", bytes("one"), 1000)
      const file = record(store)
      const revision = fs.readFileSync(file).toString("hex", 40, 48)
      const current = `${file}.${revision}.1`
      fs.writeFileSync(`${file}.0000000000000000.new`, "")
      fs.mkdirSync(`${file}.0000000000000000.old`)
      fs.mkdirSync(`${file}.0000000000000001.old`)
      fs.writeFileSync(`${file}.0000000000000001.old/record`, "")
      fs.symlinkSync(`${path.basename(file)}.0000000000000000.new`, `${file}.0000000000000000.1`)
      fs.symlinkSync(`${path.basename(file)}.0000000000000000.new`, current)
      const before = files(store.directory)
      yield* store.sweep
      expect(files(store.directory)).toEqual(before)
      age(store.directory)
      yield* store.sweep
      expect(files(store.directory).sort()).toEqual([file, current])
    }))

  it.scoped("never takes a record that a touch has revived, wherever it is stopped", () =>
    Effect.gen(function*() {
      yield* leave
      yield* hurry
      const outcomes = new Set<boolean>()
      yield* everyStep((step) =>
        Effect.scoped(Effect.gen(function*() {
          const store = yield* fresh({ durable: false })
          yield* store.insert("a", bytes("one"), 50)
          const stored = Option.getOrThrow(yield* store.load("a"))
          // The clock of the process that touches is behind.
          const sweeper = yield* stopping(at(60)(store.sweep), step)
          const touched = yield* at(40)(store.touch("a", stored, 1000))
          outcomes.add(touched)
          expect(yield* sweeper.resume).toBe(touched ? 0 : 1)
          expect(text(yield* store.load("a"))).toBe(touched ? "one" : undefined)
          return sweeper.stopped
        }))
      )
      expect(outcomes).toEqual(new Set([true, false]))
    }))

  it.scoped("runs in the background", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const context = yield* Layer.build(FileSystem.layer({ directory }))
      const store = Context.get(context, SessionStore)
      yield* store.insert("a", bytes("one"), 1000)
      yield* TestClock.adjust("7 minutes")
      yield* realTime(20)
      expect(files(directory)).toHaveLength(1)
      yield* TestClock.adjust("5 minutes")
      while (files(directory).length > 0) yield* realTime(5)
    }))

  it.scoped("goes on after a failure, which is a warning", () =>
    Effect.gen(function*() {
      let runs = 0
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => warnings.push([logLevel.label, message]))
      const sweep = Effect.suspend(() =>
        ++runs % 2 === 0 ? Effect.die("a defect") : new SessionStoreError({ reason: "Rejected", operation: "sweep" })
      )
      yield* sweepForever({ sweep }, "1 minute").pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.forkScoped
      )
      yield* TestClock.adjust("10 minutes")
      expect(runs).toBeGreaterThanOrEqual(8)
      expect(runs).toBeLessThanOrEqual(12)
      expect(warnings).toEqual(Array.from({ length: runs }, () => ["WARN", ["Sweeping expired sessions failed"]]))
    }))
})

describe("other processes on the directory", () => {
  // Transpiled below node_modules, where its imports resolve.
  const repository = fileURLToPath(new URL("../..", import.meta.url))
  let build = ""

  beforeAll(() => {
    build = fs.mkdtempSync(path.join(repository, "node_modules", ".file-store-"))
    const sources = [
      "src/SessionStore.ts",
      "src/SessionConfigError.ts",
      "src/internal/crypto.ts",
      "src/internal/sleep.ts",
      "src/internal/sweep.ts",
      "src/layers/FileSystem.ts",
      "test/layers/file-calls.ts",
      "test/layers/file-worker.ts"
    ]
    fs.writeFileSync(path.join(build, "package.json"), `{"type":"module"}`)
    for (const source of sources) {
      const target = path.join(build, source.replace(/ts$/, "js"))
      fs.mkdirSync(path.dirname(target), { recursive: true })
      fs.writeFileSync(
        target,
        ts.transpile(fs.readFileSync(path.join(repository, source), "utf8"), {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext
        })
      )
    }
  })

  afterAll(() => fs.rmSync(build, { recursive: true, force: true }))

  const start = (...args: ReadonlyArray<string>) =>
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [path.join(build, "test/layers/file-worker.js"), ...args], {
          stdio: ["ignore", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => void child.kill("SIGKILL"))
    )

  const output = (child: ChildProcess) =>
    Effect.promise(() =>
      new Promise<string>((resolve) => {
        let all = ""
        child.stdout!.on("data", (chunk) => void (all += chunk))
        child.on("close", (code, signal) => resolve(signal ?? (code === 0 ? all.trim() : `exit ${code}`)))
      })
    )

  const isStopped = (child: ChildProcess) =>
    execFileSync("ps", ["-o", "state=", "-p", String(child.pid)], { encoding: "utf8" }).startsWith("T")

  const far = Date.now() + 3_600_000

  it.scopedLive("F-F5: 8 processes count to 600 on one key, and lose nothing", () =>
    Effect.gen(function*() {
      const store = yield* fresh()
      yield* store.insert("counter", bytes("0"), far)
      const children = yield* Effect.replicateEffect(start("increment", store.directory, "counter", "75"), 8)
      expect(yield* Effect.all(children.map(output), { concurrency: 8 })).toEqual(Array(8).fill("75"))
      expect(text(yield* store.load("counter"))).toBe("600")
      expect(files(store.directory).filter((file) => !file.endsWith(path.basename(record(store))))).toEqual([])
    }), 60_000)

  it.scopedLive("F-F1: one that is killed with a claim in its hands holds up the next for the lease", () =>
    Effect.gen(function*() {
      const store = yield* fresh()
      const version = Option.getOrThrow(yield* store.insert("a", bytes("old"), far))
      expect(yield* output(yield* start("signal", store.directory, "a", "rename", "SIGKILL"))).toBe("SIGKILL")
      expect(files(store.directory)).toHaveLength(3)
      expect(text(yield* store.load("a"))).toBe("old")
      expect(Option.isSome(yield* store.replace("a", version, bytes("new"), far))).toBe(true)
      expect(text(yield* store.load("a"))).toBe("new")
    }))

  it.scopedLive("F-F6: one that is stopped before its rename finds the session gone, and it stays gone", () =>
    Effect.gen(function*() {
      const store = yield* fresh()
      yield* store.insert("a", bytes("old"), far)
      const child = yield* start("signal", store.directory, "a", "rename", "SIGSTOP")
      const answer = yield* Effect.fork(output(child))
      while (!isStopped(child)) yield* realTime(20)
      expect(yield* store.remove("a")).toBe(true)
      child.kill("SIGCONT")
      expect(yield* Fiber.join(answer)).toBe("false")
      expect(files(store.directory)).toEqual([])
    }))
})
