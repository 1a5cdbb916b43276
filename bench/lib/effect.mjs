import { HttpMiddleware } from "@effect/platform"

/** The platform's own tracing costs more than a session: off on both sides of every comparison. */
export const withoutTracer = HttpMiddleware.withTracerDisabledWhenEffect(() => true)
