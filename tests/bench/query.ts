import { parseArgs } from 'node:util';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { openStorage } from '../../src/storage/database.ts';
import { SECRET, startTarget, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { residentMegabytes } from './machine.ts';
import { printHeader } from './report.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:query -- [--rows 10000000] [--rounds 9]
 *
 * Measures each query of the dashboard over HTTP, against DuckDB on the same rows in memory, alternately in one run.
 * Then measures exports of all metrics. The data set contains `rows` metrics and as many events, over 30 days, with 20
 * names, 200 labels and 5,000 users.
 */
const { values } = parseArgs({
  options: { rows: { type: 'string', default: '10000000' }, rounds: { type: 'string', default: '9' } },
});
const rows = Number(values.rows);
const rounds = Number(values.rounds);

const DAYS = 30;
const START = Date.UTC(2026, 0, 1) * 1000;
const END = START + DAYS * 86_400_000_000;
/** The `seq` of 2026-01-01. Rows have consecutive keys, as if received in this order. */
const FIRST_SEQ = (Date.UTC(2026, 0, 1) - Date.UTC(2020, 0, 1)) * 4096;
const FILL_ROWS = 10_000;

printHeader('Queries: rawlog over HTTP against DuckDB in memory, on the same rows', 'none');
using folder = temporaryFolder();
const duck = await (await DuckDBInstance.create(':memory:')).connect();
await duck.run("SET TimeZone = 'UTC'");
await duck.run(`CREATE TABLE rows AS SELECT i,
  ${START} + floor(i * ${(END - START) / rows}::DOUBLE)::BIGINT AS time,
  'name-' || hash(i) % 20 AS name, 'label-' || hash(i + 7) % 200 AS label, 'user-' || hash(i + 13) % 5000 AS user_id,
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
console.log(`column store of ${2 * rows} rows built in ${((performance.now() - began) / 1000).toFixed(0)} s`);

const range = `from=${iso(START)}&to=${iso(END)}`;
const where = `name = 'name-3' AND time >= ${START} AND time < ${END}`;
const statistics = 'count(*), sum(value), avg(value), min(value), max(value)';
const QUERIES: [label: string, path: string, sql: string][] = [
  ...(['day', 'hour'] as const).flatMap((interval): [string, string, string][] => [
    [
      `series by ${interval} (DuckDB: no percentiles)`,
      `/api/metrics/series?name=name-3&${range}&interval=${interval}`,
      `SELECT date_trunc('${interval}', stamp) b, ${statistics} FROM rows WHERE ${where} GROUP BY b ORDER BY b`,
    ],
    [
      `series by ${interval}`,
      `/api/metrics/series?name=name-3&${range}&interval=${interval}`,
      `SELECT date_trunc('${interval}', stamp) b, ${statistics}, quantile_cont(value, [0.5, 0.95, 0.99]) FROM rows WHERE ${where} GROUP BY b ORDER BY b`,
    ],
  ]),
  [
    'counts by index (DuckDB: no unique users)',
    `/api/analytics/counts?type=name-3&${range}&group_by=data_index&top=200`,
    `SELECT label, count(*) FROM rows WHERE ${where} GROUP BY label`,
  ],
  [
    'counts by index',
    `/api/analytics/counts?type=name-3&${range}&group_by=data_index&top=200`,
    `SELECT label, count(*), count(DISTINCT user_id) FROM rows WHERE ${where} GROUP BY label`,
  ],
  [
    'counts by index and day',
    `/api/analytics/counts?type=name-3&${range}&interval=day&group_by=data_index&top=200`,
    `SELECT label, date_trunc('day', stamp) b, count(*), count(DISTINCT user_id) FROM rows WHERE ${where} GROUP BY label, b`,
  ],
  ['metric names', '/api/metrics', 'SELECT name, count(*), min(stamp), max(stamp) FROM rows GROUP BY name'],
  ['event types', '/api/analytics', 'SELECT name, count(*), min(stamp), max(stamp) FROM rows GROUP BY name'],
  [
    'funnel of 5 steps',
    `/api/analytics/funnel?type=name-3&${range}&within=7d&${[1, 2, 3, 4, 5].map((i) => `step=label-${i}`).join('&')}`,
    funnelSql(5),
  ],
];

console.log(
  `${rows} metrics and ${rows} events; response times as median (min to max) of ${rounds} rounds after a warm-up`,
);
printRow('query', 'rawlog, ms', 'DuckDB, ms', 'DuckDB / rawlog');
for (const [label, path, sql] of QUERIES) {
  const ourMs: number[] = [];
  const theirMs: number[] = [];
  for (let round = -1; round < rounds; round++) {
    const first = performance.now();
    await get(path);
    const second = performance.now();
    await duck.runAndReadAll(sql);
    const third = performance.now();
    if (round < 0) continue; // the warm-up
    ourMs.push(second - first);
    theirMs.push(third - second);
  }
  const ratio = spread(
    ourMs.map((ms, i) => (theirMs[i] as number) / ms),
    1,
  );
  printRow(label, spread(ourMs, 1), spread(theirMs, 1), ratio);
}
console.log(`resident memory of rawlog after the queries: ${residentMegabytes(target.process.pid).toFixed(0)} MB`);
for (const format of ['ndjson', 'csv', 'parquet']) await exportAll(format);
await target.stop();
process.exit(0); // DuckDB's threads would keep the process alive

/** Prints a row as soon as it is measured, in columns of fixed width. */
function printRow(label: string, ours: string, theirs: string, ratio: string): void {
  console.log(`  ${label.padEnd(44)} ${ours.padEnd(26)} ${theirs.padEnd(26)} ${ratio}`);
}

/** Exports all metrics. Prints the throughput and the highest resident memory sampled. */
async function exportAll(format: string): Promise<void> {
  const from = performance.now();
  const response = await fetch(`${target.url}/api/export/metrics?format=${format}`, {
    headers: { authorization: `Bearer ${bearer}` },
  });
  let bytes = 0;
  let parts = 0;
  let peakMemory = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (parts++ % 100 === 0) peakMemory = Math.max(peakMemory, residentMegabytes(target.process.pid));
  }
  const seconds = (performance.now() - from) / 1000;
  const rate = rows / seconds / 1000;
  console.log(
    `export as ${format}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(0)} s, ${rate.toFixed(0)},000 rows per second, resident memory at most ${peakMemory.toFixed(0)} MB`,
  );
}

/** Returns whether the column store has caught up with all rows. */
async function isComplete(): Promise<boolean> {
  const response = await fetch(`${target.url}/api/metrics`, { headers: { authorization: `Bearer ${bearer}` } });
  if (!response.ok) return false; // the ingest lag exceeds what one query may catch up
  const { metrics } = (await response.json()) as { metrics: { count: number }[] };
  return metrics.reduce((sum, { count }) => sum + count, 0) === rows;
}

async function get(path: string): Promise<void> {
  const response = await fetch(target.url + path, { headers: { authorization: `Bearer ${bearer}` } });
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
      `SELECT i::INTEGER, time::DOUBLE, name, label, user_id, value FROM rows WHERE i >= ${start} AND i < ${start + FILL_ROWS} ORDER BY i`,
    );
    client.run('BEGIN');
    for (const row of part.getRows()) {
      const [i, time, name, label, userId, value] = row as [number, number, string, string, string, number];
      const seq = FIRST_SEQ + i;
      const id = `${i.toString(16).padStart(8, '0')}-0000-7000-8000-000000000000`;
      metric.run(seq, id, userId, time, time, name, value, label);
      event.run(seq, id, userId, time, time, name, label, '{}');
    }
    client.run('COMMIT');
  }
  close();
}

/** Returns a funnel as SQL: for each step, the earliest event after the previous step. */
function funnelSql(steps: number): string {
  const week = 7 * 86_400_000_000;
  const parts = Array.from({ length: steps }, (_, i) => {
    const step = `label = 'label-${i + 1}' AND ${where}`;
    return i === 0
      ? `s1 AS (SELECT user_id, time t1 FROM rows WHERE ${step})`
      : `s${i + 1} AS (SELECT s.user_id, s.t1, min(r.time) t${i + 1} FROM s${i} s JOIN (SELECT user_id, time FROM rows WHERE ${step}) r
         ON r.user_id = s.user_id AND r.time > s.t${i} AND r.time <= s.t1 + ${week} GROUP BY s.user_id, s.t1)`;
  });
  const selected = Array.from({ length: steps }, (_, i) => `(SELECT count(DISTINCT user_id) FROM s${i + 1})`);
  return `WITH ${parts.join(', ')} SELECT ${selected.join(', ')}`;
}

function iso(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString();
}
