import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { gzipSync } from 'node:zlib';
import { ANALYTICS, expectError, METRIC, post, rows } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
let target: Target;
beforeAll(async () => {
  target = await startTarget(UNLIMITED, { dataDir: folder.path });
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

const stored = () => rows(target, 'metrics').length + rows(target, 'analytics').length;
const bearer = async (claims: Record<string, unknown>) => ({ authorization: `Bearer ${await token(claims)}` });

describe('a repeated Idempotency-Key', () => {
  test.each([
    ['/log_raw_metric', METRIC, 1],
    ['/log_raw_analytics', ANALYTICS, 1],
    ['/log_batch', { metrics: [METRIC, METRIC], analytics: [ANALYTICS] }, 3],
  ])('returns the cached response of %s', async (path, body, count) => {
    const before = stored();
    const key = { 'idempotency-key': `first-${path}` };
    const first = await post(target, path, body, key);
    expect(first.status).toBe(200);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    for (let i = 0; i < 3; i++) {
      const again = await post(target, path, body, key);
      expect(again.status).toBe(200);
      expect(again.text).toBe(first.text);
      expect(again.headers.get('idempotent-replayed')).toBe('true');
      expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'));
    }
    expect(stored()).toBe(before + count);
  });

  test('stores one row for 1,000 concurrent requests', async () => {
    const before = stored();
    const key = { 'idempotency-key': 'at-once' };
    const responses = await Promise.all(
      Array.from({ length: 1000 }, () => post(target, '/log_raw_metric', METRIC, key)),
    );
    expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(responses.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1);
    expect(stored()).toBe(before + 1);
  });

  test('is rejected with a different payload, even while the first request is in flight', async () => {
    const key = { 'idempotency-key': 'another' };
    const other = { ...METRIC, metric_value: 3 };
    const both = await Promise.all([
      post(target, '/log_raw_metric', METRIC, key),
      post(target, '/log_raw_metric', other, key),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 422]);
    const rejected = both.find(({ status }) => status === 422);
    if (rejected) expectError(rejected, 422, 'idempotency_mismatch');
    expect(rejected?.body.detail).toMatchObject([{ loc: ['header', 'idempotency-key'] }]);
  });

  test('matches the same payload when it is compressed', async () => {
    const key = { 'idempotency-key': 'compressed' };
    const first = await post(target, '/log_raw_metric', METRIC, key);
    const again = await post(target, '/log_raw_metric', gzipSync(JSON.stringify(METRIC)), {
      ...key,
      'content-encoding': 'gzip',
    });
    expect(again.text).toBe(first.text);
  });

  test('returns the cached response after a restart and after a kill', async () => {
    const key = { 'idempotency-key': 'restart' };
    const first = await post(target, '/log_raw_metric', METRIC, key);
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await target.stop(signal);
      target = await startTarget(UNLIMITED, { dataDir: folder.path });
      const again = await post(target, '/log_raw_metric', METRIC, key);
      expect(again.text).toBe(first.text);
      expect(again.headers.get('idempotent-replayed')).toBe('true');
    }
  });
});

describe('the scope of a key', () => {
  test('is limited to its user', async () => {
    const key = { 'idempotency-key': 'shared' };
    const anna = await post(target, '/log_raw_metric', METRIC, { ...key, ...(await bearer({ sub: 'anna' })) });
    const berta = await post(target, '/log_raw_metric', METRIC, { ...key, ...(await bearer({ sub: 'berta' })) });
    expect(anna.text).not.toBe(berta.text);
    expect(berta.headers.get('idempotent-replayed')).toBeNull();
  });

  test('is limited to its route', async () => {
    const key = { 'idempotency-key': 'routes' };
    const body = { ...METRIC, ...ANALYTICS };
    const metric = await post(target, '/log_raw_metric', body, key);
    const analytics = await post(target, '/log_raw_analytics', body, key);
    expect([metric.status, analytics.status]).toEqual([200, 200]);
    expect(metric.text).not.toBe(analytics.text);
  });

  test('is limited to the user for whom an admin records', async () => {
    const admin = await bearer({ sub: 'root', role: 'admin' });
    const send = (user: string) =>
      post(target, '/log_raw_metric', METRIC, { ...admin, 'idempotency-key': 'acting', 'x-act-as-user-id': user });
    const [first, second] = [await send('u1'), await send('u2')];
    expect(first.text).not.toBe(second.text);
    expect((await send('u1')).text).toBe(first.text);
  });
});

describe('cached responses', () => {
  test('do not include rejections', async () => {
    const key = { 'idempotency-key': 'rejected' };
    expect((await post(target, '/log_raw_metric', { ...METRIC, metric_value: 'x' }, key)).status).toBe(422);
    expect((await post(target, '/log_raw_metric', METRIC, key)).status).toBe(200);
  });

  test('do not include storage errors', async () => {
    const key = { 'idempotency-key': 'failed' };
    const other = new Database(target.databasePath);
    other.run('PRAGMA busy_timeout = 5000');
    other.run('BEGIN IMMEDIATE');
    const failed = await Promise.all(Array.from({ length: 5 }, () => post(target, '/log_raw_metric', METRIC, key)));
    expect(failed.map(({ status }) => status)).toEqual(Array(5).fill(503));
    other.run('ROLLBACK');
    other.close();
    const response = await post(target, '/log_raw_metric', METRIC, key);
    expect(response.status).toBe(200);
    expect(response.headers.get('idempotent-replayed')).toBeNull();
  });
});

describe('the format of a key', () => {
  test.each(['x', '!'.repeat(255), '{"a":"~"}'])('allows %p', async (key) => {
    expect((await post(target, '/log_raw_metric', METRIC, { 'idempotency-key': key })).status).toBe(200);
  });
  test.each(['', 'a b', 'x'.repeat(256), 'é', 'a\tb'])('does not allow %p', async (key) => {
    const response = await post(target, '/log_raw_metric', METRIC, { 'idempotency-key': key });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toMatchObject([{ loc: ['header', 'idempotency-key'] }]);
  });
});
