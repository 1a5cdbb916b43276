/**
 * A bare keep-alive client over sockets: it must cost less than the servers it
 * measures, or they would wait for it.
 */
import * as net from "node:net"

const headEnd = Buffer.from("\r\n\r\n")

class Connection {
  received = Buffer.alloc(0)
  settle = undefined

  constructor(port) {
    this.socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
    this.socket.on("data", (chunk) => this.onData(chunk))
    this.socket.on("error", (error) => this.settle?.(error))
    this.socket.on("close", () => this.settle?.(new Error("the server closed the connection")))
  }

  onData(chunk) {
    const received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk])
    this.received = received
    const end = received.indexOf(headEnd)
    if (end < 0) {
      return
    }
    const head = received.toString("latin1", 0, end)
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN)
    if (!head.startsWith("HTTP/1.1 200 ") || Number.isNaN(length)) {
      return this.settle?.(new Error(`not the expected response:\n${received.toString()}`))
    }
    const bodyStart = end + headEnd.length
    if (received.length < bodyStart + length) {
      return
    }
    this.received = Buffer.alloc(0)
    this.settle?.(undefined, { head, body: received.subarray(bodyStart, bodyStart + length) })
  }

  /** One request; `done` is called with an error or the response. */
  send(request, done) {
    this.settle = done
    this.socket.write(request)
  }

  close() {
    this.settle = undefined
    this.socket.destroy()
  }
}

const get = (path, cookie) =>
  Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n${
      cookie === undefined ? "" : `Cookie: ${cookie}\r\n`
    }\r\n`
  )

const once = (connection, request) =>
  new Promise((resolve, reject) =>
    connection.send(request, (error, response) => error ? reject(error) : resolve(response))
  )

/** Signs in, and answers the cookies to send from then on. */
const signIn = async (connection) => {
  const { head } = await once(connection, get("/login"))
  return [...head.matchAll(/^set-cookie: ([^;]+)/gim)].map((match) => match[1]).join("; ")
}

/** `size` connections to `port`, each with a session of its own. */
export const connect = async (port, size, cookie = signIn) => {
  const clients = await Promise.all(Array.from({ length: size }, async () => {
    const connection = new Connection(port)
    return { connection, request: get("/", await cookie(connection)), sent: 0, body: undefined }
  }))

  /** Sends `total` requests, one at a time on each connection. */
  const load = (total) =>
    new Promise((resolve, reject) => {
      let unsent = total
      let open = total
      const next = (client) => {
        if (unsent === 0) {
          return
        }
        unsent--
        client.sent++
        client.connection.send(client.request, (error, response) => {
          if (error) {
            return reject(error)
          }
          client.body = response.body
          if (--open === 0) {
            return resolve()
          }
          next(client)
        })
      }
      clients.forEach(next)
    })

  /** Throws unless every session has counted every request. */
  const verify = () => {
    for (const { body, sent } of clients) {
      const { count } = JSON.parse(body.toString())
      if (count !== sent) {
        throw new Error(`a session counted ${count} of ${sent} requests`)
      }
    }
  }

  return { load, verify, close: () => clients.forEach(({ connection }) => connection.close()) }
}

/** What takes the place of signing in where there is no session: a cookie of the same size. */
export const anyCookie = async () => `id=${"A".repeat(54)}`
