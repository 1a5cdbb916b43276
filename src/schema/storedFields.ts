/**
 * Keeps what another version of the app has stored.
 *
 * @internal
 */

import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { dropsKeys, encodedFrom, isRecord, some } from "./ast.js"
import { codecOf } from "./schemaCodec.js"
import { equalData, isPlainObject, ownField } from "./values.js"

type Fields = Readonly<Record<string, unknown>>

/**
 * Makes of an encoded value what is stored. Keys that no version of the schema
 * here knows stay, and so does each field that has not changed, as it is stored.
 * The encodings tell whether it has: a value that a handler changed in place is
 * still the same object.
 */
export const keeper = <A, I>(schema: Schema.Schema<A, I>) => {
  const shape = shapeOf(schema)
  return (stored: Fields, encoded: unknown): unknown => {
    if (shape === undefined || !isPlainObject(encoded) || !shape.isSameMember(stored, encoded)) {
      return encoded
    }
    const kept = Object.entries(stored).filter(([key]) => !shape.knows(key))
    for (const key of Object.keys(encoded)) {
      if (!shape.mayLose(key) || !Object.hasOwn(stored, key) || equalData(stored[key], encoded[key])) {
        continue
      }
      if (equalData(shape.recoded(stored, key), encoded[key])) {
        kept.push([key, stored[key]])
      }
    }
    return kept.length === 0 ? encoded : Object.fromEntries([...Object.entries(encoded), ...kept])
  }
}

/** A payload's stored fields, as the schema sees them. */
interface Shape {
  readonly knows: (key: string) => boolean
  /** Whether the schema may drop a part of the field. */
  readonly mayLose: (key: string) => boolean
  /** What is left of a stored field when it is decoded and encoded. */
  readonly recoded: (stored: Fields, key: string) => unknown
  /** Whether both are the same member of a union, as far as literals tell. */
  readonly isSameMember: (stored: Fields, encoded: Fields) => boolean
}

const shapeOf = <A, I>(schema: Schema.Schema<A, I>): Shape | undefined => {
  const source = encodedFrom(schema.ast)
  const structs = source._tag === "Union" ? source.types.map(encodedFrom) : [source]
  if (!structs.every(AST.isTypeLiteral)) {
    return undefined
  }
  const anyKey = structs.some(isRecord)
  const properties = structs.flatMap(({ propertySignatures }) => propertySignatures)
  const known = new Set(properties.map(({ name }) => name))
  const lossy = new Set(properties.filter(({ type }) => some(type, dropsKeys)).map(({ name }) => name))
  const tags = structs.length === 1 ? [] : properties.filter(({ type }) => AST.isLiteral(type)).map(({ name }) => name)
  return {
    knows: (key) => anyKey || known.has(key),
    mayLose: (key) => known.has(key) ? lossy.has(key) : anyKey,
    recoded: structs.length === 1 ? fieldRecoder(structs[0]!) : wholeRecoder(schema),
    isSameMember: (stored, encoded) => tags.every((tag) => ownField(stored, tag) === ownField(encoded, tag))
  }
}

const fieldRecoder = ({ indexSignatures, propertySignatures }: AST.TypeLiteral): Shape["recoded"] => {
  const recoders = new Map<string, (stored: unknown) => unknown>()
  return (stored, key) => {
    const property = propertySignatures.filter(({ name }) => name === key)
    const name = property.length === 0 ? "" : key
    const recode = recoders.get(name) ??
      recoder(Schema.make<Fields>(new AST.TypeLiteral(property, property.length === 0 ? indexSignatures : [])))
    recoders.set(name, recode)
    return ownField(recode({ [key]: stored[key] }), key)
  }
}

const wholeRecoder = <A, I>(schema: Schema.Schema<A, I>): Shape["recoded"] => {
  const recode = recoder(schema)
  return (stored, key) => ownField(recode(stored), key)
}

const recoder = <A, I>(schema: Schema.Schema<A, I>) => {
  const { decode, encode } = codecOf(schema)
  return (stored: unknown): unknown => Either.getOrUndefined(Either.flatMap(decode(stored), encode))
}
