import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import * as SqlClient from "@effect/sql/SqlClient"
import { expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { mkdirSync, readdirSync } from "node:fs"
import { inspect } from "node:util"
import { afterAll, describe } from "vitest"
import * as SessionStoreUrl from "../../src/layers/Url.js"
import { SessionConfigError } from "../../src/SessionConfigError.js"
import { temporaryDirectory } from "../app.js"
import { dynamoDbUrl, memcachedUrl, mongoDbUrl, mysqlUrl, postgresUrl, redisUrl } from "../backends.js"

const own = `url_test_${process.pid}`
const files = temporaryDirectory()

const drop = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(`DROP TABLE ${own}`)
})

afterAll(async () => {
  files.remove()
  if (postgresUrl) {
    await Effect.runPromise(Effect.provide(drop, PgClient.layer({ url: Redacted.make(postgresUrl) })))
  }
  if (mysqlUrl) await Effect.runPromise(Effect.provide(drop, MysqlClient.layer({ url: Redacted.make(mysqlUrl) })))
})

const withParameters = (url: string | undefined, parameters: string) =>
  url && `${url}${url.includes("?") ? "&" : "?"}${parameters}`

/** Writes a record, finds it and takes it away. */
const use = (url: SessionStoreUrl.Url | SessionStoreUrl.Options) =>
  Effect.gen(function*() {
    const store = yield* SessionStoreUrl.make(url)
    const key = `key-${Math.random()}`
    const version = yield* store.insert(key, new Uint8Array([0, 255, 10]), Date.now() + 20_000)
    const found = yield* store.load(key)
    expect(Option.map(found, ({ data }) => [...data])).toEqual(Option.some([0, 255, 10]))
    expect(yield* store.remove(key, Option.getOrThrow(version))).toBe(true)
    expect(yield* store.load(key)).toEqual(Option.none())
  }).pipe(Effect.scoped)

describe("opens what the URL says", () => {
  const stores: ReadonlyArray<readonly [name: string, url: string | undefined]> = [
    ["memory", "memory:?capacity=10"],
    ["a directory", `file:${files.directory}/by%20path`],
    ["a directory, by three slashes", `file://${files.directory}/a%23b`],
    ["Redis", withParameters(redisUrl, `prefix=${own}:&timeout=5000`)],
    ["Redis, in capitals", redisUrl?.replace("redis:", "REDIS:")],
    ["memcached", withParameters(memcachedUrl, `prefix=${own}:&timeout=5000`)],
    ["MongoDB", withParameters(mongoDbUrl, `collection=${own}&timeout=5000&appName=test`)],
    ["DynamoDB", dynamoDbUrl && `dynamodb://eu-central-1/${own}?endpoint=${dynamoDbUrl}&timeout=5000`],
    ["DynamoDB, with a key", dynamoDbUrl && `dynamodb://key::s%2Fe:c@eu-central-1/${own}?endpoint=${dynamoDbUrl}`],
    ["PostgreSQL", withParameters(postgresUrl, `table=${own}&schema=public&timeout=5000&application_name=test`)],
    ["MariaDB", withParameters(mysqlUrl?.replace("mysql:", "mariadb:"), `table=${own}&timeout=5000`)],
    ["SQLite", `sqlite:${files.directory}/a%23b.sqlite?table=other`],
    ["SQLite in memory", "sqlite::memory:"]
  ]
  for (const [name, url] of stores) {
    it.live.skipIf(url === undefined)(name, () => use(Redacted.make(url!)))
  }

  it.live.skipIf(postgresUrl === undefined)("PostgreSQL by the directory of its socket", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql.unsafe<{ unix_socket_directories: string }>("SHOW unix_socket_directories")
      const { password, pathname, port, username } = new URL(postgresUrl!)
      yield* use(
        `postgres://${username}:${password}@${pathname}?host=${
          row!.unix_socket_directories.split(",")[0]
        }&port=${port}&table=${own}`
      )
    }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(postgresUrl!) }))))

  it.live.skipIf(mysqlUrl === undefined)("MariaDB by its socket", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql.unsafe<{ socket: string }>("SELECT @@socket AS socket")
      const { password, pathname, username } = new URL(mysqlUrl!)
      const url = `mysql://${username}:${password}@${pathname}?socketPath=${row!.socket}&table=${own}`
      // The server may let the user in by TCP only. Only the socket is asked for here.
      expect(yield* answer(url)).toMatch(/^taken$|ER_ACCESS_DENIED_ERROR/)
    }).pipe(Effect.provide(MysqlClient.layer({ url: Redacted.make(mysqlUrl!) }))))

  it.live.skipIf(redisUrl === undefined)("Valkey's scheme", () => use(redisUrl!.replace("redis:", "valkey:")))

  it.live.skipIf(postgresUrl === undefined)(
    "what a provider appends, on a server that answers",
    () =>
      Effect.gen(function*() {
        yield* use(
          withParameters(
            postgresUrl,
            `table=${own}&sslmode=disable&channel_binding=prefer&connect_timeout=5&connection_limit=3&pgbouncer=true`
          )!
        )
        yield* use(
          withParameters(mysqlUrl, `table=${own}&ssl-mode=DISABLED&charset=utf8mb4_general_ci&connectionLimit=3`)!
        )
      })
  )

  it.live("as text, as options and from Config", () =>
    Effect.gen(function*() {
      yield* use("memory:")
      yield* use({ url: "memory:" })
      const layer = SessionStoreUrl.layerConfig({ url: Config.redacted("STORE") })
      const from = (url: string) =>
        Effect.either(Effect.scoped(Layer.build(layer))).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["STORE", url]])))
        )
      expect(Either.isRight(yield* from("memory:"))).toBe(true)
      expect(yield* from("memory:x")).toMatchObject({ left: { _tag: "SessionConfigError", option: "url" } })
    }))
})

const answer = (url: string) =>
  build(url).pipe(
    Effect.as("taken"),
    Effect.catchAll((error) => Effect.succeed(error.message)),
    Effect.timeoutTo({ duration: "10 seconds", onSuccess: (text) => text, onTimeout: () => "waits" })
  )

describe("understands a URL as a provider gives it", () => {
  const urls: ReadonlyArray<readonly [provider: string, url: string]> = [
    ["Neon", "postgresql://u:p@127.0.0.1:1/db?sslmode=require&channel_binding=require"],
    ["Neon, for clients without SNI", "postgresql://u:p@127.0.0.1:1/db?options=endpoint%3Dep-cool&sslmode=require"],
    ["Supabase with its pooler", "postgres://postgres.abc:p@127.0.0.1:1/postgres?sslmode=require&pgbouncer=true"],
    ["Prisma's pool", "postgresql://u:p@127.0.0.1:1/db?connection_limit=5&pgbouncer=true&schema=public"],
    ["Aiven for PostgreSQL", "postgres://u:p@127.0.0.1:1/defaultdb?sslmode=require"],
    ["what pg writes in its warning", "postgresql://u:p@127.0.0.1:1/db?uselibpqcompat=true&sslmode=require"],
    ["libpq's timeouts", "postgresql://u:p@127.0.0.1:1/db?connect_timeout=1&target_session_attrs=read-write"],
    ["Cloud SQL by a socket", "postgresql://u:p@/db?host=/cloudsql/project:region:instance"],
    ["Cloud SQL by a socket, encoded", "postgresql://u:p@/db?host=%2Fcloudsql%2Fproject:region:instance"],
    ["a socket without a user", "postgresql:///db?host=/no/such/directory&user=u&password=p"],
    ["Heroku", "postgres://u:p@127.0.0.1:1/db?ssl=true"],
    ["PlanetScale", "mysql://u:p@127.0.0.1:1/db?ssl={%22rejectUnauthorized%22:true}"],
    ["PlanetScale, not encoded", `mysql://u:p@127.0.0.1:1/db?ssl={"rejectUnauthorized":true}`],
    ["Prisma for PlanetScale", "mysql://u:p@127.0.0.1:1/db?sslaccept=strict"],
    ["Aiven and DigitalOcean for MySQL", "mysql://u:p@127.0.0.1:1/defaultdb?ssl-mode=REQUIRED"],
    ["Cloud SQL for MySQL", "mysql://u:p@/db?socketPath=/cloudsql/project:region:instance"],
    ["Aiven for Valkey", "valkeys://default:p@127.0.0.1:1"],
    ["Valkey", "valkey://127.0.0.1:1/0?timeout=100"],
    ["Upstash and Heroku", "rediss://default:p@127.0.0.1:1"],
    ["DocumentDB", "mongodb://u:p@127.0.0.1:1/?replicaSet=rs0&readPreference=secondaryPreferred&retryWrites=false"],
    ["Atlas and Cosmos DB", "mongodb://u:p@127.0.0.1:1/db?retryWrites=true&w=majority&maxIdleTimeMS=120000&appName=x"]
  ]
  for (const [provider, url] of urls) {
    it.live(provider, () => Effect.map(answer(url), (text) => expect(text).toMatch(/^(taken|waits|Failed to connect)/)))
  }
})

describe("refuses by name a parameter that would break a promise", () => {
  const urls: ReadonlyArray<readonly [url: string, says: RegExp]> = [
    ["postgres://h/db?query_timeout=5", /"query_timeout".*timeout=/],
    ["postgres://h/db?replication=database", /"replication"/],
    ["postgres://h/db?client_encoding=latin1", /"client_encoding".*UTF-8/],
    ["postgres://h/db?target_session_attrs=standby", /"target_session_attrs" has to be one of any, read-write/],
    ["postgres://h/db?connect_timeout=soon", /"connect_timeout" has to be a whole number/],
    ["mysql://h/db?flags=FOUND_ROWS", /"flags"/],
    ["mysql://h/db?debug=true", /"debug"/],
    ["mysql://h/db?charset=latin1", /"charset" has to be utf8mb4/],
    ["mysql://h/db?ssl-mode=REQUIRED&sslaccept=strict", /one of the parameters/]
  ]
  for (const [url, says] of urls) {
    it.live(url, () => Effect.map(answer(url), (text) => expect(text).toMatch(says)))
  }
})

describe("drops white space around a URL", () => {
  const directory = `${files.directory}/space`
  const urls = [
    "redis://127.0.0.1:1",
    "memcached://127.0.0.1:1",
    "mongodb://127.0.0.1:1/x",
    "postgres://127.0.0.1:1/x",
    "mysql://127.0.0.1:1/x",
    `file:${directory}/sessions`,
    `sqlite:${directory}/sessions.db`,
    "memory:"
  ]
  for (const url of urls) {
    for (const space of ["\n", "\r\n", " \t", "\u00a0"]) {
      it.live(`${url.split(":")[0]}: and ${JSON.stringify(space)}`, () =>
        Effect.gen(function*() {
          mkdirSync(directory, { recursive: true })
          for (const text of [url + space, space + url]) {
            expect(yield* answer(text)).toMatch(/^(taken|Failed to connect)/)
          }
          expect(readdirSync(directory).filter((name) => /\s/.test(name))).toEqual([])
        }))
    }
  }
})

const build = (url: string) => Effect.scoped(Layer.build(SessionStoreUrl.layer(url)))

describe("says what is wrong with a URL", () => {
  const schemes = /memory: file: redis: rediss: .*sqlite:/
  const bad: ReadonlyArray<readonly [url: string, says: RegExp]> = [
    ["", schemes],
    ["hunter2", schemes],
    ["hunter2://host", schemes],
    ["constructor:x", schemes],
    ["http://host", schemes],
    ["memory:x", /nothing to name/],
    ["memory://host", /host/],
    ["memory:?capacity=many", /"capacity" has to be a whole number/],
    ["memory:?capacity=-1", /"capacity" has to be a whole number/],
    ["memory:?capacity=0", /positive/],
    ["memory:?capacity", /"capacity" is empty/],
    ["memory:?capacity=1&capacity=2", /"capacity" is there twice/],
    ["memory:?size=1", /not known. It takes capacity/],
    ["file:", /directory is missing.*file:\.\/directory/],
    ["file:?x=1", /not known. It takes none/],
    ["file://host/directory", /No host.*file:\/\/\/directory/],
    ["file:./100%", /it is %25/],
    ["file:./a#b", /it is %23/],
    ["file:./a%00b", /directory/],
    ["redis:", /host is missing.*redis:\/\/\[user/],
    ["redis://", /host is missing/],
    ["redis://u:hunter2@", /host is missing/],
    ["redis:host", /host is missing/],
    ["redis://host/0?timeout=2s", /"timeout" has to be a whole number, of milliseconds/],
    ["redis://host/0?timeout=0", /1 millisecond/],
    ["redis://host/0?maxRetriesPerRequest=5", /not known. It takes prefix, timeout/],
    ["redis://host:port", /redis:\/\//],
    ["redis://host/first", /redis:\/\//],
    ["redis+cluster://", /host is missing.*redis\+cluster:/],
    ["rediss+cluster://", /host is missing.*rediss\+cluster:/],
    ["rediss+sentinel://a,b", /master/],
    ["redis+sentinel://a,b", /redis\+sentinel:/],
    ["memcached://", /host is missing.*memcached:/],
    ["memcached://a,,b", /each server/],
    ["memcached://a/b", /nothing else/],
    ["memcached://u:hunter2@a", /nothing else/],
    ["memcached://a?table=x", /It takes prefix, timeout/],
    ["mongodb://", /host is missing.*mongodb:/],
    ["mongodb://host:port", /mongodb:\/\//],
    ["mongodb://host/db?nonsense=1", /options that the driver does not know/],
    ["mongodb://host/db?collection=a$b", /letters, digits/],
    ["mongodb+srv://", /host is missing.*mongodb\+srv:/],
    ["dynamodb://eu-central-1", /table is missing.*dynamodb:/],
    ["dynamodb:///sessions", /host is missing/],
    ["dynamodb://eu.central/sessions", /region/],
    ["dynamodb://eu-central-1/sessions/x", /letters, digits/],
    ["dynamodb://key@eu-central-1/sessions", /secret is missing/],
    ["dynamodb://eu-central-1/sessions?endpoint=localhost:8000", /"endpoint" has to be a URL/],
    ["dynamodb://eu-central-1/sessions?createTable=yes", /"createTable" has to be one of true, false/],
    ["postgres://", /host is missing.*postgres:/],
    ["postgres://host:port/db", /host or its port/],
    ["postgres://host/db?sslmod=require", /not known. It takes table, schema, timeout.* sslmode/],
    ["postgres://host/db?sslmode=", /"sslmode" is empty/],
    ["postgres://host/db?sslmode", /"sslmode" is empty/],
    ["postgres://host/db?sslmode=verify-full&sslmode=disable", /"sslmode" is there twice/],
    ["postgres://u:hunter2@127.0.0.1:1/db", /Failed to connect to PostgreSQL \(ECONNREFUSED\)/],
    ["postgresql://", /host is missing.*postgresql:/],
    ["mysql://host", /database is missing.*mysql:/],
    ["mysql://host:port/db", /host or its port/],
    [
      "mysql://host/db?ssl-mode=PREFERRED",
      /"ssl-mode" has to be one of DISABLED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY/
    ],
    ["mysql://u:hunter2@127.0.0.1:1/db", /Failed to connect to MySQL \(ECONNREFUSED\)/],
    ["mysql://u:hunter2@127.0.0.1:1/db?ssl-mode=VERIFY_IDENTITY", /Failed to connect to MySQL/],
    ["mariadb:///db", /host is missing.*mariadb:/],
    ["sqlite:", /file is missing.*sqlite::memory:/],
    ["sqlite://./file", /No host/],
    ["sqlite:/no/such/folder/file", /Failed to connect to SQLite: is the URL right/],
    ["sqlite::memory:?table=a-b", /identifier/]
  ]
  for (const [url, says] of bad) {
    it.live(JSON.stringify(url), () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(build(url))
        expect(error).toBeInstanceOf(SessionConfigError)
        expect(error.message).toMatch(says)
        expect(inspect(error, { depth: 20 })).not.toContain("hunter2")
      }))
  }
})

describe("shows nothing of a password that is not encoded as it should be", () => {
  const urls = [
    "redis://me:PASSWORD@127.0.0.1:1/0?timeout=50",
    "redis+cluster://me:PASSWORD@127.0.0.1:1?timeout=50",
    "redis+sentinel://me:PASSWORD@127.0.0.1:1/master?timeout=50",
    "memcached://me:PASSWORD@127.0.0.1:1",
    "mongodb://me:PASSWORD@127.0.0.1:1/db?timeout=50",
    "dynamodb://me:PASSWORD@eu-central-1/sessions?endpoint=http://127.0.0.1:1&timeout=50",
    "postgres://me:PASSWORD@127.0.0.1:1/db",
    "mysql://me:PASSWORD@127.0.0.1:1/db",
    "mailto:me:PASSWORD@127.0.0.1"
  ]
  const passwords = ["", ..."/?#@:%\\&=+ \n[]"].flatMap((char) => [`xyzzy${char}plugh`, `12${char}plugh`])
  for (const url of urls) {
    it.live(url, () =>
      Effect.forEach(passwords, (password) =>
        Effect.gen(function*() {
          const exit = yield* Effect.exit(build(url.replace("PASSWORD", password)))
          const shown = inspect(exit, { depth: 20 }) + String(exit) + JSON.stringify(exit) +
            (Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
          expect(shown).not.toMatch(/xyzzy|plugh/)
          if (Exit.isFailure(exit)) {
            expect(exit.cause).toMatchObject({ _tag: "Fail", error: { option: expect.anything() } })
          }
          if (/[/?#@\s\\]/.test(password) && !url.startsWith("mailto")) {
            expect(shown).toContain("Percent-encode")
          }
        }), { concurrency: 8 }))
  }
})
