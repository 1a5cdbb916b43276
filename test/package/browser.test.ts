/** The contract of an HttpApi in a bundle for browsers, made by esbuild from the built package. */
import * as server from "effect-session"
import * as browser from "effect-session/browser"
import { build, type Metafile } from "esbuild"
import * as fs from "node:fs"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { runInNewContext } from "node:vm"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))

const contract = `
import { FetchHttpClient, HttpApi, HttpApiClient, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware } from "@effect/platform"
import { Cause, Effect, Layer, Schema } from "effect"
import { PayloadCodec, Session, SessionError, SessionHttp, SessionUnavailable } from "effect-session"

export const codec = PayloadCodec.json()
export class AppSession extends Session.Tag()("app/AppSession", { userId: Schema.optional(Schema.String) }) {}
class Sessions extends HttpApiMiddleware.Tag()("app/Sessions", {
  provides: AppSession,
  failure: SessionError,
  security: { session: SessionHttp.security() }
}) {}
const users = HttpApiGroup.make("users")
  .add(HttpApiEndpoint.get("me", "/me").addSuccess(Schema.String))
  .middleware(Sessions)
const api = HttpApi.make("api").add(users)

globalThis.me = (baseUrl) =>
  Effect.flatMap(HttpApiClient.make(api, { baseUrl }), (client) => client.users.me()).pipe(
    Effect.catchTag("SessionError", (error) =>
      Effect.succeed(\`\${error instanceof SessionUnavailable} \${error.reason} \${error.applied}\`)),
    Effect.provide(FetchHttpClient.layer),
    Effect.runPromise
  )

const death = (layer) =>
  Effect.runPromise(Effect.scoped(Layer.build(layer)).pipe(Effect.sandbox, Effect.flip, Effect.map(Cause.pretty)))
globalThis.deaths = () => Promise.all([
  AppSession.layer(), AppSession.layerConfig({}), AppSession.layerTest(), SessionHttp.layerApi(Sessions, AppSession),
  SessionHttp.routerMiddleware(AppSession).layer
].map(death))
`

/** `direct`: by the path of the built file, as a bundler's alias does; else by name. */
const bundled = async (direct: boolean) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-browser-"))
  try {
    // A package of this name would be a link to the worktree: it is one here, whatever npm has installed.
    fs.mkdirSync(path.join(folder, "node_modules"))
    fs.symlinkSync(root, path.join(folder, "node_modules/effect-session"))
    const { metafile, outputFiles } = await build({
      stdin: { contents: contract, resolveDir: folder, loader: "js" },
      nodePaths: [path.join(root, "node_modules")],
      ...(direct ? { alias: { "effect-session": path.join(root, "dist/index.js") } } : {}),
      bundle: true,
      format: "iife",
      platform: "browser",
      minify: true,
      metafile: true,
      write: false,
      logLevel: "silent"
    })
    return { text: outputFiles[0]!.text, inputs: included(metafile) }
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}

/** The files of which something is left in the bundle. */
const included = ({ outputs }: Metafile) =>
  Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => bytesInOutput > 0 ? [file] : [])
  )

/** What a browser's page has, and no more of Node than that. */
const page = (text: string) => {
  const globals = Object.fromEntries(browserGlobals.map((name) => [name, globalThis[name]])) as Record<string, any> // what the script defines is in it, too
  runInNewContext(text, globals)
  return globals
}

const browserGlobals = [
  "AbortController",
  "AbortSignal",
  "clearInterval",
  "clearTimeout",
  "console",
  "crypto",
  "fetch",
  "Headers",
  "performance",
  "queueMicrotask",
  "Request",
  "Response",
  "setInterval",
  "setTimeout",
  "TextDecoder",
  "TextEncoder",
  "URL",
  "URLSearchParams"
] as const

describe.each([["by name", false], ["by the path of the built file", true]])(
  "a contract bundled for a browser %s",
  (_, direct) => {
    let bundle: Awaited<ReturnType<typeof bundled>>
    beforeAll(async () => {
      bundle = await bundled(direct)
    })

    it("contains no module of Node, no msgpackr and no Buffer", () => {
      expect(bundle.inputs.filter((file) => /msgpackr|^node:|\(disabled\)/.test(file))).toEqual([])
      expect(bundle.text).not.toMatch(/msgpackr|useRecords|"node:/)
      const ours = bundle.inputs.filter((file) =>
        /(^|\/)dist\/(?!esm)/.test(file) && !file.includes("node_modules/@effect")
      )
      expect(ours.map((file) => path.basename(file)).filter((file) => file !== "index.js").sort()).toEqual(
        ["SessionError.js", "browser.js", "security.js"]
      )
      for (const file of ours) {
        expect(fs.readFileSync(path.resolve(root, file), "utf8")).not.toMatch(
          /\bBuffer\b|\bprocess\./
        )
      }
    })

    describe("and run without Node's globals", () => {
      let server: http.Server
      let url: string
      beforeAll(() =>
        new Promise<void>((resolve) => {
          let first = true
          server = http.createServer((_request, response) => {
            response.writeHead(first ? 200 : 503, { "content-type": "application/json" })
            response.end(
              first ? `"ada"` : JSON.stringify({ _tag: "SessionError", reason: "Unavailable", applied: "no" })
            )
            first = false
          }).listen(0, "127.0.0.1", () => {
            url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
            resolve()
          })
        })
      )
      afterAll(() => server.close())

      it("calls the API and decodes a session's error", async () => {
        const { me } = page(bundle.text)
        expect(await me(url)).toBe("ada")
        expect(await me(url)).toBe("true Unavailable no")
      })

      it("dies with a message when a Layer is built", async () => {
        const deaths: ReadonlyArray<string> = await page(bundle.text).deaths()
        expect(deaths.length).toBe(5)
        for (const death of deaths) expect(death).toMatch(/effect-session: \S+ runs on a server only/)
      })
    })
  }
)

it("the module for browsers has every name of the index", () => {
  expect(Object.keys(browser).sort()).toEqual(Object.keys(server).sort())
  expect(Object.keys(browser.SessionHttp).sort()).toEqual(Object.keys(server.SessionHttp).sort())
})
