import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { KINDS } from '../../src/records.ts';
import { succeed } from '../harness/backups.ts';
import { type ClickHouseServer, isClickHouseMissing, startClickHouse } from '../harness/clickhouse.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { differenceOf } from './difference.ts';
import { backlogOf, measureBacklog } from './forwarding-backlog.ts';
import { peakResidentMegabytes } from './machine.ts';
import { measurePairs } from './pairs.ts';
import { untilQuiet } from './query-worker.ts';
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
import { spread } from './statistics.ts';

/*
 * npm run bench:clickhouse -- [--rows 50000000] [--data DIR] [--rounds 5]
 *
 * Forwards the data set of bench:scale to a ClickHouse server, and measures how fast, and how much disk the rows take
 * there. Then queries both alternately over HTTP: a server that reads its own column store, and one that reads ClickHouse
 * (QUERY_URL). Their results must be the same. A query that a server rejects is measured once.
 *
 * --data keeps the database in a folder, or uses that of bench:scale there, and keeps the data of ClickHouse in its folder
 * `clickhouse`, which later runs use again.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '50000000' },
    data: { type: 'string' },
    rounds: { type: 'string', default: '5' },
  },
});
const DAY_MS = 86_400_000;
/** Largest relative difference of figures: sums may be added in another order. */
const TOLERANCE = 1e-9;
const DATABASE = 'rawlog';
/** How long rows must be forwarded for the rates of its tenths: positions are stored twice per second. */
const MIN_TENTHS_SECONDS = 30;
/** How long no merge must have run in ClickHouse before queries are measured, and the longest wait for it, in milliseconds. */
const MERGED_MS = 5_000;
const MERGE_TIMEOUT_MS = 1_800_000;
const SETTINGS = { ...UNLIMITED, QUERY_TIMEOUT: '60s' };

if (isClickHouseMissing) throw new Error('clickhouse-server is not installed');
printHeader('Queries of ClickHouse against those of the embedded engine, on the same rows', 'none');
using temporary = temporaryFolder();
const dataDir = values.data ?? join(temporary.path, 'data');
mkdirSync(dataDir, { recursive: true });
const databasePath = join(dataDir, 'rawlog.db');
const dataSet: DataSet =
  existingDataSet(dataDir) ?? fillScale(dataDir, { rows: Number(values.rows), ...CARDINALITY.usual });
console.log(
  `data set: ${dataSet.rows} rows, ${dataSet.names} metric names and as many event types, ${dataSet.labels} labels, ${dataSet.users} users`,
);
const exp = secondsFromNow(86_400);
const bearer = async (claims: Record<string, unknown>) => `Bearer ${await token({ exp, ...claims })}`;
const admin = await bearer({ role: 'admin' });
const running: Target[] = [];
process.on('exit', () => {
  for (const { process } of running) process.kill(); // if the benchmark fails
});

const clickHouseDir = join(dataDir, 'clickhouse');
/** Exists once all rows are in the folder of ClickHouse. */
const forwardedPath = join(dataDir, 'clickhouse.json');
if (!existsSync(forwardedPath)) rmSync(clickHouseDir, { recursive: true, force: true });
await using clickhouse = await startClickHouse({ dataDir: clickHouseDir });
process.on('exit', () => void clickhouse.kill('SIGKILL'));
if (existsSync(forwardedPath)) console.log(`${readFileSync(forwardedPath, 'utf8')}\n  in an earlier run`);
else await forwardRows(clickhouse);
await untilMerged(clickhouse);
await printSizes(clickhouse);
await measureQueries(clickhouse);

/** Starts a server that is killed if the benchmark fails. */
async function start(env: Record<string, string>, folder?: string): Promise<Target> {
  const target = await startTarget({ ...SETTINGS, ...env }, folder === undefined ? {} : { dataDir: folder });
  running.push(target);
  return target;
}

/** Forwards all rows, and prints how fast. The column store is built before that. */
async function forwardRows(server: ClickHouseServer): Promise<void> {
  const first = await start({}, dataDir);
  await untilQuiet(first, { authorization: admin });
  await first.stop();
  const env = { FORWARD_URL: server.url(DATABASE).href };
  const result = await measureBacklog(() => start(env, dataDir), databasePath, [server.pid]);
  await succeed(['forward', 'drop', result.sink], dataDir);
  const text = [
    `forwarded ${result.rows} rows in ${result.seconds.toFixed(0)} s: ${result.rate.toFixed(0)} rows per second`,
    ...(result.seconds < MIN_TENTHS_SECONDS ? [] : [`  of each tenth of them: ${spread(result.tenths, 0)}`]),
    `  CPU time per row: ${result.cpuUs.toFixed(1)} µs of rawlog, ${result.engineCpuUs.toFixed(1)} µs of ClickHouse`,
  ].join('\n');
  console.log(text);
  writeFileSync(forwardedPath, text);
}

/** Prints the size of the tables in ClickHouse. Throws if they do not have the rows of the database. */
async function printSizes(server: ClickHouseServer): Promise<void> {
  const backlog = backlogOf(databasePath);
  const table: string[][] = [['on disk', 'rows', 'parts', 'MB', 'bytes per row']];
  let total = 0;
  for (const kind of KINDS) {
    const name = kind === 'metric' ? 'rawlog_metrics' : 'rawlog_analytics';
    const [size] = await server.rows<{ rows: string; bytes: string; parts: string }>(
      `SELECT sum(rows) AS rows, sum(bytes_on_disk) AS bytes, count() AS parts
       FROM system.parts WHERE active AND database = '${DATABASE}' AND table = '${name}'`,
    );
    const [rows, bytes] = [Number(size?.rows), Number(size?.bytes)];
    total += bytes;
    table.push([name, String(rows), size?.parts ?? '', (bytes / 1e6).toFixed(0), (bytes / rows).toFixed(1)]);
    if (rows < backlog[kind].rows) {
      throw new Error(
        `${name} has ${rows} of ${backlog[kind].rows} rows; remove ${forwardedPath} to forward them again`,
      );
    }
    if (rows > backlog[kind].rows) console.log(`${name} has ${rows - backlog[kind].rows} rows twice, or erased rows`);
  }
  const own = statSync(databasePath).size;
  table.push(['both tables', '', '', (total / 1e6).toFixed(0), (total / dataSet.rows).toFixed(1)]);
  table.push(['database of rawlog', '', '', (own / 1e6).toFixed(0), (own / dataSet.rows).toFixed(1)]);
  printTable(table);
}

/** Waits until ClickHouse has merged its parts. */
async function untilMerged(server: ClickHouseServer): Promise<void> {
  const began = performance.now();
  let idleSince = began;
  while (performance.now() - idleSince < MERGED_MS) {
    await Bun.sleep(100);
    const merges = await server.rows('SELECT 1 FROM system.merges');
    if (merges.length > 0) idleSince = performance.now();
    if (performance.now() - began > MERGE_TIMEOUT_MS) throw new Error('ClickHouse does not finish its merges');
  }
}

/** A query to measure, and the token of its caller. */
interface MeasuredQuery {
  readonly label: string;
  readonly path: string;
  readonly authorization: string;
}

async function queries(): Promise<MeasuredQuery[]> {
  const last = (days: number) => `from=${iso(dataSet.to - days * DAY_MS)}&to=${iso(dataSet.to)}`;
  const series = `/api/metrics/series?name=${metricName(0)}`;
  const counts = `/api/analytics/counts?type=${eventType(0)}&group_by=data_index`;
  const ordinary = await bearer({ sub: userId(rankWithRows(dataSet, 1_000)) });
  const of = (authorization: string, list: readonly (readonly [label: string, path: string])[]) =>
    list.map(([label, path]) => ({ label, path, authorization }));
  return [
    ...of(admin, [
      ['series by hour, 30 days', `${series}&interval=hour&${last(30)}`],
      ['series by day, 30 days', `${series}&interval=day&${last(30)}`],
      ['series by day, all time', `${series}&interval=day`],
      ['counts of the top 200 labels, 30 days', `${counts}&top=200&${last(30)}`],
      ['unique users by day of the top 200 labels', `${counts}&top=200&interval=day&${last(30)}`],
      ['metric names', '/api/metrics'],
      ['event types', '/api/analytics'],
      ['activity by day, 30 days', `/api/activity?interval=day&${last(30)}`],
      ['activity by day, all time', '/api/activity?interval=day'],
      ['unique users by day, 30 days', `/api/activity?unique_users=true&top=50&interval=day&${last(30)}`],
      ['funnel of two types, 30 days', `/api/analytics/funnel?step=${eventType(0)}&step=${eventType(1)}&${last(30)}`],
      ['cohort retention by week, 90 days', `/api/analytics/retention?step=${eventType(1)}&period=week&${last(90)}`],
      ['counts by a property, 30 days', `${counts.replace('data_index', 'data.plan')}&${last(30)}`],
      ['first page of metrics', '/api/records/metrics'],
      ['first page of events', '/api/records/analytics'],
    ]),
    ...of(ordinary, [
      ['ordinary user: metric names', '/api/metrics'],
      ['ordinary user: activity by day, 30 days', `/api/activity?interval=day&${last(30)}`],
      ['ordinary user: first page of metrics', '/api/records/metrics'],
    ]),
  ];
}

/** The response to a query. */
interface Measurement {
  readonly ms: number;
  readonly status: number;
  readonly text: string;
}

/** Prints the response times of each query of both servers, and whether their results are the same. */
async function measureQueries(server: ClickHouseServer): Promise<void> {
  const embedded = await start({}, dataDir);
  const external = await start({ QUERY_URL: server.url(DATABASE).href });
  await untilQuiet(embedded, { authorization: admin });
  const widths = [43, 27, 27, 24];
  const printRow = (...cells: string[]) =>
    console.log(`  ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' ')}`.trimEnd());
  const version = (await server.sql('SELECT version()')).trim();
  console.log(`response times, ms; ClickHouse ${version}; ${values.rounds} rounds, median (min to max)`);
  printRow('query', 'embedded engine', 'ClickHouse', 'ClickHouse / embedded', 'results');
  let different = 0;
  for (const query of await queries()) {
    /** Returns what measures a server, after the first query; a rejected one is not repeated. */
    const repeated = async (server: Target) => {
      const first = await measure(server, query);
      return async () => (isSuccessful(first) ? measure(server, query) : first);
    };
    const pairs = await measurePairs(Number(values.rounds), await repeated(embedded), await repeated(external));
    const cells = ([0, 1] as const).map((index) => cellOf(pairs.map((pair) => pair[index])));
    if (!pairs.flat().every(isSuccessful)) {
      printRow(query.label, ...cells, '-', '-');
      continue;
    }
    const difference = pairs
      .map(([ours, theirs]) => differenceOf(JSON.parse(ours.text), JSON.parse(theirs.text), TOLERANCE))
      .find((text) => text !== undefined);
    if (difference !== undefined) different++;
    const isIdentical = pairs.every(([ours, theirs]) => ours.text === theirs.text);
    const ratios = spread(
      pairs.map(([ours, theirs]) => theirs.ms / ours.ms),
      1,
    );
    printRow(query.label, ...cells, ratios, difference ?? (isIdentical ? 'identical' : 'equal'));
  }
  console.log(
    `  peak resident memory: ${[embedded, external].map(({ process }) => peakResidentMegabytes(process.pid).toFixed(0)).join(' and ')} MB of the two servers, ${peakResidentMegabytes(server.pid).toFixed(0)} MB of ClickHouse`,
  );
  console.log(`  ${different} queries with different results (must be 0)`);
  process.exitCode = different > 0 ? 1 : 0;
  for (const target of [external, embedded]) await target.stop();
}

function isSuccessful({ status }: Measurement): boolean {
  return status === 200;
}

/** Returns the response times of a query, or the first error and its time. */
function cellOf(measurements: readonly Measurement[]): string {
  const failed = measurements.find((measurement) => !isSuccessful(measurement));
  if (failed) return `${failed.status} ${JSON.parse(failed.text).code}, ${(failed.ms / 1000).toFixed(0)} s`;
  return spread(
    measurements.map(({ ms }) => ms),
    1,
  );
}

async function measure({ url }: Target, { path, authorization }: MeasuredQuery): Promise<Measurement> {
  const began = performance.now();
  const response = await fetch(url + path, { headers: { authorization } });
  const text = await response.text();
  return { ms: performance.now() - began, status: response.status, text };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
