import { zoneOf } from '../../src/dashboard/page/calendar.ts';

/** Returns a zone as the server would send it, built from the runtime's time zone data. */
export function zoneNamed(tz: string) {
  const offsets: { from: string | null; offset_seconds: number }[] = [];
  let time: Temporal.ZonedDateTime | null = Temporal.Instant.from('1700-01-01T00:00:00Z').toZonedDateTimeISO(tz);
  for (; time && time.year < 2200; time = time.getTimeZoneTransition('next')) {
    const from = offsets.length === 0 ? null : time.toInstant().toString();
    offsets.push({ from, offset_seconds: time.offsetNanoseconds / 1e9 });
  }
  return zoneOf({ tz, offsets });
}
