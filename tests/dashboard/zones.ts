import { zoneOf } from '../../src/dashboard/page/calendar.ts';
import { offsetsOf } from '../../src/query/calendar.ts';

/** Returns a zone as the page has it from the server. */
export function zoneNamed(tz: string) {
  const offsets = offsetsOf(tz).map(({ from, offset }) => ({
    from: from === undefined ? null : new Date(from * 1000).toISOString(),
    offset_seconds: offset,
  }));
  return zoneOf({ tz, offsets });
}
