/**
 * A client of memcached 1.6 on its meta protocol: binary values, conditional
 * writes, several servers.
 *
 * A key lives on one server, chosen by rendezvous hashing: each server has a
 * score for the key, the highest wins. So a server more or less moves only the
 * keys that it gains or loses. A server that is down is not stood in for: its
 * keys fail, for a stand-in would know what the server no longer knows when it
 * returns, and the other way about.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { ConnectionOptions } from "node:tls"
import { type Connection, withoutCas } from "./Connection.js"
import { junk, MemcachedError, type Reply } from "./Protocol.js"
import * as Server from "./Server.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly servers: ReadonlyArray<{ readonly host: string; readonly port: number }>
  /** How long to wait for an answer, in milliseconds, and for a connection. */
  readonly timeout: number
  readonly tls?: ConnectionOptions | undefined
}

/**
 * A value, and the token that a conditional write has to name.
 *
 * A token never comes back: the server counts its writes, and because it counts
 * from 1 again when it is started anew, its process is part of the token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Item {
  readonly value: Buffer
  readonly token: string
  /** Whole seconds that the server still keeps it. Undefined if it keeps it for good. */
  readonly ttl: number | undefined
}

/**
 * Each is one command on one server, sent once. `ttl` is in seconds. A key has
 * 1 to 250 printable ASCII characters, no space among them; any other fails
 * without being sent, and so does a value larger than the server takes: it would
 * remove what it cannot replace, without a look at the token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly get: (key: string) => Effect.Effect<Option.Option<Item>, MemcachedError>
  /** None: something is there. */
  readonly add: (key: string, value: Uint8Array, ttl: number) => Effect.Effect<Option.Option<string>, MemcachedError>
  /** None: changed, or gone. */
  readonly replace: (
    key: string,
    token: string,
    value: Uint8Array,
    ttl: number
  ) => Effect.Effect<Option.Option<string>, MemcachedError>
  /** False: nothing there, or with `token`: changed. */
  readonly remove: (key: string, token?: string) => Effect.Effect<boolean, MemcachedError>
}

/**
 * Connects to all servers, up or not, until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ servers, timeout, tls }: Options): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.map(
    Effect.forEach(servers, (address) => Server.make({ ...address, timeout, tls }), { concurrency: "unbounded" }),
    over
  )

/**
 * What an item takes besides its value, in bytes: 309 with the longest key, and
 * some to spare.
 */
const overhead = 1000

const over = (servers: ReadonlyArray<Server.Server>): Client => {
  const at = <A>(key: string, command: (connection: Connection) => Effect.Effect<A, MemcachedError>) =>
    Effect.suspend(() =>
      isKey(key)
        ? Effect.flatMap(choose(servers, key).connection, command)
        : new MemcachedError({ reason: "Refused", message: "A key has 1 to 250 printable ASCII characters." })
    )
  const put = (connection: Connection, key: string, value: Uint8Array, ttl: number, condition: string) => {
    const limit = connection.itemSize - overhead
    return value.length > limit
      ? new MemcachedError({ reason: "TooLarge", message: "Larger than the server's largest item.", limit })
      : Effect.flatMap(
        connection.send(`ms ${key} ${value.length} c T${expiry(ttl)} ${condition}`, value),
        (reply) =>
          Effect.flatMap(isDone(reply), (done) => done ? Effect.asSome(tokenOf(connection, reply)) : Effect.succeedNone)
      )
  }
  return {
    get: (key) =>
      at(key, (connection) =>
        Effect.flatMap(connection.send(`mg ${key} v c t`), (reply) => {
          const { code, value } = reply
          if (value === undefined) return code === "EN" ? Effect.succeedNone : junk()
          return Effect.map(tokenOf(connection, reply), (token) => Option.some({ value, token, ttl: ttlOf(reply) }))
        })),
    add: (key, value, ttl) => at(key, (connection) => put(connection, key, value, ttl, "ME")),
    replace: (key, token, value, ttl) =>
      at(key, (connection) => {
        const cas = casOf(connection, token)
        return cas === undefined ? Effect.succeedNone : put(connection, key, value, ttl, `C${cas}`)
      }),
    remove: (key, token) =>
      at(key, (connection) => {
        const cas = token === undefined ? undefined : casOf(connection, token)
        if (token !== undefined && cas === undefined) return Effect.succeed(false)
        const condition = cas === undefined ? "" : ` C${cas}`
        return Effect.flatMap(connection.send(`md ${key}${condition}`), isDone)
      })
  }
}

/**
 * Whether a key can be sent: no space, no control character, nothing that
 * could end the line or begin a flag.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isKey = (key: string): boolean => /^[!-~]{1,250}$/.test(key)

/** Whether a write was done. A reply that fits no write is an error. */
const isDone = ({ code }: Reply): Effect.Effect<boolean, MemcachedError> =>
  code === "HD" ? Effect.succeed(true) : /^(NS|EX|NF)$/.test(code) ? Effect.succeed(false) : junk()

const tokenOf = ({ boot }: Connection, { words }: Reply) => {
  const cas = words.find((word) => /^c[1-9]\d*$/.test(word))?.slice(1)
  return cas === undefined ? withoutCas() : Effect.succeed(`${boot}-${cas}`)
}

const ttlOf = ({ words }: Reply) => {
  const ttl = words.find((word) => /^t\d+$/.test(word))?.slice(1)
  return ttl === undefined ? undefined : Number(ttl)
}

/** Undefined: of a process that has ended, and its data with it. */
const casOf = ({ boot }: Connection, token: string) => {
  const [, of, cas] = /^(.*)-(\d+)$/.exec(token) ?? []
  return of === boot ? cas : undefined
}

const month = 30 * 24 * 60 * 60

/**
 * Beyond 30 days a time is read as Unix time, which the server has in 32 bits:
 * later than that is never. By the machine's clock, as the server's is.
 */
const expiry = (ttl: number) => {
  if (ttl <= month) return ttl
  const time = Math.floor(Date.now() / 1000) + ttl
  return time < 2 ** 31 ? time : 0
}

const choose = (servers: ReadonlyArray<Server.Server>, key: string) =>
  servers.length === 1
    ? servers[0]!
    : servers.reduce((best, server) => score(server, key) > score(best, key) ? server : best)

/** FNV-1a, its bits then mixed: without that, names that differ at their end would nearly agree. */
const score = ({ name }: Server.Server, key: string) => {
  const text = `${name} ${key}`
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
