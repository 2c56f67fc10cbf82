import { afterEach, beforeEach, expect, test } from 'bun:test';
import { closeSync, constants, openSync, statSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { type Alerts, createAlerts } from '../../src/alerts/alerts.ts';
import { parseSilenceRules, parseThresholds } from '../../src/formats/alert-rules.ts';
import { createLedger } from '../../src/ingest/ledger.ts';
import type { QueryCaller } from '../../src/query/caller.ts';
import type { QueryClient } from '../../src/query/client.ts';
import { temporaryFolder } from '../harness/target.ts';
import { startReceiver } from '../harness/webhook.ts';
import { type NewRow, TestDatabase } from '../query/test-database.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** The time of the newest row of {@link history}. */
const NEWEST = Date.UTC(2026, 5, 15, 12);

let folder: ReturnType<typeof temporaryFolder>;
let database: TestDatabase;
let receiver: ReturnType<typeof startReceiver>;
let clock: { ms: number };
let state: { isShort: boolean; lastBackupAt: number; thresholds: string; silence: string; lagSeconds: number };
/** How often scheduled backups have failed in a row. */
let backupFailures: () => number;
/** The names of the queries, and how long each takes. */
let queries: { names: string[]; ranMs: number };
let alerts: Alerts;

beforeEach(() => {
  folder = temporaryFolder();
  database = new TestDatabase();
  receiver = startReceiver();
  clock = { ms: NEWEST };
  state = { isShort: false, lastBackupAt: NEWEST, thresholds: '', silence: '', lagSeconds: 0 };
  backupFailures = () => 0;
  queries = { names: [], ranMs: 1 };
});
afterEach(async () => {
  await alerts.close();
  await receiver[Symbol.asyncDispose]();
  database.close();
  folder[Symbol.dispose]();
});

/** Starts alerts, as a server does. */
function start(): void {
  // the query engine in this thread, without the worker around it
  const run = (name: 'quiet', argument: never, { onFinished }: QueryCaller) => {
    const value = database.engine.queries[name](argument);
    onFinished?.({ waitedMs: 0, ranMs: queries.ranMs, value });
    return Promise.resolve({ value, lag: { rows: 0, seconds: state.lagSeconds } });
  };
  alerts = createAlerts({
    config: {
      databasePath: join(folder.path, 'rawlog.db'),
      minFreeBytes: 0,
      backupEverySeconds: 86_400,
      alertThresholds: state.thresholds === '' ? [] : parseThresholds(state.thresholds),
      alertSilence: state.silence === '' ? [] : parseSilenceRules(state.silence),
    },
    webhook: receiver.url,
    queries: {
      run: run as unknown as QueryClient['run'],
      health: () => ({ state: 'running', restarts: 0, isDamaged: false }),
    },
    onQuery: ({ name }) => queries.names.push(name),
    ledger: createLedger([]),
    freeSpace: { isShort: () => state.isShort },
    schedule: { lastAt: () => state.lastBackupAt, failures: () => backupFailures() },
    host: 'machine',
    now: () => clock.ms,
    monotonic: () => clock.ms,
    log: pino({ level: 'silent' }),
  });
}

/** Lets time pass, and returns the alerts that were received after it. */
async function after(ms: number): Promise<string[]> {
  clock.ms += ms;
  await alerts.tick();
  return receiver.take();
}

function row(name: string, user: string, ms: number, value = 1): NewRow {
  return { kind: 'metric', name, user, label: '', time: ms * 1000, value };
}

/** Returns rows of a metric every two hours for eight days, until {@link NEWEST}. */
function history(name: string, users: number): NewRow[] {
  return Array.from({ length: 97 }, (_, i) => row(name, `u${i % users}`, NEWEST - i * 2 * HOUR));
}

test('conditions of the server raise one alert each when they begin and when they end', async () => {
  start();
  expect(await after(0)).toEqual([]);
  state.isShort = true;
  expect(await after(10_000)).toEqual(['recording firing']);
  expect(await after(10_000)).toEqual([]);
  state.isShort = false;
  expect(await after(10_000)).toEqual([]);
  expect(await after(5 * MINUTE)).toEqual(['recording resolved']);
  expect(await after(2 * DAY)).toEqual(['backup firing']);
  state.lastBackupAt = clock.ms;
  expect(await after(10_000)).toEqual(['backup resolved']);
  expect([alerts.firing(), alerts.failures()]).toEqual([0, 0]);
});

test('a metric that crosses a threshold raises an alert, and one without rows', async () => {
  state.thresholds = 'ms:p95>100/15m,ms:sum<1/1h,type:signup:count<1/1h';
  start();
  await database.record(Array.from({ length: 20 }, (_, i) => row('ms', 'u', NEWEST - i * 1000, i < 3 ? 500 : 5)));
  state.lagSeconds = 61; // the column store lags behind: nothing is known
  expect(await after(1000)).toEqual([]);
  state.lagSeconds = 0;
  expect(await after(MINUTE)).toEqual(['threshold firing']);
  // the 15 minutes have passed at 12:15; it must not be crossed for another 15
  for (let minute = 2; minute < 30; minute++) expect(await after(MINUTE)).toEqual([]);
  expect(await after(3 * MINUTE)).toEqual(['threshold resolved']);
  clock.ms = NEWEST + HOUR + 2_000; // an hour after the start, too few rows mean something
  await alerts.tick();
  expect(receiver.state.messages.map(({ text }) => text)).toEqual([
    'Alert: rawlog on machine: The sum of the metric `ms` in the last 1 hour is 0, which is below 1.',
    'Alert: rawlog on machine: The number of events of the type `signup` in the last 1 hour is 0, which is below 1.',
  ]);
});

test('a name of 10 users that is silent for longer than before raises an alert, one of 9 users does not', async () => {
  await database.record([...history('ten <!here>', 10), ...history('nine', 9)]);
  start();
  expect(await after(3.2 * HOUR)).toEqual([]); // the longest gap is 2 h, and 15 min of rounding: times 1.5
  await alerts.tick();
  clock.ms += 0.4 * HOUR;
  await alerts.tick();
  expect(receiver.state.messages).toMatchObject([
    {
      alert: 'silence',
      text: 'Alert: rawlog on machine: The metric `ten &lt;!here&gt;` has been silent for 3 hours 36 minutes; expected at most 3 hours 22 minutes.',
      details: { kind: 'metric', name: 'ten &lt;!here&gt;', last_at: new Date(NEWEST).toISOString() },
    },
  ]);
  receiver.take();
  expect(await after(DAY)).toEqual(['silence firing']); // it lasts, and is repeated
  await database.record([row('ten <!here>', 'u1', clock.ms)]);
  expect(await after(MINUTE)).toEqual(['silence resolved']);
});

test('names that are not used any more are watched for a week, and those beyond ten alerts are counted', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `n${i}`);
  await database.record(names.flatMap((name) => history(name, 10)));
  start();
  await after(0);
  state.lastBackupAt = NEWEST + 60 * DAY;
  clock.ms += 4 * HOUR;
  await alerts.tick();
  expect(receiver.state.messages.map(({ details }) => details['names'] ?? 1)).toEqual([...Array(10).fill(1), 2]);
  receiver.take();
  expect(await after(6 * DAY)).toEqual(Array(11).fill('silence firing'));
  clock.ms += 23.5 * HOUR;
  await alerts.tick();
  expect(receiver.state.messages[0]?.summary).toEndWith('22 minutes. It is no longer watched until a row arrives.');
  expect(receiver.take()).toEqual(Array(11).fill('silence resolved'));
  expect([await after(DAY), alerts.firing()]).toEqual([[], 0]);
  await database.record(names.flatMap((name) => row(name, 'u1', clock.ms)));
  expect(await after(MINUTE)).toEqual([]);
  // the longest gap is now that of eight days: 12 days and an hour are within it, 13 days are not
  expect(await after(12 * DAY)).toEqual([]);
  expect(await after(DAY)).toEqual(Array(11).fill('silence firing'));
});

test('a name whose rows arrive in one burst a month raises no alert between them', async () => {
  const burst = (ms: number) => Array.from({ length: 20 }, (_, i) => row('monthly', `u${i}`, ms - i * 1000));
  await database.record([...burst(NEWEST - 31 * DAY), ...burst(NEWEST)]);
  start();
  await after(0);
  expect(await after(5 * HOUR)).toEqual([]);
});

test('configured names need neither users nor a past, and can be excluded', async () => {
  await database.record([...history('many', 12), row('beat', 'u', NEWEST)]);
  state.silence = 'metric:beat=10m,type:never=2h,metric:many=off';
  start();
  expect(await after(9 * MINUTE)).toEqual([]);
  expect(await after(2 * MINUTE)).toEqual(['silence firing']);
  expect(await after(2 * HOUR)).toEqual(['silence firing']);
  expect(await after(20 * HOUR)).toEqual([]);
  await database.record([row('beat', 'u', clock.ms)]);
  expect(await after(MINUTE)).toEqual(['silence resolved']);
});

test('a stopped server raises no alerts about silence when it starts again', async () => {
  await database.record(history('ten', 10));
  clock.ms += 6 * HOUR;
  start();
  expect([await after(0), await after(HOUR - 1), await after(MINUTE)]).toEqual([[], [], ['silence firing']]);
});

test('alerts survive a restart, and a receiver that fails', async () => {
  receiver.state.response = () => new Response('no', { status: 500 });
  start();
  state.isShort = true;
  expect(await after(0)).toEqual(['recording firing']);
  expect([await after(5_000), alerts.failures()]).toEqual([[], 1]); // it waits before it tries again
  await alerts.close();
  receiver.state.response = undefined;
  start();
  expect([await after(0), alerts.failures()]).toEqual([['recording firing'], 0]);
  const file = join(folder.path, 'rawlog.db.alerts');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await alerts.close();
  start();
  expect(await after(MINUTE)).toEqual([]);
  await alerts.close();
  writeFileSync(file, 'damaged');
  start();
  expect(await after(0)).toEqual(['recording firing']);
});

test('that the disk has failed is sent while the disk does not respond', async () => {
  start();
  expect(await after(0)).toEqual([]);
  // a pipe without a writer occupies each thread that could write
  const pipe = join(folder.path, 'pipe');
  Bun.spawnSync(['mkfifo', pipe]);
  const readers = Array.from({ length: 2 * availableParallelism() + 8 }, () => fs.open(pipe, 'r'));
  state.isShort = true;
  void alerts.tick(); // waits for the disk
  alerts.storageFailed();
  const { details } = await receiver.received(({ alert }) => alert === 'recording');
  expect(details).toEqual({ reason: 'storage_failed' });
  const writer = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  for (const reader of await Promise.all(readers)) await reader.close();
  closeSync(writer);
});

test('queries for alerts are reported, and made less often if they are slow', async () => {
  state.thresholds = 'ms:sum<1/1h';
  await database.record(history('ten', 10));
  start();
  await after(0);
  expect(queries.names.splice(0)).toEqual(['series', 'quiet']);
  queries.ranMs = 5_000;
  await after(2 * HOUR);
  expect(queries.names.splice(0)).toEqual(['series', 'quiet', 'arrivals']);
  await after(299_000);
  expect(queries.names.splice(0)).toEqual(['series']);
  await after(MINUTE);
  expect(queries.names).toEqual(['series', 'quiet']);
});

test('a condition that cannot be checked does not stop the others', async () => {
  backupFailures = () => {
    throw new Error('the folder is gone');
  };
  state.isShort = true;
  start();
  expect(await after(0)).toEqual(['recording firing']);
  void alerts.tick();
  await alerts.tick(); // while the other is in progress
  alerts.storageFailed();
});

test('closing does not wait for a receiver that does not respond', async () => {
  const reached = Promise.withResolvers<void>();
  const canceled = Promise.withResolvers<Response>();
  receiver.state.response = ({ signal }) => {
    reached.resolve();
    signal.addEventListener('abort', () => canceled.resolve(new Response()));
    return canceled.promise;
  };
  start();
  state.isShort = true;
  void alerts.tick();
  await reached.promise;
  await alerts.close();
  await canceled.promise;
  receiver.take();
  expect(await after(HOUR)).toEqual([]); // nothing more is checked or sent
}, 8_000); // less than the timeout of the request
