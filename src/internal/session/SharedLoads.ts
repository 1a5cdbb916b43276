/**
 * Many requests of one session at once load it together, so that they do not
 * use up the store's connections.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { SessionStoreError, Stored } from "../../SessionStore.js"
import type { CurrentFiber } from "../fiber.js"
import { withCurrentFiber } from "../fiber.js"
import { FirstLoad } from "./FirstLoad.js"

type Load = Effect.Effect<Option.Option<Stored>, SessionStoreError>

/** Loads of one key in flight at once that are not shared. */
const maxSingle = 64

/** How many keys are kept before those of interrupted loads are looked for. */
const maxKeys = 1024

interface Key {
  readonly single: Set<FirstLoad>
  /** The shared load in flight. */
  shared: FirstLoad | undefined
  last: { readonly began: number; readonly found: Exit.Exit<Option.Option<Stored>, SessionStoreError> } | undefined
}

export class SharedLoads {
  private readonly keys = new Map<string, Key>()
  private maxKeys = maxKeys
  /** Counts arrivals and beginnings, to tell which came first. */
  private moment = 0

  /** Registers a load of `key`. False when so many are in flight that the caller has to share one. */
  begin(key: string, load: FirstLoad): boolean {
    const entry = this.entryOf(key)
    if (entry.single.size >= maxSingle) {
      dropEnded(entry)
    }
    if (entry.single.size >= maxSingle) {
      return false
    }
    entry.single.add(load)
    return true
  }

  /** The load has succeeded or failed. An interrupted load is found later. */
  end(key: string, load: FirstLoad): void {
    const entry = this.keys.get(key)
    if (entry?.single.delete(load)) {
      this.dropUnused(key, entry)
    }
  }

  /**
   * Returns what the next load of `key` finds that begins after this call, a
   * failure too. The result is never older than the call, and the caller waits
   * for two loads at most.
   */
  share(key: string, load: Load): Load {
    return Effect.suspend(() => this.join(key, this.entryOf(key), load, this.moment++))
  }

  private join(key: string, entry: Key, load: Load, arrived: number): Load {
    if (entry.last !== undefined && entry.last.began > arrived) {
      return Exit.map(entry.last.found, Option.map((stored) => ({ ...stored, data: stored.data.slice() })))
    }
    return withCurrentFiber((fiber) => {
      const { shared } = entry
      return shared?.blocks(fiber)
        ? Effect.flatMap(shared.ended, () => this.join(key, entry, load, arrived))
        : this.loadForAll(key, entry, load, fiber)
    })
  }

  private loadForAll(key: string, entry: Key, load: Load, fiber: CurrentFiber): Load {
    const began = this.moment++
    const shared = new FirstLoad(fiber)
    entry.shared = shared
    const ended = (found: Exit.Exit<Option.Option<Stored>, SessionStoreError>): Load => {
      entry.last = { began, found }
      shared.end()
      this.dropUnused(key, entry)
      return found
    }
    return Effect.matchCauseEffect(load, {
      onFailure: (cause) => ended(Exit.failCause(cause)),
      onSuccess: (found) => ended(Exit.succeed(found))
    })
  }

  private entryOf(key: string): Key {
    const known = this.keys.get(key)
    if (known !== undefined) {
      return known
    }
    if (this.keys.size >= this.maxKeys) {
      this.dropInterrupted()
    }
    const entry: Key = { single: new Set(), shared: undefined, last: undefined }
    this.keys.set(key, entry)
    return entry
  }

  private dropUnused(key: string, entry: Key): void {
    if (entry.single.size === 0 && entry.shared?.isInFlight !== true && this.keys.get(key) === entry) {
      this.keys.delete(key)
    }
  }

  private dropInterrupted(): void {
    for (const [key, entry] of this.keys) {
      dropEnded(entry)
      this.dropUnused(key, entry)
    }
    this.maxKeys = Math.max(maxKeys, 2 * this.keys.size)
  }
}

const dropEnded = ({ single }: Key): void => {
  for (const load of single) {
    if (!load.isInFlight) {
      single.delete(load)
    }
  }
}
