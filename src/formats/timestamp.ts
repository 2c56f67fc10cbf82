/**
 * The text form of a time in RFC 3339 (section 5.6): a date, a time of day, and an offset from UTC.
 * The offset is not optional: a time without one is not a point in time.
 */
const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,12}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/** Microseconds since 1970 are exact in a double only from here on (2^53 µs are 285 years). */
export const EARLIEST_TIMESTAMP = Date.UTC(1700, 0, 1) * 1000;

/**
 * Reads an RFC 3339 time.
 *
 * @returns microseconds since 1970-01-01T00:00:00Z, finer digits cut off; or undefined when the text
 *   is no such time (a 30 February and a 60th second among them)
 */
export function parseTimestamp(text: string): number | undefined {
  const match = RFC3339.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, fraction = '', sign, offsetHour, offsetMinute] = match;
  const local = new Date(0);
  local.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const sameDay = local.getUTCMonth() === Number(month) - 1 && local.getUTCDate() === Number(day);
  if (!sameDay || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  if (Number(offsetHour ?? 0) > 23 || Number(offsetMinute ?? 0) > 59) return undefined;
  local.setUTCHours(Number(hour), Number(minute), Number(second));
  const offset = (Number(offsetHour ?? 0) * 60 + Number(offsetMinute ?? 0)) * (sign === '-' ? -60_000 : 60_000);
  return (local.getTime() - offset) * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}

/** Returns a time, in microseconds since 1970, as RFC 3339 in UTC: with microseconds where there are any. */
export function formatTimestamp(microseconds: number): string {
  return instantOf(microseconds).toString();
}

/**
 * Returns a time, in microseconds since 1970, as RFC 3339 with an offset from UTC, in microseconds. RFC 3339 has
 * offsets of whole minutes: another one, as before railways and in Monrovia until 1972, is rounded with the time.
 */
export function formatWithOffset(microseconds: number, offset: number): string {
  const minutes = Math.round(offset / 60e6);
  const local = instantOf(microseconds + minutes * 60e6).toString();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (number: number) => String(number).padStart(2, '0');
  return `${local.slice(0, -1)}${minutes < 0 ? '-' : '+'}${two(hours)}:${two(rest)}`;
}

/** Returns the instant of a time in microseconds since 1970. */
export function instantOf(microseconds: number): Temporal.Instant {
  return Temporal.Instant.fromEpochNanoseconds(BigInt(microseconds) * 1000n);
}
