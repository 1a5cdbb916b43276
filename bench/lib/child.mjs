/** Runs one file of `servers/` in a process of its own and tells its CPU time. */
import { cpu } from "./stats.mjs"

const { start } = await import(`../servers/${process.argv[2]}.mjs`)

process.on("message", () => process.send({ cpu: cpu() }))
process.on("disconnect", () => process.exit(0))
process.send(await start())
