import { afterAll, beforeAll, expect, test } from 'bun:test';
import { Writable } from 'node:stream';
import pino from 'pino';
import { createSlowQueryLog } from '../../src/http/slow-query-log.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

/*
 * What operators see of queries and tokens: metrics and the slow-query log.
 */

let target: Target;
let admin: Record<string, string>;
beforeAll(async () => {
  const alerts = { ALERT_WEBHOOK: 'http://127.0.0.1:9/unused' }; // for the queries of alerts
  target = await startTarget({ ...UNLIMITED, ...alerts, JWT_ISSUER: 'product', SLOW_QUERY: '0s' });
  admin = { authorization: `Bearer ${await token({ role: 'admin', sub: 'ada@x.example', iss: 'product' })}` };
  await post(target, '/log_raw_metric', METRIC, admin);
});
afterAll(() => target.stop());

/** Returns the samples of a metric, by labels. */
async function samples(name: string): Promise<Record<string, number>> {
  const { text } = await send(`${target.url}/metrics`, { headers: admin });
  const found = [...text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (.*)$`, 'gm'))];
  return Object.fromEntries(found.map(([, labels = '', value]) => [labels, Number(value)]));
}

/** Returns the samples that are not 0. */
const counted = (all: Record<string, number>) => Object.fromEntries(Object.entries(all).filter(([, value]) => value));

test('measures queries by kind, and logs slow ones without values', async () => {
  const secret = 'secret-value';
  const get = (path: string) => send(target.url + path, { headers: admin });
  const range = 'from=2026-01-01T00:00:00Z&to=2026-01-31T00:00:00Z';
  const series = `/api/metrics/series?name=${secret}&${range}&interval=6h&data_string=${secret}&user_id=${secret}`;
  const { headers } = await get(series);
  await get(`/api/records/analytics?data.${secret}=${secret}&data.b~=${secret}`);
  await get(`/api/metrics/series?name=${METRIC.metric_name}&from=2000-01-01T00:00:00Z&interval=minute`);
  await get('/api/export/metrics');

  const name = (query: string) => `query="${query}"`;
  const run = { [name('series')]: 2, [name('page')]: 1, [name('quiet')]: 1 };
  expect(counted(await samples('rawlog_query_duration_seconds_count'))).toMatchObject(run);
  expect(counted(await samples('rawlog_query_wait_seconds_count'))).toMatchObject(run);
  expect((await samples('rawlog_query_duration_seconds_count'))[name('export')]).toBeGreaterThan(0);
  expect(counted(await samples('rawlog_queries_failed_total'))).toEqual({ 'query="series",reason="too_large"': 1 });
  expect(await samples('rawlog_ingest_lag_rows')).toEqual({ '': 0 });
  expect(await samples('rawlog_ingest_lag_seconds')).toEqual({ '': 0 });

  const slow = target.logLines().filter(({ msg }) => msg === 'slow query');
  const lines = slow.filter(({ query }) => query !== 'quiet');
  const common = {
    level: 'warn',
    role: 'admin',
    user_hash: expect.stringMatching(/^[\da-f]{16}$/),
    duration_ms: expect.any(Number),
    waited_ms: expect.any(Number),
  };
  expect(lines).toMatchObject([
    {
      ...common,
      request_id: headers.get('x-request-id'),
      route: '/api/metrics/series',
      query: 'series',
      outcome: 'completed',
      bytes: expect.any(Number),
      range_seconds: 30 * 86_400,
      interval: '6 hour',
      parameters: ['data_string', 'from', 'interval', 'name', 'to', 'user_id'],
    },
    { ...common, route: '/api/records/analytics', query: 'page', rows: 0, parameters: ['data.PATH'] },
    { ...common, query: 'series', outcome: 'too_large', interval: '1 minute' },
  ]);
  const [ofServer] = slow.filter(({ query }) => query === 'quiet');
  expect(ofServer).toMatchObject({ level: 'warn', outcome: 'completed', duration_ms: expect.any(Number) });
  expect(Object.keys(ofServer ?? {})).not.toContain('user_hash');
  expect(JSON.stringify(lines)).not.toMatch(/secret|ada@/);
});

test('counts rejected tokens by reason', async () => {
  const iss = 'product';
  const rejected = async (authorization: string | undefined) =>
    expect((await send(`${target.url}/api/metrics`, { headers: authorization ? { authorization } : {} })).status).toBe(
      401,
    );
  const headers = await Promise.all([
    undefined,
    'Basic YTpi',
    'Bearer not-a-token',
    ...[
      token({ iss, exp: secondsFromNow(-60) }),
      token({ iss, nbf: secondsFromNow(600) }),
      token({ iss, aud: 'other' }),
      token({ iss: 'other' }),
      token({}),
      token({ iss, sub: undefined }),
      token({ iss }, 'another-secret-with-at-least-32-bytes'),
    ].map(async (signed) => `Bearer ${await signed}`),
  ]);
  for (const authorization of headers) await rejected(authorization);
  expect(counted(await samples('rawlog_tokens_rejected_total'))).toEqual({
    'reason="missing"': 1,
    'reason="malformed"': 2,
    'reason="expired"': 1,
    'reason="not_yet_valid"': 1,
    'reason="audience"': 1,
    'reason="issuer"': 2,
    'reason="claims"': 1,
    'reason="signature"': 1,
  });
});

test('a query that was aborted before its turn is not logged, however long it waited', () => {
  let lines = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines += chunk;
      done();
    },
  });
  const { report } = createSlowQueryLog(pino(stream), 0, () => '');
  const query = {
    name: 'names',
    argument: { kind: 'metric', userId: undefined, from: undefined, to: undefined },
    principal: { userId: 'a', role: 'user' },
    request: new Request('http://a/api/metrics/names'),
    route: '/api/metrics/names',
    requestId: 'b',
  } as unknown as Parameters<typeof report>[0];
  report(query, { waitedMs: 60_000, ranMs: undefined, error: new Error('aborted') });
  expect(lines).toBe('');
  report(query, { waitedMs: 60_000, ranMs: 1, value: '' });
  expect(lines).toContain('slow query');
});
