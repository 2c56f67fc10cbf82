import type { FunnelQuery } from '../funnel.ts';
import { Events, FunnelTally } from '../funnel-attempts.ts';
import { rangeOf } from '../selection.ts';
import type { Connection } from './connection.ts';
import { readRange } from './range.ts';
import { integer, join, some, sql } from './sql.ts';
import { stepCondition, typesOf } from './steps.ts';
import { conditionOf, uniqueRows } from './tables.ts';

/**
 * Counts the users who reach each step of a funnel, like the embedded engine. The engine returns the events of each user who
 * has the first two steps, and only counts the others. Its own `windowFunnel` counts whole seconds, and no times between
 * steps.
 */
export async function funnel(connection: Connection, query: FunnelQuery) {
  const { type, steps, within, user, labels } = query;
  const { budget } = connection;
  const types = typesOf(steps);
  const range = await readRange(connection, ['analytics'], types, query);
  const tally = new FunnelTally(steps.length, within * 1e6, budget);
  if (range.to > range.from) {
    const conditions = steps.map(stepCondition);
    const matched = join(
      conditions.map((condition, step) => sql`toUInt32(${condition}) * ${integer(2 ** step)}`),
      sql` + `,
    );
    const { from, to } = range;
    const blocks = connection.rows(
      sql`SELECT toUInt32(has_second), if(has_second, times, emptyArrayInt64()), if(has_second, seqs, emptyArrayUInt64()),
          if(has_second, steps, emptyArrayUInt32())
        FROM (
          SELECT max(${conditions[1] ?? sql`0`}) AS has_second, groupArray(happened_at) AS times, groupArray(seq) AS seqs,
            groupArray(toUInt32(${matched})) AS steps
          FROM ${uniqueRows('analytics')}
          WHERE ${conditionOf(connection, 'analytics', { names: types, user, from, to, labels })} AND ${some(conditions)}
          GROUP BY user_id HAVING max(${conditions[0] ?? sql`0`}) > 0)`,
      { hasSecond: 'count', times: 'integers', seqs: 'integers', steps: 'counts' },
    );
    let room = 0;
    let events: Events | undefined;
    for await (const block of blocks) {
      budget.check();
      for (const user of block) {
        const { length } = user.times;
        if (length === 0) {
          tally.addUsersOfFirstStep(1);
          continue;
        }
        if (!events || length > room) {
          room = Math.max(2 * length, 1024);
          events = new Events(room, room, steps.length, true, budget);
        }
        const order = events.order.subarray(0, length);
        for (let i = 0; i < length; i++) {
          order[i] = i;
          events.add(i, user.times[i] as number, user.steps[i] as number, user.seqs[i] as number);
        }
        tally.addUser(order, events);
      }
    }
  }
  return { type: type ?? null, ...rangeOf(range, query, 'UTC'), within_seconds: within, steps: tally.result(steps) };
}
