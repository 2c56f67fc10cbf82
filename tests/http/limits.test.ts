import { Database } from 'bun:sqlite';
import { afterEach, describe, expect, test } from 'bun:test';
import { gzipSync } from 'node:zlib';
import { ANALYTICS, expectError, expectLimited, METRIC, post, rows, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
afterEach(() => target.stop());

describe('RATE_LIMIT', () => {
  test('counts rows instead of requests, separately for each user', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '20/h', MAX_BATCH_ITEMS: '10' });
    const anna = { authorization: `Bearer ${await token({ sub: 'anna' })}` };
    const batch = { metrics: Array(8).fill(METRIC) };
    expect((await post(target, '/log_batch', batch, anna)).status).toBe(200);
    expect((await post(target, '/log_batch', batch, anna)).status).toBe(200);
    expectLimited(await post(target, '/log_batch', batch, anna), 'rows');
    for (let i = 0; i < 4; i++) expect((await post(target, '/log_raw_metric', METRIC, anna)).status).toBe(200);
    expectLimited(await post(target, '/log_raw_metric', METRIC, anna), 'rows');
    expect((await post(target, '/log_batch', batch)).status).toBe(200);
    expect(rows(target, 'metrics')).toHaveLength(28);
  });

  test('always admits the largest batch of an idle user', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '1/h', MAX_BATCH_ITEMS: '100' });
    expect((await post(target, '/log_batch', { metrics: Array(100).fill(METRIC) })).status).toBe(200);
    expectLimited(await post(target, '/log_raw_metric', METRIC), 'rows');
  });

  test('admits rows again after Retry-After', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '5/s', MAX_BATCH_ITEMS: '1' });
    let response = await post(target, '/log_raw_metric', METRIC);
    for (let i = 0; response.status === 200 && i < 1000; i++) response = await post(target, '/log_raw_metric', METRIC);
    expectLimited(response, 'rows');
    expect(response.headers.get('retry-after')).toBe('1');
    for (const deadline = Date.now() + 5_000; response.status === 429 && Date.now() < deadline; ) {
      response = await post(target, '/log_raw_metric', METRIC);
    }
    expect(response.status).toBe(200);
  });

  test('does not count the rows of a rejected batch', async () => {
    target = await startTarget({
      JWT_SECRET: SECRET,
      RATE_LIMIT: '2/h',
      MAX_BATCH_ITEMS: '2',
      RATE_LIMIT_BYTES: 'off',
    });
    expect((await post(target, '/log_batch', { metrics: [METRIC, { ...METRIC, metric_value: 'x' }] })).status).toBe(
      422,
    );
    expect((await post(target, '/log_batch', { metrics: [METRIC, METRIC] })).status).toBe(200);
  });
});

describe('RATE_LIMIT_BYTES', () => {
  test('counts the decompressed size of bodies and exempts admins', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '1000000/s', RATE_LIMIT_BYTES: '1kb/h' });
    // an idle user may send 64 MB at once
    const large = JSON.stringify({ ...ANALYTICS, data: { text: 'x'.repeat(900_000) } });
    const packed = gzipSync(large);
    const gzip = { 'content-encoding': 'gzip' };
    let accepted = 0;
    let response = await post(target, '/log_raw_analytics', packed, gzip);
    for (; response.status === 200 && accepted < 100; accepted++) {
      response = await post(target, '/log_raw_analytics', packed, gzip);
    }
    expectLimited(response, 'bytes');
    expect(accepted).toBe(Math.floor((64 * 1024 ** 2) / large.length));
    // small bodies may still fit; other users and admins are not affected
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    const other = { authorization: `Bearer ${await token({ sub: 'berta' })}` };
    expect((await post(target, '/log_raw_analytics', packed, { ...gzip, ...other })).status).toBe(200);
    const admin = { authorization: `Bearer ${await token({ role: 'admin' })}` };
    expect((await post(target, '/log_raw_analytics', packed, { ...gzip, ...admin })).status).toBe(200);
    const { body } = await send(`${target.url}/api/status`, { headers: other });
    expect(body.limits.rate_limit_bytes).toEqual({ bytes: 1024, seconds: 3600 });
  });
});

describe('MAX_QUEUE_ROWS', () => {
  test('rejects a request without parsing its body and keeps the connection open', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, MAX_QUEUE_ROWS: '1', MAX_BATCH_ITEMS: '1' });
    const other = new Database(target.databasePath);
    other.run('BEGIN IMMEDIATE');
    const waiting = post(target, '/log_raw_metric', METRIC);
    // from now on the row waits for the lock
    let rejected = await post(target, '/log_batch', '{');
    while (rejected.status === 400) rejected = await post(target, '/log_batch', '{');
    expectError(rejected, 503, 'overloaded');
    expect(rejected.headers.get('retry-after')).toBe('1');
    expect(rejected.headers.get('cache-control')).toBe('no-store');
    expectError(await post(target, '/log_raw_metric', METRIC, { authorization: '' }), 401, 'unauthorized');
    expectError(await post(target, '/log_batch', Buffer.alloc(2 ** 20, ' ')), 503, 'overloaded');
    other.run('COMMIT');
    other.close();
    expect((await waiting).status).toBe(200);
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    expect(rows(target, 'metrics')).toHaveLength(2);
    const [line] = target.logLines().filter(({ code }) => code === 'overloaded');
    expect(line).toMatchObject({ level: 'error', status: 503, route: '/log_batch', rejections: 1 });
  });
});

test('logs storage errors once per second, route and code, with their count', async () => {
  target = await startTarget({ ...UNLIMITED });
  const other = new Database(target.databasePath);
  other.run('BEGIN IMMEDIATE');
  const responses = await Promise.all(Array.from({ length: 200 }, () => post(target, '/log_raw_metric', METRIC)));
  other.run('ROLLBACK');
  other.close();
  const failed = responses.filter(({ status }) => status !== 200);
  for (const response of failed) expectError(response, 503, 'storage_unavailable');
  expect(failed.length).toBeGreaterThan(100);
  const errorLines = () => target.logLines().filter(({ code }) => code === 'storage_unavailable');
  await target.logged(
    () => errorLines().reduce((sum, { rejections }) => sum + Number(rejections), 0) === failed.length,
  );
  const lines = errorLines();
  expect(lines[0]).toMatchObject({ level: 'error', status: 503, route: '/log_raw_metric', rejections: 1 });
  expect(lines[0]?.['err']).toBeDefined();
  const times = lines.map(({ time }) => Date.parse(String(time)));
  for (const [i, time] of times.slice(1).entries()) expect(time - (times[i] ?? 0)).toBeGreaterThan(900);
});

test('sets nosniff on every response and no-store on errors', async () => {
  target = await startTarget({ JWT_SECRET: SECRET });
  const responses = [
    await post(target, '/log_raw_metric', METRIC),
    await post(target, '/log_raw_metric', '{'),
    await send(`${target.url}/x`),
  ];
  for (const { headers } of responses) expect(headers.get('x-content-type-options')).toBe('nosniff');
  for (const { headers } of [...responses.slice(1), await send(`${target.url}/metrics`)]) {
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('cache-control')).toBe('no-store');
  }
  const page = await send(`${target.url}/swagger`);
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
});
