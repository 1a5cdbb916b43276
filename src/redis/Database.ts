/**
 * Keeps a client to the database that it was told. ioredis selects it on each
 * connection, but goes on in database 0 when the server refuses.
 *
 * @internal
 */

import type { RedisOptions } from "ioredis"
import type { Client } from "./Client.js"
import { checkOk } from "./Reply.js"

/** Sends a command when the connection is in its database, and else fails with why it is not. */
export type Within = <A>(send: () => Promise<A>) => Promise<A>

/** The database that the client was told. */
export const databaseOf = ({ options }: Client): number => {
  const { db }: RedisOptions = options
  return Number(db ?? 0)
}

/** Asks once for each connection, and again for as long as the server refuses. Listens until it is told to stop. */
export const watchDatabase = (
  client: Client,
  database: number
): { readonly within: Within; readonly stop: () => void } => {
  let isWithin = false
  let asking: Promise<void> | undefined
  const ask = async () => {
    try {
      checkOk(await client.select(database))
      isWithin = true
    } finally {
      asking = undefined
    }
  }
  const leave = () => {
    isWithin = false
  }
  client.on("close", leave)
  return {
    within: (send) => isWithin ? send() : (asking ??= ask()).then(send),
    stop: () => client.off("close", leave)
  }
}
