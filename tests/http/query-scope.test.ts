import { afterAll, beforeAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { post, send } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * A response contains no byte of another user's rows, for every reading route and parameter.
 */

/** Occurs in every field of every row of the other user, and nowhere else. */
const MARK = 'S3CR3T';
/** A name and label that both users have. Counts under it must still include only the caller's rows. */
const SHARED = 'shared';

let target: Target;
let reader: Record<string, string>;
let foreignIds: string[];
/** The parameters of each route, from the OpenAPI document. */
let documented: ReadonlyMap<string, ReadonlySet<string>>;

beforeAll(async () => {
  target = await startTarget();
  const { paths } = (await send(`${target.url}/swagger/json`)).body;
  documented = new Map(
    ROUTES.map((route) => [route, new Set(paths[route].get.parameters?.map(({ name }: { name: string }) => name))]),
  );
  reader = { authorization: `Bearer ${await token({ sub: 'reader' })}` };
  const other = { authorization: `Bearer ${await token({ sub: `${MARK}-user` })}` };
  const rowsOf = (mark: string, value: number) => ({
    metrics: [mark, SHARED].flatMap((name) =>
      [mark, SHARED].map((label) => ({ metric_name: name, metric_value: value, data_string: label })),
    ),
    analytics: [mark, SHARED].flatMap((type) =>
      [mark, SHARED].map((data_index) => ({ type, data_index, data: { [mark]: mark, secret: mark, number: value } })),
    ),
  });
  const { body } = await post(target, '/log_batch', rowsOf(MARK, 987_654.321), other);
  foreignIds = [...body.metrics, ...body.analytics];
  await post(target, '/log_batch', rowsOf('mine', 1), reader);
  // rejections of both users
  for (const headers of [reader, other]) await post(target, '/log_raw_metric', {}, headers);
});
afterAll(() => target.stop());

const ROUTES = [
  '/api/metrics',
  '/api/analytics',
  '/api/metrics/series',
  '/api/analytics/counts',
  '/api/analytics/funnel',
  '/api/analytics/retention',
  '/api/activity',
  '/api/records/metrics',
  '/api/records/analytics',
  '/api/export/metrics',
  '/api/export/analytics',
  '/api/rejections',
  '/api/status',
];
const texts = fc.constantFrom(MARK, SHARED, 'mine', `${MARK}-user`, 'reader', '', '%', "' OR 1=1 --");
const stepTexts = fc.oneof(texts, fc.constantFrom(`${SHARED}:${MARK}`, `${MARK}:${SHARED}`, `${MARK}:`));
const times = fc.constantFrom(
  '1970-01-01T00:00:00Z',
  '2020-01-01T00:00:00Z',
  '2030-01-01T00:00:00Z',
  '2100-01-01T00:00:00Z',
  'now',
);
const parameters = fc.record(
  {
    name: texts,
    type: texts,
    data_string: texts,
    data_index: texts,
    user_id: fc.constantFrom('reader', 'reader', 'reader', `${MARK}-user`, '', '*', 'READER', 'reader '),
    from: times,
    to: times,
    interval: fc.constantFrom('day', 'year', '15m', 'fortnight'),
    tz: fc.constantFrom('UTC', 'Asia/Kathmandu', 'Nowhere/Here'),
    group_by: fc.constantFrom('data_string', 'data_index', 'user_id', 'data.secret', `data.${MARK}`),
    sum: fc.constantFrom('data.secret', 'data.number', 'number'),
    'data.secret': texts,
    'data.secret!': texts,
    'data.secret~': texts,
    top: fc.constantFrom('1', '1000', '0'),
    limit: fc.constantFrom('1', '1000', '-1'),
    cursor: fc.constantFrom('zzzzzzzzz', '1', '8rute0esjk', '-'),
    format: fc.constantFrom('ndjson', 'csv'),
    formulas: fc.constantFrom('keep', 'escape'),
    after: fc.constantFrom('019aab3c-5f00-7001-9c3e-5a1d7f0b2c44', 'x'),
    code: fc.constantFrom('validation_failed', 'unauthorized', 'none'),
    within: fc.constantFrom('7d', '1s', 'long'),
    days: fc.constantFrom('1', '30', '31'),
    return_step: stepTexts,
  },
  { requiredKeys: [] },
);

test("returns no byte of another user's records to a non-admin", async () => {
  let succeeded = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...ROUTES),
      parameters,
      fc.oneof(
        fc.array(stepTexts, { maxLength: 3 }),
        stepTexts.map((step) => [step]),
      ),
      async (route, given, steps) => {
        // unknown parameters would be rejected
        const known = (name: string) =>
          documented.get(route)?.has(name.startsWith('data.') ? 'data.PATH' : name) ?? false;
        const query = new URLSearchParams(Object.entries<string>(given).filter(([name]) => known(name)));
        if (known('step')) for (const step of steps) query.append('step', step);
        const { status, text } = await send(`${target.url}${route}?${query}`, { headers: reader });
        expect([200, 403, 422]).toContain(status);
        if (status !== 200) return;
        succeeded++;
        // the response repeats the requested name or type, and the steps below
        const {
          name: _name,
          type: _type,
          ...fields
        } = JSON.parse(text.startsWith('{') && !text.includes('\n') ? text : '{}');
        const shown = text.startsWith('{') && !text.includes('\n') ? JSON.stringify(fields) : text;
        const withoutSteps = shown
          .replaceAll(/"step":"[^"]*","type":"[^"]*","data_index":("[^"]*"|null),/g, '')
          .replaceAll(/"(return_)?step":"[^"]*"|"data\.[^"]*":/g, '');
        expect(withoutSteps).not.toContain(MARK);
        expect(shown).not.toContain('987654');
        for (const id of foreignIds) expect(shown).not.toContain(id);
      },
    ),
    { numRuns: 2500 },
  );
  // most queries with random parameters are rejected, but some must succeed
  expect(succeeded).toBeGreaterThan(50);
});

test("counts only the caller's rows, users and steps under a shared name", async () => {
  const get = async (address: string) => (await send(target.url + address, { headers: reader })).body;
  const series = await get(`/api/metrics/series?name=${SHARED}`);
  expect(series.buckets).toMatchObject([{ count: 2, sum: 2, max: 1, p99: 1 }]);
  const counts = await get(`/api/analytics/counts?type=${SHARED}&group_by=data_index`);
  expect(counts).toMatchObject({ count: 2, unique_users: 1, other: { labels: 0 } });
  const funnel = await get(`/api/analytics/funnel?type=${SHARED}&step=${SHARED}&step=${MARK}`);
  expect(funnel.steps.map(({ users }: { users: number }) => users)).toEqual([1, 0]);
  const acrossTypes = await get(`/api/analytics/funnel?step=${SHARED}&step=mine&step=${MARK}`);
  expect(acrossTypes.steps.map(({ users }: { users: number }) => users)).toEqual([1, 0, 0]);
  const retention = await get(`/api/analytics/retention?type=${SHARED}&step=${SHARED}`);
  expect(retention.cohorts).toMatchObject([{ users: 1 }]);
  const foreign = await get(`/api/analytics/retention?type=${SHARED}&step=${MARK}`);
  expect(foreign.cohorts).toMatchObject([{ users: 0 }]);
  const activity = await get('/api/activity');
  expect(activity.metrics).toMatchObject({ count: 4, counts: [4], names: [{ name: 'mine' }, { name: SHARED }] });
  expect(activity.analytics).toMatchObject({ count: 4, counts: [4], types: [{ type: 'mine' }, { type: SHARED }] });
  expect([activity.metrics.other.names, activity.analytics.other.types]).toEqual([0, 0]);
  expect((await get('/api/metrics')).metrics.map(({ name }: { name: string }) => name).sort()).toEqual([
    'mine',
    SHARED,
  ]);
});

test('lets only an admin see all users or select another user', async () => {
  const admin = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
  const count = async (query: string, headers: Record<string, string> = admin) => {
    const { status, body } = await send(`${target.url}/api/records/metrics?${query}`, { headers });
    return status === 200 ? body.records.length : status;
  };
  expect(await count('')).toBe(8);
  expect(await count(`user_id=${MARK}-user`)).toBe(4);
  expect(await count('user_id=nobody')).toBe(0);
  expect(await count('user_id=reader', reader)).toBe(4);
  expect(await count(`user_id=${MARK}-user`, reader)).toBe(403);
});
