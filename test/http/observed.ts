/** Everything an app says to loggers and tracers, at Trace level, as text. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"

export interface Observed {
  readonly layer: Layer.Layer<never>
  readonly logs: ReadonlyArray<string>
  readonly spans: ReadonlyArray<string>
  readonly text: () => string
}

const print = (value: unknown): string => {
  let json = ""
  try {
    json = JSON.stringify(value) ?? ""
  } catch {
    // what has a cycle is printed by inspect
  }
  return `${json} ${inspect(value, { depth: 6 })} ${String(value)}`
}

export const observe = (): Observed => {
  const logs: Array<string> = []
  const spans: Array<string> = []
  const logger = Logger.make((options) => {
    logs.push(Logger.stringLogger.log(options), Logger.jsonLogger.log(options), print(options.message))
  })
  // a failure as tracers print it; as JSON, the platform's request errors take the request's cookie along
  const endOf = (exit: Exit.Exit<unknown, unknown>) =>
    exit._tag === "Success" ? print(exit.value) : Cause.pretty(exit.cause)

  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      spans.push(name)
      return {
        _tag: "Span",
        name,
        spanId: String(Math.random()),
        traceId: Option.match(parent, { onNone: () => String(Math.random()), onSome: ({ traceId }) => traceId }),
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes,
        links,
        sampled: true,
        kind,
        end: (_, exit) => spans.push(endOf(exit)),
        attribute: (key, value) => {
          attributes.set(key, value)
          spans.push(`${key}=${print(value)}`)
        },
        event: (name, _, attributes) => spans.push(`${name} ${print(attributes)}`),
        addLinks: () => {}
      }
    },
    context: (run) => run()
  })

  return {
    layer: Layer.mergeAll(
      Logger.replace(Logger.defaultLogger, logger),
      Logger.minimumLogLevel(LogLevel.All),
      Layer.setTracer(tracer),
      Layer.succeedContext(Context.empty())
    ),
    logs,
    spans,
    text: () => [...logs, ...spans].join("\n")
  }
}
