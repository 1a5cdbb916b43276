/**
 * Runs one statement on libsql.
 *
 * libsql does not free a statement that met a file in use. From then on its
 * connection commits nothing, although it reports success, and may not see what
 * other processes write. So the connection is probed with each statement, and
 * replaced: the client opens another one after a transaction.
 *
 * @internal
 */
import type { Connection } from "@effect/sql/SqlConnection"
import { inUse } from "./sqlite.js"
import type { Reply } from "./Statement.js"
import type { Row } from "./values.js"

/** What the store needs of the client of libsql. */
export interface Libsql {
  readonly execute: (statement: Query) => Promise<{ readonly rows: ReadonlyArray<Row> }>
  readonly executeMultiple: (script: string) => Promise<void>
  readonly transaction: (mode: "deferred") => Promise<{ readonly rollback: () => Promise<void> }>
}

interface Query {
  readonly sql: string
  readonly args: ReadonlyArray<unknown>
}

/** How long the connection waits for a file in use, in milliseconds. */
export const busyTimeout = (millis: number): string => `PRAGMA busy_timeout = ${millis}`

/** The client of libsql, if it has a file. With a server it is another driver. */
export const libsqlOf = (connection: Connection): Libsql | undefined => {
  // a property that the type of `@effect/sql` does not have
  const { sdk } = connection as { readonly sdk?: Libsql & { readonly protocol?: unknown } }
  return sdk?.protocol === "file" ? sdk : undefined
}

/** `wait` is the busy timeout, in milliseconds. */
export const executeLibsql = async (
  libsql: Libsql,
  query: Query,
  wait: number,
  isRetry = false
): Promise<Reply> => {
  // Both are sent at once, so that no other statement comes in between. A connection that is stuck cannot commit.
  const [probe, reply] = await Promise.allSettled([
    libsql.executeMultiple(`${busyTimeout(wait)}; BEGIN; COMMIT`),
    libsql.execute(query)
  ])
  if (metFileInUse(probe)) {
    // Whatever the statement returned, nothing was committed, and nothing will be.
    if (isRetry) throw new Stuck()
    await reconnect(libsql)
    return executeLibsql(libsql, query, wait, true)
  }
  if (reply.status === "fulfilled") return reply.value
  if (metFileInUse(reply)) await reconnect(libsql)
  throw reply.reason
}

const metFileInUse = (result: PromiseSettledResult<unknown>) =>
  result.status === "rejected" && inUse.test(String(result.reason?.code))

const reconnect = async (libsql: Libsql): Promise<void> => {
  try {
    // At once: the next connection would wait for what this one has locked.
    libsql.executeMultiple("BEGIN; ROLLBACK").catch(() => {})
    const transaction = await libsql.transaction("deferred")
    await transaction.rollback()
  } catch (cause) {
    throw new Stuck(cause)
  }
}

class Stuck extends Error {
  constructor(cause?: unknown) {
    super(
      "The connection met a file in use, and since then libsql commits nothing on it: build the client anew.",
      { cause }
    )
  }
}
