import type { Kind } from '../records.ts';
import type { Chunk } from '../storage/columns/chunk.ts';
import type { ColumnStore, Extent, Series } from '../storage/columns/column-store.ts';
import { type Budget, QueryTooLargeError } from './budget.ts';
import { bucketEdges, formatInZone, type Interval, MAX_BUCKETS } from './calendar.ts';
import { grown, NumberIndex } from './number-index.ts';
import { TopList } from './top-list.ts';

/** What every question has that is about a range of time. Times are microseconds since 1970. */
export interface RangeQuery {
  /** Start of the range; undefined: the first row's time. */
  readonly from: number | undefined;
  /** End of the range, not in it; undefined: just behind the last row. */
  readonly to: number | undefined;
  /** Rows of this user alone; undefined: of all. */
  readonly user: string | undefined;
}

/** What every question over a series has. */
export interface Query extends RangeQuery {
  /** The metric's name or the event's type. */
  readonly name: string;
}

/** How a range is cut into buckets. */
export interface Bucketing {
  /** Length of a bucket; undefined: one for the whole range. */
  readonly interval: Interval | undefined;
  /** The zone whose calendar buckets follow, by its IANA name. */
  readonly zone: string;
}

/** A question over a series whose answer comes by buckets. */
export interface BucketQuery extends Query, Bucketing {
  /** Rows with this label alone. */
  readonly label: string | undefined;
  /** How many of the most frequent labels get an answer of their own; undefined: the answer is not by label. */
  readonly top: number | undefined;
}

/** The range of a question, with both ends. */
export interface Range {
  readonly from: number;
  readonly to: number;
  /** All rows that the queries may see; undefined where there are none, or the question gave both ends. */
  readonly extent: Extent | undefined;
}

/** The rows that a question is about, ready to be walked through. */
export interface Selection extends Range {
  readonly series: Series | undefined;
  /** The chunks that may have such rows. */
  readonly chunks: () => Generator<Chunk>;
  /** The number of the user whose rows count; -1: all. */
  readonly user: number;
}

/**
 * Finds the range of a question.
 *
 * @param extent all rows that the queries may see; asked for only where the question leaves an end open
 */
export function resolveRange(query: RangeQuery, extent: () => Extent | undefined): Range {
  const seen = query.from === undefined || query.to === undefined ? extent() : undefined;
  const from = query.from ?? Math.min(seen?.minTime ?? query.to ?? 0, query.to ?? Number.POSITIVE_INFINITY);
  const to = query.to ?? (seen ? Math.max(seen.maxTime + 1, from) : from);
  return { from, to, extent: seen };
}

/** The number of the user whose rows count; -1: all. Undefined for one who has recorded nothing. */
export function userOf(store: ColumnStore, { user }: Pick<RangeQuery, 'user'>): number | undefined {
  return user === undefined ? -1 : store.user(user);
}

/** Finds the series and the range of a question. The rows of a user who has none are no rows. */
export function select(store: ColumnStore, kind: Kind, query: Query, budget: Budget): Selection {
  const series = store.find(kind, query.name);
  const user = userOf(store, query);
  const extent = () => {
    if (!series || user === undefined) return undefined;
    return user < 0 ? store.extent(series) : extentOfUser(store, series, user, ALL_TIME, budget);
  };
  const range = resolveRange(query, extent);
  // where an end was open, the extent is known: the chunks outside of it have no rows that count
  const from = Math.max(range.from, range.extent?.minTime ?? range.from);
  const to = Math.min(range.to, range.extent ? range.extent.maxTime + 1 : range.to);
  return {
    ...range,
    series,
    user: user ?? -1,
    *chunks() {
      if (!series || user === undefined || to <= from) return;
      for (const outline of store.outlines(series, from, to)) {
        budget.check();
        yield outline.read();
      }
    },
  };
}

const ALL_TIME = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };

/** The extent of the rows that a user has in a series and in a range; undefined where there are none. */
function extentOfUser(
  store: ColumnStore,
  series: Series,
  user: number,
  { from, to }: Pick<Range, 'from' | 'to'>,
  budget: Budget,
): Extent | undefined {
  let rows = 0;
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (const outline of store.outlines(series, from, to)) {
    budget.check();
    const { users, times } = outline.read();
    for (let i = 0; i < users.length; i++) {
      const time = times[i] as number;
      if (users[i] !== user || time < from || time >= to) continue;
      rows++;
      if (time < minTime) minTime = time;
      if (time > maxTime) maxTime = time;
    }
  }
  return rows === 0 ? undefined : { rows, minTime, maxTime };
}

/**
 * Every series of a kind that has rows which the query may see, with the extent of those rows. Of one user, only
 * the rows in the range count if it has both ends, so that no other chunks are read.
 *
 * @param user as {@link userOf} returns it
 */
export function extentsOf(
  store: ColumnStore,
  kind: Kind,
  user: number | undefined,
  { from, to }: Pick<RangeQuery, 'from' | 'to'>,
  budget: Budget,
): SeriesExtent[] {
  if (user === undefined) return [];
  if (user < 0) return store.extents(kind);
  const range = from === undefined || to === undefined ? ALL_TIME : { from, to };
  return store.seriesWith(kind, user).flatMap((series) => {
    const extent = extentOfUser(store, series, user, range, budget);
    return extent ? [{ series, extent }] : [];
  });
}

/** A series, and the extent of those of its rows that a query may see. */
export interface SeriesExtent {
  readonly series: Series;
  readonly extent: Extent;
}

/** A range as text; null at an end that was not given, where no row could give it. */
export function rangeOf({ from, to, extent }: Range, query: RangeQuery, zone: string) {
  const known = (end: number | undefined) => end !== undefined || extent !== undefined;
  return {
    from: known(query.from) ? formatInZone(from, zone) : null,
    to: known(query.to) ? formatInZone(to, zone) : null,
    tz: zone,
  };
}

/**
 * Cuts a range into buckets: see {@link bucketEdges}.
 *
 * @throws {QueryTooLargeError}
 */
export function edgesOf({ from, to }: Range, { interval, zone }: Bucketing): Float64Array {
  const edges = bucketEdges(from, to, interval, zone);
  if (!edges) throw new QueryTooLargeError(`the range has more than ${MAX_BUCKETS} intervals`, 'interval');
  return edges;
}

/**
 * Finds the bucket of a time.
 *
 * @param edges at least two, rising; the time must lie in [first, last)
 * @param near the bucket of the row before: rows come nearly in the order of time
 */
export function bucketOf(edges: Float64Array, time: number, near: number): number {
  if (time >= (edges[near] as number) && time < (edges[near + 1] as number)) return near;
  let low = 0;
  let high = edges.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((edges[middle] as number) <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The labels that get a group each, and the rest. */
export interface Groups {
  /** The numbers of the labels, the most frequent first. */
  readonly labels: readonly number[];
  /** Their texts. */
  readonly texts: readonly string[];
  /** How many labels there are beside them. */
  readonly others: number;
  /** The group of a label's number; `labels.length` for the rest. */
  readonly groupOf: (label: number) => number;
}

/**
 * Finds the most frequent labels of a selection. Of equally frequent ones the one goes first of which the
 * selection has the first row, in the order of commits.
 *
 * @param only the number of the label that counts; -1: all
 */
function topLabels(store: ColumnStore, selection: Selection, top: number, only: number, budget: Budget): Groups {
  const present = new NumberIndex(store.labelLimit, budget); // in the order in which the rows have them
  let counts = new Float64Array(64);
  const { from, to, user } = selection;
  for (const { times, users, labels } of selection.chunks()) {
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      if (time < from || time >= to || (user >= 0 && users[i] !== user)) continue;
      const label = labels[i] as number;
      if (only >= 0 && label !== only) continue;
      const index = present.add(label);
      if (index === counts.length) {
        budget.reserve(8 * index);
        counts = grown(counts, new Float64Array(2 * index));
      }
      (counts[index] as number)++;
    }
  }
  // not by the number of the label where counts are equal: a rebuild changes it
  const best = new TopList<number>(top, (a, b) => (counts[b] as number) - (counts[a] as number) || a - b);
  for (let index = 0; index < present.size; index++) {
    if (index % 4096 === 0) budget.check();
    best.add(index);
  }
  const labels = best.sorted().map((index) => present.at(index));
  budget.reserve(-8 * counts.length);
  const groups = new NumberIndex(store.labelLimit, budget);
  for (const label of labels) groups.add(label);
  return {
    labels,
    texts: textsOf(store, labels, budget),
    others: present.size - labels.length,
    groupOf(label) {
      const group = groups.find(label);
      return group < 0 ? labels.length : group;
    },
  };
}

/** The texts of labels. Each may be kilobytes long, so that they are counted against the limit of the result. */
function textsOf(store: ColumnStore, labels: readonly number[], budget: Budget): string[] {
  let bytes = 0;
  return labels.map((label) => {
    const text = store.labelText(label);
    bytes += text.length;
    budget.checkResult(bytes);
    return text;
  });
}

/** The groups of a result that is not by label. */
const ONE_GROUP: Groups = { labels: [], texts: [], others: 0, groupOf: () => 0 };

/** How the rows of a selection fall into slots: each is a bucket of a group. */
export interface Arrangement extends Selection {
  /** The starts of the buckets, and behind them the end of the last. */
  readonly edges: Float64Array;
  readonly buckets: number;
  readonly groups: Groups;
  /** How many groups there are, that of the other labels included. */
  readonly lanes: number;
  /** The slot of each row of a chunk, which is group × buckets + bucket; -1 for rows that do not count. */
  readonly slotsOf: (chunk: Chunk) => Int32Array;
}

/**
 * Finds the rows of a query, and its buckets and groups.
 *
 * @param bucketBytes how long a bucket is in the result, at least
 * @throws {QueryTooLargeError} where there are so many buckets and groups that the result exceeds its limit
 */
export function arrange(
  store: ColumnStore,
  kind: Kind,
  query: BucketQuery,
  bucketBytes: number,
  budget: Budget,
): Arrangement {
  const selection = select(store, kind, query, budget);
  const { series, from, to, user } = selection;
  const edges = edgesOf(selection, query);
  const buckets = Math.max(0, edges.length - 1);
  budget.checkResult(buckets * bucketBytes);
  // 0, which no label has, where the series lacks it
  const only = query.label === undefined ? -1 : ((series && store.label(series, query.label)) ?? 0);
  const grouped = query.top !== undefined;
  const groups = query.top === undefined ? ONE_GROUP : topLabels(store, selection, query.top, only, budget);
  const lanes = groups.labels.length + 1;
  const textBytes = groups.texts.reduce((sum, { length }) => sum + length, 0);
  budget.checkResult((grouped ? lanes + 1 : 1) * buckets * bucketBytes + textBytes);
  return {
    ...selection,
    edges,
    buckets,
    groups,
    lanes,
    slotsOf({ times, users, labels }) {
      const slots = new Int32Array(times.length);
      let bucket = 0;
      for (let i = 0; i < times.length; i++) {
        const time = times[i] as number;
        const isIn = time >= from && time < to && (user < 0 || users[i] === user) && (only < 0 || labels[i] === only);
        if (!isIn) slots[i] = -1;
        else {
          bucket = bucketOf(edges, time, bucket);
          slots[i] = grouped ? groups.groupOf(labels[i] as number) * buckets + bucket : bucket;
        }
      }
      return slots;
    },
  };
}
