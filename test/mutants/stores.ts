/**
 * Stores that each carry one real bug of the field, and the laws that have to
 * find it.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as path from "node:path"
import type { Entry, SessionScan, SessionStore, SessionSweeper, Stored } from "../../src/SessionStore.js"
import { SessionStoreError, Version } from "../../src/SessionStore.js"
import type { Parts, Rules } from "./reference.js"
import { step } from "./reference.js"

type Store = SessionStore["Type"]

export interface StoreMutant {
  readonly name: string
  /** Each of these, run alone, has to fail. */
  readonly laws: ReadonlyArray<string>
  readonly rules?: Partial<Rules>
  /** What it does otherwise than the store of `parts`. */
  readonly store?: (parts: Parts) => Partial<Store>
  readonly sweep?: (parts: Parts) => SessionSweeper["Type"]["sweep"]
  readonly entries?: (parts: Parts) => SessionScan["Type"]["entries"]
  /** Every process has records of its own. */
  readonly alone?: boolean
  readonly singleProcess?: boolean
  /** What it does when each write takes ten seconds. */
  readonly slowWrites?: (parts: Parts) => Store
  /** What it does when its server is not there. */
  readonly outage?: Partial<Store>
}

export const twice = " (through two processes)"

const races = [
  "of 50 inserts at once exactly one wins",
  "of 50 inserts at once over an expired record exactly one wins",
  "of 50 replaces at once under one version exactly one wins",
  "of 50 removes at once exactly one wins, under a version and without",
  "50 increments at once, each tried until it succeeds, add 50",
  "a removed record is brought back by no replace and no touch that ran beside the removal",
  "whatever runs at once, its answers are those of one operation after the other",
  "calls and answers that come late and out of order change nothing about that"
] as const

const [insertRace, expiredRace, replaceRace, removeRace, incrementRace, revivalRace, history, lateHistory] = races

/** Time for somebody else, between a check and its act. */
export const gap = Effect.yieldNow()

/** Time for the event loop. */
const turn = Effect.async<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

const turns = Effect.replicateEffect(turn, 6, { discard: true })

/** Every write a check, a gap, and an act. */
const checkThenAct = ({ current, find, key: keyOf, put, records }: Parts, wait = gap) => ({
  insert: (key, data, expiresAt) =>
    Effect.gen(function*() {
      if (yield* step((now) => find(key, now))) return Option.none()
      yield* wait
      return yield* step((now) => put(key, data, expiresAt, now))
    }),
  replace: (key, expected, data, expiresAt) =>
    Effect.gen(function*() {
      if (!(yield* step((now) => current(key, expected, now)))) return Option.none()
      yield* wait
      return yield* step((now) => put(key, data, expiresAt, now))
    }),
  touch: (key, { version }, expiresAt) =>
    Effect.gen(function*() {
      const found = yield* step((now) => current(key, version, now))
      if (found === undefined) return false
      yield* wait
      records.set(keyOf(key), { ...found, expiresAt })
      return true
    }),
  remove: (key, expected) =>
    Effect.gen(function*() {
      if (!(yield* step((now) => expected === undefined ? find(key, now) : current(key, expected, now)))) return false
      yield* wait
      records.delete(keyOf(key))
      return true
    })
} satisfies Partial<Store>)

/** One operation after the other, in one process. */
const inTurn = (store: Store): Store => {
  const lock = Effect.unsafeMakeSemaphore(1)
  const locked = lock.withPermits(1)
  return {
    load: (key) => locked(store.load(key)),
    insert: (key, data, expiresAt) => locked(store.insert(key, data, expiresAt)),
    replace: (key, expected, data, expiresAt) => locked(store.replace(key, expected, data, expiresAt)),
    touch: (key, current, expiresAt) => locked(store.touch(key, current, expiresAt)),
    remove: (key, expected) => locked(store.remove(key, expected))
  }
}

const withSlowWrites = (parts: Parts): Store => ({
  ...parts.store,
  ...checkThenAct(parts, Effect.sleep("10 seconds"))
})

/** A correct store whose writes take ten seconds. */
export const slowReference = (parts: Parts): Store => inTurn(withSlowWrites(parts))

const text = new TextDecoder()

export const rule = (name: string, law: string, rules: Partial<Rules>): StoreMutant => ({ name, laws: [law], rules })

export const bug = (name: string, law: string, store: (parts: Parts) => Partial<Store>): StoreMutant => ({
  name,
  laws: [law],
  store
})

export const storeMutants: ReadonlyArray<StoreMutant> = [
  {
    name: "a slow write no longer excludes others",
    laws: [
      "a write that takes ten seconds still excludes others: of two replaces of one version one is stored",
      "a write that takes ten seconds still excludes others: what was removed meanwhile does not come back"
    ],
    slowWrites: withSlowWrites
  },
  // load
  bug("the deadline is read back in seconds", "a load finds a live record: its data, version and deadline", (p) => ({
    load: (key) =>
      Effect.map(p.store.load(key), Option.map((found) => ({ ...found, expiresAt: found.expiresAt / 1000 })))
  })),
  rule(
    "an absolute deadline of the server's clock",
    "a load finds a live record: its data, version and deadline",
    { isLive: (expiresAt) => expiresAt > Date.now() }
  ),
  bug("a load creates what it does not find", "a load finds nothing where nothing was", (p) => ({
    load: (key) =>
      step((now) => {
        if (!p.find(key, now)) p.put(key, new Uint8Array(0), now + 60_000, now)
        return Option.fromNullable(p.find(key, now))
      })
  })),
  bug("a cache that a removal leaves alone", "a load finds nothing where a record was removed", (p) => {
    const cache = new Map<string, Stored>()
    return {
      insert: (key, data, expiresAt) =>
        step((now) => {
          const inserted = p.find(key, now) ? Option.none() : p.put(key, data, expiresAt, now)
          if (Option.isSome(inserted)) cache.set(key, p.records.get(key)!)
          return inserted
        }),
      load: (key) => cache.has(key) ? Effect.succeedSome(cache.get(key)!) : p.store.load(key)
    }
  }),
  rule("what has expired still loads", "a load finds nothing where a record has expired", { isLive: () => true }),
  rule("one more millisecond", "a load finds nothing where a record has expired", {
    isLive: (expiresAt, now) => expiresAt >= now
  }),

  // insert
  bug("insert is an upsert", "an insert leaves a live record alone, and says so", (p) => ({
    insert: (key, data, expiresAt) => step((now) => p.put(key, data, expiresAt, now))
  })),
  bug("the reply of the condition is ignored", "an insert leaves a live record alone, and says so", (p) => ({
    insert: (key, data, expiresAt) =>
      step((now) => p.find(key, now) ? Option.some(Version("1")) : p.put(key, data, expiresAt, now))
  })),
  bug("a removal leaves a tombstone", "an insert succeeds where a record was removed", (p) => {
    const buried = new Set<string>()
    return {
      remove: (key, expected) => Effect.tap(p.store.remove(key, expected), (done) => done && buried.add(key)),
      insert: (key, data, expiresAt) =>
        Effect.suspend(() => buried.has(key) ? Effect.succeedNone : p.store.insert(key, data, expiresAt))
    }
  }),
  bug("the driver sends a write twice", "an insert succeeds where a record was removed", (p) => ({
    insert: (key, data, expiresAt) =>
      Effect.zipRight(p.store.insert(key, data, expiresAt), p.store.insert(key, data, expiresAt))
  })),
  bug(
    "an expired record is in the way",
    "an insert succeeds over an expired record, whose version stays stale",
    (p) => ({
      insert: (key, data, expiresAt) =>
        step((now) => p.records.has(key) ? Option.none() : p.put(key, data, expiresAt, now))
    })
  ),
  rule(
    "the version of an expired record lives on",
    "an insert succeeds over an expired record, whose version stays stale",
    {
      version: (old, _, now) => old !== undefined && old.expiresAt <= now ? old.version : `${Math.random()}`
    }
  ),

  // replace
  bug("a rewrite loses the new lifetime", "a replace moves data, version and deadline", (p) => ({
    replace: (key, expected, data) =>
      step((now) => {
        const found = p.current(key, expected, now)
        return found ? p.put(key, data, found.expiresAt, now) : Option.none()
      })
  })),
  rule("a rewrite keeps the version", "a replace moves data, version and deadline", {
    version: (old) => old?.version ?? `${Math.random()}`
  }),
  rule("the version is the deadline", "a version never repeats for a key, across replacing, removal and expiry", {
    version: (_, expiresAt) => `${expiresAt}`
  }),
  bug(
    "a version that was never stored",
    "a replace can be followed by another under the version that it answered",
    (p) => ({
      replace: (key, expected, data, expiresAt) =>
        Effect.map(p.store.replace(key, expected, data, expiresAt), Option.map((version) => Version(`${version}.`)))
    })
  ),
  bug("replace looks at no version", "a replace under a stale version changes nothing", (p) => ({
    replace: (key, _, data, expiresAt) =>
      step((now) => p.find(key, now) ? p.put(key, data, expiresAt, now) : Option.none())
  })),
  bug(
    "a stale write is tried again under the version found",
    "a replace under a stale version changes nothing",
    (p) => ({
      replace: (key, expected, data, expiresAt) =>
        Effect.flatMap(p.store.replace(key, expected, data, expiresAt), (done) =>
          Option.isSome(done)
            ? Effect.succeed(done)
            : step((now) => p.find(key, now) ? p.put(key, data, expiresAt, now) : Option.none()))
    })
  ),
  bug("replace is an upsert", "a replace of a removed record creates nothing", (p) => ({
    replace: (key, expected, data, expiresAt) =>
      step((now) =>
        p.find(key, now) && !p.current(key, expected, now) ? Option.none() : p.put(key, data, expiresAt, now)
      )
  })),
  bug("replace forgets the deadline in its condition", "a replace of an expired record creates nothing", (p) => ({
    replace: (key, expected, data, expiresAt) =>
      step((now) => p.records.get(key)?.version === expected ? p.put(key, data, expiresAt, now) : Option.none())
  })),

  // touch
  bug("a touch moves nothing", "a touch makes the deadline later, and leaves the data", (p) => ({
    touch: (key, { version }) => step((now) => p.current(key, version, now) !== undefined)
  })),
  bug("a touch can only postpone", "a touch makes the deadline sooner, and leaves the data", (p) => ({
    touch: (key, current, expiresAt) => p.store.touch(key, current, Math.max(current.expiresAt, expiresAt))
  })),
  bug(
    "a touch moves the version",
    "a touch leaves the version: another touch and a replace succeed under it",
    (p) => ({
      touch: (key, { version }, expiresAt) =>
        step((now) => {
          const found = p.current(key, version, now)
          return found !== undefined && Option.isSome(p.put(key, found.data, expiresAt, now))
        })
    })
  ),
  bug("touch looks at no version", "a touch under a stale version changes nothing", (p) => ({
    touch: (key, _, expiresAt) =>
      step((now) => {
        const found = p.find(key, now)
        if (found) p.records.set(key, { ...found, expiresAt })
        return found !== undefined
      })
  })),
  bug("a touch writes the data that it was given", "a touch under a stale version changes nothing", (p) => ({
    touch: (key, current, expiresAt) =>
      step((now) => p.find(key, now) !== undefined && Option.isSome(p.put(key, current.data, expiresAt, now)))
  })),
  bug("touch is an upsert", "a touch of a removed record creates nothing", (p) => ({
    touch: (key, current, expiresAt) =>
      step((now) => {
        const found = p.find(key, now)
        if (found && found.version !== current.version) return false
        p.records.set(key, { ...current, expiresAt })
        return true
      })
  })),
  bug("touch forgets the deadline in its condition", "a touch of an expired record does not revive it", (p) => ({
    touch: (key, current, expiresAt) =>
      step(() => {
        const found = p.records.get(key)
        if (found?.version !== current.version) return false
        p.records.set(key, { ...found, expiresAt })
        return true
      })
  })),

  // remove
  bug("a removal that comes a moment later", "a remove under the right version removes the record, once", (p) => ({
    remove: (key, expected) =>
      step((now) => {
        const found = expected === undefined ? p.find(key, now) : p.current(key, expected, now)
        if (found) p.records.set(key, { ...found, expiresAt: now + 1 })
        return found !== undefined
      })
  })),
  bug(
    "no version is compared like one",
    "a remove without a version removes the record, whatever its version, once",
    (p) => ({ remove: (key, expected) => p.store.remove(key, expected ?? Version("undefined")) })
  ),
  bug("remove looks at no version", "a remove under a stale version removes nothing", (p) => ({
    remove: (key) => p.store.remove(key)
  })),
  bug("a removal always worked", "a remove where nothing was is false", (p) => ({
    remove: (key, expected) => Effect.map(p.store.remove(key, expected), (done) => done || expected === undefined)
  })),
  bug(
    "what has expired can be removed",
    "a remove of an expired record is false, under its version and without",
    (p) => ({
      remove: (key, expected) =>
        step(() => {
          const found = p.records.get(key)
          return found !== undefined && (expected === undefined || found.version === expected) && p.records.delete(key)
        })
    })
  ),

  // deadlines
  rule("deadlines are rounded down to seconds", "a record lives through its last millisecond, for each operation", {
    isLive: (expiresAt, now) => Math.floor(expiresAt / 1000) > Math.ceil(now / 1000)
  }),
  bug(
    "a replace leaves the server's own lifetime",
    "a replace that postpones the deadline keeps the record beyond the old one",
    (p) => {
      const ends = new Map<string, number>()
      return {
        insert: (key, data, expiresAt) => {
          ends.set(key, expiresAt)
          return p.store.insert(key, data, expiresAt)
        },
        load: (key) => step((now) => ends.get(key)! > now ? Option.fromNullable(p.find(key, now)) : Option.none())
      }
    }
  ),
  bug(
    "a touch leaves the server's own lifetime",
    "a touch that postpones the deadline keeps the record beyond the old one",
    (p) => {
      const ends = new Map<string, number>()
      const noted = <A>(key: string, expiresAt: number, write: A): A => {
        ends.set(key, expiresAt)
        return write
      }
      return {
        insert: (key, data, expiresAt) => noted(key, expiresAt, p.store.insert(key, data, expiresAt)),
        replace: (key, expected, data, expiresAt) =>
          noted(key, expiresAt, p.store.replace(key, expected, data, expiresAt)),
        load: (key) => step((now) => ends.get(key)! > now ? Option.fromNullable(p.find(key, now)) : Option.none())
      }
    }
  ),
  bug("a lifetime of zero is forever", "a deadline that has come makes the record absent", (p) => {
    const forever = (expiresAt: number) => step((now) => expiresAt <= now ? Infinity : expiresAt)
    return {
      insert: (key, data, expiresAt) => Effect.flatMap(forever(expiresAt), (end) => p.store.insert(key, data, end)),
      replace: (key, expected, data, expiresAt) =>
        Effect.flatMap(forever(expiresAt), (end) => p.store.replace(key, expected, data, end)),
      touch: (key, current, expiresAt) => Effect.flatMap(forever(expiresAt), (end) => p.store.touch(key, current, end))
    }
  }),

  // versions
  {
    ...rule("a version counts from 1 in each record", "a version is stale after removal and re-insertion", {
      version: (old) => `${Number(old?.version ?? 0) + 1}`
    }),
    laws: ["", twice].map((suffix) => `a version is stale after removal and re-insertion${suffix}`)
  },
  {
    ...rule("the version is the clock", "", { version: (_old, _expiresAt, now) => `${now}` }),
    laws: ["", twice].map((suffix) =>
      `a version never repeats for a key, across replacing, removal and expiry${suffix}`
    )
  },
  {
    name: "a version counts from 1 in each process",
    laws: [`a version never repeats for a key, across replacing, removal and expiry${twice}`],
    store: (p) => {
      let writes = 0
      const counted = (key: string, write: Effect.Effect<Option.Option<Version>, SessionStoreError>) =>
        Effect.map(
          write,
          Option.map(() => {
            const version = Version(`${++writes}`)
            p.records.set(key, { ...p.records.get(key)!, version })
            return version
          })
        )
      return {
        insert: (key, data, expiresAt) => counted(key, p.store.insert(key, data, expiresAt)),
        replace: (key, expected, data, expiresAt) => counted(key, p.store.replace(key, expected, data, expiresAt))
      }
    }
  },

  // data
  rule("bytes become text", "every byte value comes back", {
    pack: (data) => new TextEncoder().encode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(data))
  }),
  rule("text becomes text", "text of every kind comes back byte by byte", {
    unpack: (data) => data[0] === 0xef ? new TextEncoder().encode(text.decode(data)) : Uint8Array.from(data)
  }),
  bug("no bytes are no record", "no bytes at all are data", (p) => ({
    load: (key) => Effect.map(p.store.load(key), Option.filter(({ data }) => data.length > 0))
  })),
  rule("the whole of the buffer", "a part of a larger buffer is stored without its surroundings", {
    pack: (data) => new Uint8Array(data.buffer.slice(0))
  }),
  rule("64 KiB and no more", "a mebibyte comes back, or as much as the store can hold", {
    pack: (data) => Uint8Array.from(data.subarray(0, 65_535))
  }),
  bug("written over, and not cut off", "a shorter replacement leaves nothing of the longer data", (p) => ({
    replace: (key, expected, data, expiresAt) =>
      step((now) => {
        const found = p.current(key, expected, now)
        if (!found) return Option.none()
        const bytes = Uint8Array.from({ ...found.data, length: Math.max(found.data.length, data.length) })
        bytes.set(data)
        return p.put(key, bytes, expiresAt, now)
      })
  })),
  rule("the caller's own buffer is kept", "what a caller does to its bytes afterwards does not reach the record", {
    pack: (data) => data
  }),
  rule("the store's own buffer is handed out", "what a caller does to loaded bytes does not reach the record", {
    unpack: (data) => data
  }),
  bug(
    "what is too large makes room first",
    "one byte over the limit is TooLarge, with both sizes, and what was there stays",
    (p) => ({
      replace: (key, expected, data, expiresAt) =>
        Effect.onError(p.store.replace(key, expected, data, expiresAt), () => Effect.sync(() => p.records.delete(key)))
    })
  ),

  // keys
  rule("keys are cut off", "keys that differ in one character only are records of their own", {
    key: (key) => key.slice(0, 24)
  }),
  rule("keys are compared without case", "keys that differ in case only are records of their own", {
    key: (key) => key.toLowerCase()
  }),
  rule("keys are compared as numbers", "keys that read as one number are records of their own", {
    key: (key) => Number.isNaN(Number(key)) ? key : String(Number(key))
  }),
  rule("keys are paths", "keys that read as paths, queries, patterns or commands are records of their own", {
    key: (key) => path.posix.normalize(key)
  }),
  rule(
    "trailing spaces do not count",
    "keys of white space, control characters, any Unicode and 1000 characters are records of their own",
    { key: (key) => key.trimEnd() }
  ),
  rule(
    "keys are normalised",
    "keys of white space, control characters, any Unicode and 1000 characters are records of their own",
    { key: (key) => key.normalize("NFKC") }
  ),

  // interruption
  bug(
    "a lock that nobody takes off",
    "an insert that is interrupted at any point is done or not done, and the store serves on",
    (p) => {
      const locks = new Set<string>()
      return {
        insert: (key, data, expiresAt) =>
          Effect.suspend(() => {
            if (locks.has(key)) return Effect.succeedNone
            locks.add(key)
            return Effect.zipRight(turn, p.store.insert(key, data, expiresAt)).pipe(Effect.tap(() => locks.delete(key)))
          })
      }
    }
  ),
  bug(
    "a replace removes first",
    "a replace that is interrupted at any point is done or not done, and the store serves on",
    (p) => ({
      replace: (key, expected, data, expiresAt) =>
        Effect.flatMap(
          p.store.remove(key, expected),
          (removed) => removed ? Effect.zipRight(turn, p.store.insert(key, data, expiresAt)) : Effect.succeedNone
        )
    })
  ),
  bug(
    "a touch removes first",
    "a touch that is interrupted at any point is done or not done, and the store serves on",
    (p) => ({
      touch: (key, current, expiresAt) =>
        Effect.flatMap(p.store.remove(key, current.version), (removed) =>
          removed
            ? Effect.as(Effect.zipRight(turn, step(() => p.records.set(key, { ...current, expiresAt }))), true)
            : Effect.succeed(false))
    })
  ),
  bug(
    "a removal blanks first",
    "a remove that is interrupted at any point is done or not done, and the store serves on",
    (p) => ({
      remove: (key, expected) =>
        Effect.suspend(() => {
          const found = p.records.get(key)
          if (found) p.records.set(key, { ...found, data: new Uint8Array(0) })
          return Effect.zipRight(turn, p.store.remove(key, expected))
        })
    })
  ),

  // races
  bug("insert checks, then acts", insertRace, (p) => ({ insert: checkThenAct(p).insert })),
  bug("insert checks, then acts, where one has expired", expiredRace, (p) => ({
    insert: (key, data, expiresAt) =>
      Effect.suspend(() => (p.records.has(key) ? checkThenAct(p) : p.store).insert(key, data, expiresAt))
  })),
  bug("replace checks, then acts", replaceRace, (p) => ({ replace: checkThenAct(p).replace })),
  bug("a counter that loses updates", incrementRace, (p) => ({ replace: checkThenAct(p).replace })),
  bug("remove checks, then acts", removeRace, (p) => ({ remove: checkThenAct(p).remove })),
  bug("touch checks, then writes the record back", revivalRace, (p) => ({ touch: checkThenAct(p).touch })),
  bug("a cache is filled after a removal", history, (p) => {
    const cache = new Map<string, Stored>()
    return {
      load: (key) =>
        Effect.suspend(() =>
          cache.has(key) ?
            Effect.succeedSome(cache.get(key)!) :
            Effect.tap(p.store.load(key), (found) =>
              Effect.zipRight(
                gap,
                Effect.sync(() => {
                  if (Option.isSome(found)) cache.set(key, found.value)
                })
              ))
        ),
      insert: (key, data, expiresAt) => Effect.tap(p.store.insert(key, data, expiresAt), () => cache.delete(key)),
      replace: (key, expected, data, expiresAt) =>
        Effect.tap(p.store.replace(key, expected, data, expiresAt), () => cache.delete(key)),
      touch: (key, current, expiresAt) => Effect.tap(p.store.touch(key, current, expiresAt), () => cache.delete(key)),
      remove: (key, expected) => Effect.tap(p.store.remove(key, expected), () => cache.delete(key))
    }
  }),
  bug("every write checks, waits for the network, and acts", lateHistory, (p) => checkThenAct(p, turns)),
  {
    name: "a lock within the process",
    laws: races.map((race) => race + twice),
    store: (p) => inTurn({ ...p.store, ...checkThenAct(p, Effect.zipRight(gap, turns)) })
  },

  // several processes
  {
    name: "marked as a store of one process",
    laws: ["a store of several processes is not marked as one of a single process"],
    singleProcess: true
  },
  {
    name: "records of its own in each process",
    laws: ["a record of one process is there for the others"],
    alone: true
  },

  // errors
  {
    name: "an outage is a missing record",
    laws: [
      "a store that cannot reach its records fails each operation, by a typed error that says neither key nor data"
    ],
    outage: { load: () => Effect.succeedNone }
  },
  {
    name: "an error shows the command that failed",
    laws: [
      "a store that cannot reach its records fails each operation, by a typed error that says neither key nor data"
    ],
    outage: {
      load: (key) =>
        Effect.fail(
          Object.assign(new SessionStoreError({ reason: "Unavailable", operation: "load" }), { command: key })
        )
    }
  },

  // sweep
  {
    name: "a sweep finds nothing",
    laws: ["a sweep removes what has expired, counts it, and leaves what is live"],
    sweep: () => Effect.succeed(0)
  },
  {
    name: "a sweep goes by the first deadline",
    laws: ["a sweep leaves what was touched, replaced or inserted anew in time"],
    store: (p) => ({
      insert: (key, data, expiresAt) =>
        Effect.tap(p.store.insert(key, data, expiresAt), () => firsts.set(key, expiresAt))
    }),
    sweep: (p) =>
      step((now) => [...p.records.keys()].filter((key) => firsts.get(key)! <= now && p.records.delete(key)).length)
  },
  {
    name: "a sweep removes by the keys that it listed",
    laws: ["a sweep takes no record that is inserted over an expired one meanwhile"],
    sweep: (p) => sweepListed(p, () => true)
  },
  {
    name: "a sweep removes by the versions that it listed",
    laws: ["a sweep takes no record that is touched meanwhile by a process whose clock is behind"],
    sweep: (p) => sweepListed(p, (listed, found) => listed.version === found.version)
  },

  // scan
  {
    name: "a listing ends with its first page",
    laws: ["a listing has each of 300 live records, with key, data and deadline, and none that expired or was removed"],
    entries: (p) => Stream.take(p.entries, 100)
  },
  {
    name: "an index that is read, changed and written",
    laws: ["a listing has each of 300 live records, with key, data and deadline, and none that expired or was removed"],
    store: (p) => ({
      insert: (key, data, expiresAt) =>
        Effect.tap(p.store.insert(key, data, expiresAt), () => {
          const all = index
          return Effect.andThen(gap, () => {
            index = [...all, key]
          })
        })
    }),
    entries: (p) => Stream.filter(p.entries, ({ key }) => index.includes(key))
  },
  {
    name: "a listing by offset",
    laws: ["a listing has what is live throughout, whatever is written meanwhile"],
    entries: (p) =>
      Stream.paginateChunkEffect(0, (from) =>
        Effect.zipRight(
          turn,
          step((): Page<number> => {
            const listed = [...p.records].slice(from, from + 20).map(([key, found]) => ({ key, ...found }))
            return [Chunk.fromIterable(listed), listed.length === 20 ? Option.some(from + 20) : Option.none()]
          })
        ))
  },
  {
    name: "all listings share one cursor",
    laws: ["a listing that is given up half way, or interrupted, leaves the store as it was"],
    entries: (p) => {
      let cursor = 0
      return Stream.paginateChunkEffect(undefined, () =>
        Effect.zipRight(
          turn,
          step((): Page<undefined> => {
            const listed = [...p.records].slice(cursor, cursor + 20).map(([key, found]) => ({ key, ...found }))
            cursor = listed.length === 20 ? cursor + 20 : 0
            return [Chunk.fromIterable(listed), cursor > 0 ? Option.some(undefined) : Option.none()]
          })
        ))
    }
  }
]

type Page<Next> = readonly [Chunk.Chunk<Entry>, Option.Option<Next>]

const firsts = new Map<string, number>()

let index: ReadonlyArray<string> = []

/** Lists what has expired, and removes it a moment later where `still` holds. */
const sweepListed = ({ isLive, records }: Parts, still: (listed: Stored, found: Stored) => boolean) =>
  Effect.gen(function*() {
    const dead = yield* step((now) => [...records].filter(([, { expiresAt }]) => !isLive(expiresAt, now)))
    let swept = 0
    for (const [key, listed] of dead) {
      yield* gap
      const found = records.get(key)
      if (found !== undefined && still(listed, found) && records.delete(key)) swept++
    }
    return swept
  })
