/** Chooses where sessions are kept, by a URL. Only the driver that is needed gets imported. */
import type { SessionStore } from "effect-session"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { fileURLToPath } from "node:url"

/** The URL may hold a password, so no message of ours repeats it. */
const url = Config.redacted("SESSION_STORE").pipe(Config.withDefault(Redacted.make("file:./.sessions")))

const memory = async () => {
  const Memory = await import("effect-session/layers/Memory")
  return Memory.layer()
}

const file = async (url: string) => {
  const FileSystem = await import("effect-session/layers/FileSystem")
  return FileSystem.layer({ directory: url.startsWith("file://") ? fileURLToPath(url) : url.slice("file:".length) })
}

const redis = async (url: string) => {
  const Redis = await import("effect-session/layers/Redis")
  return Redis.layer({ url: Redacted.make(url) })
}

const postgres = async (url: string) => {
  const Sql = await import("effect-session/layers/Sql")
  const { PgClient } = await import("@effect/sql-pg")
  return Sql.layer().pipe(Layer.provide(PgClient.layer({ url: Redacted.make(url), connectTimeout: "2 seconds" })))
}

type Open = (url: string) => Promise<Layer.Layer<SessionStore, Error>>

const choose = (url: string): Open | undefined => {
  if (url === "memory:") return memory
  if (/^file:(?!\/\/[^/])./.test(url)) return file
  if (!URL.canParse(url)) return undefined
  if (/^rediss?:\/\/./.test(url)) return redis
  if (/^postgres(ql)?:\/\/./.test(url)) return postgres
  return undefined
}

export const Store = Layer.unwrapEffect(Effect.gen(function*() {
  const text = Redacted.value(yield* url)
  const open = choose(text)
  if (open === undefined) {
    return yield* Effect.fail(
      new Error(
        "SESSION_STORE has to be one of memory:, file:./directory, redis://host:6379 and postgres://user@host/database"
      )
    )
  }
  return yield* Effect.promise(() => open(text))
}))
