import type { Kind } from '../records.ts';
import type { Chunk } from '../storage/columns/chunk.ts';
import type { ColumnStore, Extent, Series } from '../storage/columns/column-store.ts';
import { bucketEdges, formatInZone, type Interval } from './calendar.ts';

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

/** Stops a question that takes too much: called before each chunk of rows, throws {@link TooLarge}. */
export type Budget = (rows: number) => void;

/** The question is too large to be answered: its time, its rows or its buckets go beyond the limit. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge';
}

/**
 * @param milliseconds how long a question may take
 * @param rows how many rows it may look at
 */
export function createBudget(milliseconds: number, rows: number): Budget {
  const deadline = performance.now() + milliseconds;
  let left = rows;
  return (more) => {
    left -= more;
    if (left < 0) throw new TooLarge(`more than ${rows} rows`);
    if (performance.now() > deadline) throw new TooLarge(`more than ${milliseconds} ms`);
  };
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
export function resolveRange(question: RangeQuery, extent: () => Extent | undefined): Range {
  const seen = question.from === undefined || question.to === undefined ? extent() : undefined;
  const from = question.from ?? Math.min(seen?.minTime ?? question.to ?? 0, question.to ?? Number.POSITIVE_INFINITY);
  const to = question.to ?? (seen ? Math.max(seen.maxTime + 1, from) : from);
  return { from, to, extent: seen };
}

/** The number of the user whose rows count; -1: all. Undefined for one who has recorded nothing. */
export function userOf(store: ColumnStore, { user }: RangeQuery): number | undefined {
  return user === undefined ? -1 : store.user(user);
}

/** Finds the series and the range of a question. The rows of a user who has none are no rows. */
export function select(store: ColumnStore, kind: Kind, question: Query, budget: Budget): Selection {
  const series = store.find(kind, question.name);
  const user = userOf(store, question);
  const range = resolveRange(question, () =>
    series && user !== undefined ? extentOf(store, series, user, budget) : undefined,
  );
  const { from, to } = range;
  return {
    ...range,
    series,
    user: user ?? -1,
    *chunks() {
      if (!series || user === undefined || to <= from) return;
      for (const chunk of store.chunks(series, from, to)) {
        budget(chunk.rows);
        yield chunk;
      }
    },
  };
}

/**
 * The extent of a series, as far as its queries may see it.
 *
 * @param user whose rows count; -1: all
 */
export function extentOf(store: ColumnStore, series: Series, user: number, budget: Budget): Extent | undefined {
  if (user < 0) return store.extent(series);
  let rows = 0;
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (const chunk of store.chunks(series)) {
    budget(chunk.rows);
    const { users, times } = chunk;
    for (let i = 0; i < users.length; i++) {
      if (users[i] !== user) continue;
      rows++;
      const time = times[i] as number;
      if (time < minTime) minTime = time;
      if (time > maxTime) maxTime = time;
    }
  }
  return rows === 0 ? undefined : { rows, minTime, maxTime };
}

/** A range as text; null at an end that was not given, where no row could give it. */
export function rangeOf({ from, to, extent }: Range, question: RangeQuery, zone: string) {
  const known = (end: number | undefined) => end !== undefined || extent !== undefined;
  return {
    from: known(question.from) ? formatInZone(from, zone) : null,
    to: known(question.to) ? formatInZone(to, zone) : null,
    tz: zone,
  };
}

/**
 * Cuts a range into buckets: see {@link bucketEdges}.
 *
 * @throws {TooLarge}
 */
export function edgesOf({ from, to }: Range, { interval, zone }: Bucketing): Float64Array {
  const edges = bucketEdges(from, to, interval, zone);
  if (!edges) throw new TooLarge('too many buckets');
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

/** The labels that have an answer of their own, and what the rest is. */
export interface Groups {
  /** The numbers of the labels, the most frequent first. */
  readonly labels: readonly number[];
  /** How many labels there are beside them. */
  readonly others: number;
  /** The group of each label's number; `labels.length` for the rest. */
  readonly groupOf: Uint32Array;
}

/**
 * Finds the most frequent labels of a selection. Of equally frequent ones the one goes first of which the
 * selection has the first row, in the order of commits.
 *
 * @param only the number of the label that counts; -1: all
 */
function topLabels(store: ColumnStore, selection: Selection, top: number, only: number): Groups {
  const counts = new Float64Array(store.labelLimit);
  const present: number[] = []; // in the order in which the rows have them
  const { from, to, user } = selection;
  for (const { times, users, labels } of selection.chunks()) {
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      if (time < from || time >= to || (user >= 0 && users[i] !== user)) continue;
      const label = labels[i] as number;
      if (only >= 0 && label !== only) continue;
      if (counts[label] === 0) present.push(label);
      (counts[label] as number)++;
    }
  }
  // stable; the numbers of labels would not do, which are others after a rebuild
  present.sort((a, b) => (counts[b] as number) - (counts[a] as number));
  const labels = present.slice(0, top);
  const groupOf = new Uint32Array(store.labelLimit).fill(labels.length);
  labels.forEach((label, group) => {
    groupOf[label] = group;
  });
  return { labels, others: present.length - labels.length, groupOf };
}

/** The one group of an answer that is not by label. */
function oneGroup(store: ColumnStore): Groups {
  return { labels: [], others: 0, groupOf: new Uint32Array(store.labelLimit) };
}

/** How the rows of a selection fall into buckets and groups. */
export interface Arrangement extends Selection {
  /** The starts of the buckets, and behind them the end of the last. */
  readonly edges: Float64Array;
  readonly buckets: number;
  readonly groups: Groups;
  /** The number of the label whose rows count; -1: all; 0, which no label has, where the series lacks it. */
  readonly label: number;
}

/** Finds the rows of a question, and its buckets and groups. */
export function arrange(store: ColumnStore, kind: Kind, question: BucketQuery, budget: Budget): Arrangement {
  const selection = select(store, kind, question, budget);
  const { series } = selection;
  const edges = edgesOf(selection, question);
  const label = question.label === undefined ? -1 : ((series && store.label(series, question.label)) ?? 0);
  return {
    ...selection,
    edges,
    buckets: Math.max(0, edges.length - 1),
    groups: question.top === undefined ? oneGroup(store) : topLabels(store, selection, question.top, label),
    label,
  };
}
