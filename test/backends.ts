/**
 * The servers a test may use. A URL is undefined when the backend could not be
 * had: `describe.skipIf(redisUrl === undefined)`. Start a private one
 * (`startRedis`, `startPostgres`) to kill or freeze it.
 */
import { inject } from "vitest"

export {
  canStart,
  startDynamoDb,
  startMemcached,
  startMongoDb,
  startMySql,
  startPgBouncer,
  startPostgres,
  startRedis
} from "../scripts/servers.mjs"
export type { Server } from "../scripts/servers.mjs"

export const {
  dynamodb: dynamoDbUrl,
  memcached: memcachedUrl,
  mongodb: mongoDbUrl,
  mysql: mysqlUrl,
  redis: redisUrl,
  postgres: postgresUrl
} = inject("urls")
