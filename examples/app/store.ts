/** Where sessions are kept: in a store that is named by a URL, whose driver alone gets imported. */
import * as SessionStoreUrl from "effect-session/layers/Url"
import * as Config from "effect/Config"
import * as Redacted from "effect/Redacted"

/** Redacted, for the URL may hold a password. */
const url = Config.redacted("SESSION_STORE").pipe(Config.withDefault(Redacted.make("file:./.sessions")))

export const Store = SessionStoreUrl.layerConfig({ url })
