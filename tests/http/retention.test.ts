import { describe, expect, test } from 'bun:test';
import { type Query, setUpSeededServer } from '../harness/seeded-server.ts';

const { get, getAsAdmin } = setUpSeededServer();

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

  test('has no cohorts without rows', async () => {
    const { body } = await get('nobody', path, { type: 'tutorial', step: 'one' });
    expect(body).toMatchObject({ from: null, to: null, cohorts: [] });
  });
});
