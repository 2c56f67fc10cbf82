import { UTC } from '../formats/time-zone.ts';
import { formatTimestamp } from '../formats/timestamp.ts';
import { zoneNamed } from '../query/zone-database.ts';
import type { ZoneOffsets } from '../responses.ts';

/**
 * Returns the UTC offsets of a time zone.
 *
 * @param tz the name of a zone, which has been validated
 */
export function zoneOffsets(tz: string): ZoneOffsets {
  const { starts, offsets } = zoneNamed(tz) ?? UTC;
  const list = starts.map((start, i) => ({
    from: Number.isFinite(start) ? formatTimestamp(start) : null,
    offset_seconds: (offsets[i] as number) / 1e6,
  }));
  return { tz, offsets: list };
}
