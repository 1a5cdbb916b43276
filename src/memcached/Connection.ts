/**
 * One connection to one server.
 *
 * Commands are sent as they come and answered in order. Each carries a number
 * that its answer must repeat, so that no answer is ever taken for another's:
 * whatever is out of step ends the connection, and so does an answer that does
 * not come in time. Nothing is sent twice.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as net from "node:net"
import { performance } from "node:perf_hooks"
import * as tls from "node:tls"
import { junk, makeReader, MemcachedError, type Reply } from "./Protocol.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly host: string
  readonly port: number
  /** How long to wait for an answer, in milliseconds, and for a connection. */
  readonly timeout: number
  readonly tls: tls.ConnectionOptions | undefined
}

interface Waiting {
  readonly number: string
  readonly since: number
  readonly resume: (answer: Effect.Effect<Reply, MemcachedError>) => void
}

const answers = new Set(["HD", "VA", "EN", "NF", "NS", "EX"])

/** `mn` is answered `MN`, whatever the server makes of the question before it. */
const greeting = "stats\r\nstats settings\r\nmn\r\n"

/**
 * Connects at once. `onReady` is called when the server has introduced itself,
 * `onEnd` once, whatever the reason, never before the constructor returns.
 *
 * @since 0.1.0
 * @category constructors
 */
export class Connection {
  /** Names the server's process, for as long as it runs. */
  boot = ""
  /** The most that an item may take, in bytes, with everything that belongs to it. */
  itemSize = defaultItemSize
  private readonly socket: net.Socket
  private readonly waiting: Array<Waiting> = []
  private readonly stats = new Map<string, string>()
  private sent = 0
  private ready = false
  private ended = false
  private flushing = false
  private timer: NodeJS.Timeout | undefined

  constructor(
    private readonly options: Options,
    private readonly onReady: () => void,
    private readonly onEnd: (error: MemcachedError) => void
  ) {
    const { host, port, timeout } = options
    this.socket = options.tls ? tls.connect({ ...options.tls, host, port }) : net.connect({ host, port })
    this.socket.setNoDelay(true).setKeepAlive(true, 30_000)
    this.socket.once(options.tls ? "secureConnect" : "connect", () => this.socket.write(greeting))
    const read = makeReader((reply) => this.ready ? this.answer(reply) : this.greet(reply))
    this.socket.on("data", (chunk: Buffer) => {
      try {
        if (!this.ended) read(chunk)
      } catch (error) {
        this.end(error instanceof MemcachedError ? error : junk())
      }
    })
    this.socket.on("error", ({ message }) => this.end(new MemcachedError({ reason: "Unavailable", message })))
    this.socket.on("close", () => this.end(closed()))
    this.timer = setTimeout(() => this.end(late()), timeout)
  }

  /** Sends a command without its end of line, and its value. */
  send(command: string, value?: Uint8Array): Effect.Effect<Reply, MemcachedError> {
    return Effect.async((resume) => {
      if (this.ended) return resume(closed())
      const number = `O${this.sent++}`
      this.waiting.push({ number, since: performance.now(), resume })
      this.timer ??= this.wake(this.options.timeout)
      this.write(`${command} ${number}\r\n`, value)
    })
  }

  /** Ends it; what waits for an answer fails with `error`. */
  end(error: MemcachedError = closed()): void {
    if (this.ended) return
    this.ended = true
    clearTimeout(this.timer)
    this.socket.destroy()
    this.onEnd(error)
    for (const { resume } of this.waiting.splice(0)) resume(error)
  }

  /** What is sent in one turn goes out together. */
  private write(line: string, value: Uint8Array | undefined): void {
    if (!this.flushing) {
      this.flushing = true
      this.socket.cork()
      process.nextTick(() => {
        this.flushing = false
        this.socket.uncork()
      })
    }
    this.socket.write(value === undefined ? line : Buffer.concat([Buffer.from(line, "latin1"), value, endOfLine]))
  }

  /** The start of the process, by its own clock, is the same each time it is asked. */
  private greet({ code, words }: Reply): void {
    const [name, value] = words
    if (code === "STAT" && name !== undefined && value !== undefined) {
      this.stats.set(name, value)
      return
    }
    if (this.boot !== "") return code === "MN" ? this.settle() : undefined
    if (code === "ERROR") throw new MemcachedError({ reason: "Unavailable", message: [code, ...words].join(" ") })
    const started = Number(this.stats.get("time")) - Number(this.stats.get("uptime"))
    if (code !== "END" || Number.isNaN(started)) throw junk()
    this.boot = `${this.stats.get("pid")}-${started}`
    this.stats.clear()
  }

  /** A server that told nothing of its settings is taken to have the usual ones. */
  private settle(): void {
    if (this.stats.get("cas_enabled") === "no") throw withoutCas()
    if (this.stats.get("evictions") === "off") throw withoutEvictions()
    const itemSize = Number(this.stats.get("item_size_max"))
    if (itemSize > 0) this.itemSize = itemSize
    this.ready = true
    clearTimeout(this.timer)
    this.timer = undefined
    this.onReady()
  }

  private answer(reply: Reply): void {
    const { code, words } = reply
    const first = this.waiting[0]
    if (first === undefined) throw junk()
    if (answers.has(code)) {
      if (!words.includes(first.number)) throw junk()
      this.waiting.shift()
      return first.resume(Effect.succeed(reply))
    }
    if (!/^(SERVER_|CLIENT_)?ERROR$/.test(code)) throw junk()
    this.waiting.shift()
    const message = [code, ...words].join(" ")
    first.resume(new MemcachedError({ reason: message.includes("too large") ? "TooLarge" : "Refused", message }))
    // How much of the command it has read is not known.
    if (code !== "SERVER_ERROR") this.end()
  }

  private wake(millis: number): NodeJS.Timeout {
    // A process that was busy for long reads first what has arrived meanwhile.
    return setTimeout(() => setImmediate(() => this.checkTime()), millis)
  }

  private checkTime(): void {
    const first = this.waiting[0]
    this.timer = undefined
    if (this.ended || first === undefined) return
    const left = first.since + this.options.timeout - performance.now()
    if (left <= 0) return this.end(late())
    this.timer = this.wake(Math.ceil(left))
  }
}

const defaultItemSize = 1024 * 1024

const endOfLine = Buffer.from("\r\n")

/**
 * Its writes have no tokens, and so none can be conditional.
 *
 * @since 0.1.0
 * @category errors
 */
export const withoutCas = (): MemcachedError =>
  new MemcachedError({ reason: "Refused", message: "The server was started without CAS (-C)." })

/** Out of memory, it removes what was to be replaced, whoever asked. */
const withoutEvictions = () =>
  new MemcachedError({
    reason: "Refused",
    message: "The server was started without evictions (-M): when it is full, a write that it refuses ends the session."
  })

const closed = () => new MemcachedError({ reason: "Unavailable", message: "The connection has ended." })

const late = () => new MemcachedError({ reason: "Timeout", message: "No answer in time." })
