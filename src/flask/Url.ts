/**
 * Flask's sessions wherever a URL says. Each store and its driver is loaded
 * when a URL names it.
 *
 * ```ts
 * import * as FlaskUrl from "effect-session/flask/Url"
 * import { Config } from "effect"
 *
 * const Store = FlaskUrl.layerConfig({ url: Config.redacted("SESSION_STORE") })
 * ```
 *
 * | URL | where Flask has its sessions |
 * |---|---|
 * | `redis://…` and its variants | Redis |
 * | `memcached://…` | memcached |
 * | `file:./directory` | cachelib's `FileSystemCache` |
 * | `mongodb://host/database` | MongoDB's collection `sessions` |
 * | `dynamodb://region/table` | DynamoDB |
 * | `postgres://…`, `mysql://…`, `sqlite:./file` | SQLAlchemy's table |
 *
 * The URLs are those of `effect-session/layers/Url`, with the same parameters.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Layer from "effect/Layer"
import type { Stores } from "../internal/storeUrl.js"
import * as SessionStoreUrl from "../layers/Url.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { SessionStore } from "../SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Where the sessions are. */
  readonly url: SessionStoreUrl.Url
  /** `SESSION_KEY_PREFIX`, before each id in every store; `"session:"` by default. */
  readonly prefix?: string | undefined
  /** What names cachelib's files: `"sha256"` by default, `"md5"` before cachelib 0.16. */
  readonly fileHash?: "sha256" | "md5" | undefined
}

/**
 * The store that a URL names. Fails with `SessionConfigError` when the URL
 * cannot be understood, when Flask-Session has no such store, or when the store
 * itself does.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SessionStore, SessionConfigError> =>
  SessionStoreUrl.openUrl(options.url, storesOf(options))

/**
 * `layer` with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Config.map(Config.unwrap(options), layer))

const storesOf = ({ fileHash, prefix }: Options): Stores => ({
  memory: async () => noSuchStore,
  file: async () => {
    const CacheLib = await import("./CacheLib.js")
    return ({ directory }) => CacheLib.layer({ directory, hash: fileHash, prefix })
  },
  redis: async () => {
    const Redis = await import("./Redis.js")
    return (options) => Redis.layer({ prefix, ...defined(options) })
  },
  memcached: async () => {
    const Memcached = await import("./Memcached.js")
    return (options) => Memcached.layer({ prefix, ...defined(options) })
  },
  mongodb: async () => {
    const MongoDb = await import("./MongoDb.js")
    return ({ collection, timeout, url }) => MongoDb.layer({ collection, prefix, timeout, url })
  },
  dynamodb: async () => {
    const DynamoDb = await import("./DynamoDb.js")
    return ({ createTable: _, ...options }) => DynamoDb.layer({ prefix, ...options }) // Flask makes the table
  },
  sqlite: async () => {
    const Sql = await import("./Sql.js")
    return ({ schema, table, timeout }) => Sql.layer({ prefix, schema, table, timeout })
  },
  sqlPool: async () => {
    const Sql = await import("./Sql.js")
    return ({ pool, prepare, schema, table, timeout }) =>
      Sql.layerPool({ pool, prefix, prepare, schema, table, timeout })
  }
})

const noSuchStore = () =>
  Layer.fail(new SessionConfigError({ option: "url", message: "Flask-Session has no store of this kind." }))

/** Without what is undefined: a prefix in the URL wins, and its absence does not. */
const defined = <A extends object>(options: A): A =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as A // the same, but what is optional
