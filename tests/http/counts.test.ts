import { describe, expect, test } from 'bun:test';
import { setUpSeededServer } from '../harness/seeded-server.ts';

const { get, getAsAdmin, record } = setUpSeededServer();

describe('counts of events', () => {
  const path = '/api/analytics/counts';

  test('counts events and unique users per bucket', async () => {
    expect((await getAsAdmin(path, { type: 'tutorial', interval: 'hour', to: '2026-03-01T13:00:00Z' })).body).toEqual({
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

  test('groups by data_index', async () => {
    const { body } = await getAsAdmin(path, { type: 'tutorial', group_by: 'data_index', top: '1' });
    const start = '2026-03-01T10:00:00Z';
    expect(body.groups).toEqual([
      { data_index: 'one', count: 3, unique_users: 2, buckets: [{ start, count: 3, unique_users: 2 }] },
    ]);
    const remaining = { count: 3, unique_users: 2 };
    expect(body.other).toEqual({ labels: 2, ...remaining, buckets: [{ start, ...remaining }] });
  });

  test('returns zeros for a range without events', async () => {
    const range = { from: '2020-01-01T00:00:00Z', to: '2020-01-02T00:00:00Z' };
    const nothing = { count: 0, unique_users: 0 };
    const { body } = await getAsAdmin(path, { type: 'tutorial', group_by: 'data_index', ...range });
    const buckets = [{ start: range.from, ...nothing }];
    const other = { labels: 0, ...nothing, buckets };
    expect(body).toEqual({ type: 'tutorial', ...range, tz: 'UTC', ...nothing, buckets, groups: [], other });
  });

  test('supports an empty type and data_index', async () => {
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
