import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ANALYTICS, expectError, METRIC, post, rows, send } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * The contract with clients of the original service, two routes of a FastAPI application. Requests and expected
 * responses come from its published tests; bodies follow pydantic's rules.
 */

let target: Target;
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, METRICS_TOKEN: 'a-token-for-scrapers' });
});
afterAll(() => target.stop());

const UUID_V7 = /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;
const METRIC_PATHS = ['/log_raw_metric', '/analytics/log_raw_metric', '/api/analytics/log_raw_metric'];
const EVENT_PATHS = ['/log_raw_analytics', '/analytics/log_raw_analytics', '/api/analytics/log_raw_analytics'];
const withSlash = (paths: readonly string[]) => paths.flatMap((path) => [path, `${path}/`]);

describe('recording routes', () => {
  test.each(withSlash(METRIC_PATHS))('%s records a metric', async (path) => {
    const { status, body: id } = await post(target, path, METRIC);
    expect(status).toBe(200);
    expect(rows(target, 'metrics', id)).toMatchObject([METRIC]);
  });

  test.each(withSlash(EVENT_PATHS))('%s records an event', async (path) => {
    const { status, body: id } = await post(target, path, ANALYTICS);
    expect(status).toBe(200);
    expect(rows(target, 'analytics', id)).toMatchObject([{ type: ANALYTICS.type, data_index: ANALYTICS.data_index }]);
  });

  test('shares idempotency, methods, metrics, rejections and documentation across the paths of a route', async () => {
    const first = await post(target, '/log_raw_metric', METRIC, { 'idempotency-key': 'alias' });
    for (const path of withSlash(METRIC_PATHS)) {
      const again = await post(target, path, METRIC, { 'idempotency-key': 'alias' });
      expect(again.body).toBe(first.body);
      expect(again.headers.get('idempotent-replayed')).toBe('true');
      const wrong = await send(target.url + path);
      expectError(wrong, 405, 'method_not_allowed');
      expect(wrong.headers.get('allow')).toBe('POST');
    }
    await post(target, '/api/analytics/log_raw_analytics/', {});
    const authorization = `Bearer ${await token()}`;
    const { body: rejections } = await send(`${target.url}/api/rejections`, { headers: { authorization } });
    expect(rejections.rejections[0].route).toBe('/log_raw_analytics');
    const metrics = await send(`${target.url}/metrics`, { headers: { authorization: 'Bearer a-token-for-scrapers' } });
    expect(metrics.text).not.toContain('route="/analytics');
    expect(metrics.text).not.toContain('route="/api/analytics/log');
    const { body: document } = await send(`${target.url}/swagger/json`);
    const documented = Object.keys(document.paths).filter((path) => path.includes('log_raw'));
    expect(documented.sort()).toEqual(['/log_raw_analytics', '/log_raw_metric']);
  });

  test.each(['/analytics/log_batch', '/log_raw_metric//', '/api/log_raw_metric', '/analytics//log_raw_metric'])(
    '%s returns 404',
    async (path) => expectError(await post(target, path, METRIC), 404, 'not_found'),
  );
});

describe('published tests of the original routes', () => {
  test.each([
    ['page_load_time', 2.5, '/dashboard'],
    ['api_calls_count', 100, 'external_api'],
    ['error_count', 0, 'no_errors'],
    ['temperature_delta', -5.2, 'cooling'],
    ['precision_test', 1.23456789, 'float_precision'],
    ['large_number', 999999999, 'max_value'],
    ['tiny_number', 0.0000001, 'min_value'],
  ])('returns the ID of a metric %s of %p as a JSON string', async (metric_name, metric_value, data_string) => {
    const { status, body } = await post(target, '/log_raw_metric', { metric_name, metric_value, data_string });
    expect(status).toBe(200);
    expect(body).toMatch(UUID_V7);
    expect(rows(target, 'metrics', body)).toMatchObject([
      { user_id: 'user-1', metric_name, metric_value, data_string },
    ]);
  });

  test.each([
    ['an empty request', {}, 'Field required'],
    ['a missing value and label', { metric_name: 'test' }, 'Field required'],
    ['a non-numeric value', { metric_name: 'test', metric_value: 'not_a_number' }, 'Input should be a valid number'],
    [
      'an empty name',
      { metric_name: '', metric_value: 1, data_string: 'test' },
      'String should have at least 1 character',
    ],
    [
      'an empty label',
      { metric_name: 'test', metric_value: 1, data_string: '' },
      'String should have at least 1 character',
    ],
  ])('rejects a metric with %s', async (_name, body, message) => {
    const response = await post(target, '/log_raw_metric', body);
    expect(response.status).toBe(422);
    expect(response.body.detail).toBeArray();
    expect(JSON.stringify(response.body.detail)).toContain(message);
  });

  test('reports every missing field of an empty metric', async () => {
    const { body } = await post(target, '/log_raw_metric', {});
    const fields = body.detail.map(({ loc }: { loc: string[] }) => loc.at(-1));
    expect(fields).toEqual(['metric_name', 'metric_value', 'data_string']);
    for (const issue of body.detail) expect(Object.keys(issue).sort()).toEqual(['loc', 'msg', 'type']);
  });

  test.each([
    {
      type: 'user_action',
      data: {
        action: 'button_click',
        button_id: 'submit_form',
        timestamp: '2023-01-01T00:00:00Z',
        metadata: { form_type: 'registration', fields_filled: 5 },
      },
      data_index: 'button_click_submit_form',
    },
    {
      type: 'agent_execution',
      data: {
        agent_id: 'agent_123',
        execution_id: 'exec_456',
        status: 'completed',
        duration_ms: 3500,
        nodes_executed: 15,
        blocks_used: [
          { block_id: 'llm_block', count: 3 },
          { block_id: 'http_block', count: 5 },
          { block_id: 'code_block', count: 2 },
        ],
        errors: [],
        metadata: { trigger: 'manual', user_tier: 'premium', environment: 'production' },
      },
      data_index: 'agent_123_exec_456',
    },
  ])('returns the ID of an event with nested data as a JSON string', async (event) => {
    const { status, body } = await post(target, '/log_raw_analytics', event);
    expect(status).toBe(200);
    expect(body).toMatch(UUID_V7);
    const [row] = rows(target, 'analytics', body);
    expect(row).toMatchObject({ user_id: 'user-1', type: event.type, data_index: event.data_index });
    expect(row?.['data']).toBe(JSON.stringify(event.data));
  });

  test.each([
    ['an empty request', {}, 'Field required'],
    ['missing data and index', { type: 'test' }, 'Field required'],
    [
      'data that is a string',
      { type: 'test', data: 'not_a_dict', data_index: 'x' },
      'Input should be a valid dictionary',
    ],
    ['a missing index', { type: 'test', data: { key: 'value' } }, 'Field required'],
  ])('rejects an event with %s', async (_name, body, message) => {
    const response = await post(target, '/log_raw_analytics', body);
    expect(response.status).toBe(422);
    expect(JSON.stringify(response.body.detail)).toContain(message);
  });
});

describe("pydantic's rules for bodies", () => {
  const parsing = { msg: 'Input should be a valid number, unable to parse string as a number', type: 'float_parsing' };
  const infinite = { msg: 'Input should be a finite number', type: 'finite_number' };
  const notNumber = { msg: 'Input should be a valid number', type: 'float_type' };
  const notString = { msg: 'Input should be a valid string', type: 'string_type' };
  const notObject = { msg: 'Input should be a valid dictionary', type: 'dict_type' };
  const missing = { msg: 'Field required', type: 'missing' };
  const tooShort = { msg: 'String should have at least 1 character', type: 'string_too_short' };

  // pydantic-core trims a string and parses it with Rust's f64::from_str; if that fails, it retries without underscores
  const numbers: [text: string, value: number][] = [
    ['"2.5"', 2.5],
    ['" 2.5 "', 2.5],
    ['"1e3"', 1000],
    ['"1E3"', 1000],
    ['"1e+3"', 1000],
    ['"12e-1"', 1.2],
    ['"1.0e12"', 1e12],
    ['"1.0E-12"', 1e-12],
    ['"0"', 0],
    ['"-0"', 0],
    ['"+1"', 1],
    ['"-1"', -1],
    ['".5"', 0.5],
    ['"5."', 5],
    ['"-.5"', -0.5],
    ['"+.5e1"', 5],
    ['"00012"', 12],
    ['"42"', 42],
    ['"  42.1  "', 42.1],
    ['"42.123"', 42.123],
    ['"\\n7\\t"', 7],
    ['"\\u00a07\\u2003"', 7],
    ['"\\u00857"', 7],
    ['"\\u30007"', 7],
    ['"1_000"', 1000],
    ['"1_000_000.0"', 1_000_000],
    ['"1_0.0_1"', 10.01],
    ['"1_e3"', 1000],
    ['"1e1_0"', 1e10],
    ['"123456789012345678901234567890"', 1.2345678901234568e29],
    ['"5e-324"', 5e-324],
    ['"1e-400"', 0],
    ['"1.7976931348623157e308"', Number.MAX_VALUE],
    ['"9007199254740993"', 9007199254740992],
    ['true', 1],
    ['false', 0],
    ['0', 0],
    ['1', 1],
    ['42', 42],
    ['42.5', 42.5],
    ['1e10', 1e10],
    ['-5.2', -5.2],
    ['9223372036854775808', 2 ** 63],
    ['9007199254740993', 9007199254740992],
    ['1e-400', 0],
    ['1.7976931348623157e308', Number.MAX_VALUE],
    ['0.1', 0.1],
    ['-0.0', 0],
  ];
  const notNumbers: [text: string, issue: object][] = [
    ...[
      'abc',
      '',
      ' ',
      '.',
      '+',
      '-',
      'e5',
      '1e',
      '1e+',
      '--1',
      '+-1',
      '1 2',
      '1,5',
      '0x10',
      '0b1',
      '1f',
      '1.2.3',
      '١٢',
      '_1',
      '1_',
      '_1.0',
      '1__0',
      '1.1__1',
      '1_0.0_',
      ' 1_0',
      '1_0 ',
      'true',
      'None',
      'in',
      'infin',
      'nanx',
      '\\ufeff1',
      '1\\u0000',
      '１',
      '½',
      '1e5.5',
      '$1',
      '1%',
      '#',
      '1;',
      'wrong',
      'not_a_number',
      '1_ 0',
      'i_nf',
    ].map((text): [string, object] => [`"${text}"`, parsing]),
    ...[
      'inf',
      '-inf',
      '+inf',
      'Inf',
      'INF',
      'infinity',
      '-Infinity',
      '+INFINITY',
      'nan',
      'NaN',
      '-nan',
      ' inf ',
      '1e999',
      '-1e999',
      '1_0e999',
      '9'.repeat(400),
    ].map((text): [string, object] => [`"${text}"`, infinite]),
    ['1e999', infinite],
    ['-1e999', infinite],
    ['null', notNumber],
    ['[]', notNumber],
    ['[1]', notNumber],
    ['{}', notNumber],
    ['{"value":1}', notNumber],
  ];
  const body = (value: string) => `{"metric_name":"n","metric_value":${value},"data_string":"s"}`;

  test.each(numbers)('parses metric_value %s as %p', async (text, value) => {
    const { status, body: id, text: response } = await post(target, '/log_raw_metric', body(text));
    expect({ status, response }).toEqual({ status: 200, response });
    expect(rows(target, 'metrics', id)[0]?.['metric_value']).toBe(value);
  });

  test.each(notNumbers)('rejects metric_value %s', async (text, issue) => {
    const response = await post(target, '/log_raw_metric', body(text));
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toEqual([{ loc: ['body', 'metric_value'], ...issue }]);
  });

  test.each(['"1"', 'true', '" 2.5 "'])('rejects metric_value %s in a batch, which is strict', async (text) => {
    const response = await post(target, '/log_batch', `{"metrics":[${body(text)}]}`);
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toEqual([{ loc: ['body', 'metrics', 0, 'metric_value'], ...notNumber }]);
  });

  const texts: [value: string, issue: object | undefined][] = [
    ['"a"', undefined],
    ['" "', undefined],
    ['"1"', undefined],
    ['"é"', undefined],
    ['"\\ud83d\\ude00"', undefined],
    ['"\\u0000"', undefined],
    ['"\\n"', undefined],
    ['"null"', undefined],
    ['1', notString],
    ['1.5', notString],
    ['true', notString],
    ['false', notString],
    ['null', notString],
    ['[]', notString],
    ['["a"]', notString],
    ['{}', notString],
    ['{"a":"b"}', notString],
  ];
  const fields: [path: string, sent: Record<string, string>, field: string, empty: object | undefined][] = [
    ['/log_raw_metric', { metric_name: '"n"', metric_value: '1', data_string: '"s"' }, 'metric_name', tooShort],
    ['/log_raw_metric', { metric_name: '"n"', metric_value: '1', data_string: '"s"' }, 'data_string', tooShort],
    ['/log_raw_analytics', { type: '"t"', data: '{}', data_index: '"i"' }, 'type', undefined],
    ['/log_raw_analytics', { type: '"t"', data: '{}', data_index: '"i"' }, 'data_index', undefined],
  ];
  const objects: [value: string, issue: object | undefined][] = [
    ['{}', undefined],
    ['{"a":null}', undefined],
    ['{"":{"":[]}}', undefined],
    ['null', notObject],
    ['"{}"', notObject],
    ['[]', notObject],
    ['[["a",1]]', notObject],
    ['1', notObject],
    ['true', notObject],
    ['""', notObject],
  ];
  const cases = [
    ...fields.flatMap(([path, sent, field, empty]) =>
      [...texts, ['""', empty] as const].map(([value, issue]) => ({
        path,
        sent: { ...sent, [field]: value },
        field,
        issue,
      })),
    ),
    ...fields.map(([path, sent, field]) => {
      const { [field]: _, ...rest } = sent;
      return { path, sent: rest, field, issue: missing };
    }),
    ...objects.map(([value, issue]) => ({
      path: '/log_raw_analytics',
      sent: { type: '"t"', data: value, data_index: '"i"' },
      field: 'data',
      issue,
    })),
  ];
  test.each(cases)('validates %j', async ({ path, sent, field, issue }) => {
    const text = `{${Object.entries(sent).map(([key, value]) => `${JSON.stringify(key)}:${value}`)}}`;
    const response = await post(target, path, text);
    if (issue === undefined) expect(response.status).toBe(200);
    else expect(response.body.detail).toEqual([{ loc: ['body', field], ...issue }]);
  });

  test('reports a null body as missing', async () => {
    for (const path of ['/log_raw_metric', '/log_raw_analytics', '/log_batch']) {
      const response = await post(target, path, 'null');
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toEqual([{ loc: ['body'], ...missing }]);
    }
  });

  test('parses long strings around a number in linear time', async () => {
    for (const text of [`${' '.repeat(500_000)}x`, `${'1'.repeat(500_000)}x`, `x${' '.repeat(500_000)}1`]) {
      expectError(await post(target, '/log_raw_metric', body(JSON.stringify(text))), 422, 'validation_failed');
    }
  });
});

describe('labels in batches', () => {
  test('stores an empty label when it is omitted', async () => {
    const { status, body } = await post(target, '/log_batch', {
      metrics: [{ metric_name: 'm', metric_value: 1 }],
      analytics: [{ type: 't', data: {} }],
    });
    expect(status).toBe(200);
    expect(rows(target, 'metrics', body.metrics[0])).toMatchObject([{ data_string: '' }]);
    expect(rows(target, 'analytics', body.analytics[0])).toMatchObject([{ data_index: '' }]);
  });

  test('validates a label that is present', async () => {
    const response = await post(target, '/log_batch', {
      metrics: [{ metric_name: 'm', metric_value: 1, data_string: null }],
      analytics: [{ type: 't', data: {}, data_index: 1 }],
    });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail.map(({ loc }: { loc: unknown[] }) => loc.at(-1))).toEqual([
      'data_string',
      'data_index',
    ]);
  });
});

test('returns data as it was sent, with the order of keys and every digit', async () => {
  const data = '{"b":1,"2":{"z":[1.50,12345678901234567890],"0":-0},"1":3,"__proto__":{"9":1,"8":2}}';
  const stored = data.replace('1.50', '1.5');
  const { body: id } = await post(target, '/log_raw_analytics', `{"type":"ordered","data":${data},"data_index":""}`);
  const batch = `{"analytics":[{"data":{},"type":"ordered"},{"type":"ordered","data": ${data} }]}`;
  const { body: ids } = await post(target, '/log_batch', batch);
  const headers = { authorization: `Bearer ${await token()}` };
  for (const path of ['/api/records/analytics?type=ordered', '/api/export/analytics?type=ordered']) {
    const { text } = await send(target.url + path, { headers });
    expect(text.split(stored).length - 1).toBe(2);
  }
  for (const eventId of [id, ids.analytics[1]]) expect(rows(target, 'analytics', eventId)[0]?.['data']).toBe(stored);
  expect(rows(target, 'analytics', ids.analytics[0])[0]?.['data']).toBe('{}');
});
