import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, type Row, rows, send } from '../harness/client.ts';
import { rawRequest } from '../harness/raw-http.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let bearer: string;
let admin: string;
beforeAll(async () => {
  target = await startTarget();
  bearer = `Authorization: Bearer ${await token()}`;
  admin = `Authorization: Bearer ${await token({ sub: 'root', role: 'admin' })}`;
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
});
afterAll(() => target.stop());

/** Sends a raw request line and header lines; returns the status, and the body if it is JSON. */
async function raw(line: string, lines: readonly string[], body = '') {
  const length = body === '' ? [] : [`Content-Length: ${body.length}`, 'Content-Type: application/json'];
  const response = await rawRequest(target.url, [line, ...lines, ...length, 'Connection: close', '', body]);
  const text = Buffer.from(response.slice(response.indexOf('\r\n\r\n') + 4), 'latin1').toString();
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(response)?.[1]);
  return { status, response, body: /content-type: application\/json/i.test(response) ? JSON.parse(text) : undefined };
}

const HOSTS = ['x', 'a b', 'x:abc', '::1', '', 'x:99999', 'a/b', 'a?b', 'a#b', '[', 'http://x', 'user@x', 'a\\b'];
const ROUTES: [method: string, target: string, status: number][] = [
  ['GET', '/api/metrics', 200],
  ['GET', '/api/analytics', 200],
  ['GET', '/api/activity?interval=day', 200],
  ['GET', '/api/metrics/series?name=page_load_time&data_string=%2Fdashboard', 200],
  ['GET', '/api/analytics/counts?type=a', 200],
  ['GET', '/api/analytics/funnel?type=a&step=b&step=c', 200],
  ['GET', '/api/analytics/retention?type=a&step=b', 200],
  ['GET', '/api/records/metrics?limit=1', 200],
  ['GET', '/api/records/analytics', 200],
  ['GET', '/api/export/metrics?format=csv', 200],
  ['GET', '/api/export/analytics', 200],
  ['GET', '/api/rejections?limit=1', 200],
  ['GET', '/api/status', 200],
  ['GET', '/api/metrics?limit=x', 422],
  ['GET', '/healthz', 200],
  ['GET', '/readyz', 200],
  ['GET', '/swagger', 200],
  ['GET', '/swagger/json', 200],
  ['GET', '/swagger/swagger-ui.css', 200],
  ['GET', '/swagger/start.js', 200],
  ['GET', '/', 200],
  ['GET', '/api/nothing', 404],
  ['DELETE', '/api/users/nobody', 200],
  ['DELETE', '/api/users?user_id=nobody', 200],
  ['DELETE', '/api/records/metrics?name=none', 200],
  ['DELETE', '/api/records/analytics?type=none', 200],
  ['PUT', '/api/metrics', 405],
  ['POST', '/log_raw_metric', 200],
];

describe('every route', () => {
  test.each(HOSTS)('works with the Host %p', async (host) => {
    for (const [method, path, status] of ROUTES) {
      const body = method === 'POST' ? JSON.stringify(METRIC) : '';
      const result = await raw(`${method} ${path} HTTP/1.1`, [`Host: ${host}`, admin], body);
      expect([method, path, result.status]).toEqual([method, path, status]);
    }
  });

  test('works in HTTP/1.0 without a Host', async () => {
    for (const [method, path, status] of ROUTES) {
      const body = method === 'POST' ? JSON.stringify(METRIC) : '';
      const result = await raw(`${method} ${path} HTTP/1.0`, [admin], body);
      expect([method, path, result.status]).toEqual([method, path, status]);
    }
  });
});

test.each(['x', 'a b', ''])('parses the query string regardless of the Host %p', async (host) => {
  const { body } = await raw('GET /api/metrics/series?name=page_load_time&data_string=%2Fdashboard HTTP/1.1', [
    `Host: ${host}`,
    bearer,
  ]);
  expect(body.buckets).toMatchObject([{ count: 1 }]);
});

test.each(['/aaaaaaa/api/metrics', '/aaaaaaa/api/status', '/aaaaaaa/healthz'])(
  'returns 404 for a longer path that ends like a route, regardless of the Host: %s',
  async (path) => {
    for (const host of HOSTS)
      expect((await raw(`GET ${path} HTTP/1.1`, [`Host: ${host}`, bearer])).body.code).toBe('not_found');
  },
);

test.each(['name=%zz', 'name=%ff', 'name=%', 'name=a#b', '%c3=1'])(
  'rejects the ambiguous query string %p',
  async (query) => {
    const result = await raw(`GET /api/metrics/series?${query} HTTP/1.1`, ['Host: x', bearer]);
    expect([result.status, result.body.detail]).toEqual([
      422,
      [{ loc: ['query'], msg: 'Value error, the query string should be percent-encoded UTF-8', type: 'value_error' }],
    ]);
  },
);

test('decodes raw UTF-8 in the query string like percent-encoded UTF-8', async () => {
  for (const query of ['name=é😀', 'name=%C3%A9%F0%9F%98%80']) {
    const { body } = await raw(`GET /api/metrics/series?${query} HTTP/1.1`, ['Host: x', bearer]);
    expect(body.name).toBe('é😀');
  }
});

test('treats a second "?" as part of the first parameter name', async () => {
  for (const query of ['?name=a', '?&name=a', '??name=a']) {
    const { status, body } = await raw(`GET /api/metrics/series?${query} HTTP/1.1`, ['Host: x', bearer]);
    const name = query.split(/[&=]/)[0];
    expect([status, body.detail.at(-1)]).toEqual([
      422,
      { loc: ['query', name], msg: 'Extra inputs are not permitted', type: 'extra_forbidden' },
    ]);
  }
});

describe('user erasure', () => {
  const USERS = ['bob', 'CORP\\bob', 'CORP', 'a/b', 'a', 'b', 'a#b', '.', '..', 'a+b', 'a b', '%5c', 'é', 'api'];
  const left = () => rows(target, 'metrics').filter((row: Row) => row['metric_name'] === 'kept');
  const record = async () => {
    const headers = { authorization: admin.replace('Authorization: ', '') };
    for (const user of USERS) {
      const acting = { ...headers, 'x-act-as-user-id': Buffer.from(user).toString('latin1') };
      expect((await post(target, '/log_raw_metric', { ...METRIC, metric_name: 'kept' }, acting)).status).toBe(200);
    }
  };
  beforeAll(record);

  test.each([
    '/api/users/CORP\\bob',
    '/api/users/CORP\\',
    '/api/users/a#b',
    '/api/users/bob#x',
    '/api/users/bob#',
    '/api/users/.',
    '/api/users/..',
    '/api/users/%2e',
    '/api/users/%2E%2e',
    '/api/users/.%2e',
    '/api/users/x/../bob',
    '/api/users/./bob',
    '/api/users/.\\bob',
    '/api/users/x\\..\\bob',
    '/api/users/%62ob%',
    '/api/users/bob%00',
    '/api/users/%zzbob',
    '/api/users/bob%ff',
    '/api/users/bob?user_id=bob',
    '/api/users/bob?user_id=a',
    '/api/users/bob?x=1',
    '/api/users',
    '/api/users?user_id=',
    '/api/users?user_id=bob&user_id=a',
    '/api/users?user_id=bob&x=1',
    '/api/users?user_id=a+b',
    '/api/users?user_id=bob#x',
    '/api/users?user_id=bob%',
    '/api/users?user_id=bob%ff',
    '/api/users?user_id=bob%00',
    '/api/users??user_id=bob',
  ])('is rejected when the ID is ambiguous: %s', async (path) => {
    for (const host of ['x', 'a b', '']) {
      const { status, response } = await raw(`DELETE ${path} HTTP/1.1`, [`Host: ${host}`, admin]);
      // with an invalid host Bun does not normalize the path, and no route matches
      expect([path, host === 'x' ? [422] : [422, 404], response]).toEqual([
        path,
        expect.arrayContaining([status]),
        response,
      ]);
    }
    expect(left()).toHaveLength(USERS.length);
  });

  test.each([
    '/api/users/',
    '/api/users/a/b',
    '/api/users//bob',
    '/api/users/bob/',
    '/api/users/bob/.',
    '//api/users/bob',
    '/x/api/users/bob',
  ])('is not available at %s', async (path) => {
    for (const host of ['x', 'a b'])
      expect((await raw(`DELETE ${path} HTTP/1.1`, [`Host: ${host}`, admin])).status).toBe(404);
    expect(left()).toHaveLength(USERS.length);
  });

  test('reads the ID from the path, decoded once, or from the query string, and erases no other user', async () => {
    const erased = new Set<string>();
    for (const user of USERS) {
      const inPath = /^\.+$/.test(user) ? undefined : `/api/users/${encodeURIComponent(user)}`;
      const path = inPath ?? `/api/users?user_id=${encodeURIComponent(user)}`;
      const { status, body } = await raw(`DELETE ${path} HTTP/1.1`, ['Host: x', admin]);
      expect([status, body]).toEqual([200, { user_id: user, deleted: { metrics: 1, analytics: 0 } }]);
      erased.add(user);
      expect(left().map((row) => row['user_id'])).toEqual(USERS.filter((user) => !erased.has(user)));
    }
    await record();
    for (const user of USERS) {
      const path = `${target.url}/api/users?user_id=${encodeURIComponent(user)}`;
      const headers = { authorization: admin.replace('Authorization: ', '') };
      expect((await send(path, { method: 'DELETE', headers })).body).toEqual({
        user_id: user,
        deleted: { metrics: 1, analytics: 0 },
      });
    }
    expect(left()).toEqual([]);
  });
});

test('no source file builds a URL from a request', () => {
  const sources = readdirSync(join(import.meta.dir, '../../src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /^(http|ingest|query|export|tail|auth)\/.*\.ts$|^(app|server)\.ts$/.test(name))
    .filter((name) => name !== 'query/clickhouse/worker.ts') // the address of its engine
    .map((name) => [name, readFileSync(join(import.meta.dir, '../../src', name), 'utf8')] as const);
  expect(sources.length).toBeGreaterThan(40);
  for (const [name, text] of sources) {
    // sources only build URLs of files
    const built = [...text.matchAll(/new URL\(([^)]*)|URL\.(?:parse|canParse)\(([^)]*)/g)].map(([call]) => call);
    expect([name, built.filter((call) => !call.endsWith('import.meta.url'))]).toEqual([name, []]);
    // and only these files read a request's URL
    if (!/^http\/request-(target|start)\.ts$/.test(name))
      expect([name, /request\.url\b(?!`)/.test(text)]).toEqual([name, false]);
  }
});
