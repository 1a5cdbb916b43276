/**
 * The guards of core, format and cookie, each with a mutation that takes it
 * away and the law that notices. A guard is marked in the source, in the line
 * above the mutation's first, by `// guard:` and its name.
 */
export interface CoreMutant {
  readonly guard: string
  /** Under `src`. */
  readonly file: string
  /** Occurs in the file exactly once. */
  readonly find: string
  readonly replace: string
  readonly law: string
}

const inFile = (file: string, mutants: ReadonlyArray<Omit<CoreMutant, "file">>): ReadonlyArray<CoreMutant> =>
  mutants.map((mutant) => ({ file, ...mutant }))

const m = (guard: string, find: string, replace: string, law: string) => ({ guard, find, replace, law })

export const coreMutants: ReadonlyArray<CoreMutant> = [
  ...inFile("handle/Verdict.ts", [
    m(
      "the verifier opens the session",
      "if (equalBytes(record.proof, proof)) {",
      "if (true) {",
      "a wrong verifier reads nothing"
    ),
    m(
      "a retired id is recognised",
      "? \"ended\" : \"wrong\"",
      "? \"wrong\" : \"wrong\"",
      "a write under a retired id is Gone"
    ),
    m("a retired id is recognised", "ended.until > now && ", "", "a retired id is forgotten after 30 seconds"),
    m(
      "sliding, within the absolute deadline",
      "Math.min(record.absoluteDeadline, now + record.idleTimeout)",
      "now + record.idleTimeout",
      "no use carries a session beyond its absolute deadline"
    ),
    m(
      "sliding, within the absolute deadline",
      "Math.min(record.absoluteDeadline, now + record.idleTimeout)",
      "record.absoluteDeadline",
      "a session that is not used ends"
    ),
    m("touches are throttled", "record.idleTimeout / 10", "0", "a deadline is moved once per tenth of the idle timeout")
  ]),
  ...inFile("internal/turns.ts", [
    m(
      "one that hangs does not hold up the line",
      "line.turn.heldBy === holder",
      "false",
      "a write that never ends holds up no other request"
    )
  ]),
  ...inFile("handle/RequestSession.ts", [
    m(
      "a store's word on deadlines is checked",
      "stored.expiresAt > now && ",
      "",
      "a record that the store hands out late is no session"
    ),
    m(
      "a store's word on deadlines is checked",
      "&& record.absoluteDeadline > now",
      "",
      "a record beyond its own deadlines is no session, whatever the store says"
    ),
    m(
      "what is gone is written by nobody",
      "this.status === \"new\" || (this.status === \"ended\" && regenerates)",
      "true",
      "a write under a retired id is Gone"
    ),
    m(
      "what is gone is written by nobody",
      "(this.status === \"ended\" && regenerates)",
      "false",
      "a login under a retired id starts a session without the old data"
    ),
    m(
      "a write is conditional",
      "if (version._tag === \"None\") {\n          return this.retry(work)",
      "if (false) {\n          return this.retry(work)",
      "two updates at once are both stored"
    ),
    m(
      "missing at the commit is gone",
      "return this.gone(missing)",
      "this.status = \"new\"; return this.attempt(work, 0)",
      "a session that is destroyed under a writer stays gone, and the writer is told"
    ),
    m(
      "what vanished sends no cookie",
      "this.cookie = keep\n    this.id = undefined",
      "this.id = undefined",
      "a session that vanished sends no cookie"
    ),
    m(
      "a stale touch sends no cookie",
      "if (!touched) {",
      "if (false) {",
      "a touch that finds the session gone sends no cookie"
    ),
    m(
      "a failed commit does not send the presented id again",
      "Redacted.value(this.cookie.value) === this.presented",
      "false",
      "a commit that gave up does not send an id that a login has ended"
    ),
    m(
      "nobody goes back behind what the request has seen",
      "found.right.base.record.seq < work.base!.record.seq",
      "false",
      "a decision is made by nothing older than what its request has read"
    ),
    m(
      "the verdict falls again at each attempt",
      "if (found.right._tag !== \"Current\") {\n        return this.gone",
      "if (false) {\n        return this.gone",
      "a login elsewhere makes a late write Gone"
    ),
    m(
      "a commit knows its token",
      "record.tokens.some((token) => equalBytes(token, work.token))",
      "false",
      "an update whose reply was lost is applied once"
    ),
    m(
      "too far to tell is unknown",
      "record.seq - uncertain.base.record.seq > ringSizes.tokens",
      "false",
      "behind nine commits of others its fate is unknown, and nothing more is written"
    ),
    m(
      "an unknown outcome spends the handle",
      "if (this.spent !== undefined && this.turn?.isFree !== false) {",
      "if (false) {",
      "behind nine commits of others its fate is unknown, and nothing more is written"
    ),
    m(
      "an insert without an answer takes another id",
      "Effect.flatMap(format.make, (id) => {",
      "Effect.flatMap(Effect.suspend(() => work.nextId ? Effect.succeed(work.nextId) : format.make), (id) => { work.nextId = id",
      "an insert without an answer is tried again under another id, and not for ever"
    ),
    m(
      "inserts are bounded",
      "++work.inserts < maxInserts",
      "++work.inserts < 9",
      "an insert without an answer is tried again under another id, and not for ever"
    ),
    m(
      "retries are bounded",
      "work.retries > maxRetries ||",
      "work.retries > 99 ||",
      "a commit that stays stale is a Conflict after 32 attempts or 5 seconds"
    ),
    m(
      "retries are bounded",
      "|| clock.unsafeCurrentTimeMillis() - work.startedAt > maxMillis",
      "",
      "a commit that stays stale for 5 seconds is a Conflict"
    ),
    m(
      "no cookie after the head",
      "if (this.finished) {\n      return Effect.fail(SessionError.failure(\"HeadersSent\"))",
      "if (false) {\n      return Effect.fail(SessionError.failure(\"HeadersSent\"))",
      "after the head no session is created"
    ),
    m(
      "no new id after the head",
      "this.finished ? Effect.fail(SessionError.failure(\"HeadersSent\")) : ",
      "",
      "after the head no session gets a new id"
    ),
    m(
      "a removal is conditional, three times",
      "stale < 3 ? base.stored.version : undefined",
      "undefined",
      "a logout removes nothing that it has not verified"
    ),
    m("a removal is conditional, three times", "stale < 3 ?", "stale < 30 ?", "a logout does not starve"),
    m(
      "a logout under a retired id is Gone",
      "case \"ended\":\n            return Effect.fail(SessionError.conflict(\"Gone\"))",
      "case \"ended\":\n            return this.emptied",
      "a logout under a retired id is not acknowledged"
    ),
    m(
      "a logout that was overtaken is Gone",
      "this.superseded ? Effect.fail(SessionError.conflict(\"Gone\")) : ",
      "",
      "nor is one of a request that a login elsewhere has overtaken"
    ),
    m(
      "a logout clears the cookie",
      "this.presented !== undefined || this.cookie._tag === \"Set\"",
      "false",
      "a logout clears the cookie"
    ),
    m(
      "what died is not written",
      "this.entries = this.entries.filter((entry) => !Log.isWrite(entry))",
      "",
      "what was discarded is never written"
    ),
    m(
      "unavailable is not missing",
      "return error.reason === \"Corrupt\" && this",
      "return this",
      "a store that is down logs nobody out"
    ),
    m(
      "unavailable is not missing",
      "&& this.settings.onCorrupt === \"anonymous\"",
      "",
      "what cannot be decoded fails where the app says so"
    ),
    m(
      "retired proofs are remembered",
      "[{ proof: previous.proof, until: now + Verdict.endedFor }, ...alive]",
      "alive",
      "a write under a retired id is Gone"
    )
  ]),
  ...inFile("handle/Log.ts", [
    m(
      "a moved key is not set",
      "if (draft.guards?.get(entry.key)?.moved) {",
      "if (false) {",
      "a set of a key that was read and has moved is a Conflict"
    ),
    m(
      "an updater that throws is a failure",
      "return Either.left(failure(\"Updater\", cause))",
      "throw cause",
      "an updater that throws when it is run again fails the commit by type"
    )
  ]),
  ...inFile("handle/SessionHandle.ts", [
    m("lifetimes have bounds", "millis >= 1 && ", "", "a lifetime is between a millisecond and ten years"),
    m("lifetimes have bounds", "&& millis <= maxTimeout", "", "a lifetime is between a millisecond and ten years")
  ]),
  ...inFile("schema/SessionFormat.ts", [
    m("a ring of eight tokens", "tokens: 8 }", "tokens: 1 }", "it is recognised behind seven commits of others"),
    m("one spelling", "[AQgw]$/", "[A-Za-z0-9_-]$/", "an id has one spelling"),
    m("one spelling", "/^[A-Za-z0-9_-]{53}", "/[A-Za-z0-9_-]{53}", "an id has one spelling"),
    m(
      "a new id has a new verifier",
      "subarray(0, selectorSize), randomBytes(verifierSize)]",
      "subarray(0, selectorSize), NativeId.secretOf(id).subarray(selectorSize)]",
      "after a login the old cookie opens nothing"
    ),
    m(
      "keys and references are apart",
      "ref: prefixed(tag, 1)",
      "ref: prefixed(tag, 0)",
      "two tags share no record, and a reference tells nothing of its key"
    ),
    m(
      "hashes begin with the tag",
      "Buffer.concat([Buffer.from(tag), ",
      "Buffer.concat([",
      "two tags share no record, and a reference tells nothing of its key"
    ),
    m(
      "the store holds hashes",
      "this.proof = sha256(secret.subarray(selectorSize))",
      "this.proof = Buffer.concat([secret.subarray(selectorSize), Buffer.alloc(8)])",
      "neither half of an id is in the store"
    ),
    m(
      "an id prints as nothing",
      "toJSON(): string {\n    return \"<redacted>\"",
      "toJSON(): string {\n    return this.key",
      "an id prints as nothing"
    ),
    m(
      "newer versions are told apart",
      "data[0]! > version && data[0]! < 0x10",
      "false",
      "a record of a newer version is left alone"
    ),
    m("newer versions are told apart", " && data[0]! < 0x10", "", "foreign bytes are no record"),
    m("the header is checked", "data.length < headerSize + 2 || ", "", "a record that is cut off is no record"),
    m("the header is checked", "|| data[1]! > persistentFlag", "", "unknown flags are no record"),
    m("retired proofs are bounded", "endedCount > ringSizes.ended || ", "", "too many retired proofs are no record"),
    m("tokens are bounded", "tokenCount > ringSizes.tokens || ", "", "too many tokens are no record")
  ]),
  ...inFile("schema/PayloadCodec.ts", [
    m(
      "encoding is bounded in size",
      "return bytes.length > maxBytes\n          ? Either.left(sizeFailure",
      "return false\n          ? Either.left(sizeFailure",
      "a payload over the limit is TooLarge"
    ),
    m(
      "decoding is bounded in size",
      "return bytes.length > maxBytes\n          ? Either.left(failure",
      "return false\n          ? Either.left(failure",
      "stored bytes over the limit are not decoded"
    ),
    m(
      "encoding is bounded in depth",
      "if (depth === 0) {",
      "if (false) {",
      "a value that is nested too deep is refused"
    ),
    m(
      "decoding is bounded in depth",
      "if (depth < 0) {",
      "if (false) {",
      "stored bytes that are nested too deep are refused"
    ),
    m("no extensions", "if (length(2) !== 0) {", "length(2); if (false) {", "extensions are refused"),
    m("unknown types are refused", "throw new Error(\"not data\")", "return", "a byte that is never used is refused"),
    m("text is UTF-8", "if (isUtf8(bytes.subarray(i, at))) {", "if (true) {", "text that is not UTF-8 is refused"),
    m(
      "keys are text",
      "if (size < 0) {\n      throw new Error(\"a key is not text\")\n    }",
      "if (size < 0) return",
      "a key that is not text is refused"
    ),
    m("__proto__ is data", "return found.hasProtoKey ?", "return false ?", "the key __proto__ is data"),
    m(
      "plain objects only",
      "if (prototype !== Object.prototype && prototype !== null) {",
      "if (false) {",
      "an instance of a class is no plain data"
    )
  ]),
  ...inFile("http/SessionCookie.ts", [
    m(
      "duplicates are nobody's",
      "return duplicate\n",
      "return { _tag: \"Found\", value: found }\n",
      "of two cookies of the name neither is believed"
    ),
    m(
      "the name is the whole name",
      " && header.charCodeAt(start + name.length) === 0x3d",
      "",
      "a name that only begins like the cookie's is another"
    ),
    m(
      "the name is a token",
      "if (!token.test(name) || name.length > 256) {",
      "if (false) {",
      "a cookie's name is a token"
    ),
    m(
      "the domain is a host",
      "if (domain !== undefined && !hostName.test(domain)) {",
      "if (false) {",
      "a cookie's domain is a host name"
    ),
    m(
      "the path is one",
      "if (!pathChars.test(path) || path.length > maxAttribute) {",
      "if (false) {",
      "a cookie's path is one"
    ),
    m("none needs secure", "if (!secure && sameSite === \"none\") {", "if (false) {", "sameSite none needs secure"),
    m("partitioned needs secure", "if (!secure && partitioned) {", "if (false) {", "partitioned needs secure"),
    m(
      "__Host- keeps its promise",
      "if (!secure || !hostOnly) {",
      "if (!secure) {",
      "__Host- needs secure, no domain and the path /"
    ),
    m(
      "__Secure- keeps its promise",
      "if (!secure) {\n      return wrong(\"name\"",
      "if (false) {\n      return wrong(\"name\"",
      "__Secure- needs secure"
    ),
    m("no look-alikes", "} else if (almostPrefix.test(name)) {", "} else if (false) {", "almost a prefix is refused")
  ]),
  ...inFile("http/attach.ts", [
    m(
      "no script reads the cookie",
      "httpOnly: true,",
      "httpOnly: false,",
      "a new session's cookie is Secure, HttpOnly, SameSite=Lax, for / and without an end"
    ),
    m(
      "the cookie's attributes are the options'",
      "secure: cookie.secure,",
      "",
      "a new session's cookie is Secure, HttpOnly, SameSite=Lax, for / and without an end"
    ),
    m(
      "the cookie's attributes are the options'",
      "sameSite: cookie.sameSite,",
      "",
      "a logout clears the cookie with its own attributes"
    ),
    m(
      "no cache stores a cookie",
      "HttpServerResponse.setHeader(decorated, \"cache-control\", uncachedOf(response))",
      "decorated",
      "a response that sets the cookie is stored by no cache"
    ),
    m("Vary is merged", ": `${vary}, Cookie`", ": \"Cookie\"", "a response that used the session varies by cookie"),
    m(
      "an unused session leaves no trace",
      "return used ? decorate(",
      "return true ? decorate(",
      "a response that did not use the session is left as it is"
    ),
    m(
      "cleared at once",
      "return { maxAge: Duration.zero, expires: new Date(0) }",
      "return {}",
      "a logout clears the cookie with its own attributes"
    ),
    m(
      "a defect drops the log",
      "if (!used || outcome === \"died\") {",
      "if (!used) {",
      "a handler that dies has written nothing"
    ),
    m(
      "a failed commit keeps no description of the body",
      " && name !== \"etag\"",
      "",
      "a commit that fails is answered instead of the response, without its ETag"
    )
  ])
]
