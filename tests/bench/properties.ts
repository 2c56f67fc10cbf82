import { Database } from 'bun:sqlite';
import { parseArgs } from 'node:util';
import { createIdSource } from '../../src/ingest/ids.ts';
import { openStorage } from '../../src/storage/database.ts';
import { formOf } from '../../src/storage/row-form.ts';
import { SECRET, startTarget, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { residentMegabytes } from './machine.ts';
import { printHeader } from './report.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:properties -- [--rows 10000000] [--rounds 5]
 *
 * Measures queries about properties, funnels and retention across event types, and a deletion, over HTTP. The data set
 * has 20 event types over 30 days and 50,000 users; six of ten events are page views. Properties are read from the rows
 * when a query first asks for them, and from columns after that; an ordinary user's are always read from the rows.
 */
const { values } = parseArgs({
  options: { rows: { type: 'string', default: '10000000' }, rounds: { type: 'string', default: '5' } },
});
const rows = Number(values.rows);
const rounds = Number(values.rounds);

const START = Date.UTC(2026, 0, 1);
const END = START + 30 * 86_400_000;
const FILL_ROWS = 20_000;

printHeader('Queries about properties, over HTTP', 'none');
using folder = temporaryFolder();
const path = `${folder.path}/rawlog.db`;
fill();
const began = performance.now();
const target = await startTarget(
  { JWT_SECRET: SECRET, DATABASE_URL: `file:${path}`, QUERY_TIMEOUT: '60s' },
  { dataDir: folder.path },
);
const exp = Math.floor(Date.now() / 1000) + 86_400;
const admin = `Bearer ${await token({ role: 'admin', exp })}`;
const user = `Bearer ${await token({ sub: 'user-7', exp })}`;
while (!(await isComplete())) await Bun.sleep(200);
console.log(`${rows} events; column store built in ${((performance.now() - began) / 1000).toFixed(0)} s`);

const range = `from=${iso(START)}&to=${iso(END)}`;
const counts = `/api/analytics/counts?type=page_view&${range}`;
const QUERIES: [label: string, path: string, authorization?: string][] = [
  ['counts, no property', counts],
  ['group by 3 values', `${counts}&group_by=data.plan`],
  ['the same by day', `${counts}&group_by=data.plan&interval=day`],
  ['group by 1,000 values', `${counts}&group_by=data.page&top=100`],
  ['group by a million values', `${counts}&group_by=data.order&top=10`],
  ['filter by a property', `${counts}&data.plan=pro&data.device.os~=o`],
  ['sum by day', `${counts}&sum=data.price&interval=day`],
  ['sum by 3 values', `${counts}&sum=data.price&group_by=data.plan`],
  ["one user's page views by 3 values", `${counts}&group_by=data.plan`, user],
  ['page of 100 records with a filter', '/api/records/analytics?type=page_view&data.page=/page/7'],
  ['funnel of 3 types', `/api/analytics/funnel?step=signup&step=checkout&step=purchase&${range}`],
  ['funnel of 2 types, one with most rows', `/api/analytics/funnel?step=page_view&step=purchase&${range}`],
  ['the same with a property filter', `/api/analytics/funnel?step=page_view&step=purchase&data.plan=pro&${range}`],
  ['retention by week, any event returns', `/api/analytics/retention?step=signup&period=week&${range}`],
  [
    'retention by month of purchases',
    `/api/analytics/retention?step=signup&return_step=purchase&period=month&${range}`,
  ],
];
printRow('query', 'first, ms', 'after that, ms', 'resident memory, MB');
for (const [label, query, authorization = admin] of QUERIES) {
  const first = await measure(query, authorization);
  const later: number[] = [];
  for (let round = 0; round < rounds; round++) later.push(await measure(query, authorization));
  printRow(label, first.toFixed(0), spread(later, 0), residentMegabytes(target.process.pid).toFixed(0));
}
printColumnSizes();
for (const [label, query] of [
  ['dry run of a deletion', 'dry_run=true&'],
  ['deletion', ''],
] as const) {
  const ms = await measure(`/api/records/analytics?${query}type=purchase&data.plan=pro`, admin, 'DELETE');
  console.log(`${label} (a third of the purchases): ${ms.toFixed(0)} ms`);
}
console.log(`resident memory at the end: ${residentMegabytes(target.process.pid).toFixed(0)} MB`);
await target.stop();

/** Prints a row as soon as it is measured, in columns of fixed width. */
function printRow(label: string, first: string, later: string, memory: string): void {
  console.log(`  ${label.padEnd(40)} ${first.padEnd(12)} ${later.padEnd(26)} ${memory}`);
}

/** Prints how many bytes per row each stored column takes. */
function printColumnSizes(): void {
  const client = new Database(path, { readonly: true });
  const sizes = client
    .query<{ path: string; rows: number; bytes: number }, []>(
      `SELECT path, sum(chunks.rows) AS rows, sum(length(codes) + length(property_columns."values")) AS bytes
       FROM property_columns JOIN properties ON properties.id = property_id JOIN chunks ON chunks.id = chunk_id
       WHERE path IS NOT NULL GROUP BY path`,
    )
    .all();
  client.close();
  for (const size of sizes) {
    console.log(`column ${size.path}: ${(size.bytes / size.rows).toFixed(2)} bytes per row, ${size.rows} rows`);
  }
}

async function measure(query: string, authorization: string, method = 'GET'): Promise<number> {
  const from = performance.now();
  const response = await fetch(target.url + query, { method, headers: { authorization } });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${query}: ${text}`);
  return performance.now() - from;
}

/** Returns whether the column store has caught up with all rows. */
async function isComplete(): Promise<boolean> {
  const response = await fetch(`${target.url}/api/analytics`, { headers: { authorization: admin } });
  const { types = [] } = (await response.json()) as { types?: { count: number }[] };
  return types.reduce((sum, { count }) => sum + count, 0) === rows;
}

/** Creates the database. */
function fill(): void {
  const { client, close } = openStorage(path);
  client.run('PRAGMA synchronous = OFF');
  const insert = client.prepare('INSERT INTO analytics VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
  const types = ['page_view', 'checkout', 'purchase', 'signup', ...Array.from({ length: 16 }, (_, i) => `type ${i}`)];
  /** Of 100 events, 60 are page views, 12 checkouts, 8 purchases, 4 signups, and one is of each other type. */
  const pick = [60, 72, 80, 84, ...Array.from({ length: 16 }, (_, i) => 85 + i)];
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let clock = START;
  const nextId = createIdSource(() => clock, 0);
  for (let start = 0; start < rows; start += FILL_ROWS) {
    client.run('BEGIN');
    for (let i = start; i < Math.min(start + FILL_ROWS, rows); i++) {
      const ms = START + ((END - START) / rows) * i;
      const draw = random(100);
      const data = {
        plan: ['free', 'pro', 'team'][random(3)],
        page: `/page/${random(1_000)}`,
        order: `order-${random(1_000_000)}`,
        device: { os: ['ios', 'android', 'web'][random(3)], version: random(20) },
        price: random(10_000) / 100,
      };
      clock = Math.floor(ms);
      const stamp = nextId();
      const { id, happenedAt, receivedAt } = formOf({ ...stamp, happenedAt: clock * 1000, receivedAt: clock * 1000 });
      const type = types[pick.findIndex((limit) => draw < limit)] as string;
      const [user, step] = [`user-${random(50_000)}`, `step-${random(5)}`];
      insert.run(stamp.seq, id, user, happenedAt, receivedAt, type, step, JSON.stringify(data));
    }
    client.run('COMMIT');
  }
  close();
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
