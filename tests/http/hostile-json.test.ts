import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ANALYTICS, expectError, METRIC, post, ROUTES, rows, send } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.stop());

/** Returns an event with the given JSON text as its data. */
const event = (data: string) => `{"type":"t","data_index":"i","data":${data}}`;

async function storedData(id: string): Promise<string> {
  return String(rows(target, 'analytics', id)[0]?.['data']);
}

describe('invalid JSON', () => {
  const invalid: [string, string | Buffer][] = [
    ['an empty body', ''],
    ['whitespace', '  \n'],
    ['a truncated object', '{"metric_name":"a"'],
    ['two objects', '{}{}'],
    ['single quotes', "{'a':1}"],
    ['a trailing comma', '{"a":1,}'],
    ['a comment', '{"a":1} // x'],
    ['NaN', '{"metric_value":NaN}'],
    ['Infinity', '{"metric_value":-Infinity}'],
    ['a hexadecimal number', '{"metric_value":0x10}'],
    ['a leading zero', '{"metric_value":01}'],
    ['a bare NUL', '{"metric_name":"a\0b"}'],
    ['form data', 'metric_name=a&metric_value=1'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    [
      'a surrogate in UTF-8',
      Buffer.concat([Buffer.from('{"metric_name":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
    ],
    ['UTF-16', Buffer.from('{"metric_name":"a"}', 'utf16le')],
  ];
  test.each(invalid)('is rejected with 400 when it is %s', async (_name, body) => {
    for (const [path] of ROUTES) expectError(await post(target, path, body), 400, 'invalid_json');
  });

  test('is rejected with 400 when an uncompressed body is declared as gzip', async () => {
    expectError(await post(target, '/log_raw_metric', METRIC, { 'content-encoding': 'gzip' }), 400, 'invalid_json');
  });
});

describe('unsupported media types', () => {
  const types = [
    'text/plain',
    'text/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'json',
    'application/jsonp',
    '*/*',
  ];
  test.each(types)('returns 415 for the content type %s', async (type) => {
    for (const [path, body] of ROUTES) {
      expectError(await post(target, path, body, { 'content-type': type }), 415, 'unsupported_media_type');
    }
  });
  test.each(['br', 'deflate', 'zstd', 'gzip, gzip', 'x'])(
    'returns 415 for the content encoding %s',
    async (encoding) => {
      const response = await post(target, '/log_raw_metric', METRIC, { 'content-encoding': encoding });
      expectError(response, 415, 'unsupported_media_type');
    },
  );
});

describe('nesting', () => {
  const lists = (depth: number) => event(`{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`);
  const objects = (depth: number) => event(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);

  test('accepts 150 levels', async () => {
    for (const body of [lists(150), objects(150)]) {
      const { body: id, status } = await post(target, '/log_raw_analytics', body);
      expect(status).toBe(200);
      expect(JSON.parse(await storedData(id))).toEqual(JSON.parse(body).data);
    }
  });
  test.each([250, 5_000, 40_000, 170_000])('rejects %d levels', async (depth) => {
    for (const body of [lists(depth), objects(depth), lists(depth).replaceAll(']', '')]) {
      const response = await post(target, '/log_raw_analytics', body);
      expect([400, 413, 422]).toContain(response.status);
      expectError(response, response.status, response.body.code);
    }
  });
  test('counts the levels of unknown fields', async () => {
    const body = `{"metric_name":"a","metric_value":1,"data_string":"b","x":${'['.repeat(9000)}${']'.repeat(9000)}}`;
    const response = await post(target, '/log_raw_metric', body);
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toMatchObject([{ loc: ['body'], type: 'recursion_limit' }]);
  });
});

describe('stored data', () => {
  test.each([
    ['integers above 2^53', '{"n":12345678901234567890,"m":-9007199254740993}'],
    ['numbers beyond a double', '{"n":1e999,"m":-1E+999,"o":1e-999}'],
    ['more digits than a double has', '{"n":0.1234567890123456789,"m":[3.14159265358979323846]}'],
    ['a negative zero', '{"n":-0,"m":-0.0}'],
    ['text that looks like numbers', '{"a":"x: 12345678901234567890, -0.0","b":"1e5"}'],
  ])('keeps every digit of %s', async (_name, data) => {
    const { body: id, status } = await post(target, '/log_raw_analytics', event(data));
    expect(status).toBe(200);
    expect(await storedData(id)).toBe(data);
  });

  test.each([
    ['the key __proto__', '{"__proto__":{"admin":true},"constructor":{"prototype":1}}'],
    ['NUL and other controls, escaped', '{"a\\u0000b":"\\u0000\\u0001\\u001f\\u007f"}'],
    ['an escaped lone surrogate', '{"a":"\\ud800","\\udc00":1}'],
    ['the replacement character', '{"a":"\ufffd"}'],
    ['an empty key', '{"":1}'],
    ['numbers in other forms', '{"a":1.0,"b":1e2,"c":1E-2,"d":[100e-2]}'],
  ])('keeps %s', async (_name, data) => {
    const { body: id, status } = await post(target, '/log_raw_analytics', event(data));
    expect(status).toBe(200);
    expect(JSON.parse(await storedData(id))).toEqual(JSON.parse(data));
  });

  test('keeps the last of duplicate keys', async () => {
    const twice = '{"metric_name":"a","metric_name":"b","metric_value":1,"metric_value":2,"data_string":"s"}';
    const { body: id } = await post(target, '/log_raw_metric', twice);
    expect(rows(target, 'metrics', id)[0]).toMatchObject({ metric_name: 'b', metric_value: 2 });
    const event = await post(
      target,
      '/log_raw_analytics',
      '{"type":"t","data_index":"i","data":{"a":1,"a":2},"data":{"b":1,"b":12345678901234567890}}',
    );
    expect(await storedData(event.body)).toBe('{"b":12345678901234567890}');
  });

  test('pollutes no prototype', () => {
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
  });
});

describe('strings', () => {
  test.each(['metric_name', 'data_string'])('rejects a lone surrogate in %s', async (field) => {
    const response = await post(
      target,
      '/log_raw_metric',
      JSON.stringify({ ...METRIC, [field]: 'X' }).replace('"X"', '"\\ud83d"'),
    );
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toEqual([
      {
        loc: ['body', field],
        msg: 'Input should be a valid string, unable to parse raw data as a unicode string',
        type: 'string_unicode',
      },
    ]);
  });
  test('stores NUL, line breaks, quotes and any Unicode', async () => {
    const text = `a\0b\n"';--\u2028\ufffd\ufffe 東京 😀 e\u0301`;
    const { body: id } = await post(target, '/log_raw_metric', { ...METRIC, metric_name: text, data_string: text });
    expect(rows(target, 'metrics', id)[0]).toMatchObject({ metric_name: text, data_string: text });
  });
  test('ignores a leading byte order mark', async () => {
    expect((await post(target, '/log_raw_metric', `\ufeff${JSON.stringify(METRIC)}`)).status).toBe(200);
  });
});

test('parses long numbers in linear time', async () => {
  // in quadratic time each of these would take many minutes and block every other request
  const zeros = '0'.repeat(900_000);
  for (const number of [
    `0.1${zeros}1`,
    `1${zeros}`,
    `0.${zeros}1`,
    `1${zeros}.${'0'.repeat(50_000)}1e5`,
    `-0.${zeros}`,
  ]) {
    const { status, body: id } = await post(target, '/log_raw_analytics', event(`{"n":${number}}`));
    expect(status).toBe(200);
    expect(JSON.parse(await storedData(id))).toEqual({ n: Number(number) });
  }
});

test('returns no 5xx for any mixture of these inputs', async () => {
  const parts = [
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    'null',
    '-',
    '1e999',
    '\\u0000',
    '"metric_name"',
    '"data"',
    '"__proto__"',
    '\0',
    'é',
    '{}',
  ];
  let seed = 20_261;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  for (let i = 0; i < 400; i++) {
    const body = Array.from({ length: random(12) }, () => parts[random(parts.length)]).join('');
    for (const [path] of ROUTES) expect((await post(target, path, body)).status).toBeOneOf([400, 422]);
  }
  for (const [path, valid] of ROUTES) {
    const text = JSON.stringify(valid);
    for (let cut = 0; cut < text.length; cut++) expect((await post(target, path, text.slice(0, cut))).status).toBe(400);
  }
  const headers = { authorization: `Bearer ${await token()}` };
  for (const path of ['/%', '/%ff', '/log_raw_metric?%', '/log_raw_metric?a[]=1&__proto__=2', '/log_raw_analytics#x']) {
    expect((await send(target.url + path, { method: 'POST', headers, body: '{}' })).status).toBeLessThan(500);
  }
  expect((await post(target, '/log_raw_analytics', ANALYTICS)).status).toBe(200);
});
