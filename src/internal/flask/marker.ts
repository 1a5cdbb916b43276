/**
 * What a store of Flask's says of itself beside `SessionStore`.
 *
 * @internal
 */
import * as Context from "effect/Context"

/** The store holds pickles: cachelib writes nothing else. */
export class Pickled extends Context.Tag("effect-session/flask/Pickled")<Pickled, true>() {}
