import { Database } from 'bun:sqlite';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MAX_MEMTABLE_ROWS } from '../../src/storage/columns/memtable.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { COMMAND, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { cpuSeconds, dropPageCache, peakResidentMegabytes, threadSeconds } from './machine.ts';
import { type OpenLoopRequest, startOpenLoop } from './open-loop.ts';
import { printHeader, printTable } from './report.ts';
import {
  CARDINALITY,
  type DataSet,
  eventType,
  existingDataSet,
  fillScale,
  metricName,
  rankWithRows,
  userId,
} from './scale-data.ts';
import { quantile, spread } from './statistics.ts';
import { probeWriteLock } from './write-lock.ts';

/*
 * npm run bench:scale -- [--rows 10000000] [--high-cardinality] [--names N] [--days 360] [--data DIR] [--rebuild]
 *   [--rounds 5] [--cold-rounds 3] [--erasures 3]
 *
 * Fills a database with 360 days of rows, 60 % metrics and 40 % events, of 20 names, 300 labels and 50,000 users, all
 * skewed; with --high-cardinality 5,000 names, 100,000 labels and 1,000,000 users, by default 2,000,000 rows.
 * --names sets the number of metric names and of event types. Measures: how fast the column store is built from the rows,
 * the size of the database, queries, and erasures of one user each while charts are queried and records are stored.
 *
 * --data keeps the filled database in a folder, and uses it again in the next run; --rebuild then builds its column
 * store again with `rawlog rebuild`.
 *
 * Cold queries run after the server has restarted and the page cache of all files has been dropped, which needs root.
 * The host of a VM may still have the file in its memory. An ordinary user has about 1,000 rows; a heavy user has the
 * most. --cold-rounds 0 measures warm queries only.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string' },
    'high-cardinality': { type: 'boolean', default: false },
    names: { type: 'string' },
    days: { type: 'string', default: '360' },
    data: { type: 'string' },
    rebuild: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    'cold-rounds': { type: 'string', default: '3' },
    erasures: { type: 'string', default: '3' },
  },
});
const isHigh = values['high-cardinality'];
const rows = Number(values.rows ?? (isHigh ? 2_000_000 : 10_000_000));
const DAY_MS = 86_400_000;
/** How long recording and charts are measured before the first erasure, in milliseconds. */
const BEFORE_ERASURES_MS = 5_000;
/** Requests per second during erasures. */
const RATE = { recording: 200, charts: 2 };
/** Fewer rows than the memtable can hold may never be sealed. The number of unsealed rows is an estimate. */
const MEMTABLE_ROWS = 1.1 * MAX_MEMTABLE_ROWS;

/** The tables that do not belong to the column store. */
const OTHER_TABLES = new Set([
  ...['metrics', 'analytics', 'user_names', 'cached_responses', 'ledger', 'used_codes', 'erasures', 'deletions'],
  '__drizzle_migrations',
]);

printHeader('A large database: building the column store, queries, and erasures', 'none');
using temporary = temporaryFolder();
const dataDir = values.data ?? join(temporary.path, 'data');
mkdirSync(dataDir, { recursive: true });
const databasePath = join(dataDir, 'rawlog.db');
const dataSet = openDataSet();

const exp = secondsFromNow(86_400);
const bearer = async (claims: Record<string, unknown>) => `Bearer ${await token({ exp, ...claims })}`;
const admin = await bearer({ role: 'admin' });
let running: Target | undefined;
process.on('exit', () => running?.process.kill()); // if the benchmark fails
let target = await buildColumnStore();
await target.stop();
printSizes();
target = await start();
await measureQueries();
await measureErasures();
console.log(`peak resident memory of the last server: ${peakResidentMegabytes(target.process.pid).toFixed(0)} MB`);
await target.stop();

function openDataSet(): DataSet {
  const cardinality = isHigh ? CARDINALITY.high : CARDINALITY.usual;
  const size = { rows, ...cardinality, names: Number(values.names ?? cardinality.names), days: Number(values.days) };
  const existing = existingDataSet(dataDir);
  if (existing) {
    if (existing.rows !== rows || existing.users !== size.users || existing.names !== size.names)
      throw new Error(`${dataDir} contains another data set: ${JSON.stringify(existing)}`);
    console.log(`data set: ${describe(existing)}, from an earlier run`);
    return existing;
  }
  const began = performance.now();
  const filled = fillScale(dataDir, size);
  console.log(`data set: ${describe(filled)}, filled in ${((performance.now() - began) / 1000).toFixed(0)} s`);
  return filled;
}

function describe({ rows, names, labels, users }: DataSet): string {
  return `${rows} rows, ${names} metric names and as many event types, ${labels} labels, ${users} users`;
}

async function start(): Promise<Target> {
  running = await startTarget({ ...UNLIMITED, QUERY_TIMEOUT: '60s' }, { dataDir });
  return running;
}

/** Starts the server, and measures how it builds the column store, unless that exists already. */
async function buildColumnStore(): Promise<Target> {
  if (values.rebuild && unsealedRows() < rows / 2) {
    const began = performance.now();
    const child = Bun.spawn([...COMMAND, 'rebuild', '--data-dir', dataDir], {
      env: { JWT_SECRET: UNLIMITED.JWT_SECRET },
      stdout: 'ignore',
      stderr: 'ignore',
    });
    if ((await child.exited) !== 0) throw new Error('rawlog rebuild failed');
    const wall = (performance.now() - began) / 1000;
    const cpu = Number(child.resourceUsage()?.cpuTime.total ?? Number.NaN) / 1e6;
    console.log(`rawlog rebuild: ${wall.toFixed(1)} s; per row ${us(wall)}, ${us(cpu)} CPU time`);
  }
  const unsealed = unsealedRows();
  const server = await start();
  const { pid } = server.process;
  const probe = probeWriteLock(databasePath);
  const began = performance.now();
  while (unsealedRows() > MEMTABLE_ROWS) await Bun.sleep(100);
  while (!(await isCaughtUp(server))) await Bun.sleep(50);
  const wall = (performance.now() - began) / 1000;
  const lock = await probe.stop();
  if (unsealed < rows / 2) {
    console.log(`column store: from an earlier run; start-up and the last ${unsealed} rows took ${wall.toFixed(1)} s`);
    return server;
  }
  console.log(
    `catching up: ${wall.toFixed(1)} s; per row ${us(wall)}, ${us(threadSeconds(pid, 'Worker'))} CPU time of the query worker, ${us(cpuSeconds(pid))} of all threads`,
  );
  console.log(
    `catching up: longest write transaction at most ${lock.longestMs.toFixed(0)} ms; ${lock.over50Ms} took more than 50 ms`,
  );
  return server;
}

/** Formats seconds for all rows as microseconds per row. */
function us(seconds: number): string {
  return `${((seconds / rows) * 1e6).toFixed(2)} µs`;
}

/** Estimates how many rows are not sealed, from the watermarks: reading the rows would slow down the server. */
function unsealedRows(): number {
  using client = new Database(databasePath, { readonly: true });
  const watermark = client.query<{ value: number }, [string]>('SELECT value FROM column_state WHERE name = ?');
  return (['metrics', 'analytics'] as const)
    .map((table) => {
      const { first = 0, last = 0 } =
        client
          .query<{ first: number; last: number }, []>(
            `SELECT (SELECT min(seq) FROM ${table}) AS first, (SELECT max(seq) FROM ${table}) AS last`,
          )
          .get() ?? {};
      const sealed = watermark.get(table === 'metrics' ? 'metric' : 'analytics')?.value ?? 0;
      const share = table === 'metrics' ? 0.6 : 0.4;
      return Math.round(share * rows * Math.min(1, (last - sealed) / (last - first)));
    })
    .reduce((sum, count) => sum + count, 0);
}

/** Returns whether the column store has applied all rows. */
async function isCaughtUp(server: Target): Promise<boolean> {
  const { body } = await send(`${server.url}/api/status`, { headers: { authorization: admin } });
  return body.columns.lag_rows === 0;
}

/** Prints the size of each table with its indexes, from the virtual table dbstat. */
function printSizes(): void {
  using client = new Database(databasePath, { readonly: true });
  const sizes = new Map(
    client
      .query<{ name: string; bytes: number }, []>(
        `SELECT coalesce(tbl_name, 'sqlite_schema') AS name, sum(pgsize) AS bytes
         FROM dbstat LEFT JOIN sqlite_schema USING (name) WHERE aggregate = TRUE GROUP BY 1`,
      )
      .all()
      .map(({ name, bytes }) => [name, bytes]),
  );
  const count = (table: string) =>
    client.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? Number.NaN;
  const sizeOf = (tables: readonly string[]) => tables.reduce((sum, table) => sum + (sizes.get(table) ?? 0), 0);
  const line = (name: string, tables: readonly string[], of: number, kind: string) => {
    const bytes = sizeOf(tables);
    return [name, (bytes / 1e6).toFixed(1), `${(bytes / of).toFixed(1)} per ${kind}`];
  };
  const columns = [...sizes.keys()].filter((table) => !OTHER_TABLES.has(table) && !table.startsWith('sqlite_'));
  printTable([
    ['on disk', 'MB', 'bytes'],
    line('table metrics', ['metrics'], count('metrics'), 'metric'),
    line('table analytics', ['analytics'], count('analytics'), 'event'),
    line('table user_names', ['user_names'], rows, 'row'),
    line('column store', columns, rows, 'row'),
    ...columns.map((table) => line(`  table ${table}`, [table], rows, 'row')),
    line('whole file', [...sizes.keys()], rows, 'row'),
  ]);
  console.log();
}

/** A query to measure, and the token of its caller. */
interface MeasuredQuery {
  readonly label: string;
  readonly path: string;
  readonly authorization: string;
}

function lastDays(days: number): string {
  return `from=${iso(dataSet.to - days * DAY_MS)}&to=${iso(dataSet.to)}`;
}

/** Returns the paths of the charts that are queried during erasures. */
function charts(): string[] {
  return [
    `/api/metrics/series?name=${metricName(0)}&interval=hour&${lastDays(30)}`,
    `/api/analytics/counts?type=${eventType(0)}&interval=day&group_by=data_index&${lastDays(30)}`,
    `/api/activity?interval=day&${lastDays(30)}`,
  ];
}

async function queries(): Promise<MeasuredQuery[]> {
  const series = `/api/metrics/series?name=${metricName(0)}`;
  const events = `/api/analytics/counts?type=${eventType(0)}&${lastDays(30)}`;
  const of = (authorization: string, prefix: string, paths: readonly (readonly [label: string, path: string])[]) =>
    paths.map(([label, path]) => ({ label: prefix + label, path, authorization }));
  const own: readonly (readonly [label: string, path: string])[] = [
    ['metric names', '/api/metrics'],
    ['activity by hour, 7 days', `/api/activity?interval=hour&${lastDays(7)}`],
    ['activity by day, 30 days', `/api/activity?interval=day&${lastDays(30)}`],
    ['first page of metrics', '/api/records/metrics'],
    ['series by day, 30 days', `${series}&interval=day&${lastDays(30)}`],
    ['series by day, all time', `${series}&interval=day`],
  ];
  const ordinary = await bearer({ sub: userId(rankWithRows(dataSet, 1_000)) });
  const heavy = await bearer({ sub: userId(0) });
  return [
    ...of(admin, '', [
      ['series by hour, 30 days', `${series}&interval=hour&${lastDays(30)}`],
      ['series by day, 30 days', `${series}&interval=day&${lastDays(30)}`],
      ['series by day, all time', `${series}&interval=day`],
      ['counts of the top 200 labels, 30 days', `${events}&group_by=data_index&top=200`],
      ['the same by day', `${events}&group_by=data_index&top=200&interval=day`],
      ['counts of the top 10 labels by hour', `${events}&group_by=data_index&top=10&interval=hour`],
      ['counts by quarter hour, 30 days', `${events}&interval=15m`],
      ['activity by day, all time', '/api/activity?interval=day'],
      ['activity by hour, 7 days', `/api/activity?interval=hour&${lastDays(7)}`],
      ['activity by day, 30 days', `/api/activity?interval=day&${lastDays(30)}`],
      ['unique users by day, 30 days', `/api/activity?unique_users=true&top=50&interval=day&${lastDays(30)}`],
      ['unique users by day, all time', '/api/activity?unique_users=true&top=50&interval=day'],
      ['metric names', '/api/metrics'],
      ['event types', '/api/analytics'],
    ]),
    ...of(ordinary, 'ordinary user: ', own),
    ...of(heavy, 'heavy user: ', own),
  ];
}

/** Prints the response times of each query, warm and cold, and the rows that the users have. */
async function measureQueries(): Promise<void> {
  const coldRounds = Number(values['cold-rounds']);
  const canDrop = coldRounds > 0 && dropPageCache();
  if (coldRounds > 0 && !canDrop) console.log('warm only: dropping the page cache needs root');
  const widths = [43, 24];
  const printRow = (...cells: string[]) =>
    console.log(`  ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' ')}`.trimEnd());
  printRow('query, ms', 'warm', canDrop ? 'cold' : '');
  for (const query of await queries()) {
    const cold: number[] = [];
    for (let round = 0; canDrop && round < coldRounds; round++) {
      await target.stop();
      target = await start();
      while (!(await isCaughtUp(target))) await Bun.sleep(50);
      dropPageCache();
      cold.push(await measure(query));
    }
    await measure(query);
    const warm: number[] = [];
    for (let round = 0; round < Number(values.rounds); round++) warm.push(await measure(query));
    printRow(query.label, spread(warm, 1), canDrop ? spread(cold, 0) : '');
  }
  console.log();
}

async function measure({ path, authorization }: MeasuredQuery): Promise<number> {
  const began = performance.now();
  const response = await fetch(target.url + path, { headers: { authorization } });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${path}: ${text}`);
  return performance.now() - began;
}

/** Erases ordinary users, one after another, while records are stored and charts are queried at fixed rates. */
async function measureErasures(): Promise<void> {
  const count = Number(values.erasures);
  if (count === 0) return;
  const headers = { authorization: admin };
  const paths = charts();
  const recording = startOpenLoop(RATE.recording, async () => {
    const { status } = await post(target, '/log_raw_metric', METRIC, headers);
    if (status !== 200) throw new Error(`status ${status}`);
  });
  const chartLoop = startOpenLoop(RATE.charts, (number) =>
    measure({ label: '', path: paths[number % paths.length] as string, authorization: admin }),
  );
  const probe = probeWriteLock(databasePath);
  const startedAt = performance.now();
  await Bun.sleep(BEFORE_ERASURES_MS);
  const erasuresFrom = performance.now();
  const times: number[] = [];
  const erasedRows: number[] = [];
  // an earlier run on the same data set may have erased the first ones
  for (let rank = rankWithRows(dataSet, 1_000) + 1; times.length < count; rank++) {
    const began = performance.now();
    const { status, body } = await send(`${target.url}/api/users/${userId(rank)}`, { method: 'DELETE', headers });
    if (status !== 200) throw new Error(JSON.stringify(body));
    const erased = body.deleted.metrics + body.deleted.analytics;
    if (erased === 0) continue;
    times.push(performance.now() - began);
    erasedRows.push(erased);
  }
  const until = performance.now();
  const lock = await probe.stop();
  const [records, chartRequests] = [await recording.stop(), await chartLoop.stop()];
  const latencies = (requests: readonly OpenLoopRequest[], from: number, to: number) =>
    requests.filter(({ dueAtMs }) => dueAtMs >= from && dueAtMs < to).map(({ latencyMs }) => latencyMs);
  const row = (name: string, from: number, to: number) => [
    name,
    quantile(latencies(records.completed, from, to), 0.5).toFixed(1),
    quantile(latencies(records.completed, from, to), 0.99).toFixed(1),
    quantile(latencies(chartRequests.completed, from, to), 0.5).toFixed(0),
    Math.max(...latencies(chartRequests.completed, from, to)).toFixed(0),
  ];
  console.log(
    `erasing a user of ${spread(erasedRows, 0)} rows: ${spread(times, 0)} ms; longest write transaction at most ${lock.longestMs.toFixed(0)} ms`,
  );
  printTable([
    [
      `${RATE.recording} records and ${RATE.charts} charts per second`,
      'recording p50, ms',
      'recording p99, ms',
      'chart p50, ms',
      'slowest chart, ms',
    ],
    row('before the erasures', startedAt, erasuresFrom),
    row('during the erasures', erasuresFrom, until),
  ]);
  console.log(`  failed requests: ${records.failed + chartRequests.failed}`);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
