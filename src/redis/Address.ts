/**
 * Where Redis is, written as a URL. Knows no driver, and repeats nothing of
 * the URL in an error: there may be a password anywhere in a mistyped one.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { SessionConfigError } from "../SessionConfigError.js"

/** A URL's parts, by the names of ioredis' options. */
export interface Address {
  readonly host?: string
  readonly port?: number
  readonly cluster?: ReadonlyArray<Node>
  readonly sentinels?: Array<Node>
  readonly name?: string
  readonly username?: string
  readonly password?: string
  readonly sentinelUsername?: string
  readonly sentinelPassword?: string
  readonly db?: number
  readonly family?: number
  readonly secure?: boolean
}

interface Node {
  readonly host: string
  readonly port: number
}

export const parseAddress = (url: string): Effect.Effect<Address, SessionConfigError> =>
  Effect.try({
    try: () => parse(url.trim()),
    catch: (error) => error instanceof SessionConfigError ? error : wrong("Its percent escapes are not UTF-8.")
  })

const forms = "Write it as redis://[user:password@]host[:port][/database], redis+cluster://host:port,host:port or " +
  "redis+sentinel://host:port,host:port/master-name, percent-encoded. Use rediss for TLS. valkey and valkeys mean the same."

const wrong = (message: string) => new SessionConfigError({ option: "url", message: `${message} ${forms}` })

// The last @ ends the credentials, as it does for WHATWG URLs.
const shape =
  /^(rediss?|valkeys?)(?:\+(cluster|sentinel))?:\/\/(?:([^/?#]*)@)?([^@/?#]+)(?:\/([^?#@]*))?(?:\?([^#]*))?$/i

const parse = (url: string): Address => {
  const [, scheme = "", kind = "", credentials = "", hosts = "", path = "", query = ""] = shape.exec(url) ??
    fail("It is not a URL of Redis.")
  const common = {
    ...login(credentials),
    ...parameters(query),
    ...(/^(rediss|valkeys)$/i.test(scheme) ? { secure: true } : {})
  }
  switch (kind.toLowerCase()) {
    case "cluster":
      if ((path !== "" && path !== "0") || common.db) fail("A cluster has no database but 0.")
      return { ...common, cluster: nodes(hosts, 6379) }
    case "sentinel": {
      const [name = "", db = "", ...rest] = path.split("/").map(decodeURIComponent)
      if (name === "" || rest.length > 0) fail("It lacks the master's name.")
      return { ...common, ...database(db), name, sentinels: nodes(hosts, 26379) }
    }
    default: {
      const [node, ...others] = nodes(hosts, 6379)
      if (others.length > 0) fail("Several hosts are a cluster, or sentinels.")
      return { ...common, ...database(path), ...node }
    }
  }
}

const fail = (message: string): never => {
  throw wrong(message)
}

const login = (credentials: string): Address => {
  const [username = "", ...rest] = credentials.split(":")
  const password = rest.join(":")
  return {
    ...(username === "" ? {} : { username: decodeURIComponent(username) }),
    ...(password === "" ? {} : { password: decodeURIComponent(password) })
  }
}

const nodes = (hosts: string, port: number) =>
  hosts.split(",").map((text): Node => {
    if (/\s/.test(text) || !URL.canParse(`redis://${text}`)) fail("A host is missing or misspelt.")
    const url = new URL(`redis://${text}`)
    if (url.hostname === "") fail("A host is missing or misspelt.")
    return { host: url.hostname.replace(/^\[|\]$/g, ""), port: url.port === "" ? port : Number(url.port) }
  })

const database = (db: string): Address => {
  if (db === "") return {}
  return /^\d{1,9}$/.test(db) ? { db: Number(db) } : fail("The database is not a number.")
}

const known: Record<string, (value: string) => Address> = {
  db: database,
  family: (value) => /^[046]$/.test(value) ? { family: Number(value) } : fail("The family is 4 or 6."),
  username: (username) => ({ username }),
  password: (password) => ({ password }),
  sentinelUsername: (sentinelUsername) => ({ sentinelUsername }),
  sentinelPassword: (sentinelPassword) => ({ sentinelPassword }),
  tls: (value) => value === "true" ? { secure: true } : fail("tls is true, or left out.")
}

const parameters = (query: string): Address =>
  [...new URLSearchParams(query)].reduce((address, [name, value]) => {
    const parameter = Object.hasOwn(known, name) ? known[name] : undefined
    // Ignored, a misspelt `tls` would send the password in the clear.
    return { ...address, ...(parameter?.(value) ?? fail(`Its query may hold ${Object.keys(known).join(", ")}.`)) }
  }, {})
