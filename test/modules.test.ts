/** The files of the package as CommonJS apps and bundlers see them: by `require`, and without the drivers of others. */
import { build, transform } from "esbuild"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { redisUrl } from "./backends.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const source = path.join(root, "src")
const sources = fs.readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))
const layers = sources.filter((file) => /^((layers|flask)\/\w+|flask)\.ts$/.test(file)).map((file) => file.slice(0, -3))

const app = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-modules-"))
const modules = path.join(app, "node_modules")
afterAll(() => fs.rmSync(app, { recursive: true, force: true }))

const isDriver = (name: string) =>
  /^(mongodb|mysql2|pg|ioredis6?|@aws-sdk\/.*|@effect\/(sql.*|vitest)|effect-session.*|vitest)$/.test(name)

const installed = () =>
  fs.readdirSync(path.join(root, "node_modules"))
    .filter((name) => !name.startsWith("."))
    .flatMap((name) =>
      name.startsWith("@") ? fs.readdirSync(path.join(root, "node_modules", name)).map((it) => `${name}/${it}`) : name
    )

const install = (name: string) => {
  const target = path.join(modules, name)
  fs.mkdirSync(path.dirname(target), { recursive: true })
  fs.symlinkSync(path.join(root, "node_modules", name), target)
}

/** The library, compiled, in an app that has every package but the drivers; one of them is put there by its name. */
beforeAll(async () => {
  installed().filter((name) => !isDriver(name)).forEach(install)
  for (const file of sources) {
    const { code } = await transform(fs.readFileSync(path.join(source, file), "utf8"), { loader: "ts", format: "esm" })
    const out = path.join(modules, "effect-session/dist", file.replace(/ts$/, "js"))
    fs.mkdirSync(path.dirname(out), { recursive: true })
    fs.writeFileSync(out, code)
  }
  fs.copyFileSync(path.join(root, "package.json"), path.join(modules, "effect-session/package.json"))
}, 60_000)

const run = async (file: string, contents: string) => {
  fs.writeFileSync(path.join(app, file), contents)
  const { stdout } = await promisify(execFile)(process.execPath, ["--preserve-symlinks", path.join(app, file)], {
    cwd: app
  })
  return stdout.trim()
}

describe("the package", () => {
  it.each(sources)("no top-level await is in %s", async (file) => {
    const text = fs.readFileSync(path.join(source, file), "utf8")
    // esbuild refuses a top-level await in CommonJS.
    await expect(transform(text, { loader: "ts", format: "cjs", logLevel: "silent" })).resolves.toBeDefined()
  })

  it("every layer can be loaded by require, without any driver", async () => {
    const names = ["effect-session", ...layers.map((layer) => `effect-session/${layer}`)]
    const script = `for (const name of ${
      JSON.stringify(names)
    }) console.log(name, Object.keys(require(name)).length > 0)`
    expect((await run("require.cjs", script)).split("\n")).toEqual(names.map((name) => `${name} true`))
  }, 60_000)

  const script = (url: string) => `
    import * as SessionStoreUrl from "effect-session/layers/Url"
    import { Effect, Option } from "effect"
    Effect.gen(function*() {
      const store = yield* SessionStoreUrl.make(${JSON.stringify(url)})
      const version = yield* store.insert("bundled", new Uint8Array([1, 2]), Date.now() + 10000)
      const found = yield* store.load("bundled")
      yield* store.remove("bundled", Option.getOrThrow(version))
      return Option.isSome(found) ? "works" : "lost it"
    }).pipe(Effect.scoped, Effect.merge, Effect.map(String), Effect.runPromise).then(console.log)
  `

  const bundled = async (url: string, format: "cjs" | "esm") => {
    const outfile = path.join(app, format === "cjs" ? "out.cjs" : "out.mjs")
    // CommonJS packages inside of an ES module need a `require`, with any library.
    const js = `import { createRequire as from } from "node:module"; const require = from(import.meta.url)`
    const { errors } = await build({
      stdin: { contents: script(url), resolveDir: app },
      outfile,
      bundle: true,
      format,
      platform: "node",
      preserveSymlinks: true,
      logLevel: "silent",
      ...(format === "esm" && { banner: { js } })
    })
    expect(errors).toEqual([])
    const { stdout } = await promisify(execFile)(process.execPath, [outfile], { cwd: app })
    return stdout.trim()
  }

  for (const format of ["cjs", "esm"] as const) {
    it(`layers/Url is bundled as ${format} without any driver, and names the one that is missing`, async () => {
      expect(await bundled("memory:", format)).toBe("works")
      expect(await bundled("mongodb://localhost", format)).toContain(
        `needs the package "mongodb": npm install mongodb@`
      )
      expect(await bundled("postgres://localhost/db", format)).toContain("npm install pg@8")
    }, 60_000)
  }

  it.skipIf(!redisUrl)("layers/Url is bundled with one driver, and works", async () => {
    install("ioredis")
    const url = `${redisUrl}?prefix=modules-${process.pid}:`
    expect(await bundled(url, "cjs")).toBe("works")
    expect(await bundled(url, "esm")).toBe("works")
  }, 60_000)
})
