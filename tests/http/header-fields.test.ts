import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { gzipSync } from 'node:zlib';
import { expectError, METRIC, post } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.stop());

/** Requests the page without decompressing it. */
const page = (headers: Record<string, string>) => fetch(`${target.url}/`, { headers, decompress: false });

describe('If-None-Match', () => {
  const etag = async () => (await page({})).headers.get('etag') ?? '';

  test.each([
    ['the tag', (tag: string) => tag],
    ['the weak tag', (tag: string) => `W/${tag}`],
    ['a list', (tag: string) => `"other", ${tag}`],
    ['a list of weak tags without spaces', (tag: string) => `W/"a",W/"b",W/${tag}`],
    ['a list with a comma in a tag', (tag: string) => `"a,b" ,\t${tag}`],
    ['a list with empty members', (tag: string) => `, ${tag},,`],
    ['a tag with a backslash before it', (tag: string) => `"a\\", ${tag}`],
    ['a wildcard', () => '*'],
  ])('returns 304 for %s', async (_name, field) => {
    const response = await page({ 'if-none-match': field(await etag()) });
    expect([response.status, await response.text()]).toEqual([304, '']);
    expect(response.headers.get('etag')).toBe(await etag());
  });

  test.each([
    ['another tag', () => '"other"'],
    ['the tag without quotes', (tag: string) => tag.slice(1, -1)],
    ['the tag in another tag', (tag: string) => `"a ${tag.slice(1, -1)}"`],
    ['a lower-case weak tag', (tag: string) => `w/${tag}`],
    ['a truncated tag', (tag: string) => tag.slice(0, -2)],
    ['an empty tag', () => '""'],
  ])('returns 200 for %s', async (_name, field) => {
    expect((await page({ 'if-none-match': field(await etag()) })).status).toBe(200);
  });
});

describe('Accept-Encoding', () => {
  test.each([
    'gzip',
    'GZip',
    'x-gzip',
    'br , gzip',
    'gzip;q=0.001',
    'gzip ; Q=1.000',
    '*',
    'br;q=1, *;q=0.1',
    'identity;q=0, *',
    'gzip\t;\tq=0.5',
    'gzip;level=9;q=0.2',
  ])('selects gzip for %p', async (accepted) => {
    expect((await page({ 'accept-encoding': accepted })).headers.get('content-encoding')).toBe('gzip');
  });
  test.each([
    'identity',
    'gzip;q=0',
    'gzip;q=0.000',
    'gzip;q=0, *',
    '*, gzip;Q=0',
    '*;q=0',
    'xgzip',
    'gzip;q=abc',
    'gzip;q=2',
    'gzip;q=-1',
    '',
    ',',
  ])('does not select gzip for %p', async (accepted) => {
    expect((await page({ 'accept-encoding': accepted })).headers.get('content-encoding')).toBeNull();
  });
});

describe('request body', () => {
  test.each([
    'application/json',
    'APPLICATION/JSON',
    'application/json;charset=UTF-8',
    'application/json\t; charset="utf-8"',
    'application/vnd.example+json',
    'application/json;',
    'application/json ; a="x;y, text/plain"',
  ])('is accepted as JSON with type %p', async (type) => {
    expect((await post(target, '/log_raw_metric', METRIC, { 'content-type': type })).status).toBe(200);
  });
  test.each([
    'text/plain',
    'application/jsonp',
    'application/json, text/plain',
    'json',
    'text/plain; a=application/json',
    'application/json-seq',
  ])('is rejected with type %p', async (type) => {
    const response = await post(target, '/log_raw_metric', METRIC, { 'content-type': type });
    expectError(response, 415, 'unsupported_media_type');
  });

  test.each(['gzip', 'GZIP', 'x-gzip', 'gzip, identity', ' identity ,\tGzip', 'gzip,'])(
    'is decompressed with coding %p',
    async (coding) => {
      const response = await post(target, '/log_raw_metric', gzipSync(JSON.stringify(METRIC)), {
        'content-encoding': coding,
      });
      expect(response.status).toBe(200);
    },
  );
  test.each(['identity', 'Identity', ',', 'identity, identity'])('is read as is with coding %p', async (coding) => {
    expect((await post(target, '/log_raw_metric', METRIC, { 'content-encoding': coding })).status).toBe(200);
  });
  test.each(['br', 'deflate', 'gzip, gzip', 'gzip, br', 'gzip;q=1, x', 'zstd'])(
    'is rejected with coding %p',
    async (coding) => {
      const response = await post(target, '/log_raw_metric', gzipSync(JSON.stringify(METRIC)), {
        'content-encoding': coding,
      });
      expectError(response, 415, 'unsupported_media_type');
    },
  );
});

test.each(['Bearer', 'bearer', 'BEARER', 'bEaReR'])('accepts the scheme %p', async (scheme) => {
  const response = await post(target, '/log_raw_metric', METRIC, { authorization: `${scheme} ${await token()}` });
  expect(response.status).toBe(200);
});
