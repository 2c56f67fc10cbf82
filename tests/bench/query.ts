import { parseArgs } from 'node:util';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { openStorage } from '../../src/storage/database.ts';
import { SECRET, startTarget, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { spread } from './figures.ts';
import { residentMegabytes } from './machine.ts';

/*
 * bun run bench:query [--rows 10000000] [--rounds 9]
 *
 * Each question of a dashboard, asked of the service over HTTP, beside DuckDB on the same rows in memory:
 * alternately, in one run. So many metrics and so many events, over 30 days, of 20 names with 200 labels
 * and 5,000 users.
 */
const { values } = parseArgs({
  options: { rows: { type: 'string', default: '10000000' }, rounds: { type: 'string', default: '9' } },
});
const rows = Number(values.rows);
const rounds = Number(values.rounds);

const DAYS = 30;
const START = Date.UTC(2026, 0, 1) * 1000;
const END = START + DAYS * 86_400_000_000;
/** 2026-01-01 as `seq`; rows follow one another, as if they had been received so. */
const FIRST_SEQ = (Date.UTC(2026, 0, 1) - Date.UTC(2020, 0, 1)) * 4096;
const FILL_ROWS = 10_000;

using folder = temporaryFolder();
const duck = await (await DuckDBInstance.create(':memory:')).connect();
await duck.run("SET TimeZone = 'UTC'");
await duck.run(`CREATE TABLE rows AS SELECT i,
  ${START} + floor(i * ${(END - START) / rows}::DOUBLE)::BIGINT AS time,
  'name-' || hash(i) % 20 AS name, 'label-' || hash(i + 7) % 200 AS label, 'user-' || hash(i + 13) % 5000 AS who,
  round((hash(i + 29) % 1000000) / 1000.0, 3)::DOUBLE AS value, make_timestamptz(time) AS stamp
  FROM range(${rows}) t(i)`);
await fill(duck, `${folder.path}/rawlog.db`);

const began = performance.now();
const target = await startTarget(
  { JWT_SECRET: SECRET, DATABASE_URL: `file:${folder.path}/rawlog.db` },
  { dataDir: folder.path },
);
const bearer = await token({ role: 'admin', exp: Math.floor(Date.now() / 1000) + 86_400 });
while (!(await isComplete())) await Bun.sleep(100);
console.log(`the column store of ${2 * rows} rows was made in ${((performance.now() - began) / 1000).toFixed(0)} s`);

const range = `from=${iso(START)}&to=${iso(END)}`;
const where = `name = 'name-3' AND time >= ${START} AND time < ${END}`;
const statistics = 'count(*), sum(value), avg(value), min(value), max(value)';
const QUESTIONS: [what: string, address: string, sql: string][] = [
  ...(['day', 'hour'] as const).flatMap((interval): [string, string, string][] => [
    [
      `series by ${interval}`,
      `/api/metrics/series?name=name-3&${range}&interval=${interval}`,
      `SELECT date_trunc('${interval}', stamp) b, ${statistics} FROM rows WHERE ${where} GROUP BY b ORDER BY b`,
    ],
    [
      `series by ${interval}, DuckDB with percentiles too`,
      `/api/metrics/series?name=name-3&${range}&interval=${interval}`,
      `SELECT date_trunc('${interval}', stamp) b, ${statistics}, quantile_cont(value, [0.5, 0.95, 0.99]) FROM rows WHERE ${where} GROUP BY b ORDER BY b`,
    ],
  ]),
  [
    'counts by index',
    `/api/analytics/counts?type=name-3&${range}&group_by=data_index&top=200`,
    `SELECT label, count(*) FROM rows WHERE ${where} GROUP BY label`,
  ],
  [
    'unique users by index',
    `/api/analytics/counts?type=name-3&${range}&group_by=data_index&top=200`,
    `SELECT label, count(*), count(DISTINCT who) FROM rows WHERE ${where} GROUP BY label`,
  ],
  [
    'unique users by index and day',
    `/api/analytics/counts?type=name-3&${range}&interval=day&group_by=data_index&top=200`,
    `SELECT label, date_trunc('day', stamp) b, count(*), count(DISTINCT who) FROM rows WHERE ${where} GROUP BY label, b`,
  ],
  ['names', '/api/metrics', 'SELECT name, count(*), min(stamp), max(stamp) FROM rows GROUP BY name'],
  ['types', '/api/analytics', 'SELECT name, count(*), min(stamp), max(stamp) FROM rows GROUP BY name'],
  [
    'funnel of 5 steps',
    `/api/analytics/funnel?type=name-3&${range}&within=7d&${[1, 2, 3, 4, 5].map((i) => `step=label-${i}`).join('&')}`,
    funnelSql(5),
  ],
];

console.log(
  `${rows} metrics and ${rows} events; median and range of ${rounds} rounds, in ms; DuckDB's time / the service's`,
);
for (const [what, address, sql] of QUESTIONS) {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = -1; round < rounds; round++) {
    const first = performance.now();
    await get(address);
    const second = performance.now();
    await duck.runAndReadAll(sql);
    const third = performance.now();
    if (round < 0) continue; // both warm up
    ours.push(second - first);
    theirs.push(third - second);
  }
  const ratio = spread(
    ours.map((one, i) => (theirs[i] as number) / one),
    1,
  );
  console.log(
    `  ${what.padEnd(48)} service ${spread(ours, 1).padEnd(24)} DuckDB ${spread(theirs, 1).padEnd(24)} ratio ${ratio}`,
  );
}
console.log(`the service has ${residentMegabytes(target.process.pid).toFixed(0)} MB resident`);
for (const format of ['ndjson', 'csv', 'parquet']) await exportAll(format);
await target.stop();
process.exit(0); // DuckDB's threads would keep the process

/** Exports every metric, and says how fast, and how much memory the service had at most. */
async function exportAll(format: string): Promise<void> {
  const from = performance.now();
  const response = await fetch(`${target.url}/api/export/metrics?format=${format}`, {
    headers: { authorization: `Bearer ${bearer}` },
  });
  let bytes = 0;
  let parts = 0;
  let most = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (parts++ % 100 === 0) most = Math.max(most, residentMegabytes(target.process.pid));
  }
  const seconds = (performance.now() - from) / 1000;
  const rate = rows / seconds / 1000;
  console.log(
    `export as ${format}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(0)} s, ${rate.toFixed(0)},000 rows a second, at most ${most.toFixed(0)} MB resident`,
  );
}

/** Whether the column store has taken in every row. */
async function isComplete(): Promise<boolean> {
  const response = await fetch(`${target.url}/api/metrics`, { headers: { authorization: `Bearer ${bearer}` } });
  if (!response.ok) return false; // there is more than one query may take in
  const { metrics } = (await response.json()) as { metrics: { count: number }[] };
  return metrics.reduce((sum, { count }) => sum + count, 0) === rows;
}

async function get(address: string): Promise<void> {
  const response = await fetch(target.url + address, { headers: { authorization: `Bearer ${bearer}` } });
  if (response.status !== 200) throw new Error(await response.text());
  await response.json();
}

/** Copies DuckDB's rows into both tables of a new database. */
async function fill(from: DuckDBConnection, path: string): Promise<void> {
  const { client, close } = openStorage(path);
  client.run('PRAGMA synchronous = OFF');
  const columns = '(?, ?, ?, ?, ?, ?, ?, ?)';
  const metric = client.prepare(`INSERT INTO metrics VALUES ${columns}`);
  const event = client.prepare(`INSERT INTO analytics VALUES ${columns}`);
  for (let start = 0; start < rows; start += FILL_ROWS) {
    const part = await from.runAndReadAll(
      `SELECT i::INTEGER, time::DOUBLE, name, label, who, value FROM rows WHERE i >= ${start} AND i < ${start + FILL_ROWS} ORDER BY i`,
    );
    client.run('BEGIN');
    for (const row of part.getRows()) {
      const [i, time, name, label, who, value] = row as [number, number, string, string, string, number];
      const seq = FIRST_SEQ + i;
      const id = `${i.toString(16).padStart(8, '0')}-0000-7000-8000-000000000000`;
      metric.run(seq, id, who, time, time, name, value, label);
      event.run(seq, id, who, time, time, name, label, '{}');
    }
    client.run('COMMIT');
  }
  close();
}

/** The first steps of a funnel as SQL: the earliest event of each step after the one before it. */
function funnelSql(steps: number): string {
  const week = 7 * 86_400_000_000;
  const parts = Array.from({ length: steps }, (_, i) => {
    const step = `label = 'label-${i + 1}' AND ${where}`;
    return i === 0
      ? `s1 AS (SELECT who, time t1 FROM rows WHERE ${step})`
      : `s${i + 1} AS (SELECT s.who, s.t1, min(r.time) t${i + 1} FROM s${i} s JOIN (SELECT who, time FROM rows WHERE ${step}) r
         ON r.who = s.who AND r.time > s.t${i} AND r.time <= s.t1 + ${week} GROUP BY s.who, s.t1)`;
  });
  const selected = Array.from({ length: steps }, (_, i) => `(SELECT count(DISTINCT who) FROM s${i + 1})`);
  return `WITH ${parts.join(', ')} SELECT ${selected.join(', ')}`;
}

function iso(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString();
}
