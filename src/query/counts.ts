import type { Counts as CountsResult } from '../responses.ts';
import { exactSum } from '../storage/columns/exact-sum.ts';
import type { PropertyColumn } from '../storage/columns/property-column.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { createUserCounter, type UniqueUsers, type UserCounter } from './distinct-users.ts';
import { type GroupedSelection, type GroupNames, groupSelection } from './groups.ts';
import { perColumn } from './per-column.ts';
import type { RowStore } from './row-store.ts';
import { type BucketQuery, type Range, rangeOf, type SelectedChunk } from './selection.ts';
import type { Streamed } from './serialize.ts';
import { Scratch, valuesBySlot } from './values-by-slot.ts';

/** Minimum length of a bucket in the result. */
export const COUNTS_BUCKET_BYTES = JSON.stringify({ start: '2026-01-01T00:00:00Z', count: 1, unique_users: 1 }).length;

/** Counts the events of a type and their unique users over time, and optionally sums a property of their data. */
export function counts(store: RowStore, query: BucketQuery, budget: Budget): Streamed<CountsResult> {
  const grouped = groupSelection(store, 'analytics', query, COUNTS_BUCKET_BYTES, budget);
  const { buckets, groupCount } = grouped;
  const counter = createUserCounter(groupCount, buckets, store.userLimit, budget);
  const rowCounts = countRows(grouped, counter, budget);
  return countsOf(query, grouped, rowCounts, query.sum && computeSums(grouped, query.groupBy ? 1 : 0, budget));
}

/** Returns counts as they stand in the result. */
export function countsOf(
  query: BucketQuery,
  grouped: Range & Pick<GroupedSelection, 'edges' | 'buckets' | 'groupCount'> & { readonly groups: GroupNames },
  { rows, unique }: RowCounts,
  sums: Sums | undefined,
): Streamed<CountsResult> {
  const { buckets, groups, groupCount } = grouped;

  /** Adds up the rows of `slots` slots, starting at `first`, `step` apart. */
  const rowsOf = (first: number, step: number, slots: number) => {
    let total = 0;
    for (let i = 0, slot = first; i < slots; i++, slot += step) total += rows[slot] as number;
    return total;
  };
  const starts = startsOf(grouped.edges, query.zone);
  function* bucketsOf(group: number) {
    for (let bucket = 0; bucket < buckets; bucket++) {
      const slot = group * buckets + bucket;
      const unique_users = unique.bySlot[slot] as number;
      yield { start: starts[bucket] as string, count: rows[slot] as number, ...sums?.bySlot(slot), unique_users };
    }
  }
  function* allBuckets() {
    for (let bucket = 0; bucket < buckets; bucket++) {
      const unique_users = unique.byBucket[bucket] as number;
      const count = rowsOf(bucket, buckets, groupCount);
      yield { start: starts[bucket] as string, count, ...sums?.byBucket(bucket), unique_users };
    }
  }
  const totalOf = (group: number) => ({
    count: rowsOf(group * buckets, 1, buckets),
    ...sums?.byGroup(group),
    unique_users: unique.byGroup[group] as number,
  });
  const result = {
    type: query.name,
    ...rangeOf(grouped, query, query.zone),
    count: rowsOf(0, 1, groupCount * buckets),
    ...sums?.all(),
    unique_users: unique.all,
    buckets: allBuckets(),
  };
  if (query.top === undefined) return result;
  const name = query.groupBy?.name ?? 'data_index';
  function* groupsOf() {
    for (const [group, value] of groups.values.entries()) {
      yield { [name]: value, ...totalOf(group), buckets: bucketsOf(group) };
    }
  }
  const other = { labels: groups.others, ...totalOf(groupCount - 1), buckets: bucketsOf(groupCount - 1) };
  return { ...result, groups: groupsOf(), other };
}

/** An exact sum, as it stands in a result. */
type Sum = Pick<CountsResult, 'sum' | 'sum_overflow'>;

/** Exact sums of a property. */
export interface Sums {
  readonly bySlot: (slot: number) => Sum;
  readonly byBucket: (bucket: number) => Sum;
  readonly byGroup: (group: number) => Sum;
  readonly all: () => Sum;
}

/**
 * Sums the numbers of a property.
 *
 * @param columnIndex which of the requested columns contains the property
 */
function computeSums(grouped: GroupedSelection, columnIndex: number, budget: Budget): Sums {
  const { buckets, groupCount } = grouped;
  const numbers = perColumn(
    (size) => new Float64Array(size),
    (value) => (typeof value === 'number' ? value : Number.NaN),
    budget,
  );
  /** Returns the number of each row of a chunk; NaN for other values. */
  const numbersOf = ({ columns }: SelectedChunk) => {
    const column = columns[columnIndex] as PropertyColumn; // requested by groupSelection
    const byCode = numbers(column);
    const { codes } = column;
    const numbersOfRows = new Float64Array(codes.length);
    for (let row = 0; row < codes.length; row++) numbersOfRows[row] = byCode[codes[row] as number] as number;
    return numbersOfRows;
  };
  /** Returns the slots of the rows that have a number. */
  const slotsOf = (chunk: SelectedChunk) => {
    const slots = grouped.slotsOf(chunk);
    const numbersOfRows = numbersOf(chunk);
    for (let row = 0; row < slots.length; row++) if (Number.isNaN(numbersOfRows[row])) slots[row] = -1;
    return slots;
  };
  const { values, starts } = valuesBySlot({ ...grouped, slotsOf }, numbersOf, budget);
  const scratch = new Scratch(budget);
  const slot = (index: number) => values.subarray(starts[index], starts[index + 1]);
  const sumOf = (numbers: Float64Array): Sum => {
    budget.check();
    if (numbers.length === 0) return { sum: 0 };
    const { sum, overflow } = exactSum(numbers, budget.check);
    return { sum, ...(overflow && { sum_overflow: true }) };
  };
  return {
    bySlot: (index) => sumOf(slot(index)),
    byBucket(bucket) {
      const slots = Array.from({ length: groupCount }, (_, group) => slot(group * buckets + bucket));
      return sumOf(scratch.concat(slots));
    },
    byGroup: (group) => sumOf(values.subarray(starts[group * buckets], starts[(group + 1) * buckets])),
    all: () => sumOf(values),
  };
}

/** The number of rows per slot, and the unique users. */
export interface RowCounts {
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
    if (part === 0) countSlots(slots, rows);
  }
  counter.endPart();
  return true;
}

/** Adds the rows of each slot. A function, because loops in functions that run once per query are compiled late. */
function countSlots(slots: Int32Array, rows: Float64Array): void {
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as number;
    if (slot >= 0) (rows[slot] as number)++;
  }
}
