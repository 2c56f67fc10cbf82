/*
 * Time zones as lists of UTC offsets, and conversions between UTC and wall times. Shared by the server and the dashboard.
 * Times are counted since 1970, and offsets are in the same unit as times: microseconds in the server, milliseconds in
 * the dashboard. A wall time is the local date and time, encoded as if it were UTC.
 */

/**
 * How many offsets to search on either side of the nearest one. A wall time differs from UTC by hours, and a zone
 * changes its offset at most once in that time.
 */
const NEIGHBORS = 2;

/** The UTC offsets of a time zone. */
export interface Zone {
  /** Start of each offset, ascending; the first is -Infinity. */
  readonly starts: readonly number[];
  /** Local time minus UTC. */
  readonly offsets: readonly number[];
}

export const UTC: Zone = { starts: [Number.NEGATIVE_INFINITY], offsets: [0] };

/** Returns the index of the offset in effect at a time. */
function indexAt({ starts }: Zone, time: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] as number) <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Returns the UTC offset at a time. */
export function offsetAt(zone: Zone, time: number): number {
  return zone.offsets[indexAt(zone, time)] as number;
}

/** Returns every time with a given wall time, ascending: usually one, two where clocks go back, none where they skip it. */
export function timesOf(zone: Zone, wall: number): number[] {
  const times: number[] = [];
  const near = indexAt(zone, wall);
  const last = Math.min(near + NEIGHBORS, zone.starts.length - 1);
  for (let i = Math.max(0, near - NEIGHBORS); i <= last; i++) {
    const time = wall - (zone.offsets[i] as number);
    if (indexAt(zone, time) === i) times.push(time);
  }
  return times;
}

/**
 * Returns the time of a wall time. For a wall time that clocks skip, returns the time of the change.
 *
 * @param preferred the offset to prefer when the wall time occurs twice; default: the offset of the first occurrence
 */
export function timeOf(zone: Zone, wall: number, preferred?: number): number {
  const times = timesOf(zone, wall);
  const [first] = times;
  if (first !== undefined) return times.find((time) => wall - time === preferred) ?? first;
  const near = indexAt(zone, wall);
  for (let i = Math.max(1, near - NEIGHBORS); i <= near + NEIGHBORS; i++) {
    const change = zone.starts[i];
    if (change === undefined) break;
    const [before, after] = [zone.offsets[i - 1] as number, zone.offsets[i] as number];
    if (change + before <= wall && wall < change + after) return change;
  }
  return wall - offsetAt(zone, wall);
}
