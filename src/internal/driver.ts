/**
 * Drivers are optional peer dependencies, loaded by the one file that needs
 * them.
 *
 * @internal
 */

/**
 * Loads a driver, or says which package is to be installed. `from` is the
 * module that needs it.
 */
export const loadDriver = async <A>(name: string, from: string, load: () => Promise<A>): Promise<A> => {
  try {
    return await load()
  } catch (cause) {
    if (!isMissing(cause)) throw cause
    throw new Error(`${from} needs the package "${name}": npm install ${name}`, { cause })
  }
}

const isMissing = (cause: unknown) =>
  cause instanceof Error && "code" in cause && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(cause.code))
