import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { ANALYTICS, expectError, METRIC, post, send } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let headers: Record<string, string>;
beforeAll(async () => {
  target = await startTarget();
  headers = { authorization: `Bearer ${await token()}` };
  await post(target, '/log_raw_metric', { ...METRIC, timestamp: '2020-01-01T00:00:00Z' });
  await post(target, '/log_raw_metric', METRIC);
  await post(target, '/log_raw_analytics', ANALYTICS);
});
afterAll(() => target.stop());

const get = (address: string) => send(target.url + address, { headers });

test('rejects a query with too many buckets and serves the next one', async () => {
  const response = await get('/api/metrics/series?name=page_load_time&interval=minute');
  expectError(response, 422, 'query_too_large');
  expect(response.body.detail).toEqual([
    {
      loc: ['query', 'interval'],
      msg: 'Value error, the range has more than 10000 buckets',
      type: 'query_too_large',
    },
  ]);
  expect((await get('/api/metrics/series?name=page_load_time&interval=year')).status).toBe(200);
});

test('completes two hundred concurrent queries', async () => {
  const responses = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      get(i % 2 === 0 ? '/api/metrics' : '/api/analytics/counts?type=tutorial_step'),
    ),
  );
  expect(responses.map(({ status }) => status)).toEqual(Array(200).fill(200));
});

test('rejects queries beyond the capacity of the queue with 503 and Retry-After', async () => {
  const responses = await Promise.all(Array.from({ length: 600 }, () => get('/api/metrics')));
  const rejected = responses.filter(({ status }) => status !== 200);
  expect(rejected.length).toBeLessThan(600);
  for (const response of rejected) {
    expectError(response, 503, 'queries_overloaded');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  }
  expect((await get('/api/metrics')).status).toBe(200);
});

test('includes every acknowledged row in the next query', async () => {
  for (let i = 2; i < 12; i++) {
    expect((await get('/api/metrics')).body.metrics[0].count).toBe(i);
    await post(target, '/log_raw_metric', METRIC);
  }
});

test('reuses the write-ahead log while queries are running', async () => {
  const responses: Promise<unknown>[] = [];
  const filler = { ...ANALYTICS, data: { filler: 'x'.repeat(1000) } };
  for (let i = 0; i < 60; i++) {
    responses.push(get('/api/analytics/counts?type=tutorial_step&interval=day'));
    await post(target, '/log_batch', { analytics: Array(500).fill(filler) });
  }
  await Promise.all(responses);
  // 30 MB were written; the log is reused from about 4 MB on
  expect(statSync(`${target.databasePath}-wal`).size).toBeLessThan(16 * 1024 * 1024);
}, 60_000);

test('serves queries while another process locks the database', async () => {
  const other = new Database(target.databasePath);
  try {
    other.run('PRAGMA busy_timeout = 5000');
    other.run('BEGIN IMMEDIATE');
    expect((await get('/api/metrics')).status).toBe(200);
    other.run('ROLLBACK');
  } finally {
    other.close();
  }
});
