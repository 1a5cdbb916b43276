/**
 * What a schema is made of.
 *
 * @internal
 */
import * as AST from "effect/SchemaAST"

/** Whether any part of a schema is such. */
export const some = (ast: AST.AST, is: (ast: AST.AST) => boolean, visited = new Set<AST.AST>()): boolean => {
  if (visited.has(ast)) {
    return false
  }
  visited.add(ast)
  return is(ast) || partsOf(ast).some((part) => some(part, is, visited))
}

export const partsOf = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  switch (ast._tag) {
    case "Declaration":
      return ast.typeParameters
    case "TupleType":
      return [...ast.elements, ...ast.rest].map(({ type }) => type)
    case "TypeLiteral":
      return [...ast.propertySignatures, ...ast.indexSignatures].map(({ type }) => type)
    case "Union":
      return ast.types
    case "Suspend":
      return [ast.f()]
    case "Refinement":
      return [ast.from]
    case "Transformation":
      return [ast.from, ast.to]
    default:
      return []
  }
}

/** Decoding may drop what this part does not know. */
export const dropsKeys = (ast: AST.AST): boolean =>
  isStruct(ast) || ast._tag === "Declaration" ||
  (ast._tag === "Transformation" && some(ast.to, isAnything)) ||
  (isRecord(ast) && ast.indexSignatures.some(({ parameter }) => !AST.isStringKeyword(parameter)))

export const isAnything = (ast: AST.AST): boolean =>
  AST.isAnyKeyword(ast) || AST.isUnknownKeyword(ast) || AST.isObjectKeyword(ast)

/** Encoding ends in a struct that a transformation has made, with fields of its own besides. */
export const makesStructs = (ast: AST.AST): boolean =>
  ast._tag === "Transformation" && ast.transformation._tag !== "TypeLiteralTransformation" && some(ast.from, isStruct)

export const isStruct = (ast: AST.AST): boolean => ast._tag === "TypeLiteral" && ast.propertySignatures.length > 0

export const isRecord = (ast: AST.AST): ast is AST.TypeLiteral =>
  ast._tag === "TypeLiteral" && ast.indexSignatures.length > 0

/** A value of this part may have more nodes than the schema has. */
export const isOpenEnded = (ast: AST.AST): boolean =>
  isRecord(ast) || ast._tag === "Suspend" || (ast._tag === "TupleType" && ast.rest.length > 0)

/** What a schema decodes from first: its fields have their encoded names. */
export const encodedFrom = (ast: AST.AST): AST.AST => {
  switch (ast._tag) {
    case "Transformation":
    case "Refinement":
      return encodedFrom(ast.from)
    default:
      return ast
  }
}

/** A struct's fields by both names: they differ under `Schema.fromKey`. */
export const fieldNames = (
  ast: AST.AST
): ReadonlyArray<{ readonly decoded: PropertyKey; readonly encoded: PropertyKey }> => {
  if (ast._tag === "TypeLiteral" && ast.indexSignatures.length === 0) {
    return ast.propertySignatures.map(({ name }) => ({ decoded: name, encoded: name }))
  }
  if (ast._tag !== "Transformation" || ast.transformation._tag !== "TypeLiteralTransformation") {
    return []
  }
  const renamed = ast.transformation.propertySignatureTransformations
  return fieldNames(ast.to).map(({ decoded }) => ({
    decoded,
    encoded: renamed.find(({ to }) => to === decoded)?.from ?? decoded
  }))
}
