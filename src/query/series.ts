import type { ColumnStore } from '../storage/columns/column-store.ts';
import { startsOf } from './calendar.ts';
import { valuesAt } from './percentiles.ts';
import { arrange, type BucketQuery, type Budget, bucketOf, rangeOf } from './selection.ts';

/** What is known of the values of a bucket. All but the first two are null where there are none. */
export interface Statistics {
  readonly count: number;
  readonly sum: number;
  readonly avg: number | null;
  readonly min: number | null;
  readonly max: number | null;
  /** Percentiles, exact: interpolated between the two nearest values, as SQL's PERCENTILE_CONT does. */
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

/** A metric over time; the statistics beside the buckets are those of the whole range. */
export interface SeriesResult extends Statistics {
  readonly name: string;
  /** The range, RFC 3339; null where no row could give it. */
  readonly from: string | null;
  readonly to: string | null;
  readonly tz: string;
  /** How the percentiles were found, and how far they can be off. */
  readonly percentiles: { readonly method: 'percentile_cont'; readonly error: 0 };
  readonly buckets: readonly (Statistics & { start: string })[];
  /** By label, the most frequent first. */
  readonly groups?: readonly { data_string: string; buckets: readonly (Statistics & { start: string })[] }[];
  /** All labels beside those in `groups`, together. */
  readonly other?: { labels: number; buckets: readonly (Statistics & { start: string })[] };
}

/** Engine for a metric over time: its values are put into buckets, and each bucket's percentiles looked for. */
export function series(store: ColumnStore, question: BucketQuery, budget: Budget): SeriesResult {
  const selection = arrange(store, 'metric', question, budget);
  const { from, to, user, edges, buckets, groups, label } = selection;

  // the values slot by slot, a slot being a bucket of a group: first how many each has, then they themselves
  const slots = buckets * (groups.labels.length + 1);
  const starts = new Uint32Array(slots + 1);
  const chunks: { slotOf: Int32Array; values: Float64Array }[] = [];
  for (const { times, users, labels, values } of selection.chunks()) {
    const slotOf = new Int32Array(times.length).fill(-1);
    let bucket = 0;
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      if (time < from || time >= to || (user >= 0 && users[i] !== user)) continue;
      if (label >= 0 && labels[i] !== label) continue;
      bucket = bucketOf(edges, time, bucket);
      const slot = (groups.groupOf[labels[i] as number] as number) * buckets + bucket;
      slotOf[i] = slot;
      (starts[slot + 1] as number)++;
    }
    chunks.push({ slotOf, values });
  }
  for (let slot = 0; slot < slots; slot++) (starts[slot + 1] as number) += starts[slot] as number;
  const values = new Float64Array(starts[slots] as number);
  const next = starts.slice();
  for (const chunk of chunks) {
    for (let i = 0; i < chunk.slotOf.length; i++) {
      const slot = chunk.slotOf[i] as number;
      if (slot >= 0) values[(next[slot] as number)++] = chunk.values[i] as number;
    }
  }

  const labelsOfEdges = startsOf(edges, question.zone);
  const slotsOf = (group: number) =>
    labelsOfEdges.map((start, bucket) => {
      const slot = group * buckets + bucket;
      return { start, ...statistics(values.subarray(starts[slot], starts[slot + 1])) };
    });
  const answer = {
    name: question.name,
    ...rangeOf(selection, question, question.zone),
    percentiles: { method: 'percentile_cont', error: 0 },
  } as const;
  if (question.top === undefined) return { ...answer, buckets: slotsOf(0), ...statistics(values) };
  const named = groups.labels.map((number, group) => ({
    data_string: store.labelText(number),
    buckets: slotsOf(group),
  }));
  const other = { labels: groups.others, buckets: slotsOf(groups.labels.length) };
  // the buckets first: statistics reorder the values
  const all = totals(values, starts, slots, labelsOfEdges);
  return { ...answer, ...statistics(values), buckets: all, groups: named, other };
}

/** The buckets of all groups together. */
function totals(values: Float64Array, starts: Uint32Array, slots: number, labels: readonly string[]) {
  return labels.map((start, bucket) => {
    const parts: Float64Array[] = [];
    for (let slot = bucket; slot < slots; slot += labels.length) {
      parts.push(values.subarray(starts[slot], starts[slot + 1]));
    }
    const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return { start, ...statistics(all) };
  });
}

const PERCENTILES = [0.5, 0.95, 0.99];

/** @param values in any order, which may change */
function statistics(values: Float64Array): Statistics {
  const count = values.length;
  if (count === 0) return { count, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
  let sum = 0;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const value = values[i] as number;
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const ranks = PERCENTILES.map((fraction) => fraction * (count - 1));
  const found = valuesAt(
    values,
    ranks.flatMap((rank) => [Math.floor(rank), Math.ceil(rank)]),
    min,
    max,
  );
  const [p50 = 0, p95 = 0, p99 = 0] = ranks.map((rank, i) => {
    const low = found[2 * i] as number;
    const high = found[2 * i + 1] as number;
    const part = rank - Math.floor(rank);
    // the distance of two values can be more than a number can be
    return high - low < Number.POSITIVE_INFINITY ? low + (high - low) * part : low * (1 - part) + high * part;
  });
  return { count, sum, avg: sum / count, min, max, p50, p95, p99 };
}
