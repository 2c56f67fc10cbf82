/** In seconds. */
const DAY = 86_400;

/** Buckets of a result, with the range that they are of. Times are RFC 3339. */
export interface Buckets {
  /** The starts of the buckets, rising. */
  readonly starts: readonly string[];
  /** The range: its first bucket may begin before it, its last may end after it. */
  readonly range: { readonly from: string | null; readonly to: string | null };
}

/**
 * Returns where each bucket begins within the range and, behind them, where the last one ends: what is outside the
 * range is cut off, as the result has no rows from there.
 *
 * @returns rising numbers, in seconds since 1970; one more than there are buckets
 */
export function edgesOf({ starts, range: { from, to } }: Buckets): number[] {
  const edges = starts.map((start) => Date.parse(start) / 1000);
  const [first = Number.NaN, last = Number.NaN] = [edges[0], edges.at(-1)];
  if (edges.length > 0 && from !== null) edges[0] = Math.max(first, Date.parse(from) / 1000);
  // an end that is not known leaves the last bucket a second
  edges.push(to === null ? last + 1 : Math.max(last, Date.parse(to) / 1000));
  return edges;
}

/** Returns the middle of each bucket. */
export function middlesOf(edges: readonly number[]): number[] {
  return edges.slice(1).map((edge, i) => (edge + (edges[i] ?? edge)) / 2);
}

/** Returns the place of the bucket in which a moment lies; undefined outside of all. */
export function placeOf(edges: readonly number[], moment: number): number | undefined {
  if (!(moment >= (edges[0] ?? Number.NaN) && moment < (edges.at(-1) ?? Number.NaN))) return undefined;
  let [low, high] = [0, edges.length - 2];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((edges[middle] as number) <= moment)
      low = middle; // between the first and the last edge
    else high = middle - 1;
  }
  return low;
}

/** A result by buckets, as the query routes give it. */
interface Bucketed<Bucket> {
  readonly from: string | null;
  readonly to: string | null;
  readonly buckets: readonly (Bucket & { readonly start: string })[];
}

/**
 * Returns for each bucket of a range the one beside it in an earlier range: that in which its middle lies, counted
 * from the start of the range. Ranges of the same length can be cut into different numbers of buckets, so that the
 * places of buckets alone do not match.
 *
 * Ranges that begin at the same time of day are counted by the clock on the wall, so that noon stands beside noon
 * after clocks have changed in one of them.
 */
export function beside<Bucket>(now: Bucketed<unknown>, earlier: Bucketed<Bucket>): (Bucket | undefined)[] {
  const [spans, earlierSpans] = [now, earlier].map((range) => spansOf(range)) as [BucketSpan[], BucketSpan[]]; // of two
  const [first, earlierFirst] = [spans[0], earlierSpans[0]];
  if (!first || !earlierFirst) return spans.map(() => undefined);
  const clock: keyof BucketSpan = (first.wall - earlierFirst.wall) % DAY === 0 ? 'wall' : 'start';
  const distance = first[clock] - earlierFirst[clock];
  let place = 0;
  return spans.map((bucket) => {
    const middle = bucket[clock] + bucket.length / 2 - distance;
    // both lists rise, but for an hour that clocks show twice: the bucket is near the last one
    for (let i = Math.max(0, place - 1); i < earlierSpans.length; i++) {
      const one = earlierSpans[i] as BucketSpan; // within the list
      if (one[clock] > middle + DAY) break;
      if (middle < one[clock] || middle >= one[clock] + one.length) continue;
      place = i;
      return earlier.buckets[i];
    }
    return undefined;
  });
}

/** A bucket, cut where the range begins and ends; in seconds. */
interface BucketSpan {
  /** Since 1970. */
  readonly start: number;
  /** The wall time of its start, as if the clock showed UTC. */
  readonly wall: number;
  readonly length: number;
}

function spansOf({ from, to, buckets }: Bucketed<unknown>): BucketSpan[] {
  const starts = buckets.map(({ start }) => start);
  const edges = edgesOf({ starts, range: { from, to } });
  return starts.map((text, i) => {
    const [start, end] = edges.slice(i, i + 2) as [number, number]; // one more than there are starts
    // the text of the start of the range where the bucket begins before it
    const local = i === 0 && from !== null && Date.parse(from) / 1000 === start ? from : text;
    return { start, wall: Date.parse(`${local.replace(/(Z|[+-]\d\d:\d\d)$/, '')}Z`) / 1000, length: end - start };
  });
}
