import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import { RESPONSES } from '../../src/responses.ts';
import { ADA, type Caller, callAs, ROOT, VIEWER } from '../harness/callers.ts';
import { expectError, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let folder: ReturnType<typeof temporaryFolder>;
let target: Target;
const ENV = { JWT_SECRET: SECRET, JWT_VIEWER_ROLES: 'viewer', RATE_LIMIT: 'off' };
beforeAll(async () => {
  folder = temporaryFolder();
  target = await startTarget(ENV, { dataDir: join(folder.path, 'data') });
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

const call = (caller: Caller, method: string, path: string, body?: unknown) =>
  callAs(target, caller, method, path, body);

const chart = (parameters: Record<string, unknown> = {}, changes: Record<string, unknown> = {}) => ({
  title: 'Signups',
  view: 'view=event&name=signup&range=7d',
  query: { name: 'counts', parameters: { type: 'signup', interval: '1d', ...parameters }, range: { last: '7d' } },
  ...changes,
});
const board = (changes: Record<string, unknown> = {}) => ({ name: 'Growth', scope: 'account', charts: [], ...changes });

/** Creates a board and returns it. */
async function create(caller: Caller, changes: Record<string, unknown> = {}) {
  const { status, body, text } = await call(caller, 'POST', '/api/boards', board(changes));
  expect([status, text]).toEqual([200, text]);
  return body;
}
const idsOf = async (caller: Caller): Promise<string[]> =>
  (await call(caller, 'GET', '/api/boards')).body.boards.map(({ id }: { id: string }) => id);

describe('boards of an account', () => {
  test('users and viewers create, read, change and delete their own', async () => {
    for (const caller of [ADA, VIEWER, ROOT]) {
      const created = await create(caller, { charts: [chart()] });
      expect([...Value.Errors(RESPONSES.Board, created)].map(({ path }) => path)).toEqual([]);
      expect(created).toMatchObject({ name: 'Growth', scope: 'account', can_edit: true, charts: [chart()] });
      const path = `/api/boards/${created.id}`;
      expect((await call(caller, 'GET', path)).body).toEqual(created);
      const changed = await call(caller, 'PUT', path, board({ name: 'Renamed <b>' }));
      expect(changed.body).toMatchObject({
        id: created.id,
        name: 'Renamed <b>',
        charts: [],
        created_at: created.created_at,
      });
      expect(Date.parse(changed.body.updated_at)).toBeGreaterThan(Date.parse(created.updated_at));
      expect((await call(caller, 'GET', path)).body).toEqual(changed.body);
      expect((await call(caller, 'GET', '/api/boards')).body.boards).toContainEqual({ ...changed.body, charts: 0 });
      expect((await call(caller, 'DELETE', path)).body).toEqual({ id: created.id });
      expectError(await call(caller, 'GET', path), 404, 'not_found');
      expectError(await call(caller, 'PUT', path, board()), 404, 'not_found');
      expectError(await call(caller, 'DELETE', path), 404, 'not_found');
    }
  });

  test('do not exist for others, admins included', async () => {
    const { id } = await create(ADA, { charts: [chart()] });
    for (const caller of [['bob'], VIEWER, ROOT] as const) {
      expect(await idsOf(caller)).not.toContain(id);
      const path = `/api/boards/${id}`;
      for (const [method, url, body] of [
        ['GET', path, undefined],
        ['PUT', path, board()],
        ['DELETE', path, undefined],
        ['GET', `${path}/charts/0`, undefined],
        ['POST', `${path}/links`, {}],
      ] as const) {
        expectError(await call(caller, method, url, body), 404, 'not_found');
      }
    }
    expect(await idsOf(ADA)).toContain(id);
  });

  test('need a token', async () => {
    const { id } = await create(ADA);
    for (const path of ['/api/boards', `/api/boards/${id}`, `/api/boards/${id}/charts/0`, '/api/links']) {
      expectError(await send(target.url + path), 401, 'unauthorized');
    }
  });

  test('an ID that is not one of a board is a 404', async () => {
    for (const id of ['x', 'a'.repeat(22), '..%2f', "'%20OR%201=1", '%00']) {
      expectError(await call(ADA, 'GET', `/api/boards/${id}`), 404, 'not_found');
    }
  });
});

describe('boards for everyone', () => {
  test('all users see them, and only admins create, change and delete them', async () => {
    for (const caller of [ADA, VIEWER]) {
      expectError(await call(caller, 'POST', '/api/boards', board({ scope: 'everyone' })), 403, 'forbidden');
    }
    const { id } = await create(ROOT, { scope: 'everyone' });
    const path = `/api/boards/${id}`;
    for (const caller of [ADA, VIEWER]) {
      expect((await call(caller, 'GET', path)).body).toMatchObject({ can_edit: false, scope: 'everyone' });
      expectError(await call(caller, 'PUT', path, board({ scope: 'everyone' })), 403, 'forbidden');
      expectError(await call(caller, 'PUT', path, board()), 403, 'forbidden');
      expectError(await call(caller, 'DELETE', path), 403, 'forbidden');
    }
    const other: Caller = ['second-admin', 'admin'];
    expect((await call(other, 'PUT', path, board({ scope: 'everyone', name: 'New' }))).body.name).toBe('New');
    // only its owner takes it back
    expectError(await call(other, 'PUT', path, board()), 403, 'forbidden');
    expect((await call(ROOT, 'PUT', path, board())).body.scope).toBe('account');
    expectError(await call(other, 'GET', path), 404, 'not_found');
    expect((await call(ROOT, 'PUT', path, board({ scope: 'everyone' }))).status).toBe(200);
    expect((await call(other, 'DELETE', path)).status).toBe(200);
    expect(await idsOf(ROOT)).not.toContain(id);
  });

  test('an account cannot give its board to everyone', async () => {
    const { id } = await create(ADA);
    expectError(await call(ADA, 'PUT', `/api/boards/${id}`, board({ scope: 'everyone' })), 403, 'forbidden');
  });

  test('an admin who is one no longer keeps neither', async () => {
    const { id } = await create(ROOT, { scope: 'everyone' });
    const former: Caller = ['root'];
    expectError(await call(former, 'DELETE', `/api/boards/${id}`), 403, 'forbidden');
    expect((await call(former, 'GET', `/api/boards/${id}`)).body.can_edit).toBe(false);
    await call(ROOT, 'DELETE', `/api/boards/${id}`);
  });

  test('cannot filter by user', async () => {
    for (const each of [chart({ user_id: 'ada' }), chart({}, { view: 'view=event&user=ada' })]) {
      const rejected = await call(ROOT, 'POST', '/api/boards', board({ scope: 'everyone', charts: [each] }));
      expectError(rejected, 422, 'validation_failed');
      expect(rejected.body.detail[0].loc).toEqual(['body', 'charts', 0, 'query', 'parameters', 'user_id']);
    }
  });
});

describe('charts', () => {
  test('are checked like the parameters of their routes', async () => {
    const invalid: [object, (string | number)[]][] = [
      [chart({ type: undefined }), ['parameters', 'type']],
      [chart({ interval: 'never' }), ['parameters', 'interval']],
      [chart({ tz: 'Mars/Olympus' }), ['parameters', 'tz']],
      [chart({ from: '2026-01-01T00:00:00Z' }), ['parameters', 'from']],
      [chart({ 'data..x': 'y' }), ['parameters', 'data..x']],
      [chart({ top: ['1', '2'] }), ['parameters', 'top']],
      [chart({ nope: 'x' }), ['parameters', 'nope']],
      [chart({ 'data.x': 'y'.repeat(5000) }), ['parameters']],
    ];
    for (const [each, loc] of invalid) {
      const rejected = await call(ADA, 'POST', '/api/boards', board({ charts: [chart(), each] }));
      expectError(rejected, 422, 'validation_failed');
      expect(rejected.body.detail[0].loc).toEqual(['body', 'charts', 1, 'query', ...loc]);
    }
    const reversed = { from: '2026-02-01T00:00:00Z', to: '2026-01-01T00:00:00Z' };
    for (const range of [
      reversed,
      { last: '0d' },
      { last: '7w' },
      { period: 'day', back: -1 },
      {},
      { last: '7d', all: true },
    ]) {
      const query = { name: 'counts', parameters: { type: 'a' }, range };
      expectError(
        await call(ADA, 'POST', '/api/boards', board({ charts: [chart({}, { query })] })),
        422,
        'validation_failed',
      );
    }
    for (const name of ['records', 'export', 'activity', '__proto__', 'constructor']) {
      const query = { name, parameters: {}, range: { last: '7d' } };
      expectError(
        await call(ADA, 'POST', '/api/boards', board({ charts: [chart({}, { query })] })),
        422,
        'validation_failed',
      );
    }
  });

  test('of another user are rejected, and one that a demoted viewer has stored is not drawn', async () => {
    const filtered = chart({ user_id: 'bob' });
    expectError(await call(ADA, 'POST', '/api/boards', board({ charts: [filtered] })), 403, 'forbidden');
    const { id } = await create(VIEWER, { charts: [filtered] });
    expect((await call(VIEWER, 'GET', `/api/boards/${id}/charts/0`)).status).toBe(200);
    expectError(await call(['vera'], 'GET', `/api/boards/${id}/charts/0`), 403, 'forbidden');
  });

  test('are drawn over the rows of the caller, with the figures of the query route', async () => {
    const now = Date.now();
    const rows = (count: number) => ({
      metrics: Array.from({ length: count }, (_, i) => ({
        metric_name: 'load',
        metric_value: i + 1,
        timestamp: new Date(now - (i % 2) * 8 * 86_400_000 - 1000).toISOString(),
      })),
      analytics: ['signup', 'purchase'].map((type, i) => ({
        ...{ type, data: { plan: 'pro' }, data_index: 'web' },
        timestamp: new Date(now - 5000 + i * 1000).toISOString(),
      })),
    });
    for (const [user, count] of [
      ['ada', 4],
      ['bob', 6],
    ] as const) {
      expect((await call([user], 'POST', '/log_batch', rows(count))).status).toBe(200);
    }
    const queries = [
      { name: 'series', parameters: { name: 'load', interval: '1d' }, range: { last: '7d' }, compare: 'previous' },
      {
        name: 'counts',
        parameters: { type: 'signup', group_by: 'data.plan', tz: 'Europe/Berlin' },
        range: { all: true },
      },
      {
        name: 'funnel',
        parameters: { step: ['signup', 'purchase'], tz: 'Asia/Tokyo' },
        range: { period: 'year', count: 2 },
      },
      { name: 'retention', parameters: { step: 'signup', period: 'day' }, range: { last: '48h' } },
    ];
    const { id } = await create(ROOT, { scope: 'everyone', charts: queries.map((query) => chart({}, { query })) });
    const draw = async (caller: Caller, index: number) => {
      const { status, body, text } = await call(caller, 'GET', `/api/boards/${id}/charts/${index}`);
      expect([status, text]).toEqual([200, text]);
      expect([...Value.Errors(RESPONSES.DrawnChart, body)].map(({ path }) => path)).toEqual([]);
      return body;
    };
    expect((await draw(ROOT, 0)).result).toMatchObject({ name: 'load', count: 5, sum: 1 + 3 + 1 + 3 + 5 });
    expect((await draw(ROOT, 0)).compared).toMatchObject({ count: 5, sum: 2 + 4 + 2 + 4 + 6 });
    expect((await draw(ADA, 0)).result).toMatchObject({ count: 2, sum: 4 });
    expect((await draw(ROOT, 1)).result.groups[0]).toMatchObject({ 'data.plan': 'pro', count: 2, unique_users: 2 });
    expect((await draw(ADA, 1)).result).toMatchObject({ count: 1 });
    expect((await draw(VIEWER, 2)).result.steps.map(({ users }: { users: number }) => users)).toEqual([2, 2]);
    expect((await draw(ADA, 3)).result.cohorts.at(-1).users).toBe(1);
    const { from, to, result } = await draw(ROOT, 0);
    const route = await call(
      ROOT,
      'GET',
      `/api/metrics/series?${new URLSearchParams({ name: 'load', interval: '1d', from, to })}`,
    );
    expect(route.body).toEqual(result);
    expectError(await call(ROOT, 'GET', `/api/boards/${id}/charts/4`), 404, 'not_found');
    expectError(await call(ROOT, 'GET', `/api/boards/${id}/charts/-1`), 404, 'not_found');
    expectError(await call(ROOT, 'GET', `/api/boards/${id}/charts/0?from=${from}`), 422, 'validation_failed');
  });
});

describe('bounds', () => {
  test('names, charts and bodies have limits', async () => {
    for (const changes of [
      { name: '' },
      { name: 'x'.repeat(101) },
      { name: 'lone \ud800' },
      { scope: 'public' },
      { charts: Array.from({ length: 31 }, () => chart()) },
      { charts: [chart({}, { title: '' })] },
      { charts: [chart({}, { title: 'x'.repeat(201) })] },
      { charts: [chart({}, { view: 'x'.repeat(2049) })] },
      { charts: {} },
      { owner: 'root' },
    ]) {
      expectError(await call(ADA, 'POST', '/api/boards', board(changes)), 422, 'validation_failed');
    }
    expectError(await call(ADA, 'POST', '/api/boards', { x: 'x'.repeat(70_000) }), 413, 'payload_too_large');
    expectError(await call(ADA, 'POST', '/api/boards?x=1', board()), 422, 'validation_failed');
  });

  test('MAX_RESULT_BYTES limits a result together with the one that it is compared with', async () => {
    const small = await startTarget({ ...ENV, MAX_RESULT_BYTES: '10000' });
    const query = { name: 'counts', parameters: { type: 'signup', interval: '1d' }, range: { last: '100d' } };
    const charts = [
      query,
      { ...query, compare: 'previous' },
      { ...query, range: { last: '40d' }, compare: 'previous' },
    ];
    const created = await callAs(
      small,
      ADA,
      'POST',
      '/api/boards',
      board({ charts: charts.map((each) => chart({}, { query: each })) }),
    );
    const { value } = (await callAs(small, ADA, 'POST', `/api/boards/${created.body.id}/links`, {})).body;
    const responses = [
      (index: number) => callAs(small, ADA, 'GET', `/api/boards/${created.body.id}/charts/${index}`),
      (index: number) => send(`${small.url}/api/shared/charts/${index}`, { headers: { 'x-board-link': value } }),
    ];
    for (const draw of responses) {
      const single = await draw(0);
      expect(single.status).toBe(200);
      expect(JSON.stringify(single.body.result).length).toBeWithin(5_100, 10_000);
      const double = await draw(1);
      expectError(double, 422, 'query_too_large');
      expect(double.body.detail[0]).toMatchObject({ loc: ['query'], type: 'query_too_large' });
      expect((await draw(2)).status).toBe(200);
    }
    await small.stop();
  });

  test('an account has at most 50 boards, also with concurrent requests', async () => {
    const greedy: Caller = ['greedy'];
    const statuses = await Promise.all(
      Array.from({ length: 55 }, async () => (await call(greedy, 'POST', '/api/boards', board())).status),
    );
    expect(statuses.filter((status) => status === 200).length).toBe(50);
    const rejected = await call(greedy, 'POST', '/api/boards', board());
    expectError(rejected, 422, 'validation_failed');
    expect(rejected.body.detail[0].msg).toContain('at most 50');
    const { boards } = (await call(greedy, 'GET', '/api/boards')).body;
    const { id } = boards.find(({ scope }: { scope: string }) => scope === 'account');
    expect((await call(greedy, 'DELETE', `/api/boards/${id}`)).status).toBe(200);
    expect((await call(greedy, 'POST', '/api/boards', board())).status).toBe(200);
  });

  test('changes count toward the rate limit of the user', async () => {
    const limited = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '2/h', MAX_BATCH_ITEMS: '2' });
    const headers = { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' };
    const post = () => send(`${limited.url}/api/boards`, { method: 'POST', headers, body: JSON.stringify(board()) });
    expect([(await post()).status, (await post()).status]).toEqual([200, 200]);
    expectError(await post(), 429, 'rate_limited');
    await limited.stop();
  });
});

test('boards survive a restart', async () => {
  const { id } = await create(ADA, { charts: [chart()] });
  await target.stop();
  target = await startTarget(ENV, { dataDir: join(folder.path, 'data') });
  expect((await call(ADA, 'GET', `/api/boards/${id}`)).body.charts).toEqual([chart()]);
});

describe('erasure', () => {
  /** Returns the texts in all columns of the tables of boards. */
  function stored(): string {
    const database = new Database(target.databasePath, { readonly: true });
    try {
      return ['boards', 'board_links', 'annotations']
        .map((table) => JSON.stringify(database.query(`SELECT * FROM ${table}`).all()))
        .join();
    } finally {
      database.close();
    }
  }

  test('removes the boards of the user, and charts that filter by the user, and keeps boards for everyone', async () => {
    const leaving: Caller = ['leaving-user-81', 'admin'];
    const own = await create(leaving, { name: 'private plans', charts: [chart({ user_id: 'leaving-user-81' })] });
    const shared = await create(leaving, { scope: 'everyone', name: 'kept', charts: [chart()] });
    const filtering = await create(VIEWER, {
      charts: [
        chart({ user_id: 'leaving-user-81' }),
        chart({}, { title: 'kept chart' }),
        chart({}, { view: 'view=event&user=leaving-user-81' }),
      ],
    });
    await call(leaving, 'POST', '/api/annotations', { text: 'launch' });
    await call(leaving, 'POST', `/api/boards/${shared.id}/links`, {});
    await call(leaving, 'POST', '/log_raw_metric', { metric_name: 'm', metric_value: 1, data_string: 'x' });
    expect(stored()).toContain('leaving-user-81');
    const erased = await call(ROOT, 'DELETE', '/api/users/leaving-user-81');
    expect(erased.body.deleted).toEqual({ metrics: 1, analytics: 0 });
    expect(stored()).not.toContain('leaving-user-81');
    expect(stored()).not.toContain('private plans');
    expectError(await call(leaving, 'GET', `/api/boards/${own.id}`), 404, 'not_found');
    expect((await call(ADA, 'GET', `/api/boards/${shared.id}`)).body).toMatchObject({
      name: 'kept',
      charts: [chart()],
    });
    const kept = await call(VIEWER, 'GET', `/api/boards/${filtering.id}`);
    expect(kept.body.charts).toEqual([chart({}, { title: 'kept chart' })]);
    expect((await call(ROOT, 'GET', '/api/annotations')).body.annotations).toContainEqual(
      expect.objectContaining({ text: 'launch', author: null }),
    );
    expect(readFileSync(target.databasePath).includes('leaving-user-81')).toBe(false);
    // the user may come back
    const again = await create(leaving);
    expect(await idsOf(leaving)).toContain(again.id);
  });

  test('removes the boards of a user without rows', async () => {
    const reader: Caller = ['reader-without-rows'];
    await create(reader);
    expect((await call(ROOT, 'DELETE', '/api/users/reader-without-rows')).status).toBe(200);
    expect(stored()).not.toContain('reader-without-rows');
    expect((await call(ROOT, 'GET', '/api/status')).body.erasures.pending).toBe(0);
  });
});
