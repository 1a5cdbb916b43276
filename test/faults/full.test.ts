/** A database that may grow no further. */
import { LibsqlClient } from "@effect/sql-libsql"
import * as SqlClient from "@effect/sql/SqlClient"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Sql from "../../src/layers/Sql.js"
import { SessionStore } from "../../src/SessionStore.js"

const directory = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-full-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

const reasonOf = (operation: Effect.Effect<unknown, { readonly reason: string }>) =>
  Effect.match(operation, { onSuccess: () => "done", onFailure: ({ reason }) => reason })

it.scoped("F-S5 SQLite that is full: a write is refused, what was there stays, and goes on when there is room", () =>
  Effect.gen(function*() {
    const url = `file:${path.join(yield* directory, "sessions.db")}`
    yield* Effect.gen(function*() {
      const store = yield* SessionStore
      const sql = yield* SqlClient.SqlClient
      const small = Buffer.from("small")
      const large = Buffer.alloc(100_000, 1)
      const version = Option.getOrThrow(yield* store.insert("key", small, 1000))
      yield* sql`PRAGMA max_page_count = 10`
      expect(yield* reasonOf(store.replace("key", version, large, 1000))).toBe("Rejected")
      expect(yield* reasonOf(store.insert("other", large, 1000))).toBe("Rejected")
      expect(Option.getOrThrow(yield* store.load("key"))).toMatchObject({ data: new Uint8Array(small), version })
      yield* sql`PRAGMA max_page_count = 1000`
      expect(Option.isSome(yield* store.replace("key", version, large, 1000))).toBe(true)
      // by another client: it is in the file
      const other = yield* Effect.provide(
        Effect.flatMap(SessionStore, (store) => store.load("key")),
        Layer.provide(Layer.fresh(Sql.layer()), LibsqlClient.layer({ url }))
      )
      expect(Option.getOrThrow(other).data.length).toBe(large.length)
    }).pipe(Effect.provide(Layer.provideMerge(Sql.layer(), LibsqlClient.layer({ url }))))
  }))
