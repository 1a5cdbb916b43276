import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll } from "vitest"
import { mysqlUrl, postgresUrl } from "../backends.js"
import { sharing } from "./sharing.js"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-session-flask-"))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const withTable = (url: string | undefined) => url && `${url}?table=flask_${process.pid}`

sharing({ name: "PostgreSQL", url: withTable(postgresUrl) })
sharing({ name: "MySQL", url: withTable(mysqlUrl), largest: 60_000 })
sharing({ name: "SQLite", url: `sqlite:${path.join(folder, "flask.db")}` })
