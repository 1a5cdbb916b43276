/**
 * A TCP proxy that fails on demand, in front of any server of this machine.
 * It knows no protocol: what is to be lost is the first chunk that matches.
 */
import { once } from "node:events"
import * as net from "node:net"

/** Whether a chunk on its way to the server is the one that is meant. */
export type Match = (request: Buffer) => boolean

/** A request that the network keeps: the client's connection is cut, the server's stays. */
export interface Held {
  /** The request has come, and its client was cut off. */
  readonly held: Promise<void>
  /** Passes it on; ends when the server has answered, to nobody. */
  readonly release: () => Promise<void>
}

export interface Proxy {
  readonly port: number
  /** `127.0.0.1:port`. */
  readonly address: string
  /** Clients that are connected now. */
  readonly connections: number
  /** Everything that clients have sent so far, in chunks. */
  readonly requests: ReadonlyArray<Buffer>
  /** Adds milliseconds to each round trip, half of them each way. */
  readonly delay: (millis: number) => void
  /** Ends all connections; new ones are welcome. */
  readonly cut: () => void
  /** Ends all connections, and accepts none. */
  readonly refuse: () => Promise<void>
  /** Accepts everything and passes on nothing; a connection that was there stays so for good. */
  readonly hang: () => void
  /** Passes the next match on, drops its answer, waits for `between`, and cuts. Ends when it has. */
  readonly loseReply: (match?: Match, between?: () => Promise<unknown>) => Promise<void>
  /** Drops the next match, waits for `between`, and cuts. Ends when it has. */
  readonly loseRequest: (match?: Match, between?: () => Promise<unknown>) => Promise<void>
  /** Keeps the next match back, waits for `between`, and cuts. */
  readonly hold: (match?: Match, between?: () => Promise<unknown>) => Held
  /** Passes everything on, and forgets what was still to be lost. */
  readonly normal: () => Promise<void>
  readonly close: () => Promise<void>
}

interface Connection {
  readonly client: net.Socket
  readonly server: net.Socket
  /** What becomes of the server's next answer, instead of being passed on. */
  onReply: (() => void) | undefined
  /** Nothing is passed on any more. */
  deaf: boolean
}

interface Trap {
  readonly match: Match
  readonly spring: (connection: Connection, request: Buffer) => void
}

const any: Match = () => true
const nothing = () => Promise.resolve()

/** Stands in front of `port`. */
export const startProxy = async (port: number): Promise<Proxy> => {
  const connections = new Set<Connection>()
  const requests: Array<Buffer> = []
  let traps: Array<Trap> = []
  let millis = 0
  let hangs = false

  /** Timers of one length fire in the order in which they were set. */
  const later = (action: () => void) => {
    if (millis > 0) setTimeout(action, millis / 2)
    else action()
  }

  const end = ({ client, server }: Connection) => {
    client.destroy()
    server.destroy()
  }

  const onRequest = (connection: Connection, request: Buffer) => {
    requests.push(request)
    if (connection.deaf) return
    const trap = traps.find(({ match }) => match(request))
    if (trap === undefined) return later(() => connection.server.write(request))
    traps = traps.filter((other) => other !== trap)
    trap.spring(connection, request)
  }

  const onReply = (connection: Connection, reply: Buffer) => {
    if (connection.onReply !== undefined) return connection.onReply()
    if (!connection.deaf) later(() => connection.client.write(reply))
  }

  const listener = net.createServer((client) => {
    const server = net.connect({ port, host: "127.0.0.1", noDelay: true })
    const connection: Connection = { client, server, onReply: undefined, deaf: hangs }
    connections.add(connection)
    client.setNoDelay()
    client.on("data", (chunk) => onRequest(connection, chunk))
    server.on("data", (chunk) => onReply(connection, chunk))
    client.on("error", () => {}).on("close", () => {
      if (connection.onReply === undefined) later(() => server.destroy())
    })
    server.on("error", () => {}).on("close", () => {
      if (!connection.deaf) later(() => client.destroy())
    })
    // a deaf client outlives its server, a request that is held its client
    for (const socket of [client, server]) {
      socket.on("close", () => {
        if (client.destroyed && server.destroyed) connections.delete(connection)
      })
    }
  })

  const listen = async (at: number) => {
    listener.listen(at, "127.0.0.1")
    await once(listener, "listening")
    return (listener.address() as net.AddressInfo).port // it listens on a port
  }

  const cut = () => connections.forEach(end)

  const refuse = async () => {
    if (!listener.listening) return cut()
    const closed = once(listener, "close")
    listener.close()
    cut()
    await closed
  }

  const set = (match: Match, spring: Trap["spring"]) => traps.push({ match, spring })

  const own = await listen(0)
  return {
    port: own,
    address: `127.0.0.1:${own}`,
    requests,
    get connections() {
      return [...connections].filter(({ client }) => !client.destroyed).length
    },
    delay: (value) => {
      millis = value
    },
    cut,
    refuse,
    hang: () => {
      hangs = true
      for (const connection of connections) connection.deaf = true
    },
    loseReply: (match = any, between = nothing) =>
      new Promise((resolve, reject) => {
        set(match, (connection, request) => {
          connection.onReply = () => {
            connection.onReply = () => {}
            between().finally(() => end(connection)).then(() => resolve(), reject)
          }
          connection.server.write(request)
        })
      }),
    loseRequest: (match = any, between = nothing) =>
      new Promise((resolve, reject) => {
        set(match, (connection) => {
          connection.deaf = true
          between().finally(() => end(connection)).then(() => resolve(), reject)
        })
      }),
    hold: (match = any, between = nothing) => {
      let release = nothing
      const held = new Promise<void>((resolve, reject) => {
        set(match, (connection, request) => {
          const { client, server } = connection
          const answered = new Promise<void>((resolve) => {
            connection.onReply = resolve
            server.once("close", resolve)
          })
          connection.deaf = true
          release = async () => {
            server.write(request)
            await answered
            server.destroy()
          }
          between().finally(() => client.destroy()).then(() => resolve(), reject)
        })
      })
      return { held, release: () => held.then(() => release()) }
    },
    normal: async () => {
      millis = 0
      hangs = false
      traps = []
      if (!listener.listening) await listen(own)
    },
    close: async () => {
      millis = 0
      await refuse()
    }
  }
}
