/**
 * A process of its own on the directory of a test.
 *
 * `increment <directory> <key> <n>` adds one to the number in the record, n times.
 * `signal <directory> <key> <call> <signal>` replaces the record, and sends itself the
 * signal before the first such call on a tool or a claim.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FileSystem from "../../src/layers/FileSystem.js"
import { SessionStore, type SessionStoreError } from "../../src/SessionStore.js"
import * as Calls from "./file-calls.js"

const [mode, directory, key, ...rest] = process.argv.slice(2) as [string, string, string, ...Array<string>]
const far = Date.now() + 3_600_000

const increment = (times: number) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    for (let done = 0; done < times;) {
      const { data, version } = Option.getOrThrow(yield* store.load(key))
      const next = Buffer.from(String(Number(Buffer.from(data)) + 1))
      if (Option.isSome(yield* store.replace(key, version, next, far))) done++
    }
    return times
  })

const signal = (call: string, name: NodeJS.Signals) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const { version } = Option.getOrThrow(yield* store.load(key))
    Calls.setHook((called, args, proceed) => {
      if (called === call && String(args[0]).includes(".new")) {
        Calls.setHook(undefined)
        process.kill(process.pid, name)
      }
      proceed()
    })
    return Option.isSome(yield* store.replace(key, version, Buffer.from("late"), far))
  })

Calls.install()
const work: Effect.Effect<number | boolean, SessionStoreError, SessionStore> = mode === "increment"
  ? increment(Number(rest[0]))
  : signal(rest[0]!, rest[1] as NodeJS.Signals)
const result = await work.pipe(
  Effect.provide(FileSystem.layer({ directory, durable: false })),
  Effect.runPromise
)
console.log(JSON.stringify(result))
