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
  /** The connection; fails at once, with what ended the last one, while there is none. */
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
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Reconnecting>((resume) => {
        const server = new Reconnecting(options, () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => ({
      name: `${options.host}:${options.port}`,
      connection: Effect.suspend(() => server.state)
    })
  )

/** By timers of the machine: a server's recovery is not a matter of the application's `Clock`. */
class Reconnecting {
  state: Effect.Effect<Connection, MemcachedError> = Effect.never
  private connection: Connection
  private failures = 0
  private closed = false
  private timer: NodeJS.Timeout | undefined

  constructor(private readonly options: Options, private readonly onFirst: () => void) {
    this.connection = this.connect()
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
        this.state = Effect.succeed(connection)
        this.onFirst()
      },
      (error) => {
        this.state = error
        this.onFirst()
        if (this.closed) return
        this.timer = setTimeout(() => {
          this.connection = this.connect()
        }, Math.min(50 * ++this.failures, 500))
      }
    )
    return connection
  }
}
