/**
 * A tiny store that keeps every law, made of parts, so that each mutant is the
 * part that it gets wrong.
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import type { Entry, SessionScan, SessionStore, SessionSweeper, Stored } from "../../src/SessionStore.js"
import { SessionStoreError, Version } from "../../src/SessionStore.js"

type Store = SessionStore["Type"]

/** What the processes share. */
export type Records = Map<string, Stored>

export interface Rules {
  readonly key: (key: string) => string
  readonly pack: (data: Uint8Array) => Uint8Array
  readonly unpack: (data: Uint8Array) => Uint8Array
  readonly version: (old: Stored | undefined, expiresAt: number, now: number) => string
  readonly isLive: (expiresAt: number, now: number) => boolean
}

export interface Parts extends Rules {
  readonly records: Records
  readonly find: (key: string, now: number) => Stored | undefined
  readonly current: (key: string, version: string, now: number) => Stored | undefined
  readonly put: (key: string, data: Uint8Array, expiresAt: number, now: number) => Option.Option<Version>
  readonly store: Store
  readonly sweep: SessionSweeper["Type"]["sweep"]
  readonly entries: SessionScan["Type"]["entries"]
}

/** One synchronous step at the present time. */
export const step = <A>(f: (now: number) => A): Effect.Effect<A> => Effect.map(Clock.currentTimeMillis, f)

export const maxBytes = 2 ** 20
const page = 50

export const reference = (records: Records, changes: Partial<Rules> = {}): Parts => {
  const rules: Rules = {
    key: (key) => key,
    pack: (data) => Uint8Array.from(data),
    unpack: (data) => Uint8Array.from(data),
    version: () => randomUUID(),
    isLive: (expiresAt, now) => expiresAt > now,
    ...changes
  }
  const find = (key: string, now: number) => {
    const found = records.get(rules.key(key))
    return found !== undefined && rules.isLive(found.expiresAt, now) ? found : undefined
  }
  const current = (key: string, version: string, now: number) => {
    const found = find(key, now)
    return found?.version === version ? found : undefined
  }
  const put = (key: string, data: Uint8Array, expiresAt: number, now: number) => {
    const version = Version(rules.version(records.get(rules.key(key)), expiresAt, now))
    records.set(rules.key(key), { data: rules.pack(data), version, expiresAt })
    return Option.some(version)
  }
  const fits = <A>(operation: "insert" | "replace", data: Uint8Array, write: Effect.Effect<A>) =>
    data.length <= maxBytes
      ? write
      : new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })

  const store: Store = {
    load: (key) =>
      step((now) =>
        Option.map(Option.fromNullable(find(key, now)), (found) => ({ ...found, data: rules.unpack(found.data) }))
      ),
    insert: (key, data, expiresAt) =>
      fits("insert", data, step((now) => find(key, now) ? Option.none() : put(key, data, expiresAt, now))),
    replace: (key, expected, data, expiresAt) =>
      fits(
        "replace",
        data,
        step((now) => current(key, expected, now) ? put(key, data, expiresAt, now) : Option.none())
      ),
    touch: (key, { version }, expiresAt) =>
      step((now) => {
        const found = current(key, version, now)
        if (found !== undefined) records.set(rules.key(key), { ...found, expiresAt })
        return found !== undefined
      }),
    remove: (key, expected) =>
      step((now) => {
        const found = expected === undefined ? find(key, now) : current(key, expected, now)
        return found !== undefined && records.delete(rules.key(key))
      })
  }

  const sweep = step((now) => {
    const dead = [...records].filter(([, { expiresAt }]) => !rules.isLive(expiresAt, now))
    for (const [key] of dead) records.delete(key)
    return dead.length
  })

  const entries = Stream.suspend(() => {
    const keys = [...records.keys()]
    return Stream.paginateChunkEffect(0, (from) =>
      step((now) => {
        const listed = keys.slice(from, from + page).flatMap((key): Array<Entry> => {
          const found = records.get(key)
          return found !== undefined && rules.isLive(found.expiresAt, now)
            ? [{ key, ...found, data: rules.unpack(found.data) }]
            : []
        })
        return [Chunk.fromIterable(listed), from + page < keys.length ? Option.some(from + page) : Option.none()]
      }))
  })

  return { ...rules, records, find, current, put, store, sweep, entries }
}
