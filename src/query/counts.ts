import type { Counts as CountsResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { createUserCounter, type UniqueUsers, type UserCounter } from './distinct-users.ts';
import { type BucketQuery, type GroupedSelection, groupSelection, rangeOf } from './selection.ts';
import type { Streamed } from './serialize.ts';

/** Minimum length of a bucket in the result. */
const BUCKET_BYTES = JSON.stringify({ start: '2026-01-01T00:00:00Z', count: 1, unique_users: 1 }).length;

/** Counts the events of a type and their unique users over time. */
export function counts(store: ColumnStore, query: BucketQuery, budget: Budget): Streamed<CountsResult> {
  const grouped = groupSelection(store, 'analytics', query, BUCKET_BYTES, budget);
  const { buckets, groups, groupCount } = grouped;
  const counter = createUserCounter(groupCount, buckets, store.userLimit, budget);
  const { rows, unique } = countRows(grouped, counter, budget);

  /** Sums the rows of `slots` slots, starting at `first`, `step` apart. */
  const sum = (first: number, step: number, slots: number) => {
    let total = 0;
    for (let i = 0, slot = first; i < slots; i++, slot += step) total += rows[slot] as number;
    return total;
  };
  const starts = startsOf(grouped.edges, query.zone);
  function* bucketsOf(group: number) {
    for (let bucket = 0; bucket < buckets; bucket++) {
      const slot = group * buckets + bucket;
      const unique_users = unique.bySlot[slot] as number;
      yield { start: starts[bucket] as string, count: rows[slot] as number, unique_users };
    }
  }
  function* allBuckets() {
    for (let bucket = 0; bucket < buckets; bucket++) {
      const unique_users = unique.byBucket[bucket] as number;
      yield { start: starts[bucket] as string, count: sum(bucket, buckets, groupCount), unique_users };
    }
  }
  const totalOf = (group: number) => ({
    count: sum(group * buckets, 1, buckets),
    unique_users: unique.byGroup[group] as number,
  });
  const result = {
    type: query.name,
    ...rangeOf(grouped, query, query.zone),
    count: sum(0, 1, groupCount * buckets),
    unique_users: unique.all,
    buckets: allBuckets(),
  };
  if (query.top === undefined) return result;
  function* groupsOf() {
    for (const [group, data_index] of groups.texts.entries()) {
      yield { data_index, ...totalOf(group), buckets: bucketsOf(group) };
    }
  }
  const other = { labels: groups.others, ...totalOf(groupCount - 1), buckets: bucketsOf(groupCount - 1) };
  return { ...result, groups: groupsOf(), other };
}

/** The number of rows per slot, and the unique users. */
interface RowCounts {
  readonly rows: Float64Array;
  readonly unique: UniqueUsers;
}

/**
 * Counts the rows and unique users of a selection. If the counter has no room for all users, they are counted in two
 * parts, with one scan of the chunks per part, then in four, and so on.
 */
export function countRows(grouped: GroupedSelection, counter: UserCounter, budget: Budget): RowCounts {
  const slots = grouped.groupCount * grouped.buckets;
  budget.reserve(8 * slots);
  const rows = new Float64Array(slots);
  for (let parts = 1; ; parts *= 2) {
    let part = 0;
    while (part < parts && addPart(grouped, part, parts, rows, counter)) part++;
    if (part === parts) return { rows, unique: counter.unique };
    rows.fill(0);
    counter.clear();
  }
}

/** Counts one part of the users, and the rows along with the first part. Returns whether the counter had room. */
function addPart(
  { chunks, slotsOf }: GroupedSelection,
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
