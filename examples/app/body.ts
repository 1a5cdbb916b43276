/** Reads what a request sends: at most 64 KiB, and of the shape that is asked for. */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { Refused } from "./refused.js"

export const maxBytes = 64 * 1024

/** Decodes JSON. */
export const json = <A, I>(schema: Schema.Schema<A, I>) =>
  text.pipe(
    Effect.filterOrFail((body) => body !== "", () => refuse("The body is missing: send JSON.")),
    Effect.flatMap((body) =>
      Effect.try({
        try: (): unknown => JSON.parse(body),
        catch: (error) => refuse(`The body is not JSON: ${(error as SyntaxError).message}`)
      })
    ),
    Effect.flatMap(decode(schema))
  )

/** Decodes the fields of an HTML form. */
export const form = <A, I>(schema: Schema.Schema<A, I>) =>
  Effect.flatMap(text, (body) => decode(schema)(Object.fromEntries(new URLSearchParams(body))))

/** Decodes the query of the URL. */
export const query = <A, I extends Readonly<Record<string, string | undefined>>>(schema: Schema.Schema<A, I>) =>
  Effect.flatMap(HttpServerRequest.ParsedSearchParams, decode(schema))

const decode = <A, I>(schema: Schema.Schema<A, I>) => {
  const decodeUnknown = Schema.decodeUnknown(schema)
  return (input: unknown) => Effect.mapError(decodeUnknown(input), (error) => refuse(explain(error), 422))
}

const explain = (error: ParseResult.ParseError) => {
  const [{ message, path }] = ParseResult.ArrayFormatter.formatErrorSync(error) as [ParseResult.ArrayFormatterIssue] // one at least
  return path.length === 0 ? message : `${path.join(".")}: ${message}`
}

const refuse = (message: string, status = 400) => new Refused({ status, message })

const tooLarge = refuse(`The body is larger than ${maxBytes} bytes.`, 413)

const utf8 = new TextDecoder("utf-8", { fatal: true })

/**
 * The platform's own limit cuts the connection. This one answers: what is over
 * the limit is neither kept nor waited for, and Node drops it as it comes.
 */
const text = Effect.flatMap(
  HttpServerRequest.HttpServerRequest,
  (request) =>
    Effect.async<string, Refused>((resume) => {
      const source = NodeHttpServerRequest.toIncomingMessage(request)
      if (Number(source.headers["content-length"]) > maxBytes) {
        return resume(tooLarge)
      }
      const chunks: Array<Buffer> = []
      let size = 0
      const keep = (chunk: Buffer) => {
        size += chunk.length
        if (size <= maxBytes) return void chunks.push(chunk)
        source.off("data", keep)
        resume(tooLarge)
      }
      source.on("data", keep)
      source.once("error", () => resume(refuse("The body ended early.")))
      source.once("end", () =>
        resume(Effect.try({
          try: () => utf8.decode(Buffer.concat(chunks)),
          catch: () => refuse("The body is not UTF-8.")
        })))
    })
)
