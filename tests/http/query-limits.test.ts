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

test('a query with more buckets than anyone can look at is refused, and the next one is answered', async () => {
  const response = await get('/api/metrics/series?name=page_load_time&interval=minute');
  expectError(response, 422, 'query_too_large');
  expect(response.body.detail).toEqual([
    {
      loc: ['query', 'interval'],
      msg: 'Value error, the range has more than 10000 intervals',
      type: 'query_too_large',
    },
  ]);
  expect((await get('/api/metrics/series?name=page_load_time&interval=year')).status).toBe(200);
});

test('two hundred queries at once wait for one another, and all are answered', async () => {
  const responses = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      get(i % 2 === 0 ? '/api/metrics' : '/api/analytics/counts?type=tutorial_step'),
    ),
  );
  expect(responses.map(({ status }) => status)).toEqual(Array(200).fill(200));
});

test('more than can wait are refused with a word on when to come again', async () => {
  const responses = await Promise.all(Array.from({ length: 600 }, () => get('/api/metrics')));
  const refused = responses.filter(({ status }) => status !== 200);
  expect(refused.length).toBeLessThan(600);
  for (const response of refused) {
    expectError(response, 503, 'queries_overloaded');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  }
  expect((await get('/api/metrics')).status).toBe(200);
});

test('what was answered with 200 is in the very next answer', async () => {
  for (let i = 2; i < 12; i++) {
    expect((await get('/api/metrics')).body.metrics[0].count).toBe(i);
    await post(target, '/log_raw_metric', METRIC);
  }
});

test('reading does not keep the write-ahead log from being used again', async () => {
  const responses: Promise<unknown>[] = [];
  const filler = { ...ANALYTICS, data: { filler: 'x'.repeat(1000) } };
  for (let i = 0; i < 60; i++) {
    responses.push(get('/api/analytics/counts?type=tutorial_step&interval=day'));
    await post(target, '/log_batch', { analytics: Array(500).fill(filler) });
  }
  await Promise.all(responses);
  // thirty megabytes were written; a log is used again from about four on
  expect(statSync(`${target.databasePath}-wal`).size).toBeLessThan(16 * 1024 * 1024);
}, 60_000);

test('while another process holds the database, queries are answered all the same', async () => {
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
