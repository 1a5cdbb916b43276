/**
 * Python values as data, for sessions whose every key counts: `Flask.Dict`.
 *
 * | Python | here |
 * |---|---|
 * | None, bool | `null`, `boolean` |
 * | int | `bigint` |
 * | str | `string` |
 * | bytes | `Uint8Array` |
 * | list | an array |
 * | everything else | a class of this module |
 *
 * @since 0.1.0
 */
export {
  /** @since 0.1.0 @category conversions */
  fromPlain,
  /** @since 0.1.0 @category models */
  type Plain,
  /** @since 0.1.0 @category conversions */
  toPlain
} from "../internal/python/plain.js"
export {
  /** @since 0.1.0 @category errors */
  PythonCodecError
} from "../internal/python/PythonCodecError.js"
export {
  /** @since 0.1.0 @category conversions */
  fromTagged,
  /** @since 0.1.0 @category models */
  type Tagged,
  /** @since 0.1.0 @category conversions */
  toTagged
} from "../internal/python/tagged.js"
export {
  /** @since 0.1.0 @category models */
  PyDate,
  /** @since 0.1.0 @category models */
  PyDateTime,
  /** @since 0.1.0 @category models */
  PyDecimal,
  /** @since 0.1.0 @category models */
  PyDict,
  /** @since 0.1.0 @category models */
  PyExt,
  /** @since 0.1.0 @category models */
  PyFloat,
  /** @since 0.1.0 @category models */
  PyFrozenSet,
  /** @since 0.1.0 @category models */
  PySet,
  /** @since 0.1.0 @category models */
  PyTime,
  /** @since 0.1.0 @category models */
  PyTimeDelta,
  /** @since 0.1.0 @category models */
  PyTuple,
  /** @since 0.1.0 @category models */
  PyUuid,
  /** @since 0.1.0 @category models */
  type PyValue
} from "../internal/python/Value.js"
