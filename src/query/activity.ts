import type { Kind } from '../records.ts';
import { type ColumnStore, extentOfAll, type Series } from '../storage/columns/column-store.ts';
import { startsOf } from './calendar.ts';
import {
  type Bucketing,
  type Budget,
  bucketOf,
  edgesOf,
  extentOf,
  type Range,
  type RangeQuery,
  rangeOf,
  resolveRange,
  userOf,
} from './selection.ts';

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

/** Rows of both kinds over time. */
export interface ActivityResult {
  /** The range, RFC 3339; null where no row could give it. */
  readonly from: string | null;
  readonly to: string | null;
  readonly tz: string;
  /** When each bucket begins, RFC 3339: all `counts` go by it. */
  readonly starts: readonly string[];
  readonly metrics: Activity & {
    readonly names: readonly ({ readonly name: string } & Activity)[];
    /** All names beside those in `names`, together. */
    readonly other: { readonly names: number } & Activity;
  };
  readonly analytics: Activity & {
    readonly types: readonly ({ readonly type: string } & Activity)[];
    /** All types beside those in `types`, together. */
    readonly other: { readonly types: number } & Activity;
  };
}

/**
 * Engine how many rows of either kind there are, in total and by name. Names come by their count, the most
 * frequent first, and of equally frequent ones in the order of their UTF-16 code units; those without a row
 * in the range are left out.
 */
export function activity(store: ColumnStore, question: ActivityQuery, budget: Budget): ActivityResult {
  const user = userOf(store, question);
  const seriesOf = (kind: Kind) => (user === undefined ? [] : store.seriesOf(kind));
  const range = resolveRange(question, () =>
    extentOfAll(
      [...seriesOf('metric'), ...seriesOf('analytics')].map((series) => {
        budget(0);
        return extentOf(store, series, user ?? -1, budget);
      }),
    ),
  );
  const edges = edgesOf(range, question);
  const ofKind = (kind: Kind) => {
    const ranking = new Ranking(question.top, Math.max(0, edges.length - 1));
    for (const series of seriesOf(kind)) {
      budget(0);
      ranking.add(series.name, countRows(store, series, user ?? -1, range, edges, budget));
    }
    return ranking.result();
  };
  const [metrics, analytics] = [ofKind('metric'), ofKind('analytics')];
  return {
    ...rangeOf(range, question, question.zone),
    starts: startsOf(edges, question.zone),
    metrics: {
      ...metrics.all,
      names: metrics.named.map(({ name, counts }) => ({ name, ...summed(counts) })),
      other: { names: metrics.others, ...metrics.other },
    },
    analytics: {
      ...analytics.all,
      types: analytics.named.map(({ name, counts }) => ({ type: name, ...summed(counts) })),
      other: { types: analytics.others, ...analytics.other },
    },
  };
}

/**
 * Counts the rows of a series by bucket. A chunk that lies in one bucket, and of which every row counts, is
 * not read.
 *
 * @param user whose rows count; -1: all
 */
function countRows(
  store: ColumnStore,
  series: Series,
  user: number,
  { from, to }: Range,
  edges: Float64Array,
  budget: Budget,
): Float64Array {
  const counts = new Float64Array(Math.max(0, edges.length - 1));
  if (to <= from) return counts;
  for (const { rows, minTime, maxTime, read, readTimes } of store.outlines(series, from, to)) {
    let bucket = bucketOf(edges, Math.max(minTime, from), 0);
    if (user < 0 && minTime >= from && maxTime < Math.min(to, edges[bucket + 1] as number)) {
      (counts[bucket] as number) += rows;
      continue;
    }
    budget(rows);
    const { times, users } = user < 0 ? { times: readTimes(), users: undefined } : read();
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      if (time < from || time >= to || (users && users[i] !== user)) continue;
      bucket = bucketOf(edges, time, bucket);
      (counts[bucket] as number)++;
    }
  }
  return counts;
}

interface Ranked {
  readonly name: string;
  readonly count: number;
  readonly counts: Float64Array;
}

/** The most frequent names, and the others together: these are added up as they come, there may be very many. */
class Ranking {
  readonly #top: number;
  readonly #named: Ranked[] = [];
  readonly #other: Float64Array;
  #others = 0;

  constructor(top: number, buckets: number) {
    this.#top = top;
    this.#other = new Float64Array(buckets);
  }

  add(name: string, counts: Float64Array): void {
    const count = total(counts);
    if (count === 0) return;
    this.#named.push({ name, count, counts });
    // not at each name, which would sort as often as there are names
    if (this.#named.length >= 2 * this.#top + 64) this.#cut();
  }

  /** Sorts the names, and adds those behind the top to the others. */
  #cut(): void {
    this.#named.sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1));
    for (const { counts } of this.#named.splice(this.#top)) {
      this.#others++;
      addTo(this.#other, counts);
    }
  }

  result() {
    this.#cut();
    const all = this.#other.slice();
    for (const { counts } of this.#named) addTo(all, counts);
    return { all: summed(all), named: this.#named, others: this.#others, other: summed(this.#other) };
  }
}

function addTo(sum: Float64Array, counts: Float64Array): void {
  for (let i = 0; i < sum.length; i++) (sum[i] as number) += counts[i] as number;
}

function total(counts: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) sum += counts[i] as number;
  return sum;
}

function summed(counts: Float64Array): Activity {
  return { count: total(counts), counts: Array.from(counts) };
}
