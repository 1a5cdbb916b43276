/**
 * Steps in before any call of `node:fs` that the store makes, to stop it there
 * (as a signal would, between two system calls) or to let it fail.
 */
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"

type Done = (error: NodeJS.ErrnoException) => void
type Call = (...args: Array<any>) => void
type Hook = (name: string, args: ReadonlyArray<any>, proceed: () => void, fail: Done) => void

let hook: Hook | undefined

export const setHook = (next: Hook | undefined) => {
  hook = next
}

const names = [
  "close",
  "fstat",
  "fsync",
  "link",
  "lstat",
  "mkdir",
  "open",
  "read",
  "readdir",
  "readlink",
  "rename",
  "rmdir",
  "symlink",
  "unlink",
  "write"
]

const wrap = (name: string, original: Call): Call => (...args) => {
  if (hook === undefined) return original(...args)
  hook(name, args, () => original(...args), args.at(-1))
}

export const install = () => {
  const target = fs as unknown as Record<string, any>
  for (const name of names) target[name] = wrap(name, target[name])
  target.realpath.native = wrap("realpath", target.realpath.native)
  syncBuiltinESMExports()
}

export const errno = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code })

/** What was stopped: `resume` is its SIGCONT; never calling it is kill -9. */
export interface Stopped {
  readonly name: string
  readonly resume: () => void
}

/** Stops the caller before the first such call, and lets all later calls pass. */
export const stopWhen = (matches: (name: string, args: ReadonlyArray<any>) => boolean): Promise<Stopped> =>
  new Promise((resolve) => {
    hook = (name, args, proceed) => {
      if (!matches(name, args)) return proceed()
      hook = undefined
      resolve({ name, resume: proceed })
    }
  })

/** Stops it before its call number `step`, counted from 1. The caller must be alone until then. */
export const stopAt = (step: number): Promise<Stopped> => {
  let calls = 0
  return stopWhen(() => ++calls === step)
}
