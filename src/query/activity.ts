import type { Activity as ActivityResult } from '../responses.ts';
import { type ColumnStore, type Extent, extentOfAll } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import {
  type Bucketing,
  bucketOf,
  edgesOf,
  extentsOf,
  type Range,
  type RangeQuery,
  rangeOf,
  resolveRange,
  type SeriesExtent,
  userOf,
} from './selection.ts';
import type { Streamed } from './serialize.ts';
import { TopList } from './top-list.ts';

/** How much was recorded, of whatever name. */
export interface ActivityQuery extends RangeQuery, Bucketing {
  /** How many of the most frequent names of each kind get counts of their own. */
  readonly top: number;
}

/** How many rows there are: in the whole range, and in each bucket. */
export interface Activity {
  readonly count: number;
  readonly counts: readonly number[];
}

/** The shortest that the count of a bucket can be in the result, with its comma. */
const COUNT_BYTES = 2;
/** The shortest that the start of a bucket can be. */
const START_BYTES = '"2026-01-01T00:00:00Z",'.length;

/**
 * Returns how many rows of either kind there are, in total and by name. Names come by their count, the most
 * frequent first, and of equally frequent ones in the order of their UTF-16 code units; those without a row
 * in the range are left out.
 *
 * There may be hundreds of thousands of names. So the rows of each are counted first, and only the most
 * frequent names get counts by bucket; those of the others are added to a common array.
 */
export function activity(store: ColumnStore, query: ActivityQuery, budget: Budget): Streamed<ActivityResult> {
  const user = userOf(store, query);
  const all = {
    metric: extentsOf(store, 'metric', user, query, budget),
    analytics: extentsOf(store, 'analytics', user, query, budget),
  };
  const range = resolveRange(query, () => extentOfAll([...all.metric, ...all.analytics].map(({ extent }) => extent)));
  const edges = edgesOf(range, query);
  const buckets = Math.max(0, edges.length - 1);
  budget.checkResult(buckets * START_BYTES);
  const scope: Scope = { store, user: user ?? -1, range, edges, budget };
  const ranked = { metric: rank(all.metric, query.top, scope), analytics: rank(all.analytics, query.top, scope) };
  // for each kind: its top, all, and the others
  const lists = ranked.metric.top.length + ranked.analytics.top.length + 4;
  budget.checkResult(buckets * (START_BYTES + lists * COUNT_BYTES));
  budget.reserve(4 * buckets * lists);
  const [metrics, analytics] = [spread(ranked.metric, scope), spread(ranked.analytics, scope)];
  return {
    ...rangeOf(range, query, query.zone),
    starts: startsOf(edges, query.zone),
    metrics: {
      ...metrics.all,
      names: metrics.named,
      other: { names: ranked.metric.others.length, ...metrics.other },
    },
    analytics: {
      ...analytics.all,
      types: analytics.named.map(({ name, ...counts }) => ({ type: name, ...counts })),
      other: { types: ranked.analytics.others.length, ...analytics.other },
    },
  };
}

/** What counting needs. */
interface Scope {
  readonly store: ColumnStore;
  /** The number of the user whose rows count; -1: all. */
  readonly user: number;
  readonly range: Pick<Range, 'from' | 'to'>;
  readonly edges: Float64Array;
  readonly budget: Budget;
}

/** The series with rows in the range: the most frequent ones in their order, and the others. */
interface Ranking {
  readonly top: readonly SeriesExtent[];
  readonly others: readonly SeriesExtent[];
}

function rank(all: readonly SeriesExtent[], top: number, scope: Scope): Ranking {
  const counts = new Map<SeriesExtent, number>();
  const best = new TopList<SeriesExtent>(
    top,
    (a, b) => (counts.get(b) as number) - (counts.get(a) as number) || (a.series.name < b.series.name ? -1 : 1),
  );
  // the range as one bucket; an empty range has none
  const { from, to } = scope.range;
  const inRange = { ...scope, edges: Float64Array.of(from, to) };
  const count = new Uint32Array(1);
  for (const [i, one] of all.entries()) {
    if (i % 1024 === 0) scope.budget.check();
    addRows(one, inRange, count.fill(0));
    const rows = count[0] as number;
    if (rows === 0) continue;
    counts.set(one, rows);
    best.add(one);
  }
  const named = best.sorted();
  const isNamed = new Set(named);
  return { top: named, others: [...counts.keys()].filter((one) => !isNamed.has(one)) };
}

/** The rows by bucket of all series of a kind: of each at the top, of the others together, and of all. */
function spread({ top, others }: Ranking, scope: Scope) {
  const newCounts = () => new Uint32Array(Math.max(0, scope.edges.length - 1));
  const named = top.map((one) => {
    const counts = newCounts();
    addRows(one, scope, counts);
    return { name: one.series.name, ...summed(counts) };
  });
  const other = newCounts();
  for (const [i, one] of others.entries()) {
    if (i % 1024 === 0) scope.budget.check();
    addRows(one, scope, other);
  }
  const all = other.slice();
  for (const { counts } of named) for (let i = 0; i < all.length; i++) (all[i] as number) += counts[i] as number;
  return { all: summed(all), named, other: summed(other) };
}

/**
 * Adds the rows of a series to the counts of their buckets. Whatever lies in one bucket as a whole, the series
 * or a chunk, is not read.
 */
function addRows(
  { series, extent }: SeriesExtent,
  { store, user, range, edges, budget }: Scope,
  counts: Uint32Array,
): void {
  const from = Math.max(range.from, extent.minTime);
  const to = Math.min(range.to, extent.maxTime + 1);
  if (to <= from) return;
  /** The bucket in which a whole extent lies; -1: there is none, or the range cuts it. */
  const bucketOfAll = ({ minTime, maxTime }: Extent): number => {
    if (minTime < from || maxTime >= to) return -1;
    const bucket = bucketOf(edges, minTime, 0);
    return maxTime < (edges[bucket + 1] as number) ? bucket : -1;
  };
  const only = bucketOfAll(extent);
  if (only >= 0) {
    (counts[only] as number) += extent.rows;
    return;
  }
  for (const outline of store.outlines(series, from, to)) {
    const whole = user < 0 ? bucketOfAll(outline) : -1;
    if (whole >= 0) {
      (counts[whole] as number) += outline.rows;
      continue;
    }
    budget.check();
    const { times, users } = user < 0 ? { times: outline.readTimes(), users: undefined } : outline.read();
    let bucket = 0;
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      if (time < from || time >= to || (users && users[i] !== user)) continue;
      bucket = bucketOf(edges, time, bucket);
      (counts[bucket] as number)++;
    }
  }
}

function summed(counts: Uint32Array) {
  let count = 0;
  for (let i = 0; i < counts.length; i++) count += counts[i] as number;
  return { count, counts };
}
