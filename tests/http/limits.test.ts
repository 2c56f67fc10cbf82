import { afterEach, describe, expect, test } from 'bun:test';
import { type Answer, expectError, METRIC, post, rows } from '../harness/client.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
afterEach(() => target.stop());

/** Checks a refusal by a limit, with the header fields that tell when to come back. */
function expectLimited(answer: Answer, name: string): void {
  expectError(answer, 429, 'rate_limited');
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(answer.headers.get('ratelimit-policy')).toMatch(new RegExp(`^"${name}";q=\\d+;w=\\d+$`));
  expect(answer.headers.get('ratelimit')).toMatch(new RegExp(`^"${name}";r=\\d+;t=\\d+$`));
}

describe('rows of a user', () => {
  test('are limited by rows, not by requests, and each user alone', async () => {
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

  test('the largest batch always fits an idle bucket', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '1/h', MAX_BATCH_ITEMS: '100' });
    expect((await post(target, '/log_batch', { metrics: Array(100).fill(METRIC) })).status).toBe(200);
    expectLimited(await post(target, '/log_raw_metric', METRIC), 'rows');
  });

  test('come back after the time that was named', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '5/s', MAX_BATCH_ITEMS: '1' });
    let answer = await post(target, '/log_raw_metric', METRIC);
    for (let i = 0; answer.status === 200 && i < 1000; i++) answer = await post(target, '/log_raw_metric', METRIC);
    expectLimited(answer, 'rows');
    expect(answer.headers.get('retry-after')).toBe('1');
    for (const deadline = Date.now() + 5_000; answer.status === 429 && Date.now() < deadline; ) {
      answer = await post(target, '/log_raw_metric', METRIC);
    }
    expect(answer.status).toBe(200);
  });
});

describe('failed authentication of an address', () => {
  test('is limited, and does not shut out who has a good token', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '10/h' });
    const forged = { authorization: `Bearer ${await token({}, 'x'.repeat(32))}` };
    for (let i = 0; i < 10; i++)
      expectError(await post(target, '/log_raw_metric', METRIC, forged), 401, 'unauthorized');
    expectLimited(await post(target, '/log_raw_metric', METRIC, forged), 'failed-authentication');
    expectLimited(await post(target, '/log_raw_metric', METRIC, { authorization: '' }), 'failed-authentication');
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    // the flood is not in the log, what came before it is
    expect(target.logLines().filter(({ status }) => status === 401)).toHaveLength(10);
    expect(target.logLines().filter(({ status }) => status === 429)).toHaveLength(0);
  });
});
