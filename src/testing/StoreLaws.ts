/**
 * The laws of `SessionStore`, once for every store. The test of a backend is a
 * few lines:
 *
 * ```ts
 * import * as Memory from "effect-session/layers/Memory"
 * import { storeLaws } from "effect-session/testing"
 *
 * storeLaws(Memory.layer(), { sweeps: true })
 * ```
 *
 * Needs `vitest` and `@effect/vitest`. Keys are new in every run and removed
 * after each test, so a shared server will do. Time is the `TestClock`'s, which
 * starts at 0: deadlines are small numbers, and the server's clock must not
 * matter. No write repeats the bytes of another, for a store may take the bytes
 * themselves as the version.
 *
 * @since 0.1.0
 */
import { describe, expect, layer as withLayer } from "@effect/vitest"
import type { Vitest } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { randomBytes } from "node:crypto"
import type { Entry, SingleProcess, Stored, Version } from "../SessionStore.js"
import { SessionScan, SessionStore, SessionStoreError, SessionSweeper } from "../SessionStore.js"
import type { Keyed } from "./histories.js"
import { plans, unexplained } from "./histories.js"

/**
 * What a store can do, and so which laws it is held to. An ability has to be in
 * the Layer's type: `sweeps` wants `SessionSweeper`, `scans` wants
 * `SessionScan`, `multiProcess` the absence of `SingleProcess`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Capabilities {
  /** Names the store in the output. */
  readonly name?: string
  /**
   * The layer provides `SessionSweeper`, whose laws are run too. Its records
   * must be shared with nobody: a sweep by the `TestClock` removes what is
   * live for another one. False by default.
   */
  readonly sweeps?: boolean
  /** The layer provides `SessionScan`, whose laws are run too. False by default. */
  readonly scans?: boolean
  /**
   * A touch rewrites the data under a new version (Memcached). False by
   * default.
   */
  readonly touchMovesVersion?: boolean
  /**
   * The largest data in bytes; one byte more must fail as `TooLarge`. Without
   * it, 1 MiB must fit and the limit is not tried.
   */
  readonly maxBytes?: number
  /**
   * Two builds of the layer share their records: the laws of versions and the
   * races are run across both, too. False by default.
   */
  readonly multiProcess?: boolean
}

/** What a Layer that provides `ROut` may claim. */
type Claims<ROut> =
  & (SessionSweeper extends ROut ? unknown : { readonly sweeps?: false })
  & (SessionScan extends ROut ? unknown : { readonly scans?: false })
  & (SingleProcess extends ROut ? { readonly multiProcess?: false } : unknown)

/**
 * Declares the laws as tests.
 *
 * @since 0.1.0
 * @category laws
 */
export const storeLaws = <ROut, E>(
  layer: Layer.Layer<ROut, E> & Layer.Layer<SessionStore, E>,
  capabilities: Capabilities & Claims<NoInfer<ROut>> = {}
): void =>
  withLayer(layer, { timeout: "1 minute" })(
    `the store laws${capabilities.name ? ` hold for ${capabilities.name}` : ""}`,
    (it) => {
      describe("load", () => loadLaws(it))
      describe("insert", () => insertLaws(it))
      describe("replace", () => replaceLaws(it))
      describe("touch", () => touchLaws(it, capabilities))
      describe("remove", () => removeLaws(it))
      describe("deadlines", () => deadlineLaws(it))
      describe("versions", () => versionLaws(it, oneProcess))
      describe("data", () => dataLaws(it, capabilities))
      describe("keys", () => keyLaws(it))
      describe("interruption", () => interruptionLaws(it))
      describe("races", () => raceLaws(it, oneProcess, capabilities))
      if (capabilities.multiProcess) {
        describe("versions of two processes", () => versionLaws(it, twoProcesses(layer)))
        describe("races of two processes", () => raceLaws(it, twoProcesses(layer), capabilities))
      }
      if (capabilities.sweeps) describe("sweep", () => sweepLaws(it))
      if (capabilities.scans) describe("scan", () => scanLaws(it))
    }
  )

// -----------------------------------------------------------------------------
// the five operations
// -----------------------------------------------------------------------------

const loadLaws = (it: It) => {
  it.scoped("finds a live record: its data, version and deadline", () =>
    Effect.gen(function*() {
      yield* expectLive(yield* live())
    }))

  it.scoped("finds nothing where nothing was", () =>
    Effect.gen(function*() {
      yield* expectAbsent(yield* newKey)
    }))

  it.scoped("finds nothing where a record was removed", () =>
    Effect.gen(function*() {
      yield* expectAbsent((yield* removed).key)
    }))

  it.scoped("finds nothing where a record has expired", () =>
    Effect.gen(function*() {
      yield* expectAbsent((yield* expired).key)
    }))
}

const insertLaws = (it: It) => {
  it.scoped("leaves a live record alone", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* live()
      expect(yield* store.insert(record.key, newData(), yield* inMillis(2 * minute))).toEqual(Option.none())
      yield* expectLive(record)
    }))

  it.scoped("succeeds where a record was removed", () =>
    Effect.gen(function*() {
      yield* expectLive(yield* insertAt((yield* removed).key))
    }))

  it.scoped("succeeds over an expired record, whose version stays stale", () =>
    Effect.gen(function*() {
      const old = yield* expired
      const record = yield* insertAt(old.key)
      yield* expectStale(old)
      yield* expectLive(record)
    }))
}

const replaceLaws = (it: It) => {
  it.scoped("with the right version moves data, version and deadline", () =>
    Effect.gen(function*() {
      const { after, before } = yield* replaced
      expect(after.version).not.toBe(before.version)
      yield* expectLive(after)
    }))

  it.scoped("can be done again with the version that it answered", () =>
    Effect.gen(function*() {
      const { after } = yield* replaced
      yield* expectLive(yield* replace(after))
    }))

  it.scoped("with a stale version changes nothing", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after, before } = yield* replaced
      const deadline = yield* inMillis(3 * minute)
      expect(yield* store.replace(before.key, before.version, newData(), deadline)).toEqual(Option.none())
      yield* expectLive(after)
    }))

  it.scoped("of a removed record creates nothing", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { key, version } = yield* removed
      expect(yield* store.replace(key, version, newData(), yield* inMillis(minute))).toEqual(Option.none())
      yield* expectAbsent(key)
    }))

  it.scoped("of an expired record creates nothing", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { key, version } = yield* expired
      expect(yield* store.replace(key, version, newData(), yield* inMillis(minute))).toEqual(Option.none())
      yield* expectAbsent(key)
    }))
}

const touchLaws = (it: It, options: Capabilities) => {
  for (const [direction, deadline] of [["later", 2 * minute], ["sooner", second]] as const) {
    it.scoped(`makes the deadline ${direction} and leaves the data`, () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const record = yield* live()
        const expiresAt = yield* inMillis(deadline)
        expect(yield* store.touch(record.key, record, expiresAt)).toBe(true)
        const found = Option.getOrThrow(yield* store.load(record.key))
        expect({ ...shown(found), version: "" }).toEqual({ ...shown({ ...record, expiresAt }), version: "" })
      }))
  }

  if (!options.touchMovesVersion) {
    it.scoped("leaves the version: a second touch and a replace still succeed under it", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const record = yield* live()
        const expiresAt = yield* inMillis(2 * minute)
        expect(yield* store.touch(record.key, record, yield* inMillis(3 * minute))).toBe(true)
        expect(yield* store.touch(record.key, record, expiresAt)).toBe(true)
        yield* expectLive({ ...record, expiresAt })
        yield* expectLive(yield* replace(record))
      }))
  }

  it.scoped("with a stale version changes nothing", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after, before } = yield* replaced
      expect(yield* store.touch(before.key, before, yield* inMillis(3 * minute))).toBe(false)
      yield* expectLive(after)
    }))

  it.scoped("of a removed record creates nothing", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* removed
      expect(yield* store.touch(record.key, record, yield* inMillis(minute))).toBe(false)
      yield* expectAbsent(record.key)
    }))

  it.scoped("of an expired record does not revive it", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* expired
      expect(yield* store.touch(record.key, record, yield* inMillis(minute))).toBe(false)
      yield* expectAbsent(record.key)
    }))
}

const removeLaws = (it: It) => {
  it.scoped("with the right version removes the record, once", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { key, version } = yield* live()
      expect(yield* store.remove(key, version)).toBe(true)
      yield* expectAbsent(key)
      expect(yield* store.remove(key, version)).toBe(false)
    }))

  it.scoped("without a version removes the record, whatever its version, once", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after: { key } } = yield* replaced
      expect(yield* store.remove(key)).toBe(true)
      yield* expectAbsent(key)
      expect(yield* store.remove(key)).toBe(false)
    }))

  it.scoped("with a stale version removes nothing", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { after, before } = yield* replaced
      expect(yield* store.remove(before.key, before.version)).toBe(false)
      yield* expectLive(after)
    }))

  it.scoped("is false where nothing was", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      expect(yield* store.remove(yield* newKey)).toBe(false)
    }))

  it.scoped("of an expired record is false, with its version and without", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const one = yield* live(second)
      const other = yield* live(second)
      yield* TestClock.adjust(second)
      expect(yield* store.remove(one.key, one.version)).toBe(false)
      expect(yield* store.remove(other.key)).toBe(false)
    }))
}

// -----------------------------------------------------------------------------
// deadlines, versions, data, keys
// -----------------------------------------------------------------------------

const deadlineLaws = (it: It) => {
  it.scoped("a record lives through its last millisecond, for each operation", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const records = yield* Effect.replicateEffect(live(second), 5)
      const [toLoad, toInsert, toReplace, toTouch, toRemove] = records
      yield* TestClock.adjust(second - 1)
      yield* expectLive(toLoad)
      expect(yield* store.insert(toInsert.key, newData(), yield* inMillis(minute))).toEqual(Option.none())
      yield* expectLive(yield* replace(toReplace))
      expect(yield* store.touch(toTouch.key, toTouch, yield* inMillis(minute))).toBe(true)
      expect(yield* store.remove(toRemove.key, toRemove.version)).toBe(true)
    }))

  it.scoped("a replace that postpones the deadline keeps the record beyond the old one", () =>
    Effect.gen(function*() {
      const record = yield* replace(yield* live(second))
      yield* TestClock.adjust(second)
      yield* expectLive(record)
    }))

  it.scoped("a touch that postpones the deadline keeps the record beyond the old one", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const record = yield* live(second)
      yield* store.touch(record.key, record, yield* inMillis(2 * second))
      yield* TestClock.adjust(second)
      expect(Option.isSome(yield* store.load(record.key))).toBe(true)
      yield* TestClock.adjust(second)
      yield* expectAbsent(record.key)
    }))

  it.scoped("a deadline that has come makes the record absent", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const [toReplace, toTouch] = yield* Effect.replicateEffect(live(), 2)
      const inserted = yield* live(0)
      yield* store.replace(toReplace.key, toReplace.version, newData(), yield* inMillis(0))
      yield* store.touch(toTouch.key, toTouch, yield* inMillis(0))
      yield* expectAbsent(inserted.key)
      yield* expectAbsent(toReplace.key)
      yield* expectAbsent(toTouch.key)
    }))
}

const versionLaws = (it: It, stores: Stores) => {
  it.scoped("a version never repeats for a key, across replacing, removal and expiry", () =>
    Effect.gen(function*() {
      const all = yield* stores
      const key = yield* newKey
      const versions: Array<Version> = []
      for (let round = 0; round < 8; round++) {
        const store = all[round % all.length]!
        const { after, before } = yield* Effect.gen(function*() {
          const before = yield* insertAt(key, second)
          return { before, after: yield* replace(before, second) }
        }).pipe(Effect.provideService(SessionStore, store))
        versions.push(before.version, after.version)
        yield* round % 4 < 2 ? store.remove(key) : TestClock.adjust(second)
      }
      expect(new Set(versions).size).toBe(16)
    }))

  it.scoped("a version is stale after removal and re-insertion", () =>
    Effect.gen(function*() {
      const old = yield* removed
      const record = yield* insertAt(old.key)
      yield* expectStale(old)
      yield* expectLive(record)
    }))
}

const dataLaws = (it: It, options: Capabilities) => {
  const roundTrips = (data: Uint8Array) =>
    Effect.gen(function*() {
      const inserted = yield* insertAt(yield* newKey, minute, data)
      yield* expectData(inserted.key, data)
      const replaced = yield* replace(yield* live(), minute, data)
      yield* expectData(replaced.key, data)
    })

  it.scoped("every byte value comes back", () => roundTrips(Uint8Array.from({ length: 256 }, (_, i) => 255 - i)))

  it.scoped("no bytes at all are data", () => roundTrips(new Uint8Array(0)))

  it.scoped("a part of a larger buffer is stored without its surroundings", () =>
    roundTrips(randomBytes(64).subarray(7, 23)))

  it.scoped("a large record comes back", () =>
    roundTrips(randomBytes(Math.min(mebibyte, options.maxBytes ?? mebibyte))))

  it.scoped("a shorter replacement leaves nothing of the longer data", () =>
    Effect.gen(function*() {
      const shorter = newData().subarray(0, 3)
      const { key } = yield* replace(yield* live(), minute, shorter)
      yield* expectData(key, shorter)
    }))

  it.scoped("what a caller does to its bytes afterwards does not reach the record", () =>
    Effect.gen(function*() {
      const data = newData()
      const given = Uint8Array.from(data)
      const { key } = yield* insertAt(yield* newKey, minute, data)
      const { key: other } = yield* replace(yield* live(), minute, data)
      data.fill(0)
      for (const loaded of [yield* load(key), yield* load(other)]) Option.getOrThrow(loaded).data.fill(0)
      yield* expectData(key, given)
      yield* expectData(other, given)
    }))

  const { maxBytes } = options
  if (maxBytes === undefined) return

  it.scoped("one byte over the limit is TooLarge, and stores nothing", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const tooMuch = randomBytes(maxBytes + 1)
      const record = yield* live()
      const key = yield* newKey
      const deadline = yield* inMillis(minute)
      const errors = [
        yield* Effect.flip(store.insert(key, tooMuch, deadline)),
        yield* Effect.flip(store.replace(record.key, record.version, tooMuch, deadline))
      ]
      for (const error of errors) {
        expect(error).toBeInstanceOf(SessionStoreError)
        expect(error.reason).toBe("TooLarge")
      }
      yield* expectAbsent(key)
      yield* expectLive(record)
    }))
}

const keyLaws = (it: It) => {
  const areTwo = (one: string, other: string) =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const first = yield* insertAt(yield* ownKey(one))
      const second = yield* insertAt(yield* ownKey(other))
      yield* expectLive(first)
      yield* expectLive(second)
      expect(yield* store.remove(one)).toBe(true)
      yield* expectLive(second)
    })

  it.scoped("keys that differ in their last character only are two records", () => {
    const prefix = randomKey().slice(0, -1)
    return areTwo(prefix + "a", prefix + "b")
  })

  it.scoped("keys that differ in their first character only are two records", () => {
    const suffix = randomKey().slice(1)
    return areTwo("a" + suffix, "b" + suffix)
  })

  it.scoped("keys that read as the same number are two records", () => {
    const digits = BigInt("0x" + randomKey()).toString().padStart(61, "1").slice(-61)
    return areTwo(`0e${digits}0`, `0e${digits}1`)
  })
}

// -----------------------------------------------------------------------------
// interruption
// -----------------------------------------------------------------------------

const interruptionLaws = (it: It) => {
  const law = (
    name: string,
    given: Effect.Effect<Keyed, SessionStoreError, SessionStore | Scope.Scope>,
    write: (store: Store, record: Keyed, data: Uint8Array) => Effect.Effect<unknown, SessionStoreError>,
    written: (data: Uint8Array, record: Keyed) => Option.Option<Uint8Array>
  ) =>
    it.scoped(`an interrupted ${name} is done or not done, and the store serves on`, () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const bystander = yield* live()
        for (const moment of moments) {
          const record = yield* given
          const before = Option.map(yield* store.load(record.key), dataOf)
          const data = newData()
          const fiber = yield* Effect.fork(write(store, record, data))
          yield* moment
          yield* Fiber.interrupt(fiber)
          const found = Option.map(yield* store.load(record.key), dataOf)
          expect([before, Option.map(written(data, record), hex)]).toContainEqual(found)
          yield* expectLive(bystander)
          yield* overwrite(record.key)
        }
      }))

  law("insert", removed, (store, { expiresAt, key }, data) => store.insert(key, data, expiresAt), Option.some)
  law(
    "replace",
    live(),
    (store, { expiresAt, key, version }, data) => store.replace(key, version, data, expiresAt),
    Option.some
  )
  law(
    "touch",
    live(),
    (store, record) => store.touch(record.key, record, record.expiresAt + second),
    (_, record) => Option.some(record.data)
  )
  law("remove", live(), (store, { key, version }) => store.remove(key, version), Option.none)
}

/** Lets the other fibers run, n times. */
const yields = (n: number) => Effect.replicateEffect(Effect.yieldNow(), n, { discard: true })

/** From "not started" over every step of the fiber to several turns of the event loop. */
const moments: ReadonlyArray<Effect.Effect<void>> = [
  ...[0, 1, 2, 3, 4].map(yields),
  ...[1, 2, 3, 4, 6, 8].map((n) =>
    Effect.replicateEffect(
      Effect.async<void>((resume) => {
        setImmediate(() => resume(Effect.void))
      }),
      n,
      { discard: true }
    )
  )
]

/** What was interrupted may still arrive at the server, so this is tried again; it must not stay locked. */
const overwrite = (key: string) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const found = yield* store.load(key)
    const expiresAt = yield* inMillis(minute)
    return Option.isNone(found)
      ? yield* store.insert(key, newData(), expiresAt)
      : yield* store.replace(key, found.value.version, newData(), expiresAt)
  }).pipe(
    Effect.repeat({ until: Option.isSome, times: 5 }),
    Effect.map((version) => expect(Option.isSome(version)).toBe(true))
  )

// -----------------------------------------------------------------------------
// races
// -----------------------------------------------------------------------------

const raceLaws = (it: It, stores: Stores, options: Capabilities) => {
  const contenders = 50

  /** All at once, in turn on one store and the next. */
  const race = <A>(run: (store: Store) => Effect.Effect<A, SessionStoreError>) =>
    Effect.flatMap(stores, (stores) =>
      Effect.forEach(
        Array.from({ length: contenders }, (_, i) => stores[i % stores.length]!),
        run,
        { concurrency: "unbounded" }
      ))

  const expectOneWinner = (
    key: string,
    write: (store: Store, data: Uint8Array) => Effect.Effect<Option.Option<Version>, SessionStoreError>
  ) =>
    Effect.gen(function*() {
      const versions = yield* race((store) => {
        const data = newData()
        return Effect.map(write(store, data), Option.map((version) => ({ version, data: hex(data) })))
      })
      const winners = versions.flatMap(Option.toArray)
      expect(winners.length).toBe(1)
      const { data, version } = shown(Option.getOrThrow(yield* load(key)))
      expect({ data, version }).toEqual(winners[0])
    })

  it.scoped("of 50 inserts exactly one wins", () =>
    Effect.gen(function*() {
      const key = yield* newKey
      const expiresAt = yield* inMillis(minute)
      yield* expectOneWinner(key, (store, data) => store.insert(key, data, expiresAt))
    }))

  it.scoped("of 50 inserts over an expired record exactly one wins", () =>
    Effect.gen(function*() {
      const { key } = yield* expired
      const expiresAt = yield* inMillis(minute)
      yield* expectOneWinner(key, (store, data) => store.insert(key, data, expiresAt))
    }))

  it.scoped("of 50 replaces under one version exactly one wins", () =>
    Effect.gen(function*() {
      const { expiresAt, key, version } = yield* live()
      yield* expectOneWinner(key, (store, data) => store.replace(key, version, data, expiresAt))
    }))

  it.scoped("of 50 removes exactly one wins, with a version and without", () =>
    Effect.gen(function*() {
      const one = yield* live()
      const other = yield* live()
      const conditional = yield* race((store) => store.remove(one.key, one.version))
      const unconditional = yield* race((store) => store.remove(other.key))
      expect(conditional.filter(Boolean).length).toBe(1)
      expect(unconditional.filter(Boolean).length).toBe(1)
    }))

  it.scoped("50 increments, each tried until it succeeds, add 50", () =>
    Effect.gen(function*() {
      const { expiresAt, key } = yield* insertAt(yield* newKey, minute, counterData(0))
      yield* race((store) =>
        Effect.gen(function*() {
          const { data, version } = Option.getOrThrow(yield* store.load(key))
          return yield* store.replace(key, version, counterData(counterOf(data) + 1), expiresAt)
        }).pipe(Effect.repeat({ until: Option.isSome }))
      )
      expect(counterOf(Option.getOrThrow(yield* load(key)).data)).toBe(contenders)
    }))

  it.scoped("a removed record is brought back by no replace and no touch that ran beside the removal", () =>
    Effect.gen(function*() {
      for (let round = 0; round < 5; round++) {
        const record = yield* live()
        const { key, version } = record
        const expiresAt = record.expiresAt + second
        let turn = 0
        yield* race((store) =>
          Effect.suspend((): Effect.Effect<unknown, SessionStoreError> => {
            turn++
            if (turn === 5 * round + 1) return store.remove(key)
            return turn % 2 === 0
              ? store.touch(key, record, expiresAt)
              : store.replace(key, version, newData(), expiresAt)
          })
        )
        yield* expectAbsent(key)
      }
    }))

  it.scoped.prop(
    "whatever runs at once, its answers are those of one operation after the other",
    [FastCheck.tuple(FastCheck.boolean(), FastCheck.boolean()), plans],
    ([[firstExists, secondExists], plan]) =>
      Effect.gen(function*() {
        const records = [yield* firstExists ? live() : removed, yield* secondExists ? live() : removed] as const
        expect(yield* unexplained(yield* stores, records, plan, options)).toEqual([])
      }),
    // A failure prints its seed and its shortest plan.
    { fastCheck: { numRuns: 150, interruptAfterTimeLimit: 1500 } }
  )
}

/** The stores that an operation may go to. */
type Stores = Effect.Effect<ReadonlyArray<Store>, never, SessionStore | Scope.Scope>

const oneProcess: Stores = Effect.map(SessionStore, (store) => [store])

/** Both new, so that what counts from 1 in each process counts alike. */
const twoProcesses = <E>(layer: Layer.Layer<SessionStore, E>): Stores =>
  Layer.build(Layer.fresh(layer)).pipe(
    Effect.map(Context.get(SessionStore)),
    Effect.orDie,
    Effect.replicateEffect(2)
  )

// -----------------------------------------------------------------------------
// sweep
// -----------------------------------------------------------------------------

const sweepLaws = (it: It) => {
  // The types of `storeLaws` see to it that it is there.
  const sweep = Effect.flatMap(Effect.serviceOption(SessionSweeper), (sweeper) => Option.getOrThrow(sweeper).sweep)

  it.scoped("removes what has expired, counts it, and leaves what is live", () =>
    Effect.gen(function*() {
      yield* sweep
      const alive = yield* Effect.replicateEffect(live(), 3)
      const dead = yield* Effect.replicateEffect(live(0), 5)
      expect(yield* sweep).toBe(5)
      expect(yield* sweep).toBe(0)
      yield* Effect.forEach(alive, expectLive)
      yield* Effect.forEach(dead, ({ key }) => expectAbsent(key))
    }))

  it.scoped("leaves what was touched, replaced or inserted anew in time", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const touched = yield* live(second)
      const replaced = yield* replace(yield* live(second))
      const inserted = yield* insertAt((yield* live(0)).key)
      expect(yield* store.touch(touched.key, touched, yield* inMillis(minute))).toBe(true)
      yield* TestClock.adjust(second)
      yield* sweep
      expect(Option.isSome(yield* store.load(touched.key))).toBe(true)
      yield* expectLive(replaced)
      yield* expectLive(inserted)
    }))

  it.scoped("takes no record that is inserted over an expired one meanwhile", () =>
    Effect.gen(function*() {
      for (let round = 0; round < 5; round++) {
        const dead = yield* Effect.replicateEffect(live(0), 10)
        const [, records] = yield* Effect.all([
          Effect.zipRight(yields(round), sweep),
          Effect.forEach(dead, ({ key }, i) => Effect.zipRight(yields(i % 5), insertAt(key)), {
            concurrency: "unbounded"
          })
        ], { concurrency: "unbounded" })
        yield* Effect.forEach(records, expectLive)
      }
    }))
}

// -----------------------------------------------------------------------------
// scan
// -----------------------------------------------------------------------------

const scanLaws = (it: It) => {
  // The types of `storeLaws` see to it that it is there.
  const entries = Stream.unwrap(
    Effect.map(Effect.serviceOption(SessionScan), (scan) => Option.getOrThrow(scan).entries)
  )

  /** What is listed under these keys; others' records are none of ours. */
  const listed = (keys: ReadonlyArray<string>) => {
    const ours = new Set(keys)
    return Effect.map(Stream.runCollect(Stream.filter(entries, ({ key }) => ours.has(key))), (found) => [...found])
  }

  const entry = ({ data, expiresAt, key }: Entry) => `${key} ${hex(data)} ${expiresAt}`

  /** Each at least once: a store may list a record twice. */
  const expectListed = (records: ReadonlyArray<Keyed>, keys = records.map(({ key }) => key)) =>
    Effect.map(listed(keys), (found) => {
      expect([...new Set(found.map(entry))].sort()).toEqual(records.map(entry).sort())
    })

  it.scoped("lists each of 300 live records, its key, data and deadline, and none that expired or was removed", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const records = yield* many(300)
      const dead = yield* many(20, second)
      const gone = yield* many(20)
      const touched = { ...records[0]!, expiresAt: yield* inMillis(2 * minute) }
      yield* store.touch(touched.key, touched, touched.expiresAt)
      const replaced = yield* replace(records[1]!)
      yield* Effect.forEach(gone, ({ key }) => store.remove(key), { concurrency: 16 })
      yield* TestClock.adjust(second)
      yield* expectListed(
        [touched, replaced, ...records.slice(2)],
        [...records, ...dead, ...gone].map(({ key }) => key)
      )
    }))

  it.scoped("lists what is live throughout, whatever is written meanwhile", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const staying = yield* many(100)
      const going = yield* many(100)
      const keys = staying.map(({ key }) => key)
      const writes = Effect.forEach(going, (record, i) =>
        i % 2 === 0
          ? Effect.zipRight(store.remove(record.key), insertAt(record.key))
          : replace(record), { concurrency: 8 })
      const rewrites = Effect.forEach(staying, (record, i) =>
        i % 2 === 0
          ? replace(record)
          : store.touch(record.key, record, record.expiresAt + second), { concurrency: 8 })
      const [found] = yield* Effect.all([listed(keys), writes, rewrites], { concurrency: "unbounded" })
      expect([...new Set(found.map(({ key }) => key))].sort()).toEqual(keys.sort())
    }))

  it.scoped("that is given up half way, or interrupted, leaves the store as it was", () =>
    Effect.gen(function*() {
      const records = yield* many(100)
      yield* Stream.runDrain(Stream.take(entries, 1))
      for (const moment of moments) {
        const fiber = yield* Effect.fork(Stream.runDrain(entries))
        yield* moment
        yield* Fiber.interrupt(fiber)
      }
      yield* expectListed(records)
      yield* expectLive(yield* replace(records[0]!))
    }))
}

/** Many live records at once, removed together after the test. */
const many = (count: number, lifetime = minute) =>
  Effect.gen(function*() {
    const keys = yield* Effect.acquireRelease(
      Effect.sync(() => Array.from({ length: count }, randomKey)),
      (keys) => Effect.forEach(keys, forget, { concurrency: 16, discard: true })
    )
    return yield* Effect.forEach(keys, (key) => insertAt(key, lifetime), { concurrency: 16 })
  })

// -----------------------------------------------------------------------------
// what the laws are written with
// -----------------------------------------------------------------------------

type It = Vitest.MethodsNonLive<SessionStore>
type Store = SessionStore["Type"]

const second = 1000
const minute = 60 * second
const mebibyte = 1024 * 1024

const inMillis = (millis: number) => Effect.map(Clock.currentTimeMillis, (now) => now + millis)

/** Different each time, so that bytes can serve as a version. */
const newData = (): Uint8Array => Uint8Array.from(randomBytes(24))

const counterData = (count: number): Uint8Array => Buffer.from(`${count} ${randomBytes(8).toString("hex")}`)

const counterOf = (data: Uint8Array): number => parseInt(Buffer.from(data).toString(), 10)

const runPrefix = randomBytes(8).toString("hex")

/** 64 lower-case hexadecimal characters, as the core makes them. */
const randomKey = (): string => runPrefix + randomBytes(24).toString("hex")

/** Removes what is there; an expired record has to be written over first. */
const forget = (key: string) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    yield* store.insert(key, newData(), yield* inMillis(second))
    yield* store.remove(key)
  }).pipe(Effect.ignore)

/** A key whose record is removed after the test. */
const ownKey = (key: string) => Effect.acquireRelease(Effect.succeed(key), forget)

const newKey = Effect.flatMap(Effect.sync(randomKey), ownKey)

const load = (key: string) => Effect.flatMap(SessionStore, (store) => store.load(key))

const insertAt = (key: string, lifetime = minute, data = newData()) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const expiresAt = yield* inMillis(lifetime)
    const version = Option.getOrThrow(yield* store.insert(key, data, expiresAt))
    return { key, data, version, expiresAt }
  })

const replace = (record: Keyed, lifetime = 2 * minute, data = newData()) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const expiresAt = yield* inMillis(lifetime)
    const version = Option.getOrThrow(yield* store.replace(record.key, record.version, data, expiresAt))
    return { key: record.key, data, version, expiresAt }
  })

const live = (lifetime = minute) => Effect.flatMap(newKey, (key) => insertAt(key, lifetime))

/** At its deadline to the millisecond. */
const expired = Effect.tap(live(second), () => TestClock.adjust(second))

const removed = Effect.tap(live(), ({ key }) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    expect(yield* store.remove(key)).toBe(true)
  }))

const replaced = Effect.gen(function*() {
  const before = yield* live()
  return { before, after: yield* replace(before) }
})

const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex")

const dataOf = ({ data }: Stored) => hex(data)

const shown = ({ data, expiresAt, version }: Stored) => ({ data: hex(data), version, expiresAt })

const expectLive = (record: Keyed) =>
  Effect.map(load(record.key), (found) => expect(Option.map(found, shown)).toEqual(Option.some(shown(record))))

const expectAbsent = (key: string) => Effect.map(load(key), (found) => expect(found).toEqual(Option.none()))

const expectData = (key: string, data: Uint8Array) =>
  Effect.map(load(key), (found) => {
    const loaded = Option.getOrThrow(found).data
    expect(loaded).toBeInstanceOf(Uint8Array)
    // Not `toEqual`: a difference in a mebibyte would take minutes to print.
    expect(Buffer.compare(loaded, data) === 0).toBe(true)
  })

const expectStale = (record: Keyed) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const { key, version } = record
    const expiresAt = yield* inMillis(3 * minute)
    expect(yield* store.replace(key, version, newData(), expiresAt)).toEqual(Option.none())
    expect(yield* store.touch(key, record, expiresAt)).toBe(false)
    expect(yield* store.remove(key, version)).toBe(false)
  })
