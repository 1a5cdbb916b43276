// A file of its own: the laws share one TestClock, the other tests start at 0.
import { afterAll } from "@effect/vitest"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as FileSystem from "../../src/layers/FileSystem.js"
import { storeLaws } from "../../src/testing/StoreLaws.js"

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "file-laws-"))
const maxBytes = 2 ** 20

afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

// The laws know nothing of the disk: that what is answered is on it, FileSystem.test.ts shows.
storeLaws(FileSystem.layer({ directory, maxBytes, durable: false }), {
  name: "FileSystem",
  sweeps: true,
  scans: true,
  multiProcess: true,
  anyKey: true,
  maxBytes
})
