import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FormatRegistry } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { parseTimestamp } from '../../src/formats/timestamp.ts';
import { EXAMPLES } from '../../src/http/examples.ts';
import { RESPONSES, type ResponseName } from '../../src/responses.ts';
import { ANALYTICS, expectError, METRIC, post, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

FormatRegistry.Set('date-time', (text) => parseTimestamp(text) !== undefined);
FormatRegistry.Set('uuid', (text) =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(text),
);

let target: Target;
beforeAll(async () => {
  target = await startTarget({ JWT_SECRET: SECRET, JWT_VIEWER_ROLES: 'analyst' });
  for (let i = 0; i < 3; i++) {
    await post(target, '/log_batch', {
      metrics: [METRIC, { ...METRIC, metric_value: 1.7e308, data_string: `/${i}` }],
      analytics: [ANALYTICS, { ...ANALYTICS, data_index: `step_${i}` }],
    });
  }
  await post(target, '/log_raw_metric', {});
});
afterAll(() => target.stop());

const bearer = async (role: string) => ({ authorization: `Bearer ${await token({ role })}` });

/** Returns the violations of a schema in a body. */
function violations(name: ResponseName, body: unknown): string[] {
  return [...Value.Errors(RESPONSES[name], body)].map(({ path, message }) => `${path}: ${message}`);
}

describe('response schemas', () => {
  test.each<[ResponseName, string]>([
    ['MetricNames', '/api/metrics'],
    ['EventTypes', '/api/analytics'],
    ['Activity', '/api/activity?interval=hour&top=1'],
    ['Activity', '/api/activity?interval=hour&top=1&unique_users=true'],
    ['Series', '/api/metrics/series?name=page_load_time'],
    ['Series', '/api/metrics/series?name=page_load_time&interval=hour&group_by=data_string&top=1'],
    ['Series', '/api/metrics/series?name=none'],
    ['Counts', '/api/analytics/counts?type=tutorial_step'],
    ['Counts', '/api/analytics/counts?type=tutorial_step&interval=hour&group_by=data_index&top=1'],
    ['Funnel', '/api/analytics/funnel?type=tutorial_step&step=step_3&step=step_1'],
    ['Funnel', '/api/analytics/funnel?step=tutorial_step&step=tutorial_step:step_1&step=none'],
    ['Retention', '/api/analytics/retention?type=tutorial_step&step=step_3'],
    ['Retention', '/api/analytics/retention?step=tutorial_step&return_step=none:x'],
    ['MetricPage', '/api/records/metrics?limit=2'],
    ['EventPage', '/api/records/analytics'],
    ['ZoneOffsets', '/api/zone?tz=Australia/Lord_Howe'],
    ['Rejections', '/api/rejections'],
    ['AuditLog', '/api/audit'],
    ['OperatorStatus', '/api/status'],
    ['Probe', '/healthz'],
    ['Probe', '/readyz'],
  ])('%s matches GET %s', async (name, path) => {
    const { status, body } = await send(target.url + path, { headers: await bearer('admin') });
    expect(status).toBe(200);
    expect(violations(name, body)).toEqual([]);
  });

  test('OperatorStatus matches the status of a viewer, UserStatus that of a user', async () => {
    const viewer = await send(`${target.url}/api/status`, { headers: await bearer('analyst') });
    expect(violations('OperatorStatus', viewer.body)).toEqual([]);
    const user = await send(`${target.url}/api/status`, { headers: await bearer('authenticated') });
    expect(violations('UserStatus', user.body)).toEqual([]);
  });

  test('Session matches a session', async () => {
    const env = { JWT_SECRET: SECRET };
    const { stdout } = await runCli(['token', '--sub', 'ada', '--link'], { env });
    const [, code] = stdout.trim().split('#code=');
    const { status, body } = await post(target, '/api/session', { code });
    expect(status).toBe(200);
    expect(violations('Session', body)).toEqual([]);
  });

  test('RecordId, BatchIds, Erasure and ErrorResponse match their responses', async () => {
    expect(violations('RecordId', (await post(target, '/log_raw_metric', METRIC)).body)).toEqual([]);
    const batch = { metrics: [METRIC], analytics: [ANALYTICS] };
    expect(violations('BatchIds', (await post(target, '/log_batch', batch)).body)).toEqual([]);
    const headers = await bearer('admin');
    const erased = await send(`${target.url}/api/users/nobody`, { method: 'DELETE', headers });
    expect(violations('Erasure', erased.body)).toEqual([]);
    for (const path of ['metrics?name=none', 'analytics?type=none&dry_run=true']) {
      const deleted = await send(`${target.url}/api/records/${path}`, { method: 'DELETE', headers });
      expect(violations('Deletion', deleted.body)).toEqual([]);
    }
    for (const [path, init] of [
      ['/nowhere', {}],
      ['/api/metrics', {}],
      ['/api/metrics?x=1', { headers }],
      ['/log_raw_metric', { method: 'POST', headers, body: '{}' }],
      ['/log_raw_metric', { method: 'DELETE', headers }],
    ] as const) {
      expect(violations('ErrorResponse', (await send(target.url + path, init)).body)).toEqual([]);
    }
  });

  test('every schema matches its example in the document', () => {
    for (const [name, example] of Object.entries(EXAMPLES)) {
      expect([name, violations(name as ResponseName, example)]).toEqual([name, []]); // the keys are the names
    }
  });

  test('a schema rejects unknown and missing fields', async () => {
    const { body } = await send(`${target.url}/api/metrics`, { headers: await bearer('admin') });
    expect(violations('MetricNames', { ...body, more: 1 })).not.toEqual([]);
    expect(violations('MetricNames', { metrics: [{}] })).not.toEqual([]);
  });
});

test('every JSON response of the document refers to a schema with fields', async () => {
  const { body: document } = await send(`${target.url}/swagger/json`);
  const schemas = JSON.stringify(document.paths).match(/"#\/components\/schemas\/\w+"/g) ?? [];
  for (const name of new Set(schemas.map((text) => text.slice('"#/components/schemas/'.length, -1)))) {
    if (name === 'Status') continue; // one of two schemas
    expect([name, document.components.schemas[name]?.type]).toEqual([name, name === 'RecordId' ? 'string' : 'object']);
  }
  expect(JSON.stringify(document.paths)).not.toContain('"schema":{"type":"object"}');
  expect(document.components.schemas.Analytics.properties.data).toEqual({
    type: 'object',
    additionalProperties: true,
    description: 'The data to log',
  });
});

describe('roles', () => {
  test('a viewer reads every row, and never records, erases or deletes', async () => {
    const headers = { ...(await bearer('analyst')), 'content-type': 'application/json' };
    expect((await send(`${target.url}/api/metrics?user_id=user-1`, { headers })).body.metrics.length).toBe(1);
    for (const path of ['/log_raw_metric', '/log_raw_analytics', '/log_batch']) {
      expect((await send(target.url + path, { method: 'POST', headers, body: '{' })).status).toBe(403);
    }
    for (const path of ['users/user-1', 'records/metrics?name=a', 'records/analytics?type=a&user_id=user-1']) {
      expect((await send(`${target.url}/api/${path}`, { method: 'DELETE', headers })).status).toBe(403);
    }
    expect((await send(`${target.url}/metrics`, { headers })).status).toBe(200);
  });

  test('only admins record for another user', async () => {
    const rejected = await post(target, '/log_raw_metric', METRIC, { 'x-act-as-user-id': 'other' });
    expect(rejected.status).toBe(403);
    expect(rejected.body.detail).toBe('Only admin users can impersonate other users');
  });

  test('/metrics accepts admins, viewers and METRICS_TOKEN', async () => {
    expect((await send(`${target.url}/metrics`)).status).toBe(401);
    expect((await send(`${target.url}/metrics`, { headers: await bearer('authenticated') })).status).toBe(403);
    expect((await send(`${target.url}/metrics`, { headers: await bearer('admin') })).status).toBe(200);
    const scraped = await startTarget({ JWT_SECRET: SECRET, METRICS_TOKEN: 'a-token-for-scrapes-1234' });
    const scrape = (text: string) => send(`${scraped.url}/metrics`, { headers: { authorization: `Bearer ${text}` } });
    expect((await scrape('a-token-for-scrapes-1234')).status).toBe(200);
    expect((await scrape('a-token-for-scrapes-1235')).status).toBe(401);
    expect(
      (await send(`${scraped.url}/api/metrics`, { headers: { authorization: 'Bearer a-token-for-scrapes-1234' } }))
        .status,
    ).toBe(401);
    await scraped.stop();
  });
});

test('rejects new names over MAX_NAMES_PER_USER with their location, and still accepts known names', async () => {
  const limited = await startTarget({ JWT_SECRET: SECRET, MAX_NAMES_PER_USER: '2' });
  const record = (name: string, key?: string) =>
    post(limited, '/log_raw_metric', { ...METRIC, metric_name: name }, key ? { 'idempotency-key': key } : {});
  expect((await record('a', 'k')).status).toBe(200);
  expect((await post(limited, '/log_raw_analytics', ANALYTICS)).status).toBe(200);
  const rejected = await record('b');
  expect(rejected.status).toBe(422);
  expect(rejected.body.code).toBe('too_many_names');
  expect(rejected.body.detail).toEqual([
    { loc: ['body', 'metric_name'], msg: expect.stringContaining('at most 2'), type: 'too_many_names' },
  ]);
  const batch = await post(limited, '/log_batch', {
    metrics: [METRIC, { ...METRIC, metric_name: 'a' }].map((metric, i) =>
      i === 0 ? { ...metric, metric_name: 'c' } : metric,
    ),
  });
  expect(batch.body.detail[0].loc).toEqual(['body', 'metrics', 0, 'metric_name']);
  expect((await record('a')).status).toBe(200);
  expect((await record('a', 'k')).headers.get('idempotent-replayed')).toBe('true');
  const { body } = await send(`${limited.url}/api/status`, { headers: await bearer('admin') });
  expect(body.ledger).toMatchObject({ stored: 3, duplicates: 1, rejected: { too_many_names: 3 } });
  await limited.stop();
});

test('names of rejected requests do not count toward MAX_NAMES_PER_USER', async () => {
  const limited = await startTarget({ JWT_SECRET: SECRET, MAX_NAMES_PER_USER: '2' });
  const record = (name: string, timestamp?: string) =>
    post(limited, '/log_raw_metric', { ...METRIC, metric_name: name, timestamp });
  for (const name of ['a', 'b', 'c']) expect((await record(name, '2100-01-01T00:00:00Z')).status).toBe(422);
  for (const name of ['a', 'd']) expect((await record(name)).status).toBe(200);
  expect((await record('e')).body.code).toBe('too_many_names');
  await limited.stop();
});

test('NAMES rejects all other names with their locations, for every role, and replays what was stored before', async () => {
  using folder = temporaryFolder();
  const open = await startTarget({ JWT_SECRET: SECRET }, { dataDir: folder.path });
  const key = { 'idempotency-key': 'before' };
  const stored = await post(open, '/log_raw_metric', METRIC, key);
  expect(stored.status).toBe(200);
  await open.stop();
  const limited = await startTarget({ JWT_SECRET: SECRET, NAMES: 'sign*,page?view' }, { dataDir: folder.path });
  const admin = await bearer('admin');
  const record = (name: string, headers = {}) =>
    post(limited, '/log_raw_analytics', { ...ANALYTICS, type: name }, headers);
  for (const name of ['sign', 'signup/now', 'page:view']) expect((await record(name)).status).toBe(200);
  for (const headers of [{}, admin]) {
    const rejected = await record('pageview', headers);
    expectError(rejected, 422, 'validation_failed');
    expect(rejected.body.detail).toEqual([
      { loc: ['body', 'type'], msg: 'Value error, this name may not be recorded', type: 'value_error' },
    ]);
  }
  const batch = await post(limited, '/log_batch', {
    metrics: [{ ...METRIC, metric_name: 'signals' }, METRIC],
    analytics: [{ ...ANALYTICS, type: '' }],
  });
  expect(batch.body.detail.map(({ loc }: { loc: unknown }) => loc)).toEqual([
    ['body', 'metrics', 1, 'metric_name'],
    ['body', 'analytics', 0, 'type'],
  ]);
  expect((await post(limited, '/log_raw_metric', METRIC, key)).body).toBe(stored.body);
  const { body } = await send(`${limited.url}/api/status`, { headers: admin });
  expect(body.ledger).toMatchObject({ stored: 4, duplicates: 1, rejected: { validation_failed: 5 } });
  await limited.stop();
});

test('MAX_TIMESTAMP_AGE rejects older timestamps, except from admins', async () => {
  const limited = await startTarget({ JWT_SECRET: SECRET, MAX_TIMESTAMP_AGE: '1d' });
  const record = (hours: number, headers = {}) =>
    post(limited, '/log_raw_metric', { ...METRIC, timestamp: new Date(Date.now() - hours * 3_600_000) }, headers);
  expect((await record(23)).status).toBe(200);
  const rejected = await record(25);
  expectError(rejected, 422, 'validation_failed');
  expect(rejected.body.detail).toEqual([
    {
      loc: ['body', 'timestamp'],
      msg: "Value error, the timestamp is more than 86400 s before the server's clock",
      type: 'value_error',
    },
  ]);
  expect((await record(25, await bearer('admin'))).status).toBe(200);
  await limited.stop();
});
