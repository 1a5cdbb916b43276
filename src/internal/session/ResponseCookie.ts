/**
 * What a request's response does with the session's cookie.
 *
 * @internal
 */

import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { SessionFormat, Snapshot } from "../../schema/SessionFormat.js"
import type { SessionId } from "../../schema/SessionId.js"
import type { CookieChange } from "../../SessionCookie.js"

const keep: CookieChange = { _tag: "Keep" }
const clear: CookieChange = { _tag: "Clear" }

export class ResponseCookie<A> {
  change: CookieChange = keep
  /** The response head is on its way: no cookie can be set any more. */
  isHeadSent = false

  constructor(
    private readonly format: SessionFormat<A>,
    /** The values of the cookies that came under the session's name. */
    private readonly presented: ReadonlyArray<string>
  ) {}

  set(id: SessionId, { persistent, stored }: Snapshot<A>): void {
    this.change = {
      _tag: "Set",
      value: Redacted.make(this.format.print(id)),
      expiresAt: persistent ? Option.some(stored.expiresAt) : Option.none()
    }
  }

  /** Tells the browser to drop the cookie, if it has one or would get one. */
  clear(): void {
    if (this.presented.length > 0 || this.change._tag === "Set") {
      this.change = clear
    }
  }

  keep(): void {
    this.change = keep
  }

  /** Does not send a presented id again: it may have ended, and could replace a newer one. */
  keepPresented(): void {
    if (this.sendsPresented) {
      this.change = keep
    }
  }

  /** Whether the response would send an id that the request came with. */
  get sendsPresented(): boolean {
    return this.change._tag === "Set" && this.presented.includes(Redacted.value(this.change.value))
  }
}
