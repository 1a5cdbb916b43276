/**
 * More stores that each carry one real bug of the field: what a reviewer who
 * had not seen the kit wrote against it, and it did not find.
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import type { Entry, SessionStore, Stored } from "../../src/SessionStore.js"
import { SessionStoreError, Version } from "../../src/SessionStore.js"
import type { Parts } from "./reference.js"
import { maxBytes, step } from "./reference.js"
import { bug, gap, rule, type StoreMutant, twice } from "./stores.js"

type Store = SessionStore["Type"]

const history = "whatever runs at once, its answers are those of one operation after the other"
const touchSeen = "what was loaded before hides no later touch, one's own nor another's"
const lazy = "what finds a record expired takes nothing that is inserted over it meanwhile"
const far = "a deadline of a year, and one of this century, is kept to the millisecond"
const past = "a deadline that has passed is written like any other, and makes the record absent"
const onlyClock = "no time but the Clock's takes a record away"
const looks = "bytes come back whatever they begin and end with, and whatever they look like"
const sizes = "data of every size comes back, and leaves nothing where shorter data takes its place"
const tooLargeLaw = "what is too large leaves a live record alone, by an insert and under a stale version, too"
const sameBytes = "records of the same bytes are two, and the same bytes again have a deadline of their own"
const appended = "keys with what stores append to keys are records of their own"
const hashed = "keys that hash alike in 32 bits are records of their own"
const crowd = "each of 200 loads at once finds its own record, or is told that there were too many"
const failing =
  "a store that cannot reach its records goes on failing, under a version too, and so do its listing and its sweep"
const sweepAll = "a sweep removes all of 1100 expired records, whoever's clock is asked afterwards"
const present =
  "a sweep goes by the present deadline, after a removal and an insert, and after a touch that made it sooner"
const hundreds = "a listing has what is live throughout, although hundreds go while it stands at its first record"
const asTheyAre = "a listing has records of every kind of key and size, as they are"

/** Each write with another deadline. */
const deadline = (change: (expiresAt: number, now: number) => number) => ({ store }: Parts) =>
  withDeadline(store, (expiresAt) => Effect.map(Clock.currentTimeMillis, (now) => change(expiresAt, now)))

const withDeadline = (
  store: Store,
  change: (expiresAt: number, operation: SessionStoreError["operation"]) => Effect.Effect<number, SessionStoreError>
): Partial<Store> => ({
  insert: (key, data, expiresAt) =>
    Effect.flatMap(change(expiresAt, "insert"), (changed) => store.insert(key, data, changed)),
  replace: (key, expected, data, expiresAt) =>
    Effect.flatMap(change(expiresAt, "replace"), (changed) => store.replace(key, expected, data, changed)),
  touch: (key, current, expiresAt) =>
    Effect.flatMap(change(expiresAt, "touch"), (changed) => store.touch(key, current, changed))
})

/** A timer of the machine takes each record away. */
const timers = (millis: (expiresAt: number, now: number) => number) => ({ records, store }: Parts): Partial<Store> => {
  const all = new Map<string, NodeJS.Timeout>()
  const arm = (key: string, expiresAt: number) =>
    step((now) => {
      clearTimeout(all.get(key))
      const wait = millis(expiresAt, now)
      // What Node makes of more, with a warning.
      all.set(key, setTimeout(() => records.delete(key), wait < 2 ** 31 ? wait : 1).unref())
    })
  return {
    insert: (key, data, expiresAt) => Effect.tap(store.insert(key, data, expiresAt), () => arm(key, expiresAt)),
    replace: (key, expected, data, expiresAt) =>
      Effect.tap(store.replace(key, expected, data, expiresAt), () => arm(key, expiresAt)),
    touch: (key, current, expiresAt) => Effect.tap(store.touch(key, current, expiresAt), () => arm(key, expiresAt))
  }
}

/** A cache of loads, valid for as long as the version is. */
const cached = ({ records }: Parts, cache: Map<string, Stored>): Store["load"] => (key) =>
  step((now) => {
    const found = records.get(key)
    if (found === undefined) return Option.none()
    if (cache.get(key)?.version !== found.version) cache.set(key, found)
    const { data, expiresAt, version } = cache.get(key)!
    return expiresAt > now ? Option.some({ data: Uint8Array.from(data), version, expiresAt }) : Option.none()
  })

const tooLarge = (operation: "insert" | "replace", data: Uint8Array) =>
  new SessionStoreError({ reason: "TooLarge", operation, limit: maxBytes, actual: data.length })

const javaHash = (key: string): string => {
  let hash = 0
  for (const byte of Buffer.from(key)) hash = (hash * 31 + byte) | 0
  return String(hash)
}

/** What is swept is what the index says. */
const indexed = (
  { records, store }: Parts,
  { keepsRemoved = false, onlyLater = false, leavesRecords = false }
): Required<Pick<StoreMutant, "store" | "sweep">> => {
  let index: Array<readonly [expiresAt: number, key: string]> = []
  const drop = (key: string) => {
    index = index.filter(([, other]) => other !== key)
  }
  const put = (key: string, expiresAt: number) => {
    drop(key)
    index.push([expiresAt, key])
  }
  return {
    store: () => ({
      insert: (key, data, expiresAt) =>
        Effect.tap(
          store.insert(key, data, expiresAt),
          (version) =>
            Option.isNone(version) ? undefined : keepsRemoved ? index.push([expiresAt, key]) : put(key, expiresAt)
        ),
      replace: (key, expected, data, expiresAt) =>
        Effect.tap(
          store.replace(key, expected, data, expiresAt),
          (version) => Option.isNone(version) ? undefined : put(key, expiresAt)
        ),
      touch: (key, current, expiresAt) =>
        Effect.suspend(() => {
          const before = records.get(key)?.expiresAt ?? 0
          return Effect.tap(store.touch(key, current, expiresAt), (done) => {
            if (done && (!onlyLater || expiresAt > before)) put(key, expiresAt)
          })
        }),
      remove: (key, expected) =>
        Effect.tap(store.remove(key, expected), (done) => done && !keepsRemoved ? drop(key) : undefined)
    }),
    sweep: () =>
      step((now) => {
        const due = index.filter(([expiresAt]) => expiresAt <= now)
        index = index.filter(([expiresAt]) => expiresAt > now)
        return due.filter(([, key]) => leavesRecords || records.delete(key)).length
      })
  }
}

/** The same index for the store and its sweep. */
const byIndex = (name: string, law: string, options: Parameters<typeof indexed>[1]): StoreMutant => {
  const made = new WeakMap<Parts, ReturnType<typeof indexed>>()
  const of = (parts: Parts) => {
    const found = made.get(parts) ?? indexed(parts, options)
    made.set(parts, found)
    return found
  }
  return { name, laws: [law], store: (p) => of(p).store(p), sweep: (p) => of(p).sweep(p) }
}

const liveOf = ({ isLive, records }: Parts, keys: ReadonlyArray<string>, now: number) =>
  keys.flatMap((key): Array<Entry> => {
    const found = records.get(key)
    return found !== undefined && isLive(found.expiresAt, now)
      ? [{ key, data: Uint8Array.from(found.data), expiresAt: found.expiresAt }]
      : []
  })

export const moreStoreMutants: ReadonlyArray<StoreMutant> = [
  // Effects
  bug("a load reads when it is called", "an operation is done when its Effect is run, and as often", (p) => ({
    load: (key) => {
      const found = p.records.get(key)
      return step((now) => found !== undefined && found.expiresAt > now ? Option.some(found) : Option.none())
    }
  })),

  // deadlines
  bug("deadlines of 32 bits", far, deadline((expiresAt) => expiresAt | 0)),
  bug("deadlines in single precision", far, deadline(Math.fround)),
  bug(
    "memcached's 30 days, beyond which a lifetime is a date",
    far,
    deadline((expiresAt, now) => expiresAt - now > 30 * 86_400_000 ? -1 : expiresAt)
  ),
  bug("no record lives longer than a day", far, deadline((expiresAt, now) => Math.min(expiresAt, now + 86_400_000))),
  bug("a timer that overflows", onlyClock, timers((expiresAt, now) => expiresAt - now + 60_000)),
  bug("the server's own lifetime is to the millisecond", onlyClock, timers((expiresAt, now) => expiresAt - now)),
  bug(
    "a lifetime in the past wraps around",
    past,
    deadline((expiresAt, now) => expiresAt < now ? now + ((expiresAt - now) >>> 0) : expiresAt)
  ),
  bug(
    "a lifetime in the past is refused",
    past,
    ({ store }) =>
      withDeadline(
        store,
        (expiresAt, operation) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) =>
            expiresAt < now ? new SessionStoreError({ reason: "Rejected", operation }) : Effect.succeed(expiresAt))
      )
  ),
  bug("a touch to a deadline that has come removes whatever is there", past, ({ store }) => ({
    touch: (key, current, expiresAt) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => expiresAt <= now ? Effect.as(store.remove(key), true) : store.touch(key, current, expiresAt)
      )
  })),

  // deadlines in races
  bug(
    "a touch compares, and then moves the deadline of whatever is there",
    "a touch that runs beside a write moves no deadline but that of its own version",
    ({ current, find, records }) => ({
      touch: (key, { version }, expiresAt) =>
        Effect.flatMap(step((now) => current(key, version, now) !== undefined), (isCurrent) =>
          isCurrent
            ? Effect.zipRight(
              gap,
              step((now) => {
                const found = find(key, now)
                if (found !== undefined) records.set(key, { ...found, expiresAt })
                return found !== undefined
              })
            )
            : Effect.succeed(false))
    })
  ),
  bug("a replace writes data first, and then the deadline", history, ({ current, find, records, store }) => ({
    replace: (key, expected, data, expiresAt) =>
      Effect.gen(function*() {
        const before = yield* step((now) => current(key, expected, now))
        if (before === undefined) return Option.none()
        const version = yield* store.replace(key, expected, data, before.expiresAt)
        yield* gap
        yield* step((now) => {
          const found = find(key, now)
          if (Option.isSome(version) && found?.version === version.value) records.set(key, { ...found, expiresAt })
        })
        return version
      })
  })),
  bug(
    "an insert that is interrupted lives for ever",
    "an insert that is interrupted at any point is done or not done, and the store serves on",
    ({ find, records, store }) => ({
      insert: (key, data, expiresAt) =>
        Effect.gen(function*() {
          const version = yield* store.insert(key, data, 2 ** 42)
          if (Option.isNone(version)) return version
          yield* gap
          yield* step((now) => {
            const found = find(key, now)
            if (found !== undefined) records.set(key, { ...found, expiresAt })
          })
          return version
        })
    })
  ),
  bug("a load takes away what it found expired, a moment later", lazy, ({ isLive, records, store }) => ({
    load: (key) =>
      Effect.gen(function*() {
        const found = records.get(key)
        if (found === undefined || isLive(found.expiresAt, yield* Clock.currentTimeMillis)) {
          return yield* store.load(key)
        }
        yield* gap
        records.delete(key)
        return Option.none()
      })
  })),
  {
    name: "a cache that goes by the version",
    laws: [touchSeen],
    store: (p) => ({ load: cached(p, new Map()) })
  },
  bug("a cache that goes by the version, and by one's own touches", touchSeen + twice, (p) => {
    const cache = new Map<string, Stored>()
    return {
      load: cached(p, cache),
      touch: (key, current, expiresAt) => Effect.tap(p.store.touch(key, current, expiresAt), () => cache.delete(key))
    }
  }),

  // interruption
  bug(
    "a connection is lost with each load that is interrupted",
    "loads that are interrupted, however many, leave the store able",
    ({ store }) => {
      let free = 10
      return {
        load: (key) =>
          Effect.gen(function*() {
            if (free === 0) return yield* new SessionStoreError({ reason: "Timeout", operation: "load" })
            free--
            yield* gap
            const found = yield* store.load(key)
            free++
            return found
          })
      }
    }
  ),

  // many at once
  bug("loads beyond 64 at once are missing", crowd, ({ store }) => {
    let under = 0
    return {
      load: (key) =>
        Effect.suspend(() =>
          under >= 64
            ? Effect.succeedNone
            : Effect.acquireUseRelease(
              Effect.sync(() => under++),
              () => Effect.zipRight(gap, store.load(key)),
              () => Effect.sync(() => under--)
            )
        )
    }
  }),
  bug(
    "a removal that leaves a gap, once in ten",
    "of a few writes at once one wins, round after round",
    ({ current, store }) => ({
      remove: (key, expected) =>
        Effect.gen(function*() {
          if (expected !== undefined && !(yield* step((now) => current(key, expected, now)))) return false
          if (Math.random() < 0.1) yield* Effect.zipRight(gap, gap)
          return yield* store.remove(key)
        })
    })
  ),

  // versions
  rule("versions of 8 bits", "a hundred versions of a key are a hundred", {
    version: () => String(Math.floor(Math.random() * 256))
  }),
  bug("an empty version is none at all", "a version that the store never made is stale", ({ store }) => ({
    remove: (key, expected) => store.remove(key, expected || undefined)
  })),
  bug(
    "WHERE version = ?, and the key forgotten",
    "the version of one record does nothing to another, which has one of its own",
    ({ records, store }) => {
      const keyOf = (key: string, version: string | undefined) =>
        [...records].find(([, found]) => found.version === version)?.[0] ?? key
      return {
        replace: (key, expected, data, expiresAt) =>
          Effect.suspend(() => store.replace(keyOf(key, expected), expected, data, expiresAt)),
        remove: (key, expected) => Effect.suspend(() => store.remove(keyOf(key, expected), expected))
      }
    }
  ),

  // data
  rule("JSON is read and printed again", looks, {
    unpack: (data) => {
      try {
        return Buffer.from(JSON.stringify(JSON.parse(Buffer.from(data).toString())))
      } catch {
        return Uint8Array.from(data)
      }
    }
  }),
  rule("what looks compressed is taken for compressed", looks, {
    unpack: (data) => Uint8Array.from(data[0] === 0x1f && data[1] === 0x8b ? [] : data)
  }),
  rule("spaces at the end are cut off", looks, {
    pack: (data) => Buffer.from(Buffer.from(data).toString("latin1").replace(/ +$/, ""), "latin1")
  }),
  bug("chunks of 256 KiB, of which the later ones stay", sizes, ({ store }) => {
    const size = 256 * 1024
    const tails = new Map<string, Uint8Array>()
    return {
      replace: (key, expected, data, expiresAt) =>
        Effect.tap(store.replace(key, expected, data, expiresAt), () => {
          if (data.length > size) tails.set(key, Uint8Array.from(data.subarray(size)))
        }),
      load: (key) =>
        Effect.map(
          store.load(key),
          Option.map((found) => ({
            ...found,
            data: tails.has(key) ? Buffer.concat([found.data.subarray(0, size), tails.get(key)!]) : found.data
          }))
        )
    }
  }),
  bug("one byte less than it says", "as much comes back as the store says that it can hold", ({ store }) => ({
    insert: (key, data, expiresAt) =>
      data.length >= maxBytes ? tooLarge("insert", data) : store.insert(key, data, expiresAt)
  })),
  bug("what is too large takes along what was there", tooLargeLaw, ({ records, store }) => ({
    insert: (key, data, expiresAt) =>
      Effect.tapError(store.insert(key, data, expiresAt), () => Effect.sync(() => records.delete(key)))
  })),
  bug("records of the same bytes share them, and go together", sameBytes, ({ records, store }) => {
    const blobs = new Set<string>()
    const hash = (data: Uint8Array) => createHash("sha256").update(data).digest("hex")
    return {
      insert: (key, data, expiresAt) => Effect.tap(store.insert(key, data, expiresAt), () => blobs.add(hash(data))),
      replace: (key, expected, data, expiresAt) =>
        Effect.tap(store.replace(key, expected, data, expiresAt), () => blobs.add(hash(data))),
      remove: (key, expected) =>
        Effect.suspend(() => {
          const found = records.get(key)
          return Effect.tap(store.remove(key, expected), (done) => done && found && blobs.delete(hash(found.data)))
        }),
      load: (key) => Effect.map(store.load(key), Option.filter(({ data }) => blobs.has(hash(data))))
    }
  }),
  bug(
    "a touch keeps the caller's buffer",
    "what a caller does to the bytes of a record that it touched does not reach the record",
    ({ current, records }) => ({
      touch: (key, { data, version }, expiresAt) =>
        step((now) => {
          const found = current(key, version, now)
          if (found !== undefined) records.set(key, { ...found, data, expiresAt })
          return found !== undefined
        })
    })
  ),

  // keys
  rule("keys are cut off at 80 characters", "keys of 100 characters that differ in the last are records of their own", {
    key: (key) => key.slice(0, 80)
  }),
  bug("a lock of the name key.lock", appended, ({ records, store }) => {
    const locked = <A>(key: string, write: Effect.Effect<A, SessionStoreError>) =>
      Effect.acquireUseRelease(
        Effect.sync(() =>
          records.set(`${key}.lock`, { data: new Uint8Array(0), version: Version("lock"), expiresAt: -1 })
        ),
        () => write,
        () => Effect.sync(() => records.delete(`${key}.lock`))
      )
    return { remove: (key, expected) => locked(key, store.remove(key, expected)) }
  }),
  rule("keys are hashed to 32 bits", hashed, { key: javaHash }),
  bug("a plain object for a map", "keys that every object of JavaScript has are keys like others", ({ store }) => {
    const taken: Record<string, boolean> = {}
    return {
      insert: (key, data, expiresAt) =>
        Effect.suspend(() =>
          taken[key] === undefined || taken[key] === true ? store.insert(key, data, expiresAt) : Effect.succeedNone
        )
    }
  }),

  // errors
  {
    name: "an outage is a stale version",
    laws: [failing],
    outage: {
      remove: (_, expected) =>
        expected === undefined
          ? new SessionStoreError({ reason: "Unavailable", operation: "remove" })
          : Effect.succeed(false)
    }
  },

  // sweeps
  {
    name: "a sweep of one batch",
    laws: [sweepAll],
    sweep: ({ isLive, records }) =>
      step((now) => {
        const dead = [...records].filter(([, { expiresAt }]) => !isLive(expiresAt, now)).slice(0, 1000)
        return dead.filter(([key]) => records.delete(key)).length
      })
  },
  byIndex("a sweep that empties the index, and leaves the records", sweepAll, { leavesRecords: true }),
  {
    name: "sweeps that count what others removed",
    laws: ["of sweeps at once each record is counted by one"],
    sweep: ({ isLive, records, sweep }) =>
      Effect.flatMap(
        step((now) => [...records.values()].filter(({ expiresAt }) => !isLive(expiresAt, now)).length),
        (count) => Effect.as(Effect.zipRight(gap, sweep), count)
      )
  },
  {
    name: "a sweep that counts in seconds",
    laws: ["a sweep leaves what has a millisecond to live"],
    sweep: ({ records }) =>
      step((now) => {
        const dead = [...records].filter(([, found]) => Math.floor(found.expiresAt / 1000) <= Math.floor(now / 1000))
        return dead.filter(([key]) => records.delete(key)).length
      })
  },
  byIndex("an index that keeps what was removed", present, { keepsRemoved: true }),
  byIndex("an index that no touch makes sooner", present, { onlyLater: true }),
  {
    name: "a sweep that leaves its lock when it is interrupted",
    laws: ["a sweep that is interrupted leaves the next one able"],
    sweep: ({ sweep }) => {
      let isLocked = false
      return Effect.suspend(() => {
        if (isLocked) return Effect.succeed(0)
        isLocked = true
        return Effect.tap(Effect.zipRight(gap, sweep), () => {
          isLocked = false
        })
      })
    }
  },
  (() => {
    const counts = new Map<string, number>()
    return {
      name: "a version that counts on while its tombstone is there",
      laws: ["a version never repeats for a key that was swept"],
      store: ({ current, find, records }) => {
        const put = (key: string, data: Uint8Array, expiresAt: number) => {
          const count = (counts.get(key) ?? 0) + 1
          counts.set(key, count)
          const version = Version(String(count))
          records.set(key, { data: Uint8Array.from(data), version, expiresAt })
          return Option.some(version)
        }
        return {
          insert: (key, data, expiresAt) => step((now) => find(key, now) ? Option.none() : put(key, data, expiresAt)),
          replace: (key, expected, data, expiresAt) =>
            step((now) => current(key, expected, now) ? put(key, data, expiresAt) : Option.none())
        }
      },
      sweep: ({ records, sweep }) =>
        Effect.tap(sweep, () => {
          for (const key of counts.keys()) if (!records.has(key)) counts.delete(key)
        })
    } satisfies StoreMutant
  })(),

  // listings
  {
    name: "a listing of the first 300",
    laws: [hundreds],
    entries: (p) =>
      Stream.suspend(() =>
        Stream.fromIterableEffect(step((now) => liveOf(p, [...p.records.keys()].slice(0, 300), now)))
      )
  },
  {
    name: "a listing by offset, of 100",
    laws: [hundreds],
    entries: (p) =>
      Stream.paginateChunkEffect(0, (from) =>
        step((now) => {
          const keys = [...p.records.keys()].slice(from, from + 100)
          const next = keys.length < 100 ? Option.none<number>() : Option.some(from + 100)
          return [Chunk.fromIterable(liveOf(p, keys, now)), next] as const
        }))
  },
  {
    name: "two listings at once share a cursor",
    laws: ["of two listings at once, one of them slow, each has all"],
    entries: (p) => {
      let cursor = 0
      return Stream.suspend(() => {
        cursor = 0
        return Stream.paginateChunkEffect(undefined, () =>
          Effect.zipRight(
            gap,
            step((now) => {
              const keys = [...p.records.keys()].slice(cursor, cursor += 20)
              const next = keys.length === 0 ? Option.none<undefined>() : Option.some(undefined)
              return [Chunk.fromIterable(liveOf(p, keys, now)), next] as const
            })
          ))
      })
    }
  },
  {
    name: "a listing whose keys end at a colon",
    laws: [asTheyAre],
    entries: ({ entries }) => Stream.map(entries, (entry) => ({ ...entry, key: entry.key.split(":")[0]! }))
  },
  {
    name: "a listing without what has no data",
    laws: [asTheyAre],
    entries: ({ entries }) => Stream.filter(entries, ({ data }) => data.length > 0)
  },
  {
    name: "a listing hands out the store's own buffers",
    laws: ["what a caller does to listed bytes does not reach the record"],
    entries: ({ records }) =>
      Stream.suspend(() => Stream.fromIterable([...records].map(([key, found]): Entry => ({ key, ...found }))))
  }
]
