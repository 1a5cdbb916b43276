/**
 * Opens a client by a store's options, and gives its failures their reasons.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as tls from "node:tls"
import { boundOf } from "../internal/bounded.js"
import { SessionConfigError } from "../SessionConfigError.js"
import { SessionStoreError, type SessionStoreErrorReason } from "../SessionStore.js"
import * as Memcached from "./Client.js"
import type { MemcachedError } from "./Protocol.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface ConnectionOptions {
  /**
   * `host[:port]` of each server, in a list or separated by commas; the port is
   * 11211 by default. `memcached://` may stand in front.
   *
   * With several, a session lives on one of them. Give all processes the same
   * names: a server's name decides which sessions are its own. While a server
   * is down, its sessions are `Unavailable`; take it off the list, and they are
   * gone, all others stay where they are.
   *
   * A server that was cut off and comes back still has what it had: do not put
   * one back on the list before it was emptied, or sessions that ended
   * meanwhile live again.
   */
  readonly servers: string | ReadonlyArray<string>
  /**
   * How long to wait for an answer, and for a connection; 2 seconds by
   * default. A connection that did not answer in time is replaced, and what
   * waits on it fails with it. While one that was lost is made anew, an
   * operation waits for it first, half as long at most.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /** Speak TLS: `true`, or Node's own options. Plain by default. */
  readonly tls?: boolean | tls.ConnectionOptions | undefined
}

/** Connects to the servers, which need not be up. Fails when an option makes no sense. */
export const openClient: (
  options: ConnectionOptions
) => Effect.Effect<Memcached.Client, SessionConfigError, Scope.Scope> = Effect.fnUntraced(
  function*({ servers, timeout = "2 seconds", tls = false }: ConnectionOptions) {
    return yield* Memcached.make({
      timeout: yield* boundOf(timeout),
      servers: yield* parseServers(servers),
      tls: yield* parseTls(tls)
    })
  }
)

const parseServers = (servers: ConnectionOptions["servers"]) => {
  const names = typeof servers === "string" ? servers.replace(/^memcached:\/\//, "").split(",") : servers
  const addresses = new Map(
    names.flatMap((name) => parseServer(name.trim())).map((it) => [`${it.host}:${it.port}`, it])
  )
  return addresses.size > 0 && addresses.size === names.length
    ? Effect.succeed([...addresses.values()])
    : new SessionConfigError({
      option: "servers",
      message: "Write each server, once, as host or host:port, several separated by commas."
    })
}

const parseServer = (name: string) => {
  const text = `http://${name.replace(/^memcached:\/\//, "")}`
  // In an http URL port 80 would vanish.
  const [, port = "11211"] = /:(\d+)$/.exec(text) ?? []
  if (!URL.canParse(text) || !/^(\[[\da-f:.]+\]|[\w.-]+)(:\d+)?$/i.test(text.slice("http://".length))) return []
  const host = new URL(text).hostname.replace(/^\[|\]$/g, "")
  return port === "0" ? [] : [{ host, port: Number(port) }]
}

const parseTls = (options: boolean | tls.ConnectionOptions) =>
  options === false
    ? Effect.succeed(undefined)
    : Effect.try({
      try: (): tls.ConnectionOptions => {
        const given = options === true ? {} : options
        return { ...given, secureContext: given.secureContext ?? tls.createSecureContext(given) }
      },
      catch: (cause) =>
        new SessionConfigError({ option: "tls", message: "Node does not accept these options for TLS.", cause })
    })

export type Operation = Exclude<SessionStoreError["operation"], "sweep">

const reasons: { readonly [reason in MemcachedError["reason"]]: SessionStoreErrorReason } = {
  Unavailable: "Unavailable",
  Timeout: "Timeout",
  Refused: "Rejected",
  TooLarge: "TooLarge"
}

/** `header` is what the store puts before the data, in bytes. */
export const storeError = (
  operation: Operation,
  cause: MemcachedError,
  actual: number,
  header: number
): SessionStoreError =>
  new SessionStoreError({
    reason: reasons[cause.reason],
    operation,
    cause,
    ...(cause.limit === undefined ? {} : { limit: cause.limit - header, actual })
  })
