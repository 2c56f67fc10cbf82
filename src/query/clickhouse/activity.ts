import type { Kind } from '../../records.ts';
import { type ActivityQuery, activityOf, type CountedNames, reserveActivity } from '../activity.ts';
import { startsOf } from '../calendar.ts';
import { edgesOf, type Range, rangeOf } from '../selection.ts';
import { TopList } from '../top-list.ts';
import { bucketIn } from './buckets.ts';
import type { Connection } from './connection.ts';
import { readRange } from './range.ts';
import { sql } from './sql.ts';
import { conditionOf, groupNumber, hashOf, TABLES, uniqueRows } from './tables.ts';

/** A name with the number of its rows in the range. */
interface RankedName {
  readonly name: string;
  readonly hash: string;
  readonly rows: number;
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
  reserveActivity(buckets, metric.top.length + analytics.top.length, connection.budget);
  const [metrics, events] = await Promise.all([
    countByBucket(connection, 'metric', query, range, edges, metric),
    countByBucket(connection, 'analytics', query, range, edges, analytics),
  ]);
  return {
    ...rangeOf(range, query, query.zone),
    starts: startsOf(edges, query.zone),
    ...activityOf({ metrics, analytics: events }),
  };
}

/** The most frequent names, sorted, and the number of all names. */
interface Ranking {
  readonly top: readonly RankedName[];
  readonly names: number;
}

async function rank(
  connection: Connection,
  kind: Kind,
  { user, top }: ActivityQuery,
  { from, to }: Range,
): Promise<Ranking> {
  const { rows, budget } = connection;
  const best = new TopList<RankedName>(top, (a, b) => b.rows - a.rows || (a.name < b.name ? -1 : 1));
  if (to <= from) return { top: [], names: 0 };
  const { name } = TABLES[kind];
  let names = 0;
  const blocks = rows(
    sql`SELECT ${name}, ${hashOf(name)}, count() FROM ${uniqueRows(kind)} WHERE ${conditionOf(connection, kind, { user, from, to })} GROUP BY ${name}`,
    { name: 'text', hash: 'text', rows: 'integer' },
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
    const group = groupNumber(
      TABLES[kind].name,
      top.map(({ hash }) => hash),
    );
    const blocks = connection.rows(
      sql`SELECT ${group} AS name_number, ${bucketIn(edges)} AS bucket, count() FROM ${uniqueRows(kind)}
        WHERE ${conditionOf(connection, kind, { user, from, to })} GROUP BY name_number, bucket`,
      { group: 'count', bucket: 'count', rows: 'integer' },
    );
    for await (const block of blocks) {
      for (const { group: number, bucket, rows: count } of block) (named[number]?.counts ?? other)[bucket] = count;
    }
  }
  return { named, otherNames: names - top.length, other };
}
