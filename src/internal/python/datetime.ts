/**
 * Dates and times: to and from Unix time, and the text that msgspec writes.
 *
 * @internal
 */

import { PythonCodecError } from "./PythonCodecError.js"
import { PyDate, PyDateTime, PyTime, PyTimeDelta } from "./Value.js"

const dayMillis = 86_400_000
const daySeconds = 86_400

/** The first second of year 1 and the last of year 9999, as Unix time. */
const firstSecond = -62_135_596_800
const lastSecond = 253_402_300_799

const isInRange = (seconds: number): boolean => seconds >= firstSecond && seconds <= lastSecond

const pad = (value: number, digits = 2): string => String(value).padStart(digits, "0")

/** Days since 1970-01-01. */
const daysOf = ({ day, month, year }: PyDate): number => new Date(0).setUTCFullYear(year, month - 1, day) / dayMillis

const dateOf = (days: number): PyDate => {
  const date = new Date(days * dayMillis)
  return new PyDate(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate())
}

/** A point in time: whole seconds since 1970, and microseconds from 0 to 999,999. */
export interface Instant {
  readonly seconds: number
  readonly microsecond: number
}

/** The instant of an aware datetime, or of a naive one read as UTC. */
export const instantOf = ({ date, time }: PyDateTime): Instant => {
  const offset = time.offset ?? 0
  const offsetSeconds = Math.floor(offset / 1e6)
  const microsecond = time.microsecond - (offset - offsetSeconds * 1e6)
  const carry = Math.floor(microsecond / 1e6)
  return {
    seconds: daysOf(date) * daySeconds + time.hour * 3600 + time.minute * 60 + time.second - offsetSeconds + carry,
    microsecond: microsecond - carry * 1e6
  }
}

/** As `instantOf`. Fails where Python raises OverflowError: the zone moves it out of the years 1 to 9999. */
export const utcInstant = (value: PyDateTime): Instant => {
  const instant = instantOf(value)
  if (isInRange(instant.seconds)) return instant
  throw new PythonCodecError("NotRepresentable", "a datetime whose UTC form is outside the years 1 to 9999")
}

/** An aware datetime in UTC, or `undefined` outside the years 1 to 9999. */
export const fromInstant = ({ microsecond, seconds }: Instant): PyDateTime | undefined => {
  if (!isInRange(seconds)) return undefined
  const days = Math.floor(seconds / daySeconds)
  const rest = seconds - days * daySeconds
  const time = new PyTime(Math.floor(rest / 3600), Math.floor(rest / 60) % 60, rest % 60, microsecond, 0)
  return new PyDateTime(dateOf(days), time)
}

export const dateText = ({ day, month, year }: PyDate): string => `${pad(year, 4)}-${pad(month)}-${pad(day)}`

const clockText = ({ hour, microsecond, minute, second }: PyTime): string =>
  `${pad(hour)}:${pad(minute)}:${pad(second)}${microsecond === 0 ? "" : `.${pad(microsecond, 6)}`}`

/**
 * msgspec's text of an offset. It drops fractions of a second, rounds to whole
 * minutes (half a minute goes down), and writes what is then 0 or 24 hours as Z.
 */
const offsetText = (offset: number): string => {
  const seconds = Math.floor(offset / 1e6)
  const distance = Math.abs(seconds)
  const minutes = Math.floor(distance / 60) + (distance % 60 > 30 ? 1 : 0)
  if (minutes % 1440 === 0) return "Z"
  return `${seconds < 0 ? "-" : "+"}${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`
}

export const timeText = (time: PyTime): string =>
  clockText(time) + (time.offset === null ? "" : offsetText(time.offset))

export const dateTimeText = ({ date, time }: PyDateTime): string => `${dateText(date)}T${timeText(time)}`

/** Python's `isoformat()` of an offset, which is exact: `+05:30`, `-00:00:30`, `+00:00:00.000001`. */
const isoOffset = (offset: number): string => {
  const micros = Math.abs(offset)
  const seconds = Math.floor(micros / 1e6)
  const fraction = micros % 1e6
  const minutes = `${offset < 0 ? "-" : "+"}${pad(Math.floor(seconds / 3600))}:${pad(Math.floor(seconds / 60) % 60)}`
  if (seconds % 60 === 0 && fraction === 0) return minutes
  return `${minutes}:${pad(seconds % 60)}${fraction === 0 ? "" : `.${pad(fraction, 6)}`}`
}

export const timeIso = (time: PyTime): string => clockText(time) + (time.offset === null ? "" : isoOffset(time.offset))

/** Python's `isoformat()`. */
export const dateTimeIso = ({ date, time }: PyDateTime): string => `${dateText(date)}T${timeIso(time)}`

/** The distance from zero, which Python keeps in three parts of which only the days may be negative. */
const magnitude = (delta: PyTimeDelta): PyTimeDelta => {
  if (delta.days >= 0) return delta
  const borrow = delta.microseconds > 0 ? 1 : 0
  const seconds = -delta.seconds - borrow
  const days = -delta.days + Math.floor(seconds / daySeconds)
  return new PyTimeDelta(days, seconds < 0 ? seconds + daySeconds : 0, borrow * 1e6 - delta.microseconds)
}

/** msgspec's ISO 8601 duration: days and seconds only, `P0D` for zero. */
export const timeDeltaText = (delta: PyTimeDelta): string => {
  const { days, microseconds, seconds } = magnitude(delta)
  const fraction = microseconds === 0 ? "" : `.${pad(microseconds, 6).replace(/0+$/, "")}`
  const clock = seconds === 0 && microseconds === 0 ? "" : `T${seconds}${fraction}S`
  const text = days === 0 && clock !== "" ? `P${clock}` : `P${days}D${clock}`
  return delta.days < 0 ? `-${text}` : text
}
