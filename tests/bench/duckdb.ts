import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { createIdSource } from '../../src/ingest/ids.ts';
import { openStorage } from '../../src/storage/database.ts';
import { formOf } from '../../src/storage/row-form.ts';

/*
 * The data set of the query benchmark, and its tables in DuckDB and rawlog.
 *
 * There are as many metrics as events, evenly spread over 90 days, with 20 names, 300 labels and 5,000 users. All three
 * are skewed: the one of rank r, counted from 0, is drawn with floor(n * u²), where u is uniform between 0 and 1. So the
 * most frequent name has 22 % of the rows, the most frequent label 6 %, and the most frequent user 1.4 %. Values are
 * 1,000 * u³ with three decimals: most are small, and a few are large.
 */

const DAY_US = 86_400_000_000;
/** The first microsecond of the data set, and the one after its last. */
export const DATA_RANGE = { from: Date.UTC(2026, 0, 1) * 1000, to: Date.UTC(2026, 3, 1) * 1000 };
/** The last 30 and 7 days of the data set. */
export const LAST_30_DAYS = { from: DATA_RANGE.to - 30 * DAY_US, to: DATA_RANGE.to };
export const LAST_7_DAYS = { from: DATA_RANGE.to - 7 * DAY_US, to: DATA_RANGE.to };
export const NAMES = 20;
export const LABELS = 300;
const USERS = 5_000;
const FILL_ROWS = 10_000;

/** SQL for a number from 0 to 1 that depends only on the row number `i` and a seed. */
const uniform = (seed: number) => `((hash(i + ${seed}) >> 11) / 9007199254740992.0)`;
const rank = (count: number, seed: number) => `floor(${count} * ${uniform(seed)} ** 2)::INTEGER`;

/** Returns a SELECT that generates the rows of a kind from `start` to before `end`, of `rows` in total. */
function generate(kind: 'metric' | 'event', rows: number, start: number, end: number): string {
  const seed = kind === 'metric' ? 1_000_000_007 : 2_000_000_011;
  const step = (DATA_RANGE.to - DATA_RANGE.from) / rows;
  return `SELECT i, ${DATA_RANGE.from} + floor(i * ${step}::DOUBLE)::BIGINT AS time, 'name-' || ${rank(NAMES, seed)} AS name,
    'label-' || ${rank(LABELS, 2 * seed)} AS label, 'user-' || ${rank(USERS, 3 * seed)} AS user_id,
    round(1000 * ${uniform(4 * seed)} ** 3, 3)::DOUBLE AS value FROM range(${start}, ${end}) t(i)`;
}

/** How DuckDB stores the rows, and the SQL that depends on it. */
export interface Tables {
  /** The schema of its tables `metrics` and `events`. */
  readonly schema: 'plain' | 'prepared';
  /** Returns the condition that a row's time is in a range, in microseconds since 1970. */
  during(range: { readonly from: number; readonly to: number }): string;
  /** Returns the expression of a row's bucket, and its start in microseconds since 1970. */
  bucket(seconds: number): { readonly key: string; readonly start: string };
  /** Returns the expression of a row's time, or an aggregate of it, in microseconds since 1970. */
  microseconds(expression: string): string;
}

/** Rows as they would be loaded from a file: in the order of time, with texts and timestamps. */
export const PLAIN: Tables = {
  schema: 'plain',
  during: ({ from, to }) => `time >= make_timestamp(${from}) AND time < make_timestamp(${to})`,
  bucket(seconds) {
    const unit = { 3600: 'hour', 86400: 'day' }[seconds];
    const key = unit ? `date_trunc('${unit}', time)` : `time_bucket(INTERVAL '${seconds} seconds', time)`;
    return { key, start: `epoch_us(${key})` };
  },
  microseconds: (expression) => `epoch_us(${expression})`,
};

/**
 * Rows prepared for these queries as rawlog's column store is: sorted by name and time, with an integer for each text
 * (ENUM types) and times as integers.
 */
export const PREPARED: Tables = {
  schema: 'prepared',
  during: ({ from, to }) => `time >= ${from} AND time < ${to}`,
  bucket(seconds) {
    const key = `time // ${seconds * 1_000_000}`;
    return { key, start: `${key} * ${seconds * 1_000_000}` };
  },
  microseconds: (expression) => expression,
};

/** Opens DuckDB in memory, with its default number of threads, and creates both forms of the tables. */
export async function openDuckDb(rows: number): Promise<DuckDBConnection> {
  const duck = await (await DuckDBInstance.create(':memory:')).connect();
  await duck.run('CREATE SCHEMA plain; CREATE SCHEMA prepared;');
  for (const [kind, table] of [
    ['metric', 'metrics'],
    ['event', 'events'],
  ] as const) {
    await duck.run(`CREATE TABLE plain.${table} AS SELECT make_timestamp(time) AS time, name, label, user_id, value
      FROM (${generate(kind, rows, 0, rows)})`);
    for (const column of ['name', 'label', 'user_id']) {
      await duck.run(
        `CREATE TYPE ${table}_${column} AS ENUM (SELECT DISTINCT ${column} FROM plain.${table} ORDER BY 1)`,
      );
    }
    await duck.run(`CREATE TABLE prepared.${table} AS SELECT epoch_us(time) AS time, name::${table}_name AS name,
      label::${table}_label AS label, user_id::${table}_user_id AS user_id, value FROM plain.${table} ORDER BY name, time`);
  }
  return duck;
}

/** Stores the same rows in a new database of rawlog. They are received at their time, to the millisecond. */
export async function fillFromDuckDb(duck: DuckDBConnection, rows: number, path: string): Promise<void> {
  const { client, close } = openStorage(path);
  client.run('PRAGMA synchronous = OFF');
  const columns = '(?, ?, ?, ?, ?, ?, ?, ?)';
  const metric = client.prepare(`INSERT INTO metrics VALUES ${columns}`);
  const event = client.prepare(`INSERT INTO analytics VALUES ${columns}`);
  let clock = DATA_RANGE.from / 1000;
  const nextId = createIdSource(() => clock, 0);
  for (let start = 0; start < rows; start += FILL_ROWS) {
    const end = Math.min(start + FILL_ROWS, rows);
    const [metrics = [], events = []] = await Promise.all(
      (['metric', 'event'] as const).map(async (kind) => {
        const part = await duck.runAndReadAll(
          `SELECT time::DOUBLE, name, label, user_id, value FROM (${generate(kind, rows, start, end)}) ORDER BY i`,
        );
        return part.getRows() as [number, string, string, string, number][]; // the types of the selected columns
      }),
    );
    client.run('BEGIN');
    metrics.forEach(([time, name, label, userId, value], i) => {
      clock = Math.floor(time / 1000);
      const times = { happenedAt: time, receivedAt: clock * 1000 };
      const [first, second] = [nextId(), nextId()];
      const ofMetric = formOf({ ...first, ...times });
      metric.run(first.seq, ofMetric.id, userId, ofMetric.happenedAt, ofMetric.receivedAt, name, value, label);
      const [, type, dataIndex, eventUser] = events[i] as (typeof events)[number];
      const { id, happenedAt, receivedAt } = formOf({ ...second, ...times });
      event.run(second.seq, id, eventUser, happenedAt, receivedAt, type, dataIndex, '{}');
    });
    client.run('COMMIT');
  }
  close();
}

/** The figures of a result, by their bucket or group. */
export type Figures = ReadonlyMap<string, readonly number[]>;

/**
 * Runs a query.
 *
 * @param keys the number of columns, the first ones, that name the bucket or group of a row
 */
export async function queryDuckDb(duck: DuckDBConnection, sql: string, keys: number): Promise<Figures> {
  const reader = await duck.runAndReadAll(sql);
  return new Map(reader.getRows().map((row) => [row.slice(0, keys).join(' '), row.slice(keys).map(Number)]));
}

/**
 * Checks that two results are the same: the same buckets and groups, and figures within 1e-9 of each other, because
 * DuckDB rounds each addition. That is less than one for all counts.
 */
export function assertSameFigures(label: string, ours: Figures, theirs: Figures): void {
  if (ours.size === 0) throw new Error(`${label}: the result is empty`);
  if (ours.size !== theirs.size) throw new Error(`${label}: ${ours.size} rows instead of ${theirs.size}`);
  for (const [key, figures] of ours) {
    const expected = theirs.get(key) ?? [];
    const isSame =
      figures.length === expected.length && figures.every((figure, i) => isClose(figure, Number(expected[i])));
    if (!isSame) throw new Error(`${label}, ${key}: ${figures.join(', ')} instead of ${expected.join(', ')}`);
  }
}

function isClose(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));
}
