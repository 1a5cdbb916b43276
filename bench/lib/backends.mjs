/** Each backend as a store of ours, and as what one would write by hand on its driver. */
import * as DynamoDb from "effect-session/layers/DynamoDb"
import * as FileSystem from "effect-session/layers/FileSystem"
import * as Memcached from "effect-session/layers/Memcached"
import * as MongoDb from "effect-session/layers/MongoDb"
import * as Redis from "effect-session/layers/Redis"
import * as Sql from "effect-session/layers/Sql"
import * as Aws from "@aws-sdk/client-dynamodb"
import { LibsqlClient } from "@effect/sql-libsql"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import * as Libsql from "@libsql/client"
import { SqlClient } from "@effect/sql"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import * as ioredis from "ioredis"
import { MemcacheClient } from "memcache-client"
import { Binary, MongoClient } from "mongodb"
import * as mysql from "mysql2/promise"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import pg from "pg"

const { DATABASE_URL, DYNAMODB_ENDPOINT, MEMCACHED_URL, MONGODB_URL, MYSQL_URL, REDIS_URL } = process.env

/** What is left in a server of somebody's is named so. */
const own = `bench_${process.pid}`

const newVersion = () => randomBytes(8).toString("hex")

const check = (done) => {
  if (!done) throw new Error("a conditional write that had to succeed did not")
}

const folder = path.join(tmpdir(), own)
const poolSize = 10

const redisSwap = `
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'd', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1`

/** A table with the same columns, and a statement each. */
const table = (key, bytes) =>
  `CREATE TABLE ${own}_raw (id ${key} PRIMARY KEY, data ${bytes} NOT NULL, version ${key} NOT NULL, expires_at BIGINT NOT NULL)`

const statements = (mark) => ({
  insert: `INSERT INTO ${own}_raw VALUES (${[1, 2, 3, 4].map(mark)})`,
  select: `SELECT data, version, expires_at FROM ${own}_raw WHERE id = ${mark(1)} AND expires_at > ${mark(2)}`,
  update: `UPDATE ${own}_raw SET data = ${mark(1)}, version = ${mark(2)}, expires_at = ${mark(3)} ` +
    `WHERE id = ${mark(4)} AND version = ${mark(5)} AND expires_at > ${mark(6)}`
})

const sqlRecord = ({ get, run }, mark) => async (key, data) => {
  const { insert, select, update } = statements(mark)
  let version = newVersion()
  await run(insert, [key, data, version, Date.now() + 3_600_000])
  return {
    load: () => get(select, [key, Date.now()]),
    replace: async () => {
      const next = newVersion()
      check(await run(update, [data, next, Date.now() + 3_600_000, key, version, Date.now()]))
      version = next
    }
  }
}

const effectRecord = ({ get, run }, mark) => (key, data) => {
  const { insert, select, update } = statements(mark)
  let version = newVersion()
  return Effect.as(run(insert, [key, data, version, Date.now() + 3_600_000]), {
    load: Effect.suspend(() => get(select, [key, Date.now()])),
    replace: Effect.suspend(() => {
      const next = newVersion()
      return Effect.map(run(update, [data, next, Date.now() + 3_600_000, key, version, Date.now()]), (done) => {
        check(done)
        version = next
      })
    })
  })
}

const question = () => "?"
const dollar = (i) => `$${i}`

/** The same statements by `@effect/sql`, to tell its share from ours. */
const viaEffectSql = (of, client, mark) => ({
  available: of.available,
  layer: of.layer,
  open: async () => {
    const raw = await of.open()
    const runtime = ManagedRuntime.make(Layer.orDie(client()))
    const sql = await runtime.runPromise(SqlClient.SqlClient)
    const changed = (result) => (result.affectedRows ?? result.rowsAffected ?? result.rowCount) === 1
    const record = effectRecord({
      get: (text, values) => sql.unsafe(text, values),
      run: (text, values) => Effect.map(sql.unsafe(text, values).raw, changed)
    }, mark)
    return {
      runtime,
      record: (key, data) => runtime.runPromise(record(key, data)),
      close: async () => {
        await runtime.dispose()
        await raw.close()
      }
    }
  }
})

const pgPool = () => new pg.Pool({ connectionString: DATABASE_URL, max: poolSize })

const mysqlPool = () => mysql.createPool({ uri: MYSQL_URL, connectionLimit: poolSize })

/** The store over a pool that ends with it. */
const overPool = (open) =>
  Layer.unwrapScoped(Effect.map(
    Effect.acquireRelease(Effect.sync(open), (pool) => Effect.promise(() => pool.end())),
    (pool) => Sql.layerPool({ table: own, pool })
  ))

const pgClient = () => PgClient.layer({ url: Redacted.make(DATABASE_URL), maxConnections: poolSize })

const mysqlClient = () => MysqlClient.layer({ url: Redacted.make(MYSQL_URL), maxConnections: poolSize })

/** The store over a `SqlClient`. */
const overClient = (of, client) => ({ ...of, layer: () => Layer.provide(Sql.layer({ table: own }), client()) })

export const backends = {
  redis: {
    available: () => REDIS_URL !== undefined,
    layer: () => Redis.layer({ url: REDIS_URL, prefix: `${own}:` }),
    open: async () => {
      const client = new ioredis.Redis(REDIS_URL, { enableAutoPipelining: true })
      client.defineCommand("swap", { numberOfKeys: 1, lua: redisSwap })
      return {
        record: async (key, data) => {
          const name = `${own}:raw:${key}`
          let version = newVersion()
          await client.multi().hset(name, "v", version, "d", data).pexpire(name, 3_600_000).exec()
          return {
            load: () => client.hgetallBuffer(name),
            replace: async () => {
              const next = newVersion()
              check(await client.swap(name, version, next, data, 3_600_000) === 1)
              version = next
            }
          }
        },
        close: () => client.quit()
      }
    }
  },

  memcached: {
    available: () => MEMCACHED_URL !== undefined,
    layer: () => Memcached.layer({ servers: MEMCACHED_URL, prefix: `${own}:` }),
    open: async () => {
      const server = MEMCACHED_URL.replace("memcached://", "")
      const client = new MemcacheClient({ server: { server, maxConnections: 1 } })
      return {
        record: async (key, data) => {
          const name = `${own}:raw:${key}`
          await client.set(name, data, { lifetime: 3600 })
          let token = (await client.gets(name)).casUniq
          return {
            load: () => client.gets(name),
            // It does not answer the new token; memcached counts its writes, so ask.
            replace: async () => {
              check((await client.cas(name, data, { casUniq: token, lifetime: 3600 }))[0] === "STORED")
              token = (await client.gets(name)).casUniq
            }
          }
        },
        close: async () => client.shutdown()
      }
    }
  },

  mongodb: {
    available: () => MONGODB_URL !== undefined,
    layer: () => MongoDb.layer({ url: MONGODB_URL, database: own }),
    open: async () => {
      const client = new MongoClient(MONGODB_URL, { retryWrites: false, writeConcern: { w: "majority" } })
      const collection = client.db(own).collection("raw")
      return {
        record: async (_id, bytes) => {
          const data = new Binary(bytes)
          let version = newVersion()
          await collection.insertOne({ _id, data, version })
          return {
            load: () => collection.findOne({ _id }),
            replace: async () => {
              const next = newVersion()
              check((await collection.replaceOne({ _id, version }, { data, version: next })).matchedCount === 1)
              version = next
            }
          }
        },
        close: async () => {
          await client.db(own).dropDatabase()
          await client.close()
        }
      }
    }
  },

  dynamodb: {
    available: () => DYNAMODB_ENDPOINT !== undefined,
    layer: () => DynamoDb.layer({ ...aws(), table: own, createTable: true }),
    open: async () => {
      const client = new Aws.DynamoDBClient(aws())
      return {
        record: async (key, data) => {
          const [id, bytes] = [{ S: key }, { B: data }]
          let version = newVersion()
          await client.send(new Aws.PutItemCommand({ TableName: own, Item: { id, data: bytes, version: { S: version } } }))
          return {
            load: () => client.send(new Aws.GetItemCommand({ TableName: own, Key: { id }, ConsistentRead: true })),
            replace: async () => {
              const next = newVersion()
              await client.send(
                new Aws.PutItemCommand({
                  TableName: own,
                  Item: { id, data: bytes, version: { S: next } },
                  ConditionExpression: "version = :version",
                  ExpressionAttributeValues: { ":version": { S: version } }
                })
              )
              version = next
            }
          }
        },
        close: async () => {
          await client.send(new Aws.DeleteTableCommand({ TableName: own }))
          client.destroy()
        }
      }
    }
  },

  postgres: {
    available: () => DATABASE_URL !== undefined,
    layer: () => overPool(pgPool),
    open: async () => {
      const pool = pgPool()
      await pool.query(table("text", "bytea"))
      return {
        record: sqlRecord({
          get: (text, values) => pool.query(text, values),
          run: async (text, values) => (await pool.query(text, values)).rowCount === 1
        }, dollar),
        close: async () => {
          await pool.query(`DROP TABLE IF EXISTS ${own}_raw, ${own}, ${own}_migrations`)
          await pool.end()
        }
      }
    }
  },

  get "postgres, over a SqlClient"() {
    return overClient(this.postgres, pgClient)
  },

  get "postgres, by @effect/sql"() {
    return viaEffectSql(this["postgres, over a SqlClient"], pgClient, dollar)
  },

  mysql: {
    available: () => MYSQL_URL !== undefined,
    layer: () => overPool(mysqlPool),
    open: async () => {
      const pool = mysqlPool()
      await pool.query(table("varbinary(64)", "longblob"))
      return {
        record: sqlRecord({
          get: (text, values) => pool.execute(text, values),
          run: async (text, values) => (await pool.execute(text, values))[0].affectedRows === 1
        }, question),
        close: async () => {
          await pool.query(`DROP TABLE IF EXISTS ${own}_raw, ${own}, ${own}_migrations`)
          await pool.end()
        }
      }
    }
  },

  get "mysql, over a SqlClient"() {
    return overClient(this.mysql, mysqlClient)
  },

  get "mysql, by @effect/sql"() {
    return viaEffectSql(this["mysql, over a SqlClient"], mysqlClient, question)
  },

  sqlite: {
    available: () => true,
    layer: () => Layer.provide(Sql.layer({ table: own }), LibsqlClient.layer({ url: `file:${folder}.db` })),
    open: async () => {
      const client = Libsql.createClient({ url: `file:${folder}.raw.db` })
      await client.execute("PRAGMA journal_mode = wal")
      await client.execute(table("text", "blob"))
      return {
        record: sqlRecord({
          get: (sql, args) => client.execute({ sql, args }),
          run: async (sql, args) => (await client.execute({ sql, args })).rowsAffected === 1
        }, question),
        close: async () => {
          client.close()
          for (const name of [".db", ".raw.db"]) {
            for (const end of ["", "-wal", "-shm"]) await fs.rm(folder + name + end, { force: true })
          }
        }
      }
    }
  },

  get "sqlite, by @effect/sql"() {
    return viaEffectSql(this.sqlite, () => LibsqlClient.layer({ url: `file:${folder}.raw.db` }), question)
  },

  /** By hand: under a lock file, compared with what is there, a new file flushed and put in the place of the old. */
  file: {
    available: () => true,
    layer: () => FileSystem.layer({ directory: folder }),
    open: async () => {
      const raw = `${folder}.raw`
      await fs.mkdir(raw)
      return {
        record: async (key, data) => {
          const [file, draft, lock] = ["", ".new", ".lock"].map((end) => path.join(raw, key + end))
          const write = async (version) => {
            const handle = await fs.open(draft, "w")
            await handle.write(Buffer.concat([Buffer.from(version), data]))
            await handle.sync()
            await handle.close()
            await fs.rename(draft, file)
            const directory = await fs.open(raw, "r")
            await directory.sync()
            await directory.close()
          }
          let version = newVersion()
          await write(version)
          return {
            load: () => fs.readFile(file),
            replace: async () => {
              const next = newVersion()
              await (await fs.open(lock, "wx")).close()
              check((await fs.readFile(file)).toString("latin1", 0, version.length) === version)
              await write(next)
              await fs.unlink(lock)
              version = next
            }
          }
        },
        close: async () => {
          for (const name of [folder, raw]) await fs.rm(name, { recursive: true, force: true })
        }
      }
    }
  }
}

const aws = () => ({
  endpoint: DYNAMODB_ENDPOINT,
  region: "us-east-1",
  credentials: { accessKeyId: "none", secretAccessKey: "none" }
})
