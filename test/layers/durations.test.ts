/** A duration from a configuration may be any text. */
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import { afterAll, expect, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as DynamoDb from "../../src/layers/DynamoDb.js"
import * as FileSystem from "../../src/layers/FileSystem.js"
import * as Memcached from "../../src/layers/Memcached.js"
import * as MongoDb from "../../src/layers/MongoDb.js"
import * as Redis from "../../src/layers/Redis.js"
import * as Sql from "../../src/layers/Sql.js"
import { temporaryDirectory } from "../app.js"

const files = temporaryDirectory()
afterAll(() => files.remove())

type Input = Duration.DurationInput

const sql = (options: Sql.Options) => Layer.provide(Sql.layer(options), LibsqlClient.layer({ url: ":memory:" }))

const options: Record<string, readonly [option: string, layer: (input: Input) => Layer.Layer<never, unknown>]> = {
  "Redis, timeout": ["timeout", (timeout) => Redis.layer({ host: "127.0.0.1", port: 1, timeout })],
  "Redis, wait.timeout": [
    "wait.timeout",
    (timeout) => Redis.layer({ host: "127.0.0.1", port: 1, wait: { replicas: 1, timeout } })
  ],
  "Memcached, timeout": ["timeout", (timeout) => Memcached.layer({ servers: "127.0.0.1:1", timeout })],
  "MongoDB, timeout": ["timeout", (timeout) => MongoDb.layer({ url: "mongodb://127.0.0.1:1", timeout })],
  "DynamoDB, timeout": ["timeout", (timeout) => DynamoDb.layer({ region: "eu-central-1", timeout })],
  "SQL, timeout": ["timeout", (timeout) => sql({ timeout })],
  "SQL, sweepInterval": ["sweepInterval", (sweepInterval) => sql({ sweepInterval })],
  "file system, sweepInterval": [
    "sweepInterval",
    (sweepInterval) => FileSystem.layer({ directory: files.directory, sweepInterval })
  ]
}

for (const [name, [option, layer]] of Object.entries(options)) {
  for (const input of ["abc", "", "2", "2 secs", NaN, {}]) {
    it.live(`${name} fails the Layer when it is ${JSON.stringify(input)}`, () =>
      Effect.gen(function*() {
        // It comes from JavaScript, or from Config.
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer(input as Input))))
        expect(error).toMatchObject({ _tag: "SessionConfigError", option })
      }))
  }
}
