/**
 * Sessions wherever a URL says. Each store and its driver is loaded when a URL
 * names it, so that only that one has to be installed.
 *
 * ```ts
 * import * as SessionStoreUrl from "effect-session/layers/Url"
 * import { Config } from "effect"
 *
 * const Store = SessionStoreUrl.layerConfig({ url: Config.redacted("SESSION_STORE") })
 * ```
 *
 * | URL | package | parameters |
 * |---|---|---|
 * | `memory:` | | `capacity` |
 * | `file:./directory`, `file:///directory` | | |
 * | `redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS | `ioredis` | `prefix`, `timeout`, and those of `layers/Redis` |
 * | `valkey://…`, `valkeys://…` for TLS | `ioredis` | as `redis` and `rediss`, below too |
 * | `redis+cluster://[user:password@]host[:port],…` | `ioredis` | the same |
 * | `redis+sentinel://[user:password@]host[:port],…/master[/database]` | `ioredis` | the same |
 * | `rediss+cluster://…`, `rediss+sentinel://…` for TLS | `ioredis` | the same |
 * | `memcached://host[:port],…` | | `prefix`, `timeout` |
 * | `mongodb://[user:password@]host[:port],…[/database]`, `mongodb+srv://…` | `mongodb` | `collection`, `timeout`, and the driver's own |
 * | `dynamodb://[key:secret@]region/table` | `@aws-sdk/client-dynamodb` | `endpoint`, `createTable`, `timeout` |
 * | `postgres://[user:password@]host[:port][/database]`, `postgresql://…` | `pg` | `table`, `schema`, `timeout`, and those below |
 * | `mysql://[user:password@]host[:port]/database`, `mariadb://…` | `mysql2` | `table`, `timeout`, and those below |
 * | `sqlite:./file`, `sqlite:///file`, `sqlite::memory:` | `@effect/sql-libsql` | `table`, `timeout` |
 *
 * `timeout` is in milliseconds: the longest that an operation may take, 2000 by
 * default.
 *
 * PostgreSQL takes what a provider's console shows. The driver gets
 * `application_name`, `fallback_application_name`, `host` (a directory of sockets,
 * as in `postgres://user@/database?host=/cloudsql/…`), `idle_in_transaction_session_timeout`,
 * `lock_timeout`, `options`, `password`, `port`, `ssl`, `sslcert`, `sslkey`, `sslmode`,
 * `sslnegotiation`, `sslrootcert`, `statement_timeout`, `uselibpqcompat` and `user`.
 * `connect_timeout` is in seconds, `timeout` by default. `connection_limit` is 10 by
 * default. `pgbouncer=true` prepares no statements, for a pooler that cannot keep
 * them. `channel_binding` is not enforced, because the driver cannot;
 * `sslmode=verify-full` proves who answers. `target_session_attrs` is `any`,
 * `read-write` or `primary`: a standby would show sessions that have ended.
 *
 * MySQL takes `ssl-mode`: `DISABLED` (the default), `REQUIRED` (encrypted, whoever
 * answers), `VERIFY_CA` or `VERIFY_IDENTITY`. Instead of it `ssl=true`, mysql2's
 * `ssl={"rejectUnauthorized":true}` and Prisma's `sslaccept=strict` verify the
 * identity. `socketPath` is a socket's file, `charset` utf8mb4, `connectTimeout` in
 * milliseconds, `connection_limit` (or `connectionLimit`) 10 by default.
 *
 * An `endpoint` of DynamoDB by plain `http://` is an emulator. There the table is
 * created unless `createTable` is `false`, and requests are signed with "local" if
 * no key is given. Elsewhere `createTable` is `false`, and the AWS SDK finds the
 * keys. The module of each store says what else the parameters mean, and whether
 * the server has to be up when the Layer is built.
 *
 * White space around a URL is dropped, because a secret from a file often ends in
 * a newline. Everything in a URL is percent-encoded: a `/`, `?`, `#`, `@` or `%` in
 * a password, and a `?`, `#` or `%` in the name of a file. A parameter that a
 * driver knows and that would break a promise of the store is refused by name.
 *
 * @since 0.1.0
 */

import type * as SqlClient from "@effect/sql/SqlClient"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { loadDriver, rethrow } from "../internal/driver.js"
import { openMySqlPool, openPgPool, type PgDriver } from "../internal/sql/openPool.js"
import {
  type Address,
  invalidUrl,
  misspelt,
  oneOf,
  type Opened,
  parse,
  type Scheme,
  type Stores,
  wholeNumber,
  withOneHost
} from "../internal/storeUrl.js"
import { findCoded } from "../internal/systemError.js"
import { SessionConfigError } from "../SessionConfigError.js"
import { SessionStore } from "../SessionStore.js"
import type * as Sql from "./Sql.js"

/**
 * Where the sessions are; the table above says what can be written.
 *
 * @since 0.1.0
 * @category models
 */
export type Url = string | Redacted.Redacted<string>

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Where the sessions are. */
  readonly url: Url
}

/**
 * Makes the store that the URL names, with whatever connection it needs, until
 * the scope closes.
 *
 * Fails with `SessionConfigError` when the URL cannot be understood, when the
 * package that it needs is not installed (the message names it), and when the
 * store itself does. No message repeats any of the URL.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (url: Url | Options): Effect.Effect<SessionStore["Type"], SessionConfigError, Scope.Scope> =>
  Effect.map(Layer.build(layer(url)), Context.get(SessionStore))

/**
 * The store that a URL names; see `make` for what fails it. What only some
 * stores can do besides, `SessionSweeper` for instance, is not in the type.
 *
 * ```ts
 * import * as SessionStoreUrl from "effect-session/layers/Url"
 *
 * const Store = SessionStoreUrl.layer("redis://localhost?prefix=app:")
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (url: Url | Options): Layer.Layer<SessionStore, SessionConfigError> => openUrl(url, stores)

/**
 * `layer` with the URL from `Config`.
 *
 * ```ts
 * import * as SessionStoreUrl from "effect-session/layers/Url"
 * import { Config, Redacted } from "effect"
 *
 * const Store = SessionStoreUrl.layerConfig({
 *   url: Config.redacted("SESSION_STORE").pipe(Config.withDefault(Redacted.make("file:./.sessions")))
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))

const textOf = (url: Url | Options): string => {
  if (typeof url === "string") return url.trim() // a secret from a file often ends in a newline
  return textOf(Redacted.isRedacted(url) ? Redacted.value(url) : url.url)
}

/**
 * The store of a URL, opened as one of `stores`.
 *
 * @internal
 */
export const openUrl = (url: Url | Options, stores: Stores): Layer.Layer<SessionStore, SessionConfigError> =>
  Layer.unwrapEffect(Effect.suspend(() => open(textOf(url), stores)))

const stores: Stores = {
  memory: async () => (await import("./Memory.js")).layer,
  file: async () => (await import("./FileSystem.js")).layer,
  redis: async () => (await import("./Redis.js")).layer,
  memcached: async () => (await import("./Memcached.js")).layer,
  mongodb: async () => (await import("./MongoDb.js")).layer,
  dynamodb: async () => (await import("./DynamoDb.js")).layer,
  sqlite: async () => (await import("./Sql.js")).layer,
  sqlPool: async () => (await import("./Sql.js")).layerPool
}

const open = (text: string, stores: Stores): Opened => {
  const name = /^[a-z+]+:/i.exec(text)?.[0].toLowerCase() ?? ""
  const scheme = Object.hasOwn(schemes, name) ? schemes[name] : undefined
  return scheme === undefined
    ? invalidUrl(`A store's URL begins with one of ${Object.keys(schemes).join(" ")}`)
    : Effect.flatMap(parse(name + text.slice(name.length), scheme), (address) => scheme.open(address, stores))
}

// Loading what it needs.

const load = <A>(name: string, { form }: Scheme, from: () => Promise<A>): Effect.Effect<A, SessionConfigError> =>
  loadDriver(name, form.replace(/:.*/s, ":"), from)

const tableOptions = (address: Address) =>
  Effect.map(wholeNumber(address, "timeout"), (timeout = 2000) => ({
    table: address.parameters.get("table"),
    schema: address.parameters.get("schema"),
    timeout
  }))

/** The store over a pool of its own, once the server has replied. */
const openSqlPool = (
  address: Address,
  stores: Stores,
  database: string,
  prepare: boolean | undefined,
  open: (timeout: number) => Effect.Effect<Sql.PoolOptions["pool"], unknown, Scope.Scope>
): Opened =>
  Effect.gen(function*() {
    const options = yield* tableOptions(address)
    const layer = yield* Effect.promise(stores.sqlPool)
    return Layer.unwrapScoped(Effect.map(
      Effect.mapErrorCause(open(options.timeout), (cause) => unreachable(database, cause)),
      (pool) => layer({ ...options, pool, prepare })
    ))
  })

const openSqlite = (
  address: Address,
  stores: Stores,
  client: Layer.Layer<SqlClient.SqlClient, unknown>
): Opened =>
  Effect.gen(function*() {
    const options = yield* tableOptions(address)
    const layer = yield* Effect.promise(stores.sqlite)
    return Layer.provide(
      layer(options),
      Layer.catchAllCause(client, (cause) => Layer.failCause(unreachable("SQLite", cause)))
    )
  })

/** A client without a connection fails, or dies. */
const unreachable = (database: string, cause: Cause.Cause<unknown>): Cause.Cause<SessionConfigError> => {
  const error = Cause.squash(cause)
  return Cause.isInterruptedOnly(cause)
    ? Cause.interrupt(FiberId.none)
    : Cause.fail(
      new SessionConfigError({
        option: "url",
        message: `Failed to connect to ${database}${codeOf(error)}: is the URL right, and the database there?`,
        cause: error
      })
    )
}

const codeOf = (error: unknown): string => {
  const code = findCoded(error)?.code
  return code === undefined ? "" : ` (${code})`
}

/** Connections of a process to an SQL database. */
const maxConnections = 10

// The stores.

const redis = (form: string): Scheme => ({
  form,
  hasHost: true,
  parameters: ["prefix", "timeout"],
  driver: ["db", "family", "password", "sentinelPassword", "sentinelUsername", "tls", "username"],
  open: (address, stores) =>
    Effect.gen(function*() {
      const timeout = yield* wholeNumber(address, "timeout")
      const layer = yield* Effect.promise(stores.redis)
      return layer({ url: address.forDriver, prefix: address.parameters.get("prefix"), timeout })
    })
})

const mongodb = (form: string): Scheme => ({
  form,
  hasHost: true,
  parameters: ["collection", "timeout"],
  driver: "any",
  open: (address, stores) =>
    Effect.gen(function*() {
      const timeout = yield* wholeNumber(address, "timeout")
      const layer = yield* Effect.promise(stores.mongodb)
      return layer({ url: address.forDriver, collection: address.parameters.get("collection"), timeout })
    })
})

const postgres = (form: string): Scheme => ({
  form,
  hasHost: true,
  hostParameter: "host",
  parameters: [
    "table",
    "schema",
    "timeout",
    "connect_timeout",
    "connection_limit",
    "channel_binding",
    "pgbouncer",
    "target_session_attrs"
  ],
  driver: [
    "application_name",
    "fallback_application_name",
    "host",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "options",
    "password",
    "port",
    "ssl",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "statement_timeout",
    "uselibpqcompat",
    "user"
  ],
  refused: {
    binary: "the store reads rows as text",
    client_encoding: "the store needs UTF-8",
    currentSchema: "write schema=… instead",
    dbname: "write the database after the host",
    encoding: "the store needs UTF-8",
    gssencmode: "the driver has no GSSAPI",
    pool_timeout: "write timeout=…, in milliseconds, instead",
    query_timeout: "the driver would stop waiting for a write that the server still does; write timeout=… instead",
    replication: "a replication connection takes no statements with parameters"
  },
  open: (address, stores) =>
    Effect.gen(function*() {
      yield* withOneHost(address)
      const seconds = yield* wholeNumber(address, "connect_timeout")
      const connections = yield* wholeNumber(address, "connection_limit")
      // The driver cannot require a channel binding. sslmode=verify-full proves who answers.
      yield* oneOf(address, "channel_binding", "disable", "prefer", "require")
      const hasPooler = (yield* oneOf(address, "pgbouncer", "true", "false")) === "true"
      yield* oneOf(address, "target_session_attrs", "any", "read-write", "primary")
      const driver = yield* load("pg", address.scheme, () => import("pg").catch(rethrow))
      return yield* openSqlPool(address, stores, "PostgreSQL", !hasPooler, (timeout) => {
        const connectTimeout = seconds ? seconds * 1000 : timeout
        // the types of `pg` are a package of their own
        return openPgPool(driver.default as PgDriver, connectTimeout, {
          connectionString: address.forDriver,
          connectionTimeoutMillis: connectTimeout,
          max: connections || maxConnections
        })
      })
    })
})

const mysql = (form: string): Scheme => ({
  form,
  hasHost: true,
  hostParameter: "socketPath",
  parameters: [
    "table",
    "timeout",
    "ssl-mode",
    "ssl",
    "sslaccept",
    "socketPath",
    "charset",
    "connectTimeout",
    "connection_limit",
    "connectionLimit"
  ],
  refused: {
    ...Object.fromEntries(
      [
        "bigNumberStrings",
        "dateStrings",
        "decimalNumbers",
        "nestTables",
        "rowsAsArray",
        "supportBigNumbers",
        "timezone",
        "typeCast"
      ].map((name) => [name, "it changes how rows are read"])
    ),
    debug: "it prints statements with their values",
    flags: "FOUND_ROWS and others change what a write reports",
    multipleStatements: "the store sends single statements",
    sslmode: "write ssl-mode=REQUIRED or ssl-mode=VERIFY_IDENTITY instead",
    sslMode: "write ssl-mode=REQUIRED or ssl-mode=VERIFY_IDENTITY instead"
  },
  open: (address, stores) =>
    Effect.gen(function*() {
      const { hostname, password, port, username } = yield* withOneHost(address)
      if (address.path === "") return yield* misspelt(address.scheme, "The database is missing.")
      const ssl = yield* mysqlTls(address)
      const connectTimeout = yield* wholeNumber(address, "connectTimeout")
      const connections = (yield* wholeNumber(address, "connection_limit")) ??
        (yield* wholeNumber(address, "connectionLimit"))
      if (!/^utf8mb4(_\w+)?$/i.test(address.parameters.get("charset") ?? "utf8mb4")) {
        return yield* invalidUrl(`The parameter "charset" has to be utf8mb4.`)
      }
      const driver = yield* load("mysql2", address.scheme, () => import("mysql2").catch(rethrow))
      const socketPath = address.parameters.get("socketPath")
      const [host, portNumber] = [decodeURIComponent(hostname).replace(/^\[|\]$/g, ""), Number(port || 3306)]
      const target = socketPath === undefined ? { host, port: portNumber } : { path: socketPath }
      return yield* openSqlPool(address, stores, "MySQL", undefined, (timeout) =>
        openMySqlPool(driver, connectTimeout || timeout, target, {
          host,
          port: portNumber,
          user: decodeURIComponent(username),
          password: decodeURIComponent(password),
          database: address.path,
          connectTimeout: connectTimeout || timeout,
          connectionLimit: connections || maxConnections,
          ...(ssl === undefined ? {} : { ssl })
        }))
    })
})

/** How the connection is encrypted, by MySQL's own words, by mysql2's or by Prisma's. */
const mysqlTls = (address: Address) =>
  Effect.gen(function*() {
    const encrypted = { rejectUnauthorized: false, verifyIdentity: false }
    const verified = { rejectUnauthorized: true, verifyIdentity: true }
    const mode = yield* oneOf(address, "ssl-mode", "DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
    const accept = yield* oneOf(address, "sslaccept", "accept_invalid_certs", "strict")
    const option = yield* oneOf(
      address,
      "ssl",
      "true",
      "false",
      `{"rejectUnauthorized":true}`,
      `{"rejectUnauthorized":false}`
    )
    if ([mode, accept, option].filter((each) => each !== undefined).length > 1) {
      return yield* invalidUrl(`Write one of the parameters "ssl-mode", "ssl" and "sslaccept".`)
    }
    switch (mode ?? accept ?? option) {
      case "REQUIRED":
      case "accept_invalid_certs":
      case `{"rejectUnauthorized":false}`:
        return encrypted
      case "VERIFY_CA":
        return { ...verified, verifyIdentity: false }
      case "VERIFY_IDENTITY":
      case "strict":
      case "true":
      case `{"rejectUnauthorized":true}`:
        return verified
      default:
        return undefined
    }
  })

const sqlite = (form: string): Scheme => ({
  form,
  hasHost: false,
  parameters: ["table", "timeout"],
  open: (address, stores) =>
    Effect.gen(function*() {
      const { path, scheme } = address
      if (path === "") return yield* misspelt(scheme, "The file is missing.")
      const { LibsqlClient } = yield* load("@effect/sql-libsql", scheme, () =>
        import("@effect/sql-libsql").catch(rethrow))
      const url = path === ":memory:" ? path : `file:${path.split("/").map(encodeURIComponent).join("/")}`
      return yield* openSqlite(address, stores, LibsqlClient.layer({ url }))
    })
})

const memory: Scheme = {
  form: "memory:",
  hasHost: false,
  parameters: ["capacity"],
  open: (address, stores) =>
    Effect.gen(function*() {
      if (address.path !== "") return yield* misspelt(address.scheme, "There is nothing to name.")
      const capacity = yield* wholeNumber(address, "capacity")
      const layer = yield* Effect.promise(stores.memory)
      return layer(capacity === undefined ? {} : { capacity })
    })
}

const file: Scheme = {
  form: "file:./directory or file:///directory",
  hasHost: false,
  parameters: [],
  open: ({ path: directory, scheme }, stores) =>
    Effect.gen(function*() {
      if (directory === "") return yield* misspelt(scheme, "The directory is missing.")
      const layer = yield* Effect.promise(stores.file)
      return layer({ directory })
    })
}

const memcached: Scheme = {
  form: "memcached://host[:port],…",
  hasHost: true,
  parameters: ["prefix", "timeout"],
  open: (address, stores) =>
    Effect.gen(function*() {
      const { credentials, host, parameters, path, scheme } = address
      if (path !== "" || credentials !== undefined) {
        return yield* misspelt(scheme, "It takes the hosts and nothing else.")
      }
      const timeout = yield* wholeNumber(address, "timeout")
      const layer = yield* Effect.promise(stores.memcached)
      return layer({ servers: host, prefix: parameters.get("prefix"), timeout })
    })
}

const dynamodb: Scheme = {
  form: "dynamodb://[key:secret@]region/table",
  hasHost: true,
  parameters: ["endpoint", "createTable", "timeout"],
  open: (address, stores) =>
    Effect.gen(function*() {
      const { credentials, host: region, parameters, path: table, scheme } = address
      const endpoint = parameters.get("endpoint")
      if (!/^[\w-]+$/.test(region)) return yield* misspelt(scheme, "The region has letters, digits and dashes.")
      if (table === "") return yield* misspelt(scheme, "The table is missing.")
      if (endpoint !== undefined && !(/^https?:\/\//.test(endpoint) && URL.canParse(endpoint))) {
        return yield* invalidUrl(`The parameter "endpoint" has to be a URL, like http://localhost:8000.`)
      }
      const timeout = yield* wholeNumber(address, "timeout")
      const isEmulator = endpoint?.startsWith("http:") ?? false
      const createTable = yield* oneOf(address, "createTable", "true", "false")
      const signed = credentials ?? (isEmulator ? "local:local" : undefined)
      const [accessKeyId = "", secretAccessKey = ""] = signed?.split(/:(.*)/s).map(decodeURIComponent) ?? []
      if (signed !== undefined && secretAccessKey === "") return yield* misspelt(scheme, "The secret is missing.")
      const layer = yield* Effect.promise(stores.dynamodb)
      return layer({
        region,
        table,
        timeout,
        createTable: createTable === undefined ? isEmulator : createTable === "true",
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(signed === undefined ? {} : { credentials: { accessKeyId, secretAccessKey } })
      })
    })
}

const schemes: { readonly [name: string]: Scheme } = {
  "memory:": memory,
  "file:": file,
  "redis:": redis("redis://[user:password@]host[:port][/database]"),
  "rediss:": redis("rediss://[user:password@]host[:port][/database]"),
  "valkey:": redis("valkey://[user:password@]host[:port][/database]"),
  "valkeys:": redis("valkeys://[user:password@]host[:port][/database]"),
  "redis+cluster:": redis("redis+cluster://[user:password@]host[:port],…"),
  "rediss+cluster:": redis("rediss+cluster://[user:password@]host[:port],…"),
  "redis+sentinel:": redis("redis+sentinel://[user:password@]host[:port],…/master[/database]"),
  "rediss+sentinel:": redis("rediss+sentinel://[user:password@]host[:port],…/master[/database]"),
  "valkey+cluster:": redis("valkey+cluster://[user:password@]host[:port],…"),
  "valkeys+cluster:": redis("valkeys+cluster://[user:password@]host[:port],…"),
  "valkey+sentinel:": redis("valkey+sentinel://[user:password@]host[:port],…/master[/database]"),
  "valkeys+sentinel:": redis("valkeys+sentinel://[user:password@]host[:port],…/master[/database]"),
  "memcached:": memcached,
  "mongodb:": mongodb("mongodb://[user:password@]host[:port],…[/database]"),
  "mongodb+srv:": mongodb("mongodb+srv://[user:password@]host[/database]"),
  "dynamodb:": dynamodb,
  "postgres:": postgres("postgres://[user:password@]host[:port][/database]"),
  "postgresql:": postgres("postgresql://[user:password@]host[:port][/database]"),
  "mysql:": mysql("mysql://[user:password@]host[:port]/database"),
  "mariadb:": mysql("mariadb://[user:password@]host[:port]/database"),
  "sqlite:": sqlite("sqlite:./file, sqlite:///file or sqlite::memory:")
}
