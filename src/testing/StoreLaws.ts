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
 * matter. No version is asked to differ where the bytes do not, for a store may
 * take the bytes themselves as the version. A store must serve 50 writes at once;
 * of 200 loads at once it may refuse some, as `Throttled`.
 *
 * @since 0.1.0
 */

import { layer as withLayer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SessionScan, SessionSweeper, SingleProcess } from "../SessionStore.js"
import { SessionStore } from "../SessionStore.js"
import { data } from "./laws/data.js"
import { deadlines } from "./laws/deadlines.js"
import { errors } from "./laws/errors.js"
import { interruption } from "./laws/interruption.js"
import { keys } from "./laws/keys.js"
import type { Given, Law } from "./laws/Law.js"
import { operations } from "./laws/operations.js"
import { processes } from "./laws/processes.js"
import { crowds, races } from "./laws/races.js"
import { scans } from "./laws/scan.js"
import { slowWrites } from "./laws/slow-writes.js"
import { sweeps } from "./laws/sweep.js"
import { versions } from "./laws/versions.js"

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
  /**
   * Keys may hold white space, control characters and any Unicode, and be 1000
   * characters long. False by default: then a key has 1 to 100 characters from
   * `!` to `~`, which every store must tell apart to the last one, case
   * included, and read as nothing but a name. The core's keys are 64 lower-case
   * hexadecimal characters.
   */
  readonly anyKey?: boolean
  /**
   * A store of this kind that does not reach its records: at a port where
   * nobody listens, say. Without it, errors other than `TooLarge` are not
   * tried: no kit can bring them about by itself.
   */
  readonly unreachable?: Layer.Layer<SessionStore, unknown>
  /**
   * A store of this kind whose every write takes ten seconds of `Clock`. Needed
   * where exclusion is the store's own work, as over a `KeyValueStore`. Without
   * it, slow writes are not tried: a kit cannot slow down a server.
   */
  readonly slowWrites?: Layer.Layer<SessionStore, unknown>
  /**
   * Laws that this store cannot keep, by their names, each with the reason. They
   * are listed as skipped, with it. A name that is no law fails.
   */
  readonly except?: Readonly<Record<string, string>>
  /** Repeats the histories of a failure that named this seed; random by default. */
  readonly seed?: number
}

/** What a Layer that provides `ROut` may claim. */
type Claims<ROut> =
  & (SessionSweeper extends ROut ? unknown : { readonly sweeps?: false })
  & (SessionScan extends ROut ? unknown : { readonly scans?: false })
  & (SingleProcess extends ROut ? { readonly multiProcess?: false } : unknown)

/**
 * Declares the laws as tests, each named by its sentence. A failure says the
 * sentence, and for random histories the seed.
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
      const laws = lawsOf(layer, capabilities)
      const { except = {} } = capabilities
      const unknown = Object.keys(except).filter((name) => !laws.some((law) => law.name === name))
      if (unknown.length > 0) {
        throw new Error(`There is no such law: ${unknown.join("; ")}`)
      }
      for (const { check, name } of laws) {
        const reason = Object.hasOwn(except, name) ? except[name] : undefined
        if (reason === undefined) it.scoped(name, () => check, 60_000)
        else it.scoped.skip(`${name}: left out, ${reason}`, () => check)
      }
    }
  )

/**
 * The laws that bind a store, as Effects that fail with the law's sentence.
 *
 * @internal
 */
export const lawsOf = <E>(layer: Layer.Layer<SessionStore, E>, capabilities: Capabilities) => {
  const { multiProcess = false, scans: lists = false, sweeps: removes = false } = capabilities
  const alone: Given = { capabilities, stores: Effect.map(SessionStore, (store) => [store]) }
  const two: Given = { capabilities, stores: twoProcesses(layer) }
  const under = (given: Given, laws: ReadonlyArray<Law>, suffix = "") =>
    laws
      .filter((law) => law.binds(capabilities))
      .map((law) => ({ name: law.name + suffix, check: law.check(given) }))
  return [
    ...under(alone, [...operations, ...deadlines, ...versions, ...data, ...keys, ...interruption]),
    ...under(alone, [...races, ...crowds, ...slowWrites, ...errors]),
    ...multiProcess ? under(two, processes) : [],
    ...multiProcess ? under(two, [...versions, ...races], " (through two processes)") : [],
    ...removes ? under(alone, sweeps) : [],
    ...lists ? under(alone, scans) : []
  ]
}

/** Both new, so that what counts from 1 in each process counts alike. */
const twoProcesses = <E>(layer: Layer.Layer<SessionStore, E>): Given["stores"] =>
  Layer.build(Layer.fresh(layer)).pipe(
    Effect.map(Context.get(SessionStore)),
    Effect.orDie,
    Effect.replicateEffect(2)
  )
