import { startsOf } from '../calendar.ts';
import { type Cohorts, type RetentionQuery, retentionOf } from '../retention.ts';
import { edgesOf } from '../selection.ts';
import { bucketIn } from './buckets.ts';
import type { Connection } from './connection.ts';
import { readRange } from './range.ts';
import { integer, type Sql, some, sql, text } from './sql.ts';
import { returnTypes, stepCondition } from './steps.ts';
import { conditionOf, TABLES, uniqueRows } from './tables.ts';

/** Computes cohort retention, like the embedded engine: the engine returns the users per cohort and period. */
export async function retention(connection: Connection, query: RetentionQuery) {
  const { step, returnStep, type, zone, period, periods, weekStart, user, labels } = query;
  const types = returnTypes(query);
  const range = await readRange(connection, ['analytics'], types, query);
  const edges = edgesOf(range, { interval: { count: 1, unit: period, weekStart }, zone });
  const starts = startsOf(edges, zone);
  const { budget } = connection;
  budget.reserve(4 * starts.length * (1 + periods));
  const cohorts = { sizes: new Uint32Array(starts.length), returned: new Uint32Array(starts.length * periods) };
  if (starts.length > 0) {
    const { from, to } = range;
    const isFirst = stepCondition(step);
    const isReturn = returnStep ? stepCondition(returnStep) : type === undefined ? sql`1` : ofType(type);
    const condition = conditionOf(connection, 'analytics', { names: types, user, from, to, labels });
    // per user: the time of the first event, and the buckets with a return
    const users = sql`SELECT minIf(happened_at, ${isFirst}) AS first_time,
        groupUniqArrayIf(${bucketIn(edges)}, ${isReturn}) AS return_buckets
      FROM ${uniqueRows('analytics')} WHERE ${condition} AND ${some([isFirst, isReturn])}
      GROUP BY user_id HAVING countIf(${isFirst}) > 0`;
    const cohort = bucketIn(edges, sql`first_time`);
    // 0 periods later: the user itself, once
    const later = sql`arrayFilter(n -> n BETWEEN 0 AND ${integer(periods)}, arrayPushFront(
      arrayFilter(n -> n > 0, arrayMap(b -> toInt64(b) - toInt64(cohort), return_buckets)), toInt64(0)))`;
    const statement = sql`SELECT cohort, toUInt32(arrayJoin(periods_later)) AS later, count() FROM (
        SELECT cohort, ${later} AS periods_later FROM (SELECT ${cohort} AS cohort, return_buckets FROM (${users})))
      GROUP BY cohort, later`;
    await readCohorts(connection, statement, periods, cohorts);
  }
  return retentionOf(query, range, starts, cohorts);
}

function ofType(type: string): Sql {
  return sql`${TABLES.analytics.name} = ${text(type)}`;
}

async function readCohorts({ rows }: Connection, statement: Sql, periods: number, { sizes, returned }: Cohorts) {
  for await (const block of rows(statement, { cohort: 'count', later: 'count', users: 'integer' })) {
    for (const { cohort, later, users } of block) {
      if (later === 0) sizes[cohort] = users;
      else returned[cohort * periods + later - 1] = users;
    }
  }
}
