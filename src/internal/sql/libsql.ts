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

/**
 * `wait` is the busy timeout, in milliseconds. It is set on the connections that
 * this module opens. The client also opens one after each transaction of the
 * application, and that is not seen: its first statement that meets a file in
 * use fails at once, and runs again.
 */
export const executeLibsql = async (
  libsql: Libsql,
  query: Query,
  wait: number,
  isRetry = false
): Promise<Reply> => {
  const started = performance.now()
  // Both run at once, so that no other statement comes in between. A connection that is stuck cannot commit.
  const sent = Promise.allSettled([libsql.executeMultiple("BEGIN; COMMIT"), libsql.execute(query)])
  const hasWaited = performance.now() - started >= wait
  const [probe, reply] = await sent
  if (metFileInUse(probe)) {
    // Whatever the statement returned, nothing was committed, and nothing will be.
    if (isRetry) throw new Stuck()
    await reconnect(libsql, wait)
    return executeLibsql(libsql, query, wait, true)
  }
  if (reply.status === "fulfilled") return reply.value
  if (metFileInUse(reply)) {
    await reconnect(libsql, wait)
    if (!hasWaited && !isRetry) return executeLibsql(libsql, query, wait, true)
  }
  throw reply.reason
}

const metFileInUse = (result: PromiseSettledResult<unknown>) =>
  result.status === "rejected" && inUse.test(String(result.reason?.code))

const reconnect = async (libsql: Libsql, wait: number): Promise<void> => {
  try {
    // At once: the next connection would wait for what this one has locked.
    libsql.executeMultiple("BEGIN; ROLLBACK").catch(() => {})
    const transaction = await libsql.transaction("deferred")
    await transaction.rollback()
    await libsql.executeMultiple(busyTimeout(wait))
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
