/**
 * dynalite at a port, as a stand-in for DynamoDB: `node scripts/dynalite.mjs PORT`.
 *
 * Node's server closes an idle connection after 5 seconds. A client that sends
 * at that moment loses its request, and a write is not sent twice. So idle
 * connections stay open here.
 */
import dynalite from "dynalite"

const server = dynalite({ createTableMs: 0 })
server.keepAliveTimeout = 0
server.listen(Number(process.argv[2]), "127.0.0.1")
