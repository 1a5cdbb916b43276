/**
 * Gives a request its session, once per request and manager.
 *
 * @internal
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type { CurrentFiber, Setting } from "../internal/fiber.js"
import { internalsOf, type OpenedSession } from "../internal/session/SessionHandle.js"
import type { Session } from "../Session.js"
import * as SessionCookie from "../SessionCookie.js"
import { appendHook, interceptUpgrade, onLostHook, type Request, requestLocal } from "./platform.js"
import * as Respond from "./respond.js"

type Manager<H> = Pick<Session.ManagerOf<unknown, unknown, H>, "cookie" | "open">

/** A session attached to a request. */
export interface Attached<H> extends Respond.Exchange {
  /** The request's own object, which every `request.modify` keeps. */
  readonly source: unknown
  readonly manager: Manager<H>
  readonly opened: OpenedSession<H>
  provideSession: boolean
}

const attachedSessions = requestLocal<Attached<unknown>>("attached")

/** What `attach` found or made. `settings` are the fiber refs that a new one needs. */
export interface Attachment<H> {
  readonly attached: Attached<H>
  readonly isFirst: boolean
  readonly settings: ReadonlyArray<Setting>
}

/**
 * Opens the request's session. A second middleware of the same manager gets
 * the same one. Throws on what only a programmer can mend: it becomes a
 * defect.
 */
export const attach = <H>(
  fiber: CurrentFiber,
  request: Request,
  manager: Manager<H>,
  provideSession: boolean
): Attachment<H> => {
  const all = fiber.getFiberRef(attachedSessions)
  const others = all.filter((other) => other.source === request.source) // the rest is of a request around this one
  const again = others.find((other) => other.manager === manager) as Attached<H> | undefined // the same manager
  others.forEach((other) => refuseClash(other, manager, provideSession))
  if (again !== undefined) {
    again.provideSession ||= provideSession
    return { attached: again, isFirst: false, settings: [] }
  }
  const attached = open(fiber, request, manager, provideSession)
  const hook = appendHook(
    fiber,
    () => attached.hookHasRun = true,
    (response) => Respond.respond(attached, response)
  )
  return { attached, isFirst: true, settings: [[attachedSessions, [...all, attached]], hook] }
}

const open = <H>(
  fiber: CurrentFiber,
  request: Request,
  manager: Manager<H>,
  provideSession: boolean
): Attached<H> => {
  const opened = internalsOf(manager.open(SessionCookie.read(manager.cookie.name, request.headers.cookie)))
  const attached: Attached<H> = {
    source: request.source,
    manager,
    opened,
    cookie: manager.cookie,
    request,
    clock: Context.unsafeGet(fiber.currentDefaultServices, Clock.Clock),
    provideSession,
    end: undefined,
    hasFailed: false,
    hookHasRun: false
  }
  interceptUpgrade(request, () => opened.sendHead())
  onLostHook(
    fiber,
    () => !attached.hookHasRun && opened.wasUsed,
    () => Respond.lostWarning(attached)
  )
  return attached
}

const refuseClash = (other: Attached<unknown>, manager: Manager<unknown>, provideSession: boolean): void => {
  if (other.manager === manager) {
    return
  }
  if (other.manager.cookie.name === manager.cookie.name) {
    throw new Error(
      `Two sessions of this request use the cookie "${manager.cookie.name}": give one of them another cookie.name`
    )
  }
  if (other.provideSession && provideSession) {
    throw new Error(
      "Two sessions of this request provide the tag Session: " +
        "pass { provideSession: false } to one of the middlewares"
    )
  }
}
