import * as http from "node:http"

/** Serves on a free loopback port, and answers the port. */
export const listen = (handler) =>
  new Promise((resolve) => {
    const server = http.createServer(handler)
    server.listen(0, "127.0.0.1", () => resolve(server.address().port))
  })
