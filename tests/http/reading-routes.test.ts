import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { expectError, METRIC, post, send } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let headers: Record<string, string>;

beforeAll(async () => {
  target = await startTarget();
  headers = { authorization: `Bearer ${await token()}` };
  const at = (timestamp: string, metric_value: number, data_string = '/a') => ({
    metric_name: 'load',
    metric_value,
    data_string,
    timestamp,
  });
  // around the spring change of Berlin's clocks, 2026-03-29 at 01:00 UTC
  await post(target, '/log_batch', {
    metrics: [
      at('2026-03-28T22:59:59.999999Z', 1),
      at('2026-03-28T23:00:00Z', 2),
      at('2026-03-29T21:59:59.999999Z', 4, '/b'),
      at('2026-03-29T22:00:00Z', 8, '/c'),
    ],
  });
  const step = (data_index: string, timestamp: string) => ({ type: 'tour', data: {}, data_index, timestamp });
  await post(target, '/log_batch', {
    analytics: [
      step('one', '2026-03-01T00:00:00Z'),
      step('two', '2026-03-01T00:00:30Z'),
      step('two', '2026-03-03T00:00:00Z'),
    ],
  });
  const admin = await token({ sub: 'user-2' });
  await post(
    target,
    '/log_batch',
    { analytics: [step('one', '2026-03-02T00:00:00Z')] },
    { authorization: `Bearer ${admin}` },
  );
});
afterAll(() => target.stop());

const ask = (address: string, asking = headers) => send(target.url + address, { headers: asking });

test('a series by day follows the local calendar, and has its empty buckets', async () => {
  const { body } = await ask('/api/metrics/series?name=load&interval=day&tz=Europe/Berlin&to=2026-04-01T00:00:00Z');
  expect(body).toMatchObject({ name: 'load', tz: 'Europe/Berlin', from: '2026-03-28T23:59:59.999999+01:00' });
  expect(body.buckets.map(({ start, count, sum }: Record<string, unknown>) => [start, count, sum])).toEqual([
    ['2026-03-28T00:00:00+01:00', 1, 1],
    ['2026-03-29T00:00:00+01:00', 2, 6],
    ['2026-03-30T00:00:00+02:00', 1, 8],
    ['2026-03-31T00:00:00+02:00', 0, 0],
    ['2026-04-01T00:00:00+02:00', 0, 0],
  ]);
  expect(body.buckets[1]).toEqual({
    start: '2026-03-29T00:00:00+01:00',
    count: 2,
    sum: 6,
    avg: 3,
    min: 2,
    max: 4,
    p50: 3,
    p95: 3.9,
    p99: 3.98,
  });
  expect(body.buckets[3]).toMatchObject({ avg: null, min: null, max: null, p50: null, p95: null, p99: null });
});

test('a range is half-open, to the microsecond', async () => {
  const count = async (from: string, to: string) =>
    (await ask(`/api/metrics/series?name=load&from=${from}&to=${to}`)).body.buckets[0]?.count;
  expect(await count('2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z')).toBe(2);
  expect(await count('2026-03-28T23:00:00Z', '2026-03-29T22:00:00.000001Z')).toBe(3);
  expect(await count('2026-03-28T23:00:00Z', '2026-03-28T23:00:00Z')).toBeUndefined();
  // a plus sign that is not encoded is a space in a query
  expect(await count('2026-03-29T00:00:00+01:00', '2026-03-30T00:00:00+02:00')).toBe(2);
});

test('groups are the most frequent labels, and the rest together', async () => {
  const { body } = await ask('/api/metrics/series?name=load&group_by=data_string&top=1');
  expect(body.groups).toMatchObject([{ data_string: '/a', buckets: [{ count: 2, sum: 3 }] }]);
  expect(body.other).toMatchObject({ labels: 2, buckets: [{ count: 2, sum: 12 }] });
  expect(body.buckets).toMatchObject([{ count: 4, sum: 15, min: 1, max: 8 }]);
  const only = await ask('/api/metrics/series?name=load&data_string=/b');
  expect(only.body.buckets).toMatchObject([{ count: 1, sum: 4 }]);
});

test('counts and unique users, by index', async () => {
  const admin = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const { body } = await ask('/api/analytics/counts?type=tour&group_by=data_index', admin);
  expect(body).toMatchObject({ type: 'tour', count: 4, unique_users: 2, other: { labels: 0, count: 0 } });
  expect(body.groups.map(({ buckets: _, ...group }: { buckets: unknown }) => group)).toEqual([
    { data_index: 'one', count: 2, unique_users: 2 },
    { data_index: 'two', count: 2, unique_users: 1 },
  ]);
});

test('a funnel, within its time', async () => {
  const admin = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const steps = async (query: string) => (await ask(`/api/analytics/funnel?type=tour&${query}`, admin)).body.steps;
  expect(await steps('step=one&step=two&step=three')).toEqual([
    { step: 'one', users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: null },
    { step: 'two', users: 1, conversion: 0.5, conversion_from_previous: 0.5, median_seconds: 30 },
    { step: 'three', users: 0, conversion: 0, conversion_from_previous: 0, median_seconds: null },
  ]);
  expect(await steps('step=one&step=two&within=29s')).toMatchObject([{ users: 2 }, { users: 0 }]);
});

test('names with their count and times; what was never recorded has none', async () => {
  expect((await ask('/api/metrics')).body).toEqual({
    metrics: [{ name: 'load', count: 4, first_seen: '2026-03-28T22:59:59.999999Z', last_seen: '2026-03-29T22:00:00Z' }],
  });
  expect((await ask('/api/analytics')).body.types).toMatchObject([{ type: 'tour', count: 3 }]);
  expect((await ask('/api/metrics/series?name=never')).body).toMatchObject({ from: null, to: null, buckets: [] });
});

test('pages have every row once, newest first, also while rows are added', async () => {
  const seen: string[] = [];
  for (let cursor = ''; ; ) {
    const { body } = await ask(`/api/records/metrics?name=load&limit=1${cursor}`);
    seen.push(...body.records.map(({ metric_value }: { metric_value: number }) => metric_value));
    await post(target, '/log_raw_metric', { ...METRIC, metric_name: 'later' });
    if (body.next_cursor === null) break;
    cursor = `&cursor=${body.next_cursor}`;
  }
  expect(seen.map(Number)).toEqual([8, 4, 2, 1]);
});

test('names may be made of anything', async () => {
  for (const name of ["a'b", 'a b', 'a/b?c=d&e', '日本🎉', '%41', '"; DROP TABLE metrics; --', '\u0000']) {
    await post(target, '/log_raw_metric', { ...METRIC, metric_name: name });
    const { body } = await ask(`/api/metrics/series?name=${encodeURIComponent(name)}`);
    expect(body).toMatchObject({ name, buckets: [{ count: 1 }] });
  }
});

test('replayed and refused requests change no answer', async () => {
  const once = { ...METRIC, metric_name: 'once' };
  for (let i = 0; i < 3; i++) await post(target, '/log_raw_metric', once, { 'idempotency-key': 'once' });
  await post(target, '/log_batch', { metrics: [once, { ...once, metric_value: 'x' }] });
  expect((await ask('/api/metrics/series?name=once')).body.buckets).toMatchObject([{ count: 1 }]);
});

test('the status has the ledger and the sizes', async () => {
  const { body } = await ask('/api/status');
  const { received, stored, duplicates, rejected } = body.ledger;
  const refused = Object.values<number>(rejected).reduce((sum, items) => sum + items, 0);
  expect(received).toBe(stored + duplicates + refused);
  expect(body.storage.database_bytes + body.storage.wal_bytes).toBeGreaterThan(0);
  expect(body).toMatchObject({ queue: { rows: 0 }, durability: { acknowledged: 'after fsync' } });
});

describe('what is wrong is said by name', () => {
  test.each([
    ['/api/metrics/series', 'name', 'Field required'],
    ['/api/metrics/series?name=a&from=yesterday', 'from', 'Input should be a valid datetime'],
    ['/api/metrics/series?name=a&from=2026-01-01', 'from', 'Input should be a valid datetime'],
    ['/api/metrics/series?name=a&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z', 'to', 'lies before its start'],
    ['/api/metrics/series?name=a&interval=7m', 'interval', 'the interval should be'],
    ['/api/metrics/series?name=a&interval=0d', 'interval', 'the interval should be'],
    ['/api/metrics/series?name=a&tz=Mars/Base', 'tz', 'the time zone should be'],
    ['/api/metrics/series?name=a&tz=%2B02:00', 'tz', 'the time zone should be'],
    ['/api/metrics/series?name=a&group_by=user_id', 'group_by', "Input should be 'data_string'"],
    ['/api/metrics/series?name=a&top=0', 'top', 'greater than or equal to 1'],
    ['/api/metrics/series?name=a&top=many', 'top', 'valid integer'],
    ['/api/metrics/series?name=a&name=b', 'name', 'given once'],
    ['/api/analytics/counts', 'type', 'Field required'],
    ['/api/analytics/funnel?type=a&step=b', 'step', 'a funnel has 2 to 20 steps'],
    ['/api/analytics/funnel?type=a&step=b&step=c&within=soon', 'within', 'the time should be'],
    ['/api/records/metrics?cursor=%00', 'cursor', 'the cursor should be'],
    ['/api/records/metrics?limit=1001', 'limit', 'less than or equal to 1000'],
    ['/api/records/analytics?user_id=', 'user_id', '1 to 128 characters'],
    ['/api/export/metrics?format=xml', 'format', "'ndjson' or 'csv' or 'parquet'"],
    ['/api/export/metrics?after=1', 'after', 'the id should be'],
  ])('%s', async (address, name, words) => {
    const answer = await ask(address);
    expectError(answer, 422, 'validation_failed');
    expect(answer.body.detail).toMatchObject([{ loc: ['query', name], msg: expect.stringContaining(words) }]);
  });

  test('without a token it is 401 before anything else', async () => {
    for (const address of ['/api/metrics', '/api/metrics/series', '/api/export/metrics?format=xml', '/api/status']) {
      expectError(await ask(address, {}), 401, 'unauthorized');
    }
    expectError(await send(`${target.url}/api/users/user-1`, { method: 'DELETE' }), 401, 'unauthorized');
    expectError(await send(`${target.url}/api/users/user-1`, { method: 'DELETE', headers }), 403, 'forbidden');
    expectError(await send(`${target.url}/api/users/user-1`), 405, 'method_not_allowed');
  });
});
