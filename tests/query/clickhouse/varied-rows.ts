import { expect } from 'bun:test';
import { parseTimestamp } from '../../../src/formats/timestamp.ts';
import { seqOfId } from '../../../src/storage/record-id.ts';
import { post } from '../../harness/client.ts';
import { randomNumbers } from '../../harness/random.ts';
import type { Target } from '../../harness/target.ts';
import { token } from '../../harness/tokens.ts';

/*
 * Rows that differ in everything that a query engine can get wrong, recorded in the embedded engine and inserted into
 * ClickHouse, and the queries that compare both.
 */

export const USERS = ['user-one', 'user-two', "o'brien\\", 'ü😀', 'z'.repeat(200), 'user-six'] as const;
const LABELS = ['a', "it's", 'b\\n', 'tab\tx', '😀', 'A', '%', '_', '\u0000nul', 'long'.repeat(50)];
const NAMES = ['load', "na'me", 'x\\', '\u{1F600}', '\uFFFD', 'rare'];
const TYPES = ['click', 'view', "ty'pe:x", ''];
const DATA = [
  {},
  { plan: 'pro', n: 1.5 },
  { plan: null, n: 2 },
  { plan: 3, n: '4' },
  { plan: true, a: { b: { c: 'x' } } },
  { plan: 'pro', n: 1e300 },
  { plan: '3', 'q"\\é': [1] },
  { plan: -0, n: 1e-300 },
  { 'a.b': 'dot', n: 0.1, plan: "o'x" },
];
/** The hour that Berlin skips is after this time, and many rows are at it. */
const TIED = '2026-03-29T01:00:00Z';
const FIRST_DAY = Date.UTC(2026, 2, 20);
const DAYS = 20;

/** Creates the functions that choose a number below 1, an element (early ones more often), a time and a value. */
function choices(seed: number) {
  const random = randomNumbers(seed);
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random() ** 2 * items.length)] as Item;
  const time = () => {
    if (random() < 0.2) return TIED;
    const milliseconds = new Date(FIRST_DAY + Math.floor(random() * DAYS * 86_400_000)).toISOString();
    return milliseconds.replace('Z', `${String(Math.floor(random() * 1000)).padStart(3, '0')}Z`);
  };
  const value = () =>
    pick([
      () => random() * 1e3 + 0.1,
      () => -random() * 1e3,
      () => Math.round(random() * 10),
      () => random() * 1e300,
      () => 5e-324,
      () => -0,
      () => Number.MAX_VALUE,
      () => -Number.MAX_VALUE,
    ])();
  return { random, pick, time, value };
}

/** Records rows of several users. */
export async function recordVariedRows(target: Target, rows: number): Promise<void> {
  const { random, pick, time, value } = choices(11);
  const authorization = `Bearer ${await token({ sub: 'seeder', role: 'admin' })}`;
  for (let done = 0; done < rows; done += 250) {
    const metrics = Array.from({ length: 250 }, () => ({
      metric_name: pick(NAMES),
      metric_value: value(),
      ...(random() < 0.9 && { data_string: pick(LABELS) }),
      timestamp: time(),
      user_id: pick(USERS),
    }));
    const analytics = Array.from({ length: 250 }, () => ({
      type: pick(TYPES),
      data_index: pick(['', ...LABELS]),
      data: pick(DATA),
      timestamp: time(),
      user_id: pick(USERS),
    }));
    const response = await post(target, '/log_batch', { metrics, analytics }, { authorization });
    expect(response.status).toBe(200);
  }
}

/** Runs a statement that returns nothing. */
type RunStatement = (statement: string) => Promise<unknown>;

const STAMPS = 'seq UInt64, id String, node String, user_id String, happened_at Int64, received_at Int64';
const TABLES = {
  metrics: { columns: 'metric_name String, metric_value Float64, data_string String', name: 'metric_name' },
  analytics: { columns: 'type String, data_index String, data String', name: 'type' },
} as const;

/** Creates the database `rawlog` with the tables that rows are forwarded to. */
export async function createTables(run: RunStatement): Promise<void> {
  await run('CREATE DATABASE IF NOT EXISTS rawlog');
  for (const [kind, { columns, name }] of Object.entries(TABLES)) {
    await run(`CREATE TABLE rawlog.rawlog_${kind} (${STAMPS}, ${columns}) ENGINE = ReplacingMergeTree
      PARTITION BY toYYYYMM(toDateTime(intDiv(received_at, 1000000))) ORDER BY (${name}, happened_at, id)`);
  }
}

const text = (value: string) => `unhex('${Buffer.from(value).toString('hex')}')`;
/** 18.16 parses decimal numbers with an error of a few units in the last place. */
const double = (value: number) =>
  `reinterpretAsFloat64(unhex('${Buffer.from(Float64Array.of(value).buffer).toString('hex')}'))`;

/** Returns the values of a record, as exported, for an INSERT. */
function valuesOf(line: string, node: string): string {
  const record = JSON.parse(line);
  const times = [record.timestamp, record.received_at].map((time) => parseTimestamp(time));
  const stamps = [seqOfId(record.id), text(record.id), text(node), text(record.user_id), ...times];
  const fields =
    record.metric_name === undefined
      ? [text(record.type), text(record.data_index), text(JSON.stringify(record.data))]
      : [text(record.metric_name), double(record.metric_value), text(record.data_string)];
  return `(${[...stamps, ...fields].join(',')})`;
}

/** A configuration with a cluster of two shards that are databases of one server, for {@link createShardedTables}. */
export function shardsConfig(tcpPort: number): string {
  const shard = (database: string) =>
    `<shard><replica><host>127.0.0.1</host><port>${tcpPort}</port><default_database>${database}</default_database></replica></shard>`;
  return `<remote_servers><fleet>${shard('shard_1')}${shard('shard_2')}</fleet></remote_servers>`;
}

/** Creates the database `rawlog` with tables that are sharded by user. */
export async function createShardedTables(run: RunStatement): Promise<void> {
  for (const database of ['rawlog', 'shard_1', 'shard_2']) await run(`CREATE DATABASE ${database}`);
  for (const [kind, { columns, name }] of Object.entries(TABLES)) {
    for (const shard of ['shard_1', 'shard_2']) {
      await run(`CREATE TABLE ${shard}.rawlog_${kind}_local (${STAMPS}, ${columns}) ENGINE = ReplacingMergeTree
        PARTITION BY toYYYYMM(toDateTime(intDiv(received_at, 1000000))) ORDER BY (${name}, happened_at, id)`);
    }
    await run(`CREATE TABLE rawlog.rawlog_${kind} (${STAMPS}, ${columns})
      ENGINE = Distributed(fleet, '', rawlog_${kind}_local, cityHash64(user_id))`);
  }
}

/** Inserts all records of a server into ClickHouse, and some of them again in other blocks. */
export async function copyRows(target: Target, run: RunStatement, node = 'node-1'): Promise<void> {
  const authorization = `Bearer ${await token({ sub: 'root', role: 'admin' })}`;
  for (const kind of ['metrics', 'analytics'] as const) {
    const response = await fetch(`${target.url}/api/export/${kind}`, { headers: { authorization } });
    const rows = (await response.text())
      .trim()
      .split('\n')
      .map((line) => valuesOf(line, node));
    const insert = (from: number, to: number) =>
      run(`INSERT INTO rawlog.rawlog_${kind} VALUES ${rows.slice(from, to).join(',')}`);
    for (let at = 0; at < rows.length; at += 500) await insert(at, at + 500);
    await insert(100, 400);
  }
}

const query = (parameters: Record<string, string | readonly string[]>) =>
  Object.entries(parameters)
    .flatMap(([name, values]) =>
      [values].flat().map((value) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`),
    )
    .join('&');

const RANGES = [
  {},
  { from: '2026-03-28T23:30:00.000001Z' },
  { to: '2026-03-29T01:00:00.000001Z' },
  { from: '2026-03-25T00:00:00Z', to: '2026-03-31T00:00:00Z' },
  { from: '2026-04-25T00:00:00Z' },
  { from: '2026-03-25T00:00:00Z', to: '2026-03-25T00:00:00Z' },
];
const BUCKETS = [
  {},
  { interval: 'hour' },
  { interval: 'day', tz: 'Europe/Berlin' },
  { interval: 'day', tz: 'America/New_York' },
  { interval: '30m', tz: 'Australia/Lord_Howe' },
  { interval: 'week', week_start: 'sunday', tz: 'Asia/Kathmandu' },
  { interval: 'month', tz: 'Pacific/Apia' },
  { interval: '6h', tz: 'Europe/Berlin' },
  { interval: '2w' },
  { interval: 'year' },
];
const METRIC_FILTERS = [
  {},
  { group_by: 'data_string', top: '2' },
  { user_id: USERS[2] },
  { data_string: ["it's", 'a'] },
  { group_by: 'data_string', top: '1000', 'data_string!': 'a' },
  { 'data_string~': ['\\', '%'] },
];
const EVENT_FILTERS = [
  {},
  { group_by: 'data_index', top: '3' },
  { group_by: 'data_index', user_id: USERS[0] },
  { data_index: ['\u0000nul', ''] },
  { group_by: 'data.plan' },
  { group_by: 'data.plan', sum: 'data.n', top: '2' },
  { sum: 'data.n', 'data.plan': '3' },
  { 'data.plan!': 'pro', group_by: 'data_index', top: '2' },
  { group_by: 'data.a\\.b', 'data_index~': 'a' },
  { 'data.a.b.c': 'x', user_id: USERS[1] },
];
const STEP_FILTERS = [{}, { user_id: USERS[0] }, { 'data.plan': 'pro' }, { 'data_index!': 'a' }];
const FUNNELS = [
  { type: 'click', step: ['', 'a', "it's"] },
  { step: ['click', 'view', 'click:a', "ty'pe\\:x:a"], within: '30d' },
  { step: ['click', 'click', 'view'], within: '1h' },
  { step: ['nosuch', 'view'] },
];
const COHORTS = [
  { type: 'click', step: 'a', tz: 'Europe/Berlin' },
  { step: 'click', return_step: 'view:a', period: 'week', periods: '3' },
  { step: "view:it's", period: 'month', periods: '2', tz: 'America/New_York' },
  { step: 'view', period: 'day', days: '30' },
];

/** Returns queries of every route: every combination of their parameters, or a random sample of them. */
export function variedQueries(count: number): string[] {
  const { pick, random } = choices(5);
  const all: string[] = [
    '/api/metrics?',
    '/api/analytics?',
    `/api/metrics?${query({ user_id: USERS[2] })}`,
    '/api/analytics?user_id=nobody',
  ];
  const add = (path: string, ...parameters: Record<string, string | readonly string[]>[]) =>
    all.push(`${path}?${query(Object.assign({}, ...parameters))}`);
  for (const range of RANGES) {
    for (const buckets of BUCKETS) {
      for (const top of [{}, { top: '1' }, { user_id: USERS[3] }]) {
        for (const users of [{}, { unique_users: 'true' }]) add('/api/activity', buckets, range, top, users);
      }
      for (const filter of METRIC_FILTERS) add('/api/metrics/series', { name: pick(NAMES) }, buckets, range, filter);
      for (const filter of EVENT_FILTERS)
        add('/api/analytics/counts', { type: pick([...TYPES, 'nosuch']) }, buckets, range, filter);
    }
    for (const filter of STEP_FILTERS) {
      for (const funnel of FUNNELS) add('/api/analytics/funnel', funnel, range, filter);
      for (const cohorts of COHORTS) add('/api/analytics/retention', cohorts, range, filter);
    }
  }
  while (all.length > count) all.splice(Math.floor(random() * all.length), 1);
  return all;
}
