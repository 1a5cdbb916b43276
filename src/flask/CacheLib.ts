/**
 * Flask-Session's files in the directory of a cachelib `FileSystemCache`, for
 * `SESSION_TYPE` `"cachelib"` and `"filesystem"`. Records are pickles here:
 * `Flask.layer` reads and writes them as data, and calls nothing.
 *
 * For a local POSIX file system. cachelib locks nothing: between this store's
 * last look at a file and its rename, some ten microseconds, a write of Flask is
 * lost, or a logout of Flask undone. No store can do better beside it. Processes
 * of this library exclude each other.
 *
 * The names of the files are hashes of the ids, so that the store cannot list
 * its records.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as crypto from "node:crypto"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { boundOf } from "../internal/bounded.js"
import { bytesOf, forever, versionOf } from "../internal/flask/bytes.js"
import {
  addToCount,
  type CacheFile,
  changeCacheFile,
  CorruptFile,
  createCacheFile,
  isEntry,
  maxBytes,
  readCacheFile
} from "../internal/flask/files.js"
import { Pickled } from "../internal/flask/marker.js"
import { sweepForever } from "../internal/sweep.js"
import { SessionConfigError } from "../SessionConfigError.js"
import {
  SessionStore,
  SessionStoreError,
  type SessionStoreErrorReason,
  SessionSweeper,
  type Version
} from "../SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The directory of Flask's `FileSystemCache`, which the process may write to. It is created if it is missing. */
  readonly directory: string
  /** `SESSION_KEY_PREFIX`, before each id; `"session:"` by default. */
  readonly prefix?: string | undefined
  /** What names the files: `"sha256"`, as cachelib 0.16 and later, by default; `"md5"` before. */
  readonly hash?: "sha256" | "md5" | undefined
  /**
   * How often expired files are removed, 1 millisecond to 24 days. Without it,
   * which is the default, they are left to Flask, which removes them when there
   * are more files than its threshold.
   */
  readonly sweepInterval?: Duration.DurationInput | undefined
}

/**
 * Makes the store. Fails with `SessionConfigError` when an option makes no
 * sense, and when the directory cannot be created or written to.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<Context.Context<SessionStore | SessionSweeper>, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ directory, hash = "sha256", prefix = "session:", sweepInterval }: Options) {
    const interval = sweepInterval === undefined ? undefined : yield* boundOf(sweepInterval)
    if (hash !== "sha256" && hash !== "md5") {
      return yield* new SessionConfigError({ option: "hash", message: "Give \"sha256\" or \"md5\"." })
    }
    yield* Effect.tryPromise({
      try: async () => {
        await fs.mkdir(directory.trim(), { recursive: true, mode: 0o700 })
        await fs.access(directory.trim(), fs.constants.W_OK | fs.constants.X_OK)
      },
      catch: (cause) =>
        new SessionConfigError({
          option: "directory",
          message: "The directory cannot be created or written to.",
          cause
        })
    })
    const services = servicesOf(path.resolve(directory.trim()), prefix, hash)
    if (interval !== undefined) {
      yield* Effect.forkScoped(sweepForever(Context.get(services, SessionSweeper), interval))
    }
    return services
  }
)

/**
 * Flask's sessions in a directory of cachelib.
 *
 * ```ts
 * import * as FlaskCacheLib from "effect-session/flask/CacheLib"
 *
 * const Store = FlaskCacheLib.layer({ directory: "/var/lib/app/flask_session" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SessionStore | SessionSweeper, SessionConfigError> =>
  Layer.scopedContext(make(options))

/**
 * `layer` with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionSweeper, SessionConfigError | ConfigError.ConfigError> =>
  Layer.scopedContext(Effect.flatMap(Config.unwrap(options), make))

type Operation = Exclude<SessionStoreError["operation"], "scan">

const servicesOf = (directory: string, prefix: string, hash: "sha256" | "md5") => {
  const nameOf = (text: string) => crypto.createHash(hash).update(text).digest("hex")
  const fileOf = (key: string) => path.join(directory, nameOf(prefix + key))
  const countName = nameOf("__wz_cache_count")
  const countFile = path.join(directory, countName)

  /** Whole or not at all: half a write would leave a lock behind. */
  const attempt = <A>(operation: Operation, run: (now: number) => Promise<A>): Effect.Effect<A, SessionStoreError> =>
    Effect.clockWith((clock) =>
      Effect.uninterruptible(Effect.tryPromise({
        try: () => run(clock.unsafeCurrentTimeMillis()),
        catch: (cause) => new SessionStoreError({ reason: reasonOf(cause), operation, cause })
      }))
    )

  const write = (operation: "insert" | "replace", data: Uint8Array, run: (now: number) => Promise<boolean>) =>
    data.length > maxBytes
      ? new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })
      : Effect.map(attempt(operation, run), (done) => done ? Option.some(versionOf(data)) : Option.none())

  const removeFile = async (file: string, isDoomed: (current: CacheFile) => boolean): Promise<boolean> => {
    const isRemoved = await changeCacheFile(file, (current) => isDoomed(current) ? "remove" : "keep")
    if (isRemoved) await addToCount(countFile, -1)
    return isRemoved
  }

  /** Creates the file, or takes the place of an expired one. */
  const insert = async (
    file: string,
    content: { readonly expires: number; readonly data: Uint8Array },
    now: number
  ): Promise<boolean> => {
    if (await createCacheFile(file, content)) {
      await addToCount(countFile, 1)
      return true
    }
    const current = await readCacheFile(file)
    if (current !== undefined && isLive(current, now)) {
      return false
    }
    const isReplaced = await changeCacheFile(file, (current) => isLive(current, now) ? "keep" : content)
    return isReplaced || insert(file, content, now)
  }

  const store = SessionStore.of({
    load: (key) =>
      attempt("load", async (now) => {
        const current = await readCacheFile(fileOf(key))
        return current !== undefined && isLive(current, now)
          ? Option.some({ data: current.data, version: versionOf(current.data), expiresAt: deadlineOf(current) })
          : Option.none()
      }),

    insert: (key, data, expiresAt) =>
      write("insert", data, (now) => insert(fileOf(key), { expires: secondsOf(expiresAt), data }, now)),

    replace: (key, expected, data, expiresAt) =>
      write(
        "replace",
        data,
        (now) =>
          changeCacheFile(
            fileOf(key),
            (current) => isCurrent(current, expected, now) ? { expires: secondsOf(expiresAt), data } : "keep"
          )
      ),

    touch: (key, { version }, expiresAt) =>
      attempt(
        "touch",
        (now) =>
          changeCacheFile(fileOf(key), (current) =>
            isCurrent(current, version, now) ? { expires: secondsOf(expiresAt), data: current.data } : "keep")
      ),

    remove: (key, expected) =>
      attempt("remove", (now) =>
        removeFile(
          fileOf(key),
          (current) => isLive(current, now) && (expected === undefined || isCurrent(current, expected, now))
        ))
  })

  const sweeper = SessionSweeper.of({
    sweep: attempt("sweep", async (now) => {
      let swept = 0
      for (const name of await fs.readdir(directory)) {
        if (!isEntry(name, countName)) continue
        const isSwept = await removeFile(path.join(directory, name), (current) => !isLive(current, now)).catch(
          (error: unknown) => {
            if (error instanceof CorruptFile) return false // none of cachelib's
            throw error
          }
        )
        if (isSwept) swept++
      }
      return swept
    })
  })

  return Context.make(SessionStore, store).pipe(
    Context.add(SessionSweeper, sweeper),
    // not in the types: only `Flask.layer` asks for it
    Context.add(Pickled, true)
  )
}

const deadlineOf = ({ expires }: CacheFile): number => expires === 0 ? forever : expires * 1000

const isLive = (current: CacheFile, now: number): boolean => deadlineOf(current) > now

const isCurrent = (current: CacheFile, expected: Version, now: number): boolean =>
  isLive(current, now) && current.data.equals(bytesOf(expected))

/** As cachelib does: `int(time()) + lifetime`. 0 would be never. */
const secondsOf = (expiresAt: number): number => Math.max(1, Math.floor(expiresAt / 1000))

const reasonOf = (cause: unknown): SessionStoreErrorReason => {
  if (cause instanceof CorruptFile) return "Corrupt"
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  if (code === "ELOOP" || code === "ENXIO" || code === "EISDIR") return "Corrupt"
  return code === "EMFILE" || code === "ENFILE" ? "Throttled" : "Rejected"
}
