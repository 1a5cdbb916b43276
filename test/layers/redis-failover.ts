/** A master killed under load: what is lost, what comes twice, how long it takes. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Session } from "../../src/Session.js"
import type { SessionConfigError } from "../../src/SessionConfigError.js"
import type { SessionError } from "../../src/SessionError.js"
import type { SessionStore } from "../../src/SessionStore.js"

/** Every update adds a number of its own, so that each can be found again. */
class App extends Session.Tag<App>()("app/Failover", {
  updates: Schema.optionalWith(Schema.Array(Schema.Number), { default: () => [] })
}) {}

type Manager = Context.Tag.Service<typeof App.Manager>

export interface Report {
  readonly acknowledged: number
  readonly errors: number
  /** When the last error came, in milliseconds since the epoch. */
  readonly lastErrorAt: number
  /** Acknowledged, and not there in the end. */
  readonly lost: number
  /** There more than once. */
  readonly twice: number
  /** Failed, not as "unknown", and there. */
  readonly ghosts: number
  /** Requests that would have cleared or changed the cookie. */
  readonly cookies: number
  /** Sessions that could be read in the end. */
  readonly sessions: number
}

/** In milliseconds since the epoch. */
export interface Times {
  readonly killed: number
  /** A new master is there, and everybody knows. */
  readonly failedOver: number
  /** It has a replica again. */
  readonly replicated: number
}

/** How many masters to kill, one after the other. */
export const failovers = Number(process.env.FAILOVERS ?? 1)

/** Figures, when more than a test is asked for. */
export const print = (topology: string, times: Times, reports: Record<string, Report>): void => {
  if (process.env.FAILOVERS === undefined) return
  const since = (time: number) => `${((time - times.killed) / 1000).toFixed(1)} s`
  console.log(
    `${topology}: new master after ${since(times.failedOver)}, with a replica after ${since(times.replicated)}`
  )
  for (const [name, { acknowledged, errors, lastErrorAt, lost }] of Object.entries(reports)) {
    console.log(
      `  ${name}: ${acknowledged} acknowledged, ${lost} lost; ${errors} errors, the last after ${since(lastErrorAt)}`
    )
  }
}

/** Updates `sessions` sessions without a pause worth the name while `event` lasts. */
export const underLoad = <A, E>(
  store: Layer.Layer<SessionStore, E>,
  sessions: number,
  event: Effect.Effect<A>
): Effect.Effect<readonly [A, Report], E | SessionError | SessionConfigError> =>
  Effect.scoped(Effect.gen(function*() {
    const manager = Context.get(yield* Layer.build(Layer.provide(App.layer(), store)), App.Manager)
    const cookies = yield* Effect.replicateEffect(manager.issue({ updates: [] }), sessions)
    const load = new Load(manager)
    const running = yield* Effect.forkAll(cookies.map((cookie) => load.run(Redacted.value(cookie))))
    const result = yield* event
    load.stopped = true
    yield* Fiber.join(running)
    return [result, yield* load.report(cookies.map(Redacted.value))] as const
  }))

class Load {
  stopped = false
  private next = 0
  private readonly acknowledged = new Set<number>()
  private readonly failed = new Set<number>()
  private readonly errors: Array<number> = []
  private cookies = 0

  constructor(private readonly manager: Manager) {}

  run(cookie: string): Effect.Effect<void> {
    return Effect.whileLoop({
      while: () => !this.stopped,
      body: () => Effect.zipRight(this.update(cookie), Effect.sleep("10 millis")),
      step: () => {}
    })
  }

  private update(cookie: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const update = this.next++
      const opened = this.manager.open(cookie)
      const added = opened.handle.update(({ updates }) => ({ updates: [...updates, update] }))
      return Effect.zipRight(added, opened.finish).pipe(
        Effect.match({
          onSuccess: () => this.acknowledged.add(update),
          onFailure: (error) => {
            this.errors.push(Date.now())
            if (!("applied" in error && error.applied === "unknown")) this.failed.add(update)
          }
        }),
        Effect.andThen(() => {
          if (Effect.runSync(opened.cookie)._tag !== "Keep") this.cookies++
        })
      )
    })
  }

  report(cookies: ReadonlyArray<string>): Effect.Effect<Report, SessionError> {
    return Effect.gen(this, function*() {
      const values = yield* Effect.forEach(
        cookies,
        // what waited in vain for replicas is told once they have it
        (cookie) =>
          Effect.retry(
            Effect.suspend(() => this.manager.open(cookie).handle.value),
            Schedule.spaced("200 millis").pipe(Schedule.upTo("10 seconds"))
          )
      )
      const stored = values.flatMap(({ updates }) => updates)
      const distinct = new Set(stored)
      return {
        acknowledged: this.acknowledged.size,
        errors: this.errors.length,
        lastErrorAt: Math.max(0, ...this.errors),
        lost: [...this.acknowledged].filter((update) => !distinct.has(update)).length,
        twice: stored.length - distinct.size,
        ghosts: [...this.failed].filter((update) => distinct.has(update)).length,
        cookies: this.cookies,
        sessions: values.filter(({ updates }) => updates.length > 0).length
      }
    })
  }
}
