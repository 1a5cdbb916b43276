/** Talks to servers/counter.mjs, a process each. */
import { fork } from "node:child_process"
import { once } from "node:events"
import * as http from "node:http"
import { fileURLToPath } from "node:url"

const child = fileURLToPath(new URL("./child.mjs", import.meta.url))

/** The session's cookie in a response: undefined when none is set, `""` when it is cleared. */
const cookieIn = ({ headers }) => /^id=([^;]*)/.exec(headers["set-cookie"]?.[0] ?? "")?.[1]

/** Starts a process over a store; `stop` ends it. */
export const startCounter = async (url, { maxSockets = Infinity } = {}) => {
  const env = { ...process.env, SESSION_STORE: url }
  const server = fork(child, ["counter"], { env, execArgv: ["--expose-gc"] })
  const [port] = await Promise.race([
    once(server, "message"),
    once(server, "exit").then(() => Promise.reject(new Error("The server did not start.")))
  ])
  const agent = new http.Agent({ keepAlive: true, maxSockets })

  /** Status, body, cookie and milliseconds of one request. */
  const send = (method, path, cookie) =>
    new Promise((resolve, reject) => {
      const start = performance.now()
      const headers = cookie ? { cookie: `id=${cookie}` } : {}
      const request = http.request({ host: "127.0.0.1", port, method, path, headers, agent }, async (response) => {
        try {
          const body = Buffer.concat(await response.toArray()).toString()
          const { statusCode: status } = response
          resolve({ status, body, cookie: cookieIn(response), millis: performance.now() - start })
        } catch (error) {
          reject(error)
        }
      })
      request.on("error", reject).end()
    })

  return {
    send,
    report: async () => JSON.parse((await send("GET", "/report")).body),
    stop: () => {
      agent.destroy()
      server.disconnect()
    }
  }
}
