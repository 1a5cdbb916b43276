/**
 * A server that is connected to, and again when the connection ends.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Connection, type Options } from "./Connection.js"
import type { MemcachedError } from "./Protocol.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Server {
  /** `host:port`. */
  readonly name: string
  /**
   * The connection. One that was lost is waited for until the first attempt to
   * make it anew has ended, at most half of the timeout; when that has failed,
   * and until there is one, this fails at once with what ended the last.
   */
  readonly connection: Effect.Effect<Connection, MemcachedError>
}

/**
 * Connects, and waits until that has succeeded or failed; it goes on trying
 * by itself, at most half a second apart, until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Reconnecting(options)),
    (server) => Effect.sync(() => server.close())
  ).pipe(
    Effect.tap((server) => Effect.promise(() => server.tried)),
    Effect.map((server) => ({
      name: `${options.host}:${options.port}`,
      connection: Effect.suspend(() => server.state)
    }))
  )

/** By timers of the machine: a server's recovery is not a matter of the application's `Clock`. */
class Reconnecting {
  state: Effect.Effect<Connection, MemcachedError> = Effect.never
  /** Settles with the first attempt, whatever has come of it. */
  readonly tried: Promise<void>
  private connection: Connection
  private failures = 0
  private isReady = false
  private closed = false
  private timer: NodeJS.Timeout | undefined
  private readonly waiting = new Set<() => void>()

  constructor(private readonly options: Options) {
    this.connection = this.connect()
    this.tried = new Promise((resolve) => this.waiting.add(resolve))
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
    this.connection.end()
  }

  private connect(): Connection {
    const connection: Connection = new Connection(
      this.options,
      () => {
        this.failures = 0
        this.isReady = true
        this.settle(Effect.succeed(connection))
      },
      (error) => {
        if (this.isReady && !this.closed) {
          this.isReady = false
          this.state = this.attempt(error)
        } else {
          this.settle(error)
        }
        if (this.closed) return
        this.timer = setTimeout(() => {
          this.connection = this.connect()
        }, Math.min(50 * ++this.failures, 500))
      }
    )
    return connection
  }

  private settle(state: Effect.Effect<Connection, MemcachedError>): void {
    this.state = state
    for (const resume of this.waiting) resume()
  }

  /** What the attempt under way comes to, or `error` when that takes too long. */
  private attempt(error: MemcachedError): Effect.Effect<Connection, MemcachedError> {
    return Effect.async((resume) => {
      const end = (answer: Effect.Effect<Connection, MemcachedError>) => {
        clearTimeout(timer)
        this.waiting.delete(settled)
        resume(answer)
      }
      const settled = () => end(this.state)
      const timer = setTimeout(() => end(error), this.options.timeout / 2)
      this.waiting.add(settled)
      return Effect.sync(() => {
        clearTimeout(timer)
        this.waiting.delete(settled)
      })
    })
  }
}
