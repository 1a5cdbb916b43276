/** The store in the docstring of `SessionStore.ts`, taken from there, keeps the laws. */
import type * as Layer from "effect/Layer"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import type { SessionStore } from "../../src/SessionStore.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"

const source = fs.readFileSync(new URL("../../src/SessionStore.ts", import.meta.url), "utf8")
const [, block] = /```ts\n([\s\S]*?)```/.exec(source) ?? []
if (block === undefined) {
  throw new Error("src/SessionStore.ts begins with no code block")
}
const code = block.replace(/^ \* ?/gm, "").replace("const layerTiny", "export const layerTiny")

// inside the project, so that the bare names of its imports resolve
const directory = fs.mkdtempSync(fileURLToPath(new URL(".docstring-", import.meta.url)))
const file = `${directory}/store.ts`
fs.writeFileSync(file, code)
const { layerTiny }: { layerTiny: Layer.Layer<SessionStore> } = await import(file).finally(() =>
  fs.rmSync(directory, { recursive: true })
)

storeLaws(layerTiny, { name: "the store in the docstring" })
