import type { Kind } from '../../records.ts';
import type { GroupNames } from '../groups.ts';
import type { BucketQuery, Range } from '../selection.ts';
import { bucketIn } from './buckets.ts';
import type { Connection } from './connection.ts';
import { integer, list, type Sql, sql } from './sql.ts';
import { conditionOf, groupNumber, hashOf, TABLES, uniqueRows } from './tables.ts';

/*
 * What a row counts for: its bucket of its group, the total of its group, its bucket of all groups, and the total. All are
 * computed in one scan. The target of a bucket is `group × (buckets + 1) + bucket`; the total of a group is in place of
 * one more bucket, and all groups are in place of one more group.
 */

/** The most frequent labels of a selection, and how its rows are assigned to targets. */
export interface Targets {
  readonly edges: Float64Array;
  readonly buckets: number;
  readonly groups: GroupNames;
  /** The number of groups, including the group of other values. */
  readonly groupCount: number;
  /** The group of all rows. */
  readonly all: number;
  readonly size: number;
  /** The targets of a row as an array. */
  readonly ofRow: Sql;
  readonly condition: Sql;
  /** The table and the condition. */
  readonly source: Sql;
}

/**
 * Finds the groups of a query, and the targets of its rows.
 *
 * @param range must not be empty
 * @param bucketBytes minimum length of a bucket in the result
 * @throws {QueryTooLargeError} if the buckets and groups alone exceed the result limit
 */
export async function readTargets(
  connection: Connection,
  kind: Kind,
  query: BucketQuery,
  { from, to }: Range,
  edges: Float64Array,
  bucketBytes: number,
): Promise<Targets> {
  const { budget } = connection;
  const { user, labels, top } = query;
  const buckets = edges.length - 1;
  budget.checkResult(buckets * bucketBytes);
  const condition = conditionOf(connection, kind, { names: [query.name], user, from, to, labels });
  const source = sql`${uniqueRows(kind)} WHERE ${condition}`;
  const groups =
    top === undefined ? { values: [], hashes: [], others: 0 } : await topLabels(connection, kind, source, top);
  const groupCount = groups.values.length + 1;
  const textBytes = groups.values.reduce<number>((bytes, value) => bytes + String(value).length, 0);
  budget.checkResult((top === undefined ? 1 : groupCount + 1) * buckets * bucketBytes + textBytes);
  const bucket = bucketIn(edges);
  const all = groupCount === 1 ? 0 : groupCount;
  const row = integer(buckets + 1);
  const allStart = integer(all * (buckets + 1));
  const total = integer(buckets);
  const ofAll = [...(buckets > 1 ? [sql`${allStart} + ${bucket}`] : []), sql`${allStart} + ${total}`];
  const group = groupNumber(TABLES[kind].label, groups.hashes);
  const start = sql`${group} * ${row}`;
  const ofGroup = all === 0 ? [] : [...(buckets > 1 ? [sql`${start} + ${bucket}`] : []), sql`${start} + ${total}`];
  return {
    ...{ edges, buckets, groups, groupCount, all, condition, source },
    size: (all + 1) * (buckets + 1),
    ofRow: sql`[${list([...ofAll, ...ofGroup].map((target) => sql`toUInt32(${target})`))}]`,
  };
}

/**
 * Returns the most frequent labels. Equally frequent ones are sorted by their first row in commit order.
 *
 * @param source the table and the condition
 */
async function topLabels(
  { all, rows, budget }: Connection,
  kind: Kind,
  source: Sql,
  top: number,
): Promise<GroupNames & { readonly hashes: readonly string[] }> {
  const { label } = TABLES[kind];
  const values: string[] = [];
  const hashes: string[] = [];
  const blocks = rows(
    sql`SELECT ${label} AS text, ${hashOf(label)}, count() AS rows, min(seq) AS first FROM ${source}
      GROUP BY text ORDER BY rows DESC, first ASC, text ASC LIMIT ${integer(top)}`,
    { text: 'text', hash: 'text', rows: 'integer', first: 'integer' },
  );
  for await (const block of blocks) {
    for (const { text, hash } of block) {
      budget.reserve(2 * text.length);
      values.push(text);
      hashes.push(hash);
    }
  }
  const [distinct] = await all(sql`SELECT uniqExact(${label}) FROM ${source}`, { labels: 'integer' });
  return { values, hashes, others: (distinct?.labels ?? 0) - values.length };
}
