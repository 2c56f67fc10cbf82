import type { Counts as CountsResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { DistinctUsers, type UniqueUsers } from './distinct-users.ts';
import { type Arrangement, arrange, type BucketQuery, rangeOf } from './selection.ts';
import type { Streamed } from './serialize.ts';

/** The shortest that a bucket can be in the result. */
const BUCKET_BYTES = JSON.stringify({ start: '2026-01-01T00:00:00Z', count: 1, unique_users: 1 }).length;

/** Returns how often events of a type happened over time, and how many users they have. */
export function counts(store: ColumnStore, question: BucketQuery, budget: Budget): Streamed<CountsResult> {
  const arrangement = arrange(store, 'analytics', question, BUCKET_BYTES, budget);
  const { buckets, groups, lanes } = arrangement;
  const { rows, unique } = tally(arrangement, budget);

  /** Rows of several slots: so many, from one on, each so far from the one before. */
  const sum = (first: number, step: number, slots: number) => {
    let total = 0;
    for (let i = 0, slot = first; i < slots; i++, slot += step) total += rows[slot] as number;
    return total;
  };
  const starts = startsOf(arrangement.edges, question.zone);
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
    type: question.name,
    ...rangeOf(arrangement, question, question.zone),
    count: sum(0, 1, lanes * buckets),
    unique_users: unique.all,
    buckets: allBuckets(),
  };
  if (question.top === undefined) return result;
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
 * Counts rows and users of an arrangement.
 *
 * @param capacity how many pairs of slot and user may be in memory. Where there are more, the users are
 *   counted in two parts, each with a pass over the chunks, then in four, and so on
 */
export function tally(arrangement: Arrangement, budget: Budget, capacity?: number): Tally {
  const { lanes, buckets } = arrangement;
  budget.reserve(8 * lanes * buckets);
  const rows = new Float64Array(lanes * buckets);
  const distinct = new DistinctUsers(lanes, buckets, budget, capacity);
  for (let parts = 1; ; parts *= 2) {
    let part = 0;
    while (part < parts && addPart(arrangement, part, parts, rows, distinct)) part++;
    if (part === parts) return { rows, unique: distinct.unique };
    rows.fill(0);
    distinct.clear();
  }
}

/** Adds the rows of one of several parts of the users. Returns whether there was room for all. */
function addPart(
  { chunks, slotsOf }: Arrangement,
  part: number,
  parts: number,
  rows: Float64Array,
  distinct: DistinctUsers,
): boolean {
  for (const chunk of chunks()) {
    const { users } = chunk;
    const slots = slotsOf(chunk);
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i] as number;
      const user = users[i] as number;
      if (slot < 0 || user % parts !== part) continue;
      if (!distinct.add(slot, user)) return false;
      (rows[slot] as number)++;
    }
  }
  distinct.endPart();
  return true;
}
