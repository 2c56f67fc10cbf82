import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { expectError, type HttpResponse, post, send } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
  await seed();
});
afterAll(() => target.stop());

type Query = Record<string, string | readonly string[]>;

const addressOf = (path: string, query: Query = {}) => {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((one): [string, string] => [name, String(one)]),
  );
  return `${target.url}${path}?${new URLSearchParams(pairs)}`;
};
const bearer = async (claims: Record<string, unknown>) => ({ authorization: `Bearer ${await token(claims)}` });
/** Asks as a user. */
const get = async (user: string, path: string, query: Query = {}): Promise<HttpResponse> =>
  send(addressOf(path, query), { headers: await bearer({ sub: user }) });
const askAdmin = async (path: string, query: Query = {}): Promise<HttpResponse> =>
  send(addressOf(path, query), { headers: await bearer({ sub: 'root', role: 'admin' }) });
const record = async (user: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
  post(target, path, body, { ...(await bearer({ sub: user })), ...headers });

const load = (value: number, timestamp: string, page = '/') => ({
  metric_name: 'load',
  metric_value: value,
  data_string: page,
  timestamp,
});
const step = (data_index: string, timestamp: string) => ({
  type: 'tutorial',
  data: { at: timestamp, n: 1 },
  data_index,
  timestamp,
});

/** Two users, around the night in which the clocks of Berlin are put forward. */
async function seed(): Promise<void> {
  const stored = [
    await record('anna', '/log_batch', {
      metrics: [
        load(1, '2026-03-28T23:30:00+01:00'),
        load(2, '2026-03-29T01:30:00+01:00'),
        load(4, '2026-03-29T03:30:00+02:00', '/a'),
        load(8, '2026-03-29T23:59:59.999999+02:00'),
        load(16, '2026-03-31T00:00:00+02:00', '/a'),
        { metric_name: 'other', metric_value: -0.5, data_string: 'x', timestamp: '2026-03-01T00:00:00.5Z' },
      ],
      analytics: [
        step('one', '2026-03-01T10:00:00Z'),
        step('two', '2026-03-01T10:00:30Z'),
        step('one', '2026-03-01T12:00:00Z'),
        step('three', '2026-03-02T10:00:00Z'),
        { type: 'click', data: { x: 1.0 }, data_index: '', timestamp: '2026-03-05T00:00:00Z' },
      ],
    }),
    await record('berta', '/log_batch', {
      metrics: [load(100, '2026-03-29T12:00:00+02:00', '/b')],
      analytics: [step('one', '2026-03-01T11:00:00Z'), step('two', '2026-03-01T11:01:30Z')],
    }),
  ];
  expect(stored.map(({ status }) => status)).toEqual([200, 200]);
}

const NOTHING = { count: 0, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
const ONE = (value: number) => ({
  count: 1,
  sum: value,
  avg: value,
  min: value,
  max: value,
  p50: value,
  p95: value,
  p99: value,
});

describe('the names of metrics and types of events', () => {
  test('have their count, their first and their last time, the most frequent first', async () => {
    const load = {
      name: 'load',
      count: 5,
      first_seen: '2026-03-28T22:30:00Z',
      last_seen: '2026-03-30T22:00:00Z',
    };
    const other = {
      name: 'other',
      count: 1,
      first_seen: '2026-03-01T00:00:00.5Z',
      last_seen: '2026-03-01T00:00:00.5Z',
    };
    expect((await get('anna', '/api/metrics')).body).toEqual({ metrics: [load, other] });
    expect((await askAdmin('/api/metrics')).body).toEqual({ metrics: [{ ...load, count: 6 }, other] });
    expect((await askAdmin('/api/metrics', { user_id: 'anna' })).body).toEqual({ metrics: [load, other] });
    const click = { type: 'click', count: 1, first_seen: '2026-03-05T00:00:00Z', last_seen: '2026-03-05T00:00:00Z' };
    const tutorial = {
      type: 'tutorial',
      count: 4,
      first_seen: '2026-03-01T10:00:00Z',
      last_seen: '2026-03-02T10:00:00Z',
    };
    expect((await get('anna', '/api/analytics', { user_id: 'anna' })).body).toEqual({ types: [tutorial, click] });
    expect((await askAdmin('/api/analytics')).body).toEqual({ types: [{ ...tutorial, count: 6 }, click] });
  });

  test('are none for who has recorded nothing', async () => {
    expect((await get('nobody', '/api/metrics')).body).toEqual({ metrics: [] });
    expect((await get('nobody', '/api/analytics')).body).toEqual({ types: [] });
    expect((await askAdmin('/api/metrics', { user_id: 'nobody' })).body).toEqual({ metrics: [] });
  });
});

describe('a metric over time', () => {
  const path = '/api/metrics/series';

  test('is one bucket from the first row to behind the last, in UTC, when only its name is given', async () => {
    const response = await get('anna', path, { name: 'load' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f]+-[0-9a-z]+$/);
    const from = '2026-03-28T22:30:00Z';
    const statistics = {
      count: 5,
      sum: 31,
      avg: 6.2,
      min: 1,
      max: 16,
      p50: 4,
      p95: expect.closeTo(14.4, 12),
      p99: expect.closeTo(15.68, 12),
    };
    expect(response.body).toEqual({
      name: 'load',
      from,
      to: '2026-03-30T22:00:00.000001Z',
      tz: 'UTC',
      percentiles: { method: 'percentile_cont', error: 0 },
      ...statistics,
      buckets: [{ start: from, ...statistics }],
    });
  });

  test('has local days, also one of 23 hours and an empty one', async () => {
    const range = { from: '2026-03-28T00:00:00+01:00', to: '2026-04-01T00:00:00+02:00' };
    const { body } = await get('anna', path, { name: 'load', ...range, interval: 'day', tz: 'Europe/Berlin' });
    expect(body).toMatchObject({ ...range, tz: 'Europe/Berlin' });
    expect(body.buckets).toEqual([
      { start: '2026-03-28T00:00:00+01:00', ...ONE(1) },
      {
        start: '2026-03-29T00:00:00+01:00',
        count: 3,
        sum: 14,
        avg: 14 / 3,
        min: 2,
        max: 8,
        p50: 4,
        p95: 7.6,
        p99: 7.92,
      },
      { start: '2026-03-30T00:00:00+02:00', ...NOTHING },
      { start: '2026-03-31T00:00:00+02:00', ...ONE(16) },
    ]);
  });

  test('has hours of the local clock, of which one is missing', async () => {
    const range = { from: '2026-03-29T01:00:00+01:00', to: '2026-03-29T05:00:00+02:00' };
    const { body } = await get('anna', path, { name: 'load', ...range, interval: '1h', tz: 'Europe/Berlin' });
    expect(body.buckets).toEqual([
      { start: '2026-03-29T01:00:00+01:00', ...ONE(2) },
      { start: '2026-03-29T03:00:00+02:00', ...ONE(4) },
      { start: '2026-03-29T04:00:00+02:00', ...NOTHING },
    ]);
  });

  test('is split by label, the most frequent first, with the rest together', async () => {
    const range = { from: '2026-03-28T00:00:00Z', to: '2026-04-01T00:00:00Z' };
    const { body } = await askAdmin(path, { name: 'load', ...range, group_by: 'data_string', top: '2' });
    const start = '2026-03-28T00:00:00Z';
    expect(body.buckets).toMatchObject([{ start, count: 6, sum: 131, max: 100 }]);
    expect(body.groups).toMatchObject([
      { data_string: '/', buckets: [{ start, count: 3, sum: 11 }] },
      { data_string: '/a', buckets: [{ start, count: 2, sum: 20, p50: 10 }] },
    ]);
    expect(body.other).toEqual({ labels: 1, ...ONE(100), buckets: [{ start, ...ONE(100) }] });
    const all = await askAdmin(path, { name: 'load', ...range, group_by: 'data_string' });
    expect(all.body.groups).toHaveLength(3);
    expect(all.body.other).toEqual({ labels: 0, ...NOTHING, buckets: [{ start, ...NOTHING }] });
  });

  test('is of one label where one is named', async () => {
    const { body } = await get('anna', path, { name: 'load', data_string: '/a' });
    expect(body.buckets).toMatchObject([{ count: 2, sum: 20 }]);
    const split = await get('anna', path, { name: 'load', data_string: '/a', group_by: 'data_string' });
    expect(split.body.groups).toMatchObject([{ data_string: '/a' }]);
    expect(split.body.other.labels).toBe(0);
  });

  test('has the empty buckets of its range, and none where no range is known', async () => {
    const range = { from: '2026-01-01T00:00:00Z', to: '2026-01-03T00:00:00Z', interval: 'day' };
    const empty = [
      { start: '2026-01-01T00:00:00Z', ...NOTHING },
      { start: '2026-01-02T00:00:00Z', ...NOTHING },
    ];
    expect((await get('anna', path, { name: 'load', ...range })).body.buckets).toEqual(empty);
    expect((await get('anna', path, { name: 'never recorded', ...range })).body.buckets).toEqual(empty);
    expect((await get('nobody', path, { name: 'load', ...range })).body.buckets).toEqual(empty);
    const unknown = { from: null, to: null, buckets: [] };
    expect((await get('anna', path, { name: 'never recorded', interval: 'day' })).body).toMatchObject(unknown);
    expect((await get('nobody', path, { name: 'load' })).body).toMatchObject(unknown);
    const { from } = range;
    const nothing = { from, to: from, buckets: [] };
    expect((await get('anna', path, { name: 'load', from, to: from, interval: 'day' })).body).toMatchObject(nothing);
  });

  test('begins in the range and ends before its end', async () => {
    const at = '2026-03-29T03:30:00+02:00';
    const count = async (query: Query) => (await get('anna', path, { name: 'load', ...query })).body.buckets[0]?.count;
    expect(await count({ from: at })).toBe(3);
    expect(await count({ to: at })).toBe(2);
    expect(await count({ from: at, to: '2026-03-29T03:30:00.000001+02:00' })).toBe(1);
    expect(await count({ from: '2026-03-29T03:30:00.000001+02:00' })).toBe(2);
  });

  test.each([
    ['30m', '2026-03-29T01:30:00+01:00'],
    ['15min', '2026-03-29T01:30:00+01:00'],
    ['minutes', '2026-03-29T01:37:00+01:00'],
    ['6h', '2026-03-29T00:00:00+01:00'],
    ['24hours', '2026-03-29T00:00:00+01:00'],
    ['week', '2026-03-23T00:00:00+01:00'],
    ['1M', '2026-03-01T00:00:00+01:00'],
    ['3months', '2026-01-01T00:00:00+01:00'],
    ['year', '2026-01-01T00:00:00+01:00'],
    ['10y', '2020-01-01T00:00:00+01:00'],
  ])('of intervals such as %p', async (interval, start) => {
    const range = { from: '2026-03-29T01:37:20+01:00', to: '2026-03-29T01:37:30+01:00' };
    const { body } = await get('anna', path, { name: 'load', ...range, interval, tz: 'Europe/Berlin' });
    expect(body.buckets).toEqual([{ start, ...NOTHING }]);
  });

  test('takes times as clients send them: with a plus that is not encoded, in any zone, in small letters', async () => {
    const headers = await bearer({ sub: 'anna' });
    for (const [from, to] of [
      ['2026-03-29T03:30:00+02:00', '2026-03-29T23:00:00+02:00'],
      ['2026-03-29T03:30:00%2B02:00', '2026-03-29T21:00:00Z'],
      ['2026-03-29t01:30:00z', '2026-03-29T17:00:00.0-04:00'],
      ['2026-03-29%2001:30:00.000000Z', '2026-03-30T02:30:00%2B05:30'],
    ]) {
      const response = await send(`${target.url}${path}?name=load&from=${from}&to=${to}`, { headers });
      expect(response.status).toBe(200);
      expect(response.body).toMatchObject({ from: '2026-03-29T01:30:00Z', to: '2026-03-29T21:00:00Z' });
      expect(response.body.buckets).toMatchObject([{ count: 1, sum: 4 }]);
    }
  });
});

describe('events over time', () => {
  const path = '/api/analytics/counts';

  test('are counted, and users too', async () => {
    expect((await askAdmin(path, { type: 'tutorial', interval: 'hour', to: '2026-03-01T13:00:00Z' })).body).toEqual({
      type: 'tutorial',
      from: '2026-03-01T10:00:00Z',
      to: '2026-03-01T13:00:00Z',
      tz: 'UTC',
      count: 5,
      unique_users: 2,
      buckets: [
        { start: '2026-03-01T10:00:00Z', count: 2, unique_users: 1 },
        { start: '2026-03-01T11:00:00Z', count: 2, unique_users: 1 },
        { start: '2026-03-01T12:00:00Z', count: 1, unique_users: 1 },
      ],
    });
    expect((await get('berta', path, { type: 'tutorial' })).body).toMatchObject({ count: 2, unique_users: 1 });
  });

  test('are split by index', async () => {
    const { body } = await askAdmin(path, { type: 'tutorial', group_by: 'data_index', top: '1' });
    const start = '2026-03-01T10:00:00Z';
    expect(body.groups).toEqual([
      { data_index: 'one', count: 3, unique_users: 2, buckets: [{ start, count: 3, unique_users: 2 }] },
    ]);
    const rest = { count: 3, unique_users: 2 };
    expect(body.other).toEqual({ labels: 2, ...rest, buckets: [{ start, ...rest }] });
  });

  test('of a range without any are zero', async () => {
    const range = { from: '2020-01-01T00:00:00Z', to: '2020-01-02T00:00:00Z' };
    const nothing = { count: 0, unique_users: 0 };
    const { body } = await askAdmin(path, { type: 'tutorial', group_by: 'data_index', ...range });
    const buckets = [{ start: range.from, ...nothing }];
    const other = { labels: 0, ...nothing, buckets };
    expect(body).toEqual({ type: 'tutorial', ...range, tz: 'UTC', ...nothing, buckets, groups: [], other });
  });

  test('may have an empty type and index', async () => {
    const { body } = await get('anna', path, { type: 'click', data_index: '' });
    expect(body.count).toBe(1);
    expect((await get('anna', path, { type: 'click', data_index: 'x' })).body.count).toBe(0);
    await record('empty', '/log_raw_analytics', { type: '', data: {}, data_index: '' });
    expect((await get('empty', path, { type: '', group_by: 'data_index' })).body).toMatchObject({
      type: '',
      count: 1,
      groups: [{ data_index: '', count: 1 }],
    });
  });
});

describe('a funnel', () => {
  const path = '/api/analytics/funnel';

  test('has users, conversion and the median time from the step before, also of steps that nobody reached', async () => {
    const { body } = await askAdmin(path, { type: 'tutorial', step: ['one', 'two', 'three', 'never'] });
    expect(body).toEqual({
      type: 'tutorial',
      from: '2026-03-01T10:00:00Z',
      to: '2026-03-02T10:00:00.000001Z',
      tz: 'UTC',
      within_seconds: 604_800,
      steps: [
        { step: 'one', users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: null },
        { step: 'two', users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: 60 },
        { step: 'three', users: 1, conversion: 0.5, conversion_from_previous: 0.5, median_seconds: 86_370 },
        { step: 'never', users: 0, conversion: 0, conversion_from_previous: 0, median_seconds: null },
      ],
    });
  });

  test('has the order of its steps, and its limit of time', async () => {
    const users = async (query: Query) =>
      (await askAdmin(path, { type: 'tutorial', ...query })).body.steps.map((one: { users: number }) => one.users);
    expect(await users({ step: ['two', 'one'] })).toEqual([2, 1]);
    expect(await users({ step: ['one', 'one', 'one'] })).toEqual([2, 1, 0]);
    expect(await users({ step: ['one', 'two', 'three'], within: '23h' })).toEqual([2, 2, 0]);
    expect(await users({ step: ['one', 'two'], within: '89s' })).toEqual([2, 1]);
    expect(await users({ step: ['one', 'two'], within: '90s' })).toEqual([2, 2]);
    expect(await users({ step: ['one', 'two'], from: '2026-03-01T10:30:00Z' })).toEqual([2, 1]);
    expect(await users({ step: ['one', 'two'], to: '2026-03-01T10:30:00Z' })).toEqual([1, 1]);
    expect(await users({ step: ['one', 'two'], user_id: 'berta' })).toEqual([1, 1]);
  });

  test('without a start has no conversion', async () => {
    const nothing = { users: 0, conversion: null, conversion_from_previous: null, median_seconds: null };
    const { body } = await get('nobody', path, { type: 'tutorial', step: ['one', 'two'] });
    expect(body).toMatchObject({ from: null, to: null });
    expect(body.steps).toEqual([
      { step: 'one', ...nothing },
      { step: 'two', ...nothing },
    ]);
  });
});

describe('activity', () => {
  const path = '/api/activity';

  test('is that of both kinds, in total and by name, in one bucket when nothing is said', async () => {
    const response = await get('anna', path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.body).toEqual({
      from: '2026-03-01T00:00:00.5Z',
      to: '2026-03-30T22:00:00.000001Z',
      tz: 'UTC',
      starts: ['2026-03-01T00:00:00.5Z'],
      metrics: {
        count: 6,
        counts: [6],
        names: [
          { name: 'load', count: 5, counts: [5] },
          { name: 'other', count: 1, counts: [1] },
        ],
        other: { names: 0, count: 0, counts: [0] },
      },
      analytics: {
        count: 5,
        counts: [5],
        types: [
          { type: 'tutorial', count: 4, counts: [4] },
          { type: 'click', count: 1, counts: [1] },
        ],
        other: { types: 0, count: 0, counts: [0] },
      },
    });
  });

  test('is told by local day, the most frequent names first and the rest together', async () => {
    const range = { from: '2026-03-28T00:00:00+01:00', to: '2026-03-31T00:00:00+02:00' };
    const { body } = await askAdmin(path, { ...range, interval: 'day', tz: 'Europe/Berlin', top: '1' });
    expect(body).toEqual({
      ...range,
      tz: 'Europe/Berlin',
      starts: ['2026-03-28T00:00:00+01:00', '2026-03-29T00:00:00+01:00', '2026-03-30T00:00:00+02:00'],
      metrics: {
        count: 5,
        counts: [1, 4, 0],
        names: [{ name: 'load', count: 5, counts: [1, 4, 0] }],
        other: { names: 0, count: 0, counts: [0, 0, 0] },
      },
      analytics: { count: 0, counts: [0, 0, 0], types: [], other: { types: 0, count: 0, counts: [0, 0, 0] } },
    });
    const march = { from: '2026-03-01T00:00:00Z', to: '2026-04-01T00:00:00Z' };
    const { metrics, analytics } = (await askAdmin(path, { ...march, user_id: 'anna', top: '1' })).body;
    expect(metrics).toMatchObject({ count: 6, names: [{ name: 'load', count: 5 }], other: { names: 1, count: 1 } });
    expect(analytics).toMatchObject({ count: 5, types: [{ type: 'tutorial' }], other: { types: 1, counts: [1] } });
  });

  test('names equally frequent ones in their order, whichever came first', async () => {
    for (const name of ['b', 'a', 'B', 'ä', 'aa']) {
      await record('ties', '/log_raw_metric', { ...load(1, '2026-01-01T00:00:00Z'), metric_name: name });
    }
    const { names } = (await get('ties', path, { top: '4' })).body.metrics;
    expect(names.map(({ name }: { name: string }) => name)).toEqual(['B', 'a', 'aa', 'b']);
  });

  test('of nobody has no range and no buckets, and in a range zeros', async () => {
    const none = { count: 0, counts: [] };
    expect((await get('nobody', path, { interval: 'day' })).body).toEqual({
      from: null,
      to: null,
      tz: 'UTC',
      starts: [],
      metrics: { ...none, names: [], other: { names: 0, ...none } },
      analytics: { ...none, types: [], other: { types: 0, ...none } },
    });
    const range = { from: '2020-01-01T00:00:00Z', to: '2020-01-02T00:00:00Z' };
    for (const user of ['nobody', 'anna']) {
      const { body } = await get(user, path, range);
      expect(body).toMatchObject({ ...range, starts: [range.from], metrics: { count: 0, counts: [0], names: [] } });
    }
  });
});

describe('retention', () => {
  const path = '/api/analytics/retention';

  test('has a cohort for every day of the range, and nothing for days that it does not have', async () => {
    const range = { from: '2026-03-01T00:00:00Z', to: '2026-03-04T00:00:00Z' };
    const { body } = await askAdmin(path, { type: 'tutorial', step: 'one', ...range, days: '3' });
    expect(body).toEqual({
      type: 'tutorial',
      step: 'one',
      return_step: null,
      ...range,
      tz: 'UTC',
      days: 3,
      cohorts: [
        { start: '2026-03-01T00:00:00Z', users: 2, returned: [1, 0, null] },
        { start: '2026-03-02T00:00:00Z', users: 0, returned: [0, null, null] },
        { start: '2026-03-03T00:00:00Z', users: 0, returned: [null, null, null] },
      ],
    });
  });

  test('goes 14 days far when nothing is said, over all rows of the type', async () => {
    const { body } = await get('anna', path, { type: 'tutorial', step: 'two' });
    expect(body).toMatchObject({ from: '2026-03-01T10:00:00Z', to: '2026-03-02T10:00:00.000001Z', days: 14 });
    expect(body.cohorts).toEqual([
      { start: '2026-03-01T00:00:00Z', users: 1, returned: [1, ...Array(13).fill(null)] },
      { start: '2026-03-02T00:00:00Z', users: 0, returned: Array(14).fill(null) },
    ]);
  });

  test('has the days of the zone, and the step that counts as coming back', async () => {
    const first = async (query: Query) => {
      const { body } = await get('anna', path, { type: 'tutorial', step: 'one', days: '1', ...query });
      expect(body).toMatchObject({ return_step: query['return_step'] ?? null, tz: query['tz'] ?? 'UTC' });
      return body.cohorts[0];
    };
    const start = '2026-03-01T00:00:00Z';
    expect(await first({ return_step: 'three' })).toEqual({ start, users: 1, returned: [1] });
    expect(await first({ return_step: 'two' })).toEqual({ start, users: 1, returned: [0] });
    expect(await first({ return_step: 'never' })).toEqual({ start, users: 1, returned: [0] });
    expect(await first({ step: 'never' })).toEqual({ start, users: 0, returned: [0] });
    // where it is midnight between the two events of this step
    expect(await first({ return_step: 'one' })).toEqual({ start, users: 1, returned: [0] });
    const auckland = await first({ return_step: 'one', tz: 'Pacific/Auckland' });
    expect(auckland).toEqual({ start: '2026-03-01T00:00:00+13:00', users: 1, returned: [1] });
    // who took the step before the range is in the cohort of the first time in it
    const late = await first({ tz: 'Pacific/Auckland', from: '2026-03-01T11:00:00Z' });
    expect(late).toEqual({ start: '2026-03-02T00:00:00+13:00', users: 1, returned: [null] });
  });

  test('of nobody has no cohorts', async () => {
    const { body } = await get('nobody', path, { type: 'tutorial', step: 'one' });
    expect(body).toMatchObject({ from: null, to: null, cohorts: [] });
  });
});

describe('the offsets of a time zone', () => {
  const offsetsOf = async (tz: string) => (await get('anna', '/api/zone', { tz })).body;

  test('begin with the one since ever, and change when the clocks do', async () => {
    const { tz, offsets } = await offsetsOf('Europe/Berlin');
    expect(tz).toBe('Europe/Berlin');
    expect(offsets[0]).toEqual({ from: null, offset_seconds: 3208 });
    expect(offsets.filter(({ from }: { from: string | null }) => from?.startsWith('2026'))).toEqual([
      { from: '2026-03-29T01:00:00Z', offset_seconds: 7200 },
      { from: '2026-10-25T01:00:00Z', offset_seconds: 3600 },
    ]);
    expect((await get('anna', '/api/zone')).body).toEqual({ tz: 'UTC', offsets: [{ from: null, offset_seconds: 0 }] });
  });

  test('are those of the buckets', async () => {
    for (const tz of ['Australia/Lord_Howe', 'America/Santiago', 'Pacific/Apia', 'Africa/Casablanca']) {
      const { offsets } = await offsetsOf(tz);
      const range = { from: '2011-01-01T00:00:00Z', to: '2012-06-01T00:00:00Z', interval: '12h', tz };
      const { starts } = (await get('anna', '/api/activity', range)).body;
      const shown = (starts as string[]).map(
        (start) => (Date.parse(`${start.slice(0, 19)}Z`) - Date.parse(start)) / 1000,
      );
      const told = (starts as string[]).map(
        (start) =>
          offsets.findLast(
            ({ from }: { from: string | null }) => from === null || Date.parse(from) <= Date.parse(start),
          ).offset_seconds,
      );
      expect({ tz, told }).toEqual({ tz, told: shown });
      expect(new Set(told).size).toBeGreaterThan(1);
    }
  });

  test('need a token, and the name of a zone', async () => {
    expectError(await send(`${target.url}/api/zone`), 401, 'unauthorized');
    expectError(await get('anna', '/api/zone', { tz: '+02:00' }), 422, 'validation_failed');
    expectError(await get('anna', '/api/zone', { tz: 'UTC', name: 'x' }), 422, 'validation_failed');
  });
});

test('a log without a row responses both', async () => {
  const empty = await startTarget();
  try {
    const get = async (address: string) =>
      (await send(empty.url + address, { headers: await bearer({ sub: 'root', role: 'admin' }) })).body;
    const none = { from: null, to: null };
    const nothing = { count: 0, counts: [] };
    expect(await get('/api/activity?interval=day')).toMatchObject({ ...none, starts: [], metrics: nothing });
    const zeros = { count: 0, counts: [0, 0] };
    const range = 'from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z';
    expect(await get(`/api/activity?interval=day&${range}`)).toMatchObject({ metrics: zeros, analytics: zeros });
    const query = '/api/analytics/retention?type=x&step=y&days=1';
    expect(await get(query)).toMatchObject({ ...none, cohorts: [] });
    expect((await get(`${query}&${range}`)).cohorts).toMatchObject([{ returned: [0] }, { returned: [null] }]);
  } finally {
    await empty.stop();
  }
});

describe('records', () => {
  test('come newest first, whole', async () => {
    const { body } = await get('anna', '/api/records/analytics', { limit: '2' });
    const stamps = { id: expect.stringMatching(/^[0-9a-f-]{36}$/), user_id: 'anna', received_at: expect.any(String) };
    expect(body.records).toEqual([
      { ...stamps, timestamp: '2026-03-05T00:00:00Z', type: 'click', data_index: '', data: { x: 1 } },
      {
        ...stamps,
        timestamp: '2026-03-02T10:00:00Z',
        type: 'tutorial',
        data_index: 'three',
        data: { at: '2026-03-02T10:00:00Z', n: 1 },
      },
    ]);
    expect(body.next_cursor).toBeString();
    const metrics = await get('berta', '/api/records/metrics');
    expect(metrics.body).toEqual({
      records: [
        {
          ...stamps,
          user_id: 'berta',
          timestamp: '2026-03-29T10:00:00Z',
          metric_name: 'load',
          metric_value: 100,
          data_string: '/b',
        },
      ],
      next_cursor: null,
    });
  });

  test('are those that pass every filter', async () => {
    const values = async (query: Query) =>
      (await askAdmin('/api/records/metrics', query)).body.records.map(
        (one: { metric_value: number }) => one.metric_value,
      );
    expect(await values({ name: 'load' })).toEqual([100, 16, 8, 4, 2, 1]);
    expect(await values({ data_string: '/a' })).toEqual([16, 4]);
    expect(await values({ name: 'load', data_string: '/a', to: '2026-03-31T00:00:00+02:00' })).toEqual([4]);
    expect(await values({ user_id: 'berta' })).toEqual([100]);
    expect(await values({ user_id: 'berta', name: 'other' })).toEqual([]);
    expect(await values({ from: '2026-03-29T00:00:00Z', to: '2026-03-29T12:00:00Z' })).toEqual([100, 4, 2]);
    // parameters of the other kind
    expectError(await askAdmin('/api/records/metrics', { type: 'tutorial' }), 422, 'validation_failed');
    expectError(await askAdmin('/api/records/analytics', { data_string: 'a' }), 422, 'validation_failed');
  });

  test('keep the digits of numbers in their data', async () => {
    const data = '{"n":12345678901234567890.10,"m":1e400}';
    await record('digits', '/log_raw_analytics', `{"type":"t","data_index":"","data":${data}}`);
    expect((await get('digits', '/api/records/analytics')).text).toContain(data);
    expect((await get('digits', '/api/export/analytics')).text).toContain(data);
  });

  test.each(['metrics', 'analytics'])(
    'of %s are paged through exactly once each, also while more are recorded',
    async (kind) => {
      const user = `pages of ${kind}`;
      const batch = (from: number, size: number) => ({
        metrics: Array.from({ length: size }, (_, i) => load(from + i, '2026-01-01T00:00:00Z')),
        analytics: Array.from({ length: size }, (_, i) => step(`${from + i}`, '2026-01-01T00:00:00Z')),
      });
      await record(user, '/log_batch', batch(0, 250));
      for (const limit of [1, 7, 50, 100, 1000]) {
        // the last of the pages of one takes too many requests
        const first = limit === 1 ? 20 : Number.POSITIVE_INFINITY;
        const before = (await get(user, `/api/records/${kind}`, { limit: '1000' })).body.records;
        const seen: unknown[] = [];
        let cursor: string | null = null;
        do {
          const query: Query = { limit: String(limit), ...(cursor !== null && { cursor }) };
          const { body } = await get(user, `/api/records/${kind}`, query);
          expect(body.records.length).toBeLessThanOrEqual(limit);
          seen.push(...body.records);
          cursor = body.next_cursor;
          await Promise.all([
            record(user, '/log_batch', batch(1000, 1)),
            record('another', '/log_batch', batch(1000, 3)),
          ]);
        } while (cursor !== null && seen.length < first);
        expect(seen).toEqual(before.slice(0, first));
      }
    },
  );
});

describe('what is recorded changes the next answer', () => {
  const body = load(3, '2026-02-01T00:00:00Z');
  const everything = async (user: string) => {
    const paths = ['/api/metrics', '/api/records/metrics', '/api/export/metrics'];
    const responses = await Promise.all([
      ...paths.map((path) => get(user, path)),
      get(user, '/api/metrics/series', { name: 'load', interval: 'day', group_by: 'data_string' }),
    ]);
    return responses.map(({ text }) => text);
  };

  test('once, however often a request is repeated under its key', async () => {
    const key = { 'idempotency-key': 'of reading'.replace(' ', '-') };
    await record('repeats', '/log_raw_metric', body, key);
    const once = await everything('repeats');
    expect(once.join()).toContain('"count":1');
    const again = await record('repeats', '/log_raw_metric', body, key);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(await everything('repeats')).toEqual(once);
    await record('repeats', '/log_raw_metric', body);
    expect((await everything('repeats')).join()).toContain('"count":2');
  });

  test('not at all, when it is refused', async () => {
    await record('refused', '/log_raw_metric', body);
    const before = await everything('refused');
    const wrong = { ...body, metric_value: 'x' };
    expect((await record('refused', '/log_raw_metric', wrong)).status).toBe(422);
    expect((await record('refused', '/log_batch', { metrics: [body, wrong] })).status).toBe(422);
    expect(
      (await record('refused', '/log_batch', { metrics: [body, { ...body, timestamp: '1600-01-01T00:00:00Z' }] }))
        .status,
    ).toBe(422);
    expect((await record('refused', '/log_raw_metric', '{')).status).toBe(400);
    expect(await everything('refused')).toEqual(before);
  });

  test('also where it happened long before everything else', async () => {
    await record('late', '/log_raw_metric', load(1, '2026-02-01T12:00:00Z'));
    await get('late', '/api/metrics/series', { name: 'load' });
    await record('late', '/log_raw_metric', load(2, '1700-01-01T00:00:00Z'));
    await record('late', '/log_raw_metric', load(3, '1969-12-31T23:59:59.999999Z'));
    const { body: response } = await get('late', '/api/metrics/series', { name: 'load', interval: '100y' });
    expect(response.from).toBe('1700-01-01T00:00:00Z');
    expect(response.buckets.map((one: { start: string; sum: number }) => [one.start.slice(0, 4), one.sum])).toEqual([
      ['1670', 2],
      ['1770', 0],
      ['1870', 3],
      ['1970', 1],
    ]);
  });
});

const ODD = [
  'ä ö/ü?&=#%+',
  '🦀\u200d\u{1F469}',
  "'; DROP TABLE metrics; --",
  '"quoted", \\ and `ticked`',
  ' leading and trailing ',
  'line\nbreak\ttab\r\n',
  '__proto__',
  'constructor',
  '%2F%00',
  'null',
  '*',
  '\u0000nul',
];

test.each(ODD)('names and labels such as %p are found, and nothing else is', async (odd) => {
  const user = 'odd';
  await record(user, '/log_batch', {
    metrics: [{ metric_name: odd, metric_value: 1, data_string: odd, timestamp: '2026-01-01T00:00:00Z' }],
    analytics: [
      { type: odd, data: { [odd]: odd }, data_index: odd, timestamp: '2026-01-01T00:00:00Z' },
      { type: odd, data: {}, data_index: 'next', timestamp: '2026-01-01T00:00:01Z' },
    ],
  });
  const series = await get(user, '/api/metrics/series', { name: odd, data_string: odd, group_by: 'data_string' });
  expect(series.body).toMatchObject({ name: odd, buckets: [{ count: 1 }], groups: [{ data_string: odd }] });
  const counts = await get(user, '/api/analytics/counts', { type: odd, group_by: 'data_index' });
  expect(counts.body).toMatchObject({ type: odd, count: 2, groups: [{ data_index: odd }, { data_index: 'next' }] });
  const funnel = await get(user, '/api/analytics/funnel', { type: odd, step: [odd, 'next'] });
  expect(funnel.body.steps).toMatchObject([
    { step: odd, users: 1 },
    { step: 'next', users: 1 },
  ]);
  const retention = await get(user, '/api/analytics/retention', { type: odd, step: odd, return_step: odd });
  expect(retention.body).toMatchObject({ type: odd, step: odd, return_step: odd, cohorts: [{ users: 1 }] });
  const activity = (await get(user, '/api/activity', { top: '1000' })).body;
  expect(activity.metrics.names).toContainEqual({ name: odd, count: 1, counts: [1] });
  expect(activity.analytics.types).toContainEqual({ type: odd, count: 2, counts: [2] });
  const records = await get(user, '/api/records/analytics', { type: odd, data_index: odd });
  expect(records.body.records).toEqual([expect.objectContaining({ type: odd, data_index: odd, data: { [odd]: odd } })]);
  expect(
    (await get(user, '/api/metrics')).body.metrics.filter(({ name }: { name: string }) => name === odd),
  ).toHaveLength(1);
});

/** Every route, with parameters that it takes. */
const ROUTES: readonly (readonly [path: string, query: Query])[] = [
  ['/api/metrics', {}],
  ['/api/analytics', {}],
  ['/api/metrics/series', { name: 'load' }],
  ['/api/analytics/counts', { type: 'tutorial' }],
  ['/api/analytics/funnel', { type: 'tutorial', step: ['one', 'two'] }],
  ['/api/analytics/retention', { type: 'tutorial', step: 'one' }],
  ['/api/activity', {}],
  ['/api/records/metrics', {}],
  ['/api/records/analytics', {}],
  ['/api/export/metrics', {}],
  ['/api/export/analytics', {}],
];

describe.each(ROUTES)('%s', (path, query) => {
  test('answers', async () => {
    expect((await get('anna', path, query)).status).toBe(200);
  });

  test('is for who has a token, whatever else is wrong', async () => {
    for (const address of [addressOf(path, query), addressOf(path, { from: 'x', user_id: 'other', limit: '-1' })]) {
      const anonymous = await send(address);
      expectError(anonymous, 401, 'unauthorized');
      expect(anonymous.headers.get('www-authenticate')).toBe('Bearer');
      expectError(await send(address, { headers: { authorization: 'Bearer x' } }), 401, 'unauthorized');
      const expired = await bearer({ sub: 'anna', exp: secondsFromNow(-10) });
      const refused = await send(address, { headers: expired });
      expectError(refused, 401, 'unauthorized');
      expect(refused.body.message).toBe('Token has expired');
      expect(refused.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    }
  });

  test('says nothing of another user, save to an admin', async () => {
    expectError(await get('anna', path, { ...query, user_id: 'berta' }), 403, 'forbidden');
    expectError(await get('anna', path, { ...query, user_id: 'nobody' }), 403, 'forbidden');
    expectError(await get('anna', path, { ...query, user_id: 'ANNA' }), 403, 'forbidden');
    const own = await get('anna', path, query);
    expect((await get('anna', path, { ...query, user_id: 'anna' })).text).toBe(own.text);
    expect((await askAdmin(path, { ...query, user_id: 'anna' })).text).toBe(own.text);
    // only these very words are the role
    for (const role of ['Admin', 'administrator', ['admin'], true]) {
      const headers = await bearer({ sub: 'anna', role });
      expectError(await send(addressOf(path, { ...query, user_id: 'berta' }), { headers }), 403, 'forbidden');
    }
  });

  test('takes each parameter once, but steps', async () => {
    for (const [name, value] of [...Object.entries(query), ['user_id', 'anna'] as const]) {
      if (Array.isArray(value)) continue;
      const response = await get('anna', path, { ...query, [name]: [String(value), String(value)] });
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toEqual([
        { loc: ['query', name], msg: 'Input should be given once', type: 'too_long' },
      ]);
    }
  });

  test('takes no user id that none can have', async () => {
    for (const user_id of ['', 'a\nb', '\0', 'x'.repeat(256)]) {
      const response = await get('anna', path, { ...query, user_id });
      expectError(response, 422, 'validation_failed');
      const msg = 'String should have 1 to 255 characters and no control characters';
      expect(response.body.detail).toEqual([{ loc: ['query', 'user_id'], msg, type: 'string_pattern_mismatch' }]);
    }
  });

  test('rejects parameters that it does not know, all of them', async () => {
    const response = await get('anna', path, { ...query, unknown: 'x', toString: 'y' });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toEqual(
      ['unknown', 'toString'].map((name) => ({
        loc: ['query', name],
        msg: 'Extra inputs are not permitted',
        type: 'extra_forbidden',
      })),
    );
  });

  test('takes no other method', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      const response = await send(addressOf(path, query), { method, headers: await bearer({ sub: 'anna' }) });
      expectError(response, 405, 'method_not_allowed');
    }
  });
});

describe('422 says which parameter is wrong, and how', () => {
  const [SERIES, COUNTS, FUNNEL, RETENTION, ACTIVITY, RECORDS, EXPORT] = [
    ['/api/metrics/series', { name: 'load' }],
    ['/api/analytics/counts', { type: 'tutorial' }],
    ['/api/analytics/funnel', { type: 'tutorial', step: ['one', 'two'] }],
    ['/api/analytics/retention', { type: 'tutorial', step: 'one' }],
    ['/api/activity', {}],
    ['/api/records/metrics', {}],
    ['/api/export/analytics', {}],
  ] as const satisfies (readonly [string, Query])[];

  const DATETIME = ['datetime_parsing', 'Input should be a valid datetime with an offset, in RFC 3339'] as const;
  const INTERVAL = [
    'value_error',
    'Value error, the interval should be minutes, hours, days, weeks, months or years, such as 15m, hour or 1d',
  ] as const;
  const ZONE = ['value_error', 'Value error, the time zone should be an IANA name, such as Europe/Berlin'] as const;
  const INTEGER = ['int_parsing', 'Input should be a valid integer, unable to parse string as an integer'] as const;
  const CURSOR = ['value_error', 'Value error, the cursor should be one that a page has given'] as const;
  const WITHIN = [
    'value_error',
    'Value error, the time should be a number above 0 with s, m, h or d behind it, such as 7d',
  ] as const;
  const ID = ['value_error', 'Value error, the id should be one of a record'] as const;
  const wrong: [readonly [string, Query], string, readonly string[], readonly [type: string, msg: string]][] = [
    ...[SERIES, COUNTS, FUNNEL, RETENTION, ACTIVITY, RECORDS, EXPORT].flatMap((route): typeof wrong =>
      ['from', 'to'].map((name) => [
        route,
        name,
        [
          '',
          'yesterday',
          '2026-03-01',
          '2026-03-01T00:00:00',
          '2026-02-29T00:00:00Z',
          '2026-03-01T24:00:00Z',
          '1767225600',
        ],
        DATETIME,
      ]),
    ),
    ...[SERIES, COUNTS, ACTIVITY].flatMap((route): typeof wrong => [
      [
        route,
        'interval',
        [
          '',
          '0d',
          '-1d',
          '1.5h',
          '7m',
          '5h',
          'fortnight',
          '1',
          'ms',
          'Day',
          'constructor',
          'toString',
          '10000d',
          '1 d',
          '1d ',
        ],
        INTERVAL,
      ],
      [route, 'tz', ['', 'Mars/Olympus', '+02:00', 'UTC+2', 'Europe', '../../etc/passwd', 'Z'], ZONE],
      [route, 'top', ['', 'ten', '1.5', '1e2', '0x10', ' 1', '9'.repeat(16)], INTEGER],
      [route, 'top', ['0', '-1'], ['greater_than_equal', 'Input should be greater than or equal to 1']],
      [route, 'top', ['1001', '999999999999999'], ['less_than_equal', 'Input should be less than or equal to 1000']],
    ]),
    [SERIES, 'group_by', ['', 'data_index', 'user_id'], ['enum', "Input should be 'data_string'"]],
    [COUNTS, 'group_by', ['', 'data_string', 'toString'], ['enum', "Input should be 'data_index'"]],
    [RETENTION, 'tz', ['', 'Mars/Olympus', '+02:00'], ZONE],
    [RETENTION, 'days', ['', 'all', '1.5', '7d'], INTEGER],
    [RETENTION, 'days', ['0', '-1'], ['greater_than_equal', 'Input should be greater than or equal to 1']],
    [RETENTION, 'days', ['31'], ['less_than_equal', 'Input should be less than or equal to 30']],
    [FUNNEL, 'within', ['', '0s', '7', 'd', '-1d', '1w', '1.5h', '36501d', '99999999999s'], WITHIN],
    [RECORDS, 'limit', ['', 'all', '1.0'], INTEGER],
    [RECORDS, 'limit', ['0', '-5'], ['greater_than_equal', 'Input should be greater than or equal to 1']],
    [RECORDS, 'limit', ['1001'], ['less_than_equal', 'Input should be less than or equal to 1000']],
    [RECORDS, 'cursor', ['', 'ABC', '-1', 'a b', 'z'.repeat(12), 'zzzzzzzzzzz', "1' OR 1"], CURSOR],
    [EXPORT, 'format', ['', 'xml', 'NDJSON', 'json'], ['enum', "Input should be 'ndjson' or 'csv' or 'parquet'"]],
    [EXPORT, 'formulas', ['', 'yes'], ['enum', "Input should be 'keep' or 'escape'"]],
    [EXPORT, 'after', ['', 'x', '019aab3c-5f00-4001-9c3e-5a1d7f0b2c44', '019AAB3C-5F00-7001-9C3E-5A1D7F0B2C44'], ID],
  ];

  test.each(
    wrong.map(
      ([[path, query], name, values, fault]) => [`${name} of ${path}`, { path, query, name, values, fault }] as const,
    ),
  )('%s', async (_, { path, query, name, values, fault: [type, msg] }) => {
    for (const value of values) {
      const response = await get('anna', path, { ...query, [name]: value });
      expectError(response, 422, 'validation_failed');
      expect([value, response.body.detail]).toEqual([value, [{ loc: ['query', name], msg, type }]]);
    }
  });

  test.each([
    ['/api/metrics/series', ['name']],
    ['/api/analytics/counts', ['type']],
    ['/api/analytics/funnel', ['type']],
    ['/api/analytics/retention', ['type', 'step']],
  ])('what is missing for %s', async (path, missing) => {
    const response = await get('anna', path);
    expectError(response, 422, 'validation_failed');
    const issues = missing.map((name) => ({ loc: ['query', name], msg: 'Field required', type: 'missing' }));
    const msg = 'Value error, a funnel has 2 to 20 steps, not 0';
    const steps = path === FUNNEL[0] ? [{ loc: ['query', 'step'], msg, type: 'value_error' }] : [];
    expect(response.body.detail).toEqual([...issues, ...steps]);
  });

  test('everything that is wrong is said at once', async () => {
    const { body } = await get('anna', '/api/records/metrics', { limit: '0', from: 'x', cursor: '!', more: '1' });
    expect(body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort()).toEqual(['cursor', 'from', 'limit', 'more']);
    const range = { from: '2026-03-02T00:00:00Z', to: '2026-03-01T00:00:00Z' };
    const response = await get('anna', '/api/analytics/funnel', { step: 'one', ...range, within: 'x', user_id: '\0' });
    expectError(response, 422, 'validation_failed');
    const wrong = response.body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort();
    expect(wrong).toEqual(['step', 'to', 'type', 'user_id', 'within']);
    const page = await get('anna', '/api/export/metrics', { format: 'x', after: 'x', from: 'x' });
    expect(page.body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort()).toEqual(['after', 'format', 'from']);
  });

  test.each([0, 1, 21])('a funnel of %p steps', async (steps) => {
    const response = await get('anna', '/api/analytics/funnel', { type: 'x', step: Array(steps).fill('one') });
    expectError(response, 422, 'validation_failed');
    const msg = `Value error, a funnel has 2 to 20 steps, not ${steps}`;
    expect(response.body.detail).toEqual([{ loc: ['query', 'step'], msg, type: 'value_error' }]);
  });

  test('a funnel of twenty steps is fine', async () => {
    const { body } = await get('anna', '/api/analytics/funnel', { type: 'tutorial', step: Array(20).fill('one') });
    expect(body.steps).toHaveLength(20);
  });

  test.each([SERIES, COUNTS, FUNNEL, RETENTION, ACTIVITY, RECORDS, EXPORT])(
    'a range that ends before it starts, of %s',
    async (path, query) => {
      const reversed = { from: '2026-03-01T00:00:00.000001Z', to: '2026-03-01T00:00:00Z' };
      const response = await get('anna', path, { ...query, ...reversed });
      expectError(response, 422, 'validation_failed');
      const msg = 'Value error, the end of the range lies before its start';
      expect(response.body.detail).toEqual([{ loc: ['query', 'to'], msg, type: 'value_error' }]);
      // the same instant in two zones is an empty range, and no reversed one
      const empty = { from: '2026-03-01T01:00:00+01:00', to: '2026-03-01T00:00:00Z' };
      expect((await get('anna', path, { ...query, ...empty })).status).toBe(200);
    },
  );

  test('everything that is wrong at once', async () => {
    const response = await get('anna', '/api/metrics/series', { from: 'x', interval: 'x', tz: 'x', top: '0' });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort()).toEqual([
      'from',
      'interval',
      'name',
      'top',
      'tz',
    ]);
  });

  test('too many buckets', async () => {
    const range = { from: '2000-01-01T00:00:00Z', to: '2026-01-01T00:00:00Z' };
    for (const [path, query] of [SERIES, COUNTS, ACTIVITY]) {
      const response = await get('anna', path, { ...query, ...range, interval: 'hour' });
      expectError(response, 422, 'query_too_large');
      expect(response.body.detail).toEqual([
        {
          loc: ['query', 'interval'],
          msg: 'Value error, the range has more than 10000 intervals',
          type: 'query_too_large',
        },
      ]);
      expect((await get('anna', path, { ...query, ...range, interval: 'day' })).status).toBe(200);
    }
    // cohorts are by day
    const [path, query] = RETENTION;
    expect((await get('anna', path, { ...query, ...range, days: '1' })).body.cohorts).toHaveLength(9497);
    const long = { from: '1998-01-01T00:00:00Z', to: '2026-01-01T00:00:00Z' };
    expectError(await get('anna', path, { ...query, ...long, days: '1' }), 422, 'query_too_large');
  });
});

test('the ends of what a time can be are answered, not an error of the server', async () => {
  for (const tz of ['UTC', 'Pacific/Apia', 'America/St_Johns']) {
    for (const [from, to] of [
      ['0000-01-01T00:00:00Z', '9999-12-31T23:59:59.999999Z'],
      ['0000-01-01T00:00:00+14:00', '0000-01-02T00:00:00Z'],
      ['9999-12-31T00:00:00Z', '9999-12-31T23:59:59-12:00'],
      ['1582-10-01T00:00:00Z', '1582-10-20T00:00:00Z'],
    ] as const) {
      for (const interval of ['year', '9999y', '9999M', '9999w', '9999d', 'day', 'minute']) {
        const { status } = await get('anna', '/api/metrics/series', { name: 'load', from, to, tz, interval });
        expect([200, 422]).toContain(status);
      }
    }
  }
});

test('nothing of what was asked is in the log', () => {
  expect(target.output().stderr + target.output().stdout).not.toContain('Mars/Olympus');
  expect(target.output().stderr).not.toContain('DROP TABLE');
});
