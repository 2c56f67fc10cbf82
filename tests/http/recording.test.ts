import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { gzipSync } from 'node:zlib';
import { ANALYTICS, expectError, METRIC, post, ROUTES, rows } from '../harness/client.ts';
import { rawRequest } from '../harness/raw-http.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.stop());

const UUID7 = /^"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$/;

describe('accepted requests', () => {
  test.each([...ROUTES])('returns the quoted ID of the stored row from %s', async (path, body) => {
    const response = await post(target, path, body);
    expect(response.status).toBe(200);
    expect(response.text).toMatch(UUID7);
    expect(response.headers.get('content-type')).toStartWith('application/json');
    expect(response.headers.get('x-request-id')).toBeString();
  });

  test('stores a metric with its user and both times', async () => {
    const before = Date.now() * 1000;
    const { body: id } = await post(target, '/log_raw_metric', METRIC, {
      authorization: `Bearer ${await token({ sub: 'anna' })}`,
    });
    const [row] = rows(target, 'metrics', id);
    expect(row).toMatchObject({
      user_id: 'anna',
      metric_name: 'page_load_time',
      metric_value: 2.5,
      data_string: '/dashboard',
    });
    expect(row?.['received_at']).toBeGreaterThanOrEqual(before);
    expect(row?.['happened_at']).toBe(row?.['received_at']);
  });

  test('stores an event with its data as JSON', async () => {
    const { body: id } = await post(target, '/log_raw_analytics', ANALYTICS);
    const [row] = rows(target, 'analytics', id);
    expect(row).toMatchObject({ user_id: 'user-1', type: 'tutorial_step', data_index: 'step_3' });
    expect(JSON.parse(String(row?.['data']))).toEqual(ANALYTICS.data);
  });

  test('accepts an empty type and data_index', async () => {
    const { body: id, status } = await post(target, '/log_raw_analytics', { type: '', data: {}, data_index: '' });
    expect(status).toBe(200);
    expect(rows(target, 'analytics', id)[0]).toMatchObject({ type: '', data: '{}', data_index: '' });
  });

  test.each([0, -1.5, 5e-324, 1.7976931348623157e308, 1e21, 2 ** 70, -0.1])('stores the value %p', async (value) => {
    const { body: id, status } = await post(target, '/log_raw_metric', { ...METRIC, metric_value: value });
    expect(status).toBe(200);
    expect(rows(target, 'metrics', id)[0]?.['metric_value']).toBe(value);
  });

  test('ignores unknown fields', async () => {
    expect((await post(target, '/log_raw_metric', { ...METRIC, extra: { a: 1 } })).status).toBe(200);
    expect((await post(target, '/log_raw_analytics', { ...ANALYTICS, user_id: 'other' })).status).toBe(200);
  });

  test.each([
    ['2026-01-31T23:59:59Z', Date.UTC(2026, 0, 31, 23, 59, 59) * 1000],
    ['2026-01-31T23:59:59.123456Z', Date.UTC(2026, 0, 31, 23, 59, 59) * 1000 + 123456],
    ['2026-01-31T23:59:59.123456789Z', Date.UTC(2026, 0, 31, 23, 59, 59) * 1000 + 123456],
    ['2026-02-01T05:29:59.5+05:30', Date.UTC(2026, 0, 31, 23, 59, 59) * 1000 + 500000],
    ['2024-02-29t00:00:00-00:00', Date.UTC(2024, 1, 29) * 1000],
    ['1969-12-31T23:59:59.999999Z', -1],
  ])('stores the timestamp %s', async (timestamp, microseconds) => {
    const { body: id, status } = await post(target, '/log_raw_metric', { ...METRIC, timestamp });
    expect(status).toBe(200);
    const [row] = rows(target, 'metrics', id);
    expect(row?.['happened_at']).toBe(microseconds);
    expect(row?.['received_at']).toBeGreaterThan(Date.UTC(2026, 0, 1) * 1000);
  });

  test('accepts a timestamp slightly in the future', async () => {
    const timestamp = new Date(Date.now() + 60_000).toISOString();
    expect((await post(target, '/log_raw_analytics', { ...ANALYTICS, timestamp })).status).toBe(200);
  });

  test.each([
    'application/json',
    'APPLICATION/JSON',
    'application/json; charset=utf-8',
    'application/vnd.api+json',
    'application/json;charset=UTF-8',
  ])('accepts the content type %s', async (type) => {
    expect((await post(target, '/log_raw_metric', METRIC, { 'content-type': type })).status).toBe(200);
  });

  test('reads a body without a content type as JSON', async () => {
    const response = await fetch(`${target.url}/log_raw_metric`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await token()}` },
      body: new TextEncoder().encode(JSON.stringify(METRIC)),
    });
    expect(response.status).toBe(200);
  });

  test('accepts a gzipped body', async () => {
    const packed = gzipSync(JSON.stringify(METRIC));
    expect((await post(target, '/log_raw_metric', packed, { 'content-encoding': 'gzip' })).status).toBe(200);
  });

  test('returns increasing IDs', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 20; i++) ids.push((await post(target, '/log_raw_metric', METRIC)).body);
    expect(ids).toEqual([...ids].sort());
    expect(new Set(ids).size).toBe(20);
  });

  test('stores concurrent requests under different IDs', async () => {
    const responses = await Promise.all(
      Array.from({ length: 200 }, (_, i) => post(target, '/log_raw_metric', { ...METRIC, metric_value: i })),
    );
    expect(responses.map(({ status }) => status)).toEqual(responses.map(() => 200));
    const stored = new Map(rows(target, 'metrics').map((row) => [row['id'], row['metric_value']]));
    expect(responses.map(({ body }) => stored.get(body))).toEqual(responses.map((_, i) => i));
  });
});

const missing = { msg: 'Field required', type: 'missing' };
const notString = { msg: 'Input should be a valid string', type: 'string_type' };
const notNumber = { msg: 'Input should be a valid number', type: 'float_type' };
const notNumeric = {
  msg: 'Input should be a valid number, unable to parse string as a number',
  type: 'float_parsing',
};
const notDictionary = { msg: 'Input should be a valid dictionary', type: 'dict_type' };
const tooShort = { msg: 'String should have at least 1 character', type: 'string_too_short' };
const notTimestamp = { msg: 'Input should be a valid datetime with an offset, in RFC 3339', type: 'datetime_parsing' };
const NON_STRINGS = [null, 1, true, [], {}];

describe('rejected requests', () => {
  const cases: [path: string, body: object, field: string, value: unknown, issue: object][] = [];
  const add = (path: string, body: object, field: string, values: unknown[], issue: object) => {
    for (const value of values) cases.push([path, body, field, value, issue]);
  };
  for (const field of ['metric_name', 'data_string']) {
    add('/log_raw_metric', METRIC, field, NON_STRINGS, notString);
    add('/log_raw_metric', METRIC, field, [undefined], missing);
    add('/log_raw_metric', METRIC, field, [''], tooShort);
  }
  add('/log_raw_metric', METRIC, 'metric_value', [null, [], {}, [1]], notNumber);
  add('/log_raw_metric', METRIC, 'metric_value', ['', 'abc', '0x10', '1e', '.'], notNumeric);
  add('/log_raw_metric', METRIC, 'metric_value', [undefined], missing);
  for (const field of ['type', 'data_index']) {
    add('/log_raw_analytics', ANALYTICS, field, NON_STRINGS, notString);
    add('/log_raw_analytics', ANALYTICS, field, [undefined], missing);
  }
  add('/log_raw_analytics', ANALYTICS, 'data', [null, 1, 'x', true, [], [{}]], notDictionary);
  add('/log_raw_analytics', ANALYTICS, 'data', [undefined], missing);
  for (const [path, body] of ROUTES) {
    add(path, body, 'timestamp', [null, 1, 1.7e12, true, {}], notString);
    const invalidTimes = [
      '',
      'now',
      '2026-01-01',
      '2026-01-01T00:00:00',
      '2026-02-30T00:00:00Z',
      '2026-01-01T24:00:00Z',
    ];
    const moreInvalidTimes = [
      '2026-13-01T00:00:00Z',
      '2026-01-01T00:00:60Z',
      '2026-01-01T00:00:00+24:00',
      '1767225600',
    ];
    add(path, body, 'timestamp', [...invalidTimes, ...moreInvalidTimes], notTimestamp);
  }

  test.each(cases)('rejects a request to %s: %o with %s = %p', async (path, body, field, value, issue) => {
    const response = await post(target, path, { ...body, [field]: value });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toEqual([{ loc: ['body', field], ...issue }]);
  });

  test('reports every invalid field at once', async () => {
    const response = await post(target, '/log_raw_metric', { metric_value: 'x', data_string: '' });
    expect(response.body.detail).toEqual([
      { loc: ['body', 'metric_name'], ...missing },
      { loc: ['body', 'metric_value'], ...notNumeric },
      { loc: ['body', 'data_string'], ...tooShort },
    ]);
  });

  test.each(['1', '"x"', 'true', '[]', '[{}]'])('rejects a body that is %s', async (body) => {
    for (const [path] of ROUTES) {
      const response = await post(target, path, body);
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toEqual([
        {
          loc: ['body'],
          msg: 'Input should be a valid dictionary or object to extract fields from',
          type: 'model_attributes_type',
        },
      ]);
    }
  });

  test('rejects a number that is not finite', async () => {
    const response = await post(
      target,
      '/log_raw_metric',
      '{"metric_name":"a","metric_value":1e999,"data_string":"b"}',
    );
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toEqual([
      { loc: ['body', 'metric_value'], msg: 'Input should be a finite number', type: 'finite_number' },
    ]);
  });

  test('rejects a timestamp too far in the future instead of clamping it', async () => {
    const count = rows(target, 'metrics').length;
    const timestamp = new Date(Date.now() + 3600_000).toISOString();
    const response = await post(target, '/log_raw_metric', { ...METRIC, timestamp });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toMatchObject([{ loc: ['body', 'timestamp'], type: 'value_error' }]);
    expect(rows(target, 'metrics').length).toBe(count);
  });

  test('rejects strings over their maximum length', async () => {
    const response = await post(target, '/log_raw_metric', {
      ...METRIC,
      metric_name: 'n'.repeat(1025),
      data_string: 's'.repeat(8193),
    });
    expect(response.body.detail).toEqual([
      { loc: ['body', 'metric_name'], msg: 'String should have at most 1024 characters', type: 'string_too_long' },
      { loc: ['body', 'data_string'], msg: 'String should have at most 8192 characters', type: 'string_too_long' },
    ]);
  });
});

describe('methods and paths', () => {
  test.each(['GET', 'PUT', 'DELETE', 'PATCH'])('returns 405 with Allow for %s on a recording route', async (method) => {
    for (const [path] of ROUTES) {
      const response = await fetch(target.url + path, { method });
      expect(response.status).toBe(405);
      expect(response.headers.get('allow')).toBe('POST');
      expect(await response.json()).toMatchObject({ code: 'method_not_allowed' });
    }
  });

  test('routes by path, regardless of the Host header', async () => {
    for (const host of ['x', 'ab', 'a.b', '127.0.0.1', 'a-rather-long-name.example']) {
      const request = (line: string) => rawRequest(target.url, [line, `Host: ${host}`, 'Connection: close', '', '']);
      expect(await request('GET /healthz HTTP/1.1')).toStartWith('HTTP/1.1 200');
      expect(await request('GET /abcdef/healthz HTTP/1.1')).toStartWith('HTTP/1.1 404');
      expect(await request('TRACE /healthz HTTP/1.1')).toStartWith('HTTP/1.1 405');
      expect(await request('POST /abcdefgh/log_raw_metric HTTP/1.1')).toStartWith('HTTP/1.1 404');
    }
  });

  // sent raw, because clients collapse two slashes into one
  test('returns 404 for //', async () => {
    const head = ['POST // HTTP/1.1', 'Host: x', 'Content-Length: 0', 'Connection: close', '', ''];
    expect(await rawRequest(target.url, head)).toStartWith('HTTP/1.1 404 ');
  });

  test.each(['/nothing', '/log_raw_metric/x', '/%00', '/..%2f', '/log_raw_metri'])(
    'returns 404 for %s',
    async (path) => {
      const response = await fetch(target.url + path, { method: 'POST', body: '{}' });
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: 'not_found' });
    },
  );
});
