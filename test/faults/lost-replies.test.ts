/** Requests whose write was done and whose answer was lost, or the other way round, on every backend. */
import { expect, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { SessionStore } from "../../src/SessionStore.js"
import * as Faults from "../faults.js"
import {
  App,
  cookieOf,
  elsewhere,
  increment,
  increments,
  issued,
  keyOf,
  outcome,
  request,
  stored,
  type World
} from "../handle/world.js"
import { backends, type Line } from "./lines.js"

class Wire extends Context.Tag("test/Wire")<Wire, Line>() {}

/** Requests over a line, all of a test's own but the store. */
const worldOn = (line: Line) =>
  Effect.gen(function*() {
    const faults = Faults.make()
    const manager = (store: Layer.Layer<SessionStore>) =>
      Effect.map(
        Layer.build(Layer.provide(App.layer({ idleTimeout: "1 minute" }), store)),
        Context.get(App.Manager)
      )
    const world: World = {
      store: line.direct,
      faults,
      app: yield* manager(Layer.provide(faults.layer, Layer.succeed(SessionStore, line.store))),
      other: yield* manager(Layer.succeed(SessionStore, line.direct)),
      records: Effect.dieMessage("nobody counts here")
    }
    return world
  })

for (const backend of backends) {
  layer(Layer.scoped(Wire, Effect.orDie(backend.open)), { excludeTestServices: true })(backend.name, (it) => {
    /** In the end the line has carried what the store was asked, and nothing twice. */
    const rule = (name: string, body: (world: World, line: Line) => Effect.Effect<unknown, unknown>) =>
      it.scoped(name, () =>
        Effect.gen(function*() {
          const line = yield* Wire
          const world = yield* worldOn(line)
          // every script is known, every connection open
          yield* request(
            world.app,
            yield* issued(world),
            (handle) => increment(handle).pipe(Effect.zipRight(handle.save), Effect.zipRight(handle.destroy))
          )
          const before = line.sent?.() ?? 0
          world.faults.calls.length = 0
          yield* body(world, line)
          if (line.sent) expect(line.sent() - before).toBe(world.faults.calls.length)
        }))

    for (const { foreign, says } of [{ foreign: 7, says: "done" }, { foreign: 8, says: "unknown" }]) {
      rule(
        `F-G6: applied, the reply lost, ${foreign} commits since: ${says}, and done once`,
        (world, line) =>
          Effect.gen(function*() {
            const cookie = yield* issued(world)
            world.faults.script("replace", line.loseReply(increments(world, cookie, foreign)))
            expect(yield* outcome(request(world.app, cookie, increment))).toBe(says)
            expect((yield* stored(world, cookie)).count).toBe(foreign + 1)
            expect(world.faults.calls).toEqual(["load", "replace", "load"])
          })
      )
    }

    for (const { foreign, says } of [{ foreign: 8, says: "done" }, { foreign: 9, says: "unknown" }]) {
      rule(`F-G6: the request lost, ${foreign} commits since: ${says}`, (world, line) =>
        Effect.gen(function*() {
          const cookie = yield* issued(world)
          world.faults.script("replace", line.loseRequest(increments(world, cookie, foreign)))
          expect(yield* outcome(request(world.app, cookie, increment))).toBe(says)
          expect((yield* stored(world, cookie)).count).toBe(says === "done" ? foreign + 1 : foreign)
        }))
    }

    rule("F-G6: a login whose reply is lost is found by its new id", (world, line) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world, { count: 7 })
        world.faults.script("replace", line.loseReply(increments(world, cookie, 0)))
        const opened = yield* request(world.app, cookie, (handle) => handle.regenerate)
        expect((yield* stored(world, cookieOf(opened))).count).toBe(7)
        expect((yield* stored(world, cookie)).count).toBe(0)
      }))

    rule(
      "F-G6: a new session whose reply is lost is made again, under another id",
      (world, line) =>
        Effect.gen(function*() {
          world.faults.script("insert", line.loseReply())
          const opened = yield* request(world.app, undefined, increment)
          expect((yield* stored(world, cookieOf(opened))).count).toBe(1)
          expect(world.faults.calls).toEqual(["insert", "insert"])
        })
    )

    rule("F-G6: a logout whose reply is lost is one", (world, line) =>
      Effect.gen(function*() {
        const cookie = yield* issued(world)
        world.faults.script("remove", line.loseReply())
        const opened = yield* request(world.app, cookie, (handle) => handle.destroy)
        expect(cookieOf(opened)).toBe("clear")
        expect(world.faults.calls).toEqual(["load", "remove", "load"])
        expect(yield* line.direct.load(keyOf(cookie))).toEqual(Option.none())
      }))

    for (
      const [what, handler] of [
        ["an update", increment],
        ["a login", (handle: Parameters<typeof increment>[0]) => handle.regenerate]
      ] as const
    ) {
      rule(
        `F-G6: ${what} that the network held up until after the logout changes nothing`,
        (world, line) =>
          Effect.gen(function*() {
            const cookie = yield* issued(world)
            const late = line.hold(elsewhere(world, cookie, (handle) => handle.destroy))
            world.faults.script("replace", late.fault)
            expect(yield* outcome(request(world.app, cookie, handler))).toBe("Gone")
            yield* late.release
            expect(yield* line.direct.load(keyOf(cookie))).toEqual(Option.none())
          })
      )
    }

    rule(
      "F-G6: a new session that the network held up until after its logout is nobody's",
      (world, line) =>
        Effect.gen(function*() {
          const late = line.hold()
          world.faults.script("insert", late.fault)
          const cookie = cookieOf(yield* request(world.app, undefined, increment))
          yield* elsewhere(world, cookie, (handle) => handle.destroy)
          yield* late.release
          expect(yield* line.direct.load(keyOf(cookie))).toEqual(Option.none())
        })
    )
  })
}
