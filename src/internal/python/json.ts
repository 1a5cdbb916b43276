/**
 * msgspec's JSON.
 *
 * @internal
 */

import { decode, splitTopLevel } from "./jsonReader.js"
import { encode, encodeKey, joinTopLevel } from "./jsonWriter.js"
import type { Codec } from "./TopLevel.js"

export const json: Codec = { decode, encode, encodeKey, splitTopLevel, joinTopLevel }
