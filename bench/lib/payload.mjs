/** A signed-in user with something in the cart. */
export const shop = {
  userId: "01J9Z3V6T0Q4W8N2R5Y7B1C3D5",
  name: "Ada Lovelace",
  locale: "en-GB",
  roles: ["customer", "beta"],
  cart: [
    { sku: "BOOK-0042", title: "Notes on the Analytical Engine", price: 2450, quantity: 1 },
    { sku: "PEN-0007", title: "Fountain pen, fine nib", price: 8900, quantity: 2 },
    { sku: "PAPER-0100", title: "Ruled paper, 100 sheets", price: 650, quantity: 5 }
  ],
  count: 0
}

/** Next to nothing, so that what is left is the library and not the schema. */
export const login = { userId: shop.userId, count: 0 }

/** What every session of the comparison holds: `BENCH_PAYLOAD` is `login` (default) or `shop`. */
export const payloadName = process.env.BENCH_PAYLOAD === "shop" ? "shop" : "login"
export const payload = payloadName === "shop" ? shop : login
