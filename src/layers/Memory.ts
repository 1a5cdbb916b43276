/**
 * Sessions in the memory of this process: for tests, for development, and for
 * a service of one process that may forget its sessions when it restarts.
 *
 * Bounded: at `capacity` a new session takes the place of one that has
 * expired or else of the least recently used. Expired sessions are also swept
 * in the background, so memory is given back without traffic.
 *
 * @since 0.1.0
 */

import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomToken } from "../internal/crypto.js"
import { type ImmediateStore, storeOf } from "../internal/storeCalls.js"
import { sweepForever } from "../internal/sweep.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { Entry } from "../SessionStore.js"
import { SessionScan, SessionStore, SessionSweeper, Version } from "../SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many sessions are kept at most; a positive integer, 100,000 by
   * default. Full means that somebody who is still signed in may lose the
   * session, so choose more than ever live at once.
   */
  readonly capacity?: number
}

/** A record, its neighbours in the order of use, and its place in the heap. */
interface Slot {
  readonly key: string
  data: string
  version: Version
  expiresAt: number
  older: Slot
  newer: Slot
  place: number
}

/** As many as a sweep or a scan takes at once, about a millisecond's work; then others have their turn. */
const batch = 500

/**
 * Makes the store, empty. It is emptied when the scope closes, which also
 * ends the background sweep. The sweep runs every 48 to 72 seconds by the
 * `Clock` and looks at nothing but what has expired.
 *
 * Bytes are copied on the way in and on the way out: nothing that a caller
 * does to a buffer reaches a record.
 *
 * Fails with `SessionConfigError` when `capacity` is not a positive integer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function*(
  options?: Options
): Effect.fn.Return<Context.Context<SessionStore | SessionSweeper | SessionScan>, SessionConfigError, Scope.Scope> {
  const capacity = options?.capacity ?? 100_000
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    return yield* new SessionConfigError({
      option: "capacity",
      message: "The capacity of the memory store must be a positive integer: the number of sessions kept at most."
    })
  }

  const records = new Map<string, Slot>()
  const heap: Array<Slot> = []
  const ring = makeRing()
  // This process forgets the records with the store, so a counter never
  // repeats; the token tells the versions of two stores apart.
  const token = randomToken()
  let writes = 0
  const nextVersion = () => Version(token + ++writes)

  const drop = (entry: Slot) => {
    records.delete(entry.key)
    unlink(entry)
    heapRemove(heap, entry)
  }

  const find = (key: string, now: number): Slot | undefined => {
    const entry = records.get(key)
    if (entry === undefined || entry.expiresAt > now) return entry
    drop(entry)
    return undefined
  }

  const findVersion = (key: string, version: Version, now: number): Slot | undefined => {
    const entry = find(key, now)
    return entry?.version === version ? entry : undefined
  }

  const used = (entry: Slot) => {
    unlink(entry)
    link(ring, entry)
  }

  const setDeadline = (entry: Slot, expiresAt: number) => {
    entry.expiresAt = expiresAt
    heapSettle(heap, entry)
  }

  const makeRoom = (now: number) => {
    if (records.size < capacity) return
    const soonest = heap[0]
    drop(soonest.expiresAt <= now ? soonest : ring.newer)
  }

  const operations: ImmediateStore = {
    load: (key, now) => {
      const entry = find(key, now)
      if (entry === undefined) return Option.none()
      used(entry)
      return Option.some({ data: unpack(entry.data), version: entry.version, expiresAt: entry.expiresAt })
    },

    insert: (key, data, expiresAt, now) => {
      if (find(key, now) !== undefined) return Option.none()
      makeRoom(now)
      const entry: Slot = {
        key,
        data: pack(data),
        version: nextVersion(),
        expiresAt,
        older: ring,
        newer: ring,
        place: heap.length
      }
      records.set(key, entry)
      link(ring, entry)
      heapSettle(heap, entry)
      return Option.some(entry.version)
    },

    replace: (key, expected, data, expiresAt, now) => {
      const entry = findVersion(key, expected, now)
      if (entry === undefined) return Option.none()
      entry.data = pack(data)
      entry.version = nextVersion()
      setDeadline(entry, expiresAt)
      used(entry)
      return Option.some(entry.version)
    },

    touch: (key, current, expiresAt, now) => {
      const entry = findVersion(key, current.version, now)
      if (entry === undefined) return false
      setDeadline(entry, expiresAt)
      used(entry)
      return true
    },

    remove: (key, expected, now) => {
      const entry = expected === undefined ? find(key, now) : findVersion(key, expected, now)
      if (entry === undefined) return false
      drop(entry)
      return true
    }
  }
  const store = storeOf(operations)

  const sweepSome = atNow((now) => {
    let swept = 0
    while (swept < batch && heap.length > 0 && heap[0].expiresAt <= now) {
      drop(heap[0])
      swept++
    }
    return swept
  })

  // A sleep and not `yieldNow`: only a timer lets the event loop do I/O.
  const sweep: Effect.Effect<number> = Effect.flatMap(sweepSome, (swept) =>
    swept < batch
      ? Effect.succeed(swept)
      : Effect.map(Effect.delay(sweep, 0), (more) => swept + more))

  const entries = Stream.suspend(() => {
    const all = records.values()
    // What comes later stands behind what is there now, and need not be listed.
    let left = records.size
    return Stream.paginateChunkEffect(undefined, () =>
      atNow((now) => {
        const listed: Array<Entry> = []
        for (let i = 0; i < batch && left > 0; i++, left--) {
          const next = all.next()
          if (next.done) left = 0
          else if (next.value.expiresAt > now) {
            listed.push({ key: next.value.key, data: unpack(next.value.data), expiresAt: next.value.expiresAt })
          }
        }
        return [Chunk.unsafeFromArray(listed), left > 0 ? Option.some(undefined) : Option.none()]
      }))
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      records.clear()
      heap.length = 0
      ring.older = ring.newer = ring
    })
  )
  yield* Effect.forkScoped(sweepForever({ sweep }, "1 minute"))
  return Context.make(SessionStore, store).pipe(
    Context.add(SessionSweeper, { sweep }),
    Context.add(SessionScan, { entries })
  )
})

/**
 * The memory store as a Layer; every build is a store of its own.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Options
): Layer.Layer<SessionStore | SessionSweeper | SessionScan, SessionConfigError> => Layer.scopedContext(make(options))

/**
 * `layer` with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionSweeper | SessionScan, SessionConfigError | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))

/** One synchronous step, hence atomic: no fiber comes between. */
const atNow = <A>(step: (now: number) => A): Effect.Effect<A> =>
  Effect.clockWith((clock) => Effect.succeed(step(clock.unsafeCurrentTimeMillis())))

// Bytes rest as text, one character a byte: nobody can change it, and it takes
// a quarter of the time that a small ArrayBuffer takes.

const pack = (data: Uint8Array): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1")

const unpack = (data: string): Uint8Array => Buffer.from(data, "latin1")

// The order of use: a ring that starts at a record of nobody. `newer` of that
// one is the least recently used.

const makeRing = (): Slot => {
  // The cast: it is its own neighbour, which a literal cannot say.
  const ring = { key: "", data: "", version: Version(""), expiresAt: 0, place: 0 } as Slot
  ring.older = ring.newer = ring
  return ring
}

const link = (ring: Slot, entry: Slot) => {
  entry.newer = ring
  entry.older = ring.older
  ring.older.newer = entry
  ring.older = entry
}

const unlink = (entry: Slot) => {
  entry.older.newer = entry.newer
  entry.newer.older = entry.older
}

// The order of expiry: a binary heap in which every record knows its place.

const heapPut = (heap: Array<Slot>, entry: Slot, place: number) => {
  heap[place] = entry
  entry.place = place
}

/** Moves a record up or down to where its deadline belongs. */
const heapSettle = (heap: Array<Slot>, entry: Slot) => {
  let place = entry.place
  while (place > 0) {
    const parent = (place - 1) >> 1
    if (heap[parent].expiresAt <= entry.expiresAt) break
    heapPut(heap, heap[parent], place)
    place = parent
  }
  while (true) {
    let child = 2 * place + 1
    if (child + 1 < heap.length && heap[child + 1].expiresAt < heap[child].expiresAt) child++
    if (child >= heap.length || heap[child].expiresAt >= entry.expiresAt) break
    heapPut(heap, heap[child], place)
    place = child
  }
  heapPut(heap, entry, place)
}

const heapRemove = (heap: Array<Slot>, entry: Slot) => {
  const last = heap.pop()!
  if (last === entry) return
  last.place = entry.place
  heapSettle(heap, last)
}
