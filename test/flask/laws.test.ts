/** The store laws on the stores of Flask's records. What a store cannot keep is named, with the reason. */
import { CreateTableCommand, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb"
import { LibsqlClient } from "@effect/sql-libsql"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql/SqlClient"
import * as CacheLib from "effect-session/flask/CacheLib"
import * as DynamoDb from "effect-session/flask/DynamoDb"
import * as Memcached from "effect-session/flask/Memcached"
import * as MongoDb from "effect-session/flask/MongoDb"
import * as Redis from "effect-session/flask/Redis"
import * as Sql from "effect-session/flask/Sql"
import { storeLaws } from "effect-session/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, describe } from "vitest"
import { dynamoDbUrl, memcachedUrl, mongoDbUrl, mysqlUrl, postgresUrl, redisUrl } from "../backends.js"
import { slowTime } from "./slowTime.js"

const prefix = `flask-laws-${process.pid}:`
const table = `flask_laws_${process.pid}`
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-flask-laws-"))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const laws = (reason: string, ...names: ReadonlyArray<string>) =>
  Object.fromEntries(names.map((name) => [name, reason]))

const inTwo = (name: string) => `${name} (through two processes)`

/** What no store can keep whose only deadline is the TTL of its server, which the `TestClock` does not move. */
const serversClock = laws(
  "the server's TTL is the only deadline",
  "a load finds nothing where a record has expired",
  "an insert succeeds over an expired record, whose version stays stale",
  "a replace of an expired record creates nothing",
  "a touch of an expired record does not revive it",
  "a remove of an expired record is false, under its version and without",
  "a record lives through its last millisecond, for each operation",
  "a replace that postpones the deadline keeps the record beyond the old one",
  "a touch that postpones the deadline keeps the record beyond the old one",
  "a version never repeats for a key, across replacing, removal and expiry",
  inTwo("a version never repeats for a key, across replacing, removal and expiry"),
  "of 50 inserts at once over an expired record exactly one wins",
  inTwo("of 50 inserts at once over an expired record exactly one wins"),
  "what finds a record expired takes nothing that is inserted over it meanwhile",
  "whatever runs at once, its answers are those of one operation after the other",
  inTwo("whatever runs at once, its answers are those of one operation after the other"),
  "calls and answers that come late and out of order change nothing about that",
  inTwo("calls and answers that come late and out of order change nothing about that")
)

/** The laws' milliseconds are seconds here. */
const wholeSeconds = laws(
  "its deadlines are whole seconds, and end in 2106 or 9999",
  "a deadline of a year, and one of this century, is kept to the millisecond"
)

const emptyValue = laws(
  "Flask-Session takes an empty value for no session",
  "no bytes at all are data",
  "data of every size comes back, and leaves nothing where shorter data takes its place"
)

describe.skipIf(!redisUrl)("Redis", () =>
  storeLaws(slowTime(10_000)(Redis.layer({ url: redisUrl!, prefix })), {
    name: "Flask's records in Redis",
    multiProcess: true,
    except: {
      ...serversClock,
      ...emptyValue,
      ...laws(
        "the server's TTL is the only deadline, and runs by milliseconds of its clock",
        "a deadline that has come makes the record absent",
        "a deadline that has passed is written like any other, and makes the record absent"
      )
    }
  }))

describe.skipIf(!memcachedUrl)(
  "Memcached",
  () =>
    storeLaws(slowTime(10_000)(Memcached.layer({ servers: memcachedUrl!, prefix })), {
      name: "Flask's records in memcached",
      multiProcess: true,
      touchMovesVersion: true,
      maxBytes: 1024 * 1024 - 1000,
      except: {
        ...serversClock,
        ...emptyValue,
        ...laws(
          "memcached keeps no deadline after January 2038",
          "a deadline of a year, and one of this century, is kept to the millisecond"
        ),
        ...laws("the server's TTL is the only deadline", "no time but the Clock's takes a record away")
      }
    })
)

describe("CacheLib", () =>
  storeLaws(slowTime(1000)(CacheLib.layer({ directory: path.join(folder, "cache"), prefix })), {
    name: "Flask's files of cachelib",
    multiProcess: true,
    except: wholeSeconds
  }))

describe.skipIf(!mongoDbUrl)("MongoDb", () =>
  storeLaws(MongoDb.layer({ url: mongoDbUrl!, database: table, prefix }), {
    name: "Flask's documents in MongoDB",
    scans: true,
    multiProcess: true
  }))

const dynamo = {
  endpoint: dynamoDbUrl!,
  region: "eu-central-1",
  credentials: { accessKeyId: "local", secretAccessKey: "local" }
}

const createDynamoTable = Effect.promise(async () => {
  const client = new DynamoDBClient(dynamo)
  const command = new CreateTableCommand({
    TableName: table,
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    BillingMode: "PAY_PER_REQUEST"
  })
  await client.send(command).catch((error: Error) => {
    if (error.name !== "ResourceInUseException") throw error
  })
  await waitUntilTableExists({ client, minDelay: 1, maxWaitTime: 30 }, { TableName: table })
  client.destroy()
})

describe.skipIf(!dynamoDbUrl)("DynamoDb", () =>
  storeLaws(
    DynamoDb.layer({ ...dynamo, table, prefix }).pipe(Layer.provide(Layer.effectDiscard(createDynamoTable))),
    { name: "Flask's items in DynamoDB", scans: true, multiProcess: true, maxBytes: 399 * 1024 }
  ))

/** The table, as SQLAlchemy makes it. */
const ddl = (id: string, data: string, expiry: string) =>
  `CREATE TABLE IF NOT EXISTS ${table} (id ${id}, session_id VARCHAR(255), data ${data}, expiry ${expiry}, ` +
  "PRIMARY KEY (id), UNIQUE (session_id))"

const over = (client: Layer.Layer<SqlClient, unknown>, statement: string) =>
  Sql.layer({ table, prefix }).pipe(
    Layer.provide(Layer.effectDiscard(Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement)))),
    Layer.provide(client)
  )

const drop = (client: Layer.Layer<SqlClient, unknown>) => () =>
  Effect.runPromise(
    Effect.flatMap(SqlClient, (sql) => sql.unsafe(`DROP TABLE ${table}`)).pipe(Effect.provide(client), Effect.ignore)
  )

describe.skipIf(!postgresUrl)("PostgreSQL", () => {
  const client = PgClient.layer({ url: Redacted.make(postgresUrl!) })
  afterAll(drop(client))
  storeLaws(over(client, ddl("SERIAL NOT NULL", "BYTEA", "TIMESTAMP WITHOUT TIME ZONE")), {
    name: "Flask's table on PostgreSQL",
    scans: true,
    sweeps: true,
    multiProcess: true
  })
})

describe.skipIf(!mysqlUrl)("MySQL", () => {
  const client = MysqlClient.layer({ url: Redacted.make(mysqlUrl!) })
  afterAll(drop(client))
  storeLaws(slowTime(1000)(over(client, ddl("INTEGER NOT NULL AUTO_INCREMENT", "BLOB", "DATETIME"))), {
    name: "Flask's table on MySQL",
    multiProcess: true,
    maxBytes: 65_535,
    except: {
      ...wholeSeconds,
      ...laws(
        "the column's collation takes both for one key, and refuses the second",
        "keys that differ in case only are records of their own"
      )
    }
  })
})

describe("SQLite", () =>
  storeLaws(
    over(
      LibsqlClient.layer({ url: `file:${path.join(folder, "flask.db")}` }),
      ddl("INTEGER NOT NULL", "BLOB", "DATETIME")
    ),
    { name: "Flask's table on SQLite", scans: true, sweeps: true, multiProcess: true }
  ))
