/** The session that a Flask app shares: its dict, with every key of any type. */
import { Session } from "effect-session"
import * as Flask from "effect-session/flask"

export class FlaskSession extends Session.Tag<FlaskSession>()("example/FlaskSession", Flask.Dict, {
  initial: Flask.emptyDict
}) {}
