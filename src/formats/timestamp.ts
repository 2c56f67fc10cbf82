/**
 * The RFC 3339 format (section 5.6): a date, a time of day and a UTC offset. The offset is required, since a time
 * without one does not identify a point in time.
 */
const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,12}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/** The earliest accepted time, in microseconds since 1970. Doubles are exact for 285 years (2^53 µs) around 1970. */
export const EARLIEST_TIMESTAMP = Date.UTC(1700, 0, 1) * 1000;

/** The times that RFC 3339 can express in UTC, [first, end), in microseconds since 1970: the years 0000 to 9999. */
export const RFC3339_RANGE = { first: -62_167_219_200e6, end: 253_402_300_800e6 } as const;

/** The last double in this range. */
const LAST_TIMESTAMP = RFC3339_RANGE.end - 32;

/**
 * Parses an RFC 3339 time.
 *
 * @returns microseconds since 1970-01-01T00:00:00Z, truncated; undefined if the text is not a valid time, such as
 *   30 February or a 60th second, or if it is not in the years 0000 to 9999 in UTC
 */
export function parseTimestamp(text: string): number | undefined {
  const match = RFC3339.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, fraction = '', sign, offsetHour, offsetMinute] = match;
  const local = new Date(0);
  local.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const isRealDate = local.getUTCMonth() === Number(month) - 1 && local.getUTCDate() === Number(day);
  if (!isRealDate || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  if (Number(offsetHour ?? 0) > 23 || Number(offsetMinute ?? 0) > 59) return undefined;
  local.setUTCHours(Number(hour), Number(minute), Number(second));
  const offset = (Number(offsetHour ?? 0) * 60 + Number(offsetMinute ?? 0)) * (sign === '-' ? -60_000 : 60_000);
  const time = (local.getTime() - offset) * 1000;
  // a fraction of the last second could be rounded up to the next year
  return isExpressible(time) ? Math.min(time + Number(fraction.slice(0, 6).padEnd(6, '0')), LAST_TIMESTAMP) : undefined;
}

/** Formats a time, in microseconds since 1970, as RFC 3339 in UTC. Omits fractional digits that are zero. */
export function formatTimestamp(microseconds: number): string {
  // a tenth of the time that an instant takes; a chart has thousands of times, nearly all of them whole seconds
  if (microseconds % 1e6 === 0 && isExpressible(microseconds)) {
    return `${new Date(microseconds / 1000).toISOString().slice(0, 19)}Z`;
  }
  return instantOf(microseconds).toString();
}

/**
 * Formats a time, in microseconds since 1970, as RFC 3339 with a UTC offset, in microseconds. RFC 3339 offsets are whole
 * minutes, so offsets with seconds, such as local mean time or Monrovia's until 1972, are rounded, and the wall time
 * shifts with them. A time whose local year is not one of 0000 to 9999 is formatted in UTC.
 */
export function formatWithOffset(microseconds: number, offsetUs: number): string {
  const minutes = Math.round(offsetUs / 60e6);
  const wall = microseconds + minutes * 60e6;
  if (!isExpressible(wall)) return formatTimestamp(microseconds);
  const local = formatTimestamp(wall);
  const [hours, minutesOfHour] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const pad = (number: number) => String(number).padStart(2, '0');
  return `${local.slice(0, -1)}${minutes < 0 ? '-' : '+'}${pad(hours)}:${pad(minutesOfHour)}`;
}

/** Returns whether a time has a year that RFC 3339 can express. */
function isExpressible(microseconds: number): boolean {
  return microseconds >= RFC3339_RANGE.first && microseconds < RFC3339_RANGE.end;
}

/** Converts microseconds since 1970 to an instant. */
export function instantOf(microseconds: number): Temporal.Instant {
  return Temporal.Instant.fromEpochNanoseconds(BigInt(microseconds) * 1000n);
}
