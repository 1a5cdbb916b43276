/**
 * The store, the sweeper and the scan of one table, over whatever runs its
 * statements.
 *
 * @internal
 */

import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SessionConfigError } from "../../SessionConfigError.js"
import type { Entry, Stored } from "../../SessionStore.js"
import { SessionScan, SessionStore, SessionStoreError, SessionSweeper, Version } from "../../SessionStore.js"
import { randomToken } from "../crypto.js"
import { sweepForever } from "../sweep.js"
import type { Dialect, RunMaintenance, Swept, Table } from "./Dialect.js"
import { maintenanceTimeout, type RunAny, timedOut } from "./run.js"
import type { Statement } from "./Statement.js"
import { prepareTable } from "./table.js"
import { bytesOf, integerOf, type Row, textOf } from "./values.js"

/** What the store stands on. */
export interface Backend {
  readonly dialect: Dialect
  readonly run: RunAny
  readonly createTable: (table: Table, run: RunMaintenance) => Effect.Effect<unknown, unknown>
}

/** The options, checked. Durations are in milliseconds. */
export interface Settings {
  readonly timeout: number
  readonly sweepInterval: number
  readonly createTable: boolean
}

/** Records of a scan that are in memory at a time. */
const pageSize = 100

export const makeStore = Effect.fnUntraced(function*(
  { createTable, dialect, run }: Backend,
  table: Table,
  settings: Settings
): Effect.fn.Return<
  Context.Context<SessionStore | SessionSweeper | SessionScan>,
  SessionConfigError,
  Scope.Scope
> {
  const maintain: RunMaintenance = (statement, input) => run(statement, input, maintenanceTimeout)
  const limits = yield* prepareTable(
    dialect,
    table,
    maintain,
    settings.createTable ? createTable(table, maintain) : undefined
  )
  const statements = dialect.statements(table.quoted, pageSize)

  const failsIn = (operation: SessionStoreError["operation"]) => (error: unknown) =>
    error === timedOut
      ? new SessionStoreError({ reason: "Timeout", operation })
      : new SessionStoreError({ reason: dialect.reason(error), operation, cause: error })

  const send = <Input, A>(operation: SessionStoreError["operation"], statement: Statement<Input, A>, input: Input) =>
    Effect.mapError(run(statement, input, settings.timeout), failsIn(operation))

  /** Returns a new version, if the statement stores it. */
  const write = <Input extends { readonly key: string; readonly data: Uint8Array }>(
    operation: "insert" | "replace",
    statement: Statement<Input, boolean>,
    input: (version: Version, now: number) => Input
  ) =>
    atNow((now) => {
      const version = Version(randomToken())
      const row = input(version, now)
      const [limit, actual] = row.data.length > limits.data
        ? [limits.data, row.data.length]
        : [limits.key, Buffer.byteLength(row.key)]
      if (actual > limit) return Effect.fail(new SessionStoreError({ reason: "TooLarge", operation, limit, actual }))
      return Effect.map(
        send(operation, statement, row),
        (stored) => stored ? Option.some(version) : Option.none()
      )
    })

  const store = SessionStore.of({
    load: (key) =>
      Effect.flatMap(
        atNow((now) => send("load", statements.load, { key, now })),
        ([row]) => row === undefined ? Effect.succeedNone : Effect.asSome(toStored(row))
      ),

    insert: (key, data, deadline) =>
      write("insert", statements.insert, (version, now) => ({
        key,
        data,
        version,
        expiresAt: Math.ceil(deadline),
        now
      })),

    replace: (key, expected, data, deadline) =>
      write("replace", statements.replace, (version, now) => ({
        key,
        data,
        version,
        expected,
        expiresAt: Math.ceil(deadline),
        now
      })),

    touch: (key, { version: expected }, deadline) =>
      atNow((now) => send("touch", statements.touch, { key, expected, expiresAt: Math.ceil(deadline), now })),

    remove: (key, expected) =>
      atNow((now) =>
        expected === undefined
          ? send("remove", statements.remove, { key, now })
          : send("remove", statements.removeVersion, { key, expected, now })
      )
  })

  /** Rests between batches for twice as long as one took: requests come first. */
  const sweep: Effect.Effect<number, SessionStoreError> = Effect.suspend(() => {
    const started = performance.now()
    const rest = Effect.suspend(() => pause(2 * (performance.now() - started)))
    return Effect.flatMap(
      Effect.mapError(atNow((now) => statements.sweep(maintain, now)), failsIn("sweep")),
      ({ more, swept }: Swept) =>
        more
          ? Effect.map(Effect.zipRight(rest, sweep), (next) => swept + next)
          : Effect.succeed(swept)
    )
  })

  /** The page of live rows after a key, as the database has it. */
  const page = (after: string | Uint8Array | undefined) =>
    Effect.map(
      Effect.mapError(
        atNow((now) =>
          after === undefined
            ? maintain(statements.firstPage, { now })
            : maintain(statements.nextPage, { after, now })
        ),
        failsIn("scan")
      ),
      (rows) =>
        [
          Chunk.filterMap(Chunk.unsafeFromArray(rows), (row) => toEntry(dialect, row)),
          Option.map(Option.fromNullable(rows[pageSize - 1]), (last) => rawKey(dialect, last))
        ] as const
    )

  const sweeper = SessionSweeper.of({ sweep })
  yield* Effect.forkScoped(sweepForever(sweeper, settings.sweepInterval))
  return Context.make(SessionStore, store).pipe(
    Context.add(SessionSweeper, sweeper),
    Context.add(SessionScan, { entries: Stream.paginateChunkEffect(undefined, page) })
  )
})

/** In whole milliseconds, as deadlines are: a `TestClock` has fractions, a bigint has none. */
const atNow = <A, E>(f: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => f(Math.floor(clock.unsafeCurrentTimeMillis())))

/** Milliseconds of real time. */
const pause = (millis: number): Effect.Effect<void> =>
  Effect.async((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

const toStored = (row: Row): Effect.Effect<Stored, SessionStoreError> => {
  const [data, version, expiresAt] = [bytesOf(row.data), textOf(row.version), integerOf(row.expires_at)]
  return data !== undefined && version !== undefined && expiresAt !== undefined
    ? Effect.succeed({ data, version: Version(version), expiresAt })
    : Effect.fail(new SessionStoreError({ reason: "Corrupt", operation: "load" }))
}

/** The row, unless its key is one that no store can be asked for. */
const toEntry = (dialect: Dialect, row: Row): Option.Option<Entry> => {
  const [key, data, expiresAt] = [textOf(row.key), bytesOf(row.data), integerOf(row.expires_at)]
  return key !== undefined && data !== undefined && expiresAt !== undefined &&
      isEqual(dialect.key(key), rawKey(dialect, row))
    ? Option.some({ key, data, expiresAt })
    : Option.none()
}

/** Text, or bytes that the database can be given back. */
const rawKey = (dialect: Dialect, { key }: Row) =>
  typeof key === "string" ? key : dialect.data(bytesOf(key) ?? new Uint8Array(0))

const isEqual = (a: string | Uint8Array, b: string | Uint8Array) =>
  typeof a === "string" || typeof b === "string" ? a === b : Buffer.compare(a, b) === 0
