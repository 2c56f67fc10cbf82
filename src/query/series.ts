import type { Series as SeriesResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { type GroupedSelection, type GroupNames, groupSelection } from './groups.ts';
import { areHourly, type CollectedRuns, collectRuns } from './hourly-runs.ts';
import { type BucketQuery, type Range, rangeOf, seriesNamed } from './selection.ts';
import type { Streamed } from './serialize.ts';
import { RunSelection } from './sorted-runs.ts';
import { type Statistics, StatisticsTable } from './statistics-table.ts';
import { Scratch, valuesBySlot } from './values-by-slot.ts';

/** Minimum length of a bucket in the result. */
export const SERIES_BUCKET_BYTES = JSON.stringify({
  ...{ start: '2026-01-01T00:00:00Z', count: 1, sum: 1, avg: 1, min: 1, max: 1, p50: 1, p95: 1, p99: 1 },
}).length;

/** Computes the statistics of a metric over time. */
export function series(store: ColumnStore, query: BucketQuery, budget: Budget): Streamed<SeriesResult> {
  const grouped = groupSelection(store, 'metric', query, SERIES_BUCKET_BYTES, budget);
  const seriesList = seriesNamed(store, 'metric', query.name);
  const collected =
    isOfAllRows(query) && areHourly(grouped.edges)
      ? collectRuns(store, seriesList, grouped, grouped.edges, budget)
      : undefined;
  const statistics = collected ? computeFromRuns(collected, budget) : computeStatistics(grouped, budget);
  return seriesOf(query, grouped, statistics);
}

/** Returns statistics as they stand in the result. */
export function seriesOf(
  query: BucketQuery,
  grouped: Range & Pick<GroupedSelection, 'edges' | 'buckets' | 'groupCount'> & { readonly groups: GroupNames },
  statistics: GroupStatistics,
): Streamed<SeriesResult> {
  const { buckets, groups, groupCount } = grouped;
  const starts = startsOf(grouped.edges, query.zone);

  function* bucketsOf(group: number) {
    for (let bucket = 0; bucket < buckets; bucket++) {
      yield bucketResult(starts[bucket] as string, statistics.at(group * (buckets + 1) + bucket));
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

/** Returns a bucket of the result. Charts have thousands of them, so it avoids a spread in the usual case. */
function bucketResult(start: string, statistics: Statistics): SeriesResult['buckets'][number] {
  const { count, sum, sum_overflow, avg, min, max, p50, p95, p99 } = statistics;
  return sum_overflow ? { start, ...statistics } : { start, count, sum, avg, min, max, p50, p95, p99 };
}

/** Statistics by group: each group has one entry per bucket, followed by one for the whole range. */
export interface GroupStatistics {
  /** The group of all values, which is the last one. */
  readonly all: number;
  readonly at: (index: number) => Statistics;
}

/** Returns whether a query selects all rows in its range and does not group them. */
function isOfAllRows({ user, labels, properties = [], top }: BucketQuery): boolean {
  return user === undefined && labels === undefined && properties.length === 0 && top === undefined;
}

/** Average number of runs per chunk from which the whole range is computed from other runs, with all hours of a chunk merged. */
const MANY_RUNS = 4;

/** Computes the statistics of each bucket, and of the whole range, from sorted runs. */
function computeFromRuns({ byBucket: runs, inOneBucket }: CollectedRuns, budget: Budget): GroupStatistics {
  const { firstRuns } = runs;
  const buckets = firstRuns.length - 1;
  const table = new StatisticsTable(buckets + 1, budget);
  const selection = new RunSelection(runs, budget.check);
  for (let bucket = 0; bucket < buckets; bucket++) {
    table.setFromRuns(
      bucket,
      runs,
      firstRuns[bucket] as number,
      firstRuns[bucket + 1] as number,
      selection,
      budget.check,
    );
  }
  const areMany = (firstRuns[buckets] as number) > MANY_RUNS * runs.sources.length;
  const all = areMany ? inOneBucket() : runs;
  table.setFromRuns(buckets, all, 0, all.firstRuns.at(-1) as number, new RunSelection(all, budget.check), budget.check);
  return { all: 0, at: (index) => table.at(index) };
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
  const first = (group: number) => group * (buckets + 1);
  const addTotal = (group: number, part: Float64Array) => {
    if (buckets === 1) table.copy(first(group), first(group) + 1);
    else add(group, buckets, part);
  };
  const groupValues = Array.from({ length: groupCount }, (_, group) =>
    values.subarray(starts[group * buckets], starts[(group + 1) * buckets]),
  );
  if (groupCount === 1) {
    addTotal(all, values);
    return { all, at: (index) => table.at(index) };
  }
  const present = groupValues.flatMap(({ length }, group) => (length > 0 ? [group] : []));
  const [onlyGroup = 0] = present;
  const isOneGroup = present.length <= 1; // the group of all values is then the same
  if (!isOneGroup) {
    const scratch = new Scratch(budget);
    for (let bucket = 0; bucket < buckets; bucket++) {
      const slots = present.map((group) => group * buckets + bucket);
      add(all, bucket, scratch.concat(slots.map((slot) => values.subarray(starts[slot], starts[slot + 1]))));
    }
  }
  for (const [group, part] of groupValues.entries()) addTotal(group, part);
  if (!isOneGroup) addTotal(all, values);
  else for (let bucket = 0; bucket <= buckets; bucket++) table.copy(first(onlyGroup) + bucket, first(all) + bucket);
  return { all, at: (index) => table.at(index) };
}
