import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = fileURLToPath(new URL("./src", import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-session$/, replacement: `${src}/index.ts` },
      { find: /^effect-session\/testing$/, replacement: `${src}/testing/StoreLaws.ts` },
      { find: /^effect-session\/(.+)$/, replacement: `${src}/$1.ts` }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    // taken down in reverse: the count of claims, then the servers and what was skipped
    globalSetup: ["./test/servers.ts", "./test/security/count.ts"],
    pool: "forks",
    // Most tests wait for a server more than they compute.
    maxWorkers: availableParallelism(),
    minWorkers: 1,
    testTimeout: 20_000,
    hookTimeout: 60_000
  }
})
