/** What holds for every way into HTTP. */
import { SessionError, SessionUnavailable } from "effect-session"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { AppSession, events, happened, type Name, Probe } from "./app.js"
import { type Send, styles } from "./styles.js"

const unknownId = "A".repeat(54)
const garbage = "%00'; DROP TABLE sessions--"
const attributes = "; Path=/; HttpOnly; Secure; SameSite=Lax"
const cleared = "__Host-id=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax"

const cookieOf = (response: Response): string => {
  const ours = response.headers.getSetCookie().filter((line) => line.startsWith("__Host-id="))
  expect(ours).toHaveLength(1)
  return ours[0]!.split(";")[0]!
}

describe.each(styles)("$name", ({ seesTheEnd, start }) => {
  const probe = new Probe()
  const scope = Effect.runSync(Scope.make())
  let send: Send

  const get = (name: Name | "nowhere", cookie?: string, init?: RequestInit) =>
    send(`/${name}`, { ...init, headers: { ...(cookie === undefined ? {} : { cookie }), ...init?.headers } })

  const signedIn = async () => cookieOf(await get("write"))
  const countOf = async (cookie: string) => Number(await (await get("read", cookie)).text())

  beforeAll(async () => {
    const sessions = AppSession.layer().pipe(
      Layer.provide(probe.layer),
      Layer.orDie,
      Layer.merge(Logger.remove(Logger.defaultLogger)) // defects are part of the tests
    )
    send = await Effect.runPromise(Scope.extend(start({ sessions }), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  beforeEach(() => {
    events.length = 0
  })

  // -------------------------------------------------------------------------
  // what costs nothing
  // -------------------------------------------------------------------------

  it.each([undefined, `__Host-id=${unknownId}`, `__Host-id=${garbage}`, "a=b"])(
    "a path without the session costs nothing, whatever cookie came: %s",
    async (cookie) => {
      const [response, operations] = await probe.during(() => get("none", cookie))
      expect([response.status, await response.text()]).toEqual([200, "ok"])
      expect(operations).toEqual([])
      expect(response.headers.getSetCookie()).toEqual([])
      expect(response.headers.get("vary")).toBeNull()
      expect(response.headers.get("cache-control")).toBeNull()
    }
  )

  it("a path without the session costs nothing under a live cookie", async () => {
    const cookie = await signedIn()
    const [response, operations] = await probe.during(() => get("none", cookie))
    expect(operations).toEqual([])
    expect(response.headers.getSetCookie()).toEqual([])
    expect(response.headers.get("vary")).toBeNull()
  })

  it("a path that nobody serves costs nothing", async () => {
    const cookie = await signedIn()
    const [response, operations] = await probe.during(() => get("nowhere", cookie))
    expect(response.status).toBe(404)
    expect(operations).toEqual([])
    expect(response.headers.getSetCookie()).toEqual([])
    expect(response.headers.get("vary")).toBeNull()
  })

  it.each([[undefined, 0], [`__Host-id=${garbage}`, 0], [`__Host-id=${unknownId}`, 1]] as const)(
    "an anonymous read under %s is %d load(s) and Vary, no cookie",
    async (cookie, loads) => {
      const [response, operations] = await probe.during(() => get("read", cookie))
      expect([response.status, await response.text()]).toEqual([200, "0"])
      expect(operations).toEqual(Array(loads).fill("load"))
      expect(response.headers.getSetCookie()).toEqual([])
      expect(response.headers.get("vary")).toBe("Cookie")
      expect(response.headers.get("cache-control")).toBeNull()
    }
  )

  it("a read under a live cookie is one load, and no touch so soon", async () => {
    const cookie = await signedIn()
    const [response, operations] = await probe.during(() => get("read", cookie))
    expect(await response.text()).toBe("1")
    expect(operations).toEqual(["load"])
    expect(response.headers.getSetCookie()).toEqual([])
    expect(response.headers.get("vary")).toBe("Cookie")
  })

  // -------------------------------------------------------------------------
  // what the response carries
  // -------------------------------------------------------------------------

  it("OW-05 OW-06 OW-07 OW-10 ASVS-3.3.4 NI-08: the first write is one insert and one cookie with the default attributes", async () => {
    const [response, operations] = await probe.during(() => get("write"))
    expect(await response.text()).toBe("written")
    expect(operations).toEqual(["insert"])
    expect(response.headers.getSetCookie()).toEqual([
      expect.stringMatching(new RegExp(`^__Host-id=[A-Za-z0-9_-]{54}${attributes}$`))
    ])
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(response.headers.get("cache-control")).toBe("no-store")
  })

  it("a later write is one load, one replace, and no cookie", async () => {
    const cookie = await signedIn()
    const [response, operations] = await probe.during(() => get("write", cookie))
    expect(operations).toEqual(["load", "replace"])
    expect(response.headers.getSetCookie()).toEqual([])
    expect(response.headers.get("cache-control")).toBeNull()
    expect(await countOf(cookie)).toBe(2)
  })

  it("OW-11: a write under an unknown id makes another id", async () => {
    const cookie = cookieOf(await get("write", `__Host-id=${unknownId}`))
    expect(cookie).not.toContain(unknownId)
  })

  it("OW-22 REG-C20 REG-C21 ASVS-14.3.2: Vary is merged, no-store stands over the handler's own, other headers are as they were", async () => {
    const response = await get("write-own-headers")
    expect(await response.text()).toBe("written")
    expect(response.headers.get("vary")).toBe("Accept-Encoding, Cookie")
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(response.headers.get("etag")).toBe("\"e\"")
    expect(response.headers.get("x-own")).toBe("1")
    expect(response.headers.get("x-two")).toBe("a, b")
    expect(response.headers.get("content-language")).toBe("en")
    expect(response.headers.getSetCookie()).toHaveLength(2)
    expect(response.headers.getSetCookie()).toContain("theme=dark; Path=/")
  })

  it("the handler's Cache-Control stays where no cookie is set", async () => {
    const response = await get("write-own-headers", await signedIn())
    expect(response.headers.get("cache-control")).toBe("public, max-age=60")
    expect(response.headers.getSetCookie()).toEqual(["theme=dark; Path=/"])
  })

  it.each([["write-vary-star", "*"], ["write-vary-cookie", "accept, cookie"]] as const)(
    "%s: a Vary that says it already stays",
    async (name, vary) => {
      expect((await get(name)).headers.get("vary")).toBe(vary)
    }
  )

  it.each(
    [
      ["write-204", 204, ""],
      ["write-redirect", 303, ""],
      ["write-404", 404, "no such thing"],
      ["write-raw", 200, "raw"],
      ["write-from-web", 200, "web"],
      ["write-stream", 200, "abc"]
    ] as const
  )("REG-C21: %s carries one cookie, Vary and no-store", async (name, status, body) => {
    const [response, operations] = await probe.during(() => get(name))
    expect([response.status, await response.text()]).toEqual([status, body])
    expect(operations).toEqual(["insert"])
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it("fromWeb keeps the cookies of both", async () => {
    const response = await get("write-from-web")
    expect(response.headers.getSetCookie().map((line) => line.split("=")[0]).sort()).toEqual(["__Host-id", "theme"])
  })

  it("REG-C21: HEAD is written, and answered with the head alone", async () => {
    const [response, operations] = await probe.during(() => get("write", undefined, { method: "HEAD" }))
    expect([response.status, await response.text()]).toEqual([200, ""])
    expect(operations).toEqual(["insert"])
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it("RFC-02: a cookie of the handler with the session's name gives way", async () => {
    const response = await get("write-own-cookie")
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it("fibers of one request share the session, and its one commit", async () => {
    const [response, operations] = await probe.during(() => get("write-in-parallel"))
    expect(await response.text()).toBe("3 u")
    expect(operations).toEqual(["insert"])
    expect(await countOf(cookieOf(response))).toBe(3)
  })

  it("OW-30: Secure does not depend on what a proxy says", async () => {
    const response = await get("write", undefined, { headers: { "x-forwarded-proto": "http" } })
    expect(response.headers.getSetCookie()[0]).toContain("; Secure;")
  })

  it("REG-C20: a 304 whose handler read the session varies by cookie", async () => {
    const response = await get("read-304", await signedIn())
    expect(response.status).toBe(304)
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(response.headers.get("etag")).toBe("\"1\"")
  })

  it("RFC-02: save, regenerate, destroy and write in one request are one cookie, the last one", async () => {
    const response = await get("set-destroy-write", await signedIn())
    expect(await countOf(cookieOf(response))).toBe(7)
  })

  it("OW-21: destroy clears with the very attributes of the setting", async () => {
    const cookie = await signedIn()
    const [response, operations] = await probe.during(() => get("destroy", cookie))
    expect(operations).toEqual(["load", "remove"])
    expect(response.headers.getSetCookie()).toEqual([cleared])
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(await (await get("is-new", cookie)).text()).toBe("true")
  })

  it("destroy without a cookie clears nothing", async () => {
    const [response, operations] = await probe.during(() => get("destroy"))
    expect(operations).toEqual([])
    expect(response.headers.getSetCookie()).toEqual([])
  })

  it("OW-13 REG-A4: regenerate carries the data to a new cookie, and the old one opens nothing", async () => {
    const before = await signedIn()
    const after = cookieOf(await get("regenerate", before))
    expect(after).not.toBe(before)
    expect(await countOf(after)).toBe(1)
    expect(await countOf(before)).toBe(0)
  })

  it("Session and AppSession are one session", async () => {
    expect(await (await get("is-new", await signedIn())).text()).toBe("false")
  })

  // -------------------------------------------------------------------------
  // how a handler ends
  // -------------------------------------------------------------------------

  it("RFC-18: a typed failure commits, and carries the cookie", async () => {
    const response = await get("fail")
    expect(response.status).toBe(418)
    expect(await response.json()).toEqual({ _tag: "Teapot" })
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it("a typed failure commits when other fibers of the handler were interrupted for it", async () => {
    const cookie = await signedIn()
    expect((await get("fail-in-parallel", cookie)).status).toBe(418)
    expect(await countOf(cookie)).toBe(2)
  })

  it("a response thrown as a defect is a response", async () => {
    const response = await get("die-with-response")
    expect([response.status, await response.text()]).toEqual([403, "thrown"])
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it("a defect that knows its response discards where the middleware sees it, else it commits like the failure it looks like", async () => {
    const cookie = await signedIn()
    expect((await get("die-respondable", cookie)).status).toBe(418)
    expect(await countOf(cookie)).toBe(seesTheEnd ? 1 : 2)
  })

  it("a failure without a response commits where the middleware sees it, else it discards like the defect it looks like", async () => {
    const cookie = await signedIn()
    expect((await get("fail-mute", cookie)).status).toBe(500)
    expect(await countOf(cookie)).toBe(seesTheEnd ? 2 : 1)
  })

  it.each([["die", 500], ["interrupt", 503]] as const)("%s discards, and its response varies", async (name, status) => {
    const [fresh, none] = await probe.during(() => get(name))
    expect(fresh.status).toBe(status)
    expect(fresh.headers.getSetCookie()).toEqual([])
    expect(fresh.headers.get("vary")).toBe("Cookie")
    expect(none).toEqual([])

    const cookie = await signedIn()
    const [response, operations] = await probe.during(() => get(name, cookie))
    expect(response.headers.getSetCookie()).toEqual([])
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(operations).toEqual(["load"])
    expect(await countOf(cookie)).toBe(1)
  })

  it("a defect keeps what save did, and its cookie", async () => {
    const [response, operations] = await probe.during(() => get("save-die"))
    expect(response.status).toBe(500)
    expect(operations).toEqual(["insert"])
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it("a client that goes away discards", async () => {
    const cookie = await signedIn()
    const controller = new AbortController()
    const request = get("hang", cookie, { signal: controller.signal }).catch(() => "aborted")
    await happened("hang:waiting")
    const [, operations] = await probe.during(async () => {
      controller.abort()
      await happened("hang:hook")
    })
    expect(operations).toEqual([])
    expect(await countOf(cookie)).toBe(1)
    await Promise.race([request, new Promise((resolve) => setTimeout(resolve, 50))])
  })

  // -------------------------------------------------------------------------
  // streams
  // -------------------------------------------------------------------------

  it("a client that leaves a stream: written once", async () => {
    const [response, operations] = await probe.during(async () => {
      const controller = new AbortController()
      const response = await get("stream-endless", undefined, { signal: controller.signal })
      const reader = response.body!.getReader()
      expect(new TextDecoder().decode((await reader.read()).value)).toBe("first")
      controller.abort()
      await reader.cancel().catch(() => {})
      await happened("stream-endless:closed")
      await new Promise((resolve) => setTimeout(resolve, 20)) // for a second run of the hook
      return response
    })
    expect(operations).toEqual(["insert"])
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it.each(["stream-write", "stream-first-use"] as const)(
    "%s: a change in a stream is written through",
    async (name) => {
      const cookie = await signedIn()
      const [body, operations] = await probe.during(async () => (await get(name, cookie)).text())
      expect(body).toBe("2")
      expect(operations).toEqual(["load", "replace"])
      expect(await countOf(cookie)).toBe(2)
    }
  )

  it.each(["stream-write", "stream-first-use"] as const)("%s: a session cannot begin in a stream", async (name) => {
    const [response, operations] = await probe.during(() => get(name))
    expect(await response.text()).toBe("HeadersSent")
    expect(operations).toEqual([])
    expect(response.headers.getSetCookie()).toEqual([])
  })

  // -------------------------------------------------------------------------
  // a store that fails
  // -------------------------------------------------------------------------

  const unavailable = JSON.stringify(
    Schema.encodeSync(SessionError)(new SessionUnavailable({ reason: "Rejected", applied: "no" }))
  )

  it.each(
    ["write", "write-204", "write-redirect", "write-raw", "write-stream", "write-from-web", "fail"] as const
  )("%s: a failed commit is the response, exactly the encoded error", async (name) => {
    const response = await probe.broken({ insert: "Rejected" }, () => get(name))
    expect(response.status).toBe(503)
    expect(response.headers.get("content-type")).toBe("application/json")
    expect(await response.text()).toBe(unavailable)
    expect(response.headers.getSetCookie().filter((line) => line.startsWith("__Host-"))).toEqual([])
    expect(response.headers.get("vary")).toBe("Cookie")
  })

  it("a failed commit keeps others' headers and cookies, but what describes the body", async () => {
    const response = await probe.broken({ insert: "Rejected" }, () => get("write-own-headers"))
    const body = await response.text()
    expect(body).toBe(unavailable)
    expect(response.headers.get("x-own")).toBe("1")
    expect(response.headers.get("vary")).toBe("Accept-Encoding, Cookie")
    expect(response.headers.getSetCookie()).toEqual(["theme=dark; Path=/"])
    expect(response.headers.get("content-language")).toBeNull()
    expect(response.headers.get("etag")).toBeNull()
    expect(response.headers.get("cache-control")).toBeNull()
    expect(response.headers.get("content-length") ?? String(body.length)).toBe(String(body.length))
  })

  it("a failed commit to a HEAD has the head of the error", async () => {
    const response = await probe.broken({ insert: "Rejected" }, () => get("write", undefined, { method: "HEAD" }))
    expect([response.status, await response.text()]).toEqual([503, ""])
    expect(response.headers.getSetCookie()).toEqual([])
  })

  it("a commit that dies is a 500, and the client has its answer", async () => {
    const response = await probe.broken({ insert: "Defect" }, () => get("write-own-headers"))
    expect([response.status, await response.text()]).toEqual([500, ""])
    expect(response.headers.get("x-own")).toBe("1")
    expect(response.headers.get("etag")).toBeNull()
    expect(response.headers.getSetCookie()).toEqual(["theme=dark; Path=/"])
  })

  it("another's hook that fails after ours: committed once, and its 500 carries the cookie", async () => {
    const [response, operations] = await probe.during(() => get("write-with-failing-hook"))
    expect(response.status).toBe(500)
    expect(operations).toEqual(["insert"])
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(await countOf(cookieOf(response))).toBe(1)
  })

  it.each(["save", "transact"] as const)(
    "%s: a failure that says nothing was changed is true at the end of the request",
    async (name) => {
      probe.failingOnce = { insert: "Throttled" }
      const [response, operations] = await probe.during(() => get(name))
      expect([response.status, await response.json()]).toMatchObject([503, { reason: "Throttled", applied: "no" }])
      expect(response.headers.getSetCookie()).toEqual([])
      expect(operations).toEqual(["insert"])
    }
  )

  it("a failed load is a typed failure of the handler, and the cookie is left alone", async () => {
    const cookie = await signedIn()
    const response = await probe.broken({ load: "Unavailable" }, () => get("read", cookie))
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({ _tag: "SessionError", reason: "Unavailable", applied: "no" })
    expect(response.headers.getSetCookie()).toEqual([])
    expect(response.headers.get("vary")).toBe("Cookie")
    expect(await countOf(cookie)).toBe(1)
  })

  it("every error of a failed commit decodes by the schema that clients have", async () => {
    for (
      const [reason, status] of [["Timeout", 503], ["Throttled", 503], ["TooLarge", 413], ["Corrupt", 500]] as const
    ) {
      const response = await probe.broken({ insert: reason }, () => get("write"))
      expect(response.status).toBe(status)
      const error = Schema.decodeUnknownSync(SessionError)(await response.json())
      expect(error._tag).toBe("SessionError")
      expect(JSON.stringify(error)).not.toContain("secret")
    }
  })
})
