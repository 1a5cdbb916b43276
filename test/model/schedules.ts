/**
 * Schedules: at random, as fast-check commands; and all of a small case, by
 * replaying prefixes of choices.
 */
import * as FastCheck from "effect/FastCheck"
import { type Browser, type Kind, kinds, Requests } from "./requests.js"
import { type Happening } from "./rules.js"
import { begin, type How, type Pending, type Simulation } from "./simulation.js"

export type Command =
  | {
    readonly send: Kind
    readonly browser: 0 | 1
    readonly late?: true
    readonly slow?: true
    readonly process?: 0 | 1
  }
  | { readonly let: number; readonly how: How }
  | { readonly abort: number }
  | { readonly wait: number }

const second = 1000
const minute = 60 * second

const command: FastCheck.Arbitrary<Command> = FastCheck.oneof(
  {
    weight: 5,
    arbitrary: FastCheck.record({
      send: FastCheck.constantFrom(...kinds, "update", "login", "logout"),
      browser: FastCheck.constantFrom(0, 0, 0, 1),
      late: FastCheck.constantFrom(undefined, undefined, undefined, undefined, true),
      slow: FastCheck.constantFrom(undefined, undefined, true),
      process: FastCheck.constantFrom(0, 0, 0, 1)
    }) as FastCheck.Arbitrary<Command>
  },
  {
    weight: 12,
    arbitrary: FastCheck.record({
      let: FastCheck.nat({ max: 7 }),
      how: FastCheck.constantFrom<ReadonlyArray<How>[number][]>(
        ..."deliver ".repeat(14).trim().split(" ") as Array<"deliver">,
        "loseReply",
        "loseReply",
        "loseRequest",
        "hold",
        "hold",
        "refuse"
      )
    })
  },
  { weight: 1, arbitrary: FastCheck.record({ abort: FastCheck.nat({ max: 3 }) }) },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      wait: FastCheck.constantFrom(second, second, 4 * minute, 4 * minute, 31 * second, 31 * minute, 25 * 60 * minute)
    })
  }
)

export const schedule = FastCheck.record({
  persistent: FastCheck.boolean(),
  commands: FastCheck.array(command, { minLength: 1, maxLength: 80, size: "max" })
})

export interface Schedule {
  readonly persistent: boolean
  readonly commands: ReadonlyArray<Command>
}

/** Runs commands from first to last, then lets all that is pending happen. */
export const run = async ({ commands, persistent }: Schedule): Promise<ReadonlySet<Happening>> => {
  const simulation = begin()
  const requests = new Requests(simulation, persistent)
  const browsers: ReadonlyArray<Browser> = [
    { cookie: undefined, former: undefined },
    { cookie: undefined, former: undefined }
  ]
  for (const command of commands) {
    step(simulation, requests, browsers, command)
    await requests.settle()
    check(simulation)
  }
  await finish(simulation, requests)
  return simulation.rules.happened
}

const step = (
  simulation: Simulation,
  requests: Requests,
  browsers: ReadonlyArray<Browser>,
  command: Command
): void => {
  if ("send" in command) {
    const browser = browsers[command.browser]!
    requests.send(command.send, browser, {
      slow: command.slow ?? false,
      process: command.process ?? 0,
      cookie: command.late && browser.former !== undefined ? browser.former : browser.cookie
    })
  } else if ("let" in command) {
    const { pending } = simulation
    if (pending.length > 0) {
      simulation.happen(pending[command.let % pending.length]!, command.how)
    }
  } else if ("abort" in command) {
    const open = requests.all.filter(({ aborted, status }) => status === undefined && !aborted)
    if (open.length > 0) {
      requests.abort(open[command.abort % open.length]!)
    }
  } else {
    simulation.now += command.wait
    simulation.story.push(`${command.wait / 1000} s later`)
  }
}

const check = (simulation: Simulation): void => {
  const { broken } = simulation.rules
  if (broken !== undefined) {
    broken.message += `\n  ${simulation.story.join("\n  ")}`
    throw broken
  }
}

/** What is pending happens; and each cookie that ever was is tried once more. */
const finish = async (simulation: Simulation, requests: Requests): Promise<void> => {
  await calm(simulation, requests)
  const opened = new Set<string>()
  const nobody: Browser = { cookie: undefined, former: undefined }
  for (const cookie of [...requests.cookies]) {
    const sent = requests.send("read", nobody, { cookie })
    await calm(simulation, requests)
    if (sent.seen !== undefined && sent.seen.done.length + sent.seen.slot.length > 0) {
      if (opened.has(sent.id!.key)) {
        throw new Error(`two ids open one session\n  ${simulation.story.join("\n  ")}`)
      }
      opened.add(sent.id!.key)
    }
  }
  simulation.rules.ended(requests.all)
  check(simulation)
}

const calm = async (simulation: Simulation, requests: Requests): Promise<void> => {
  while (simulation.pending.length > 0) {
    simulation.happen(simulation.pending[0]!, "deliver")
    await requests.settle()
    check(simulation)
  }
}

// ---------------------------------------------------------------------------
// all schedules of a small case
// ---------------------------------------------------------------------------

export interface Case {
  /** Sent at once, under one cookie. */
  readonly requests: ReadonlyArray<Kind | "touch">
  /** How many calls may go wrong. */
  readonly faults: number
}

/** Runs every schedule of the case, and answers how many there are. */
export const explore = async (
  { faults, requests: kinds }: Case,
  note: (happened: ReadonlySet<Happening>) => void
): Promise<number> => {
  /** The choices of the present schedule, and how many there were at each. */
  const path: Array<{ choice: number; of: number }> = []
  for (let schedules = 1;; schedules++) {
    let depth = 0
    const choose = (of: number): number => {
      if (depth === path.length) {
        path.push({ choice: 0, of })
      }
      return path[depth++]!.choice
    }
    note(await runCase(kinds, faults, choose))
    while (path.length > 0 && path.at(-1)!.choice + 1 === path.at(-1)!.of) {
      path.pop()
    }
    if (path.length === 0) {
      return schedules
    }
    path.at(-1)!.choice++
  }
}

const runCase = async (
  kinds: Case["requests"],
  faults: number,
  choose: (of: number) => number
): Promise<ReadonlySet<Happening>> => {
  const simulation = begin()
  const requests = new Requests(simulation, true)
  const browser: Browser = { cookie: undefined, former: undefined }
  requests.send("update", browser)
  await calm(simulation, requests)
  if (kinds.includes("touch")) {
    simulation.now += 4 * minute
  }
  const { cookie } = browser
  for (const kind of kinds) {
    requests.send(kind === "touch" ? "read" : kind, browser, { cookie })
  }
  let left = faults
  // whoever looks at the line comes too late to matter: nothing hangs here
  const pendingNow = () => simulation.pending.filter(({ event }) => event !== "watch")
  for (let pending = pendingNow(); pending.length > 0; pending = pendingNow()) {
    const asleep = pending.find(({ event }) => event === "sleep")
    const options = asleep === undefined ? optionsOf(pending, left > 0) : [[asleep, "deliver"] as const]
    const [next, how] = options[options.length === 1 ? 0 : choose(options.length)]!
    if (how !== "deliver") {
      left--
    }
    simulation.happen(next, how)
    await requests.settle()
    check(simulation)
  }
  await finish(simulation, requests)
  return simulation.rules.happened
}

const optionsOf = (pending: ReadonlyArray<Pending>, mayFail: boolean) =>
  pending.flatMap((pending): ReadonlyArray<readonly [Pending, How]> => {
    const hows: ReadonlyArray<How> = !mayFail || pending.event === "held"
      ? ["deliver"]
      : pending.event === "load"
      ? ["deliver", "loseRequest"] // a load that changes nothing is lost in one way only
      : ["deliver", "loseReply", "loseRequest", "hold"]
    return hows.map((how) => [pending, how] as const)
  })
