/** The types of `pg` are a package of their own, which an application need not have. `openPool.ts` has what is used. */
declare module "pg" {
  const driver: unknown
  export default driver
}
