import type { Counts as CountsResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { createUserCounter, type UniqueUsers, type UserCounter } from './distinct-users.ts';
import { type Arrangement, arrange, type BucketQuery, rangeOf } from './selection.ts';
import type { Streamed } from './serialize.ts';

/** The shortest that a bucket can be in the result. */
const BUCKET_BYTES = JSON.stringify({ start: '2026-01-01T00:00:00Z', count: 1, unique_users: 1 }).length;

/** Returns how often events of a type happened over time, and how many users they have. */
export function counts(store: ColumnStore, query: BucketQuery, budget: Budget): Streamed<CountsResult> {
  const arrangement = arrange(store, 'analytics', query, BUCKET_BYTES, budget);
  const { buckets, groups, lanes } = arrangement;
  const counter = createUserCounter(lanes, buckets, store.userLimit, budget);
  const { rows, unique } = tally(arrangement, counter, budget);

  /** Rows of several slots: so many, from one on, each so far from the one before. */
  const sum = (first: number, step: number, slots: number) => {
    let total = 0;
    for (let i = 0, slot = first; i < slots; i++, slot += step) total += rows[slot] as number;
    return total;
  };
  const starts = startsOf(arrangement.edges, query.zone);
  function* bucketsOf(lane: number) {
    for (let bucket = 0; bucket < buckets; bucket++) {
      const slot = lane * buckets + bucket;
      const unique_users = unique.bySlot[slot] as number;
      yield { start: starts[bucket] as string, count: rows[slot] as number, unique_users };
    }
  }
  function* allBuckets() {
    for (let bucket = 0; bucket < buckets; bucket++) {
      const unique_users = unique.byBucket[bucket] as number;
      yield { start: starts[bucket] as string, count: sum(bucket, buckets, lanes), unique_users };
    }
  }
  const totalOf = (lane: number) => ({
    count: sum(lane * buckets, 1, buckets),
    unique_users: unique.byLane[lane] as number,
  });
  const result = {
    type: query.name,
    ...rangeOf(arrangement, query, query.zone),
    count: sum(0, 1, lanes * buckets),
    unique_users: unique.all,
    buckets: allBuckets(),
  };
  if (query.top === undefined) return result;
  function* groupsOf() {
    for (const [lane, data_index] of groups.texts.entries()) {
      yield { data_index, ...totalOf(lane), buckets: bucketsOf(lane) };
    }
  }
  const other = { labels: groups.others, ...totalOf(lanes - 1), buckets: bucketsOf(lanes - 1) };
  return { ...result, groups: groupsOf(), other };
}

/** The rows of each slot, and the different users. */
interface Tally {
  readonly rows: Float64Array;
  readonly unique: UniqueUsers;
}

/**
 * Counts rows and users of an arrangement. Where the counter has no room for all users, they are counted in two
 * parts, each with a pass over the chunks, then in four, and so on.
 */
export function tally(arrangement: Arrangement, counter: UserCounter, budget: Budget): Tally {
  const slots = arrangement.lanes * arrangement.buckets;
  budget.reserve(8 * slots);
  const rows = new Float64Array(slots);
  for (let parts = 1; ; parts *= 2) {
    let part = 0;
    while (part < parts && addPart(arrangement, part, parts, rows, counter)) part++;
    if (part === parts) return { rows, unique: counter.unique };
    rows.fill(0);
    counter.clear();
  }
}

/** Adds one of several parts of the users, and with the first the rows. Returns whether there was room. */
function addPart(
  { chunks, slotsOf }: Arrangement,
  part: number,
  parts: number,
  rows: Float64Array,
  counter: UserCounter,
): boolean {
  for (const chunk of chunks()) {
    const slots = slotsOf(chunk);
    if (!counter.add(slots, chunk.users, part, parts)) return false;
    for (let i = 0; i < slots.length && part === 0; i++) {
      const slot = slots[i] as number;
      if (slot >= 0) (rows[slot] as number)++;
    }
  }
  counter.endPart();
  return true;
}
