/**
 * Timeouts for many waits of few lengths. All waits of one length share one
 * timer of Node: the wait that starts first ends first.
 *
 * @internal
 */

interface Wait {
  readonly deadline: number
  readonly onTimeout: () => void
}

/** The waits of one length, in the order of their deadlines. A set removes any of them at once. */
const queues = new Map<number, Set<Wait>>()

/**
 * Calls `onTimeout` after `millis` of real time, unless the returned function
 * is called before. Does not keep the process running. Each length has a timer
 * of its own, so use lengths that are configured.
 */
export const startTimeout = (millis: number, onTimeout: () => void): () => void => {
  const wait = { deadline: performance.now() + millis, onTimeout }
  const waits = queues.get(millis) ?? openQueue(millis)
  waits.add(wait)
  return () => waits.delete(wait)
}

const openQueue = (millis: number): Set<Wait> => {
  const waits = new Set<Wait>()
  queues.set(millis, waits)
  wakeAfter(millis, millis, waits)
  return waits
}

/** If the event loop was blocked, replies are pending. They are read before a timeout is reported. */
const wakeAfter = (delay: number, millis: number, waits: Set<Wait>) => {
  setTimeout(() => setImmediate(endWaits, performance.now(), millis, waits), delay).unref()
}

const endWaits = (now: number, millis: number, waits: Set<Wait>) => {
  const due: Array<Wait> = []
  let next: Wait | undefined
  for (const wait of waits) {
    if (wait.deadline > now) {
      next = wait
      break
    }
    due.push(wait)
  }
  if (next === undefined) queues.delete(millis)
  else wakeAfter(Math.max(1, next.deadline - performance.now()), millis, waits)
  for (const wait of due) {
    // A callback before this one may have ended the wait.
    if (waits.delete(wait)) wait.onTimeout()
  }
}
