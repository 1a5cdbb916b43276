/** What is checked in the source, and in the documentation. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs"
import * as path from "node:path"
import { problems, render } from "../../scripts/security.mjs"
import { issued, recordOf, rule } from "../handle/world.js"

const root = path.resolve(import.meta.dirname, "../..")

/** The source of these rooms, without comments. */
const sourceOf = (...rooms: ReadonlyArray<string>) =>
  rooms.flatMap((room) =>
    fs.readdirSync(path.join(root, room), { recursive: true })
      .map((file) => path.join(room, String(file)))
      .filter((file) => file.endsWith(".ts"))
      .map((file) => {
        const text = fs.readFileSync(path.join(root, file), "utf8")
        return [file, text.replaceAll(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, "")] as const
      })
  )

const filesWith = (sources: ReadonlyArray<readonly [string, string]>, pattern: RegExp) =>
  sources.filter(([, text]) => pattern.test(text)).map(([file]) => file)

describe("the source", () => {
  const core = [
    ...sourceOf("src/http", "src/schema", "src/internal"),
    ...sourceOf("src").filter(([file]) => path.dirname(file) === "src")
  ]

  it("ASVS-11.2.1 ASVS-11.5.1 REG-A9: ids and tokens are made by Node's generator, in one file, and by nothing weaker", () => {
    expect(core.length).toBeGreaterThan(20)
    expect(filesWith(core, /from "(node:)?crypto"|globalThis\.crypto|webcrypto/).sort()).toEqual([
      "src/internal/crypto.ts",
      "src/internal/flask/ids.ts" // the HMAC of Flask's signed ids
    ])
    const weak = filesWith(core, /Math\.random|randomUUID|process\.pid|hrtime/)
    // They pause for random times before they try again.
    expect(weak.filter((file) => !["src/internal/sql/run.ts", "src/internal/flask/files.ts"].includes(file))).toEqual(
      []
    )
  })

  it("REG-F1 ASVS-1.5.2: no code is made of data, and no codec but JSON and msgpack is there", () => {
    const every = sourceOf("src")
    expect(
      filesWith(every, /\beval\(|new Function\b|node:vm|node:v8|structuredClone|deserialize/)
        .filter((file) => file !== "src/redis/Commands.ts")
    ).toEqual([]) // whose `eval` is a command of Redis
    expect(filesWith(every, /from "(node-serialize|superjson|seroval|devalue|cbor|bson)/)).toEqual([])
  })

  it("REG-E10: no request's state is ambient: no AsyncLocalStorage, and nothing of a session at module level", () => {
    expect(filesWith(sourceOf("src"), /AsyncLocalStorage|node:async_hooks/)).toEqual([])
  })
})

describe("the documentation", () => {
  const page = () => fs.readFileSync(path.join(root, "docs/security.md"), "utf8")

  it("each row of the bar is claimed and carried by a test, or has its reason", () => {
    expect(problems()).toEqual([])
  })

  it("docs/security.md has the table as it is: `node scripts/security.mjs` writes it", () => {
    const { rendered, text } = render()
    expect(text === rendered).toBe(true)
  })

  rule("ASVS-7.1.1: the lifetimes that it names are those of the code", (world) =>
    Effect.gen(function*() {
      const { record } = Option.getOrThrow(yield* recordOf(world, yield* issued(world)))
      expect(record.idleTimeout).toBe(30 * 60_000)
      expect(record.absoluteTimeout).toBe(24 * 60 * 60_000)
      expect(page()).toContain("30 minutes without use")
      expect(page()).toContain("24 hours after login")
    }))
})
