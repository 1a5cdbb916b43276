/**
 * Everything that knows how the platform runs a handler and its pre-response
 * hook. `docs/design.md` has the reasons; each trap has its test.
 *
 * @internal
 */

import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { type CurrentFiber, setRefs, type Setting } from "../internal/fiber.js"

export type Request = HttpServerRequest.HttpServerRequest
export type Response = HttpServerResponse.HttpServerResponse

// ---------------------------------------------------------------------------
// fiber refs
// ---------------------------------------------------------------------------

/** A list that lives as long as the platform's hooks do: a web Request can be handled twice. */
export const requestLocal = <A>(name: string): FiberRef.FiberRef<ReadonlyArray<A>> =>
  globalValue(Symbol.for(`effect-session/http/${name}`), () => FiberRef.unsafeMake<ReadonlyArray<A>>([]))

/**
 * The setting that appends a hook. It looks at the response before the hooks
 * that stand already, and works after them: the platform's `cors` sets `Vary`
 * in its own.
 */
export const appendHook = (
  fiber: CurrentFiber,
  before: () => void,
  respond: (response: Response) => Effect.Effect<Response>
): Setting => {
  const previous = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
  const hook: HttpApp.PreResponseHandler = (request, response) => {
    before()
    return previous._tag === "None"
      ? respond(response)
      : Effect.flatMap(previous.value(request, response), respond)
  }
  return [HttpApp.currentPreResponseHandlers, Option.some(hook)]
}

/**
 * Runs `app` with other services and settings, and passes its end on. The
 * context is the outer one again when `onEnd` runs.
 */
export const runWith = <E>(
  fiber: CurrentFiber,
  context: Context.Context<never>,
  settings: ReadonlyArray<Setting>,
  app: Effect.Effect<Response, E>,
  onSuccess: (response: Response) => Effect.Effect<Response>,
  onFailure: (cause: Cause.Cause<E>) => Effect.Effect<void>
): Effect.Effect<Response, E> => {
  const outer = fiber.currentContext
  setRefs(fiber, [...settings, [FiberRef.currentContext, context]])
  return Effect.matchCauseEffect(app, {
    onSuccess: (response) => {
      setRefs(fiber, [[FiberRef.currentContext, outer]])
      return onSuccess(response)
    },
    onFailure: (cause) => {
      setRefs(fiber, [[FiberRef.currentContext, outer]])
      return Effect.zipRight(onFailure(cause), Effect.failCause(cause))
    }
  })
}

// ---------------------------------------------------------------------------
// how the handler ended
// ---------------------------------------------------------------------------

/**
 * As the middleware of `HttpServer.serve`, ours gets the platform's own error
 * handling: an effect that catches every cause, answers it and runs the hook.
 * This looks at the cause before the platform does. Any other app is returned
 * as it is, for there the middleware itself sees the cause.
 */
export const interceptErrorHandling = <E, R>(
  app: Effect.Effect<Response, E, R>,
  onCause: (cause: Cause.Cause<unknown>) => void
): Effect.Effect<Response, E, R> => {
  const { _op, effect_instruction_i0: inner, effect_instruction_i1: handle } = app as unknown as Partial<OnFailure>
  if (_op !== "OnFailure" || !Effect.isEffect(inner) || typeof handle !== "function") {
    return app
  }
  const handled = Effect.catchAllCause(inner, (cause) => {
    onCause(cause)
    return handle(cause)
  })
  return handled as Effect.Effect<Response, E, R> // the same effect, with a look at its cause
}

/** How Effect 3 represents `catchAllCause`. */
interface OnFailure {
  readonly _op: string
  readonly effect_instruction_i0: unknown
  readonly effect_instruction_i1: (cause: Cause.Cause<unknown>) => Effect.Effect<unknown>
}

/**
 * An HttpApi middleware is an effect that runs before the handler, in its
 * fiber, and sees nothing of its end. What runs next stands on the fiber's
 * stack: the frame that provides the service to the handler. This puts a frame
 * of ours below it, so that the handler's end passes through.
 *
 * Call it in the middleware's effect. Returns false when the stack is not as
 * expected; `looksDead` is then what is left.
 */
export const observeHandler = (
  fiber: CurrentFiber,
  onSuccess: (value: unknown) => Effect.Effect<unknown>,
  onFailure: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
): boolean => {
  const stack = (fiber as { readonly _stack?: ReadonlyArray<{ readonly _op?: string }> })._stack
  const at = Array.isArray(stack) ? stack.findLastIndex(({ _op }) => _op === "OnSuccess") : -1
  if (at < 0) {
    return false
  }
  const frame = Effect.matchCauseEffect(Effect.void as Effect.Effect<unknown, unknown>, {
    onSuccess,
    onFailure: (cause) => Effect.zipRight(onFailure(cause), Effect.failCause(cause))
  })
  ;(stack as Array<unknown>).splice(at, 0, frame)
  return true
}

/**
 * Whether a handler has died whose end was not seen: its fiber is interrupted,
 * or the response is bare, as the platform's own answers to a defect and to an
 * interruption are. They are not recognized by identity, because a CommonJS app
 * has a second copy of the platform.
 */
export const looksDead = (fiber: CurrentFiber, { body, cookies, headers, status }: Response): boolean =>
  !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause)) ||
  (bareStatuses.has(status) && body._tag === "Empty" && Object.keys(headers).length === 0 &&
    Object.keys(cookies.cookies).length === 0)

const bareStatuses: ReadonlySet<number> = new Set([500, 499, 503])

/** Whether a cause has a defect that is no response, or is an interruption alone. */
export const isDeath = (cause: Cause.Cause<unknown>): boolean => {
  for (const defect of Cause.defects(cause)) {
    if (!HttpServerResponse.isServerResponse(defect)) {
      return true
    }
  }
  return Cause.isInterruptedOnly(cause) // a failure interrupts its sibling fibers too
}

/** The hook of a fiber that has succeeded runs at once, or it never runs. */
const hookMillis = 5000

/**
 * Effect takes over the refs of a child fiber when the child succeeds, and only
 * then. If the middleware runs in such a fiber (`Effect.timeout`, `race` or a
 * fork around it) and the fiber fails, the hook is lost. So it is inside of
 * `HttpApp.withPreResponseHandler`, which takes back every hook set within.
 */
export const onLostHook = (fiber: CurrentFiber, isLost: () => boolean, warning: () => string): void => {
  const warn = () => {
    if (isLost()) {
      const runtime = Runtime.make({
        context: fiber.currentContext,
        runtimeFlags: Runtime.defaultRuntimeFlags,
        fiberRefs: fiber.getFiberRefs()
      })
      Runtime.runFork(runtime)(Effect.logWarning(warning()))
    }
  }
  fiber.addObserver((exit) => {
    // `Effect.timeout` and `race` wrap the child's failure in a success
    if (Exit.isFailure(exit) || (Exit.isExit(exit.value) && Exit.isFailure(exit.value))) {
      warn()
    } else if (isLost()) { // so far: the parent may still run the hook
      setTimeout(warn, hookMillis).unref()
    }
  })
}

// ---------------------------------------------------------------------------
// requests and responses
// ---------------------------------------------------------------------------

/**
 * Calls `onUpgrade` before a WebSocket handshake begins. The handshake is
 * written by the socket library, so no cookie can be set by it or after it.
 */
export const interceptUpgrade = (request: Request, onUpgrade: () => void): void => {
  if (request.headers.upgrade === undefined) {
    return
  }
  // `request.modify` hands on `upgradeEffect`, where there is one
  const name = "upgradeEffect" in request && Effect.isEffect(request.upgradeEffect) ? "upgradeEffect" : "upgrade"
  const upgrade = (request as unknown as Record<typeof name, Request["upgrade"]>)[name]
  Object.defineProperty(request, name, {
    configurable: true,
    value: Effect.suspend(() => {
      onUpgrade()
      return upgrade
    })
  })
}

/** Whether the app's own effects produce the body after the head has been sent. */
export const isStreamed = ({ body }: Response): boolean => body._tag === "Stream"

/**
 * Releases a body that is not sent: an open file, a connection. An Effect
 * stream has acquired nothing before it runs.
 */
export const releaseBody = ({ body }: Response): void => {
  if (body._tag === "Raw") {
    release(body.body)
  }
}

const release = (raw: unknown): void => {
  if (typeof raw !== "object" || raw === null) {
    return
  }
  const { body, cancel, destroy } = raw as {
    readonly body?: unknown
    readonly cancel?: unknown
    readonly destroy?: unknown
  }
  if (typeof destroy === "function") { // a stream of Node
    destroy.call(raw)
  } else if (typeof cancel === "function") { // a stream of the web. A locked one is released by its reader
    Promise.resolve(cancel.call(raw)).catch(() => {})
  } else { // a Response
    release(body)
  }
}
