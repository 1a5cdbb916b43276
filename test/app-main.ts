/**
 * The example app over several stores at once, a server for each, all in this
 * process. Its one argument is a list of them; see `StoreSpec`.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeKeyValueStore from "@effect/platform-node/NodeKeyValueStore"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpServer from "@effect/platform/HttpServer"
import { SessionStore } from "effect-session"
import * as SessionStoreKeyValueStore from "effect-session/layers/KeyValueStore"
import * as SessionStoreUrl from "effect-session/layers/Url"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { app } from "../examples/app/app.js"
import { AppSession, codec, cookie } from "../examples/app/session.js"

export interface StoreSpec {
  /** As `layers/Url` takes it; or `kv:` and the directory of a `KeyValueStore`. */
  readonly url: string
  /** Milliseconds that every operation takes longer, half of them before it. */
  readonly delay?: number
}

const storeAt = (url: string): Layer.Layer<SessionStore, Error> =>
  url.startsWith("kv:")
    ? Layer.provide(SessionStoreKeyValueStore.layer, NodeKeyValueStore.layerFileSystem(url.slice("kv:".length)))
    : SessionStoreUrl.layer(url)

const delayed = (millis: number) =>
  Layer.effect(
    SessionStore,
    Effect.map(SessionStore, (store) => {
      const delay = <A, E>(operation: Effect.Effect<A, E>) =>
        operation.pipe(Effect.delay(millis / 2), Effect.zipLeft(Effect.sleep(millis / 2)))
      return SessionStore.of({
        load: (key) => delay(store.load(key)),
        insert: (key, data, expiresAt) => delay(store.insert(key, data, expiresAt)),
        replace: (key, expected, data, expiresAt) => delay(store.replace(key, expected, data, expiresAt)),
        touch: (key, current, expiresAt) => delay(store.touch(key, current, expiresAt)),
        remove: (key, expected) => delay(store.remove(key, expected))
      })
    })
  )

const print = (index: number) =>
  HttpServer.addressWith((address) =>
    address._tag === "TcpAddress" ? Console.log(`${index} on http://localhost:${address.port}`) : Effect.void
  )

const serve = ({ delay, url }: StoreSpec, index: number) => {
  const store = delay === undefined ? storeAt(url) : Layer.provide(delayed(delay), storeAt(url))
  // Short, so that what is left in a server that others use is soon gone.
  const sessions = AppSession.layer({ idleTimeout: "1 minute", codec, cookie: cookie(false) })
  return Layer.effectDiscard(print(index)).pipe(
    Layer.provide(HttpServer.serve(app(undefined))),
    Layer.provide(NodeHttpServer.layer(createServer, { port: 0 })),
    Layer.provide(sessions),
    Layer.provide(store)
  )
}

const specs: ReadonlyArray<StoreSpec> = JSON.parse(process.argv[2]!)

NodeRuntime.runMain(Layer.launch(Layer.mergeAll(Layer.empty, ...specs.map(serve))))
