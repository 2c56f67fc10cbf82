import { COUNTS_BUCKET_BYTES, countsOf } from '../counts.ts';
import { type BucketQuery, edgesOf } from '../selection.ts';
import type { Connection } from './connection.ts';
import { readRange } from './range.ts';
import { sql } from './sql.ts';
import { readTargets, type Targets } from './targets.ts';

/** The groups of an empty range. */
const NO_TARGETS = { edges: new Float64Array(0), buckets: 0, groups: { values: [], others: 0 }, groupCount: 1 };

/** Counts the events of a type and their unique users over time, like the embedded engine. */
export async function counts(connection: Connection, query: BucketQuery) {
  const range = await readRange(connection, ['analytics'], [query.name], query);
  const edges = edgesOf(range, query);
  if (edges.length === 0) {
    const unique = { bySlot: new Uint32Array(0), byGroup: new Uint32Array(1), byBucket: new Uint32Array(0), all: 0 };
    return countsOf(query, { ...range, ...NO_TARGETS }, { rows: new Float64Array(0), unique }, undefined);
  }
  const targets = await readTargets(connection, 'analytics', query, range, edges, COUNTS_BUCKET_BYTES);
  return countsOf(query, { ...range, ...targets }, await countTargets(connection, targets), undefined);
}

/** Counts rows and unique users. */
async function countTargets({ rows: read, budget }: Connection, targets: Targets) {
  const { buckets, groupCount, all, size, ofRow, source } = targets;
  budget.reserve(12 * size + 12 * groupCount * buckets);
  const rowsOf = new Float64Array(size);
  const usersOf = new Uint32Array(size);
  const blocks = read(
    sql`SELECT arrayJoin(${ofRow}) AS target, count(), uniqExact(user_id) FROM ${source} GROUP BY target`,
    { target: 'count', rows: 'integer', users: 'integer' },
  );
  for await (const block of blocks) {
    for (const { target, rows, users } of block) {
      rowsOf[target] = rows;
      usersOf[target] = users;
    }
  }
  const rows = new Float64Array(groupCount * buckets);
  const bySlot = new Uint32Array(groupCount * buckets);
  const byGroup = new Uint32Array(groupCount);
  const byBucket = new Uint32Array(buckets);
  /** Without a total of its own, a range of one bucket has that of the bucket. */
  const targetOf = (group: number, bucket: number) => group * (buckets + 1) + (buckets === 1 ? 1 : bucket);
  for (let group = 0; group < groupCount; group++) {
    byGroup[group] = usersOf[targetOf(group, buckets)] as number;
    for (let bucket = 0; bucket < buckets; bucket++) {
      rows[group * buckets + bucket] = rowsOf[targetOf(group, bucket)] as number;
      bySlot[group * buckets + bucket] = usersOf[targetOf(group, bucket)] as number;
    }
  }
  for (let bucket = 0; bucket < buckets; bucket++) byBucket[bucket] = usersOf[targetOf(all, bucket)] as number;
  return { rows, unique: { bySlot, byGroup, byBucket, all: usersOf[targetOf(all, buckets)] as number } };
}
