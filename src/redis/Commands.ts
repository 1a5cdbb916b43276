/**
 * How a command is sent, its reply read, and what its failure means.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as crypto from "node:crypto"
import { bounded, timeIsUp } from "../internal/bounded.js"
import { SessionStoreError, type SessionStoreErrorReason } from "../SessionStore.js"
import { type Client, type Connection, isCluster } from "./Client.js"
import type { Within } from "./Database.js"
import { tooFewReplicas } from "./Wait.js"

export interface Script {
  readonly lua: string
  readonly sha: string
}

export const scriptOf = (lua: string): Script => ({ lua, sha: crypto.createHash("sha1").update(lua).digest("hex") })

/** Two round trips only when the server has forgotten the script, and has done nothing yet. */
export const evaluate = (client: Client, { lua, sha }: Script, key: string, args: ReadonlyArray<string | Buffer>) =>
  client.evalsha(sha, 1, key, ...args).catch((error: Error) => {
    if (!error.message.startsWith("NOSCRIPT")) throw error
    return client.eval(lua, 1, key, ...args)
  })

export type Operation = Exclude<SessionStoreError["operation"], "sweep">

/** A client, as far as commands are concerned. */
export interface Connected {
  readonly client: Client
  /** How long a command may take. */
  readonly millis: number
  /** Undefined: every connection begins in its database. */
  readonly within: Within | undefined
  /** Undefined for a client that was brought along. */
  readonly connection: Connection | undefined
}

/** Sends a command, reads its reply, and gives each failure its reason. */
export const attempts = ({ client, connection, millis, within = asIs }: Connected) => {
  const failed = (operation: Operation) => (error: unknown) => {
    // A driver rejects with nothing but errors.
    const found = error as Error
    if (reasonOf(found) === "Timeout" && found !== tooFewReplicas) connection?.reconnect()
    const cause = isOffline(found) ? connection?.failure() ?? found : found
    return new SessionStoreError({ reason: reasonOf(cause), operation, cause: withoutData(cause) })
  }
  if (!isCluster(client)) {
    // What has not left goes when the connection is back; so far that is a matter of an error only.
    const sendLater = async <A>(error: Error, send: () => Promise<A>) => {
      if (!isUnsent(error) || !(await connection?.isBack(millis / 2))) throw error
      return within(send)
    }
    return <A, B>(operation: Operation, send: () => Promise<A>, read: Read<A, B>) =>
      Effect.async<B, SessionStoreError>((resume) => {
        let isOver = false
        const end = (answer: Effect.Effect<B, SessionStoreError>) => {
          isOver = true
          clearTimeout(timer)
          resume(answer)
        }
        const done = (reply: A) => end(read(reply))
        const fail = (error: unknown) => isOver || end(Effect.fail(failed(operation)(error)))
        // A process that was busy for long reads first what has arrived meanwhile.
        const timer = connection && setTimeout(() => setImmediate(fail, timeIsUp), millis)
        within(send).then(done, (error) => sendLater(error, send).then(done, fail))
      })
  }
  return <A, B>(operation: Operation, send: () => Promise<A>, read: Read<A, B>) =>
    Effect.suspend(() => isAway(client) ? Effect.fail(away) : bounded(millis, async () => send())).pipe(
      Effect.mapError(failed(operation)),
      Effect.flatMap(read)
    )
}

type Read<A, B> = (reply: A) => Effect.Effect<B, SessionStoreError>

const asIs: Within = (send) => send()

const away = new Error("Connection is closed to every node of the cluster.")

/** A cluster that is not there would keep a command until it is. */
export const isAway = ({ status }: Client) => status !== "ready" && status !== "wait"

/** ioredis would send a plain `Uint8Array` as the text "1,2,3". */
export const asBuffer = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

/** There was no connection: nothing has left. */
const isUnsent = ({ message }: Error) => message.startsWith("Stream isn't writeable")

const isOffline = ({ message }: Error) => /^(Stream isn't writeable|Connection is closed|None of startup)/.test(message)

/** What the server said, and no failure of the connection. */
export const isReply = (error: unknown): error is Error => error instanceof Error && error.name === "ReplyError"

/** Before Redis 7 the code of a script's error stands in the middle of the message. */
const reasonOf = (error: Error): SessionStoreErrorReason => {
  const { message } = error
  if (error === timeIsUp || error === tooFewReplicas || message === "Command timed out") return "Timeout"
  if (!isReply(error)) return "Unavailable"
  if (/\b(WRONGTYPE|CORRUPT)\b/.test(message)) return "Corrupt"
  if (/\b(LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|MOVED|ASK)\b/.test(message)) return "Unavailable"
  return message.includes("max number of clients") ? "Throttled" : "Rejected"
}

/** ioredis hangs a command's arguments on its errors, and the server may quote them. */
export const withoutData = (error: Error) => {
  const { message, name } = error
  const code = "code" in error ? { code: error.code } : {}
  return Object.assign(new Error(message.replace(/, with args.*/s, "")), { name, ...code })
}
