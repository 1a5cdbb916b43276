/**
 * Cancels the statement of a PostgreSQL connection by the protocol's
 * CancelRequest: a new connection to the same address sends the process id and
 * the secret key of the first one. `pg_cancel_backend` needs the process id of
 * the backend; behind a connection pooler the driver has an id that the pooler
 * made up, which may be the process id of another backend.
 *
 * @internal
 */

import { once } from "node:events"
import * as net from "node:net"
import * as tls from "node:tls"

/** What is read of a client of `pg`: the key and the address of its connection. */
export interface PgAddress {
  readonly processID?: number | null
  readonly secretKey?: number | null
  readonly host?: string | null
  readonly port?: number
  readonly ssl?: boolean | tls.ConnectionOptions
  readonly sslNegotiation?: string
  readonly connection?: { readonly stream?: { readonly remoteAddress?: string; readonly remotePort?: number } }
}

/** Milliseconds for the whole exchange. A server that is frozen accepts no CancelRequest either. */
const limit = 1000

/**
 * Sends the CancelRequest and waits until the server closes the connection,
 * which it does once it has read the request. Never fails. Does nothing if the
 * driver does not expose the key or the address of the connection.
 */
export const cancelStatement = async (client: PgAddress): Promise<void> => {
  const { processID, secretKey } = client
  const address = addressOf(client)
  if (typeof processID !== "number" || typeof secretKey !== "number" || address === undefined) return
  await send(client, address, cancelRequest(processID, secretKey)).catch(() => {})
}

/** The address of this very connection: a host name may stand for several servers. */
const addressOf = ({ connection, host, port }: PgAddress): net.NetConnectOpts | undefined => {
  if (host?.startsWith("/")) return { path: `${host}/.s.PGSQL.${port}` }
  const { remoteAddress, remotePort } = connection?.stream ?? {}
  return remoteAddress !== undefined && remotePort !== undefined
    ? { host: remoteAddress, port: remotePort }
    : undefined
}

const send = async (client: PgAddress, address: net.NetConnectOpts, message: Buffer): Promise<void> => {
  const signal = AbortSignal.timeout(limit)
  const socket = net.connect(address).on("error", ignore)
  let stream = socket
  try {
    await once(socket, "connect", { signal })
    if (client.ssl) stream = await secure(socket, client, signal)
    stream.write(message)
    // The end of a stream is seen only if the stream is read.
    stream.resume()
    await once(stream, "close", { signal })
  } finally {
    stream.destroy()
    socket.destroy()
  }
}

/** `once` reports an error; without a listener of its own a socket would throw it between two steps. */
const ignore = () => {}

/** TLS as the driver does it, with the options of the client. */
const secure = async (
  socket: net.Socket,
  { host, ssl, sslNegotiation }: PgAddress,
  signal: AbortSignal
): Promise<tls.TLSSocket> => {
  const isDirect = sslNegotiation === "direct"
  if (!isDirect) {
    socket.write(sslRequest)
    const [reply] = await once(socket, "data", { signal })
    if (String(reply) !== "S") throw new Error("The server does not offer TLS.")
  }
  const stream = tls.connect({
    ...host ? { host, ...net.isIP(host) === 0 ? { servername: host } : {} } : {},
    ...isDirect ? { ALPNProtocols: ["postgresql"] } : {},
    ...typeof ssl === "object" ? ssl : {},
    socket
  }).on("error", ignore)
  await once(stream, "secureConnect", { signal })
  return stream
}

/** Length, code and then what the code asks for; 32 bits each. */
const packet = (...words: ReadonlyArray<number>): Buffer => {
  const bytes = Buffer.alloc(4 * (words.length + 1))
  for (const [i, word] of [bytes.length, ...words].entries()) bytes.writeInt32BE(word, 4 * i)
  return bytes
}

const sslRequest = packet(80877103)

const cancelRequest = (processID: number, secretKey: number) => packet(80877102, processID, secretKey)
