/**
 * The store on Flask-Session's table.
 *
 * @internal
 */

import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { SessionConfigError } from "../../../SessionConfigError.js"
import {
  type Entry,
  SessionScan,
  SessionStore,
  SessionStoreError,
  SessionSweeper,
  type Stored
} from "../../../SessionStore.js"
import { maintenanceTimeout, timedOut } from "../../sql/run.js"
import type { Backend } from "../../sql/store.js"
import { bytesOf as rowBytes, integerOf, type Row, textOf } from "../../sql/values.js"
import { sweepForever } from "../../sweep.js"
import { bytesOf, versionOf } from "../bytes.js"
import { batchSize, expiryText, type FlaskTable, pageSize, type Send } from "./Table.js"

export interface Settings {
  /** The table's name, quoted. */
  readonly quoted: string
  readonly prefix: string
  /** In milliseconds. */
  readonly timeout: number
  /** In milliseconds. Undefined: expired rows are left to Flask. */
  readonly sweepInterval: number | undefined
}

export const makeStore = Effect.fnUntraced(function*(
  { dialect, run }: Backend,
  table: FlaskTable,
  { prefix, quoted, sweepInterval, timeout }: Settings
): Effect.fn.Return<
  Context.Context<SessionStore | SessionScan | SessionSweeper>,
  SessionConfigError,
  Scope.Scope
> {
  const maintain: Send = (statement, input) => run(statement, input, maintenanceTimeout)
  const maxBytes = yield* Effect.mapError(table.inspect(maintain, quoted), (cause) => unusable(quoted, cause))
  const statements = table.statements(quoted)

  const failsIn = (operation: SessionStoreError["operation"]) => (error: unknown) =>
    error === timedOut
      ? new SessionStoreError({ reason: "Timeout", operation })
      : new SessionStoreError({ reason: dialect.reason(error), operation, cause: error })

  const sendIn = (operation: SessionStoreError["operation"]): Send => (statement, input) =>
    Effect.mapError(run(statement, input, timeout), failsIn(operation))

  /** Fails before the write for data that the column does not take: MySQL's BLOB has 64 KiB. */
  const write = (
    operation: "insert" | "replace",
    data: Uint8Array,
    send: (now: string) => Effect.Effect<boolean, unknown>
  ) =>
    data.length > maxBytes
      ? new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })
      : Effect.map(
        asStoreError(operation, atNow(send)),
        (stored) => stored ? Option.some(versionOf(data)) : Option.none()
      )

  const asStoreError = <A>(operation: SessionStoreError["operation"], effect: Effect.Effect<A, unknown>) =>
    Effect.mapError(effect, (error) => error instanceof SessionStoreError ? error : failsIn(operation)(error))

  const send = <A>(
    operation: "load" | "touch" | "remove",
    run: (send: Send, now: string) => Effect.Effect<A, unknown>
  ) => asStoreError(operation, atNow((now) => run(sendIn(operation), now)))

  const store = SessionStore.of({
    load: (key) =>
      Effect.flatMap(
        send("load", (send, now) => send(statements.load, { key: prefix + key, now })),
        ([row]) => row === undefined ? Effect.succeedNone : Effect.asSome(storedOf(row))
      ),
    insert: (key, data, expiresAt) =>
      write("insert", data, (now) =>
        statements.insert((statement, input) => run(statement, input, timeout), {
          key: prefix + key,
          data,
          expiry: expiryText(expiresAt),
          now
        })),
    replace: (key, expected, data, expiresAt) =>
      write("replace", data, (now) =>
        sendIn("replace")(statements.replace, {
          key: prefix + key,
          data,
          expiry: expiryText(expiresAt),
          expected: bytesOf(expected),
          now
        })),
    touch: (key, { version }, expiresAt) =>
      send("touch", (send, now) =>
        send(statements.touch, {
          key: prefix + key,
          expiry: expiryText(expiresAt),
          expected: bytesOf(version),
          now
        })),
    remove: (key, expected) =>
      send("remove", (send, now) =>
        expected === undefined
          ? send(statements.remove, { key: prefix + key, now })
          : send(statements.removeMatching, { key: prefix + key, expected: bytesOf(expected), now }))
  })

  const sweep: Effect.Effect<number, SessionStoreError> = Effect.flatMap(
    Effect.mapError(atNow((now) => maintain(statements.sweep, { now })), failsIn("sweep")),
    (swept) => swept < batchSize ? Effect.succeed(swept) : Effect.map(sweep, (more) => more + swept)
  )

  /** The page of live rows after the row `after`. */
  const page = (after: number) =>
    Effect.map(
      Effect.mapError(atNow((now) => maintain(statements.page, { after, now })), failsIn("scan")),
      (rows) =>
        [
          Chunk.filterMap(Chunk.unsafeFromArray(rows), (row) => entryOf(prefix, row)),
          Option.fromNullable(rows[pageSize - 1] && integerOf(rows[pageSize - 1]!.id))
        ] as const
    )

  const sweeper = SessionSweeper.of({ sweep })
  if (sweepInterval !== undefined) {
    yield* Effect.forkScoped(sweepForever(sweeper, sweepInterval))
  }
  return Context.make(SessionStore, store).pipe(
    Context.add(SessionScan, SessionScan.of({ entries: Stream.paginateChunkEffect(-1, page) })),
    Context.add(SessionSweeper, sweeper)
  )
})

const atNow = <A, E>(f: (now: string) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => f(expiryText(clock.unsafeCurrentTimeMillis())))

const unusable = (quoted: string, cause: unknown) =>
  new SessionConfigError({
    option: "table",
    message: `The table ${quoted} cannot be read as Flask-Session's: it has the columns id, session_id, data and ` +
      "expiry. Flask makes it when it starts.",
    cause
  })

const storedOf = (row: Row): Effect.Effect<Stored, SessionStoreError> => {
  const [data, expiresAt] = [rowBytes(row.data), integerOf(row.millis)]
  return data !== undefined && expiresAt !== undefined
    ? Effect.succeed({ data, version: versionOf(data), expiresAt })
    : Effect.fail(new SessionStoreError({ reason: "Corrupt", operation: "load" }))
}

const entryOf = (prefix: string, row: Row): Option.Option<Entry> => {
  const [key, data, expiresAt] = [textOf(row.session_id), rowBytes(row.data), integerOf(row.millis)]
  return key?.startsWith(prefix) && data !== undefined && expiresAt !== undefined
    ? Option.some({ key: key.slice(prefix.length), data, expiresAt })
    : Option.none()
}
