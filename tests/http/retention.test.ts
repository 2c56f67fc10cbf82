import { describe, expect, test } from 'bun:test';
import { expectError } from '../harness/client.ts';
import { type Query, setUpSeededServer } from '../harness/seeded-server.ts';

const { get, getAsAdmin, record } = setUpSeededServer();

describe('cohort retention', () => {
  const path = '/api/analytics/retention';

  test('has a cohort for every day of the range, and null for days after the range', async () => {
    const range = { from: '2026-03-01T00:00:00Z', to: '2026-03-04T00:00:00Z' };
    const { body } = await getAsAdmin(path, { type: 'tutorial', step: 'one', ...range, days: '3' });
    expect(body).toEqual({
      type: 'tutorial',
      step: 'one',
      return_step: null,
      ...range,
      tz: 'UTC',
      period: 'day',
      periods: 3,
      days: 3,
      cohorts: [
        { start: '2026-03-01T00:00:00Z', users: 2, returned: [1, 0, null] },
        { start: '2026-03-02T00:00:00Z', users: 0, returned: [0, null, null] },
        { start: '2026-03-03T00:00:00Z', users: 0, returned: [null, null, null] },
      ],
    });
  });

  test('covers 14 days and all rows of the type by default', async () => {
    const { body } = await get('anna', path, { type: 'tutorial', step: 'two' });
    expect(body).toMatchObject({ from: '2026-03-01T10:00:00Z', to: '2026-03-02T10:00:00.000001Z', days: 14 });
    expect(body.cohorts).toEqual([
      { start: '2026-03-01T00:00:00Z', users: 1, returned: [1, ...Array(13).fill(null)] },
      { start: '2026-03-02T00:00:00Z', users: 0, returned: Array(14).fill(null) },
    ]);
  });

  test('uses local days and the given return step', async () => {
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
    // in Auckland, midnight lies between the two events of this step
    expect(await first({ return_step: 'one' })).toEqual({ start, users: 1, returned: [0] });
    const auckland = await first({ return_step: 'one', tz: 'Pacific/Auckland' });
    expect(auckland).toEqual({ start: '2026-03-01T00:00:00+13:00', users: 1, returned: [1] });
    // a user who took the step before the range belongs to the cohort of the first time in the range
    const late = await first({ tz: 'Pacific/Auckland', from: '2026-03-01T11:00:00Z' });
    expect(late).toEqual({ start: '2026-03-02T00:00:00+13:00', users: 1, returned: [null] });
  });

  test('has cohorts of weeks that start on Monday or Sunday, and of months', async () => {
    const event = (timestamp: string, data_index: string) => ({ type: 'weekly', data: {}, data_index, timestamp });
    const analytics = [
      event('2026-02-28T12:00:00Z', 'start'), // a Saturday
      event('2026-03-01T12:00:00Z', 'any'), // a Sunday
      event('2026-03-02T12:00:00Z', 'any'), // a Monday
      event('2026-04-01T12:00:00Z', 'any'),
    ];
    expect((await record('weekly', '/log_batch', { analytics })).status).toBe(200);
    const cohortOf = async (query: Query) => {
      const range = { from: '2026-02-01T00:00:00Z', to: '2026-05-01T00:00:00Z' };
      const { body } = await get('weekly', path, { type: 'weekly', step: 'start', periods: '6', ...range, ...query });
      expect(body).toMatchObject({ period: query['period'] ?? 'day', periods: 6 });
      expect('days' in body).toBe(query['period'] === undefined);
      const [cohort] = body.cohorts.filter(({ users }: { users: number }) => users === 1);
      return [cohort.start, cohort.returned];
    };
    expect(await cohortOf({})).toEqual(['2026-02-28T00:00:00Z', [1, 1, 0, 0, 0, 0]]);
    expect(await cohortOf({ period: 'week' })).toEqual(['2026-02-23T00:00:00Z', [1, 0, 0, 0, 1, 0]]);
    const sundays = await cohortOf({ period: 'week', week_start: 'sunday' });
    expect(sundays).toEqual(['2026-02-22T00:00:00Z', [1, 0, 0, 0, 1, 0]]);
    expect(await cohortOf({ period: 'month' })).toEqual(['2026-02-01T00:00:00Z', [1, 1, null, null, null, null]]);
  });

  test('counts returns with any event of the type, or without a type, with any event', async () => {
    const event = (type: string, timestamp: string) => ({ type, data: {}, data_index: 'x', timestamp });
    const analytics = [
      event('join', '2026-02-01T12:00:00Z'),
      event('visit', '2026-02-02T12:00:00Z'),
      event('join', '2026-02-03T12:00:00Z'),
      event('buy:now', '2026-02-04T12:00:00Z'),
    ];
    expect((await record('types', '/log_batch', { analytics })).status).toBe(200);
    await record('types', '/log_batch', { metrics: [{ metric_name: 'm', metric_value: 1 }] });
    // events of others, which are outside the caller's scope and range
    const others = [event('join', '2026-01-01T12:00:00Z'), event('visit', '2026-02-09T12:00:00Z')];
    expect((await record('others', '/log_batch', { analytics: others })).status).toBe(200);
    const retention = async (query: Query) => {
      const { status, body } = await get('types', path, { periods: '3', ...query });
      expect(status).toBe(200);
      const { from, to, cohorts } = body;
      return {
        from: from?.slice(5, 10),
        to: to?.slice(5, 10),
        first: cohorts[0] && [cohorts[0].users, ...cohorts[0].returned],
      };
    };
    const whole = { from: '02-01', to: '02-04' };
    expect(await retention({ step: 'join' })).toEqual({ ...whole, first: [1, 1, 1, 1] });
    expect(await retention({ step: 'join:x' })).toEqual({ ...whole, first: [1, 1, 1, 1] });
    expect(await retention({ step: 'join:y' })).toEqual({ ...whole, first: [0, 0, 0, 0] });
    expect(await retention({ step: 'join', return_step: 'visit' })).toEqual({
      from: '02-01',
      to: '02-03',
      first: [1, 1, 0, null],
    });
    expect(await retention({ step: 'join', return_step: 'join:x' })).toEqual({
      from: '02-01',
      to: '02-03',
      first: [1, 0, 1, null],
    });
    expect(await retention({ step: 'join', return_step: 'buy\\:now:x' })).toEqual({ ...whole, first: [1, 0, 0, 1] });
    expect(await retention({ step: 'join', return_step: 'buy:now' })).toEqual({
      from: '02-01',
      to: '02-03',
      first: [1, 0, 0, null],
    });
    expect(await retention({ type: 'join', step: 'x' })).toEqual({
      from: '02-01',
      to: '02-03',
      first: [1, 0, 1, null],
    });
    expect(await retention({ step: 'join', data_index: 'y' })).toEqual({ ...whole, first: [0, 0, 0, 0] });
    expect(await retention({ step: 'never' })).toEqual({ ...whole, first: [0, 0, 0, 0] });
    const { body } = await getAsAdmin(path, { step: 'join', user_id: 'types' });
    expect(body).toMatchObject({ type: null, step: 'join', return_step: null, cohorts: [{ users: 1 }, {}, {}, {}] });
    const all = await getAsAdmin(path, { step: 'join', from: '2026-01-01T00:00:00Z', to: '2026-03-01T00:00:00Z' });
    expect(all.body.cohorts.map(({ users }: { users: number }) => users).filter(Boolean)).toEqual([1, 1]);
  });

  test('reports invalid steps together with other issues', async () => {
    const response = await get('anna', path, { step: 'a\\b', return_step: '\\', days: '3', periods: '3' });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toMatchObject([
      { loc: ['query', 'step'], type: 'value_error' },
      { loc: ['query', 'return_step'], type: 'value_error' },
      { loc: ['query', 'days'] },
    ]);
    const missing = await get('anna', path, { return_step: '\\' });
    expect(missing.body.detail).toMatchObject([
      { loc: ['query', 'step'], type: 'missing' },
      { loc: ['query', 'return_step'], type: 'value_error' },
    ]);
  });

  test('rejects days together with period or periods', async () => {
    for (const query of [{ period: 'week' }, { periods: '3' }]) {
      const response = await get('anna', path, { type: 'tutorial', step: 'one', days: '3', ...query });
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toMatchObject([{ loc: ['query', 'days'] }]);
    }
    const several = await get('anna', path, { type: 'tutorial', step: 'one', days: '3', periods: '4', tz: 'nowhere' });
    const places = several.body.detail.map(({ loc }: { loc: string[] }) => loc[1]);
    expect(places.sort()).toEqual(['days', 'tz']);
  });

  test('has no cohorts without rows', async () => {
    const { body } = await get('nobody', path, { type: 'tutorial', step: 'one' });
    expect(body).toMatchObject({ from: null, to: null, cohorts: [] });
  });
});
