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
 * | `redis+cluster://[user:password@]host[:port],…` | `ioredis` | the same |
 * | `redis+sentinel://[user:password@]host[:port],…/master[/database]` | `ioredis` | the same |
 * | `rediss+cluster://…`, `rediss+sentinel://…` for TLS | `ioredis` | the same |
 * | `memcached://host[:port],…` | | `prefix`, `timeout` |
 * | `mongodb://[user:password@]host[:port],…[/database]`, `mongodb+srv://…` | `mongodb` | `collection`, `timeout`, and the driver's own |
 * | `dynamodb://[key:secret@]region/table` | `@aws-sdk/client-dynamodb` | `endpoint`, `createTable`, `timeout` |
 * | `postgres://[user:password@]host[:port][/database]`, `postgresql://…` | `@effect/sql-pg` | `table`, `schema`, `timeout`, and of the driver's: `application_name`, `options`, `statement_timeout`, `sslmode`, `sslrootcert`, `sslcert`, `sslkey` |
 * | `mysql://[user:password@]host[:port]/database`, `mariadb://…` | `@effect/sql-mysql2` | `table`, `timeout`, `ssl-mode` |
 * | `sqlite:./file`, `sqlite:///file`, `sqlite::memory:` | `@effect/sql-libsql` | `table`, `timeout` |
 *
 * `timeout` is in milliseconds: the longest that an operation may take, 2000 by
 * default. `ssl-mode` is `REQUIRED` (encrypted, whoever answers) or
 * `VERIFY_IDENTITY`; without it nothing is encrypted. An `endpoint` by plain
 * `http://` is an emulator: there the table is created unless `createTable` is
 * `false`, and requests are signed with "local" where no key is given;
 * everywhere else `createTable` is `false` and keys are found as the AWS SDK
 * does it. What else the parameters mean, and whether the server has to be up
 * when the Layer is built, is told where the store is defined.
 *
 * Everything in a URL is percent-encoded: a `/`, `?`, `#`, `@` or `%` in a
 * password, and a `?`, `#` or `%` in the name of a file.
 *
 * @since 0.1.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { connect, Socket } from "node:net"
import { loadDriver, rethrow } from "../internal/driver.js"
import { SessionConfigError } from "../SessionConfigError.js"
import { SessionStore } from "../SessionStore.js"

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
export const layer = (url: Url | Options): Layer.Layer<SessionStore, SessionConfigError> =>
  Layer.unwrapEffect(Effect.suspend(() => open(textOf(url))))

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
  if (typeof url === "string") return url
  return Redacted.isRedacted(url) ? Redacted.value(url) : textOf(url.url)
}

type Opened = Effect.Effect<Layer.Layer<SessionStore, SessionConfigError>, SessionConfigError>

const open = (text: string): Opened => {
  const name = /^[a-z+]+:/i.exec(text)?.[0].toLowerCase() ?? ""
  const scheme = Object.hasOwn(schemes, name) ? schemes[name] : undefined
  return scheme === undefined
    ? wrong(`A store's URL begins with one of ${Object.keys(schemes).join(" ")}`)
    : Effect.flatMap(parse(name + text.slice(name.length), scheme), scheme.open)
}

// Reading a URL. Nothing of it is repeated: what a password holds that is not
// encoded as it should be makes the rest of it a host, a path, a parameter.

interface Address {
  readonly scheme: Scheme
  /** `user:password`, as it was written. */
  readonly credentials: string | undefined
  /** Decoded; of a URL with a host what comes after the slash. */
  readonly path: string
  readonly host: string
  /** Ours, decoded. */
  readonly parameters: ReadonlyMap<string, string>
  /** The URL without our parameters. */
  readonly forDriver: string
}

interface Scheme {
  readonly form: string
  readonly hasHost: boolean
  readonly parameters: ReadonlyArray<string>
  /** Parameters that are left to the driver. */
  readonly driver?: ReadonlyArray<string> | "any"
  readonly open: (address: Address) => Opened
}

type Parsed<A> = Either.Either<A, SessionConfigError>

const wrong = (message: string) => new SessionConfigError({ option: "url", message })

const misspelt = ({ form }: Scheme, what: string) => wrong(`${what} Write the URL as ${form}`)

const parse = (text: string, scheme: Scheme): Parsed<Address> =>
  Either.gen(function*() {
    const parts = /^[^:]+:(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?$/s.exec(text)
    if (parts === null) return yield* Either.left(misspelt(scheme, `Percent-encode a "#": it is %23.`))
    const [, authority, path = "", query] = parts
    if (!isEncoded(text)) return yield* Either.left(misspelt(scheme, `Percent-encode a "%": it is %25.`))
    const mistake = scheme.hasHost ? mistakeOfHost(text, authority) : mistakeOfFile(authority)
    if (mistake !== undefined) return yield* Either.left(misspelt(scheme, mistake))

    const { left, ours } = yield* readParameters(query, scheme)
    const at = authority?.lastIndexOf("@") ?? -1
    return {
      scheme,
      credentials: at < 0 ? undefined : authority?.slice(0, at),
      host: authority?.slice(at + 1) ?? "",
      path: decodeURIComponent(scheme.hasHost ? path.slice(1) : path),
      parameters: ours,
      forDriver: text.replace(/\?.*/s, "") + (left.length === 0 ? "" : `?${left.join("&")}`)
    }
  })

const isEncoded = (text: string) => {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

const mistakeOfHost = (text: string, authority = ""): string | undefined => {
  const isTwice = text.indexOf("@") !== text.lastIndexOf("@")
  if (isTwice || text.includes("@") !== authority.includes("@") || /[\s\\]/.test(text)) {
    return `Percent-encode the password: "/", "?" and "@" are %2F, %3F and %40.`
  }
  return /^([^@]*@)?$/.test(authority) ? "The host is missing." : undefined
}

const mistakeOfFile = (authority = ""): string | undefined =>
  authority === "" ? undefined : "No host belongs between two slashes and the third."

const readParameters = (query: string | undefined, scheme: Scheme) =>
  Either.gen(function*() {
    const { driver = [], parameters } = scheme
    const known = driver === "any" ? parameters : [...parameters, ...driver]
    const ours = new Map<string, string>()
    const left: Array<string> = []
    const seen = new Set<string>()
    for (const pair of query ? query.split("&") : []) {
      const [name = "", value = ""] = pair.split(/=(.*)/s).map(decodeURIComponent)
      if (known.includes(name)) {
        if (value === "" || seen.has(name)) {
          return yield* Either.left(wrong(`The parameter "${name}" is ${value === "" ? "empty" : "there twice"}.`))
        }
        seen.add(name)
      } else if (driver !== "any") {
        const they = known.length === 0 ? "It takes none." : `It takes ${known.join(", ")}.`
        return yield* Either.left(misspelt(scheme, `There is a parameter that is not known. ${they}`))
      }
      if (parameters.includes(name)) ours.set(name, value)
      else left.push(pair)
    }
    return { ours, left }
  })

/** A parameter that is a whole number, if it is there. */
const wholeNumber = ({ parameters }: Address, name: string): Parsed<number | undefined> => {
  const text = parameters.get(name)
  return text === undefined || /^\d{1,15}$/.test(text)
    ? Either.right(text === undefined ? undefined : Number(text))
    : Either.left(
      wrong(`The parameter "${name}" has to be a whole number${name === "timeout" ? ", of milliseconds" : ""}.`)
    )
}

/** A parameter that is one of some words, if it is there. */
const oneOf = <const Word extends string>(
  { parameters }: Address,
  name: string,
  ...words: ReadonlyArray<Word>
): Parsed<Word | undefined> => {
  const text = parameters.get(name)
  const word = words.find((word) => word === text)
  return text === undefined || word !== undefined
    ? Either.right(word)
    : Either.left(wrong(`The parameter "${name}" has to be one of ${words.join(", ")}.`))
}

/** The URL as Node reads it, which knows of one host only. */
const withOneHost = ({ forDriver, scheme }: Address): Parsed<URL> =>
  URL.canParse(forDriver)
    ? Either.right(new URL(forDriver))
    : Either.left(misspelt(scheme, "The host or its port makes no sense."))

// Loading what it needs.

const load = <A>(name: string, { form }: Scheme, from: () => Promise<A>): Effect.Effect<A, SessionConfigError> =>
  loadDriver(name, form.replace(/:.*/s, ":"), from)

const openSql = (
  address: Address,
  database: string,
  client: (connectTimeout: number) => Layer.Layer<SqlClient.SqlClient, unknown>
): Opened =>
  Effect.gen(function*() {
    const { parameters } = address
    const timeout = (yield* wholeNumber(address, "timeout")) ?? 2000
    const Sql = yield* Effect.promise(() => import("./Sql.js"))
    return Sql.layer({ table: parameters.get("table"), schema: parameters.get("schema"), timeout }).pipe(
      Layer.provide(Layer.catchAllCause(client(timeout), (cause) => Layer.failCause(unreachable(database, cause))))
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
  if (!(error instanceof Error)) return ""
  return "code" in error && error.code !== "" ? ` (${String(error.code)})` : codeOf(error.cause)
}

/** Connections of a process to an SQL database. */
const maxConnections = 10

/**
 * A client none of whose sockets outlives it. Drivers say goodbye and wait for
 * an answer, one of them for good: a server that is silent gets a second.
 */
const withSockets = <A, E>(client: (keep: (socket: Socket) => Socket) => Layer.Layer<A, E>): Layer.Layer<A, E> =>
  Layer.scopedContext(Effect.gen(function*() {
    const sockets = new Set<Socket>()
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) =>
      Scope.close(scope, exit).pipe(
        Effect.disconnect,
        Effect.interruptible,
        Effect.timeoutOption("1 second"),
        Effect.zipRight(Effect.sync(() => sockets.forEach((socket) => socket.destroySoon())))
      ))
    const keep = (socket: Socket) => {
      sockets.add(socket)
      return socket.once("close", () => sockets.delete(socket))
    }
    return yield* Layer.buildWithScope(client(keep), scope)
  }))

// The stores.

const redis = (form: string): Scheme => ({
  form,
  hasHost: true,
  parameters: ["prefix", "timeout"],
  driver: ["db", "family", "password", "sentinelPassword", "sentinelUsername", "tls", "username"],
  open: (address) =>
    Effect.gen(function*() {
      const timeout = yield* wholeNumber(address, "timeout")
      const Redis = yield* Effect.promise(() => import("./Redis.js"))
      return Redis.layer({ url: address.forDriver, prefix: address.parameters.get("prefix"), timeout })
    })
})

const mongodb = (form: string): Scheme => ({
  form,
  hasHost: true,
  parameters: ["collection", "timeout"],
  driver: "any",
  open: (address) =>
    Effect.gen(function*() {
      const timeout = yield* wholeNumber(address, "timeout")
      const MongoDb = yield* Effect.promise(() => import("./MongoDb.js"))
      return MongoDb.layer({ url: address.forDriver, collection: address.parameters.get("collection"), timeout })
    })
})

const postgres = (form: string): Scheme => ({
  form,
  hasHost: true,
  parameters: ["table", "schema", "timeout"],
  driver: ["application_name", "options", "statement_timeout", "sslmode", "sslrootcert", "sslcert", "sslkey"],
  open: (address) =>
    Effect.gen(function*() {
      yield* withOneHost(address)
      const { PgClient } = yield* load("@effect/sql-pg", address.scheme, () => import("@effect/sql-pg").catch(rethrow))
      return yield* openSql(address, "PostgreSQL", (connectTimeout) =>
        withSockets((keep) =>
          PgClient.layer({
            url: Redacted.make(address.forDriver),
            connectTimeout,
            maxConnections,
            stream: () => keep(new Socket())
          })
        ))
    })
})

const mysql = (form: string): Scheme => ({
  form,
  hasHost: true,
  parameters: ["table", "timeout", "ssl-mode"],
  open: (address) =>
    Effect.gen(function*() {
      const { hostname, password, port, username } = yield* withOneHost(address)
      if (address.path === "") return yield* misspelt(address.scheme, "The database is missing.")
      const sslMode = yield* oneOf(address, "ssl-mode", "REQUIRED", "VERIFY_IDENTITY")
      const { MysqlClient } = yield* load("@effect/sql-mysql2", address.scheme, () =>
        import("@effect/sql-mysql2").catch(rethrow))
      const [host, portNumber] = [decodeURIComponent(hostname).replace(/^\[|\]$/g, ""), Number(port || 3306)]
      return yield* openSql(address, "MySQL", (connectTimeout) =>
        withSockets((keep) =>
          MysqlClient.layer({
            host,
            port: portNumber,
            username: decodeURIComponent(username),
            password: Redacted.make(decodeURIComponent(password)),
            database: address.path,
            maxConnections,
            poolConfig: {
              connectTimeout,
              maxIdle: maxConnections,
              stream: () =>
                keep(connect({ host, port: portNumber, keepAlive: true, noDelay: true })),
              ...(sslMode &&
                { ssl: { rejectUnauthorized: sslMode !== "REQUIRED", verifyIdentity: sslMode !== "REQUIRED" } })
            }
          })
        ))
    })
})

const sqlite = (form: string): Scheme => ({
  form,
  hasHost: false,
  parameters: ["table", "timeout"],
  open: (address) =>
    Effect.gen(function*() {
      const { parameters, path, scheme } = address
      if (path === "") return yield* misspelt(scheme, "The file is missing.")
      const { LibsqlClient } = yield* load("@effect/sql-libsql", scheme, () =>
        import("@effect/sql-libsql").catch(rethrow))
      if (path !== ":memory:") {
        const url = `file:${path.split("/").map(encodeURIComponent).join("/")}`
        return yield* openSql(address, "SQLite", () =>
          LibsqlClient.layer({ url }))
      }
      const Sql = yield* Effect.promise(() =>
        import("./Sql.js")
      )
      const ddl = Either.getOrElse(Sql.ddl("sqlite", { table: parameters.get("table") }), () => "")
      // In memory libsql forgets a table that was made in a transaction, so it is made before.
      return yield* openSql(address, "SQLite", () =>
        Layer.tap(LibsqlClient.layer({ url: path }), (context) => {
          const sql = Context.get(context, LibsqlClient.LibsqlClient)
          return Effect.forEach(ddl.split(/;\n/).filter(Boolean), (statement) => sql.unsafe(statement))
        }))
    })
})

const memory: Scheme = {
  form: "memory:",
  hasHost: false,
  parameters: ["capacity"],
  open: (address) =>
    Effect.gen(function*() {
      if (address.path !== "") return yield* misspelt(address.scheme, "There is nothing to name.")
      const capacity = yield* wholeNumber(address, "capacity")
      const Memory = yield* Effect.promise(() => import("./Memory.js"))
      return Memory.layer(capacity === undefined ? {} : { capacity })
    })
}

const file: Scheme = {
  form: "file:./directory or file:///directory",
  hasHost: false,
  parameters: [],
  open: ({ path: directory, scheme }) =>
    Effect.gen(function*() {
      if (directory === "") return yield* misspelt(scheme, "The directory is missing.")
      const FileSystem = yield* Effect.promise(() => import("./FileSystem.js"))
      return FileSystem.layer({ directory })
    })
}

const memcached: Scheme = {
  form: "memcached://host[:port],…",
  hasHost: true,
  parameters: ["prefix", "timeout"],
  open: (address) =>
    Effect.gen(function*() {
      const { credentials, host, parameters, path, scheme } = address
      if (path !== "" || credentials !== undefined) {
        return yield* misspelt(scheme, "It takes the hosts and nothing else.")
      }
      const timeout = yield* wholeNumber(address, "timeout")
      const Memcached = yield* Effect.promise(() => import("./Memcached.js"))
      return Memcached.layer({ servers: host, prefix: parameters.get("prefix"), timeout })
    })
}

const dynamodb: Scheme = {
  form: "dynamodb://[key:secret@]region/table",
  hasHost: true,
  parameters: ["endpoint", "createTable", "timeout"],
  open: (address) =>
    Effect.gen(function*() {
      const { credentials, host: region, parameters, path: table, scheme } = address
      const endpoint = parameters.get("endpoint")
      if (!/^[\w-]+$/.test(region)) return yield* misspelt(scheme, "The region has letters, digits and dashes.")
      if (table === "") return yield* misspelt(scheme, "The table is missing.")
      if (endpoint !== undefined && !(/^https?:\/\//.test(endpoint) && URL.canParse(endpoint))) {
        return yield* wrong(`The parameter "endpoint" has to be a URL, like http://localhost:8000.`)
      }
      const timeout = yield* wholeNumber(address, "timeout")
      const isEmulator = endpoint?.startsWith("http:") ?? false
      const createTable = yield* oneOf(address, "createTable", "true", "false")
      const signed = credentials ?? (isEmulator ? "local:local" : undefined)
      const [accessKeyId = "", secretAccessKey = ""] = signed?.split(/:(.*)/s).map(decodeURIComponent) ?? []
      if (signed !== undefined && secretAccessKey === "") return yield* misspelt(scheme, "The secret is missing.")
      const DynamoDb = yield* Effect.promise(() => import("./DynamoDb.js"))
      return DynamoDb.layer({
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
  "redis+cluster:": redis("redis+cluster://[user:password@]host[:port],…"),
  "rediss+cluster:": redis("rediss+cluster://[user:password@]host[:port],…"),
  "redis+sentinel:": redis("redis+sentinel://[user:password@]host[:port],…/master[/database]"),
  "rediss+sentinel:": redis("rediss+sentinel://[user:password@]host[:port],…/master[/database]"),
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
