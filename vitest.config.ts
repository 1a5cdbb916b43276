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
    globalSetup: "./test/servers.ts",
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 60_000
  }
})
