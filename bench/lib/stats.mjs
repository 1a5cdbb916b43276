/** Figures and tables. */

export const setting = (name, fallback) => Number(process.env[name] ?? fallback)

export const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

/** Half the distance between the quartiles, as a share of the median. */
export const spread = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const quartile = (share) => sorted[Math.round(share * (sorted.length - 1))]
  return (quartile(0.75) - quartile(0.25)) / 2 / median(numbers)
}

export const fixed = (number, digits = 1) => number.toFixed(digits)
export const percent = (share) => `±${(share * 100).toFixed(1)} %`

/** First column to the left, the others to the right. */
export const table = (head, rows) => {
  const lines = [head, ...rows].map((row) => row.map(String))
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const print = (line) =>
    line.map((cell, column) => column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])).join("  ")
  const [first, ...others] = lines.map(print)
  return [first, "-".repeat(first.length), ...others].join("\n")
}

/** Microseconds of CPU that this process has used, garbage collector included. */
export const cpu = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}
