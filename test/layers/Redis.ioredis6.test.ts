/** All of Redis.test.ts again, with ioredis 6 in the place of 5. */
import type { Cluster, Redis } from "ioredis6"
import { vi } from "vitest"
import { layerClient } from "../../src/layers/Redis.js"
import "./Redis.test.js"

vi.mock("ioredis", () => import("ioredis6"))

export const itsTypesFit = (client: Redis | Cluster) => layerClient({ client })
