/**
 * Redis on more than one machine, of a test's own: a cluster of three masters
 * and three replicas, or a master and two replicas under three sentinels.
 */
import { Redis } from "ioredis"
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { startRedis } from "../scripts/servers.mjs"
import type { Server } from "../scripts/servers.mjs"

export interface Topology {
  readonly url: string
  /** Every Redis in it, whatever its role at the moment. */
  readonly servers: ReadonlyArray<Server>
  readonly stop: () => Promise<void>
}

/** How long a server is silent before the others call it dead; an election follows. */
const silence = 1000

export const startCluster = async (): Promise<Topology> => {
  const args = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    String(silence),
    "--repl-diskless-sync-delay",
    "0"
  ]
  const servers = await startAll(6, (port) => startRedis({ port, args }))
  const addresses = servers.map(({ port }) => `127.0.0.1:${port}`)
  return finished(servers, `redis+cluster://${addresses.join(",")}`, async () => {
    const create = ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"]
    await promisify(execFile)("redis-cli", create)
    await until(async () => {
      const seen = await Promise.all(servers.map((server) =>
        ask(server, async (redis) => [
          await redis.cluster("INFO"),
          await redis.info("replication")
        ])
      ))
      return seen.every(([cluster, replication]) => /cluster_state:ok/.test(cluster!) && isInSync(replication!))
    })
  })
}

export interface Sentinels extends Topology {
  readonly sentinels: ReadonlyArray<{ readonly port: number }>
}

export const startSentinels = async (): Promise<Sentinels> => {
  const fast = ["--repl-diskless-sync-delay", "0"]
  const [master] = await startAll(1, (port) => startRedis({ port, args: fast }))
  const follow = [...fast, "--replicaof", "127.0.0.1", String(master!.port)]
  const replicas = await startAll(2, (port) => startRedis({ port, args: follow }))
  const sentinels = await startAll(3, (port) => startSentinel(port, master!.port))
  const addresses = sentinels.map(({ port }) => `127.0.0.1:${port}`)
  const servers = [master!, ...replicas]
  const topology = await finished(servers, `redis+sentinel://${addresses.join(",")}/main`, () =>
    until(async () => {
      const seen = await Promise.all(
        sentinels.map((sentinel) => ask(sentinel, (redis) => redis.call("SENTINEL", "MASTER", "main")))
      )
      return seen.every((reply) => /num-slaves,2,num-other-sentinels,2/.test(String(reply)))
    }))
  const stop = async () => {
    await Promise.all(sentinels.map((sentinel) => sentinel.stop()))
    await topology.stop()
  }
  return { ...topology, sentinels, stop }
}

/** The shell outlives nobody: when its input ends, with this process at the latest, so does the sentinel. */
const startSentinel = async (port: number, master: number) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-sentinel-"))
  const settings = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${dir}`,
    `sentinel monitor main 127.0.0.1 ${master} 2`,
    `sentinel down-after-milliseconds main ${silence}`,
    "sentinel failover-timeout main 5000"
  ]
  fs.writeFileSync(path.join(dir, "conf"), settings.join("\n"))
  const script = `redis-server "$1/conf" --sentinel >"$1/log" & read -r _; kill -9 $!; rm -rf "$1"`
  const shell = spawn("sh", ["-c", script, "sh", dir], { detached: true, stdio: ["pipe", "ignore", "ignore"] })
  await until(() => ask({ port }, async (redis) => await redis.ping() === "PONG"))
  return {
    port,
    stop: async () => {
      shell.stdin.end()
      await once(shell, "exit")
    }
  }
}

const startAll = async <A>(count: number, start: (port: number) => Promise<A>) => {
  const ports: Array<number> = []
  while (ports.length < count) ports.push(await freePort(ports))
  return Promise.all(ports.map(start))
}

/** Stops what was started when the rest of the start fails. */
const finished = async (
  servers: ReadonlyArray<Server>,
  url: string,
  finish: () => Promise<unknown>
): Promise<Topology> => {
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()))
  }
  try {
    await finish()
  } catch (error) {
    await stop()
    throw error
  }
  return { url, servers, stop }
}

/** Asks one server, past all clients under test. */
export const ask = async <A>(
  { port }: { readonly port: number },
  question: (redis: Redis) => Promise<A>
): Promise<A> => {
  const redis = new Redis({ port, host: "127.0.0.1", maxRetriesPerRequest: 0, commandTimeout: 1000, lazyConnect: true })
  redis.on("error", () => {})
  try {
    return await question(redis)
  } finally {
    redis.disconnect()
  }
}

/**
 * From now on the replicas get nothing of what the master takes, until they are
 * let go: what a failover finds at the best of times is a moment's difference.
 */
export const cutOffReplicas = async ({ servers }: Topology, master: Server): Promise<() => Promise<unknown>> => {
  const followers = await ask(master, (redis) => redis.info("replication"))
  const replicas = servers.filter(({ port }) => followers.includes(`port=${port},`))
  await Promise.all(replicas.map((replica) => replica.kill("SIGSTOP")))
  await ask(master, (redis) => redis.client("KILL", "TYPE", "replica"))
  return () => Promise.all(replicas.map((replica) => replica.kill("SIGCONT")))
}

/** Tries until it is so; after 15 seconds it gives up. */
export const until = async (isTrue: () => Promise<boolean>): Promise<void> => {
  for (const deadline = Date.now() + 15_000; Date.now() < deadline;) {
    if (await isTrue().catch(() => false)) return
    await sleep(50)
  }
  throw new Error("it did not happen within 15 seconds")
}

const isInSync = (replication: string) =>
  /role:master[^]*connected_slaves:[1-9]|master_link_status:up/.test(replication)

/** A port P such that P + 10000, the cluster's own, is free too. Below the range of outgoing connections. */
const freePort = async (taken: ReadonlyArray<number>): Promise<number> => {
  const port = 15_000 + Math.floor(Math.random() * 7000)
  const free = !taken.includes(port) && await isFree(port) && await isFree(port + 10_000)
  return free ? port : freePort(taken)
}

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = net.createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
