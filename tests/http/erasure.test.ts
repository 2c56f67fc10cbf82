import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { expectError, type HttpResponse, post, rows, send } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
let target: Target;
let admin: Record<string, string>;
beforeAll(async () => {
  admin = await bearer({ sub: 'root', role: 'admin' });
  target = await startTarget(UNLIMITED, { dataDir: join(folder.path, 'data') });
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

const bearer = async (claims: Record<string, unknown>) => ({ authorization: `Bearer ${await token(claims)}` });
const get = (path: string, headers = admin): Promise<HttpResponse> => send(target.url + path, { headers });
const erase = (user: string, headers = admin): Promise<HttpResponse> =>
  send(`${target.url}/api/users/${encodeURIComponent(user)}`, { method: 'DELETE', headers });
/** Records as a user, with that user's token. */
const recordFor = async (user: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
  post(target, path, body, { ...(await bearerOf(user)), ...headers });
const bearers = new Map<string, Promise<Record<string, string>>>();
function bearerOf(user: string): Promise<Record<string, string>> {
  const known = bearers.get(user) ?? bearer({ sub: user });
  bearers.set(user, known);
  return known;
}

test('lets an erased user record again, and treats their earlier keys as new', async () => {
  const body = { metric_name: 'again', metric_value: 1, data_string: 'a' };
  const first = await recordFor('returns', '/log_raw_metric', body, { 'idempotency-key': 'returning' });
  expect((await erase('returns')).body.deleted).toEqual({ metrics: 1, analytics: 0 });
  const second = await recordFor('returns', '/log_raw_metric', body, { 'idempotency-key': 'returning' });
  expect(second.headers.get('idempotent-replayed')).toBeNull();
  expect(second.body).not.toBe(first.body);
  const { body: names } = await get('/api/metrics?user_id=returns');
  expect(names.metrics).toMatchObject([{ name: 'again', count: 1 }]);
});

describe('the ID in the path', () => {
  const ids = [
    'a/b',
    '/',
    'ü 🦀',
    '100%',
    '%2F',
    '%',
    'a+b',
    'a b',
    'a?b#c',
    "o'b; DROP TABLE metrics; --",
    '"',
    '\\',
    '*',
    ':user_id',
  ];
  test.each(ids)('selects only the user %p', async (user) => {
    const neighbors = [user.slice(1), `${user}x`, encodeURIComponent(user)].filter(
      (neighbor) => neighbor !== '' && neighbor !== user,
    );
    for (const userId of [user, ...neighbors]) {
      expect(
        (await recordFor(userId, '/log_raw_metric', { metric_name: 'id', metric_value: 1, data_string: userId }))
          .status,
      ).toBe(200);
    }
    const response = await erase(user);
    expect(response.status).toBe(200);
    expect(response.body).toEqual({ user_id: user, deleted: { metrics: 1, analytics: 0 } });
    const left = rows(target, 'metrics').filter((row) => row['metric_name'] === 'id');
    expect(left.map((row) => row['user_id'])).toEqual(neighbors);
    for (const neighbor of neighbors) expect((await erase(neighbor)).body.deleted.metrics).toBe(1);
  });

  test.each([['%00'], ['a%0Ab'], ['x'.repeat(256)], ['%7F'], ['%25%'], ['%ff'], ['%zz']])(
    'is rejected when it is %p',
    async (text) => {
      const response = await send(`${target.url}/api/users/${text}`, { method: 'DELETE', headers: admin });
      expectError(response, 422, 'validation_failed');
      const msg = 'String should have 1 to 255 characters and no control characters';
      expect(response.body.detail).toEqual([{ loc: ['path', 'user_id'], msg, type: 'string_pattern_mismatch' }]);
    },
  );
});

describe('callers who are not admins', () => {
  test('cannot erase anyone, including themselves', async () => {
    const body = { metric_name: 'kept', metric_value: 1, data_string: 'a' };
    await recordFor('user-1', '/log_raw_metric', body);
    for (const claims of [{ sub: 'user-1' }, { sub: 'user-1', role: 'Admin' }, { sub: 'user-1', role: ['admin'] }]) {
      expectError(await erase('user-1', await bearer(claims)), 403, 'forbidden');
      expectError(await erase('nobody', await bearer(claims)), 403, 'forbidden');
      expectError(await erase('\0', await bearer(claims)), 403, 'forbidden');
    }
    expectError(await erase('user-1', {}), 401, 'unauthorized');
    expectError(await erase('user-1', { authorization: 'Bearer x.y.z' }), 401, 'unauthorized');
    expect(rows(target, 'metrics').filter((row) => row['metric_name'] === 'kept')).toHaveLength(1);
  });

  test('other methods, and paths without an ID, erase no user', async () => {
    const response = await send(`${target.url}/api/users/user-1`, { method: 'POST', headers: admin });
    expectError(response, 405, 'method_not_allowed');
    expect(response.headers.get('allow')).toBe('DELETE');
    expectError(await send(`${target.url}/api/users`, { method: 'DELETE', headers: admin }), 422, 'validation_failed');
    for (const path of ['/api/users/', '/api/users/user-1/', '/api/users/a/b']) {
      const { status } = await send(target.url + path, { method: 'DELETE', headers: admin });
      expect(status).toBe(404);
    }
    expect(rows(target, 'metrics').filter((row) => row['metric_name'] === 'kept')).toHaveLength(1);
  });
});

test('logs the hash of the admin and the counts of an erasure, but not the user', async () => {
  const user = 'a user whose ID is not logged';
  for (const metric_name of ['first', 'second', 'third']) {
    await recordFor(user, '/log_raw_metric', { metric_name, metric_value: 1, data_string: 'x' });
  }
  await erase(user);
  const line = await target.logged(({ msg, metrics }) => msg === 'user erased' && metrics === 3);
  const admin_hash = expect.stringMatching(/^[\da-f]{16}$/);
  expect(line).toMatchObject({ level: 'warn', admin_hash, metrics: 3, analytics: 0 });
  expect(target.output().stderr).not.toContain(user);
});

test('the log does not contain the ID of an erased admin, whatever the admin did', async () => {
  const logging = await startTarget({ ...UNLIMITED, LOG_LEVEL: 'debug', SLOW_QUERY: '1ms' });
  try {
    const headers = await bearer({ sub: 'erased-admin-4711', role: 'admin' });
    const body = { metric_name: 'm', metric_value: 1, data_string: 'x' };
    const request = (path: string, method: string, by = headers) => send(logging.url + path, { method, headers: by });
    await post(logging, '/log_raw_metric', body, { ...headers, 'x-act-as-user-id': 'ada' });
    await post(logging, '/log_batch', { metrics: [{ ...body, user_id: 'ada' }] }, headers);
    await post(logging, '/log_raw_metric', {}, headers);
    await request('/api/metrics?unknown=erased-admin-4711', 'GET');
    await request('/api/metrics/series?name=m&user_id=erased-admin-4711&interval=year', 'GET');
    await request('/api/records/metrics?name=m&dry_run=true', 'DELETE');
    await request('/api/records/metrics?name=m', 'DELETE');
    await request('/api/users/ada', 'DELETE');
    await request('/api/users?user_id=erased-admin-4711', 'DELETE', await bearer({ sub: 'other', role: 'admin' }));
    const messages = ['admin is recording for another user', 'records counted for a deletion', 'records deleted'];
    for (const message of messages) {
      const { admin_hash } = await logging.logged(({ msg }) => msg === message);
      expect(admin_hash).toMatch(/^[\da-f]{16}$/);
    }
    await logging.stop();
    expect(new Set(logging.logLines().flatMap((line) => line['admin_hash'] ?? [])).size).toBe(2);
    expect(logging.output().stderr).not.toContain('erased-admin-4711');
  } finally {
    await logging.stop();
  }
});
