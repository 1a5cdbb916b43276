/**
 * What reaches into Effect's fibers outside of `http/platform.ts`: the hot
 * path of a request.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import type * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as RuntimeFlags from "effect/RuntimeFlags"

/** The fiber that runs us. It may set its own refs. */
export interface CurrentFiber extends Fiber.RuntimeFiber<unknown, unknown> {
  readonly currentRuntimeFlags: RuntimeFlags.RuntimeFlags
  readonly setFiberRefs: (fiberRefs: FiberRefs.FiberRefs) => void
}

/** Runs what `make` returns, given the current fiber. */
export const withCurrentFiber = <A, E, R>(
  make: (fiber: CurrentFiber) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  // the runtime's own class; its interface leaves the setters out
  Effect.withFiberRuntime<A, E, R>((fiber) => make(fiber as unknown as CurrentFiber))

/** Whether the fiber can be interrupted now. */
export const isInterruptible = (fiber: CurrentFiber): boolean => RuntimeFlags.interruption(fiber.currentRuntimeFlags)

/** A fiber ref and its new value. */
export type Setting = readonly [ref: FiberRef.FiberRef<any>, value: unknown] // refs of any type stand in one list

/**
 * Sets several refs of the current fiber from one copy of them. Effect copies
 * all refs for each ref, and compares whole contexts: 5 µs of an idle request.
 */
export const setRefs = (fiber: CurrentFiber, settings: ReadonlyArray<Setting>): void => {
  const locals = copyMap(localsOf(fiber))
  const id = fiber.id()
  for (const [ref, value] of settings) {
    const stack = locals.get(ref) ?? []
    const own = [id, value] as const
    locals.set(ref, stack[0]?.[0] === id ? [own, ...stack.slice(1)] : [own, ...stack])
  }
  fiber.setFiberRefs(FiberRefs.unsafeMake(locals as Locals))
}

/** `new Map(map)` allocates an array for each entry: twice the bytes and the time. */
export const copyMap = <K, V>(map: ReadonlyMap<K, V>): Map<K, V> => {
  const copy = new Map<K, V>()
  map.forEach((value, key) => copy.set(key, value))
  return copy
}

type Locals = Map<
  FiberRef.FiberRef<any>,
  readonly [
    readonly [FiberId.Single, any],
    ...Array<readonly [FiberId.Single, any]>
  ]
>

/** The refs as they are. `getFiberRefs` would copy them first. */
const localsOf = (
  fiber: CurrentFiber
): ReadonlyMap<FiberRef.FiberRef<any>, ReadonlyArray<readonly [FiberId.Single, any]>> => {
  const { _fiberRefs } = fiber as { readonly _fiberRefs?: FiberRefs.FiberRefs }
  return (_fiberRefs ?? fiber.getFiberRefs()).locals
}
