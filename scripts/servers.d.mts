/** A server of this process's own. It ends with the process at the latest. */
export interface Server {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Signals it and its children, `SIGKILL` by default; resolves when it has ended (at once for `SIGSTOP` and `SIGCONT`). */
  readonly kill: (signal?: NodeJS.Signals) => Promise<void>
  /** Starts it again, on the same port, with the data it had on disk. */
  readonly restart: () => Promise<void>
  /** Ends it and removes its folder. */
  readonly stop: () => Promise<void>
}

export interface StartOptions {
  /** Default: a free one. */
  readonly port?: number
  /** More arguments for the server's command line. */
  readonly args?: ReadonlyArray<string>
}

export type Name = "redis" | "postgres" | "mysql" | "memcached" | "dynamodb" | "mongodb"

export type Urls = { readonly [name in Name]?: string }

export declare const startRedis: (options?: StartOptions) => Promise<Server>

export declare const startPostgres: (options?: StartOptions) => Promise<Server>

/** In front of the PostgreSQL on the port `upstream` of this machine. */
export declare const startPgBouncer: (
  options: { readonly port?: number; readonly upstream: number }
) => Promise<Server>

export declare const startMySql: (options?: StartOptions) => Promise<Server>

export declare const startMemcached: (options?: StartOptions) => Promise<Server>

export declare const startDynamoDb: (options?: StartOptions) => Promise<Server>

export declare const startMongoDb: (options?: StartOptions) => Promise<Server>

/**
 * Starts each server whose URL the environment does not give. What cannot be
 * had is named in `missing`, and an error when `CI` is set.
 */
export declare const startAll: () => Promise<{
  readonly urls: Urls
  readonly missing: ReadonlyArray<{ readonly name: Name; readonly reason: string }>
  readonly stop: () => Promise<unknown>
}>

export interface ServerPackage {
  /** Debian's packages, with a space between. */
  readonly package: string
  readonly binary: string
  /** Whose value is the URL of a running server. */
  readonly variable?: string
}

/** The servers that are neither installed nor named by a variable of the environment. */
export declare const missingServers: (
  env?: { readonly [variable: string]: string | undefined },
  isInstalled?: (binary: string) => boolean
) => ReadonlyArray<ServerPackage>

/** What `startAll` prints before it installs servers: which, and how to avoid it. */
export declare const installNotice: (missing: ReadonlyArray<ServerPackage>) => string

/** The URLs as variables of the environment (`REDIS_URL`, `DATABASE_URL`, …). */
export declare const environment: (urls: Urls) => Record<string, string>

/** Whether this machine can start a server of its own. */
export declare const canStart: (name: Name | "pgbouncer") => boolean
