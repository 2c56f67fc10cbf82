import { Database } from 'bun:sqlite';
import { afterEach, expect, test } from 'bun:test';
import { ANALYTICS, expectError, type HttpResponse, METRIC, post, rows, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
afterEach(() => target.stop());

const bearer = async (claims: object) => ({ authorization: `Bearer ${await token({ ...claims })}` });
const [anna, berta, admin] = await Promise.all([
  bearer({ sub: 'anna' }),
  bearer({ sub: 'berta' }),
  bearer({ sub: 'root', role: 'admin' }),
]);

const get = (query = '', headers: Record<string, string> = admin) =>
  send(`${target.url}/api/rejections${query}`, { headers });

interface Rejection {
  readonly code: string;
  readonly items: number;
  readonly user_id: string | null;
  readonly request_id: string;
}

async function rejections(query = '', headers: Record<string, string> = admin): Promise<Rejection[]> {
  const { status, body } = await get(query, headers);
  expect(status).toBe(200);
  expect(Object.keys(body)).toEqual(['rejections']);
  return body.rejections;
}

test('lists every rejected request with its response, newest first, and nothing else', async () => {
  target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '4/h', MAX_BATCH_ITEMS: '4', MAX_BODY_BYTES: '2000' });
  const began = Date.now();
  const key = { 'idempotency-key': 'k' };
  expect((await post(target, '/log_raw_metric', METRIC, { ...anna, ...key })).status).toBe(200);
  expect((await post(target, '/log_raw_metric', METRIC, { ...anna, ...key })).status).toBe(200);
  const rejected: [response: HttpResponse, route: string, items: number, user: string | null][] = [];
  const provoke = async (
    path: string,
    body: unknown,
    headers: Record<string, string>,
    items = 1,
    user: string | null = 'anna',
  ) => void rejected.push([await post(target, path, body, headers), path, items, user]);
  await provoke('/log_raw_metric', { metric_name: 1 }, anna);
  await provoke('/log_batch', { metrics: [METRIC, { ...METRIC, timestamp: 'x' }], analytics: [ANALYTICS] }, anna, 3);
  await provoke('/log_raw_analytics', '{', anna);
  await provoke('/log_raw_metric', 'x', { ...anna, 'content-type': 'text/plain' });
  await provoke('/log_raw_metric', { ...METRIC, metric_value: 3 }, { ...anna, ...key });
  await provoke('/log_raw_metric', METRIC, { ...anna, 'x-act-as-user-id': 'berta' });
  await provoke('/log_raw_metric', {}, { ...admin, 'x-act-as-user-id': 'berta' }, 1, 'root');
  await provoke('/log_raw_metric', 'x'.repeat(2001), anna);
  await provoke('/log_raw_metric', METRIC, { authorization: '' }, 1, null);
  await provoke('/log_raw_metric', METRIC, await bearer({ sub: 'anna', exp: 1 }), 1, null);
  await provoke('/log_batch', { metrics: Array(4).fill(METRIC) }, anna, 4);
  // none of these are recording requests
  await post(target, '/nothing', METRIC, anna);
  await send(`${target.url}/log_raw_metric`);
  expectError(await get('', {}), 401, 'unauthorized');
  expectError(await get('?limit=0'), 422, 'validation_failed');

  const found = await rejections();
  expect(found).toEqual(
    rejected
      .map(([{ body }, route, items, user_id]) => ({
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/),
        code: body.code,
        route,
        items,
        user_id,
        request_id: body.request_id,
        message: body.message,
        issues: Array.isArray(body.detail) ? body.detail : [],
      }))
      .reverse(),
  );
  expect(new Set(found.map(({ code }) => code))).toEqual(
    new Set([
      'validation_failed',
      'invalid_json',
      'unsupported_media_type',
      'idempotency_mismatch',
      'forbidden',
      'payload_too_large',
      'unauthorized',
      'rate_limited',
    ]),
  );
  for (const { at } of found as unknown as { at: string }[]) {
    expect(Date.parse(at)).toBeWithin(began, Date.now() + 1);
  }
  // the ledger counts the same number of items
  const { body: status } = await send(`${target.url}/api/status`, { headers: admin });
  const byCode: Record<string, number> = {};
  for (const { code, items } of found) byCode[code] = (byCode[code] ?? 0) + items;
  expect(status.ledger.rejected).toEqual(byCode);
});

test('shows users their own rejections, and admins all of them, including those without a user', async () => {
  target = await startTarget();
  await post(target, '/log_raw_metric', {}, anna);
  await post(target, '/log_raw_metric', {}, berta);
  await post(target, '/log_raw_metric', '{', berta);
  await post(target, '/log_raw_metric', METRIC, { authorization: '' });
  const users = async (query: string, headers?: Record<string, string>) =>
    (await rejections(query, headers)).map(({ user_id }) => user_id);
  expect(await users('')).toEqual([null, 'berta', 'berta', 'anna']);
  expect(await users('?user_id=berta')).toEqual(['berta', 'berta']);
  expect(await users('', anna)).toEqual(['anna']);
  expect(await users('?user_id=anna', anna)).toEqual(['anna']);
  expect(await users('?code=invalid_json', berta)).toEqual(['berta']);
  expect(await users('?code=unauthorized', berta)).toEqual([]);
  expect(await users('?code=unauthorized')).toEqual([null]);
  expect(await users('?limit=2')).toEqual([null, 'berta']);
  expectError(await get('?user_id=berta', anna), 403, 'forbidden');
  for (const query of ['?code=none', '?code=', '?limit=1001', '?limit=x', '?limit=1&limit=2']) {
    expectError(await get(query, anna), 422, 'validation_failed');
  }
});

test('keeps the last hundred rejections of each code', async () => {
  target = await startTarget(UNLIMITED);
  await post(target, '/log_raw_metric', '{', anna);
  const ids: string[] = [];
  for (let i = 0; i < 130; i++) ids.unshift((await post(target, '/log_raw_metric', {}, anna)).body.request_id);
  const found = await rejections('?limit=1000', anna);
  expect(found.map(({ request_id }) => request_id).slice(0, 100)).toEqual(ids.slice(0, 100));
  expect(found.slice(100).map(({ code }) => code)).toEqual(['invalid_json']);
  expect(await rejections('', anna)).toHaveLength(100);
});

test('a flood of one user does not hide the rejections of others', async () => {
  target = await startTarget(UNLIMITED);
  const reject = async (headers: Record<string, string>, times: number) => {
    const ids: string[] = [];
    while (ids.length < times) ids.unshift((await post(target, '/log_raw_metric', {}, headers)).body.request_id);
    return ids;
  };
  const idsOf = async (headers: Record<string, string>) =>
    (await rejections('?code=validation_failed&limit=1000', headers)).map(({ request_id }) => request_id);
  const early = await reject(berta, 3);
  const flood = await reject(anna, 130);
  expect(await idsOf(berta)).toEqual(early);
  expect(await idsOf(anna)).toEqual(flood.slice(0, 97));
  // each keeps a fair share of the same hundred
  const late = await reject(berta, 70);
  expect(await idsOf(berta)).toEqual(late.slice(0, 50));
  expect(await idsOf(anna)).toEqual(flood.slice(0, 50));
  const first = await reject(await bearer({ sub: 'carla' }), 1);
  expect((await idsOf(admin)).slice(0, 3)).toEqual([...first, ...late.slice(0, 2)]);
  expect(await idsOf(admin)).toHaveLength(100);
  // more users than places: the oldest are dropped
  for (let i = 0; i < 110; i++) await reject(await bearer({ sub: `user ${i}` }), 1);
  const users = (await rejections('?limit=1000')).map(({ user_id }) => user_id);
  expect(users).toEqual(Array.from({ length: 100 }, (_, i) => `user ${109 - i}`));
});

test('aggregates overload rejections without a user', async () => {
  target = await startTarget({ JWT_SECRET: SECRET, MAX_QUEUE_ROWS: '1', MAX_BATCH_ITEMS: '1' });
  const other = new Database(target.databasePath);
  other.run('BEGIN IMMEDIATE');
  const waiting = post(target, '/log_raw_metric', METRIC, anna);
  // from now on the row waits for the lock
  const depth = async () => (await send(`${target.url}/api/status`, { headers: admin })).body.queue.rows;
  while ((await depth()) === 0) {
    // poll
  }
  const responses = await Promise.all(Array.from({ length: 20 }, () => post(target, '/log_raw_metric', METRIC, anna)));
  other.run('COMMIT');
  other.close();
  for (const response of responses) expectError(response, 503, 'overloaded');
  expect((await waiting).status).toBe(200);
  const found = await rejections('?code=overloaded');
  expect(found.length).toBeLessThan(20);
  expect(found.reduce((sum, { items }) => sum + items, 0)).toBe(20);
  expect(new Set(found.map(({ user_id }) => user_id))).toEqual(new Set([null]));
  expect(responses.map(({ body }) => body.request_id)).toContain(found[0]?.request_id);
  expect(await rejections('', anna)).toEqual([]);
});

test("removes an erased user's rejections and keeps those of others", async () => {
  target = await startTarget();
  await post(target, '/log_raw_metric', METRIC, anna);
  await post(target, '/log_raw_metric', {}, anna);
  await post(target, '/log_raw_metric', {}, berta);
  await post(target, '/log_raw_metric', '{', anna);
  const erased = await send(`${target.url}/api/users/anna`, { method: 'DELETE', headers: admin });
  expect(erased.status).toBe(200);
  expect((await rejections()).map(({ user_id }) => user_id)).toEqual(['berta']);
  expect(await rejections('', anna)).toEqual([]);
  expect(rows(target, 'metrics')).toEqual([]);
  // the ledger still counts them, without a user
  const { body } = await send(`${target.url}/api/status`, { headers: admin });
  expect(body.ledger.rejected).toEqual({ validation_failed: 2, invalid_json: 1 });
});

test('writes the counts of rejections to the database while nothing is stored', async () => {
  target = await startTarget();
  expectError(await post(target, '/log_raw_metric', { metric_name: '' }, anna), 422, 'validation_failed');
  const database = new Database(target.databasePath, { readonly: true });
  const written = database.query<{ items: number }, []>(
    "SELECT items FROM ledger WHERE name = 'rejected:validation_failed'",
  );
  while (written.get() === null) await get(); // up to 5 seconds
  expect(written.get()?.items).toBe(1);
  database.close();
});
