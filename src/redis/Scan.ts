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

/** How many keys a server is asked to look at a time. */
const batch = 250

/**
 * The keys that start with `prefix`, in batches, from every master. Fails when
 * a server or the cluster's layout has changed meanwhile: it may have missed
 * some.
 */
export const scanKeys = (client: Client, prefix: string): Stream.Stream<ReadonlyArray<string>, unknown> => {
  const pattern = `${prefix.replace(/[*?[\]\\^]/g, "\\$&")}*`
  if (!isCluster(client)) return scanNode(client, pattern)
  return unchanged(
    () => layoutOf(client),
    ({ masters }) => {
      const nodes = client.nodes("master")
      if (client.status !== "ready" || nodes.length !== masters) return Stream.fail(new Error("a master is missing"))
      return Stream.flatMap(Stream.fromIterable(nodes), (node) => scanNode(node, pattern))
    }
  )
}

const scanNode = (node: Node, pattern: string) =>
  unchanged(
    // A cursor means nothing to another process.
    async () => ({ text: /run_id:\w+/.exec(await node.info("server"))?.[0] }),
    () =>
      Stream.paginateEffect("0", (cursor) =>
        Effect.map(
          Effect.tryPromise({
            try: () => node.scan(cursor, "MATCH", pattern, "COUNT", batch),
            catch: (error) => error
          }),
          ([next, keys]) => [keys, next === "0" ? Option.none() : Option.some(next)]
        ))
  )

/** A stream that holds as long as what `look` sees stays the same. */
const unchanged = <A extends { readonly text: string | undefined }, B>(
  look: () => Promise<A>,
  stream: (seen: A) => Stream.Stream<B, unknown>
): Stream.Stream<B, unknown> => {
  const seen = Effect.tryPromise({ try: look, catch: (error) => error })
  return Stream.unwrap(Effect.map(seen, (before) =>
    Stream.concat(
      stream(before),
      Stream.execute(Effect.filterOrFail(
        seen,
        ({ text }) => text === before.text,
        () => new Error("the server has changed while its keys were listed")
      ))
    )))
}

type Range = [from: number, to: number, master: [host: string, port: number, id: string]]

const layoutOf = async (client: ClusterClient) => {
  const ranges = await client.cluster("SLOTS") as Array<Range> // by the protocol
  const text = ranges.map(([from, to, [, , id]]) => `${from}-${to} ${id}`).sort().join()
  return { text, masters: new Set(ranges.map(([, , [, , id]]) => id)).size }
}
