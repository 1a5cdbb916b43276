/** How the id travels: by the cookie alone, past caches and proxies. */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as PayloadCodec from "effect-session/schema/PayloadCodec"
import * as Effect from "effect/Effect"
import { AppSession, handlers } from "../http/app.js"
import { bytesOf, forged, idOf, makeWorld, unknown } from "./world.js"

describe("the cookie alone", () => {
  it.scoped("OW-04 ASVS-14.2.1: a live id in URL, path, body or another header opens nothing, and is not looked up", () =>
    Effect.gen(function*() {
      const { issue, node, probe } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      const id = idOf(cookie)
      const names = ["__Host-id", "id", "sid", "session", "sessionid", "JSESSIONID"]
      for (const name of names) {
        expect((yield* send(`/read?${name}=${id}`)).body).toBe("0")
        expect((yield* send(`/read;${name}=${id}`)).body).toBe("0")
        const form = { method: "POST", body: new URLSearchParams({ [name]: id }) }
        expect((yield* send("/read", undefined, form)).body).toBe("0")
        for (const header of ["X-Session-Id", "X-Auth-Token", name.replaceAll("_", "X")]) {
          expect((yield* send("/read", undefined, { headers: { [header]: id } })).body).toBe("0")
        }
      }
      for (const value of [`Bearer ${id}`, `Basic ${btoa(`${id}:`)}`, id]) {
        expect((yield* send("/read", undefined, { headers: { authorization: value } })).body).toBe("0")
      }
      for (const header of ["cookie2", "x-cookie", "set-cookie"]) {
        expect((yield* send("/read", undefined, { headers: { [header]: cookie } })).body).toBe("0")
      }
      expect(probe.operations).toEqual(["insert"]) // the session's own
      expect((yield* send("/read", cookie)).body).toBe("1")
    }))

  it.scoped("ASVS-3.3.4 OW-06 REG-A12: nothing of an id is in a response but its HttpOnly Set-Cookie", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const send = yield* node()
      const paths = Object.keys(handlers).filter((path) =>
        !/hang|endless|raw-response|own-cookie|failing-hook/.test(path)
      )
      let set = 0
      for (const path of paths) {
        for (const sent of [undefined, yield* issue()]) {
          const { body, headers } = yield* send(`/${path}`, sent)
          const lines = headers.getSetCookie().filter((line) => line.startsWith("__Host-id="))
          const ids = [...lines.map((line) => line.split(";")[0]!), ...(sent === undefined ? [] : [sent])]
          set += lines.length
          expect(lines.every((line) => line.includes("; HttpOnly"))).toBe(true)
          headers.delete("set-cookie")
          const rest = `${body} ${JSON.stringify([...headers])}`
          for (const id of ids.filter((cookie) => idOf(cookie).length === 54)) {
            for (const half of [bytesOf(id).subarray(0, 16), bytesOf(id).subarray(16)]) {
              for (const encoding of ["base64url", "base64", "hex"] as const) {
                expect(rest).not.toContain(half.toString(encoding).slice(0, 16))
              }
            }
          }
        }
      }
      expect(set).toBeGreaterThan(20)
    }))
})

describe("past a proxy", () => {
  it.scoped("H-35: what pretends to be a proxy's changes neither the cookie nor what is read", () =>
    Effect.gen(function*() {
      const { issue, node } = yield* makeWorld
      const send = yield* node()
      const cookie = yield* issue({ n: 1 })
      const attributes = "; Path=/; HttpOnly; Secure; SameSite=Lax"
      const headers: ReadonlyArray<Record<string, string>> = [
        { "x-forwarded-proto": "http" },
        { "x-forwarded-proto": "https, http" },
        { "x-forwarded-proto": "\"; Domain=evil.test" },
        { "forwarded": "for=evil.test;proto=http;host=evil.test" },
        { "x-forwarded-host": "evil.test" },
        { "host": "evil.test" },
        { "x-forwarded-prefix": "/evil", "x-original-url": "/destroy", "x-rewrite-url": "/destroy" },
        { "x-http-method-override": "DELETE" },
        { "front-end-https": "off", "x-forwarded-ssl": "off" }
      ]
      for (const sent of headers) {
        const written = yield* send("/write", undefined, { headers: sent })
        expect(written.headers.getSetCookie()).toEqual([`${written.cookie}${attributes}`])
        expect((yield* send("/read", cookie, { headers: sent })).body).toBe("1")
      }
    }))
})

/** A shared cache that goes by the response's headers alone, and keeps whatever it may. */
const sharedCache = () => {
  const kept: Array<{ path: string; vary: ReadonlyArray<string>; cookie: string; body: string; setCookie: boolean }> =
    []
  return {
    find: (path: string, cookie = "") =>
      kept.find((entry) => entry.path === path && (!entry.vary.includes("cookie") || entry.cookie === cookie)),
    offer: (path: string, cookie = "", body: string, headers: Headers) => {
      const vary = (headers.get("vary") ?? "").toLowerCase().split(",").map((name) => name.trim())
      if (vary.includes("*") || /no-store|private/.test(headers.get("cache-control") ?? "")) return
      kept.push({ path, vary, cookie, body, setCookie: headers.has("set-cookie") })
    }
  }
}

describe("past a shared cache", () => {
  it.scoped("REG-C20 ASVS-14.2.2 ASVS-14.3.2 OW-22: no user gets another's cookie or page, whatever handlers allow", () =>
    Effect.gen(function*() {
      const { node } = yield* makeWorld
      const cacheable = Effect.gen(function*() {
        const session = yield* AppSession
        return HttpServerResponse.text(`for ${yield* session.get("user")}`, {
          headers: { "cache-control": "public, max-age=3600" }
        })
      })
      const login = (user: string) =>
        Effect.gen(function*() {
          const session = yield* AppSession
          yield* session.set("user", user)
          return HttpServerResponse.text("in", { headers: { "cache-control": "public, max-age=3600" } })
        })
      const origin = yield* node({ page: cacheable, "login-a": login("a"), "login-b": login("b") }, {
        persistent: true
      })
      const cache = sharedCache()
      const hits: Array<string> = []
      const through = (path: string, cookie?: string) =>
        Effect.gen(function*() {
          const hit = cache.find(path, cookie)
          if (hit !== undefined) {
            expect(hit.setCookie).toBe(false)
            hits.push(path)
            return { body: hit.body, cookie: undefined }
          }
          const { body, cookie: set, headers } = yield* origin(path, cookie)
          cache.offer(path, cookie, body, headers)
          return { body, cookie: set }
        })
      const a = (yield* through("/login-a")).cookie!
      const b = (yield* through("/login-b")).cookie!
      expect((yield* through("/login-a")).cookie).not.toBe(a) // never answered from the cache
      for (const [cookie, page] of [[a, "for a"], [b, "for b"], [undefined, "for undefined"]] as const) {
        expect((yield* through("/page", cookie)).body).toBe(page)
        expect((yield* through("/page", cookie)).body).toBe(page)
      }
      yield* through("/write", a)
      expect((yield* through("/write", b)).body).toBe("written")
      expect(hits.length).toBeGreaterThan(0) // the cache does keep what it may
      expect(new Set(hits)).toEqual(new Set(["/page"]))
    }))
})

describe("no decoder", () => {
  it.scoped("REG-C11: sees what comes in a cookie, nor a record before the verifier was found right", () =>
    Effect.gen(function*() {
      const { issue } = yield* makeWorld
      const codec = PayloadCodec.msgpack()
      let decoded = 0
      const spy: PayloadCodec.PayloadCodec = {
        ...codec,
        decode: (bytes) => {
          decoded++
          return codec.decode(bytes)
        }
      }
      const send = yield* (yield* makeWorld).node({}, { codec: spy })
      const live = (yield* send("/write")).cookie!
      decoded = 0
      const tenBytes = Buffer.from("dfffffffffdfffffffff", "hex") // maps of 4 billion, in a cookie
      for (
        const cookie of [
          yield* issue(), // of another store
          forged(live),
          unknown,
          `__Host-id=${tenBytes.toString("base64url")}`,
          `__Host-id=${Buffer.concat([tenBytes, Buffer.alloc(30)]).toString("base64url")}`
        ]
      ) {
        yield* send("/read", cookie)
        yield* send("/destroy", cookie)
      }
      expect(decoded).toBe(0)
      yield* send("/read", live)
      expect(decoded).toBe(1)
    }))
})
