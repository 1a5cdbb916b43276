/** What every session holds: a signed-in user with something in the cart. */
export const payload = {
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
