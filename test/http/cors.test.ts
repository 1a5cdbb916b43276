/** The platform's `cors`, on either side of the session. */
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { AppSession, Probe } from "./app.js"
import { type Options, type Send, styles } from "./styles.js"

const origin = "https://app.example"
const cors = HttpMiddleware.cors({ allowedOrigins: [origin, "https://other.example"], credentials: true })
const varied = (response: Response) => (response.headers.get("vary") ?? "").split(", ").sort()

const suite = (start: (options: Options) => Effect.Effect<Send, never, Scope.Scope>, side: "outside" | "inside") => {
  const probe = new Probe()
  const scope = Effect.runSync(Scope.make())
  let send: Send

  beforeAll(async () => {
    const sessions = AppSession.layer().pipe(Layer.provide(probe.layer), Layer.orDie)
    send = await Effect.runPromise(Scope.extend(start({ sessions, [side]: cors }), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const get = (path: string, init?: RequestInit) => send(path, { ...init, headers: { origin, ...init?.headers } })

  it("a preflight costs nothing and carries neither cookie nor Vary: Cookie", async () => {
    const [response, operations] = await probe.during(() =>
      get("/write", {
        method: "OPTIONS",
        headers: { "access-control-request-method": "POST", "cookie": `__Host-id=${"A".repeat(54)}` }
      })
    )
    expect(response.status).toBe(204)
    expect(response.headers.get("access-control-allow-origin")).toBe(origin)
    expect(operations).toEqual([])
    expect(response.headers.getSetCookie()).toEqual([])
    expect(varied(response)).not.toContain("Cookie")
  })

  it("a path without the session varies by origin alone", async () => {
    const response = await get("/none")
    expect(varied(response)).toEqual(["Origin"])
  })

  it(side === "outside" ? "a write varies by both" : "a write loses Vary: Cookie, which cors sets anew", async () => {
    const response = await get("/write")
    expect(response.status).toBe(200)
    expect(response.headers.get("access-control-allow-origin")).toBe(origin)
    expect(response.headers.get("access-control-allow-credentials")).toBe("true")
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(response.headers.getSetCookie()).toHaveLength(1)
    expect(varied(response)).toEqual(side === "outside" ? ["Cookie", "Origin"] : ["Origin"])
  })

  it("a failed commit can be read by the other origin", async () => {
    const response = await probe.broken({ insert: "Rejected" }, () => get("/write"))
    expect(response.status).toBe(503)
    expect(response.headers.get("access-control-allow-origin")).toBe(origin)
    expect(await response.json()).toMatchObject({ _tag: "SessionError" })
  })
}

describe.each(styles)("$name", ({ hasInside, start }) => {
  describe("cors outside", () => suite(start, "outside"))
  if (hasInside) {
    describe("cors inside", () => suite(start, "inside"))
  }
})
