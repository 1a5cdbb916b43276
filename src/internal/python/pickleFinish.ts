/**
 * From a pickle's graph to a value. Objects that are shared stay shared, but
 * count each time, as they would be written out: sixty lists that each hold the
 * one before twice are 300 bytes of pickle and 2^60 lists.
 *
 * @internal
 */

import { uniqueEntries, uniqueItems } from "./hash.js"
import type { Limits } from "./limits.js"
import { Container, Global, type Leaf, type PickleNode, UuidObject, Zone } from "./pickleNodes.js"
import { malformed, PythonCodecError, tooDeep, tooLarge, unsupported } from "./PythonCodecError.js"
import { PyDict, type PyEntry, PyFrozenSet, PySet, PyTuple, type PyValue } from "./Value.js"

interface Finished {
  readonly value: PyValue
  readonly nodes: number
  readonly bytes: number
  readonly height: number
}

class Finisher {
  private readonly finished = new Map<Container, Finished>()
  private readonly open = new Set<Container>()
  private nodes = 0
  private bytes = 0
  /** The depth of the deepest container so far, within the container that is being finished. */
  private deepest = 0

  constructor(private readonly limits: Limits) {}

  value(node: PickleNode, depth: number): PyValue {
    if (node instanceof Container) return this.container(node, depth + 1)
    const leaf = leafOf(node)
    this.count(1, sizeOf(leaf))
    return leaf
  }

  private container(node: Container, depth: number): PyValue {
    const known = this.finished.get(node)
    if (known !== undefined) return this.again(known, depth)
    if (this.open.has(node)) throw new PythonCodecError("Cycle", `a ${node.kind} contains itself`)
    const { bytes, deepest, nodes } = this
    this.reach(depth)
    this.deepest = depth
    this.count(1, 0)
    this.open.add(node)
    const items: Array<PyValue> = []
    for (const item of node.items) items.push(this.value(item, depth))
    const value = build(node.kind, items)
    this.open.delete(node)
    const height = this.deepest - depth
    this.finished.set(node, { value, nodes: this.nodes - nodes, bytes: this.bytes - bytes, height })
    this.deepest = Math.max(deepest, this.deepest)
    return value
  }

  private again({ bytes, height, nodes, value }: Finished, depth: number): PyValue {
    this.reach(depth + height)
    this.count(nodes, bytes)
    return value
  }

  private reach(depth: number): void {
    if (depth > this.limits.maxDepth) throw tooDeep(this.limits)
    this.deepest = Math.max(this.deepest, depth)
  }

  private count(nodes: number, bytes: number): void {
    this.nodes += nodes
    this.bytes += bytes
    if (this.nodes > this.limits.maxNodes) throw tooLarge(`more than ${this.limits.maxNodes} values when written out`)
    if (this.bytes > this.limits.maxBytes) throw tooLarge(`more than ${this.limits.maxBytes} bytes when written out`)
  }
}

const leafOf = (node: Exclude<PickleNode, Container>): Leaf | NonNullable<UuidObject["value"]> => {
  if (node instanceof Global) throw unsupported(`the global ${node.name} as a value`)
  if (node instanceof Zone) throw unsupported("a datetime.timezone as a value")
  if (!(node instanceof UuidObject)) return node
  if (node.value === undefined) throw malformed("a UUID without a value")
  return node.value
}

const sizeOf = (leaf: PyValue): number => typeof leaf === "string" || leaf instanceof Uint8Array ? leaf.length : 0

const build = (kind: Container["kind"], items: ReadonlyArray<PyValue>): PyValue => {
  switch (kind) {
    case "list":
      return items
    case "tuple":
      return new PyTuple(items)
    case "set":
      return new PySet(uniqueItems(items))
    case "frozenset":
      return new PyFrozenSet(uniqueItems(items))
    case "dict":
      return new PyDict(uniqueEntries(pairs(items)))
  }
}

const pairs = (items: ReadonlyArray<PyValue>): ReadonlyArray<PyEntry> => {
  const entries: Array<PyEntry> = []
  for (let at = 0; at < items.length; at += 2) entries.push([items[at]!, items[at + 1]!])
  return entries
}

export const finish = (root: PickleNode, limits: Limits): PyValue => new Finisher(limits).value(root, 0)
