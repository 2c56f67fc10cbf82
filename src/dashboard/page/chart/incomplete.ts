import { timeOf } from '../../../formats/time-zone.ts';
import { addDays, addMonths, wallOf, type Zone } from '../calendar.ts';
import { INTERVALS, type IntervalName } from '../time.ts';
import type { Buckets } from './buckets.ts';

/** Which of the outer buckets miss rows: those that the range cuts, and the one that is still in progress. */
export interface Incomplete {
  readonly first: boolean;
  /** `now`: still in progress; `range`: cut by the end of the range. */
  readonly last: 'now' | 'range' | undefined;
}

const HOUR = 3_600_000;

/** Returns the end of the bucket that starts at a moment, in milliseconds since 1970. */
export function bucketEnd(zone: Zone, start: number, interval: IntervalName): number {
  const length = INTERVALS.find(({ name }) => name === interval)?.length ?? 0;
  if (interval === '1d') return addDays(zone, start, 1);
  if (interval === '1w') return addDays(zone, start, 7);
  if (interval === '1M') return addMonths(zone, start, 1);
  if (interval === '1y') return addMonths(zone, start, 12);
  // longer buckets follow the wall clock, so that the day always divides
  return length > HOUR ? timeOf(zone, wallOf(zone, start) + length) : start + length;
}

/**
 * Returns which buckets at the ends of a range are incomplete.
 *
 * @param lastEnd the end of the last bucket, were it not cut by the range
 * @param now the current time; both in milliseconds since 1970
 */
export function incompleteBuckets({ starts, range }: Buckets, lastEnd: number, now: number): Incomplete {
  const [first, last] = [starts[0], starts.at(-1)];
  if (first === undefined || last === undefined) return { first: false, last: undefined };
  const isFirstCut = range.from !== null && Date.parse(first) < Date.parse(range.from);
  const isInProgress = Date.parse(last) <= now && now < lastEnd;
  const isLastCut = range.to !== null && Date.parse(range.to) < lastEnd;
  return { first: isFirstCut, last: isInProgress ? 'now' : isLastCut ? 'range' : undefined };
}
