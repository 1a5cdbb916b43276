/**
 * Drivers are optional peer dependencies, loaded by the one file that needs
 * them.
 *
 * @internal
 */

/**
 * A package that is not installed. The message says which.
 *
 * @internal
 */
export class MissingPackage extends Error {
  override readonly name = "MissingPackage"
}

/**
 * Loads a driver, or says which package is to be installed: `name`, or one
 * that it needs in turn. `from` is the module that asks for it.
 */
export const loadDriver = async <A>(name: string, from: string, load: () => Promise<A>): Promise<A> => {
  try {
    return await load()
  } catch (cause) {
    if (!isMissing(cause)) throw cause
    const missing = packageIn(cause.message) ?? name
    throw new MissingPackage(`${from} needs the package "${missing}": npm install ${missing}`, { cause })
  }
}

const isMissing = (cause: unknown): cause is Error =>
  cause instanceof Error && "code" in cause && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(cause.code))

/** Of `@scope/name/file` the package is `@scope/name`; a path is no package. */
const packageIn = (message: string) => /'((?:@[\w.-]+\/)?\w[\w.-]*)(?:\/[^']*)?'/.exec(message)?.[1]
