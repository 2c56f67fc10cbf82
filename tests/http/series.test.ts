import { describe, expect, test } from 'bun:test';
import { send } from '../harness/client.ts';
import { bearer, type Query, setUpSeededServer } from '../harness/seeded-server.ts';

const server = setUpSeededServer();
const { get, getAsAdmin } = server;

const EMPTY = { count: 0, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
const singleValue = (value: number) => ({
  count: 1,
  sum: value,
  avg: value,
  min: value,
  max: value,
  p50: value,
  p95: value,
  p99: value,
});

describe('a series', () => {
  const path = '/api/metrics/series';

  test('is one bucket in UTC over all rows by default', async () => {
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

  test('has local days, including a day of 23 hours and an empty day', async () => {
    const range = { from: '2026-03-28T00:00:00+01:00', to: '2026-04-01T00:00:00+02:00' };
    const { body } = await get('anna', path, { name: 'load', ...range, interval: 'day', tz: 'Europe/Berlin' });
    expect(body).toMatchObject({ ...range, tz: 'Europe/Berlin' });
    expect(body.buckets).toEqual([
      { start: '2026-03-28T00:00:00+01:00', ...singleValue(1) },
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
      { start: '2026-03-30T00:00:00+02:00', ...EMPTY },
      { start: '2026-03-31T00:00:00+02:00', ...singleValue(16) },
    ]);
  });

  test('has local hours, without the hour skipped by daylight saving time', async () => {
    const range = { from: '2026-03-29T01:00:00+01:00', to: '2026-03-29T05:00:00+02:00' };
    const { body } = await get('anna', path, { name: 'load', ...range, interval: '1h', tz: 'Europe/Berlin' });
    expect(body.buckets).toEqual([
      { start: '2026-03-29T01:00:00+01:00', ...singleValue(2) },
      { start: '2026-03-29T03:00:00+02:00', ...singleValue(4) },
      { start: '2026-03-29T04:00:00+02:00', ...EMPTY },
    ]);
  });

  test('is grouped by label, most frequent first, with the remaining labels combined', async () => {
    const range = { from: '2026-03-28T00:00:00Z', to: '2026-04-01T00:00:00Z' };
    const { body } = await getAsAdmin(path, { name: 'load', ...range, group_by: 'data_string', top: '2' });
    const start = '2026-03-28T00:00:00Z';
    expect(body.buckets).toMatchObject([{ start, count: 6, sum: 131, max: 100 }]);
    expect(body.groups).toMatchObject([
      { data_string: '/', buckets: [{ start, count: 3, sum: 11 }] },
      { data_string: '/a', buckets: [{ start, count: 2, sum: 20, p50: 10 }] },
    ]);
    expect(body.other).toEqual({ labels: 1, ...singleValue(100), buckets: [{ start, ...singleValue(100) }] });
    const all = await getAsAdmin(path, { name: 'load', ...range, group_by: 'data_string' });
    expect(all.body.groups).toHaveLength(3);
    expect(all.body.other).toEqual({ labels: 0, ...EMPTY, buckets: [{ start, ...EMPTY }] });
  });

  test('is filtered by label', async () => {
    const { body } = await get('anna', path, { name: 'load', data_string: '/a' });
    expect(body.buckets).toMatchObject([{ count: 2, sum: 20 }]);
    const split = await get('anna', path, { name: 'load', data_string: '/a', group_by: 'data_string' });
    expect(split.body.groups).toMatchObject([{ data_string: '/a' }]);
    expect(split.body.other.labels).toBe(0);
  });

  test('has empty buckets for a given range, and none without a range', async () => {
    const range = { from: '2026-01-01T00:00:00Z', to: '2026-01-03T00:00:00Z', interval: 'day' };
    const empty = [
      { start: '2026-01-01T00:00:00Z', ...EMPTY },
      { start: '2026-01-02T00:00:00Z', ...EMPTY },
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

  test('includes the start of its range and excludes the end', async () => {
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
  ])('accepts the interval %p', async (interval, start) => {
    const range = { from: '2026-03-29T01:37:20+01:00', to: '2026-03-29T01:37:30+01:00' };
    const { body } = await get('anna', path, { name: 'load', ...range, interval, tz: 'Europe/Berlin' });
    expect(body.buckets).toEqual([{ start, ...EMPTY }]);
  });

  test.each([
    { from: '1960-01-01T00:00:00Z', to: '2030-01-01T00:00:00Z', interval: '5000y' },
    { from: '0000-01-01T00:00:00Z', to: '2030-01-01T00:00:00Z', interval: '9999y' },
    { from: '0000-01-01T00:00:00Z', to: '0000-01-03T00:00:00Z', interval: 'day', tz: 'America/New_York' },
    { from: '9999-12-30T00:00:00Z', to: '9999-12-31T23:59:59.999999Z', interval: 'hour', tz: 'Asia/Tokyo' },
    { from: '2026-01-01T00:00:00Z', to: '9999-12-31T23:59:59Z', interval: '9999y', tz: 'Pacific/Kiritimati' },
    { from: '0000-01-01T00:00:00Z', to: '9999-12-31T23:59:59Z' },
  ])('has only times of the years 0000 to 9999: %j', async (query) => {
    const { status, body } = await get('anna', path, { name: 'load', ...query });
    expect(status).toBe(200);
    const times = [body.from, body.to, ...body.buckets.map(({ start }: { start: string }) => start)];
    for (const time of times) expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/);
    expect(body.buckets.length).toBeGreaterThan(0);
  });

  test('rejects a range outside these years', async () => {
    for (const time of ['9999-12-31T23:59:59-01:00', '0000-01-01T00:00:00+23:59']) {
      expect((await get('anna', path, { name: 'load', to: time })).status).toBe(422);
    }
  });

  test('accepts times with an unencoded plus, in any zone and in lower case', async () => {
    const headers = await bearer({ sub: 'anna' });
    for (const [from, to] of [
      ['2026-03-29T03:30:00+02:00', '2026-03-29T23:00:00+02:00'],
      ['2026-03-29T03:30:00%2B02:00', '2026-03-29T21:00:00Z'],
      ['2026-03-29t01:30:00z', '2026-03-29T17:00:00.0-04:00'],
      ['2026-03-29%2001:30:00.000000Z', '2026-03-30T02:30:00%2B05:30'],
    ]) {
      const response = await send(`${server.target.url}${path}?name=load&from=${from}&to=${to}`, { headers });
      expect(response.status).toBe(200);
      expect(response.body).toMatchObject({ from: '2026-03-29T01:30:00Z', to: '2026-03-29T21:00:00Z' });
      expect(response.body.buckets).toMatchObject([{ count: 1, sum: 4 }]);
    }
  });
});
