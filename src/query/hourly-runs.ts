import type { ChunkOutline, ColumnStore, Extent, Series } from '../storage/columns/column-store.ts';
import { sumInThreeParts } from '../storage/columns/exact-sum.ts';
import { HOUR_US, type Hours } from '../storage/columns/summary.ts';
import type { Budget } from './budget.ts';
import { growInto } from './number-index.ts';
import { bucketOf, type Range } from './selection.ts';
import type { Runs } from './sorted-runs.ts';

/** The values of a selection as sorted runs, bucket by bucket. */
export interface BucketRuns extends Runs {
  /** The first run of each bucket, followed by the end of the last. */
  readonly firstRuns: Uint32Array;
  /** Three doubles per run that add up to the exact sum of its values; NaN if they do not suffice. */
  readonly sums: Float64Array;
}

/** The values of a selection as sorted runs. */
export interface CollectedRuns {
  readonly byBucket: BucketRuns;
  /** Returns the same values in one bucket, in fewer runs if the hours of chunks are merged. */
  readonly inOneBucket: () => BucketRuns;
}

/** Returns whether the buckets start at full hours (UTC), so that each hour of a summary lies in one bucket. */
export function areHourly(edges: Float64Array): boolean {
  for (let i = 1; i < edges.length - 1; i++) if ((edges[i] as number) % HOUR_US !== 0) return false;
  return edges.length >= 2;
}

/** Maximum number of values that are not in summaries: sorting more takes longer than a scan of all rows. */
const MAX_LOOSE_VALUES = 2 ** 18;

/** A range, and the first of the hours since 1970 that lie in it as a whole, and their end. */
interface CutRange extends Pick<Range, 'from' | 'to'> {
  readonly firstWhole: number;
  readonly endWhole: number;
}

/** Values that are not in a run yet, with their buckets. */
class LooseValues {
  readonly #budget: Budget;
  buckets = new Uint32Array(1024);
  values = new Float64Array(1024);
  size = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** The memory that was reserved, in bytes. */
  get reserved(): number {
    return 12 * (this.values.length - 1024);
  }

  /** Adds the rows of a chunk in the range, except for those in whole hours. */
  addRows(times: Float64Array, values: Float64Array, range: CutRange, edges: Float64Array): void {
    const { from, to, firstWhole, endWhole } = range;
    let bucket = 0;
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      if (time < from || time >= to) continue;
      const hour = Math.floor(time / HOUR_US);
      if (hour >= firstWhole && hour < endWhole) continue;
      bucket = bucketOf(edges, time, bucket);
      this.#add(bucket, values[i] as number);
    }
  }

  #add(bucket: number, value: number): void {
    if (this.size === this.values.length) {
      this.#budget.reserve(12 * this.size);
      this.buckets = growInto(this.buckets, new Uint32Array(2 * this.size));
      this.values = growInto(this.values, new Float64Array(2 * this.size));
    }
    this.buckets[this.size] = bucket;
    this.values[this.size++] = value;
  }
}

/** Hours of a chunk that lie entirely in the range. */
interface WholeHours extends Hours {
  readonly first: number;
  readonly last: number;
  /** The chunk, if it lies in the range. */
  readonly outline: ChunkOutline | undefined;
}

/**
 * Collects the values of a metric from the summaries of its chunks. Reads rows only where there is no summary, and in the
 * hours that the range cuts. Returns undefined if too many chunks have no summary; no memory is reserved then.
 *
 * @param edges as tested by {@link areHourly}
 */
export function collectRuns(
  store: ColumnStore,
  seriesList: readonly Series[],
  { from, to }: Pick<Range, 'from' | 'to'>,
  edges: Float64Array,
  budget: Budget,
): CollectedRuns | undefined {
  const whole: WholeHours[] = [];
  const loose = new LooseValues(budget);
  let wholeRows = 0;
  for (const series of seriesList) {
    for (const outline of store.outlines(series, from, to)) {
      const { minTime, maxTime, rows, read } = outline;
      budget.check();
      const isInRange = minTime >= from && maxTime < to;
      const hours = isInRange ? outline.mergedHours(hoursOfEdges(edges, outline)) : outline.hours();
      // no hour is whole without a summary; every hour is if the chunk ends within the range
      const firstWhole = hours ? (minTime >= from ? Number.NEGATIVE_INFINITY : Math.ceil(from / HOUR_US)) : Infinity;
      const endWhole = hours && maxTime < to ? Number.POSITIVE_INFINITY : Math.floor(to / HOUR_US);
      let isCut = hours === undefined;
      if (hours) {
        const { numbers } = hours;
        let first = 0;
        while (first < numbers.length && (numbers[first] as number) < firstWhole) first++;
        let last = first;
        while (last < numbers.length && (numbers[last] as number) < endWhole) last++;
        if (last > first) {
          budget.reserve(8 * rows);
          wholeRows += rows;
          whole.push({ ...hours, first, last, outline: isInRange ? outline : undefined });
        }
        isCut =
          (first > 0 && ((numbers[first - 1] as number) + 1) * HOUR_US > from) ||
          (last < numbers.length && (numbers[last] as number) * HOUR_US < to);
      }
      if (!isCut) continue;
      const { times, values } = read();
      if (loose.size + times.length > MAX_LOOSE_VALUES) {
        budget.reserve(-8 * wholeRows - loose.reserved);
        return undefined;
      }
      loose.addRows(times, values, { from, to, firstWhole, endWhole }, edges);
    }
  }
  return {
    byBucket: sortByBucket(whole, sortLoose(loose, edges.length - 1, budget), edges, budget),
    inOneBucket() {
      // merged hours are in a cache, so their memory is not reserved
      const merged = whole.map((hours) => {
        const found = hours.outline?.mergedHours([]);
        return found ? { ...hours, ...found, first: 0, last: found.numbers.length } : hours;
      });
      loose.buckets.fill(0, 0, loose.size);
      return sortByBucket(merged, sortLoose(loose, 1, budget), Float64Array.of(from, to), budget);
    },
  };
}

/** Returns the hours since 1970 at which buckets start within a chunk. */
function hoursOfEdges(edges: Float64Array, { minTime, maxTime }: Extent): number[] {
  const hours: number[] = [];
  for (let bucket = bucketOf(edges, minTime, 0) + 1; (edges[bucket] as number) <= maxTime; bucket++) {
    hours.push((edges[bucket] as number) / HOUR_US);
  }
  return hours;
}

/** Values by bucket, ascending within each bucket. */
interface SortedValues {
  readonly values: Float64Array;
  /** The start of each bucket's values, followed by the end of the last. */
  readonly starts: Uint32Array;
}

function sortLoose({ buckets, values, size }: LooseValues, bucketCount: number, budget: Budget): SortedValues {
  budget.reserve(8 * size + 8 * bucketCount);
  const starts = new Uint32Array(bucketCount + 1);
  for (let i = 0; i < size; i++) (starts[(buckets[i] as number) + 1] as number)++;
  for (let bucket = 0; bucket < bucketCount; bucket++) (starts[bucket + 1] as number) += starts[bucket] as number;
  const next = starts.slice();
  const sorted = new Float64Array(size);
  for (let i = 0; i < size; i++) sorted[(next[buckets[i] as number] as number)++] = values[i] as number;
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    const [start, end] = [starts[bucket] as number, starts[bucket + 1] as number];
    if (end - start < 2) continue;
    if (end - start > 4096) budget.check();
    sorted.subarray(start, end).sort();
  }
  return { values: sorted, starts };
}

/** Brings the runs of all chunks and of the loose values into the order of their buckets. */
function sortByBucket(
  whole: readonly WholeHours[],
  loose: SortedValues,
  edges: Float64Array,
  budget: Budget,
): BucketRuns {
  const buckets = edges.length - 1;
  const count = whole.reduce((sum, { first, last }) => sum + last - first, 0);
  budget.reserve(48 * (count + buckets));
  const bucketsOfRuns = new Uint32Array(count);
  const firstRuns = new Uint32Array(buckets + 1);
  for (let at = 0, w = 0; w < whole.length; w++) {
    const { numbers, first, last } = whole[w] as WholeHours;
    let bucket = 0;
    for (let h = first; h < last; h++) {
      // the first bucket may start within an hour
      bucket = bucketOf(edges, Math.max((numbers[h] as number) * HOUR_US, edges[0] as number), bucket);
      bucketsOfRuns[at++] = bucket;
      (firstRuns[bucket + 1] as number)++;
    }
  }
  for (let bucket = 0; bucket < buckets; bucket++) {
    if (loose.starts[bucket] !== loose.starts[bucket + 1]) (firstRuns[bucket + 1] as number)++;
    (firstRuns[bucket + 1] as number) += firstRuns[bucket] as number;
  }
  const total = firstRuns[buckets] as number;
  const runs = {
    sources: [...whole.map(({ sorted }) => sorted), loose.values],
    sourceOf: new Uint32Array(total),
    starts: new Uint32Array(total),
    ends: new Uint32Array(total),
    sums: new Float64Array(3 * total),
    firstRuns,
  };
  const next = firstRuns.slice();
  for (let at = 0, w = 0; w < whole.length; w++) {
    const { starts, ends, sums, first, last } = whole[w] as WholeHours;
    for (let h = first; h < last; h++) {
      const run = (next[bucketsOfRuns[at++] as number] as number)++;
      runs.sourceOf[run] = w;
      runs.starts[run] = starts[h] as number;
      runs.ends[run] = ends[h] as number;
      for (let part = 0; part < 3; part++) runs.sums[3 * run + part] = sums[3 * h + part] as number;
    }
  }
  for (let bucket = 0; bucket < buckets; bucket++) {
    const [start, end] = [loose.starts[bucket] as number, loose.starts[bucket + 1] as number];
    if (start === end) continue;
    const run = next[bucket] as number;
    runs.sourceOf[run] = whole.length;
    runs.starts[run] = start;
    runs.ends[run] = end;
    const parts = sumInThreeParts(loose.values.subarray(start, end)) ?? [Number.NaN, Number.NaN, Number.NaN];
    runs.sums.set(parts, 3 * run);
  }
  return runs;
}
