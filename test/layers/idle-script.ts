/**
 * A script that uses a store once and disposes of nothing.
 *
 * `idle-script <URL of a store> [observed]`
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Observed from "../../src/layers/Observed.js"
import * as Url from "../../src/layers/Url.js"
import { SessionStore } from "../../src/SessionStore.js"

const [url = "", observed] = process.argv.slice(2)

const store = Url.layer(url)
const runtime = ManagedRuntime.make(
  observed === undefined ? store : Observed.layer({ onEvent: () => Effect.void }).pipe(Layer.provide(store))
)

await runtime.runPromise(Effect.gen(function*() {
  const store = yield* SessionStore
  const version = yield* store.insert("key", new Uint8Array([1]), Date.now() + 60_000)
  console.log(version._tag)
}))
