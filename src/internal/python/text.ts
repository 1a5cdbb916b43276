/**
 * The types that msgspec writes as a str.
 *
 * @internal
 */

import { dateText, dateTimeText, timeDeltaText, timeText } from "./datetime.js"
import type { PyDate, PyDateTime, PyDecimal, PyTime, PyTimeDelta, PyUuid } from "./Value.js"

export type PyText = PyDateTime | PyDate | PyTime | PyTimeDelta | PyDecimal | PyUuid

export const textOf = (value: PyText): string => {
  switch (value._tag) {
    case "datetime":
      return dateTimeText(value)
    case "date":
      return dateText(value)
    case "time":
      return timeText(value)
    case "timedelta":
      return timeDeltaText(value)
    case "decimal":
    case "uuid":
      return value.text
  }
}
