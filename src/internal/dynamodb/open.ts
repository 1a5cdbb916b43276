/**
 * Opens a client of DynamoDB, checks replies, and gives failures their reasons.
 *
 * @internal
 */
import type { DynamoDBClient, DynamoDBClientConfig, DynamoDBServiceException } from "@aws-sdk/client-dynamodb"
import type * as Sdk from "@aws-sdk/client-dynamodb"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { SessionConfigError } from "../../SessionConfigError.js"
import type { SessionStoreErrorReason } from "../../SessionStore.js"
import { timeIsUp } from "../bounded.js"
import { loadDriver, rethrow } from "../driver.js"

/** The module `@aws-sdk/client-dynamodb`. */
export type Driver = typeof Sdk

export const loadSdk = (module: string) =>
  loadDriver(
    "@aws-sdk/client-dynamodb",
    module,
    () => import("@aws-sdk/client-dynamodb").catch(rethrow)
  )

/**
 * The client's own options, without those that would send a write again.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions extends Omit<DynamoDBClientConfig, "maxAttempts" | "retryMode" | "retryStrategy"> {}

/** A client that ends with the scope. Fails without a region. */
export const openClient: (
  driver: Driver,
  options: ClientOptions
) => Effect.Effect<DynamoDBClient, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*(driver: Driver, options: ClientOptions) {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new driver.DynamoDBClient({ ...options, maxAttempts: 1 })),
      (client) => Effect.sync(() => close(client))
    )
    yield* Effect.tryPromise({
      try: async () => client.config.region(),
      catch: (cause) =>
        new SessionConfigError({ option: "region", message: "Give a region here or as AWS_REGION.", cause })
    })
    return client
  }
)

/** A client that was destroyed would open new connections. */
const close = (client: DynamoDBClient) => {
  client.destroy()
  client.middlewareStack.add(() => () => Promise.reject(new Error("The client is closed.")), { step: "initialize" })
}

export const checkTable = Effect.fnUntraced(function*(table: string): Effect.fn.Return<void, SessionConfigError> {
  if (!/^[a-zA-Z0-9_.-]{3,255}$/.test(table)) {
    return yield* new SessionConfigError({
      option: "table",
      message: `Give 3 to 255 letters, digits, "_", "-" or ".".`
    })
  }
})

/**
 * The largest data in bytes: an item may have 400 KiB, names, key and version
 * included.
 */
export const maxBytes = 399 * 1024

export const isWrongTable = (cause: unknown) =>
  ["ResourceNotFoundException", "ValidationException"].includes(nameOf(cause))

export const tolerate = (...names: ReadonlyArray<string>) => (error: unknown): void => {
  if (!names.includes(nameOf(error))) throw error
}

/**
 * A middleware of a client that was brought may change its replies: no reply,
 * or an item without types. Such a reply says nothing about the session.
 */
export const checkReply = <A>(reply: A): A => {
  const isReply = typeof reply === "object" && reply !== null && "$metadata" in reply
  const item = isReply && "Item" in reply && reply.Item !== undefined ? reply.Item : {}
  const isTyped = typeof item === "object" && item !== null && Object.values(item).every(isAttribute)
  if (!isReply || !isTyped) throw new Error("The client changed the reply of DynamoDB.")
  return reply
}

const isAttribute = (value: unknown) =>
  typeof value === "object" && value !== null &&
  /^(S|N|B|SS|NS|BS|M|L|NULL|BOOL|\$unknown)$/.test(Object.keys(value).join())

export const number = (value: number) => ({ N: String(value) })

export const nameOf = (error: unknown) => error instanceof Error ? error.name : ""

const throttled = new Set([
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "ThrottlingException",
  "TransactionConflictException"
])

/** By name, then by status: what the server refused for its own sake, and what never reached it. */
export const reasonOf = (error: unknown): SessionStoreErrorReason => {
  if (error === timeIsUp) return "Timeout"
  if (throttled.has(nameOf(error))) return "Throttled"
  if (nameOf(error) === "TimeoutError" && !isReset(error)) return "Timeout"
  if (nameOf(error) === "CredentialsProviderError") return "Rejected"
  return isServiceException(error) && (error.$metadata?.httpStatusCode ?? 500) < 500
    ? "Rejected"
    : "Unavailable"
}

/** By its shape, because a client that was brought may be of another copy of the SDK. */
const isServiceException = (error: unknown): error is Partial<DynamoDBServiceException> =>
  error instanceof Error && "$fault" in error

/** The client calls a connection that was closed a timeout, too. */
const isReset = (error: unknown) =>
  error instanceof Error && "code" in error && /^(ECONNRESET|EPIPE)$/.test(String(error.code))
