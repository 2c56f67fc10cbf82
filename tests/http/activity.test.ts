import { describe, expect, test } from 'bun:test';
import { send } from '../harness/client.ts';
import { bearer, load, setUpSeededServer } from '../harness/seeded-server.ts';
import { startTarget } from '../harness/target.ts';

const { get, getAsAdmin, record } = setUpSeededServer();

describe('activity', () => {
  const path = '/api/activity';

  test('includes both kinds, in total and by name, in one bucket by default', async () => {
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

  test('has local days, with the most frequent names first and the remaining names combined', async () => {
    const range = { from: '2026-03-28T00:00:00+01:00', to: '2026-03-31T00:00:00+02:00' };
    const { body } = await getAsAdmin(path, { ...range, interval: 'day', tz: 'Europe/Berlin', top: '1' });
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
    const { metrics, analytics } = (await getAsAdmin(path, { ...march, user_id: 'anna', top: '1' })).body;
    expect(metrics).toMatchObject({ count: 6, names: [{ name: 'load', count: 5 }], other: { names: 1, count: 1 } });
    expect(analytics).toMatchObject({ count: 5, types: [{ type: 'tutorial' }], other: { types: 1, counts: [1] } });
  });

  test('counts unique users per bucket, by name and in total, and ranks names by them', async () => {
    const range = { from: '2024-05-01T00:00:00Z', to: '2024-05-03T00:00:00Z' };
    const event = (type: string, timestamp: string) => ({ type, data: {}, data_index: '', timestamp });
    const [first, second] = ['2024-05-01T10:00:00Z', '2024-05-02T10:00:00Z'];
    // one user makes most of the rows, with many names
    const noise = Array.from({ length: 40 }, (_, i) => event(`noise ${i % 8}`, first));
    await record('noisy', '/log_batch', { metrics: [load(1, first)], analytics: noise });
    await record('carla', '/log_batch', { analytics: [event('buy', first), event('buy', second)] });
    await record('dora', '/log_batch', { metrics: [load(2, second)], analytics: [event('buy', second)] });
    const query = { ...range, interval: 'day', top: '1', unique_users: 'true' };
    const { body } = await getAsAdmin(path, query);
    expect(body).toEqual({
      ...range,
      tz: 'UTC',
      starts: [range.from, '2024-05-02T00:00:00Z'],
      unique_users: 3,
      user_counts: [2, 2],
      metrics: {
        ...{ count: 2, counts: [1, 1], unique_users: 2, user_counts: [1, 1] },
        names: [{ name: 'load', count: 2, counts: [1, 1], unique_users: 2, user_counts: [1, 1] }],
        other: { names: 0, count: 0, counts: [0, 0], unique_users: 0, user_counts: [0, 0] },
      },
      analytics: {
        ...{ count: 43, counts: [41, 2], unique_users: 3, user_counts: [2, 2] },
        types: [{ type: 'buy', count: 3, counts: [1, 2], unique_users: 2, user_counts: [1, 2] }],
        other: { types: 8, count: 40, counts: [40, 0], unique_users: 1, user_counts: [1, 0] },
      },
    });
    const byRows = (await getAsAdmin(path, { ...query, unique_users: 'false' })).body;
    expect(byRows).not.toHaveProperty('unique_users');
    expect(byRows.analytics.types).toEqual([{ type: 'noise 0', count: 5, counts: [5, 0] }]);
    const own = (await get('carla', path, { ...range, unique_users: 'true' })).body;
    expect(own).toMatchObject({ unique_users: 1, user_counts: [1], metrics: { unique_users: 0 } });
    expect((await get('carla', path, { unique_users: 'yes' })).status).toBe(422);
  });

  test('sorts equally frequent names by UTF-16 code units, not by age', async () => {
    for (const name of ['b', 'a', 'B', 'ä', 'aa']) {
      await record('ties', '/log_raw_metric', { ...load(1, '2026-01-01T00:00:00Z'), metric_name: name });
    }
    const { names } = (await get('ties', path, { top: '4' })).body.metrics;
    expect(names.map(({ name }: { name: string }) => name)).toEqual(['B', 'a', 'aa', 'b']);
  });

  test('has no buckets without rows, and zeros for a given range', async () => {
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
    const users = (await get('nobody', path, { unique_users: 'true', interval: 'day' })).body;
    expect(users).toMatchObject({ unique_users: 0, user_counts: [], analytics: { other: { unique_users: 0 } } });
  });
});

test('returns activity and retention of an empty log', async () => {
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
