/**
 * Reads the URL of a store. No error repeats any of it: if a password is not
 * percent-encoded as it should be, the rest of it reads as a host, a path or a
 * parameter.
 *
 * @internal
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Layer from "effect/Layer"
import type * as DynamoDb from "../layers/DynamoDb.js"
import type * as FileSystem from "../layers/FileSystem.js"
import type * as Memcached from "../layers/Memcached.js"
import type * as Memory from "../layers/Memory.js"
import type * as MongoDb from "../layers/MongoDb.js"
import type * as Redis from "../layers/Redis.js"
import type * as Sql from "../layers/Sql.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { SessionStore } from "../SessionStore.js"

export type Opened = Effect.Effect<Layer.Layer<SessionStore, SessionConfigError>, SessionConfigError>

export interface Address {
  readonly scheme: Scheme
  /** `user:password`, as it was written. */
  readonly credentials: string | undefined
  /** Decoded; of a URL with a host what comes after the slash. */
  readonly path: string
  readonly host: string
  /** Ours, decoded. */
  readonly parameters: ReadonlyMap<string, string>
  /** The URL without our parameters. */
  readonly forDriver: string
}

export interface Scheme {
  readonly form: string
  readonly hasHost: boolean
  readonly parameters: ReadonlyArray<string>
  /** Parameters that are passed on to the driver. */
  readonly driver?: ReadonlyArray<string> | "any"
  /** Parameters that others write, each with the reason why it cannot be taken. */
  readonly refused?: Readonly<Record<string, string>>
  /** The host may be missing if this parameter names it. */
  readonly hostParameter?: string
  readonly open: (address: Address, stores: Stores) => Opened
}

/** Makes a store's Layer of the options that a URL stands for. */
type LayerOf<Options, R = never> = (
  options: Options
) => Layer.Layer<SessionStore, SessionConfigError, R>

/** Loads the module of each store. Those of another format take the same options. */
export interface Stores {
  readonly memory: () => Promise<LayerOf<Memory.Options>>
  readonly file: () => Promise<LayerOf<FileSystem.Options>>
  readonly redis: () => Promise<LayerOf<Pick<Redis.Options, "url" | "prefix" | "timeout">>>
  readonly memcached: () => Promise<LayerOf<Memcached.Options>>
  readonly mongodb: () => Promise<LayerOf<MongoDb.Options>>
  readonly dynamodb: () => Promise<LayerOf<DynamoDb.Options>>
  readonly sqlite: () => Promise<LayerOf<Sql.Options, SqlClient.SqlClient>>
  readonly sqlPool: () => Promise<LayerOf<Sql.PoolOptions>>
}

export type Parsed<A> = Either.Either<A, SessionConfigError>

export const invalidUrl = (message: string) => new SessionConfigError({ option: "url", message })

export const misspelt = ({ form }: Scheme, what: string) => invalidUrl(`${what} Write the URL as ${form}`)

export const parse = (text: string, scheme: Scheme): Parsed<Address> =>
  Either.gen(function*() {
    const parts = /^[^:]+:(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?$/s.exec(text)
    if (parts === null) return yield* Either.left(misspelt(scheme, `Percent-encode a "#": it is %23.`))
    const [, authority, path = "", query] = parts
    if (!isEncoded(text)) return yield* Either.left(misspelt(scheme, `Percent-encode a "%": it is %25.`))
    const isNamed = query?.split("&").some((pair) => pair.startsWith(`${scheme.hostParameter}=`)) ?? false
    const mistake = scheme.hasHost ? hostProblem(text, authority, isNamed) : fileProblem(authority)
    if (mistake !== undefined) return yield* Either.left(misspelt(scheme, mistake))

    const { left, ours } = yield* readParameters(query, scheme)
    const at = authority?.lastIndexOf("@") ?? -1
    return {
      scheme,
      credentials: at < 0 ? undefined : authority?.slice(0, at),
      host: authority?.slice(at + 1) ?? "",
      path: decodeURIComponent(scheme.hasHost ? path.slice(1) : path),
      parameters: ours,
      forDriver: text.replace(/\?.*/s, "") + (left.length === 0 ? "" : `?${left.join("&")}`)
    }
  })

const isEncoded = (text: string) => {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

const hostProblem = (text: string, authority = "", isNamed: boolean): string | undefined => {
  const isTwice = text.indexOf("@") !== text.lastIndexOf("@")
  if (isTwice || text.includes("@") !== authority.includes("@") || /[\s\\]/.test(text)) {
    return `Percent-encode the password: "/", "?" and "@" are %2F, %3F and %40.`
  }
  return !isNamed && /^([^@]*@)?$/.test(authority) ? "The host is missing." : undefined
}

const fileProblem = (authority = ""): string | undefined =>
  authority === "" ? undefined : "No host belongs between two slashes and the third."

const readParameters = (query: string | undefined, scheme: Scheme) =>
  Either.gen(function*() {
    const { driver = [], parameters } = scheme
    const known = driver === "any" ? parameters : [...parameters, ...driver]
    const ours = new Map<string, string>()
    const left: Array<string> = []
    const seen = new Set<string>()
    for (const pair of query ? query.split("&") : []) {
      const [name = "", value = ""] = pair.split(/=(.*)/s).map(decodeURIComponent)
      if (known.includes(name)) {
        if (value === "" || seen.has(name)) {
          return yield* Either.left(invalidUrl(`The parameter "${name}" is ${value === "" ? "empty" : "there twice"}.`))
        }
        seen.add(name)
      } else if (scheme.refused !== undefined && Object.hasOwn(scheme.refused, name)) {
        return yield* Either.left(invalidUrl(`Leave out the parameter "${name}": ${scheme.refused[name]}.`))
      } else if (driver !== "any") {
        const they = known.length === 0 ? "It takes none." : `It takes ${known.join(", ")}.`
        return yield* Either.left(misspelt(scheme, `There is a parameter that is not known. ${they}`))
      }
      if (parameters.includes(name)) ours.set(name, value)
      else left.push(pair)
    }
    return { ours, left }
  })

/** A parameter that is a whole number, if it is there. */
export const wholeNumber = ({ parameters }: Address, name: string): Parsed<number | undefined> => {
  const text = parameters.get(name)
  return text === undefined || /^\d{1,15}$/.test(text)
    ? Either.right(text === undefined ? undefined : Number(text))
    : Either.left(
      invalidUrl(`The parameter "${name}" has to be a whole number${name === "timeout" ? ", of milliseconds" : ""}.`)
    )
}

/** A parameter that is one of some words, if it is there. */
export const oneOf = <const Word extends string>(
  { parameters }: Address,
  name: string,
  ...words: ReadonlyArray<Word>
): Parsed<Word | undefined> => {
  const text = parameters.get(name)
  const word = words.find((word) => word === text)
  return text === undefined || word !== undefined
    ? Either.right(word)
    : Either.left(invalidUrl(`The parameter "${name}" has to be one of ${words.join(", ")}.`))
}

/** The URL as Node reads it, which knows of one host only. A host that a parameter names is not in it. */
export const withOneHost = ({ forDriver, host, scheme }: Address): Parsed<URL> => {
  const text = host === "" ? forDriver.replace(/^([^/]*\/\/[^/?]*)/, "$1localhost") : forDriver
  return URL.canParse(text)
    ? Either.right(new URL(text))
    : Either.left(misspelt(scheme, "The host or its port is not valid."))
}
