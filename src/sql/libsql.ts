/**
 * Runs one statement on SQLite.
 *
 * libsql does not free a statement that met a file in use. From then on its
 * connection commits nothing, whatever it answers, and may not see what others
 * write. So it is looked at with each statement, whoever left it like this, and
 * given up: the client opens another one after a transaction.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import type { Row } from "./dialects.js"
import { sqlError } from "./effect-sql.js"

/** Codes of the errors that say so. */
export const inUse = /^SQLITE_(BUSY|LOCKED)/

/** How long the connection waits for a file in use; in milliseconds. */
export const waitFor = (millis: number): string => `PRAGMA busy_timeout = ${millis}`

export const executeSqlite = (
  sql: SqlClient.SqlClient,
  statement: Statement.Statement<Row>,
  wait: number
): Effect.Effect<ReadonlyArray<Row>, SqlError> =>
  Effect.suspend(() => {
    const [text, params] = statement.compile()
    return Effect.scoped(Effect.flatMap(sql.reserve, (connection): Effect.Effect<ReadonlyArray<Row>, SqlError> => {
      if (!isLibsql(connection)) return connection.execute(text, params, undefined)
      return Effect.tryPromise({
        try: () => execute(connection.sdk, { sql: text, args: params }, wait),
        catch: sqlError
      })
    }))
  })

/** As much as has to be known of the client of libsql. */
interface Sdk {
  readonly execute: (statement: Query) => Promise<{ readonly rows: ReadonlyArray<Row> }>
  readonly executeMultiple: (script: string) => Promise<void>
  readonly transaction: (mode: "deferred") => Promise<{ readonly rollback: () => Promise<void> }>
}

interface Query {
  readonly sql: string
  readonly args: ReadonlyArray<unknown>
}

/** With a file; one with a server is another driver. */
const isLibsql = (connection: Connection): connection is Connection & { readonly sdk: Sdk } => {
  const { sdk } = connection as { readonly sdk?: { readonly protocol?: unknown } }
  return sdk?.protocol === "file"
}

const execute = async (sdk: Sdk, query: Query, wait: number, isAnew = false): Promise<ReadonlyArray<Row>> => {
  // Both in one go, nobody's statement comes in between. A connection that is stuck cannot commit.
  const [check, answer] = await Promise.allSettled([
    sdk.executeMultiple(`${waitFor(wait)}; BEGIN; COMMIT`),
    sdk.execute(query)
  ])
  if (metFileInUse(check)) {
    // Whatever it answered, nothing was committed, and nothing will be.
    if (isAnew) throw new Stuck()
    await reconnect(sdk)
    return execute(sdk, query, wait, true)
  }
  if (answer.status === "fulfilled") return answer.value.rows
  if (metFileInUse(answer)) await reconnect(sdk)
  throw answer.reason
}

const metFileInUse = (result: PromiseSettledResult<unknown>) =>
  result.status === "rejected" && inUse.test(String(result.reason?.code))

const reconnect = async (sdk: Sdk): Promise<void> => {
  try {
    // At once: the connection that comes would wait for what this one has locked.
    sdk.executeMultiple("BEGIN; ROLLBACK").catch(() => {})
    const transaction = await sdk.transaction("deferred")
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
