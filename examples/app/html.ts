/** HTML in a template: what is put in is text, and escaped, unless it is HTML already. */
export class Html {
  constructor(readonly text: string) {}
}

type Part = Html | string | number | undefined | ReadonlyArray<Html>

export const html = (strings: TemplateStringsArray, ...parts: ReadonlyArray<Part>): Html =>
  new Html(strings.map((string, i) => string + print(parts[i])).join(""))

const print = (part: Part): string => {
  if (part === undefined) return ""
  if (part instanceof Html) return part.text
  return typeof part === "object" ? part.map(print).join("") : escape(String(part))
}

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;" }

const escape = (text: string) => text.toWellFormed().replace(/[&<>"']/g, (char) => entities[char]!)
