/**
 * Lists keys by `SCAN`, which never holds up the server for long.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Client, ClusterClient, Node } from "./Client.js"
import { isCluster } from "./Client.js"
import { pageOf } from "./Reply.js"

/** How many keys a server is asked to look at a time. */
const batch = 250

/** Sends a command, in bounded time. */
type Ask<E> = <A>(send: () => Promise<A>) => Effect.Effect<A, E>

/**
 * The keys that start with `prefix`, in batches, from every master. Fails when
 * a server or the cluster's layout has changed meanwhile: it may have missed
 * some.
 */
export const scanKeys = <E>(client: Client, prefix: string, ask: Ask<E>): Stream.Stream<ReadonlyArray<string>, E> => {
  const pattern = `${prefix.replace(/[*?[\]\\^]/g, "\\$&")}*`
  if (!isCluster(client)) return scanNode(client, pattern, ask)
  return unchanged(ask, () => layoutOf(client), ({ masters }) =>
    Stream.unwrap(ask(async () => {
      const nodes = client.nodes("master")
      if (nodes.length !== masters) throw new Error("a master is missing")
      return Stream.flatMap(Stream.fromIterable(nodes), (node) => scanNode(node, pattern, ask))
    })))
}

const scanNode = <E>(node: Node, pattern: string, ask: Ask<E>) => {
  // A cursor means nothing to another process. Who may not ask which it is does without.
  const look = () =>
    node.info("server").then((info) => ({ text: /run_id:\w+/.exec(info)?.[0] }), (error: Error) => {
      if (!error.message.startsWith("NOPERM")) throw error
      return { text: undefined }
    })
  return unchanged(ask, look, () =>
    Stream.paginateEffect("0", (cursor) =>
      Effect.map(
        ask(() => node.scan(cursor, "MATCH", pattern, "COUNT", batch).then(pageOf)),
        ([next, keys]) => [keys, next === "0" ? Option.none() : Option.some(next)]
      )))
}

/** A stream that holds as long as what `look` sees stays the same. */
const unchanged = <A extends { readonly text: string | undefined }, B, E>(
  ask: Ask<E>,
  look: () => Promise<A>,
  stream: (seen: A) => Stream.Stream<B, E>
): Stream.Stream<B, E> =>
  Stream.unwrap(Effect.map(ask(look), (before) =>
    Stream.concat(
      stream(before),
      Stream.execute(ask(async () => {
        const { text } = await look()
        if (text !== before.text) throw new Error("the server has changed while its keys were listed")
      }))
    )))

type Range = [from: number, to: number, master: [host: string, port: number, id: string]]

const layoutOf = async (client: ClusterClient) => {
  const ranges = await client.cluster("SLOTS") as Array<Range> // by the protocol
  const text = ranges.map(([from, to, [, , id]]) => `${from}-${to} ${id}`).sort().join()
  return { text, masters: new Set(ranges.map(([, , [, , id]]) => id)).size }
}
