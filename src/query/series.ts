import type { Series as SeriesResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { exactSum } from './exact-sum.ts';
import { type GroupedSelection, groupSelection } from './groups.ts';
import { valuesAt } from './percentiles.ts';
import { type BucketQuery, rangeOf } from './selection.ts';
import type { Streamed } from './serialize.ts';
import { Scratch, valuesBySlot } from './values-by-slot.ts';

/** Statistics of the values in a bucket or in the whole range. Without values, all but `count` and `sum` are null. */
type Statistics = Omit<SeriesResult['buckets'][number], 'start'>;

/** Minimum length of a bucket in the result. */
const BUCKET_BYTES = JSON.stringify({
  ...{ start: '2026-01-01T00:00:00Z', count: 1, sum: 1, avg: 1, min: 1, max: 1, p50: 1, p95: 1, p99: 1 },
}).length;

/** Computes the statistics of a metric over time. */
export function series(store: ColumnStore, query: BucketQuery, budget: Budget): Streamed<SeriesResult> {
  const grouped = groupSelection(store, 'metric', query, BUCKET_BYTES, budget);
  const { buckets, groups, groupCount } = grouped;
  const statistics = computeStatistics(grouped, budget);
  const starts = startsOf(grouped.edges, query.zone);

  function* bucketsOf(group: number) {
    for (let bucket = 0; bucket < buckets; bucket++) {
      yield { start: starts[bucket] as string, ...statistics.at(group * (buckets + 1) + bucket) };
    }
  }
  const totalOf = (group: number) => statistics.at(group * (buckets + 1) + buckets);
  const result = {
    name: query.name,
    ...rangeOf(grouped, query, query.zone),
    percentiles: { method: 'percentile_cont', error: 0 },
    ...totalOf(statistics.all),
    buckets: bucketsOf(statistics.all),
  } as const;
  if (query.top === undefined) return result;
  function* groupsOf() {
    for (const [group, label] of groups.values.entries()) {
      yield { data_string: String(label), ...totalOf(group), buckets: bucketsOf(group) };
    }
  }
  const other = { labels: groups.others, ...totalOf(groupCount - 1), buckets: bucketsOf(groupCount - 1) };
  return { ...result, groups: groupsOf(), other };
}

/** Statistics by group: each group has one entry per bucket, followed by one for the whole range. */
interface GroupStatistics {
  /** The group of all values, which is the last one. */
  readonly all: number;
  readonly at: (index: number) => Statistics;
}

function computeStatistics(grouped: GroupedSelection, budget: Budget): GroupStatistics {
  const { buckets, groupCount } = grouped;
  const { values, starts } = valuesBySlot(grouped, ({ values }) => values, budget);
  const all = groupCount === 1 ? 0 : groupCount;
  const table = new StatisticsTable((all + 1) * (buckets + 1), budget);
  const add = (group: number, bucket: number, part: Float64Array) =>
    table.set(group * (buckets + 1) + bucket, part, budget.check);

  // from the smallest ranges of values to the largest, since percentiles reorder the values of a range
  for (let slot = 0; slot < groupCount * buckets; slot++) {
    add(Math.floor(slot / buckets), slot % buckets, values.subarray(starts[slot], starts[slot + 1]));
  }
  const scratch = new Scratch(budget);
  for (let bucket = 0; bucket < buckets && groupCount > 1; bucket++) {
    const slots = Array.from({ length: groupCount }, (_, group) => group * buckets + bucket);
    add(all, bucket, scratch.concat(slots.map((slot) => values.subarray(starts[slot], starts[slot + 1]))));
  }
  for (let group = 0; group < groupCount && groupCount > 1; group++) {
    add(group, buckets, values.subarray(starts[group * buckets], starts[(group + 1) * buckets]));
  }
  add(all, buckets, values);
  return { all, at: (index) => table.at(index) };
}

const NO_VALUES: Statistics = { count: 0, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
const PERCENTILES = [0.5, 0.95, 0.99];
/** Numbers per entry of a {@link StatisticsTable}. */
const FIELDS = 8;

/** A table of statistics that uses 65 bytes per entry. */
class StatisticsTable {
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
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const value = values[i] as number;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    const { sum, overflow, mean } = exactSum(values, check);
    const avg = Math.min(Math.max(mean, min), max);
    this.#fields.set([count, sum, avg, min, max, ...percentilesOf(values, min, max, check)], index * FIELDS);
    this.#overflows[index] = overflow ? 1 : 0;
  }

  at(index: number): Statistics {
    const [count = 0, sum = 0, avg = 0, min = 0, max = 0, p50 = 0, p95 = 0, p99 = 0] = this.#fields.subarray(
      index * FIELDS,
      (index + 1) * FIELDS,
    );
    if (count === 0) return NO_VALUES;
    const overflow = this.#overflows[index] === 1 && ({ sum_overflow: true } as const);
    return { count, sum, ...overflow, avg, min, max, p50, p95, p99 };
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
    const fraction = rank - Math.floor(rank);
    // the difference of two values can overflow
    const interpolated =
      high - low < Number.POSITIVE_INFINITY ? low + (high - low) * fraction : low * (1 - fraction) + high * fraction;
    return Math.min(Math.max(interpolated, low), high);
  });
}
