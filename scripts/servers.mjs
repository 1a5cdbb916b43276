/**
 * The servers that tests, examples and benchmarks need: on loopback, on free
 * ports, with their data in a temporary folder that goes with them.
 * Types are in servers.d.mts.
 *
 * A new server is an entry of `servers` and a `start…` function of its size.
 */
import { execFile, execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("..", import.meta.url))

const run = promisify(execFile)

const servers = {
  redis: { variable: "REDIS_URL", package: "redis-server", binary: "redis-server", start: (o) => startRedis(o) },
  postgres: { variable: "DATABASE_URL", package: "postgresql", binary: "postgres", start: (o) => startPostgres(o) },
  mysql: { variable: "MYSQL_URL", package: "mariadb-server", binary: "mariadbd", start: (o) => startMySql(o) },
  memcached: { variable: "MEMCACHED_URL", package: "memcached", binary: "memcached", start: (o) => startMemcached(o) },
  dynamodb: { variable: "DYNAMODB_ENDPOINT", package: "nodejs", binary: "node", start: (o) => startDynamoDb(o) },
  mongodb: {
    variable: "MONGODB_URL",
    package: "maven default-jdk-headless",
    binary: "mvn",
    start: (o) => startMongoDb(o)
  }
}

/** What only some tests start. */
const helpers = { pgbouncer: { package: "pgbouncer", binary: "pgbouncer" } }

export const startRedis = ({ port, args = [] } = {}) =>
  start({
    name: "redis",
    command: find("redis-server"),
    port,
    args: ({ dir, port }) => [
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"],
      ...args
    ],
    ready: /ready to accept connections/i,
    stopSignal: "SIGTERM",
    url: (port) => `redis://127.0.0.1:${port}`
  })

export const startPostgres = ({ port, args = [] } = {}) =>
  start({
    name: "postgres",
    command: find("postgres"),
    port,
    // PostgreSQL refuses to run as root.
    owner: process.getuid?.() === 0 ? account("postgres") ?? account("nobody") : undefined,
    prepare: ({ dir, owner }) => {
      const flags = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
      execFileSync(find("initdb"), [...flags, "-D", path.join(dir, "data")], { ...owner, cwd: dir, stdio: "pipe" })
    },
    args: ({ dir, port }) => [
      ...["-D", path.join(dir, "data"), "-p", String(port), "-h", "127.0.0.1", "-k", dir, "-F"],
      ...["-c", "max_connections=200"],
      ...args
    ],
    ready: /ready to accept connections/,
    stopSignal: "SIGQUIT",
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`
  })

/** PgBouncer in front of a PostgreSQL of `startPostgres`; one server connection serves many clients in turn. */
export const startPgBouncer = ({ port, upstream }) =>
  start({
    name: "pgbouncer",
    command: find("pgbouncer"),
    port,
    // It refuses to run as root.
    owner: process.getuid?.() === 0 ? account("postgres") ?? account("nobody") : undefined,
    args: ({ dir, port }) => {
      const settings = [
        ...["[databases]", `postgres = host=127.0.0.1 port=${upstream} user=postgres`, "[pgbouncer]"],
        ...["listen_addr = 127.0.0.1", `listen_port = ${port}`, "unix_socket_dir ="],
        ...["auth_type = any", "pool_mode = transaction", "default_pool_size = 5"],
        "ignore_startup_parameters = extra_float_digits,options"
      ]
      fs.writeFileSync(path.join(dir, "pgbouncer.ini"), settings.join("\n"))
      return [path.join(dir, "pgbouncer.ini")]
    },
    stopSignal: "SIGINT",
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`
  })

/** MariaDB. */
export const startMySql = ({ port, args = [] } = {}) =>
  start({
    name: "mysql",
    command: find("mariadbd"),
    port,
    // It refuses to run as root.
    owner: process.getuid?.() === 0 ? account("mysql") ?? account("nobody") : undefined,
    prepare: ({ dir, owner }) => {
      const flags = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
      const data = `--datadir=${path.join(dir, "data")}`
      execFileSync(find("mariadb-install-db"), [...flags, data], { ...owner, cwd: dir, stdio: "pipe" })
      fs.writeFileSync(
        path.join(dir, "init.sql"),
        "CREATE DATABASE IF NOT EXISTS sessions;\n" +
          "CREATE USER IF NOT EXISTS sessions@'127.0.0.1';\n" +
          "GRANT ALL ON *.* TO sessions@'127.0.0.1' WITH GRANT OPTION;\n"
      )
    },
    args: ({ dir, port }) => [
      ...["--no-defaults", `--datadir=${path.join(dir, "data")}`, `--init-file=${path.join(dir, "init.sql")}`],
      ...[`--socket=${path.join(dir, "socket")}`, `--pid-file=${path.join(dir, "pid")}`],
      ...[`--port=${port}`, "--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=200"],
      // Survives the end of the process, not of the machine.
      "--innodb-flush-log-at-trx-commit=2",
      ...args
    ],
    ready: /ready for connections/,
    stopSignal: "SIGTERM",
    url: (port) => `mysql://sessions@127.0.0.1:${port}/sessions`
  })

export const startMemcached = ({ port, args = [] } = {}) =>
  start({
    name: "memcached",
    command: find("memcached"),
    port,
    args: ({ port }) => [
      // It refuses to run as root unless told who to be.
      ...(process.getuid?.() === 0 ? ["-u", "nobody"] : []),
      ...["-l", "127.0.0.1", "-p", String(port), "-U", "0"],
      ...args
    ],
    stopSignal: "SIGTERM",
    url: (port) => `memcached://127.0.0.1:${port}`
  })

/** dynalite: conditional writes hold under concurrency there; nothing outlives the process. */
export const startDynamoDb = ({ port } = {}) =>
  start({
    name: "dynamodb",
    command: process.execPath,
    port,
    args: ({ port }) => [fileURLToPath(new URL("dynalite.mjs", import.meta.url)), String(port)],
    stopSignal: "SIGTERM",
    url: (port) => `http://127.0.0.1:${port}`
  })

/** mongo-java-server: conditional writes hold under concurrency there, and it keeps its data on disk. */
export const startMongoDb = ({ port, args = [] } = {}) =>
  start({
    name: "mongodb",
    command: find("java"),
    port,
    prepare: () => buildMongoDb(),
    args: ({ dir, port }) => [
      ...["-Xmx512m", "-cp", `${mongoDbFolder}/*:${mongoDbFolder}`, "Main", String(port), path.join(dir, "data.h2")],
      ...args
    ],
    ready: /ready/,
    stopSignal: "SIGTERM",
    url: (port) => `mongodb://127.0.0.1:${port}`
  })

const mongoDbFolder = path.join(root, "node_modules/.cache/mongo-java-server-1.47.0")

/** Once a machine; under another name first, for another process may be at it. */
const buildMongoDb = async () => {
  if (fs.existsSync(mongoDbFolder)) return
  const [mvn, javac, source] = [find("mvn"), find("javac"), path.join(root, "scripts/mongodb")]
  const unfinished = `${mongoDbFolder}-${process.pid}-${Date.now()}`
  const [pom, out, classpath] = [path.join(source, "pom.xml"), `-DoutputDirectory=${unfinished}`, `${unfinished}/*`]
  try {
    await run(mvn, ["-q", "-B", "-f", pom, "dependency:copy-dependencies", out])
    await run(javac, ["-cp", classpath, "-d", unfinished, path.join(source, "Main.java")])
    if (!fs.existsSync(mongoDbFolder)) fs.renameSync(unfinished, mongoDbFolder)
  } finally {
    fs.rmSync(unfinished, { recursive: true, force: true })
  }
}

/** A URL in the environment wins; what cannot be had is named in `missing`. */
export const startAll = async () => {
  const started = []
  const urls = {}
  const missing = []
  const bring = async (name, server) => {
    const given = process.env[server.variable]
    if (given) {
      urls[name] = given
      return
    }
    const running = await server.start()
    started.push(running)
    urls[name] = running.url
  }
  const toInstall = missingServers()
  if (toInstall.length > 0 && canInstall()) {
    console.log(installNotice(toInstall))
    for (const server of toInstall) install(server)
  }
  await Promise.all(Object.entries(servers).map(([name, server]) =>
    bring(name, server).catch((error) => missing.push({ name, reason: String(error.message ?? error) }))
  ))
  const stop = () => Promise.all(started.map((server) => server.stop()))
  if (missing.length > 0 && process.env.CI) {
    await stop()
    throw new Error(missing.map(({ name, reason }) => `${name}: ${reason}`).join("\n"))
  }
  return { urls, missing, stop }
}

/** What `startAll` found, as variables of the environment. */
export const environment = (urls) =>
  Object.fromEntries(Object.entries(urls).map(([name, url]) => [servers[name].variable, url]))

/** Whether this machine can start a server of its own. */
export const canStart = (name) => locate({ ...servers, ...helpers }[name].binary) !== undefined

const start = async (spec) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `effect-session-${spec.name}-`))
  let running
  try {
    if (spec.owner) fs.chownSync(dir, spec.owner.uid, spec.owner.gid)
    await spec.prepare?.({ dir, owner: spec.owner })
    running = await launch(spec, dir, spec.port ?? await freePort())
  } catch (error) {
    fs.rmSync(dir, { recursive: true, force: true })
    throw error
  }
  const { port } = running
  return {
    url: spec.url(port),
    port,
    get pid() {
      return running.child.pid
    },
    kill: (signal = "SIGKILL") => signalAll(running, signal),
    restart: async () => {
      if (isAlive(running.child)) await signalAll(running, "SIGKILL")
      running.watchdog.kill()
      running = await launch(spec, dir, port)
    },
    stop: async () => {
      if (isAlive(running.child)) {
        await signalAll(running, "SIGCONT")
        await Promise.race([signalAll(running, spec.stopSignal), sleep(3000)])
        if (isAlive(running.child)) await signalAll(running, "SIGKILL")
      }
      running.watchdog.kill()
      fs.rmSync(dir, { recursive: true, force: true })
    }
  }
}

const launch = async (spec, dir, port) => {
  const logFile = path.join(dir, "log")
  const log = fs.openSync(logFile, "w")
  // Detached: Ctrl-C in a terminal must not reach it before its tests have ended.
  const child = spawn(spec.command, spec.args({ dir, port }), {
    ...spec.owner,
    cwd: dir,
    detached: true,
    stdio: ["ignore", log, log]
  })
  fs.closeSync(log)
  const exited = new Promise((resolve) => child.once("exit", resolve).once("error", resolve))
  child.unref()
  const watchdog = watch(child.pid, dir)
  const deadline = Date.now() + 30_000
  while (!(await isReady(spec, logFile, port))) {
    if (!isAlive(child) || Date.now() > deadline) {
      child.kill("SIGKILL")
      watchdog.kill()
      throw new Error(`${spec.name} did not start:\n${fs.readFileSync(logFile, "utf8").slice(-1000)}`)
    }
    await sleep(20)
  }
  return { child, watchdog, port, exited }
}

/** However this process ends, its pipe closes, and the server and its folder go. */
const watch = (pid, dir) => {
  const script = `read -r _; kill -CONT "$1"; kill "$1"; sleep 1; kill -9 "$1"; rm -rf "$2"`
  const child = spawn("sh", ["-c", script, "sh", String(pid), dir], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"]
  })
  child.unref()
  child.stdin.unref()
  return child
}

const isAlive = (child) => child.pid !== undefined && child.exitCode === null && child.signalCode === null

const isReady = async (spec, logFile, port) =>
  spec.ready ? spec.ready.test(fs.readFileSync(logFile, "utf8")) : await accepts(port)

const accepts = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1")
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })

/** Signals the server and its children (PostgreSQL has one for each connection). */
const signalAll = async ({ child, exited }, signal) => {
  for (const pid of [child.pid, ...childrenOf(child.pid)]) {
    try {
      process.kill(pid, signal)
    } catch {
      // gone already
    }
  }
  if (signal !== "SIGSTOP" && signal !== "SIGCONT") await exited
}

const childrenOf = (pid) => {
  try {
    return execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
      .split("\n")
      .map((line) => line.trim().split(/\s+/).map(Number))
      .filter(([, parent]) => parent === pid)
      .map(([child]) => child)
  } catch {
    return []
  }
}

/** Below the range of outgoing connections, so that none takes a port between two starts. */
const freePort = async () => {
  const port = 15_000 + Math.floor(Math.random() * 17_000)
  const free = await new Promise((resolve) => {
    const server = net.createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
  return free ? port : freePort()
}

const folders = () => {
  const debian = "/usr/lib/postgresql"
  const versions = fs.existsSync(debian) ? fs.readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  return [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", ...versions.map((v) => path.join(debian, v, "bin"))]
}

const locate = (binary) => folders().map((dir) => path.join(dir, binary)).find((file) => fs.existsSync(file))

const find = (binary) => {
  const file = locate(binary)
  if (file === undefined) throw new Error(`${binary} is not installed: install it, or run it in Docker Compose and give its URL`)
  return file
}

const account = (user) => {
  try {
    const id = (flag) => Number(execFileSync("id", [flag, user], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }))
    return { uid: id("-u"), gid: id("-g") }
  } catch {
    return undefined
  }
}

let updated = false

/** The servers that are neither installed nor named by a variable of the environment. */
export const missingServers = (env = process.env, isInstalled = (binary) => locate(binary) !== undefined) =>
  [...Object.values(servers), ...Object.values(helpers)].filter(({ binary, variable }) =>
    !env[variable] && !isInstalled(binary)
  )

/** Says what is going to be installed, and how to avoid it. */
export const installNotice = (missing) =>
  [
    "The tests need servers that this machine does not have. apt-get is going to install:",
    ...missing.map(({ package: name, variable }) =>
      `  ${name}${variable ? `   (not if ${variable} names a running server)` : ""}`
    ),
    "With INSTALL_SERVERS=no nothing is installed, and the tests of these servers are skipped."
  ].join("\n")

/** On Debian as root, unless `INSTALL_SERVERS=no`; elsewhere the caller learns what is missing. */
const canInstall = () =>
  process.env.INSTALL_SERVERS !== "no" && process.getuid?.() === 0 && fs.existsSync("/etc/debian_version")

const install = (server) => {
  const apt = (...args) => {
    console.log(`apt-get ${args.join(" ")}`)
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    execFileSync("apt-get", args, { env, stdio: ["ignore", "ignore", "inherit"] })
  }
  try {
    if (!updated) apt("update")
    updated = true
    apt("install", "-y", "--no-install-recommends", ...server.package.split(" "))
  } catch (error) {
    console.error(`${server.package} could not be installed: ${error.message}`)
  }
}
