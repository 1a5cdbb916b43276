/** What `npm test` says before it installs servers. */
import { expect, it } from "vitest"
import { installNotice, missingServers } from "../../scripts/servers.mjs"

const names = (servers: ReturnType<typeof missingServers>) => servers.map((server) => server.package)

it("a server that is installed or named by its variable is not installed", () => {
  expect(missingServers({}, () => true)).toEqual([])
  expect(names(missingServers({}, (binary) => binary !== "memcached"))).toEqual(["memcached"])
  expect(names(missingServers({ REDIS_URL: "redis://host" }, () => false))).not.toContain("redis-server")
})

it("the notice names every package, the variable that avoids it, and the one that avoids all", () => {
  const missing = missingServers({}, () => false)
  const notice = installNotice(missing)
  for (const server of missing) {
    expect(notice).toContain(server.package)
    expect(notice).toContain(server.variable ?? server.package)
  }
  expect(notice).toContain("INSTALL_SERVERS=no")
})
