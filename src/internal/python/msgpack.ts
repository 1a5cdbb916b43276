/**
 * msgspec's MessagePack.
 *
 * @internal
 */

import { decode, splitTopLevel } from "./msgpackReader.js"
import { encode, encodeKey, joinTopLevel } from "./msgpackWriter.js"
import type { Codec } from "./TopLevel.js"

export const msgpack: Codec = { decode, encode, encodeKey, splitTopLevel, joinTopLevel }
