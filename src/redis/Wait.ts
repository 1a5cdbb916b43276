/**
 * Writes that replicas have before they are answered.
 *
 * @internal
 */
import type { Client, Node } from "./Client.js"
import { isCluster } from "./Client.js"
import { countOf } from "./Reply.js"

export interface Wait {
  readonly replicas: number
  /** In milliseconds. */
  readonly timeout: number
}

/** What a write fails with that too few replicas have. */
export const tooFewReplicas = new Error("too few replicas have the write")

/**
 * Runs a script on a key, and `WAIT` behind it on the very same connection: it
 * speaks of nothing but what that connection wrote.
 */
export const evalAndWait = async (
  client: Client,
  { replicas, timeout }: Wait,
  lua: string,
  key: string,
  args: ReadonlyArray<string | Buffer>
): Promise<number> => {
  const send = async (node: Pick<Node, "pipeline">, ...before: Array<Array<unknown>>) => {
    const replies = await node.pipeline([...before, ["eval", lua, 1, key, ...args], ["wait", replicas, timeout]]).exec()
    const [[refused, reply], [failed, reached]] = replies?.slice(-2) as Replies // as many as commands
    if (refused ?? failed) throw refused ?? failed
    if (countOf(reached) < replicas) throw tooFewReplicas
    return countOf(reply)
  }
  return send(client).catch(async (error: Error) => {
    const redirect = /^(MOVED|ASK) \d+ (\S+)/.exec(error.message)
    if (!redirect || !isCluster(client)) throw error
    // ioredis redirects no pipeline of which a part was done. A read it does, and then knows the node.
    await client.hgetallBuffer(key)
    const node = client.nodes("all").find(({ options }) => addressOf(options) === redirect[2])
    if (node === undefined) throw error
    return redirect[1] === "ASK" ? send(node, ["asking"]) : send(node)
  })
}

type Replies = [write: [Error | null, unknown], wait: [Error | null, unknown]]

const addressOf = (options: { readonly host?: unknown; readonly port?: unknown }) => `${options.host}:${options.port}`

/**
 * Changes nothing, and is replicated: behind it `WAIT` speaks of everything
 * that was done to the key before, by whichever connection.
 */
export const barrier = `
local left = redis.call('PTTL', KEYS[1])
if left > 0 then return redis.call('PEXPIRE', KEYS[1], left) end
if left == -2 then
  redis.call('SET', KEYS[1], '')
  return redis.call('DEL', KEYS[1])
end
return 0`
