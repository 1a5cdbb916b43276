// Packs the library, and checks its files, its lock, and the docstrings of its
// modules. Installs it into a scratch project without any driver, and there
// compiles and runs the README's first example, from login to logout. Then
// tries the stores by URL: without a driver, and with ioredis alone.
import { execFileSync, spawn } from "node:child_process"
import assert from "node:assert/strict"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { startRedis } from "./servers.mjs"

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-package-"))
const run = (command, args, cwd = scratch) => execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

const untilUp = async (url) => {
  for (let i = 0; i < 100; i++) {
    try {
      return await fetch(url)
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  throw new Error("the example does not listen")
}

/** What comes of stores by URL, one after the other in one process. */
const tryStores = (urls) => JSON.parse(run(process.execPath, ["--input-type=module", "-e", `
  import * as SessionStoreUrl from "effect-session/layers/Url"
  import { Effect, Option } from "effect"
  const results = await Effect.runPromise(Effect.forEach(${JSON.stringify(urls)}, (url) =>
    Effect.gen(function*() {
      const store = yield* SessionStoreUrl.make(url)
      const version = yield* store.insert("check-package", new Uint8Array([1, 2]), Date.now() + 10000)
      const found = yield* store.load("check-package")
      const removed = yield* store.remove("check-package", Option.getOrThrow(version))
      return Option.isSome(found) && found.value.data.length === 2 && removed ? "works" : "lost it"
    }).pipe(Effect.scoped, Effect.merge, Effect.map(String))))
  console.log(JSON.stringify(results))
`]))

/** TypeScript drops a module's docstring with an import that it drops, unless a blank line follows the docstring. */
const checkDocstrings = () => {
  const docstring = /^\/\*\*[\s\S]*?\*\//
  const textOf = (file) => fs.readFileSync(path.join(root, file), "utf8")
  const modules = fs.readdirSync(path.join(root, "src"), { recursive: true })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"))
  const lost = modules.filter((file) => {
    const inSource = docstring.exec(textOf(`src/${file}`))
    return inSource !== null && !textOf(`dist/${file.replace(/\.ts$/, ".d.ts")}`).startsWith(inSource[0])
  })
  assert.deepEqual(lost, [], "these modules lose their docstring in dist: put a blank line after it")
}

/** The tarball has the files that a package has beside its code, and no file that nobody needs. */
const checkFiles = (files) => {
  const names = files.map((file) => file.path)
  for (const name of ["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "docs/security.md"]) {
    assert(names.includes(name), `the tarball has no ${name}`)
  }
  const unneeded = names.filter((name) => !/^(dist|src|docs)\/|^[A-Z]+(\.md)?$|^package\.json$/.test(name))
  assert.deepEqual(unneeded, [], "the tarball has files that nobody needs")
}

const checkLock = () => {
  const lock = fs.readFileSync(path.join(root, "package-lock.json"), "utf8")
  assert(!/"resolved": "https?:/.test(lock), "package-lock.json names a registry: keep .npmrc")
  assert(!lock.includes('"libc":'), "npm 10 removes libc from package-lock.json: remove it, npm 11 leaves it alone")
}

try {
  checkLock()
  const packed = run("npm", ["pack", "--silent", "--json", "--pack-destination", scratch], root)
  const [{ filename, files }] = JSON.parse(packed.slice(packed.indexOf("[\n")))
  checkFiles(files)
  checkDocstrings()
  const { devDependencies: dev } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
  const needed = ["effect", "@effect/platform", "@effect/platform-node", "@effect/cluster", "@effect/rpc", "@effect/workflow", "@effect/experimental", "@effect/sql", "@types/node", "typescript"]
  fs.writeFileSync(
    path.join(scratch, "package.json"),
    JSON.stringify({
      private: true,
      type: "module",
      dependencies: {
        "effect-session": `file:${filename}`,
        "@types/ws": "^8", // @effect/platform-node's declarations need them
        ...Object.fromEntries(needed.map((name) => [name, dev[name]]))
      }
    })
  )
  run("npm", ["install", "--no-audit", "--no-fund", "--silent"])
  assert(!fs.existsSync(path.join(scratch, "node_modules/ioredis")), "a driver was installed")

  const port = await freePort()
  const example = /^```ts\n([\s\S]*?)^```/m.exec(fs.readFileSync(path.join(root, "README.md"), "utf8"))[1]
  fs.writeFileSync(path.join(scratch, "example.ts"), example.replace("port: 3000", `port: ${port}`))
  // Without skipLibCheck: the declarations of the package are checked, too.
  run("npx", ["tsc", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--lib", "es2023,dom", "--module", "nodenext", "--types", "node", "example.ts"])

  const server = spawn(process.execPath, ["example.js"], { cwd: scratch, stdio: ["ignore", "ignore", "inherit"] })
  try {
    const url = (name) => `http://127.0.0.1:${port}/${name}`
    assert.equal(await (await untilUp(url("me"))).text(), "nobody")
    const login = await fetch(url("login"), { method: "POST" })
    const cookie = login.headers.get("set-cookie").split(";")[0]
    const me = async () => (await fetch(url("me"), { headers: { cookie } })).text()
    assert.equal(await me(), "ada")
    await fetch(url("logout"), { method: "POST", headers: { cookie } })
    assert.equal(await me(), "nobody")
  } finally {
    server.kill()
  }

  const drivers = {
    ioredis: ["redis://host", "rediss://host", "redis+cluster://host", "redis+sentinel://host/master"],
    mongodb: ["mongodb://host", "mongodb+srv://host"],
    "@aws-sdk/client-dynamodb": ["dynamodb://region/table"],
    pg: ["postgres://host/db", "postgresql://host/db"],
    mysql2: ["mysql://host/db", "mariadb://host/db"],
    "@effect/sql-libsql": ["sqlite:./file", "sqlite::memory:"]
  }
  const checkNames = (installed) => {
    const missing = Object.entries(drivers).filter(([driver]) => driver !== installed)
      .flatMap(([driver, urls]) => urls.map((url) => ({ driver, url })))
    tryStores(missing.map(({ url }) => url)).forEach((result, i) => {
      const { driver, url } = missing[i]
      assert(
        result.startsWith("SessionConfigError: ") && result.includes(` needs the package "${driver}": npm install ${driver}@`),
        `${url}: ${result}`
      )
    })
  }
  checkNames()
  assert.deepEqual(tryStores(["memory:", "file:./sessions", "memcached://127.0.0.1:1"]), [
    "works",
    "works",
    "SessionStoreError: insert: Unavailable" // there is no such server, and no driver is needed
  ])
  run("npm", ["install", "--no-audit", "--no-fund", "--silent", `ioredis@${dev.ioredis}`])
  checkNames("ioredis")
  const redis = process.env.REDIS_URL ? undefined : await startRedis()
  try {
    assert.deepEqual(tryStores([process.env.REDIS_URL ?? redis.url]), ["works"])
  } finally {
    await redis?.stop()
  }
  console.log("package: packed, installed without drivers, compiled, signed in and out; each store names its driver")
} finally {
  fs.rmSync(scratch, { recursive: true, force: true })
}
