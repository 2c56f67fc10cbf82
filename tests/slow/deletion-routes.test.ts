import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { expectError, type HttpResponse, post, rows, send } from '../harness/client.ts';
import { sampleOf } from '../harness/sampling.ts';
import { bearer } from '../harness/seeded-server.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

const folder = temporaryFolder();
let target: Target;
let admin: Record<string, string>;
beforeAll(async () => {
  admin = await bearer({ sub: 'root', role: 'admin' });
  const settings = { ...UNLIMITED, JWT_VIEWER_ROLES: 'viewer', MAX_NAMES_PER_USER: '100000' };
  target = await startTarget(settings, { dataDir: join(folder.path, 'data') });
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

type Kind = 'metrics' | 'analytics';
const get = (path: string, headers = admin): Promise<HttpResponse> => send(target.url + path, { headers });
const remove = (kind: Kind, query: string, headers = admin): Promise<HttpResponse> =>
  send(`${target.url}/api/records/${kind}?${query}`, { method: 'DELETE', headers });

interface TestRow {
  readonly user: string;
  readonly label: string;
  readonly hour: number;
  readonly plan: string | number;
}
const ROWS: readonly TestRow[] = ['anna', 'berta'].flatMap((user, u) =>
  ['/a', '/a/b', '/b', 'ü🦀', ''].flatMap((label, l) =>
    [0, 1, 2].map((hour) => ({ user, label, hour, plan: (u + l + hour) % 2 === 0 ? 'free' : hour })),
  ),
);
const timeOf = ({ hour }: TestRow) => `2026-03-01T0${hour}:00:00Z`;

/** Records {@link ROWS} under a name, as both kinds. */
async function record(name: string): Promise<void> {
  const items = (each: (row: TestRow) => object) =>
    ROWS.map((row) => ({ user_id: row.user, timestamp: timeOf(row), ...each(row) }));
  const body = {
    metrics: items(({ label }) => ({ metric_name: name, metric_value: 1, ...(label && { data_string: label }) })),
    analytics: items(({ label, plan, hour }) => ({ type: name, data_index: label, data: { plan, at: { hour } } })),
  };
  expect((await post(target, '/log_batch', body, admin)).status).toBe(200);
}

/** Returns what every query route returns about a name. */
async function resultsOf(name: string) {
  const [series, counts, funnel, retention, activity, metricNames, types, ...pages] = await Promise.all(
    [
      `/api/metrics/series?name=${name}&group_by=data_string&interval=hour`,
      `/api/analytics/counts?type=${name}&group_by=data_index&interval=hour`,
      `/api/analytics/funnel?type=${name}&step=/a&step=/b`,
      `/api/analytics/retention?type=${name}&step=/a`,
      '/api/activity?top=1000',
      '/api/metrics',
      '/api/analytics',
      `/api/records/metrics?name=${name}&limit=1000`,
      `/api/records/analytics?type=${name}&limit=1000`,
      `/api/export/metrics?name=${name}`,
      `/api/export/analytics?type=${name}`,
    ].map(async (path) => {
      const response = await get(path);
      expect(response.status).toBe(200);
      return response;
    }),
  );
  const named = (list: Record<string, unknown>[], key: string) =>
    list.find((entry) => entry[key] === name)?.['count'] ?? 0;
  const groups = (body: HttpResponse['body'], key: string) =>
    Object.fromEntries(body.groups.map((group: Record<string, unknown>) => [group[key], group['count']]));
  const linesOf = (text: string) => text.split('\n').filter((line) => line !== '').length;
  return {
    metrics: [
      series?.body.count,
      named(activity?.body.metrics.names, 'name'),
      named(metricNames?.body.metrics, 'name'),
      pages[0]?.body.records.length,
      linesOf(pages[2]?.text ?? ''),
    ],
    analytics: [
      counts?.body.count,
      named(activity?.body.analytics.types, 'type'),
      named(types?.body.types, 'type'),
      pages[1]?.body.records.length,
      linesOf(pages[3]?.text ?? ''),
    ],
    labels: [groups(series?.body, 'data_string'), groups(counts?.body, 'data_index')],
    users: counts?.body.unique_users,
    funnel: funnel?.body.steps[0].users,
    cohorts: retention?.body.cohorts.reduce((sum: number, { users }: { users: number }) => sum + users, 0),
  };
}

/** Returns what {@link resultsOf} should return if these rows remain. */
function expectedResults(
  metrics: readonly TestRow[],
  events: readonly TestRow[],
): Awaited<ReturnType<typeof resultsOf>> {
  const byLabel = (list: readonly TestRow[]) =>
    Object.fromEntries(
      [...new Set(list.map(({ label }) => label))].map((label) => [
        label,
        list.filter((row) => row.label === label).length,
      ]),
    );
  const usersWith = (list: readonly TestRow[]) => new Set(list.map(({ user }) => user)).size;
  const started = usersWith(events.filter(({ label }) => label === '/a'));
  return {
    metrics: Array(5).fill(metrics.length),
    analytics: Array(5).fill(events.length),
    labels: [byLabel(metrics), byLabel(events)],
    users: usersWith(events),
    funnel: started,
    cohorts: started,
  };
}

async function ledger(): Promise<{ stored: number; deleted: number }> {
  return (await get('/api/status')).body.ledger;
}

const SHARED: [query: (label: string) => string, matches: (row: TestRow) => boolean][] = [
  [() => '', () => true],
  [(label) => `${label}=/a`, ({ label }) => label === '/a'],
  [(label) => `${label}=/a&${label}=/b`, ({ label }) => label === '/a' || label === '/b'],
  [(label) => `${label}=`, ({ label }) => label === ''],
  [(label) => `${label}!=/a`, ({ label }) => label !== '/a'],
  [(label) => `${label}~=/a`, ({ label }) => label.includes('/a')],
  [(label) => `${label}~=%F0%9F%A6%80`, ({ label }) => label.includes('🦀')],
  [(label) => `${label}=nowhere`, () => false],
  [() => 'user_id=anna', ({ user }) => user === 'anna'],
  [() => 'user_id=nobody', () => false],
  [() => 'from=2026-03-01T01:00:00Z', ({ hour }) => hour >= 1],
  [() => 'to=2026-03-01T01:00:00Z', ({ hour }) => hour < 1],
  [() => 'from=2026-03-01T02:00:00%2B01:00&to=2026-03-01T01:00:00.000001Z', ({ hour }) => hour === 1],
  [() => 'from=2026-03-01T01:00:00Z&to=2026-03-01T01:00:00Z', () => false],
  [
    (label) => `${label}~=/a&${label}!=/a/b&user_id=berta&to=2026-03-01T02:00:00Z`,
    ({ label, user, hour }) => label === '/a' && user === 'berta' && hour < 2,
  ],
];
const CASES: [kind: Kind, query: string, matches: (row: TestRow) => boolean][] = [
  ...SHARED.map(([query, matches]): (typeof CASES)[number] => ['metrics', query('data_string'), matches]),
  ...SHARED.map(([query, matches]): (typeof CASES)[number] => ['analytics', query('data_index'), matches]),
  ['analytics', 'data.plan=free', ({ plan }) => plan === 'free'],
  ['analytics', 'data.plan!=free', ({ plan }) => plan !== 'free'],
  ['analytics', 'data.plan~=re', ({ plan }) => plan === 'free'],
  ['analytics', 'data.at.hour=1&data.at.hour=2.0', ({ hour }) => hour > 0],
  [
    'analytics',
    'data.plan=free&data_index=/a&user_id=anna',
    ({ plan, label, user }) => plan === 'free' && label === '/a' && user === 'anna',
  ],
  ['analytics', 'data.none=1', () => false],
];

test.each(sampleOf(CASES).map(([kind, query, matches], i) => [kind, query, matches, i] as const))(
  'deletes from %s the rows that match %p, from every query, and counts them in the ledger',
  async (kind, query, matches, i) => {
    const name = `case-${i}`;
    const selection = `${kind === 'metrics' ? 'name' : 'type'}=${name}&${query}`;
    await record(name);
    await record(`${name}-other`);
    const kept = ROWS.filter((row) => !matches(row));
    const count = ROWS.length - kept.length;
    const page = await get(`/api/records/${kind}?${selection}&limit=1000`);
    expect(page.body.records).toHaveLength(count);
    const before = await ledger();

    const dryRun = await remove(kind, `${selection}&dry_run=true`);
    expect([dryRun.status, dryRun.body]).toEqual([200, { dry_run: true, deleted: { [kind]: count } }]);
    expect(await resultsOf(name)).toEqual(expectedResults(ROWS, ROWS));
    expect(await ledger()).toEqual(before);

    const response = await remove(kind, `${selection}&dry_run=false`);
    expect([response.status, response.body]).toEqual([200, { dry_run: false, deleted: { [kind]: count } }]);
    const results = kind === 'metrics' ? expectedResults(kept, ROWS) : expectedResults(ROWS, kept);
    expect(await resultsOf(name)).toEqual(results);
    expect(await ledger()).toMatchObject({ stored: before.stored, deleted: before.deleted + count });

    expect((await remove(kind, selection)).body).toEqual({ dry_run: false, deleted: { [kind]: 0 } });
    expect(await resultsOf(name)).toEqual(results);
    expect(await resultsOf(`${name}-other`)).toEqual(expectedResults(ROWS, ROWS));
  },
);

test('an unknown name, and the name of the other kind, delete nothing', async () => {
  await record('of-both');
  expect((await remove('metrics', 'name=unknown')).body).toEqual({ dry_run: false, deleted: { metrics: 0 } });
  expect((await remove('analytics', 'type=')).body).toEqual({ dry_run: false, deleted: { analytics: 0 } });
  expect((await remove('metrics', 'name=of-both')).body.deleted).toEqual({ metrics: ROWS.length });
  expect(await resultsOf('of-both')).toEqual(expectedResults([], ROWS));
});

test('rows recorded afterwards under the same name are stored, queried and deleted as usual', async () => {
  for (let round = 0; round < 3; round++) {
    await record('again');
    expect(await resultsOf('again')).toEqual(expectedResults(ROWS, ROWS));
    expect((await remove('metrics', 'name=again')).body.deleted).toEqual({ metrics: ROWS.length });
    expect((await remove('analytics', 'type=again')).body.deleted).toEqual({ analytics: ROWS.length });
    expect(await resultsOf('again')).toEqual(expectedResults([], []));
  }
});

test('deletes each row that was acknowledged before the request, and keeps those recorded later', async () => {
  const body = { metrics: Array.from({ length: 50 }, () => ({ metric_name: 'during', metric_value: 1 })) };
  let acknowledged = 0;
  let isRecording = true;
  const recording = (async () => {
    while (isRecording) {
      const { status } = await post(target, '/log_batch', body, admin);
      // a request may be rejected while the file is rewritten; then none of its rows are stored
      expect([200, 503]).toContain(status);
      if (status === 200) acknowledged += 50;
    }
  })();
  let deleted = 0;
  for (let i = 0; i < 5; i++) {
    const before = acknowledged;
    while (acknowledged < before + 100) await get('/healthz');
    const atRequest = acknowledged;
    const { status, body: response } = await remove('metrics', 'name=during');
    expect(status).toBe(200);
    deleted += response.deleted.metrics;
    expect(deleted).toBeGreaterThanOrEqual(atRequest);
  }
  isRecording = false;
  await recording;
  const left = rows(target, 'metrics').filter((row) => row['metric_name'] === 'during').length;
  expect(left).toBe(acknowledged - deleted);
  expect((await get('/api/records/metrics?name=during&limit=1000')).body.records).toHaveLength(Math.min(1000, left));
  expect((await remove('metrics', 'name=during')).body.deleted.metrics).toBe(left);
}, 120_000);

test('a replayed request whose rows were deleted gets the cached IDs and stores nothing', async () => {
  const headers = { ...admin, 'idempotency-key': 'replayed' };
  const body = { metric_name: 'replayed', metric_value: 1, data_string: 'a' };
  const first = await post(target, '/log_raw_metric', body, headers);
  expect((await remove('metrics', 'name=replayed')).body.deleted.metrics).toBe(1);
  const second = await post(target, '/log_raw_metric', body, headers);
  expect([second.text, second.headers.get('idempotent-replayed')]).toEqual([first.text, 'true']);
  expect((await get('/api/records/metrics?name=replayed')).body.records).toEqual([]);
});

describe('validation', () => {
  test.each([
    ['metrics', '', ['name'], 'missing'],
    ['metrics', 'type=a', ['name', 'type'], 'missing'],
    ['metrics', 'name=a&data.plan=b', ['data.plan'], 'extra_forbidden'],
    ['analytics', 'name=a', ['type', 'name'], 'missing'],
    ['analytics', 'type=a&type=b', ['type'], 'too_long'],
    ['metrics', 'name=a&limit=1', ['limit'], 'extra_forbidden'],
    ['metrics', 'name=a&dry_run=', ['dry_run'], 'bool_parsing'],
    ['metrics', 'name=a&dry_run=1', ['dry_run'], 'bool_parsing'],
    ['metrics', 'name=a&dry_run=True', ['dry_run'], 'bool_parsing'],
    ['metrics', 'name=a&dry_run=true&dry_run=true', ['dry_run'], 'too_long'],
    ['metrics', 'name=a&dryrun=true', ['dryrun'], 'extra_forbidden'],
    ['metrics', 'name=a&from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z', ['to'], 'value_error'],
    [
      'metrics',
      'from=yesterday&dry_run=no&user_id=&data_string~=',
      ['name', 'data_string~', 'user_id', 'from', 'dry_run'],
      'missing',
    ],
  ] as const)('DELETE /api/records/%s?%s reports %p', async (kind, query, parameters, type) => {
    const before = await ledger();
    const response = await remove(kind, query);
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail.map(({ loc }: { loc: string[] }) => loc)).toEqual(
      parameters.map((parameter) => ['query', parameter]),
    );
    expect(response.body.detail[0].type).toBe(type);
    expect(await ledger()).toEqual(before);
  });

  test('callers who are not admins get a 403 before anything is parsed, and delete nothing', async () => {
    await record('kept');
    for (const claims of [{ sub: 'anna' }, { sub: 'anna', role: 'viewer' }, { sub: 'anna', role: 'Admin' }]) {
      for (const query of ['name=kept', 'name=kept&user_id=anna', 'name=kept&dry_run=true', 'dry_run=x', '%ff']) {
        expectError(await remove('metrics', query, await bearer(claims)), 403, 'forbidden');
        expectError(await remove('analytics', query, await bearer(claims)), 403, 'forbidden');
      }
    }
    expectError(await remove('metrics', 'name=kept', {}), 401, 'unauthorized');
    expect(await resultsOf('kept')).toEqual(expectedResults(ROWS, ROWS));
  });

  test('other methods get a 405 that lists GET and DELETE', async () => {
    for (const kind of ['metrics', 'analytics']) {
      const response = await send(`${target.url}/api/records/${kind}`, { method: 'POST', headers: admin });
      expectError(response, 405, 'method_not_allowed');
      expect(response.headers.get('allow')?.split(', ').sort()).toEqual(['DELETE', 'GET', 'HEAD']);
    }
  });
});

test('logs the hash of the admin and the counts, but no name, label or user', async () => {
  const metrics = Array.from({ length: 234 }, () => ({
    metric_name: 'name not logged',
    metric_value: 1,
    data_string: 'label not logged',
    user_id: 'user not logged',
  }));
  expect((await post(target, '/log_batch', { metrics }, admin)).status).toBe(200);
  const query = 'name=name%20not%20logged&data_string=label%20not%20logged&user_id=user%20not%20logged';
  const responses = [await remove('metrics', `${query}&dry_run=true`), await remove('metrics', query)];
  for (const [i, msg] of ['records counted for a deletion', 'records deleted'].entries()) {
    const line = await target.logged((each) => each['msg'] === msg && each['metrics'] === 234);
    const admin_hash = expect.stringMatching(/^[\da-f]{16}$/);
    expect(line).toMatchObject({ admin_hash, request_id: responses[i]?.headers.get('x-request-id') });
  }
  expect(target.output().stderr).not.toContain('not logged');
});

test('the OpenAPI document describes the parameters and the response', async () => {
  const { body } = await get('/swagger/json');
  for (const [kind, name] of [
    ['metrics', 'name'],
    ['analytics', 'type'],
  ] as const) {
    const route = body.paths[`/api/records/${kind}`].delete;
    const parameters = Object.fromEntries(
      route.parameters.map((parameter: { name: string; required: boolean }) => [parameter.name, parameter.required]),
    );
    expect(parameters).toMatchObject({ [name]: true, dry_run: false, from: false, to: false, user_id: false });
    expect(route.responses['200'].content['application/json'].schema.$ref).toBe('#/components/schemas/Deletion');
  }
  expect(body.components.schemas.Deletion.required).toEqual(['dry_run', 'deleted']);
});

test('"rawlog verify" finds no problem, and status has no pending deletion', async () => {
  while ((await get('/api/status')).body.erasures.pending !== 0) {
    // the write-ahead log is truncated by the next catch-up
  }
  const { exitCode, stderr } = await runCli(['verify'], { env: { JWT_SECRET: SECRET, DATA_DIR: target.dataDir } });
  expect([exitCode, stderr]).toEqual([0, expect.not.stringContaining('differ')]);
  const { stored, deleted } = await ledger();
  const present = (table: Kind) => rows(target, table).filter((row) => row['user_id'] !== '').length;
  expect(deleted).toBeGreaterThan(1_000);
  expect(present('metrics') + present('analytics')).toBe(stored - deleted);
});
