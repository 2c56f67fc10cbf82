/**
 * The RFC 3339 format (section 5.6): a date, a time of day and a UTC offset. The offset is required, since a time
 * without one does not identify a point in time.
 */
const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,12}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/** The earliest accepted time, in microseconds since 1970. Doubles are exact for 285 years (2^53 µs) around 1970. */
export const EARLIEST_TIMESTAMP = Date.UTC(1700, 0, 1) * 1000;

/**
 * Parses an RFC 3339 time.
 *
 * @returns microseconds since 1970-01-01T00:00:00Z, truncated; undefined if the text is not a valid time, such as
 *   30 February or a 60th second
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
  return (local.getTime() - offset) * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}

/** Formats a time, in microseconds since 1970, as RFC 3339 in UTC. Omits fractional digits that are zero. */
export function formatTimestamp(microseconds: number): string {
  return instantOf(microseconds).toString();
}

/**
 * Formats a time, in microseconds since 1970, as RFC 3339 with a UTC offset, in microseconds. RFC 3339 offsets are whole
 * minutes, so offsets with seconds, such as local mean time or Monrovia's until 1972, are rounded, and the wall time
 * shifts with them.
 */
export function formatWithOffset(microseconds: number, offsetUs: number): string {
  const minutes = Math.round(offsetUs / 60e6);
  const local = instantOf(microseconds + minutes * 60e6).toString();
  const [hours, minutesOfHour] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const pad = (number: number) => String(number).padStart(2, '0');
  return `${local.slice(0, -1)}${minutes < 0 ? '-' : '+'}${pad(hours)}:${pad(minutesOfHour)}`;
}

/** Converts microseconds since 1970 to an instant. */
export function instantOf(microseconds: number): Temporal.Instant {
  return Temporal.Instant.fromEpochNanoseconds(BigInt(microseconds) * 1000n);
}
