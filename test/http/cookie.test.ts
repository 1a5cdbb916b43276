/** The cookie's rules, its strict reader, and how it is written. */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import { type Session, SessionHttp } from "effect-session"
import * as SessionCookie from "effect-session/SessionCookie"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import { describe, expect, it } from "vitest"
import type { Handler } from "./app.js"
import { AppSession, handlers, Probe } from "./app.js"
import { observe } from "./observed.js"

const live = "A".repeat(54)

const optionOf = (options: SessionCookie.Options): string | undefined =>
  Either.match(SessionCookie.make(options), {
    onLeft: (error) => error.option,
    onRight: () => undefined
  })

/** A handler behind the middleware, as a function of requests. */
const webOf = (handler: Handler, options?: Parameters<typeof AppSession.layer>[0]) => {
  const sessions = AppSession.layer(options).pipe(
    Layer.provide(new Probe().layer),
    Layer.orDie,
    Layer.provideMerge(Logger.remove(Logger.defaultLogger)) // secure: false warns
  )
  return HttpApp.toWebHandlerLayer(SessionHttp.middleware(AppSession)(handler), sessions)
}

const setCookieOf = async (handler: Handler, options?: Parameters<typeof AppSession.layer>[0], cookie?: string) => {
  const { dispose, handler: send } = webOf(handler, options)
  const response = await send(new Request("http://localhost/", cookie === undefined ? {} : { headers: { cookie } }))
  await dispose()
  expect(response.status).toBe(200)
  const lines = response.headers.getSetCookie()
  expect(lines).toHaveLength(1)
  return lines[0]!
}

// ---------------------------------------------------------------------------
// construction
// ---------------------------------------------------------------------------

describe("options", () => {
  it("OW-01 OW-08 OW-09 ASVS-3.3.3 NI-06: the default", () => {
    expect(Either.getOrThrow(SessionCookie.make())).toEqual({
      name: "__Host-id",
      secure: true,
      domain: undefined,
      path: "/",
      sameSite: "lax",
      partitioned: false,
      former: []
    })
  })

  const prefixes = {
    "": () => true,
    "__Secure-": ({ secure }: SessionCookie.Options) => secure === true,
    "__Http-": ({ secure }: SessionCookie.Options) => secure === true,
    "__Host-": (o: SessionCookie.Options) => o.secure === true && o.domain === undefined && o.path === "/",
    "__Host-Http-": (o: SessionCookie.Options) => o.secure === true && o.domain === undefined && o.path === "/"
  }
  const combinations = [true, false].flatMap((secure) =>
    [undefined, "example.com"].flatMap((domain) =>
      ["/", "/app"].map((path): SessionCookie.Options => ({
        secure,
        path,
        ...(domain === undefined ? {} : { domain })
      }))
    )
  )

  it.each(Object.entries(prefixes))(
    "RFC-06 RFC-07 RFC-09 RFC-10 ASVS-3.3.1: %sid is made under the rules of its prefix alone",
    (prefix, legal) => {
      for (const options of combinations) {
        expect([options, optionOf({ ...options, name: `${prefix}id` })])
          .toEqual([options, legal(options) ? undefined : "cookie.name"])
      }
    }
  )

  it("OW-08 OW-09 RFC-10: the default name has the strongest prefix that its options allow", () => {
    const names = combinations.map((options) => Either.getOrThrow(SessionCookie.make(options)).name)
    expect(names).toEqual([
      "__Host-id",
      "__Secure-id",
      "__Secure-id",
      "__Secure-id",
      "id",
      "id",
      "id",
      "id"
    ])
  })

  it("RFC-14 OW-07 ASVS-3.3.2 CH-01: SameSite=None and Partitioned only with secure", () => {
    expect(optionOf({ secure: false, sameSite: "none" })).toBe("cookie.sameSite")
    expect(optionOf({ secure: false, partitioned: true })).toBe("cookie.partitioned")
    expect(optionOf({ sameSite: "none", partitioned: true })).toBeUndefined()
  })

  it.each(["Lax", "NONE", "lax; Domain=evil.test", "", "constructor"])(
    "RFC-14: sameSite %j passes no type and no check",
    (sameSite) => {
      expect(optionOf({ sameSite: sameSite as "lax" })).toBe("cookie.sameSite")
    }
  )

  it.each([
    "__host-id",
    "__HOST-id",
    "__Host_id",
    "_Host-id",
    "___Host-id",
    "Host-id",
    "Host__id",
    "__secure-id",
    "__SECURE-id",
    "__Secure_id",
    "_Secure-id",
    "__http-id",
    "__HTTP-id",
    "Http-id"
  ])("REG-C6: %s is almost a prefix, and refused", (name) => {
    expect(optionOf({ name })).toBe("cookie.name")
    expect(optionOf({ name, secure: false })).toBe("cookie.name")
  })

  it.each(["id", "sid", "hostess", "securely", "app_session", "a-host-id", "__id", "$x"])("%s is a name", (name) => {
    expect(optionOf({ name })).toBeUndefined()
  })

  const hostile = [";", "\r", "\n", "\r\n", "\0", ",", " ", "=", "é", "\"", "\\", "\t", "\x7f", "\u{1F36A}", "\u2028"]
  const positions = (text: string, bad: string) => [`${bad}${text}`, `${text}${bad}`, `${text}${bad}${text}`, bad]

  it.each(hostile)("REG-C1: no name and no domain with %j", (bad) => {
    for (const name of positions("sid", bad)) {
      expect([name, optionOf({ name })]).toEqual([name, "cookie.name"])
    }
    for (const domain of positions("example.com", bad)) {
      expect([domain, optionOf({ domain })]).toEqual([domain, "cookie.domain"])
    }
  })

  it.each([";", "\r", "\n", "\r\n", "\0", " ", "é", "\t", "\x7f", "\u{1F36A}", "\u2028"])(
    "REG-C1: no path with %j",
    (bad) => {
      for (const path of positions("/app", bad)) {
        expect([path, optionOf({ path })]).toEqual([path, "cookie.path"])
      }
    }
  )

  it.each(["", "app", "http://x/", "../app"])("path %j does not start with a slash", (path) => {
    expect(optionOf({ path })).toBe("cookie.path")
  })

  it.each(["", ".example.com", "example.com.", "example..com", "-x.com", "example.com:80", "*.example.com", "[::1]"])(
    "domain %j is no host name",
    (domain) => {
      expect(optionOf({ domain })).toBe("cookie.domain")
    }
  )

  it("RFC-04 ASVS-3.3.5: what is too long for a browser is refused", () => {
    expect(optionOf({ name: "n".repeat(256) })).toBeUndefined()
    expect(optionOf({ name: "n".repeat(257) })).toBe("cookie.name")
    expect(optionOf({ path: `/${"p".repeat(1023)}` })).toBeUndefined()
    expect(optionOf({ path: `/${"p".repeat(1024)}` })).toBe("cookie.path")
    expect(optionOf({ domain: `${"d".repeat(63)}.`.repeat(4) + "com" })).toBe("cookie.domain")
  })

  it("an error names the option and does not repeat the value", () => {
    const error = Either.getOrThrow(Either.flip(SessionCookie.make({ domain: "hunter2 secret" })))
    expect(error._tag).toBe("SessionConfigError")
    expect(error.message).not.toContain("hunter2")
  })

  it("OW-05: secure: false warns, once, when the Layer is built", () => {
    const observed = observe()
    Effect.runSync(Effect.scoped(Layer.build(
      AppSession.layer({ cookie: { secure: false } }).pipe(
        Layer.provide(new Probe().layer),
        Layer.provide(observed.layer)
      )
    )))
    expect(observed.logs.filter((line) => line.includes("level=WARN") && line.includes("cookie.secure"))).toHaveLength(
      1
    )
  })

  it("the Layer fails with it", () => {
    const failure = Effect.runSync(Effect.flip(Effect.scoped(Layer.build(
      AppSession.layer({ cookie: { name: "__Host-id", secure: false } }).pipe(Layer.provide(new Probe().layer))
    ))))
    expect(failure).toMatchObject({ _tag: "SessionConfigError", option: "cookie.name" })
  })
})

// ---------------------------------------------------------------------------
// writing
// ---------------------------------------------------------------------------

describe("Set-Cookie", () => {
  const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
  const grammar = new RegExp(
    `^${token}=[A-Za-z0-9_-]{54}(; (Domain=[a-z0-9.-]+|Path=/[\\x21-\\x3a\\x3c-\\x7e]*|HttpOnly|Secure|Partitioned|SameSite=(Lax|Strict|None)))*$`
  )

  it("RFC-01 RFC-02: is in the strict grammar for every accepted option, each attribute once", async () => {
    const names = ["id", "__Secure-x", "__Http-x", "a'b%c", "t!#$&*+.^`|~0"]
    const paths = ["/", "/app", "/a,b=c\"d\\e", "/%3b"]
    for (const name of names) {
      for (const path of paths) {
        for (const domain of [undefined, "example.com", "localhost"]) {
          const options = { name, path, ...(domain === undefined ? {} : { domain }), partitioned: path === "/" }
          const line = await setCookieOf(handlers.write, { cookie: options })
          expect(line).toMatch(grammar)
          const attributes = line.split("; ").slice(1).map((attribute) => attribute.split("=")[0])
          expect(new Set(attributes).size).toBe(attributes.length)
          expect(attributes.includes("Domain")).toBe(domain !== undefined)
          expect(attributes.includes("Partitioned")).toBe(path === "/")
          expect(line.startsWith(`${name}=`)).toBe(true)
        }
      }
    }
  })

  it.each(
    [
      [{}, "__Host-id", "Path=/; HttpOnly; Secure; SameSite=Lax"],
      [{ sameSite: "strict" }, "__Host-id", "Path=/; HttpOnly; Secure; SameSite=Strict"],
      [{ sameSite: "none", partitioned: true }, "__Host-id", "Path=/; HttpOnly; Secure; Partitioned; SameSite=None"],
      [
        { domain: "example.com", path: "/app" },
        "__Secure-id",
        "Domain=example.com; Path=/app; HttpOnly; Secure; SameSite=Lax"
      ],
      [{ secure: false }, "id", "Path=/; HttpOnly; SameSite=Lax"]
    ] as ReadonlyArray<[SessionCookie.Options, string, string]>
  )("OW-21 CH-02: %j is set and cleared with the same attributes", async (cookie, name, attributes) => {
    const set = await setCookieOf(handlers.write, { cookie })
    expect(set.replace(/=[A-Za-z0-9_-]{54}/, "=")).toBe(`${name}=; ${attributes}`)

    const clear = await setCookieOf(handlers.destroy, { cookie }, `${name}=${live}`)
    expect(clear.startsWith(`${name}=; Max-Age=0; `)).toBe(true)
    expect(clear.replace("Max-Age=0; ", "").replace("Expires=Thu, 01 Jan 1970 00:00:00 GMT; ", ""))
      .toBe(`${name}=; ${attributes}`)
  })

  it("OW-21: a cookie that is no id is cleared by destroy too, and so are duplicates", async () => {
    for (const cookie of ["__Host-id=garbage", `__Host-id=${live}; __Host-id=${live}`]) {
      expect(await setCookieOf(handlers.destroy, {}, cookie)).toMatch(/^__Host-id=; Max-Age=0; /)
    }
  })

  const lifetimeOf = (line: string) => ({
    maxAge: Number(/Max-Age=(\d+)/.exec(line)?.[1]),
    expires: Date.parse(/Expires=([^;]+)/.exec(line)?.[1] ?? "")
  })

  it("OW-10 RFC-03: a persistent cookie agrees with the store's deadline, and moves with it", async () => {
    const before = Date.now()
    const { dispose, handler } = webOf(handlers.write, { persistent: true, idleTimeout: "1 hour" })
    const first = await handler(new Request("http://localhost/"))
    await dispose()
    const line = first.headers.getSetCookie()[0]!
    const { expires, maxAge } = lifetimeOf(line)
    expect(maxAge).toBe(3600)
    expect(expires).toBeGreaterThanOrEqual(before + 3_599_000)
    expect(expires).toBeLessThanOrEqual(Date.now() + 3_601_000)
    expect(line).toMatch(/Expires=(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT/)
  })

  it("a write under a persistent cookie sends it again", async () => {
    const { dispose, handler } = webOf(handlers.write, { persistent: true })
    const first = await handler(new Request("http://localhost/"))
    const cookie = first.headers.getSetCookie()[0]!.split(";")[0]!
    const second = await handler(new Request("http://localhost/", { headers: { cookie } }))
    await dispose()
    expect(second.headers.getSetCookie()[0]).toMatch(new RegExp(`^${cookie}; Max-Age=1800; `))
    expect(second.headers.get("cache-control")).toBe("no-store")
  })

  it.each(["Asia/Kathmandu", "America/St_Johns", "UTC"])(
    "RFC-03: in %s the cookie's time is GMT, in English",
    async (zone) => {
      const before = process.env.TZ
      process.env.TZ = zone
      try {
        const line = await setCookieOf(handlers.write, { persistent: true })
        const { expires, maxAge } = lifetimeOf(line)
        expect(line).toMatch(/Expires=(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT/)
        expect(Math.abs(expires - Date.now() - maxAge * 1000)).toBeLessThan(10_000)
      } finally {
        if (before === undefined) delete process.env.TZ
        else process.env.TZ = before
      }
    }
  )

  it("RFC-04 ASVS-3.3.5: the longest name and an id are far from 4096 bytes", async () => {
    const line = await setCookieOf(handlers.write, { cookie: { name: "n".repeat(256) } })
    expect(line.split(";")[0]!.length).toBe(256 + 1 + 54)
  })

  it("RFC-03: no cookie outlives 400 days, whatever the session does", async () => {
    const line = await setCookieOf(handlers.forever)
    expect(lifetimeOf(line).maxAge).toBe(34_560_000)
  })

  it("remembering one session makes its cookie persistent", async () => {
    const line = await setCookieOf(handlers.remember)
    expect(lifetimeOf(line).maxAge).toBe(864_000)
  })

  /** The app under TestClock, with a store that tells what it was asked. */
  const underTestClock = <A, E>(
    options: Session.Options,
    body: (send: (path: string, cookie?: string) => Effect.Effect<Response>, probe: Probe) => Effect.Effect<A, E>
  ) => {
    const probe = new Probe()
    return Effect.gen(function*() {
      const app = HttpRouter.empty.pipe(
        HttpRouter.get("/write", handlers.write),
        HttpRouter.get("/expires-at", handlers["expires-at"]),
        HttpRouter.use(SessionHttp.middleware(AppSession))
      )
      const handler = HttpApp.toWebHandlerRuntime(yield* Effect.runtime<Session.Manager<AppSession>>())(app)
      return yield* body(
        (path, cookie) =>
          Effect.promise(() =>
            handler(new Request(`http://localhost${path}`, cookie === undefined ? {} : { headers: { cookie } }))
          ),
        probe
      )
    }).pipe(
      Effect.provide(AppSession.layer(options).pipe(Layer.provide(probe.layer))),
      Effect.provide(TestContext.TestContext),
      Effect.runPromise
    )
  }

  const expiresAt = (response: Response) =>
    Effect.map(Effect.promise(() => response.json()), (option: { readonly value: string }) => Date.parse(option.value))

  it("OW-10 REG-C20: a touch moves store and persistent cookie together, and is not to be cached", () =>
    underTestClock({ persistent: true, idleTimeout: "30 minutes" }, (send, probe) =>
      Effect.gen(function*() {
        const first = yield* send("/write")
        expect(lifetimeOf(first.headers.getSetCookie()[0]!)).toEqual({ maxAge: 1800, expires: 1_800_000 })
        const cookie = first.headers.getSetCookie()[0]!.split(";")[0]!

        yield* TestClock.adjust("2 minutes") // less than a tenth of the idle timeout
        const early = yield* send("/expires-at", cookie)
        expect(early.headers.getSetCookie()).toEqual([])
        expect(early.headers.get("cache-control")).toBeNull()

        yield* TestClock.adjust("2 minutes")
        const late = yield* send("/expires-at", cookie)
        expect(probe.operations).toEqual(["insert", "load", "load", "touch"])
        expect(late.headers.getSetCookie()).toHaveLength(1)
        const [line] = late.headers.getSetCookie()
        expect(line!.startsWith(`${cookie}; Max-Age=1800; Path=/; Expires=`)).toBe(true)
        expect(late.headers.get("cache-control")).toBe("no-store")
        expect(late.headers.get("vary")).toBe("Cookie")
        expect(yield* expiresAt(yield* send("/expires-at", cookie))).toBe(lifetimeOf(line!).expires)
      })))

  it("a touch of a session that ends with the browser sets no cookie", () =>
    underTestClock({ idleTimeout: "30 minutes" }, (send, probe) =>
      Effect.gen(function*() {
        const cookie = (yield* send("/write")).headers.getSetCookie()[0]!.split(";")[0]!
        yield* TestClock.adjust("4 minutes")
        const response = yield* send("/expires-at", cookie)
        expect(probe.operations).toEqual(["insert", "load", "touch"])
        expect(response.headers.getSetCookie()).toEqual([])
        expect(response.headers.get("cache-control")).toBeNull()
      })))

  it("the absolute timeout bounds the cookie as it bounds the record", () =>
    underTestClock(
      { persistent: true, idleTimeout: "30 minutes", absoluteTimeout: "40 minutes" },
      (send) =>
        Effect.gen(function*() {
          const cookie = (yield* send("/write")).headers.getSetCookie()[0]!.split(";")[0]!
          yield* TestClock.adjust("20 minutes")
          const response = yield* send("/write", cookie)
          expect(lifetimeOf(response.headers.getSetCookie()[0]!)).toEqual({ maxAge: 1200, expires: 2_400_000 })
        })
    ))

  it("a touch that fails leaves response and cookie as they are", () =>
    underTestClock({ persistent: true, idleTimeout: "30 minutes" }, (send, probe) =>
      Effect.gen(function*() {
        const cookie = (yield* send("/write")).headers.getSetCookie()[0]!.split(";")[0]!
        yield* TestClock.adjust("4 minutes")
        probe.failing = { touch: "Unavailable" }
        const response = yield* send("/expires-at", cookie)
        expect(response.status).toBe(200)
        expect(response.headers.getSetCookie()).toEqual([])
      })))
})

// ---------------------------------------------------------------------------
// reading
// ---------------------------------------------------------------------------

it("REG-C8: 4 MiB of the worst are read in no time: the reader is linear", () => {
  const size = 4 * 1024 * 1024
  for (const worst of [";", "=", " ", "; ", "\"\\", "a=a;", "__Host-id;", "__Host-id", "__Host-id =", " __Host-i;"]) {
    const header = `${worst.repeat(size / worst.length)};__Host-id=v`
    const start = performance.now()
    expect(SessionCookie.read("__Host-id", header)).toEqual(["v"])
    expect(performance.now() - start).toBeLessThan(2000) // a quadratic one takes hours
  }
})

describe("reader", () => {
  const read = (header: string | undefined) => SessionCookie.read("__Host-id", header)
  const absent: ReadonlyArray<string> = []
  const found = (...values: ReadonlyArray<string>) => values

  it.each([
    ["nothing", undefined, absent],
    ["an empty header", "", absent],
    ["the name without a value", "__Host-id", absent],
    ["the name without a value, elsewhere", "a=b; __Host-id; c=d", absent],
    ["an empty value", "__Host-id=", found("")],
    ["the cookie alone", "__Host-id=v", found("v")],
    ["the cookie among others", "a=b; __Host-id=v; c=d", found("v")],
    ["no space after the semicolon", "a=b;__Host-id=v", found("v")],
    ["more than one space", "a=b;   __Host-id=v", found("v")],
    ["an equals sign in the value", "__Host-id=v=w", found("v=w")],
    ["a trailing semicolon", "__Host-id=v;", found("v")],
    ["a trailing space belongs to the value", "__Host-id=v ; a=b", found("v ")],
    ["quotes belong to the value", "__Host-id=\"v\"", found("\"v\"")],
    ["percent signs belong to the value", "__Host-id=%41", found("%41")],
    ["the name as another's value", "a=__Host-id=v", absent],
    ["the name within a name", "x__Host-id=v; __Host-idx=w", absent],
    ["a space before the equals sign", "__Host-id =v", absent],
    ["a tab before the name", "a=b;\t__Host-id=v", absent],
    ["twice", "__Host-id=v; __Host-id=w", found("v", "w")],
    ["twice the same", "__Host-id=v; __Host-id=v", found("v", "v")],
    ["twice, one empty", "__Host-id=; __Host-id=v", found("", "v")],
    ["thrice, far apart", `__Host-id=v; ${"a=b; ".repeat(500)}__Host-id=v; __Host-id=x`, found("v", "v", "x")],
    ["more than four are five", "__Host-id=v;".repeat(1000), found("v", "v", "v", "v", "v")],
    ["RFC-12 a nameless cookie", "=__Host-id=v", absent],
    ["a comma is no separator", "a=b, __Host-id=v", absent]
  ])("%s", (_, header, expected) => {
    expect(read(header)).toEqual(expected)
  })
})
