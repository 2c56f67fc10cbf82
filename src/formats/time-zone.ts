/*
 * Time zones as lists of offsets, and the calendar arithmetic on them. All times are microseconds since 1970. A wall
 * time is what a clock on the wall shows, as if it showed UTC.
 */

/** A local day on the wall. */
export const DAY_US = 86_400_000_000;

/** No zone is further from UTC than this. */
const FURTHEST_US = 26 * 3_600_000_000;

/** The offsets of a time zone from UTC. */
export interface Zone {
  /** Since when each offset holds, rising; the first since ever: -Infinity. */
  readonly starts: readonly number[];
  /** Local time minus UTC, in microseconds. */
  readonly offsets: readonly number[];
}

export const UTC: Zone = { starts: [Number.NEGATIVE_INFINITY], offsets: [0] };

/** Returns the index of the offset that holds at a time. */
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

/** Returns the offset from UTC at a time. */
export function offsetAt(zone: Zone, time: number): number {
  return zone.offsets[indexAt(zone, time)] as number;
}

/**
 * Returns the time at which clocks show a wall time: the first one where they go back and show it twice, and the
 * time of the change where they skip it.
 */
export function timeOf(zone: Zone, wall: number): number {
  const first = indexAt(zone, wall - FURTHEST_US);
  const last = indexAt(zone, wall + FURTHEST_US);
  for (let i = first; i <= last; i++) {
    const time = wall - (zone.offsets[i] as number);
    // offsets are tried in the order of time, so that this is the first time
    if (indexAt(zone, time) === i) return time;
    const change = zone.starts[i + 1] ?? Number.POSITIVE_INFINITY;
    if (time >= change && wall - (zone.offsets[i + 1] ?? 0) < change) return change;
  }
  return wall - offsetAt(zone, wall);
}
