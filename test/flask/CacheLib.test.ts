import { describe, expect, it } from "@effect/vitest"
import { SessionStore, SessionSweeper } from "effect-session"
import * as CacheLib from "effect-session/flask/CacheLib"
import { changeCacheFile } from "effect-session/internal/flask/files"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll } from "vitest"
import { sharing } from "./sharing.js"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-flask-"))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

sharing({ name: "cachelib", url: `file:${path.join(folder, "cache")}`, isPickled: true, lost: 2 })

describe("cachelib's files", () => {
  const vector = JSON.parse(
    fs.readFileSync(new URL("../fixtures/flask-session/cachelib.json", import.meta.url), "utf8")
  )
  const id = vector.key.slice("session:".length)
  const data = Buffer.from(vector.file_hex.slice(8), "hex")

  const fresh = () => fs.mkdtempSync(path.join(folder, "unit-"))

  for (const hash of ["sha256", "md5"] as const) {
    it.scoped(`are named and written as cachelib does it, by ${hash}`, () =>
      Effect.gen(function*() {
        const directory = fresh()
        const store = yield* Effect.provide(SessionStore, CacheLib.layer({ directory, hash }))
        yield* store.insert(id, data, vector.expires * 1000)
        expect(fs.readdirSync(directory)).toEqual([vector[hash]])
        const file = path.join(directory, vector[hash])
        expect(fs.readFileSync(file).toString("hex")).toBe(vector.file_hex)
        expect(fs.statSync(file).mode & 0o777).toBe(0o600)
        expect(Option.map(yield* store.load(id), ({ expiresAt }) => expiresAt)).toEqual(
          Option.some(vector.expires * 1000)
        )
      }))
  }

  it.scoped("are counted as cachelib counts them, and nothing is left beside them", () =>
    Effect.gen(function*() {
      const directory = fresh()
      const count = path.join(directory, vector.count_file_sha256)
      fs.writeFileSync(count, Buffer.from("0000000080054b012e", "hex")) // 1
      const services = CacheLib.layer({ directory })
      const store = yield* Effect.provide(SessionStore, services)
      for (const key of ["a", "b", "c"]) yield* store.insert(key, data, 60_000)
      yield* store.remove("a")
      yield* store.remove("a")
      expect(fs.readFileSync(count).toString("hex")).toBe("0000000080054a030000002e") // 3
      yield* TestClock.adjust("1 minute")
      expect(yield* Effect.flatMap(Effect.provide(SessionSweeper, services), ({ sweep }) => sweep)).toBe(2)
      expect(fs.readFileSync(count).toString("hex")).toBe("0000000080054a010000002e")
      expect(fs.readdirSync(directory)).toEqual([vector.count_file_sha256])
    }))

  it.scoped("a count that cachelib does not keep is not begun", () =>
    Effect.gen(function*() {
      const directory = fresh()
      const store = yield* Effect.provide(SessionStore, CacheLib.layer({ directory }))
      yield* store.insert(id, data, 60_000)
      yield* store.remove(id)
      expect(fs.readdirSync(directory)).toEqual([])
    }))

  it("a lock that a killed process left is taken over", async () => {
    const file = path.join(fresh(), "record")
    fs.writeFileSync(file, "0000old")
    fs.mkdirSync(`${file}.lock.__wz_cache/abandoned`, { recursive: true })
    await sleep(600)
    expect(await changeCacheFile(file, () => ({ expires: 0, data: Buffer.from("new") }))).toBe(true)
    expect(fs.readFileSync(file, "latin1")).toBe("\0\0\0\0new")
    expect(fs.readdirSync(path.dirname(file))).toEqual(["record"])
  })

  it("a file that Flask changes at the last moment is looked at again", async () => {
    const file = path.join(fresh(), "record")
    fs.writeFileSync(file, "0000old")
    const seen: Array<string> = []
    const isChanged = await changeCacheFile(file, (current) => {
      seen.push(current.data.toString())
      if (seen.length === 1) fs.writeFileSync(file, "0000Flask")
      if (seen.length === 2) fs.rmSync(file)
      return { expires: 0, data: Buffer.from("ours") }
    })
    expect(seen).toEqual(["old", "Flask"])
    expect(isChanged).toBe(false)
    expect(fs.existsSync(file)).toBe(false)
  })
})
