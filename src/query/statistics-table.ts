import type { Series as SeriesResult } from '../responses.ts';
import { type ExactSum, exactSum } from '../storage/columns/exact-sum.ts';
import { extremesOf } from '../storage/columns/extremes.ts';
import type { Budget } from './budget.ts';
import type { BucketRuns } from './hourly-runs.ts';
import { valuesAt } from './percentiles.ts';
import type { RunSelection } from './sorted-runs.ts';

/** Statistics of the values in a bucket or in the whole range. Without values, all but `count` and `sum` are null. */
export type Statistics = Omit<SeriesResult['buckets'][number], 'start'>;

const NO_VALUES: Statistics = { count: 0, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
export const PERCENTILES = [0.5, 0.95, 0.99];
/** Numbers per entry of a {@link StatisticsTable}. */
const FIELDS = 8;

// reused between calls, since a chart has thousands of buckets
const ranks = PERCENTILES.map(() => 0);
const found = new Float64Array(2 * PERCENTILES.length);

/** A table of statistics that uses 65 bytes per entry. */
export class StatisticsTable {
  readonly #fields: Float64Array;
  readonly #overflows: Uint8Array;

  constructor(length: number, budget: Budget) {
    budget.reserve((8 * FIELDS + 1) * length);
    this.#fields = new Float64Array(FIELDS * length);
    this.#overflows = new Uint8Array(length);
  }

  /** Computes the statistics of an entry. Reorders the values. */
  set(index: number, values: Float64Array, check: () => void): void {
    const count = values.length;
    if (count === 0) return;
    if (index % 64 === 0 || count > 4096) check();
    const [min, max] = extremesOf(values);
    this.setAll(index, count, min, max, exactSum(values, check), percentilesOf(values, min, max, check));
  }

  /**
   * Computes the statistics of an entry from sorted runs, from `first` to `last`, exclusive.
   *
   * @param selection finds values in the same runs
   */
  setFromRuns(
    index: number,
    runs: BucketRuns,
    first: number,
    last: number,
    selection: RunSelection,
    check: () => void,
  ): void {
    if (first === last) return;
    if (index % 64 === 0 || last - first > 64) check();
    let count = 0;
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (let run = first; run < last; run++) {
      const source = runs.sources[runs.sourceOf[run] as number] as Float64Array;
      const [start, end] = [runs.starts[run] as number, runs.ends[run] as number];
      count += end - start;
      if ((source[start] as number) < min) min = source[start] as number;
      if ((source[end - 1] as number) > max) max = source[end - 1] as number;
    }
    for (let i = 0; i < PERCENTILES.length; i++) ranks[i] = Math.floor((PERCENTILES[i] as number) * (count - 1));
    selection.find(first, last, ranks, found);
    const at = this.#setFields(index, count, min, max, sumOfRuns(runs, first, last, count, check));
    for (let i = 0; i < PERCENTILES.length; i++) {
      const fraction = (PERCENTILES[i] as number) * (count - 1) - (ranks[i] as number);
      this.#fields[at + 5 + i] = interpolate(found[2 * i] as number, found[2 * i + 1] as number, fraction);
    }
  }

  /** Sets the statistics of an entry with at least one value. The percentiles are those of {@link PERCENTILES}. */
  setAll(
    index: number,
    count: number,
    min: number,
    max: number,
    total: ExactSum,
    percentiles: readonly number[],
  ): void {
    const at = this.#setFields(index, count, min, max, total);
    for (let i = 0; i < percentiles.length; i++) this.#fields[at + 5 + i] = percentiles[i] as number;
  }

  /** Sets all statistics of an entry except the percentiles. Returns where its fields start. */
  #setFields(index: number, count: number, min: number, max: number, total: ExactSum): number {
    const fields = this.#fields;
    const at = index * FIELDS;
    fields[at] = count;
    fields[at + 1] = total.sum;
    fields[at + 2] = Math.min(Math.max(total.mean, min), max);
    fields[at + 3] = min;
    fields[at + 4] = max;
    this.#overflows[index] = total.overflow ? 1 : 0;
    return at;
  }

  /** Copies the statistics of an entry to another. */
  copy(from: number, to: number): void {
    this.#fields.copyWithin(to * FIELDS, from * FIELDS, (from + 1) * FIELDS);
    this.#overflows[to] = this.#overflows[from] as number;
  }

  at(index: number): Statistics {
    const fields = this.#fields;
    const from = index * FIELDS;
    const field = (offset: number) => fields[from + offset] as number;
    if (field(0) === 0) return NO_VALUES;
    const overflow = this.#overflows[index] === 1 && ({ sum_overflow: true } as const);
    const [count, sum, avg, min, max] = [field(0), field(1), field(2), field(3), field(4)];
    return { count, sum, ...overflow, avg, min, max, p50: field(5), p95: field(6), p99: field(7) };
  }
}

function percentilesOf(values: Float64Array, min: number, max: number, check: () => void): number[] {
  const ranks = PERCENTILES.map((fraction) => fraction * (values.length - 1));
  const found = valuesAt(
    values,
    ranks.flatMap((rank) => [Math.floor(rank), Math.ceil(rank)]),
    min,
    max,
    check,
  );
  return ranks.map((rank, i) => {
    const low = found[2 * i] as number;
    const high = found[2 * i + 1] as number;
    return interpolate(low, high, rank - Math.floor(rank));
  });
}

/** Returns the value at a fraction of the way from one value to the next. */
export function interpolate(low: number, high: number, fraction: number): number {
  // the difference of two values can overflow
  const value =
    high - low < Number.POSITIVE_INFINITY ? low + (high - low) * fraction : low * (1 - fraction) + high * fraction;
  return Math.min(Math.max(value, low), high);
}

/** Returns the exact sum of the values in some runs, whose number is `count`. */
function sumOfRuns(runs: BucketRuns, first: number, last: number, count: number, check: () => void): ExactSum {
  const { sources, sourceOf, starts, ends, sums } = runs;
  let needed = 0;
  for (let run = first; run < last; run++) {
    if (Number.isNaN(sums[3 * run])) needed += (ends[run] as number) - (starts[run] as number);
  }
  if (needed === 0) return exactSum(sums, check, { start: 3 * first, end: 3 * last, count });
  const terms = new Float64Array(3 * (last - first) + needed); // those that are not used stay 0
  for (let run = first, at = 0; run < last; run++) {
    const values = Number.isNaN(sums[3 * run])
      ? (sources[sourceOf[run] as number] as Float64Array).subarray(starts[run], ends[run])
      : sums.subarray(3 * run, 3 * run + 3);
    terms.set(values, at);
    at += values.length;
  }
  return exactSum(terms, check, { count });
}
