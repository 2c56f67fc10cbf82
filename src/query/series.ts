import type { Series as SeriesResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { exactSum } from './exact-sum.ts';
import { valuesAt } from './percentiles.ts';
import { type Arrangement, arrange, type BucketQuery, rangeOf } from './selection.ts';
import type { Streamed } from './serialize.ts';

/** Statistics of the values of a bucket or of the whole range. All but the first two are null if there are none. */
type Statistics = Omit<SeriesResult['buckets'][number], 'start'>;

/** The shortest that a bucket can be in the result. */
const BUCKET_BYTES = JSON.stringify({
  ...{ start: '2026-01-01T00:00:00Z', count: 1, sum: 1, avg: 1, min: 1, max: 1, p50: 1, p95: 1, p99: 1 },
}).length;

/** Returns a metric over time. */
export function series(store: ColumnStore, query: BucketQuery, budget: Budget): Streamed<SeriesResult> {
  const arrangement = arrange(store, 'metric', query, BUCKET_BYTES, budget);
  const { buckets, groups, lanes } = arrangement;
  const facts = factsOf(arrangement, budget);
  const starts = startsOf(arrangement.edges, query.zone);

  function* bucketsOf(lane: number) {
    for (let bucket = 0; bucket < buckets; bucket++) {
      yield { start: starts[bucket] as string, ...facts.at(lane * (buckets + 1) + bucket) };
    }
  }
  const totalOf = (lane: number) => facts.at(lane * (buckets + 1) + buckets);
  const result = {
    name: query.name,
    ...rangeOf(arrangement, query, query.zone),
    percentiles: { method: 'percentile_cont', error: 0 },
    ...totalOf(facts.all),
    buckets: bucketsOf(facts.all),
  } as const;
  if (query.top === undefined) return result;
  function* groupsOf() {
    for (const [lane, data_string] of groups.texts.entries()) {
      yield { data_string, ...totalOf(lane), buckets: bucketsOf(lane) };
    }
  }
  const other = { labels: groups.others, ...totalOf(lanes - 1), buckets: bucketsOf(lanes - 1) };
  return { ...result, groups: groupsOf(), other };
}

/** Statistics by lane: first those of the groups, then those of all; of each bucket, and behind them of the range. */
interface Facts {
  /** The lane of all values. */
  readonly all: number;
  readonly at: (place: number) => Statistics;
}

function factsOf(arrangement: Arrangement, budget: Budget): Facts {
  const { buckets, lanes } = arrangement;
  const { values, starts } = valuesBySlot(arrangement, budget);
  const all = lanes === 1 ? 0 : lanes;
  const table = new FactTable((all + 1) * (buckets + 1), budget);
  const add = (lane: number, bucket: number, some: Float64Array) =>
    table.set(lane * (buckets + 1) + bucket, some, budget.check);

  // from the smallest parts to the largest: percentiles reorder the values of a part
  for (let slot = 0; slot < lanes * buckets; slot++) {
    add(Math.floor(slot / buckets), slot % buckets, values.subarray(starts[slot], starts[slot + 1]));
  }
  const scratch = new Scratch(budget);
  for (let bucket = 0; bucket < buckets && lanes > 1; bucket++) {
    const parts = Array.from({ length: lanes }, (_, lane) => lane * buckets + bucket);
    add(all, bucket, scratch.joined(parts.map((slot) => values.subarray(starts[slot], starts[slot + 1]))));
  }
  for (let lane = 0; lane < lanes && lanes > 1; lane++) {
    add(lane, buckets, values.subarray(starts[lane * buckets], starts[(lane + 1) * buckets]));
  }
  add(all, buckets, values);
  return { all, at: (place) => table.at(place) };
}

/**
 * Sorts the values of an arrangement by slot: first how many each has, then the values. Reads the chunks
 * twice, so that 12 bytes per row are in memory, and not the chunks.
 *
 * @returns the values, and where those of each slot begin; behind them the end of the last
 */
function valuesBySlot({ chunks, slotsOf, buckets, lanes }: Arrangement, budget: Budget) {
  const slots = lanes * buckets;
  budget.reserve(8 * (slots + 1));
  const starts = new Uint32Array(slots + 1);
  const slotsOfChunks: Int32Array[] = [];
  for (const chunk of chunks()) {
    budget.reserve(4 * chunk.rows);
    const slotsOfRows = slotsOf(chunk);
    for (let i = 0; i < slotsOfRows.length; i++) {
      const slot = slotsOfRows[i] as number;
      if (slot >= 0) (starts[slot + 1] as number)++;
    }
    slotsOfChunks.push(slotsOfRows);
  }
  for (let slot = 0; slot < slots; slot++) (starts[slot + 1] as number) += starts[slot] as number;
  budget.reserve(8 * (starts[slots] as number));
  const values = new Float64Array(starts[slots] as number);
  const next = starts.slice();
  let place = 0;
  for (const chunk of chunks()) {
    const slotsOfRows = slotsOfChunks[place++] as Int32Array;
    for (let i = 0; i < slotsOfRows.length; i++) {
      const slot = slotsOfRows[i] as number;
      if (slot >= 0) values[(next[slot] as number)++] = chunk.values[i] as number;
    }
    budget.reserve(-4 * chunk.rows);
  }
  return { values, starts };
}

/** An array for the values of several slots, used again and again. */
class Scratch {
  readonly #budget: Budget;
  #array = new Float64Array(1024);

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  joined(parts: readonly Float64Array[]): Float64Array {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (length > this.#array.length) {
      this.#budget.reserve(8 * (length - this.#array.length));
      this.#array = new Float64Array(length);
    }
    let at = 0;
    for (const part of parts) {
      this.#array.set(part, at);
      at += part.length;
    }
    return this.#array.subarray(0, length);
  }
}

const NO_VALUES: Statistics = { count: 0, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
const PERCENTILES = [0.5, 0.95, 0.99];
/** Numbers of a row of a table of facts. */
const FACTS = 8;

/** Statistics in 65 bytes each. */
class FactTable {
  readonly #facts: Float64Array;
  readonly #overflows: Uint8Array;

  constructor(length: number, budget: Budget) {
    budget.reserve((8 * FACTS + 1) * length);
    this.#facts = new Float64Array(FACTS * length);
    this.#overflows = new Uint8Array(length);
  }

  /** @param values in any order, which changes */
  set(place: number, values: Float64Array, check: () => void): void {
    const count = values.length;
    if (count === 0) return;
    if (place % 64 === 0 || count > 4096) check();
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const value = values[i] as number;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    const { sum, overflow, mean } = exactSum(values, check);
    const avg = Math.min(Math.max(mean, min), max);
    this.#facts.set([count, sum, avg, min, max, ...percentilesOf(values, min, max, check)], place * FACTS);
    this.#overflows[place] = overflow ? 1 : 0;
  }

  at(place: number): Statistics {
    const [count = 0, sum = 0, avg = 0, min = 0, max = 0, p50 = 0, p95 = 0, p99 = 0] = this.#facts.subarray(
      place * FACTS,
      (place + 1) * FACTS,
    );
    if (count === 0) return NO_VALUES;
    const overflow = this.#overflows[place] === 1 && ({ sum_overflow: true } as const);
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
    const part = rank - Math.floor(rank);
    // the distance of two values can be more than a number can be
    const between = high - low < Number.POSITIVE_INFINITY ? low + (high - low) * part : low * (1 - part) + high * part;
    return Math.min(Math.max(between, low), high);
  });
}
