/** In seconds. */
const DAY = 86_400;

/** The buckets of a result and its range. Times are RFC 3339. */
export interface Buckets {
  /** Starts of the buckets, in ascending order. */
  readonly starts: readonly string[];
  /** The range. The first bucket may begin before it, and the last may end after it. */
  readonly range: { readonly from: string | null; readonly to: string | null };
}

/**
 * Returns the start of each bucket, then the end of the last one. The first and last buckets are clipped to the range,
 * because the result contains no rows outside it.
 *
 * @returns ascending seconds since 1970; one more than there are buckets
 */
export function edgesOf({ starts, range: { from, to } }: Buckets): number[] {
  const edges = starts.map((start) => Date.parse(start) / 1000);
  const [first = Number.NaN, last = Number.NaN] = [edges[0], edges.at(-1)];
  if (edges.length > 0 && from !== null) edges[0] = Math.max(first, Date.parse(from) / 1000);
  // without an end, give the last bucket a length of one second
  edges.push(to === null ? last + 1 : Math.max(last, Date.parse(to) / 1000));
  return edges;
}

/** Returns the middle of each bucket. */
export function middlesOf(edges: readonly number[]): number[] {
  return edges.slice(1).map((edge, i) => (edge + (edges[i] ?? edge)) / 2);
}

/** Returns the index of the bucket that contains a moment, or undefined if none does. */
export function bucketIndexAt(edges: readonly number[], moment: number): number | undefined {
  if (!(moment >= (edges[0] ?? Number.NaN) && moment < (edges.at(-1) ?? Number.NaN))) return undefined;
  let [low, high] = [0, edges.length - 2];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    // safe: `middle` is always within the list
    if ((edges[middle] as number) <= moment) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** A bucketed result of a query route. */
interface Bucketed<Bucket> {
  readonly from: string | null;
  readonly to: string | null;
  readonly buckets: readonly (Bucket & { readonly start: string })[];
}

/**
 * Matches each bucket of a range with a bucket of an earlier range: the one that contains its middle, measured from the
 * start of the range. Indexes are not enough, because ranges of the same length can have different numbers of buckets.
 *
 * Ranges that begin at the same time of day are measured in wall time, so noon is compared with noon even if clocks
 * changed during one of them.
 */
export function alignEarlierBuckets<Bucket>(now: Bucketed<unknown>, earlier: Bucketed<Bucket>): (Bucket | undefined)[] {
  // map preserves the length of two
  const [spans, earlierSpans] = [now, earlier].map((range) => spansOf(range)) as [BucketSpan[], BucketSpan[]];
  const [first, earlierFirst] = [spans[0], earlierSpans[0]];
  if (!first || !earlierFirst) return spans.map(() => undefined);
  const clock: keyof BucketSpan = (first.wall - earlierFirst.wall) % DAY === 0 ? 'wall' : 'start';
  const distance = first[clock] - earlierFirst[clock];
  let lastMatch = 0;
  return spans.map((bucket) => {
    const middle = bucket[clock] + bucket.length / 2 - distance;
    // both lists ascend except in a repeated hour, so the match is never more than one before the last match
    for (let i = Math.max(0, lastMatch - 1); i < earlierSpans.length; i++) {
      const candidate = earlierSpans[i] as BucketSpan; // within the list
      if (candidate[clock] > middle + DAY) break;
      if (middle < candidate[clock] || middle >= candidate[clock] + candidate.length) continue;
      lastMatch = i;
      return earlier.buckets[i];
    }
    return undefined;
  });
}

/** A bucket clipped to the range, in seconds. */
interface BucketSpan {
  /** Seconds since 1970. */
  readonly start: number;
  /** Wall time of the start. */
  readonly wall: number;
  readonly length: number;
}

function spansOf({ from, to, buckets }: Bucketed<unknown>): BucketSpan[] {
  const starts = buckets.map(({ start }) => start);
  const edges = edgesOf({ starts, range: { from, to } });
  return starts.map((text, i) => {
    const [start, end] = edges.slice(i, i + 2) as [number, number]; // one more than there are starts
    // a clipped bucket starts with the range
    const local = i === 0 && from !== null && Date.parse(from) / 1000 === start ? from : text;
    return { start, wall: Date.parse(`${local.replace(/(Z|[+-]\d\d:\d\d)$/, '')}Z`) / 1000, length: end - start };
  });
}
