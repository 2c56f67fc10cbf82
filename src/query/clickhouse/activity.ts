import type { Kind } from '../../records.ts';
import { type ActivityQuery, activityOf, type CountedNames, reserveActivity } from '../activity.ts';
import type { KindUsers, UserCounts } from '../activity-users.ts';
import { startsOf } from '../calendar.ts';
import { edgesOf, type Range, rangeOf } from '../selection.ts';
import { TopList } from '../top-list.ts';
import { bucketIn } from './buckets.ts';
import type { Connection } from './connection.ts';
import { readRange } from './range.ts';
import { integer, type Sql, sql } from './sql.ts';
import { conditionOf, groupNumber, hashOf, TABLES, uniqueRows } from './tables.ts';

/** A name with the number of its rows in the range, and of their unique users if these are counted. */
interface RankedName {
  readonly name: string;
  readonly hash: string;
  readonly rows: number;
  readonly users: number;
}

/** Counts the rows of each kind, in total and by name, like the embedded engine. */
export async function activity(connection: Connection, query: ActivityQuery) {
  const range = await readRange(connection, ['metric', 'analytics'], undefined, query);
  const edges = edgesOf(range, query);
  const buckets = Math.max(0, edges.length - 1);
  const [metric, analytics] = await Promise.all([
    rank(connection, 'metric', query, range),
    rank(connection, 'analytics', query, range),
  ]);
  reserveActivity(buckets, metric.top.length + analytics.top.length, query, connection.budget);
  const [metrics, events] = await Promise.all([
    countByBucket(connection, 'metric', query, range, edges, metric),
    countByBucket(connection, 'analytics', query, range, edges, analytics),
  ]);
  return {
    ...rangeOf(range, query, query.zone),
    starts: startsOf(edges, query.zone),
    ...activityOf(
      { metrics, analytics: events },
      await countUsers(connection, query, range, edges, { metric, analytics }),
    ),
  };
}

/** The first names, sorted, and the number of all names. */
interface Ranking {
  readonly top: readonly RankedName[];
  readonly names: number;
}

async function rank(
  connection: Connection,
  kind: Kind,
  { user, top, uniqueUsers }: ActivityQuery,
  { from, to }: Range,
): Promise<Ranking> {
  const { rows, budget } = connection;
  const best = new TopList<RankedName>(
    top,
    (a, b) => b.users - a.users || b.rows - a.rows || (a.name < b.name ? -1 : 1),
  );
  if (to <= from) return { top: [], names: 0 };
  const { name } = TABLES[kind];
  let names = 0;
  const users = uniqueUsers ? sql`uniqExact(user_id)` : sql`toUInt64(0)`;
  const blocks = rows(
    sql`SELECT ${name}, ${hashOf(name)}, count(), ${users} FROM ${uniqueRows(kind)} WHERE ${conditionOf(connection, kind, { user, from, to })} GROUP BY ${name}`,
    { name: 'text', hash: 'text', rows: 'integer', users: 'integer' },
  );
  for await (const block of blocks) {
    budget.check();
    for (const entry of block) best.add(entry);
    names += block.length;
  }
  return { top: best.sorted(), names };
}

async function countByBucket(
  connection: Connection,
  kind: Kind,
  { user }: ActivityQuery,
  { from, to }: Range,
  edges: Float64Array,
  { top, names }: Ranking,
): Promise<CountedNames> {
  const newCounts = () => new Uint32Array(Math.max(0, edges.length - 1));
  const named = top.map(({ name }) => ({ name, counts: newCounts() }));
  const other = newCounts();
  if (names > 0) {
    const blocks = connection.rows(
      sql`SELECT ${groupOf(kind, top)} AS name_number, ${bucketIn(edges)} AS bucket, count() FROM ${uniqueRows(kind)}
        WHERE ${conditionOf(connection, kind, { user, from, to })} GROUP BY name_number, bucket`,
      { group: 'count', bucket: 'count', rows: 'integer' },
    );
    for await (const block of blocks) {
      for (const { group: number, bucket, rows: count } of block) (named[number]?.counts ?? other)[bucket] = count;
    }
  }
  return { named, otherNames: names - top.length, other };
}

/** Returns the expression for the place of a row's name in a ranking; the others share the next place. */
function groupOf(kind: Kind, top: readonly RankedName[]): Sql {
  return groupNumber(
    TABLES[kind].name,
    top.map(({ hash }) => hash),
  );
}

/** Counts the unique users of ranked names, of each kind, and of both kinds together; undefined if the query does not ask. */
async function countUsers(
  connection: Connection,
  query: ActivityQuery,
  range: Range,
  edges: Float64Array,
  ranked: Readonly<Record<Kind, Ranking>>,
) {
  if (!query.uniqueUsers) return undefined;
  const [metric, analytics, all] = await Promise.all([
    countUsersOf(connection, 'metric', query, range, edges, ranked.metric),
    countUsersOf(connection, 'analytics', query, range, edges, ranked.analytics),
    countAllUsers(connection, query, range, edges, ranked),
  ]);
  return { metric, analytics, all };
}

/** Unique users that are filled in as the engine returns them. The total is in place of one more bucket. */
function newUsers(buckets: number) {
  const counts = new Uint32Array(buckets + 1);
  return { counts, finished: (): UserCounts => ({ all: counts[buckets] ?? 0, counts: counts.subarray(0, buckets) }) };
}

/** Returns the expression that makes a row count both for its bucket and for the range. */
function bucketAndTotal(edges: Float64Array): Sql {
  return sql`arrayJoin([${bucketIn(edges)}, toUInt32(${integer(edges.length - 1)})])`;
}

async function countUsersOf(
  connection: Connection,
  kind: Kind,
  { user }: ActivityQuery,
  { from, to }: Range,
  edges: Float64Array,
  { top, names }: Ranking,
): Promise<KindUsers> {
  const buckets = Math.max(0, edges.length - 1);
  const named = top.map(() => newUsers(buckets));
  const [other, all] = [newUsers(buckets), newUsers(buckets)];
  if (names > 0) {
    const groups = [...named, other, all];
    const allNames = sql`toUInt32(${integer(groups.length - 1)})`;
    const blocks = connection.rows(
      sql`SELECT arrayJoin([name_number, ${allNames}]) AS name_or_all, bucket, uniqExact(user_id) FROM (
          SELECT user_id, ${groupOf(kind, top)} AS name_number, ${bucketAndTotal(edges)} AS bucket FROM ${uniqueRows(kind)}
          WHERE ${conditionOf(connection, kind, { user, from, to })}
        ) GROUP BY name_or_all, bucket`,
      { group: 'count', bucket: 'count', users: 'integer' },
    );
    for await (const block of blocks) {
      for (const { group, bucket, users } of block) (groups[group] ?? other).counts[bucket] = users;
    }
  }
  return { all: all.finished(), named: named.map(({ finished }) => finished()), other: other.finished() };
}

async function countAllUsers(
  connection: Connection,
  { user }: ActivityQuery,
  { from, to }: Range,
  edges: Float64Array,
  { metric, analytics }: Readonly<Record<Kind, Ranking>>,
): Promise<UserCounts> {
  const all = newUsers(Math.max(0, edges.length - 1));
  if (metric.names + analytics.names > 0) {
    const rowsOf = (kind: Kind) =>
      sql`SELECT user_id, ${bucketAndTotal(edges)} AS bucket FROM ${uniqueRows(kind)}
        WHERE ${conditionOf(connection, kind, { user, from, to })}`;
    const blocks = connection.rows(
      sql`SELECT bucket, uniqExact(user_id) FROM (${rowsOf('metric')} UNION ALL ${rowsOf('analytics')}) GROUP BY bucket`,
      { bucket: 'count', users: 'integer' },
    );
    for await (const block of blocks) for (const { bucket, users } of block) all.counts[bucket] = users;
  }
  return all.finished();
}
