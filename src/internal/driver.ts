/**
 * Drivers are optional peer dependencies. The Layer that needs one imports it
 * while it is built, so that every file can be loaded by `require` and bundled
 * without the drivers that are not installed.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { SessionConfigError } from "../SessionConfigError.js"

/**
 * The newest versions that fit Effect 3 and our peer dependencies. Without a
 * version, npm installs the packages of Effect 4.
 */
export const driverVersions: Readonly<Record<string, string>> = {
  "@aws-sdk/client-dynamodb": "3",
  "@effect/platform": "0.97",
  "@effect/sql": "0.52",
  "@effect/sql-libsql": "0.42",
  "@effect/sql-mysql2": "0.53",
  "@effect/sql-pg": "0.53",
  ioredis: "6",
  mongodb: "7",
  mysql2: "3",
  pg: "8"
}

/**
 * Imports a driver. If it is missing, the error says which package to install:
 * `name`, or one that it needs in turn. `from` is the module that asks for it.
 *
 * Write `load` as `() => import("name").catch(rethrow)`.
 */
export const loadDriver = <A>(
  name: string,
  from: string,
  load: () => Promise<A>
): Effect.Effect<A, SessionConfigError> =>
  Effect.tryPromise({
    try: load,
    catch: (cause) => {
      const missing = isMissing(cause) ? packageIn(cause.message) ?? name : undefined
      const what = missing === undefined ? `cannot load the package "${name}"` : `needs the package "${missing}"`
      return new SessionConfigError({
        option: "driver",
        message: `${from} ${what}: ${install(missing ?? name)}`,
        cause
      })
    }
  })

/** esbuild leaves out an absent package without an error, if the failure of its import has a handler. */
export const rethrow = (cause: unknown): never => {
  throw cause
}

const install = (name: string) => {
  const version = Object.hasOwn(driverVersions, name) ? `@${driverVersions[name]}` : ""
  return `npm install ${name}${version}`
}

const isMissing = (cause: unknown): cause is Error =>
  cause instanceof Error && "code" in cause && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(cause.code))

/** Of `@scope/name/file` the package is `@scope/name`; a path is no package. */
const packageIn = (message: string) => /'((?:@[\w.-]+\/)?\w[\w.-]*)(?:\/[^']*)?'/.exec(message)?.[1]
