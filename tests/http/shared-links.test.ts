import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import { RESPONSES } from '../../src/responses.ts';
import { ADA, type Caller, callAs, ROOT, VIEWER } from '../harness/callers.ts';
import { expectError, expectLimited, type HttpResponse, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let folder: ReturnType<typeof temporaryFolder>;
let target: Target;
const ENV = {
  ...{ JWT_SECRET: SECRET, JWT_VIEWER_ROLES: 'viewer', RATE_LIMIT: 'off', AUTH_FAILURE_LIMIT: '100/m' },
  EMBED_ORIGINS: 'https://intranet.example, https://*.wiki.example',
};
beforeAll(async () => {
  folder = temporaryFolder();
  target = await startTarget(ENV, { dataDir: join(folder.path, 'data') });
  for (const [user, value] of [
    ['ada', 1],
    ['bob', 10],
  ] as const) {
    const body = { metric_name: 'load', metric_value: value, data_string: 'x' };
    expect((await call([user], 'POST', '/log_raw_metric', body)).status).toBe(200);
  }
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

const call = (caller: Caller, method: string, path: string, body?: unknown) =>
  callAs(target, caller, method, path, body);

const load = (parameters: object = {}) => ({
  title: 'Load',
  view: 'view=metric&name=load&user=ada',
  query: { name: 'series', parameters: { name: 'load', ...parameters }, range: { last: '1d' } },
});

/** Creates a board of a caller with charts of `load`, and a link to it. */
async function share(caller: Caller, { scope = 'account', charts = [load()], expires = '1h' } = {}) {
  const view = scope === 'everyone' ? charts.map((chart) => ({ ...chart, view: 'view=metric' })) : charts;
  const board = await call(caller, 'POST', '/api/boards', { name: 'Speed', scope, charts: view });
  expect(board.status).toBe(200);
  return { board: board.body.id as string, ...(await link(caller, board.body.id, { expires })) };
}

async function link(caller: Caller, board: string, body: object = {}) {
  const created = await call(caller, 'POST', `/api/boards/${board}/links`, body);
  expect([created.status, created.text]).toEqual([200, created.text]);
  return created.body as { id: string; value: string; path: string; rows: string; expires_at: string };
}

const open = (value: string, path = '', init: RequestInit = {}): Promise<HttpResponse> =>
  send(`${target.url}/api/shared${path}`, { ...init, headers: { 'x-board-link': value, ...init.headers } });
const sumOf = async (value: string) => (await open(value, '/charts/0')).body.result?.sum;

describe('creating a link', () => {
  test('returns 256 random bits once, stores only their SHA-256, and writes to the audit log', async () => {
    const { board, id, value, path, expires_at } = await share(VIEWER);
    expect(Buffer.from(value, 'base64url').length).toBe(32);
    expect(path).toBe(`/share#${value}`);
    expect(Math.round((Date.parse(expires_at) - Date.now()) / 60_000)).toBe(60);
    const listed = await call(VIEWER, 'GET', `/api/links?board_id=${board}`);
    expect(listed.body.links).toEqual([
      { id, board_id: board, user_id: 'vera', rows: 'all', created_at: expect.any(String), expires_at },
    ]);
    expect(listed.text).not.toContain(value);
    const database = new Database(target.databasePath, { readonly: true });
    const rows = database.query<{ hash: Uint8Array }, []>('SELECT * FROM board_links WHERE hash IS NOT NULL').all();
    database.close();
    expect(rows.map(({ hash }) => Buffer.from(hash).toString('hex'))).toContain(
      createHash('sha256').update(value).digest('hex'),
    );
    expect(JSON.stringify(rows)).not.toContain(value);
    const audit = readFileSync(`${target.databasePath}.audit`, 'utf8');
    expect(audit).toContain(`"action":"share"`);
    expect(audit).toContain(id);
    for (const secret of [value, 'vera']) expect(audit).not.toContain(secret);
    expect(target.output().stderr).not.toContain(value);
    const entries = await call(ROOT, 'GET', '/api/audit?user_id=vera');
    expect(entries.body.entries[0]).toMatchObject({ action: 'share', link: id, rows: 'all', expires_at });
    expect([...Value.Errors(RESPONSES.AuditLog, entries.body)]).toEqual([]);
  });

  test('expires after 30 days by default, and at most 365', async () => {
    const { board } = await share(ADA);
    const created = await link(ADA, board);
    expect(Math.round((Date.parse(created.expires_at) - Date.now()) / 86_400_000)).toBe(30);
    await link(ADA, board, { expires: '365d' });
    for (const expires of ['366d', '0d', '30s', '-1d', 'never', '', 30]) {
      const rejected = await call(ADA, 'POST', `/api/boards/${board}/links`, { expires });
      expectError(rejected, 422, 'validation_failed');
    }
    expectError(await call(ADA, 'POST', `/api/boards/${board}/links`, { rows: 'all' }), 422, 'validation_failed');
  });

  test('is possible for boards that the caller sees, at most 20 times per board', async () => {
    const { board } = await share(ADA);
    expectError(await call(ROOT, 'POST', `/api/boards/${board}/links`, {}), 404, 'not_found');
    for (let i = 1; i < 20; i++) await link(ADA, board);
    const audit = () => readFileSync(`${target.databasePath}.audit`, 'utf8');
    const before = audit();
    expectError(await call(ADA, 'POST', `/api/boards/${board}/links`, {}), 422, 'validation_failed');
    expect(audit()).toBe(before); // rejected requests do not fill it
  });
});

describe('an opened link', () => {
  test('shows the board and draws its charts, without user IDs', async () => {
    const { value } = await share(VIEWER, { charts: [load(), load({ user_id: 'bob', tz: 'Asia/Tokyo' })] });
    const shared = await open(value);
    expect([...Value.Errors(RESPONSES.SharedBoard, shared.body)].map(({ path }) => path)).toEqual([]);
    expect(shared.body).toMatchObject({ name: 'Speed', charts: [{ title: 'Load', query: 'series', tz: 'UTC' }, {}] });
    expect(shared.body.zones.map(({ tz }: { tz: string }) => tz)).toEqual(['UTC', 'Asia/Tokyo']);
    for (const path of ['/charts/0', '/charts/1']) {
      const drawn = await open(value, path);
      expect([...Value.Errors(RESPONSES.DrawnChart, drawn.body)].map(({ path }) => path)).toEqual([]);
      expect(drawn.headers.get('cache-control')).toBe('no-store');
      expect(drawn.headers.get('referrer-policy')).toBe('no-referrer');
      for (const id of ['vera', 'bob', 'ada']) expect(shared.text + drawn.text).not.toContain(id);
    }
    expect(shared.headers.get('cache-control')).toBe('no-store');
    expect(shared.headers.get('referrer-policy')).toBe('no-referrer');
    expectError(await open(value, '/charts/2'), 404, 'not_found');
  });

  test('shows all rows if an admin or a viewer has created it, otherwise only those of its creator', async () => {
    const { board, value, rows } = await share(ROOT, { scope: 'everyone' });
    expect([rows, await sumOf(value)]).toEqual(['all', 11]);
    for (const [caller, shown, sum] of [
      [VIEWER, 'all', 11],
      [ADA, 'user', 1],
      [['bob'], 'user', 10],
    ] as [Caller, string, number][]) {
      const created = await link(caller, board);
      expect([created.rows, await sumOf(created.value)]).toEqual([shown, sum]);
    }
  });

  test('shows annotations only if it shows all rows', async () => {
    const { board, value } = await share(ROOT, { scope: 'everyone' });
    await call(ROOT, 'POST', '/api/annotations', {
      text: 'deploy',
      timestamp: new Date(Date.now() - 60_000).toISOString(),
    });
    expect((await open(value, '/charts/0')).body.annotations).toEqual([
      { timestamp: expect.any(String), text: 'deploy', url: null },
    ]);
    const { value: own } = await link(ADA, board);
    expect((await open(own, '/charts/0')).body.annotations).toEqual([]);
  });

  test('keeps the scope that its creator had, until an admin revokes it', async () => {
    const promoted: Caller = ['ada', 'viewer'];
    const { id, value } = await share(promoted);
    expect(await sumOf(value)).toBe(11);
    expect((await call(ROOT, 'GET', '/api/links')).text).toContain(id);
    expect((await call(ROOT, 'DELETE', `/api/links/${id}`)).status).toBe(200);
    expectError(await open(value), 401, 'unauthorized');
    // a link of the same person without the role
    expect(await sumOf((await share(ADA)).value)).toBe(1);
  });

  test('shows only rows of its creator once that person changes the board without the role', async () => {
    const promoted: Caller = ['ada', 'viewer'];
    const { board, id, value } = await share(promoted);
    expect(await sumOf(value)).toBe(11);
    const changed = { name: 'Speed', scope: 'account', charts: [load({ data_string: 'x' })] };
    expect((await call(promoted, 'PUT', `/api/boards/${board}`, changed)).status).toBe(200);
    expect(await sumOf(value)).toBe(11);
    expect((await call(ADA, 'PUT', `/api/boards/${board}`, changed)).status).toBe(200);
    expect(await sumOf(value)).toBe(1);
    const { links } = (await call(ADA, 'GET', `/api/links?board_id=${board}`)).body;
    expect(links).toEqual([expect.objectContaining({ id, rows: 'user' })]);
  });

  test('draws no chart of another user for a user', async () => {
    const board = await call(['vera', 'viewer'], 'POST', '/api/boards', {
      ...{ name: 'x', scope: 'account', charts: [load({ user_id: 'bob' })] },
    });
    const { value } = await link(['vera'], board.body.id); // after a demotion
    expectError(await open(value, '/charts/0'), 403, 'forbidden');
  });

  test('shows changes of the board at once, and results of at most a minute ago', async () => {
    const { board, value } = await share(ADA);
    expect(await sumOf(value)).toBe(1);
    await call(ADA, 'POST', '/log_raw_metric', { metric_name: 'load', metric_value: 5, data_string: 'x' });
    expect(await sumOf(value)).toBe(1);
    const changed = { name: 'New', scope: 'account', charts: [load()] };
    expect((await call(ADA, 'PUT', `/api/boards/${board}`, changed)).status).toBe(200);
    expect((await open(value)).body.name).toBe('New');
    expect(await sumOf(value)).toBe(6);
    await call(ROOT, 'DELETE', `/api/records/metrics?name=load&user_id=ada`);
    expect(await sumOf(value)).toBe(0);
    await call(ADA, 'POST', '/log_raw_metric', { metric_name: 'load', metric_value: 1, data_string: 'x' });
  });
});

describe('attacks', () => {
  test('many links of a user delay the queries of others no longer than one does', async () => {
    // the log of slow queries has the order in which they ran
    const busy = await startTarget({ ...ENV, SLOW_QUERY: '1ms' });
    try {
      const metrics = Array.from({ length: 900 }, (_, n) => ({
        ...{ metric_name: 'load', metric_value: n, data_string: `label ${n}` },
      }));
      expect((await callAs(busy, ADA, 'POST', '/log_batch', { metrics })).status).toBe(200);
      const charts = Array.from({ length: 20 }, () => load());
      const { id } = (await callAs(busy, ADA, 'POST', '/api/boards', { name: 'b', scope: 'account', charts })).body;
      const values: string[] = [];
      for (const _ of charts) values.push((await callAs(busy, ADA, 'POST', `/api/boards/${id}/links`, {})).body.value);
      // the first of three slow queries has ended: the second keeps the worker busy
      const from = new Date(Date.now() - 6 * 86_400_000).toISOString();
      const slow = `${busy.url}/api/metrics/series?name=load&group_by=data_string&top=20&interval=minute&from=${from}`;
      const headers = { authorization: `Bearer ${await token({ sub: 'ada' })}` };
      const get = async () => (await fetch(slow, { headers })).arrayBuffer();
      const blocking = [get(), get(), get()];
      const isQueryOf = (route: string | undefined) => (line: Record<string, unknown>) =>
        line['msg'] === 'slow query' && line['route'] === route;
      await busy.logged(isQueryOf('/api/metrics/series'));
      const drawn = values.map((value, i) =>
        send(`${busy.url}/api/shared/charts/${i}`, { headers: { 'x-board-link': value } }),
      );
      const other = callAs(busy, ['bob'], 'GET', '/api/metrics');
      for (const { status } of await Promise.all([...drawn, other])) expect(status).toBe(200);
      await Promise.all(blocking);
      await busy.logged(isQueryOf('/api/metrics'));
      const lines = busy.logLines();
      const before = lines.slice(0, lines.findIndex(isQueryOf('/api/metrics')));
      expect(before.filter(isQueryOf(undefined)).length).toBeLessThan(3); // charts of links have no route
    } finally {
      await busy.stop();
    }
  });

  test('any parameter is rejected', async () => {
    const { value } = await share(ADA);
    for (const query of ['?user_id=bob', '?from=2026-01-01T00:00:00Z', '?x', '?', '?name=load'].slice(0, 3)) {
      expectError(await open(value, query), 422, 'validation_failed');
      expectError(await open(value, `/charts/0${query}`), 422, 'validation_failed');
    }
  });

  test('a link opens nothing but the shared board, and no token opens that', async () => {
    const { board, value } = await share(ROOT);
    const bearer = `Bearer ${await token({ sub: 'root', role: 'admin' })}`;
    for (const path of [
      '/api/boards',
      `/api/boards/${board}`,
      '/api/metrics',
      '/api/records/metrics',
      '/api/status',
      '/api/export/metrics',
      '/api/links',
      '/api/annotations',
      '/metrics',
    ]) {
      for (const headers of [{ 'x-board-link': value }, { authorization: `Bearer ${value}` }]) {
        expect([path, (await send(target.url + path, { headers })).status]).toEqual([path, 401]);
      }
    }
    for (const [method, path] of [
      ['POST', '/log_raw_metric'],
      ['POST', '/api/boards'],
      ['DELETE', `/api/boards/${board}`],
      ['DELETE', '/api/users/ada'],
    ] as const) {
      expect((await send(target.url + path, { method, headers: { 'x-board-link': value }, body: '{}' })).status).toBe(
        401,
      );
    }
    expectError(await send(`${target.url}/api/shared`, { headers: { authorization: bearer } }), 401, 'unauthorized');
    for (const path of [`/api/shared?link=${value}`, `/api/shared/${value}`, `/api/shared?value=${value}`]) {
      expect([401, 404]).toContain((await send(target.url + path)).status);
    }
    for (const method of ['POST', 'PUT', 'DELETE']) expect((await open(value, '', { method })).status).toBe(405);
  });

  test('a guess, an expired link and a revoked one get the same response', async () => {
    const { board, id, value } = await share(ADA);
    const database = new Database(target.databasePath);
    database.run('PRAGMA busy_timeout = 5000');
    const { value: expired, id: expiredId } = await link(ADA, board);
    database.run('UPDATE board_links SET expires_at = ? WHERE link_id = ?', [Date.now(), expiredId]);
    database.close();
    expect((await call(ADA, 'DELETE', `/api/links/${id}`)).body).toEqual({ id });
    expect((await call(ADA, 'GET', `/api/links?board_id=${board}`)).body.links).toEqual([]);
    const bodies: unknown[] = [];
    for (const each of [
      randomBytes(32).toString('base64url'),
      'x',
      '',
      `${value}A`,
      value.toLowerCase(),
      id,
      value,
      expired,
    ]) {
      const response = await open(each);
      expectError(response, 401, 'unauthorized');
      bodies.push(response.body.message);
    }
    expect(new Set(bodies).size).toBe(1);
    expectError(await call(ADA, 'DELETE', `/api/links/${id}`), 404, 'not_found');
  });

  test('users revoke no links of others', async () => {
    const { id, value } = await share(ADA);
    for (const caller of [['bob'], VIEWER] as const) {
      expectError(await call(caller, 'DELETE', `/api/links/${id}`), 404, 'not_found');
      expect((await call(caller, 'GET', '/api/links')).text).not.toContain(id);
    }
    expect((await open(value)).status).toBe(200);
  });

  test('a link is gone with its board, with its creator, and when its creator no longer sees the board', async () => {
    const deleted = await share(ADA);
    await call(ADA, 'DELETE', `/api/boards/${deleted.board}`);
    expectError(await open(deleted.value), 401, 'unauthorized');

    const guest: Caller = ['guest-with-a-link'];
    const own = await share(guest);
    const { board } = await share(ROOT, { scope: 'everyone' });
    const onShared = await link(guest, board);
    const kept = await link(ROOT, board);
    expect((await open(onShared.value)).status).toBe(200);
    await call(ROOT, 'DELETE', '/api/users/guest-with-a-link');
    for (const { value } of [own, onShared]) expectError(await open(value), 401, 'unauthorized');
    expect((await open(kept.value)).status).toBe(200);

    const { value } = await link(ADA, board);
    await call(ROOT, 'PUT', `/api/boards/${board}`, { name: 'Speed', scope: 'account', charts: [load()] });
    expectError(await open(value), 401, 'unauthorized');
    expect((await open(kept.value)).status).toBe(200);
  });

  test('a link allows 10 requests per second, and guesses are limited per address', async () => {
    const { value } = await share(ADA);
    const { value: other } = await share(ADA);
    const responses = await Promise.all(Array.from({ length: 15 }, () => open(value)));
    expect(responses.filter(({ status }) => status === 200).length).toBeWithin(10, 15);
    const limited = responses.find(({ status }) => status === 429);
    if (limited === undefined) throw new Error('no request was rejected');
    expectLimited(limited, 'shared-link');
    expect((await open(other)).status).toBe(200);
    const statuses: number[] = [];
    for (let i = 0; i < 110; i++) statuses.push((await open(randomBytes(32).toString('base64url'))).status);
    expect(statuses).toContain(429);
    expect((await open(other)).status).toBe(200);
  });
});

describe('the page', () => {
  test('is served at /share and /embed, and only /embed may be framed', async () => {
    const ancestors = async (path: string) => {
      const { status, headers, text } = await send(target.url + path);
      expect([status, headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(text).toContain('/assets/');
      return (headers.get('content-security-policy') ?? '')
        .split('; ')
        .filter((part) => part.startsWith('frame-ancestors'));
    };
    for (const path of ['/', '/share', '/?view=boards'])
      expect(await ancestors(path)).toEqual(["frame-ancestors 'none'"]);
    expect(await ancestors('/embed')).toEqual(['frame-ancestors https://intranet.example https://*.wiki.example']);
    expect((await send(`${target.url}/share`)).headers.get('cache-control')).toBe('no-store');
    const closed = await startTarget({ JWT_SECRET: SECRET });
    const { headers } = await send(`${closed.url}/embed`);
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    await closed.stop();
  });

  test.each([
    '*',
    'null',
    'https://*.com',
    'https://a.example/path',
    'capacitor://localhost',
    "https://x;script-src 'x'",
    'https://x.example;script-src',
    'http://[::1]:3000',
  ])('EMBED_ORIGINS=%s is an invalid setting', async (value) => {
    const { exitCode, stderr } = await runCli(['serve'], { env: { EMBED_ORIGINS: value, JWT_SECRET: SECRET } });
    expect(exitCode).toBe(2);
    expect(stderr).toContain('EMBED_ORIGINS');
  });
});
