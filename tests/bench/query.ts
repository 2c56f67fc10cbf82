import { parseArgs } from 'node:util';
import type { Activity, Counts, EventTypes, Funnel, MetricNames, Series } from '../../src/responses.ts';
import { SECRET, startTarget, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import {
  assertSameFigures,
  DATA_RANGE,
  type Figures,
  fillFromDuckDb,
  LABELS,
  LAST_7_DAYS,
  LAST_30_DAYS,
  NAMES,
  openDuckDb,
  PLAIN,
  PREPARED,
  queryDuckDb,
  type Tables,
} from './duckdb.ts';
import { cpuSeconds, residentMegabytes } from './machine.ts';
import { printHeader } from './report.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:query -- [--rows 10000000] [--rounds 9] [--warm-up 100] [--export-rounds 1]
 *
 * Measures each query of the dashboard over HTTP, against DuckDB on the same rows in memory, alternately in one run.
 * Every result is compared with DuckDB's. DuckDB runs each query on two forms of its tables: plain, as they would be
 * loaded from a file, and prepared, with the advantages of rawlog's column store (duckdb.ts, which also describes the
 * data set). It uses its default number of threads, one per core; rawlog's query worker is one thread. rawlog also
 * returns totals and the remaining groups, which DuckDB is not asked for.
 *
 * Each query is measured twice: in its first calls, when the JavaScript engine has compiled little of what it runs, and
 * again after more calls to rawlog, as in a server that has been in use.
 *
 * Then measures exports of all metrics.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    rounds: { type: 'string', default: '9' },
    'warm-up': { type: 'string', default: '100' },
    'export-rounds': { type: 'string', default: '1' },
  },
});
const rows = Number(values.rows);
const rounds = Number(values.rounds);
const warmUp = Number(values['warm-up']);

printHeader('Queries: rawlog over HTTP against DuckDB in memory, on the same rows', 'none');
using folder = temporaryFolder();
const duck = await openDuckDb(rows);
await fillFromDuckDb(duck, rows, `${folder.path}/rawlog.db`);
const [[threads] = []] = (await duck.runAndReadAll("SELECT current_setting('threads')::INTEGER")).getRows();

const began = performance.now();
const target = await startTarget(
  { JWT_SECRET: SECRET, DATABASE_URL: `file:${folder.path}/rawlog.db`, QUERY_TIMEOUT: '60s' },
  { dataDir: folder.path },
);
process.on('exit', () => target.process.kill()); // if the benchmark fails
const bearer = await token({ role: 'admin', exp: Math.floor(Date.now() / 1000) + 86_400 });
while (!(await isComplete())) await Bun.sleep(100);
console.log(`column store of ${2 * rows} rows built in ${((performance.now() - began) / 1000).toFixed(0)} s`);

/** A query in both programs. */
interface Comparison {
  readonly label: string;
  readonly path: string;
  /** Returns the figures of rawlog's response. */
  readonly figures: (body: never) => Figures;
  readonly sql: (tables: Tables) => string;
  /** The number of columns in DuckDB's result that name a bucket or group. */
  readonly keys: number;
  /** Selects the figures to compare. Default: all. */
  readonly compared?: (figures: Figures) => Figures;
}

type Range = typeof DATA_RANGE;
const SECONDS = { '15m': 900, hour: 3_600, day: 86_400 } as const;
type Interval = keyof typeof SECONDS;

/** The most frequent name. */
const NAME = 'name-0';
const inRange = ({ from, to }: Range) => `from=${iso(from)}&to=${iso(to)}`;
const isPresent = ({ count }: { count: number }) => count > 0;
const microseconds = (time: string) => String(Temporal.Instant.from(time).epochNanoseconds / 1000n);

function series(label: string, range: Range, interval: Interval): Comparison {
  return {
    label: `series by ${interval}, ${label}`,
    path: `/api/metrics/series?name=${NAME}&${inRange(range)}&interval=${interval}`,
    figures: ({ buckets }: Series) =>
      new Map(
        buckets
          .filter(isPresent)
          .map((b) => [microseconds(b.start), [b.count, b.sum, b.avg, b.min, b.max, b.p50, b.p95, b.p99].map(Number)]),
      ),
    sql(tables) {
      const { key, start } = tables.bucket(SECONDS[interval]);
      return `SELECT * EXCLUDE q, q[1], q[2], q[3] FROM (
        SELECT ${start}, count(*), sum(value), avg(value), min(value), max(value), quantile_cont(value, [0.5, 0.95, 0.99]) q
        FROM ${tables.schema}.metrics WHERE name = '${NAME}' AND ${tables.during(range)} GROUP BY ${key})`;
    },
    keys: 1,
  };
}

/** Counts and unique users of the most frequent labels; with an interval, per bucket. */
function countsByLabel(label: string, top: number, interval?: Interval): Comparison {
  const bucketed = interval !== undefined && `&interval=${interval}`;
  return {
    label,
    path: `/api/analytics/counts?type=${NAME}&${inRange(LAST_30_DAYS)}&group_by=data_index&top=${top}${bucketed || ''}`,
    figures: ({ groups = [] }: Counts) =>
      new Map(
        groups.flatMap(({ data_index, buckets }) =>
          buckets
            .filter(isPresent)
            .map((b) => [
              interval === undefined ? String(data_index) : `${data_index} ${microseconds(b.start)}`,
              [b.count, b.unique_users],
            ]),
        ),
      ),
    sql(tables) {
      const { key, start } = interval === undefined ? {} : tables.bucket(SECONDS[interval]);
      const source = `${tables.schema}.events WHERE name = '${NAME}' AND ${tables.during(LAST_30_DAYS)}`;
      return `WITH top AS (SELECT label FROM ${source} GROUP BY label ORDER BY count(*) DESC, label LIMIT ${top})
        SELECT label::VARCHAR, ${start ? `${start},` : ''} count(*), count(DISTINCT user_id)
        FROM ${source} AND label IN (SELECT label FROM top) GROUP BY label${key ? `, ${key}` : ''}`;
    },
    keys: interval === undefined ? 1 : 2,
    compared: withoutLastPlace,
  };
}

/** Omits the labels that are in the last place by their count: of labels that tie for it, either may be returned. */
function withoutLastPlace(figures: Figures): Figures {
  const totals = new Map<string, number>();
  const labelOf = (key: string) => key.replace(/ .*/, '');
  for (const [key, [count = 0]] of figures) totals.set(labelOf(key), (totals.get(labelOf(key)) ?? 0) + count);
  const last = Math.min(...totals.values());
  return new Map([...figures].filter(([key]) => Number(totals.get(labelOf(key))) > last));
}

function names(label: string, path: string, table: 'metrics' | 'events'): Comparison {
  return {
    label,
    path,
    figures: (body: MetricNames | EventTypes) =>
      new Map(
        ('metrics' in body ? body.metrics : body.types.map(({ type, ...rest }) => ({ name: type, ...rest }))).map(
          ({ name, count, first_seen, last_seen }) => [
            name,
            [count, Number(microseconds(first_seen)), Number(microseconds(last_seen))],
          ],
        ),
      ),
    sql: ({ schema, microseconds }) =>
      `SELECT name::VARCHAR, count(*), ${microseconds('min(time)')}, ${microseconds('max(time)')}
       FROM ${schema}.${table} GROUP BY name`,
    keys: 1,
  };
}

/** Rows of both kinds by name and bucket. */
function activity(label: string, range: Range, interval: Interval): Comparison {
  return {
    label: `activity by ${interval}, ${label}`,
    path: `/api/activity?${inRange(range)}&interval=${interval}&top=${NAMES}`,
    figures: ({ starts, metrics, analytics }: Activity) =>
      new Map(
        [
          ...metrics.names.map(({ name, counts }) => ({ series: `metric ${name}`, counts })),
          ...analytics.types.map(({ type, counts }) => ({ series: `event ${type}`, counts })),
        ].flatMap(({ series, counts }) =>
          counts.flatMap((count, i) =>
            count > 0 ? [[`${series} ${microseconds(String(starts[i]))}`, [count]] as const] : [],
          ),
        ),
      ),
    sql(tables) {
      const { key, start } = tables.bucket(SECONDS[interval]);
      const parts = (['metric', 'event'] as const).map(
        (kind) => `SELECT '${kind}', name::VARCHAR, ${start}, count(*)
          FROM ${tables.schema}.${kind}s WHERE ${tables.during(range)} GROUP BY name, ${key}`,
      );
      return parts.join(' UNION ALL ');
    },
    keys: 3,
  };
}

/** A funnel over labels: for each step, the earliest event after the previous step. */
function funnel(steps: number): Comparison {
  const week = 7 * 86_400_000_000;
  const numbers = Array.from({ length: steps }, (_, i) => i + 1);
  return {
    label: `funnel of ${steps} steps, 30 days`,
    path: `/api/analytics/funnel?type=${NAME}&${inRange(LAST_30_DAYS)}&within=7d&${numbers.map((i) => `step=label-${i}`).join('&')}`,
    figures: (body: Funnel) => new Map([['users', body.steps.map(({ users }) => users)]]),
    sql(tables) {
      const parts = numbers.map((i) => {
        const step = `SELECT user_id, ${tables.microseconds('time')} t FROM ${tables.schema}.events
          WHERE name = '${NAME}' AND label = 'label-${i}' AND ${tables.during(LAST_30_DAYS)}`;
        if (i === 1) return `s1 AS (SELECT user_id, t AS t1 FROM (${step}))`;
        return `s${i} AS (SELECT s.user_id, s.t1, min(r.t) t${i} FROM s${i - 1} s JOIN (${step}) r
          ON r.user_id = s.user_id AND r.t > s.t${i - 1} AND r.t <= s.t1 + ${week} GROUP BY s.user_id, s.t1)`;
      });
      return `WITH ${parts.join(', ')} SELECT 'users', ${numbers.map((i) => `(SELECT count(DISTINCT user_id) FROM s${i})`).join(', ')}`;
    },
    keys: 1,
  };
}

const COMPARISONS: readonly Comparison[] = [
  series('30 days', LAST_30_DAYS, 'hour'),
  series('30 days', LAST_30_DAYS, 'day'),
  series('all time', DATA_RANGE, 'day'),
  countsByLabel('counts of the top 10 labels, 30 days', 10),
  countsByLabel('counts by label and day, 30 days', LABELS, 'day'),
  countsByLabel('unique users of the top 200 labels by day', 200, 'day'),
  countsByLabel('unique users of the top 10 labels by hour', 10, 'hour'),
  {
    label: 'unique users in total by quarter hour',
    path: `/api/analytics/counts?type=${NAME}&${inRange(LAST_30_DAYS)}&interval=15m`,
    figures: ({ buckets }: Counts) =>
      new Map(buckets.filter(isPresent).map((b) => [microseconds(b.start), [b.count, b.unique_users]])),
    sql(tables) {
      const { key, start } = tables.bucket(SECONDS['15m']);
      return `SELECT ${start}, count(*), count(DISTINCT user_id) FROM ${tables.schema}.events
        WHERE name = '${NAME}' AND ${tables.during(LAST_30_DAYS)} GROUP BY ${key}`;
    },
    keys: 1,
  },
  names('metric names', '/api/metrics', 'metrics'),
  names('event types', '/api/analytics', 'events'),
  activity('all time', DATA_RANGE, 'day'),
  activity('7 days', LAST_7_DAYS, 'hour'),
  funnel(5),
];

console.log(
  `${rows} metrics and ${rows} events; DuckDB with ${threads} threads; times in ms as median (min to max) of ${rounds} rounds, rawlog's in its first calls, and after ${warmUp} more`,
);
printRow('query', 'rawlog', 'DuckDB, plain', 'plain / rawlog', 'DuckDB, prepared', 'prepared / rawlog');
for (const comparison of COMPARISONS) {
  await get(comparison.path); // the first call reads the file
  printRow(`${comparison.label}: first calls`, ...(await measureRounds(comparison)));
  for (let call = 0; call < warmUp; call++) await get(comparison.path);
  printRow(`${comparison.label}: warm`, ...(await measureRounds(comparison)));
}
console.log(`resident memory of rawlog after the queries: ${residentMegabytes(target.process.pid).toFixed(0)} MB`);
for (let round = 0; round < Number(values['export-rounds']); round++)
  for (const format of ['ndjson', 'csv', 'parquet']) await exportAll(format);
await target.stop();
process.exit(0); // DuckDB's threads would keep the process alive

/** Measures a query in both programs, alternately. Returns the cells after the label. */
async function measureRounds({
  label,
  path,
  figures,
  sql,
  keys,
  compared = (all) => all,
}: Comparison): Promise<string[]> {
  const times: { ours: number; plain: number; prepared: number }[] = [];
  const measureDuckDb = async (tables: Tables, expected: Figures) => {
    const query = sql(tables);
    const from = performance.now();
    const result = await queryDuckDb(duck, query, keys);
    const ms = performance.now() - from;
    assertSameFigures(`${label}, ${tables.schema}`, compared(expected), compared(result));
    return ms;
  };
  for (let round = 0; round < rounds; round++) {
    const from = performance.now();
    const body = await get(path);
    const ours = performance.now() - from;
    const expected = figures(body as never); // each comparison reads the response of its own path
    const plain = await measureDuckDb(PLAIN, expected);
    const prepared = await measureDuckDb(PREPARED, expected);
    times.push({ ours, plain, prepared });
  }
  const all = (pick: (time: (typeof times)[number]) => number) => spread(times.map(pick), 1);
  return [
    all(({ ours }) => ours),
    all(({ plain }) => plain),
    all(({ ours, plain }) => plain / ours),
    all(({ prepared }) => prepared),
    all(({ ours, prepared }) => prepared / ours),
  ];
}

/** Prints a row as soon as it is measured, in columns of fixed width. */
function printRow(...cells: string[]): void {
  const widths = [56, 23, 25, 22, 25];
  console.log(`  ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' ')}`);
}

/** Exports all metrics. Prints the throughput and the highest resident memory sampled. */
async function exportAll(format: string): Promise<void> {
  const { pid } = target.process;
  const cpuBefore = cpuSeconds(pid);
  const from = performance.now();
  const response = await fetch(`${target.url}/api/export/metrics?format=${format}`, {
    headers: { authorization: `Bearer ${bearer}` },
  });
  let bytes = 0;
  let parts = 0;
  let peakMemory = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (parts++ % 100 === 0) peakMemory = Math.max(peakMemory, residentMegabytes(pid));
  }
  const seconds = (performance.now() - from) / 1000;
  const rate = rows / seconds / 1000;
  const cpuUs = ((cpuSeconds(pid) - cpuBefore) / rows) * 1e6;
  console.log(
    `export as ${format}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(1)} s, ${rate.toFixed(0)},000 rows per second, CPU time ${cpuUs.toFixed(1)} µs per row, resident memory at most ${peakMemory.toFixed(0)} MB`,
  );
}

/** Returns whether the column store has caught up with all rows. */
async function isComplete(): Promise<boolean> {
  const response = await fetch(`${target.url}/api/analytics`, { headers: { authorization: `Bearer ${bearer}` } });
  if (!response.ok) return false; // the ingest lag exceeds what one query may catch up
  const { types } = (await response.json()) as EventTypes;
  const isCaughtUp = response.headers.get('x-ingest-lag-rows') === null;
  return isCaughtUp && types.reduce((sum, { count }) => sum + count, 0) === rows;
}

async function get(path: string): Promise<unknown> {
  const response = await fetch(target.url + path, { headers: { authorization: `Bearer ${bearer}` } });
  if (response.status !== 200) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}

function iso(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString();
}
