/**
 * Every backend, with something between it and the requests under test that
 * loses or holds what it is told: a proxy where there is a server, a decorator
 * where there is none.
 */
import * as Dynamo from "@aws-sdk/client-dynamodb"
import * as NodeKeyValueStore from "@effect/platform-node/NodeKeyValueStore"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import * as SqlClient from "@effect/sql/SqlClient"
import { SessionStore } from "effect-session"
import * as SessionStoreKeyValueStore from "effect-session/layers/KeyValueStore"
import * as SessionStoreUrl from "effect-session/layers/Url"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { MongoClient } from "mongodb"
import { temporaryDirectory } from "../app.js"
import { dynamoDbUrl, memcachedUrl, mongoDbUrl, mysqlUrl, postgresUrl, redisUrl } from "../backends.js"
import * as Faults from "../faults.js"
import { type Match, type Proxy, startProxy } from "../proxy.js"

type Store = SessionStore["Type"]
type Between = Effect.Effect<unknown>

export interface Line {
  /** The store at the other end. */
  readonly direct: Store
  /** The store as the requests under test reach it. */
  readonly store: Store
  readonly loseReply: (between?: Between) => Faults.Fault
  readonly loseRequest: (between?: Between) => Faults.Fault
  /** Fails as soon as `between` has happened; done when it is released. */
  readonly hold: (
    between?: Between
  ) => { readonly fault: Faults.Fault; readonly release: Effect.Effect<unknown, unknown> }
  /** How many operations have reached the line. */
  readonly sent: (() => number) | undefined
}

export interface Backend {
  readonly name: string
  readonly open: Effect.Effect<Line, unknown, Scope.Scope>
}

const build = <E>(layer: Layer.Layer<SessionStore, E>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), Context.get(SessionStore))

/** Without a socket: the call itself is lost or held. */
const decorated = (name: string, layer: Layer.Layer<SessionStore, unknown>): Backend => ({
  name,
  open: Effect.map(build(layer), (store): Line => ({
    direct: store,
    store,
    loseReply: Faults.loseReply,
    loseRequest: Faults.loseRequest,
    hold: (between = Effect.void) => {
      let late: Effect.Effect<unknown, unknown> = Effect.void
      return {
        fault: (call, operation) => {
          late = call
          return Faults.loseRequest(between)(call, operation)
        },
        release: Effect.suspend(() => late)
      }
    },
    sent: undefined
  }))
})

const proxyTo = (url: string): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => startProxy(Number(new URL(url).port))),
    (proxy) => Effect.promise(() => proxy.close())
  )

/** Set right before the operation: only what looks like one is lost, not what a driver says besides. */
const proxied = (proxy: Proxy, isOperation: Match, direct: Store, store: Store): Line => {
  const set = (trap: () => unknown): Faults.Fault => (call) => Effect.zipRight(Effect.sync(trap), call)
  const run = (between: Between = Effect.void) => () => Effect.runPromise(between)
  return {
    direct,
    store,
    loseReply: (between) => set(() => proxy.loseReply(isOperation, run(between))),
    loseRequest: (between) => set(() => proxy.loseRequest(isOperation, run(between))),
    hold: (between) => {
      let release = () => Promise.resolve()
      return {
        fault: set(() => {
          release = proxy.hold(isOperation, run(between)).release
        }),
        release: Effect.promise(() => release())
      }
    },
    sent: () => proxy.requests.filter(isOperation).length
  }
}

const says = (pattern: RegExp): Match => (request) => pattern.test(request.toString("latin1"))

/** A URL with another address, and one more parameter. */
const rewrite = (text: string, parameter: string, address: string) => {
  const url = new URL(text)
  url.host = address
  return `${url.href}${url.search === "" ? "?" : "&"}${parameter}`
}

const onServer = (
  name: string,
  url: string | undefined,
  isOperation: Match,
  at: (url: string, address: string) => string,
  drop?: (url: string) => Effect.Effect<unknown>
): ReadonlyArray<Backend> =>
  url === undefined ? [] : [{
    name,
    open: Effect.gen(function*() {
      yield* Effect.addFinalizer(() => drop?.(url) ?? Effect.void)
      const proxy = yield* proxyTo(url)
      const direct = yield* build(SessionStoreUrl.layer(at(url, new URL(url).host)))
      return proxied(proxy, isOperation, direct, yield* build(SessionStoreUrl.layer(at(url, proxy.address))))
    })
  }]

const own = `lines_${process.pid}`

const dropTables = (client: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`DROP TABLE ${own}`)
  }).pipe(Effect.provide(client), Effect.orDie)

/** Parse or Bind of a prepared statement: the text is sent once, and the name each time. */
const sql = says(/effect_session_/)
/** COM_STMT_EXECUTE: the text was sent before, with a statement's preparation. */
const executes: Match = (request) => request[4] === 0x17

const files = (name: string, layer: (directory: string) => Layer.Layer<SessionStore, unknown>) =>
  decorated(
    name,
    Layer.unwrapScoped(Effect.map(
      Effect.acquireRelease(Effect.sync(temporaryDirectory), ({ remove }) => Effect.sync(remove)),
      ({ directory }) => layer(directory)
    ))
  )

export const backends: ReadonlyArray<Backend> = [
  decorated("memory", SessionStoreUrl.layer("memory:")),
  files("file", (directory) => SessionStoreUrl.layer(`file:${directory}`)),
  files("SQLite", (directory) => SessionStoreUrl.layer(`sqlite:${directory}/sessions`)),
  files(
    "KeyValueStore",
    (directory) => Layer.provide(SessionStoreKeyValueStore.layer, NodeKeyValueStore.layerFileSystem(directory))
  ),
  ...onServer(
    "Redis",
    redisUrl,
    says(/\r\n(hgetall|evalsha|eval)\r\n/i),
    (url, address) => rewrite(url, `prefix=${own}:`, address)
  ),
  ...onServer("Memcached", memcachedUrl, says(/^m[gsd] /), (url, address) => rewrite(url, `prefix=${own}:`, address)),
  ...onServer(
    "MongoDB",
    mongoDbUrl,
    says(/[\x10-\x13\x02](find|insert|update|delete)\0/),
    (url, address) => rewrite(url, `collection=${own}`, address),
    (url) =>
      Effect.promise(async () => {
        const client = new MongoClient(url)
        await client.db().dropCollection(own)
        await client.close()
      })
  ),
  ...onServer(
    "PostgreSQL",
    postgresUrl,
    sql,
    (url, address) => rewrite(url, `table=${own}`, address),
    (url) => dropTables(PgClient.layer({ url: Redacted.make(url) }))
  ),
  ...onServer(
    "MariaDB",
    mysqlUrl,
    executes,
    (url, address) => rewrite(url, `table=${own}`, address),
    (url) => dropTables(MysqlClient.layer({ url: Redacted.make(url) }))
  ),
  ...onServer(
    "DynamoDB",
    dynamoDbUrl,
    says(/DynamoDB_20120810\.(Get|Put|Update|Delete)Item/),
    (_, address) => `dynamodb://eu-central-1/${own}?endpoint=http://${address}`,
    (endpoint) =>
      Effect.promise(() =>
        new Dynamo.DynamoDBClient({
          region: "eu-central-1",
          endpoint,
          credentials: { accessKeyId: "local", secretAccessKey: "local" }
        }).send(new Dynamo.DeleteTableCommand({ TableName: own }))
      )
  )
]
