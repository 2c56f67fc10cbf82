/*
 * Time zones as lists of offsets, and the wall times in them, for the server and for the dashboard. Times and offsets are
 * numbers of one unit since 1970, whichever the zone has: microseconds in the server, milliseconds in the dashboard. A
 * wall time is what a clock on the wall shows, as if it showed UTC.
 */

/** Zones change their offset at most once in the time that a wall time can be away from its UTC time: some hours. */
const NEIGHBORS = 2;

/** The offsets of a time zone from UTC. */
export interface Zone {
  /** Since when each offset holds, rising; the first since ever: -Infinity. */
  readonly starts: readonly number[];
  /** Local time minus UTC. */
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

/** Returns every time at which clocks show a wall time, in order: one, two where clocks go back, or none. */
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
 * Returns the time at which clocks show a wall time; where they skip it, the time of the change.
 *
 * @param preferred the offset to choose where clocks show it twice; default: that of the first time
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
