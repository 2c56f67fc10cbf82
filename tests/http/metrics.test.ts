import { afterEach, expect, test } from 'bun:test';
import { ANALYTICS, METRIC, post, rows, send } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
afterEach(() => target.stop());

/** Returns the samples of /metrics: values by name with labels. */
async function scrape(): Promise<Map<string, number>> {
  const { status, text, headers } = await send(`${target.url}/metrics`, {
    headers: { authorization: `Bearer ${await token({ role: 'admin' })}` },
  });
  expect(status).toBe(200);
  expect(headers.get('content-type')).toStartWith('text/plain; version=0.0.4');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

/** Reads the ledger from the samples and checks that it balances. */
async function ledger() {
  const samples = await scrape();
  const rejected: Record<string, number> = {};
  for (const [name, value] of samples) {
    const code = /^rawlog_items_rejected_total\{code="(.*)"\}$/.exec(name)?.[1];
    if (code) rejected[code] = value;
  }
  const total = (name: string) => samples.get(`rawlog_items_${name}_total`) ?? Number.NaN;
  const counts = { received: total('received'), stored: total('stored'), duplicates: total('duplicate'), rejected };
  const sum = Object.values(rejected).reduce((a, b) => a + b, 0);
  expect(counts.received).toBe(counts.stored + counts.duplicates + sum);
  return counts;
}

const storedRows = () => rows(target, 'metrics').length + rows(target, 'analytics').length;

test('counts every item once: as stored, duplicate, or rejected by code', async () => {
  target = await startTarget(UNLIMITED);
  const key = { 'idempotency-key': 'k' };
  await post(target, '/log_raw_metric', METRIC);
  await post(target, '/log_batch', { metrics: [METRIC, METRIC], analytics: [ANALYTICS] }, key);
  await post(target, '/log_batch', { metrics: [METRIC, METRIC], analytics: [ANALYTICS] }, key);
  await post(target, '/log_batch', { metrics: [METRIC, { ...METRIC, metric_value: 'x' }] });
  await post(target, '/log_batch', { metrics: [METRIC] }, key);
  await post(target, '/log_raw_metric', { ...METRIC, metric_value: null });
  await post(target, '/log_raw_metric', '{');
  await post(target, '/log_raw_analytics', ANALYTICS, { authorization: '' });
  await post(target, '/nothing', METRIC);
  await send(`${target.url}/log_raw_metric`);
  expect(await ledger()).toEqual({
    received: 13,
    stored: 4,
    duplicates: 3,
    rejected: { validation_failed: 3, idempotency_mismatch: 1, invalid_json: 1, unauthorized: 1 },
  });
});

test('balances at every moment under load, and counts stored rows correctly after a kill', async () => {
  using folder = temporaryFolder();
  target = await startTarget(UNLIMITED, { dataDir: folder.path });
  let isRunning = true;
  const client = async (i: number) => {
    while (isRunning) {
      const body = i % 3 === 0 ? { ...METRIC, metric_value: 'x' } : METRIC;
      await post(target, '/log_raw_metric', body, { 'idempotency-key': `key-${i % 5}` }).catch(() => {});
      await post(target, '/log_batch', { metrics: Array(i + 1).fill(METRIC) }).catch(() => {});
    }
  };
  const clients = Array.from({ length: 12 }, (_, i) => client(i));
  for (let i = 0; i < 50; i++) await ledger();
  target.process.kill('SIGKILL');
  isRunning = false;
  await Promise.all(clients);
  await target.stop();
  target = await startTarget(UNLIMITED, { dataDir: folder.path });
  const { stored } = await ledger();
  expect(stored).toBe(storedRows());
  expect(stored).toBeGreaterThan(0);
});

test('keeps all counts across a graceful restart', async () => {
  using folder = temporaryFolder();
  target = await startTarget(UNLIMITED, { dataDir: folder.path });
  await post(target, '/log_raw_metric', METRIC);
  await post(target, '/log_raw_metric', '{');
  const before = await ledger();
  await target.stop();
  target = await startTarget(UNLIMITED, { dataDir: folder.path });
  expect(await ledger()).toEqual(before);
});

test('measures requests, commits, sizes and the process', async () => {
  target = await startTarget(UNLIMITED);
  for (let i = 0; i < 3; i++) await post(target, '/log_raw_metric', METRIC);
  await post(target, '/log_raw_metric', '{');
  await send(`${target.url}/made-up-${Math.random()}`);
  const samples = await scrape();
  const requests = (route: string, status: number, method = 'POST') =>
    samples.get(`http_request_duration_seconds_count{method="${method}",route="${route}",status="${status}"}`);
  expect(requests('/log_raw_metric', 200)).toBe(3);
  expect(requests('/log_raw_metric', 400)).toBe(1);
  expect(requests('unmatched', 404, 'GET')).toBe(1);
  expect(samples.get('rawlog_commit_rows_sum')).toBe(3);
  expect(samples.get('rawlog_fsync_duration_seconds_count')).toBeGreaterThan(2);
  expect(samples.get('rawlog_queue_rows')).toBe(0);
  expect(samples.get('rawlog_database_size_bytes')).toBeGreaterThan(0);
  expect(samples.get('rawlog_wal_size_bytes')).toBeGreaterThan(0);
  for (const name of [
    'process_resident_memory_bytes',
    'process_cpu_seconds_total',
    'nodejs_eventloop_lag_p99_seconds',
  ]) {
    expect(samples.has(name)).toBe(true);
  }
});
