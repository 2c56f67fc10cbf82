import type { Activity as ActivityResult } from '../responses.ts';
import type { Chunk } from '../storage/columns/chunk.ts';
import type { ChunkOutline, ColumnStore, Extent } from '../storage/columns/column-store.ts';
import { extentOfAll } from '../storage/columns/extent.ts';
import { QUARTER_US, type Quarters } from '../storage/columns/summary.ts';
import {
  type ActivityScope,
  countByUsers,
  type KindUsers,
  type Ranking,
  type UserCounts,
  type UsersByKind,
} from './activity-users.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import {
  type Bucketing,
  bucketOf,
  edgesOf,
  extentsOf,
  type RangeQuery,
  rangeOf,
  resolveRange,
  type SeriesExtent,
  userOf,
} from './selection.ts';
import type { Streamed } from './serialize.ts';
import { TopList } from './top-list.ts';

/** A query for the number of rows, in total and by name. */
export interface ActivityQuery extends RangeQuery, Bucketing {
  /** How many of the first names of each kind to list; the others are counted together. */
  readonly top: number;
  /** Whether to count unique users too, and to sort the names by them instead of by rows. */
  readonly uniqueUsers?: boolean;
}

/** Minimum length of a bucket's count in the result, including the comma. */
const COUNT_BYTES = 2;
/** Minimum length of a bucket's start in the result, including the comma. */
const START_BYTES = '"2026-01-01T00:00:00Z",'.length;

/**
 * Counts the rows of each kind, in total and by name, and optionally their unique users. Names are sorted by unique users,
 * if these are counted, and by rows, both descending, then by UTF-16 code units. Names without rows in the range are
 * omitted.
 *
 * There may be hundreds of thousands of names. The first pass counts the rows of each; then only the most frequent names
 * get counts per bucket, and all others share one array.
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
  const scope: Scope = { user: user ?? -1, range, edges, isQuarterly: areQuarterly(edges), budget };
  const byRows = { metric: rank(all.metric, query.top, scope), analytics: rank(all.analytics, query.top, scope) };
  reserveActivity(buckets, byRows.metric.top.length + byRows.analytics.top.length, query, budget);
  const { ranked, users } = query.uniqueUsers
    ? countByUsers(byRows, query.top, scope, store.userLimit)
    : { ranked: byRows, users: undefined };
  const metrics = countByBucket(ranked.metric, scope);
  const analytics = countByBucket(ranked.analytics, scope);
  return {
    ...rangeOf(range, query, query.zone),
    starts: startsOf(edges, query.zone),
    ...activityOf({ metrics, analytics }, users),
  };
}

/** The rows of a kind per bucket: by name for the first names, of the other names together, and of all. */
export interface CountedNames {
  readonly named: readonly { readonly name: string; readonly counts: Uint32Array }[];
  /** The number of other names. */
  readonly otherNames: number;
  readonly other: Uint32Array;
}

/**
 * Returns the counts of both kinds as they stand in the result.
 *
 * @param users the unique users of the same names, in the same order
 */
export function activityOf(
  { metrics, analytics }: { metrics: CountedNames; analytics: CountedNames },
  users: UsersByKind | undefined,
) {
  const named = (counted: CountedNames, ofKind: KindUsers | undefined) =>
    counted.named.map(({ name, counts }, i) => [name, { ...withSum(counts), ...usersOf(ofKind?.named[i]) }] as const);
  return {
    ...usersOf(users?.all),
    metrics: {
      ...withSum(allOf(metrics)),
      ...usersOf(users?.metric.all),
      names: named(metrics, users?.metric).map(([name, counts]) => ({ name, ...counts })),
      other: { names: metrics.otherNames, ...withSum(metrics.other), ...usersOf(users?.metric.other) },
    },
    analytics: {
      ...withSum(allOf(analytics)),
      ...usersOf(users?.analytics.all),
      types: named(analytics, users?.analytics).map(([type, counts]) => ({ type, ...counts })),
      other: { types: analytics.otherNames, ...withSum(analytics.other), ...usersOf(users?.analytics.other) },
    },
  };
}

/** Returns unique users as they stand in the result. */
function usersOf(users: UserCounts | undefined) {
  return users && { unique_users: users.all, user_counts: users.counts };
}

/** Adds up the counts of all names. */
function allOf({ named, other }: CountedNames): Uint32Array {
  const all = other.slice();
  for (const { counts } of named) for (let i = 0; i < all.length; i++) (all[i] as number) += counts[i] as number;
  return all;
}

/**
 * Checks the size of a result before its counts are allocated.
 *
 * @param names number of names that are listed, of both kinds
 */
export function reserveActivity(
  buckets: number,
  names: number,
  { uniqueUsers }: Pick<ActivityQuery, 'uniqueUsers'>,
  budget: Budget,
): void {
  // for each kind: the names, all together, and the others together. Users of both kinds together are one more list
  const lists = uniqueUsers ? 2 * (names + 4) + 1 : names + 4;
  budget.checkResult(buckets * (START_BYTES + lists * COUNT_BYTES));
  budget.reserve(4 * buckets * lists);
}

interface Scope extends ActivityScope {
  /** See {@link areQuarterly}. */
  readonly isQuarterly: boolean;
}

/** Finds the most frequent series. */
function rank(all: readonly SeriesExtent[], top: number, scope: Scope): Ranking {
  const counts = new Map<SeriesExtent, number>();
  const best = new TopList<SeriesExtent>(
    top,
    (a, b) => (counts.get(b) as number) - (counts.get(a) as number) || (a.series.name < b.series.name ? -1 : 1),
  );
  // the whole range as one bucket; an empty range has no rows to count
  const { from, to } = scope.range;
  const inRange = { ...scope, edges: Float64Array.of(from, to), isQuarterly: true };
  const count = new Uint32Array(1);
  for (const [i, entry] of all.entries()) {
    if (i % 1024 === 0) scope.budget.check();
    addRows(entry, inRange, count.fill(0));
    const rows = count[0] as number;
    if (rows === 0) continue;
    counts.set(entry, rows);
    best.add(entry);
  }
  const named = best.sorted();
  const isNamed = new Set(named);
  return { top: named, others: [...counts.keys()].filter((entry) => !isNamed.has(entry)) };
}

/** Counts rows per bucket: for each top series, and for the others together. */
function countByBucket({ top, others }: Ranking, scope: Scope): CountedNames {
  const newCounts = () => new Uint32Array(Math.max(0, scope.edges.length - 1));
  const named = top.map((entry) => {
    const counts = newCounts();
    addRows(entry, scope, counts);
    return { name: entry.series.name, counts };
  });
  const other = newCounts();
  for (const [i, entry] of others.entries()) {
    if (i % 1024 === 0) scope.budget.check();
    addRows(entry, scope, other);
  }
  return { named, otherNames: others.length, other };
}

/**
 * Adds the rows of a series to the counts of their buckets. A series or chunk that lies entirely in one bucket is counted
 * without reading its rows; other chunks are counted by quarter hour, if they have such a summary.
 */
function addRows(
  { series, extent, source }: SeriesExtent,
  { user, range, edges, isQuarterly, budget }: Scope,
  counts: Uint32Array,
): void {
  const from = Math.max(range.from, extent.minTime);
  const to = Math.min(range.to, extent.maxTime + 1);
  if (to <= from) return;
  /** Returns the bucket that contains a whole extent; -1 if the extent crosses an edge of a bucket or of the range. */
  const bucketOfExtent = ({ minTime, maxTime }: Extent): number => {
    if (minTime < from || maxTime >= to) return -1;
    const bucket = bucketOf(edges, minTime, 0);
    return maxTime < (edges[bucket + 1] as number) ? bucket : -1;
  };
  const seriesBucket = bucketOfExtent(extent);
  if (seriesBucket >= 0) {
    (counts[seriesBucket] as number) += extent.rows;
    return;
  }
  for (const outline of source.outlines(series, from, to)) {
    const chunkBucket = user < 0 ? bucketOfExtent(outline) : -1;
    if (chunkBucket >= 0) {
      (counts[chunkBucket] as number) += outline.rows;
      continue;
    }
    budget.check();
    const quarters = user < 0 && isQuarterly ? outline.quarters() : undefined;
    if (quarters) addQuarters(quarters, outline, from, to, edges, counts);
    else addTimes(outline.read(), user, from, to, edges, counts);
  }
}

/** Adds rows by their time. */
function addTimes(
  { times, users }: Pick<Chunk, 'times' | 'users'>,
  user: number,
  from: number,
  to: number,
  edges: Float64Array,
  counts: Uint32Array,
): void {
  let bucket = 0;
  for (let i = 0; i < times.length; i++) {
    const time = times[i] as number;
    if (time < from || time >= to || (user >= 0 && users[i] !== user)) continue;
    bucket = bucketOf(edges, time, bucket);
    (counts[bucket] as number)++;
  }
}

/** Adds the rows of a chunk by quarter hour. Reads only the rows of quarter hours that the range cuts. */
function addQuarters(
  { numbers, rows }: Quarters,
  { minTime, maxTime, read }: ChunkOutline,
  from: number,
  to: number,
  edges: Float64Array,
  counts: Uint32Array,
): void {
  // if the chunk ends within the range, the range cuts none of its quarter hours there
  const firstWhole = minTime >= from ? Number.NEGATIVE_INFINITY : Math.ceil(from / QUARTER_US);
  const endWhole = maxTime < to ? Number.POSITIVE_INFINITY : Math.floor(to / QUARTER_US);
  const start = edges[0] as number;
  let isCut = false;
  let bucket = 0;
  let endOfBucket = Number.NEGATIVE_INFINITY; // in quarter hours
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i] as number;
    if (number >= firstWhole && number < endWhole) {
      if (number >= endOfBucket) {
        bucket = bucketOf(edges, Math.max(number * QUARTER_US, start), bucket);
        endOfBucket = (edges[bucket + 1] as number) / QUARTER_US;
      }
      (counts[bucket] as number) += rows[i] as number;
    } else if ((number + 1) * QUARTER_US > from && number * QUARTER_US < to) isCut = true;
  }
  if (!isCut) return;
  const { times } = read();
  for (let i = 0; i < times.length; i++) {
    const time = times[i] as number;
    const number = Math.floor(time / QUARTER_US);
    if (time < from || time >= to || (number >= firstWhole && number < endWhole)) continue;
    bucket = bucketOf(edges, time, bucket);
    (counts[bucket] as number)++;
  }
}

/** Returns whether the buckets start at full quarter hours, so that each quarter hour of a summary lies in one bucket. */
function areQuarterly(edges: Float64Array): boolean {
  for (let i = 1; i < edges.length - 1; i++) if ((edges[i] as number) % QUARTER_US !== 0) return false;
  return true;
}

function withSum(counts: Uint32Array) {
  let count = 0;
  for (let i = 0; i < counts.length; i++) count += counts[i] as number;
  return { count, counts };
}
